"""Who waits at the door, who is sent away from it, and what both are told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from runtime.dialects.scripted import Step
from runtime.settings import AdmissionSettings
from serve.endpoints import CHATS
from tests.fakes.asgi import Call
from tests.fakes.clock import HeldSleep, turns
from tests.serve.test_app import BEARER, Served, chat
from tests.serve.test_surfaces import BODIES, error_of, post

SLOW = Step(text="hello", delay_s=1.0)


class Busy:
    """A replica all of whose places are taken until `release`."""

    def __init__(self, *, places: int = 1, **admission: Any) -> None:
        self.held = HeldSleep()
        limits = {"max_in_flight": places, "max_queued": 0, "max_wait_s": 60.0, **admission}
        self.served = Served(SLOW, sleep=self.held, admission=limits)
        self.calls: list[asyncio.Task[Call]] = []

    async def __aenter__(self) -> Busy:
        for _ in range(self.served.edge.settings.admission.max_in_flight):
            await self.come(chat())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.held.release()
        await asyncio.gather(*self.calls, return_exceptions=True)

    async def come(self, call: Call) -> asyncio.Task[Call]:
        task = asyncio.create_task(self.served(call))
        self.calls.append(task)
        await turns()
        return task

    @property
    def counters(self) -> dict[str, int]:
        return {name: self.served.edge.counters[name] for name in ("waiting", "waited", "shed")}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1" + name if not name.startswith(("/api", "/query")) else name for name in CHATS])
async def test_each_api_says_503_in_its_own_words_and_when_to_come_back(path: str, stream: bool) -> None:
    async with Busy() as busy:
        call = await busy.served(post(path, {**BODIES[path], "stream": stream}))
        assert call.status == 503
        assert "has 1 call in flight, its limit, and there is no room" in error_of(call.body)
        assert int(call.headers["retry-after"]) >= 1
        assert 1_000 <= int(call.headers["retry-after-ms"]) <= 1_500
        assert call.headers["x-should-retry"] == "true"
        assert busy.counters == {"waiting": 0, "waited": 0, "shed": 1}


@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/embed", "/api/embeddings"])
async def test_embeddings_too(path: str) -> None:
    async with Busy() as busy:
        call = await busy.served(post(path, {"model": "one/m", "input": "hi", "prompt": "hi"}))
        assert (call.status, int(call.headers["retry-after"]) >= 1) == (503, True)


async def test_who_is_sent_away_is_not_even_read() -> None:
    async with Busy() as busy:
        call = await busy.served(Call("POST", "/v1/chat/completions", body=b"{no json", headers=BEARER))
        assert call.status == 503
        assert call.error()["code"] == "overloaded"


async def test_what_asks_no_provider_needs_no_place() -> None:
    async with Busy() as busy:
        for path in ("/health/readiness", "/v1/models", "/version"):
            assert (await busy.served(Call("GET", path, headers=BEARER))).status == 200


async def test_a_key_comes_first() -> None:
    async with Busy() as busy:
        assert (await busy.served(chat([]))).status == 401


@pytest.mark.parametrize("stream", [False, True])
async def test_who_waits_is_answered_and_told_how_long_that_took(stream: bool) -> None:
    async with Busy(max_queued=5) as busy:
        waiting = await busy.come(chat(stream=stream))
        assert not waiting.done()
        assert busy.counters == {"waiting": 1, "waited": 1, "shed": 0}
        busy.held.release()
        call = await waiting
        assert call.status == 200
        assert float(call.headers["x-raygate-queue-ms"]) > 0.0
        assert float(call.headers["x-raygate-overhead-ms"]) >= 0.0
        assert busy.counters == {"waiting": 0, "waited": 1, "shed": 0}
    first = busy.calls[0].result()
    assert float(first.headers["x-raygate-queue-ms"]) == 0.0


async def test_who_waits_may_go_away() -> None:
    async with Busy(max_queued=5) as busy:
        call = chat()
        waiting = await busy.come(call)
        call.hang_up()
        await waiting
        assert busy.counters == {"waiting": 0, "waited": 1, "shed": 0}
        assert busy.served.rig.transport.calls == 1


async def test_patience_ends() -> None:
    async with Busy(max_queued=5, max_wait_s=0.01) as busy:
        call = await (await busy.come(chat()))
        assert (call.status, call.error()["code"]) == (503, "overloaded")
        assert "no turn came in time" in error_of(call.body)


async def test_whose_own_time_is_shorter_waits_no_longer_than_that() -> None:
    async with Busy(max_queued=5) as busy:
        call = await (await busy.come(chat(raygate={"deadline_s": 0.01})))
        assert call.status == 503


async def test_new_limits_hold_at_once() -> None:
    async with Busy(max_queued=5) as busy:
        await busy.come(chat())
        admission = AdmissionSettings(max_in_flight=3, max_queued=0)
        busy.served.edge.settings = busy.served.edge.settings.model_copy(update={"admission": admission})
        third = await busy.come(chat())
        assert not third.done()
        assert (await busy.served(chat())).status == 503
        assert busy.held.sleeping == 3
        assert busy.counters["waiting"] == 0


async def test_by_default_512_slow_streams_are_carried_at_once() -> None:
    held = HeldSleep()
    served = Served(SLOW, sleep=held)
    calls = [asyncio.create_task(served(chat(stream=True))) for _ in range(512)]
    await turns(20)
    assert held.sleeping == 512
    held.release()
    assert {call.status for call in await asyncio.gather(*calls)} == {200}
    assert served.edge.counters["waited"] == 0


# Equal requests.


@pytest.mark.parametrize("stream", [False, True])
async def test_a_shared_answer_says_so_and_costs_nothing(stream: bool) -> None:
    held = HeldSleep()
    served = Served(SLOW, sleep=held)
    calls = [asyncio.create_task(served(chat(stream=stream, temperature=0))) for _ in range(2)]
    await turns()
    assert held.sleeping == 1
    held.release()
    first, second = await asyncio.gather(*calls)
    assert "x-raygate-cache" not in first.headers
    assert (first.headers["x-raygate-attempts"], second.headers["x-raygate-attempts"]) == ("1", "0")
    assert second.headers["x-raygate-cache"] == "shared"
    if not stream:
        assert float(second.headers["x-raygate-cost-usd"]) == 0.0
        assert json.loads(first.body)["choices"] == json.loads(second.body)["choices"]


@pytest.mark.parametrize("word", [b"no-store", b"max-age=0, no-cache", b"No-Store"])
async def test_a_client_may_insist_on_an_answer_of_its_own(word: bytes) -> None:
    served = Served(SLOW, cache={"enabled": True})
    for _ in range(2):
        await served(chat([*BEARER, (b"cache-control", word)]))
    assert served.rig.transport.calls == 2
    await served(chat())
    assert "x-raygate-cache" not in (await served(chat([*BEARER, (b"cache-control", word)]))).headers
    assert (await served(chat(stream=True))).headers["x-raygate-cache"] == "hit"
