"""Answers from memory to the very bytes of before: told as the usual way tells them, and to nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from runtime.cache.answers import Forget
from runtime.dialects.scripted import Step
from runtime.feed import KeyInfo
from runtime.ledger.accounts import Counted, Limit, Pass, Scope, sha256_of
from runtime.ledger.billing import Account
from runtime.outcome import CACHED
from runtime.values import replace
from serve import answer
from tests.fakes.asgi import Call
from tests.fakes.books import FakeBooks
from tests.serve.test_app import BEARER, Served, chat
from tests.serve.test_cache import asks, caching
from tests.serve.test_surfaces import BODIES

CHATS = [path for path in BODIES if path != "/query"]
OTHER = [(b"authorization", b"Bearer rg-other")]


class Reads:
    """How many bodies were read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        read = answer.json_of

        def counted(body: bytes) -> Any:
            self.count += 1
            return read(body)

        monkeypatch.setattr(answer, "json_of", counted)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


async def known(served: Served, call: Callable[[], Call] = chat) -> Call:
    """Asked until the very bytes are known; the last answer."""
    await served(call())
    return await served(call())


@pytest.mark.parametrize("path", CHATS)
async def test_the_third_answer_is_told_as_the_second_was(path: str, reads: Reads) -> None:
    served = caching()
    second = await known(served, lambda: asks(path))
    third = await served(asks(path))
    assert (served.rig.transport.calls, reads.count) == (1, 2)
    assert json.loads(third.body) == json.loads(second.body)
    own = {"request-id", "x-request-id", "x-raygate-overhead-ms"}
    assert {k: v for k, v in third.headers.items() if k not in own} == {
        k: v for k, v in second.headers.items() if k not in own
    }
    assert third.status == 200


async def test_it_is_counted_and_written_down_as_any_other(reads: Reads) -> None:
    served = caching()
    books = served.edge.gateway.books = FakeBooks()
    for name in (b"a", b"b", b"c", b"d"):
        await served(chat([*BEARER, (b"x-request-id", name)]))
    assert reads.count == 2
    assert [row.intent.request_id for row in books.entered] == ["b", "c", "d"]
    assert {row.settlement.outcome for row in books.entered} == {CACHED}
    assert {row.intent.account.key for row in books.entered} == {"test"}
    assert served.edge.gateway.policy.cache.counts.hits == 3
    (cell,) = served.edge.meter._cells.values()
    assert cell.count == 4


@pytest.mark.parametrize(
    ("more", "asked"),
    [
        ([(b"cache-control", b"no-store")], 2),
        ([(b"cache-control", b"no-cache")], 2),
        ([(b"cache-control", b"max-age=1")], 2),
        ([(b"cache-control", b"only-if-cached")], 1),
        ([(b"x-raygate-cache-tags", b"faq")], 1),
    ],
    ids=str,
)
async def test_headers_about_memory_are_heard(more: list[tuple[bytes, bytes]], asked: int, reads: Reads) -> None:
    served = caching()
    await known(served)
    served.rig.clock.advance(2.0)
    await served(chat([*BEARER, *more]))
    assert (served.rig.transport.calls, reads.count) == (asked, 3)


async def test_other_bytes_are_read(reads: Reads) -> None:
    served = caching()
    await known(served)
    body = {"messages": [{"content": "hi", "role": "user"}], "model": "one/m"}
    again = await served(Call("POST", "/v1/chat/completions", body=json.dumps(body).encode(), headers=BEARER))
    assert again.headers["x-raygate-cache"] == "hit"
    await served(asks("/api/chat"))
    assert reads.count == 4


async def test_nobody_is_given_what_another_tenant_was() -> None:
    served = caching(Step(text="ours"), Step(text="theirs"))
    other = KeyInfo(sha256=sha256_of("rg-other"), name="other", tenant="them")
    served.edge.keys = {**served.edge.keys, other.sha256: other}
    await known(served)
    for _ in range(3):
        call = await served(chat(OTHER))
        assert json.loads(call.body)["choices"][0]["message"]["content"] == "theirs"
    assert served.rig.transport.calls == 2


async def test_who_shows_no_key_is_told_nothing() -> None:
    served = caching()
    await known(served)
    assert (await served(chat([]))).status == 401


def with_pass(served: Served, **said: Any) -> None:
    class Ledger:
        async def present(self, _: str) -> Pass:
            return Pass(account=Account(key="key_1", team="us"), **said)

    served.edge.ledger = Ledger()


async def test_one_key_is_not_given_what_it_may_not_ask_for() -> None:
    served = caching()
    await known(served)
    with_pass(served, routes=("faq",))
    assert (await served(chat(OTHER))).status == 403
    served = caching()
    await known(served)
    with_pass(served, models=("two/*",))
    assert (await served(chat(OTHER))).status == 403


@pytest.mark.parametrize("why", ["late", "forgotten", "changed", "elsewhere"])
async def test_what_is_not_remembered_any_more_is_asked_for(why: str) -> None:
    served = caching(Step(text="old"), Step(text="new"))
    await known(served)
    policy = served.edge.gateway.policy
    match why:
        case "late":
            served.rig.clock.advance(301.0)
        case "forgotten":
            policy.cache.forget(Forget(tenant="us"))
        case "changed":
            served.edge.gateway.policy = replace(policy, brands={"one": "another"})
        case _:
            policy.cache.clear()
    call = await served(chat())
    assert json.loads(call.body)["choices"][0]["message"]["content"] == "new"
    assert policy.cache.counts.misses == 2


@pytest.mark.parametrize(("counted", "read"), [(Counted.MONEY, 2), (Counted.REQUESTS, 3)])
async def test_rates_are_counted_and_money_is_not_spent(counted: Counted, read: int, reads: Reads) -> None:
    served = caching()
    await known(served)
    with_pass(served, limits=(Limit(scope=Scope.KEY, of="key_1", counted=counted, amount=1_000),))
    await served(chat(OTHER))
    assert reads.count == read


async def test_whoever_listens_hears_of_it(reads: Reads) -> None:
    served = caching()
    await known(served)
    with served.edge.gateway.events.subscribe():
        await served(chat())
    assert reads.count == 3


async def test_through_actors_it_goes_the_usual_way(reads: Reads) -> None:
    served = caching()
    await known(served)
    served.edge.settings = served.edge.settings.model_copy(update={"data_path": "actor"})
    await served(chat())
    assert reads.count == 3
