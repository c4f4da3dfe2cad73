"""Who may come in to a provider, with which key: over the scripted wire, through the provider's shell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.scripted import Refuse, Scripted, Status, Step
from runtime.keyring import Key
from runtime.outcome import Completion, Failure, FailureKind
from runtime.request import Request, ask
from runtime.transport.base import Fault, Limits
from tests.fakes.providers import Rig, fails, kind, rig

K = FailureKind
OK = Step(text="one two three")
DOWN = fails(Status(status=500))

A, B = "sk-aaaaaaaaaaaaaaaa-1111", "sk-bbbbbbbbbbbbbbbb-2222"


class Answering:
    """A transport that answers each key as it is told: a status, or None for an answer."""

    def __init__(self, **by_key: int | None) -> None:
        self.by_key = by_key
        self.used: list[str] = []
        self.headers: Mapping[str, str] = {}

    async def send(self, call: HttpCall, limits: Limits) -> HttpReply | Fault:
        key = call.headers["x-key"]
        self.used.append(key[-4:])
        status = self.by_key[f"k{key[-4:]}"]
        if status is None:
            body = b'{"id":"7","model":"m","choices":[{"text":"ok","finish_reason":"stop"}],"usage":{},"models":[]}'
            return HttpReply(status=200, headers={}, body=body)
        return HttpReply(
            status=status, headers=self.headers, body=b'{"error":{"message":"not you, %s"}}' % key.encode()
        )

    async def open(self, call: HttpCall, limits: Limits) -> Any:
        raise NotImplementedError

    async def close(self) -> None: ...


class Keyed(Scripted):
    """Sends its key in a header."""

    def encode(self, request: Request, target: Target) -> HttpCall | Failure:
        call = super().encode(request, target)
        return call if isinstance(call, Failure) else self._keyed(call, target)

    def health(self, target: Target) -> HttpCall | Failure:
        call = super().health(target)
        return call if isinstance(call, Failure) else self._keyed(call, target)

    def _keyed(self, call: HttpCall, target: Target) -> HttpCall:
        return replace(call, headers={**call.headers, "x-key": target.api_key or ""})


def keyed(transport: Answering, *secrets: str) -> Rig:
    return rig(dialect=Keyed(), transport=transport, keys=tuple(map(Key, secrets)))


async def test_keys_take_turns() -> None:
    wire = Answering(k1111=None, k2222=None)
    made = keyed(wire, A, B)
    for _ in range(4):
        assert isinstance(await made.provider.complete(ask("hi")), Completion)
    assert wire.used == ["1111", "2222", "1111", "2222"]


async def test_a_refused_key_stands_aside_and_another_is_used() -> None:
    wire = Answering(k1111=401, k2222=None)
    made = keyed(wire, A, B)
    first = await made.provider.complete(ask("hi"))
    assert isinstance(first, Failure)
    assert (first.kind, first.another_key) == (K.UNAUTHENTICATED, True)
    assert A not in first.detail
    for _ in range(3):
        assert isinstance(await made.provider.complete(ask("hi")), Completion)
    assert wire.used == ["1111", "2222", "2222", "2222"]
    assert len(made.changes) == 1, "others hear of it at once"
    status = await made.provider.status()
    assert status.available
    assert {name: shut.state for name, shut in status.keys.items()} == {"…1111": "disabled"}
    observed = made.observations.take()
    assert [state.why for one in observed for state in one.keys] == ["disabled"]


async def test_without_a_usable_key_nobody_is_asked_and_it_says_what_to_do() -> None:
    wire = Answering(k1111=401)
    made = keyed(wire, A)
    assert kind(await made.provider.complete(ask("hi"))) is K.UNAUTHENTICATED
    refused = await made.provider.complete(ask("hi"))
    assert isinstance(refused, Failure)
    assert refused.kind is K.UNAUTHENTICATED
    assert "…1111" in refused.detail
    assert "providers.one" in refused.detail
    assert wire.used == ["1111"]
    assert made.in_flight == 0
    assert not (await made.provider.status()).available


async def test_a_rate_limited_key_rests_while_another_works() -> None:
    wire = Answering(k1111=429, k2222=None)
    wire.headers = {"retry-after": "7"}
    made = keyed(wire, A, B)
    limited = await made.provider.complete(ask("hi"))
    assert isinstance(limited, Failure)
    assert (limited.kind, limited.retry_after_s, limited.another_key) == (K.RATE_LIMITED, 7.0, True)
    for _ in range(3):
        assert isinstance(await made.provider.complete(ask("hi")), Completion)
    assert wire.used == ["1111", "2222", "2222", "2222"]
    assert made.observations.take()[0].throttled_for_s == 0.0
    made.clock.advance(7.0)
    wire.by_key["k1111"] = None
    await made.provider.complete(ask("hi"))
    await made.provider.complete(ask("hi"))
    assert "1111" in wire.used[4:]


async def test_all_keys_at_rest_are_a_wait() -> None:
    wire = Answering(k1111=429, k2222=429)
    wire.headers = {"retry-after": "7"}
    made = keyed(wire, A, B)
    await made.provider.complete(ask("hi"))
    made.clock.advance(2.0)
    await made.provider.complete(ask("hi"))
    refused = await made.provider.complete(ask("hi"))
    assert isinstance(refused, Failure)
    assert (refused.kind, refused.retry_after_s) == (K.THROTTLED, 5.0)
    assert made.provider.vitals("scripted", made.clock()).retry_in_s == 5.0
    assert len(wire.used) == 2


async def test_a_free_call_may_use_each_key() -> None:
    made = keyed(Answering(k1111=401, k2222=None), A, B)
    first, second = (Key(secret).fingerprint for secret in (A, B))
    refused = await made.provider.free_call(first)
    assert refused is not None
    assert refused.kind is K.UNAUTHENTICATED
    assert await made.provider.free_call(second) is None


async def test_a_model_that_fails_leaves_the_others_alone() -> None:
    made = rig(*[DOWN] * 5, OK)
    for _ in range(5):
        await made.provider.complete(ask("hi"))
    other = await made.provider.complete(replace(ask("hi"), model="other"))
    assert isinstance(other, Completion)
    assert kind(await made.provider.complete(ask("hi"))) is K.REFUSED
    status = await made.provider.status()
    assert (status.available, status.breaker) == (True, "closed")
    assert {name: shut.state for name, shut in status.models.items()} == {"scripted": "open"}


async def test_who_cannot_be_reached_is_shut_for_every_model() -> None:
    made = rig(fails(Refuse()))
    for _ in range(5):
        await made.provider.complete(ask("hi"))
    assert kind(await made.provider.complete(replace(ask("hi"), model="other"))) is K.REFUSED
    assert made.transport.calls == 5
    assert made.observations.take()[0].unreached == 5


async def test_an_overload_that_names_a_wait_is_waited_for() -> None:
    made = rig(fails(Status(status=529, headers={"retry-after": "9"})), OK)
    overloaded = await made.provider.complete(ask("hi"))
    assert isinstance(overloaded, Failure)
    assert (overloaded.kind, overloaded.retry_after_s) == (K.OVERLOADED, 9.0)
    made.clock.advance(8.9)
    assert kind(await made.provider.complete(ask("hi"))) is K.THROTTLED
    assert made.observations.take()[0].model_throttled_for_s < 0.2
    made.clock.advance(0.1)
    assert isinstance(await made.provider.complete(ask("hi")), Completion)
