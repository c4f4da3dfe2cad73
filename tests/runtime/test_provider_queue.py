"""A provider with a limit of its own: who finds it full waits for a place, if nobody else can answer."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from runtime.admission import AdmissionPolicy
from runtime.dialects.scripted import Status, Step
from runtime.outcome import Completion, Embeddings, Failure, FailureKind
from runtime.request import EmbedRequest, Request, ask
from tests.fakes.clock import FakeClock, HeldSleep, turns
from tests.fakes.providers import Rig, fails, kind, rig, streamed
from tests.runtime.test_gateway import Rigs

SLOW = Step(text="hello", delay_s=1.0)


class Limited:
    """A provider that takes one call at a time, and is at it."""

    def __init__(self, *steps: Step, **policy: Any) -> None:
        self.held = HeldSleep()
        self.clock = FakeClock()
        self.rig: Rig = rig(*(steps or (SLOW,)), clock=self.clock, sleep=self.held, max_in_flight=1)
        limits = AdmissionPolicy(**{"max_in_flight": 1, "max_queued": 10, "max_wait_s": 60.0, **policy})
        self.rig.provider.standing.limit(limits, self.clock, random.Random(1))

    async def ask(self, request: Request | None = None, *, stream: bool = False) -> asyncio.Task[Any]:
        request = request or ask("hi")
        asked = streamed(self.rig.provider, request) if stream else self.rig.provider.complete(request)
        task = asyncio.create_task(asked)  # type: ignore[arg-type]  # one kind of coroutine or the other
        await turns()
        return task


@pytest.mark.parametrize("stream", [False, True])
async def test_who_finds_it_full_waits_and_says_how_long(stream: bool) -> None:
    ours = Limited()
    first, second = await ours.ask(), await ours.ask(stream=stream)
    assert (ours.held.sleeping, ours.rig.in_flight) == (1, 1)
    assert (await ours.rig.provider.status()).queued == 1
    ours.clock.advance(3.0)
    ours.held.release()
    answers = [(await first), await second]
    outcome = answers[1].outcome if stream else answers[1]
    assert isinstance(outcome, Completion)
    assert (answers[0].queue_s, outcome.queue_s) == (0.0, 3.0)
    assert outcome.latency_s == 0.0, "its own wait does not make the provider slow"
    if stream:
        assert answers[1].start.queue_s == 3.0


async def test_embeddings_wait_too() -> None:
    ours = Limited()
    first = await ours.ask()
    second = asyncio.create_task(ours.rig.provider.embed(EmbedRequest(inputs=("x",), model="m")))
    await turns()
    assert not second.done()
    ours.held.release()
    await first
    assert isinstance(await second, Embeddings)


async def test_patience_ends_with_a_refusal_that_blames_nobody() -> None:
    ours = Limited(max_wait_s=0.01)
    first = await ours.ask()
    failure = await (await ours.ask())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.code, failure.provider) == (FailureKind.REFUSED, "overloaded", "one")
    assert (failure.retry_after_s or 0.0) >= 1.0
    ours.held.release()
    await first
    assert ours.rig.seen().failures == {}


async def test_the_wait_counts_against_the_requests_time() -> None:
    ours = Limited()
    first = await ours.ask()
    failure = await (await ours.ask(replace(ask("hi"), deadline_s=0.01)))
    assert kind(failure) is FailureKind.REFUSED
    ours.held.release()
    await first


async def test_who_goes_away_leaves_no_place_taken() -> None:
    ours = Limited()
    tasks = [await ours.ask(), await ours.ask(stream=True), await ours.ask()]
    tasks[0].cancel()
    tasks[1].cancel()
    await turns(20)
    assert ours.rig.in_flight == 1
    ours.held.release()
    assert (await tasks[2]).text == "hello"
    queue = ours.rig.provider.standing.queue
    assert queue is not None
    assert (queue.in_flight, queue.queued, ours.rig.in_flight) == (0, 0, 0)


async def test_nobody_waits_in_order_to_hear_that_it_is_shut() -> None:
    ours = Limited(fails(Status(status=429, retry_after_s=60.0)), SLOW)
    await ours.ask()
    assert kind(await (await ours.ask())) is FailureKind.THROTTLED


@pytest.mark.parametrize("limit", [AdmissionPolicy(max_in_flight=3), None], ids=["more", "none"])
async def test_another_limit_lets_those_in_who_wait(limit: AdmissionPolicy | None) -> None:
    ours = Limited()
    tasks = [await ours.ask() for _ in range(3)]
    ours.rig.provider.standing.limit(limit, ours.clock, random.Random(1))
    await turns()
    assert ours.held.sleeping == 3
    ours.held.release()
    assert [(await task).text for task in tasks] == ["hello"] * 3


async def test_a_gateway_asks_who_has_a_place_free_and_waits_only_for_the_last() -> None:
    held = HeldSleep()
    made = Rigs(a=SLOW, b=SLOW, sleep=held, settings={"providers": {name: {"max_in_flight": 1} for name in "ab"}})
    for name in "ab":
        policy = AdmissionPolicy(max_in_flight=1, max_queued=10, max_wait_s=60.0)
        made[name].provider.standing.limit(policy, made.clock, random.Random(1))
    tasks = []
    for _ in range(3):
        tasks.append(asyncio.create_task(made.gateway.complete(ask("hi"))))
        await turns()
    assert made.calls() == {"a": 1, "b": 1}
    made.clock.advance(2.0)
    held.release()
    answers = [await task for task in tasks]
    assert all(isinstance(one, Completion) for one in answers)
    last = answers[2]
    assert isinstance(last, Completion)
    assert (last.queue_s, last.overhead_s, len(last.attempts)) == (2.0, 0.0, 1)
