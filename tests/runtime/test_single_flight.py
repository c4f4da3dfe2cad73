"""Equal requests are one call, which belongs to nobody alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.cache import AnswerCache, Caching
from runtime.cache.semantic import Meanings
from runtime.cache.shared import SharedTier
from runtime.dialects.scripted import Status, Step
from runtime.events import CacheEvent
from runtime.outcome import (
    Choice,
    Completion,
    Cost,
    Delta,
    Failure,
    FailureKind,
    FinishReason,
    Outcome,
    StreamEnd,
    StreamEvent,
    StreamStart,
    Usage,
)
from runtime.request import Part, Request, Sampling, ask
from runtime.single_flight import SingleFlight
from tests.fakes.clock import FakeClock, turns
from tests.fakes.providers import Streamed, fails, kind, streamed
from tests.runtime.test_gateway import Rigs

EXACT = replace(ask("hi"), sampling=Sampling(temperature=0.0), request_id="first")
PRICED = {"a/a-model": {"price": {"input": 1_000, "output": 1_000}}}
WORDS = ("one", "two", "three")
ANSWER = Completion(
    id="1",
    model="m",
    provider="p",
    choices=(Choice.of("".join(WORDS), finish_reason=FinishReason.STOP),),
    usage=Usage(input_tokens=2, output_tokens=3),
    cost=Cost(total_nanousd=9),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    cache: AnswerCache | None = None
    shared: SharedTier | None = None
    meanings: Meanings | None = None
    single_flight: bool = True
    deadline_s: float = 600.0

    def caching(self, request: Request) -> Caching | None:
        return None if self.cache is None else Caching()

    def eligible(self, request: Request) -> bytes:
        return b""


@dataclass(slots=True)
class Upstream:
    """A call that goes on as the test says. `calls` were begun, `running` are under way, `stopped` were not let end."""

    outcome: Outcome = ANSWER
    calls: int = 0
    running: int = 0
    stopped: int = 0
    asked: list[Request] = field(default_factory=list)
    _go: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def go(self, steps: int = 10) -> None:
        for _ in range(steps):
            self._go.release()
        await turns(20)

    async def complete(self, request: Request) -> Outcome:
        async with aclosing(self.stream(request)) as events:
            async for event in events:
                if isinstance(event, StreamEnd):
                    return event.outcome
        raise AssertionError("no end")

    async def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        self.calls += 1
        self.running += 1
        self.asked.append(request)
        ended = False
        try:
            await self._go.acquire()
            if isinstance(self.outcome, Completion):
                yield StreamStart(id="1", provider="p", model="m")
                for word in WORDS:
                    yield Delta(text=word)
                    await self._go.acquire()
                yield Delta(finish_reason=FinishReason.STOP)
            ended = True
            yield StreamEnd(outcome=self.outcome)
        finally:
            self.running -= 1
            self.stopped += not ended


class Shared:
    """One gateway's worth of it, as callers see it."""

    def __init__(self, rules: Rules | None = None, outcome: Outcome = ANSWER) -> None:
        self.rules = rules or Rules()
        self.upstream = Upstream(outcome)
        self.flights = SingleFlight(FakeClock())

    name = "shared"

    async def complete(self, request: Request) -> Outcome:
        return await self.flights.complete(request, self.rules, self.upstream.complete)

    def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        return self.flights.stream(request, self.rules, self.upstream.stream)

    def ask(self, request: Request = EXACT, *, stream: bool = False) -> asyncio.Task[Any]:
        # What a stream says is checked for its grammar by `streamed`.
        return asyncio.create_task(streamed(self, request) if stream else self.complete(request))  # type: ignore[arg-type]


# One call for all.


@pytest.mark.parametrize("stream", [False, True])
async def test_fifty_equal_requests_are_one_call(stream: bool) -> None:
    made = Rigs(a=Step(text="hello", delay_s=1.0), settings={"providers": {"a": {"price": {"input": 1, "output": 1}}}})
    requests = [replace(EXACT, request_id=str(at)) for at in range(50)]
    asked = [streamed(made.gateway, one) if stream else made.gateway.complete(one) for one in requests]
    said: list[Any] = await asyncio.gather(*asked)  # type: ignore[arg-type]  # coroutines of one kind or the other
    answers = [one.outcome if isinstance(one, Streamed) else one for one in said]
    assert made.calls() == {"a": 1}
    assert [one.text for one in answers] == ["hello"] * 50
    assert [one.request_id for one in answers] == [str(at) for at in range(50)]
    assert [one.attempts[0].outcome for one in answers] == ["ok"] + ["shared"] * 49
    assert answers[0].cost.total_nanousd > 0
    assert {one.cost for one in answers[1:]} == {Cost(saved_nanousd=answers[0].cost.total_nanousd)}
    assert made["a"].seen().answered == 1, "it is counted once"
    if stream:
        assert all(one.start.attempts[0].outcome == "shared" for one in said[1:])


@pytest.mark.parametrize("first", [False, True])
async def test_plain_callers_and_those_of_streams_share(first: bool) -> None:
    ours = Shared()
    tasks = [ours.ask(stream=first), ours.ask(stream=not first)]
    await turns()
    await ours.upstream.go()
    assert ours.upstream.calls == 1
    whole, stream = sorted((task.result() for task in tasks), key=lambda one: isinstance(one, Streamed))
    assert whole.text == stream.text == "onetwothree"
    assert stream.outcome.usage == whole.usage


async def test_who_joins_late_misses_nothing() -> None:
    ours = Shared()
    first = ours.ask(stream=True)
    await turns()
    await ours.upstream.go(2)
    late = ours.ask(stream=True)
    await turns()
    assert not late.done()
    await ours.upstream.go()
    assert [delta.text for delta in late.result().deltas] == [delta.text for delta in first.result().deltas]


async def test_a_failure_is_shared_and_paid_once() -> None:
    failed = Failure(kind=FailureKind.OVERLOADED, provider="p", model="m", usage=Usage(input_tokens=1), cost=Cost())
    ours = Shared(outcome=failed)
    tasks = [ours.ask(), ours.ask(replace(EXACT, request_id="second")), ours.ask(stream=True)]
    await turns()
    await ours.upstream.go()
    assert ours.upstream.calls == 1
    assert tasks[0].result() == failed
    second = tasks[1].result()
    assert (second.kind, second.request_id, second.usage, second.cost) == (FailureKind.OVERLOADED, "second", None, None)
    assert second.attempts[-1].outcome == "shared"
    assert second.client_retry, "somebody else's try was none of ours"
    assert kind(tasks[2].result().outcome) is FailureKind.OVERLOADED


async def test_a_bug_reaches_everybody() -> None:
    ours = Shared()

    async def broken(request: Request) -> Outcome:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    calls = [ours.flights.complete(EXACT, ours.rules, broken) for _ in range(3)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in found] == [ZeroDivisionError] * 3
    assert len(ours.flights) == 0


async def test_the_next_one_asks_anew() -> None:
    ours = Shared()
    for calls in (1, 2):
        task = ours.ask()
        await turns()
        await ours.upstream.go()
        assert task.result().attempts == ()
        assert ours.upstream.calls == calls
    assert len(ours.flights) == 0


# Who goes away.


@pytest.mark.parametrize("stream", [False, True])
async def test_who_began_it_may_leave(stream: bool) -> None:
    ours = Shared()
    tasks = [ours.ask(stream=stream) for _ in range(3)]
    await turns()
    tasks[0].cancel()
    await turns()
    await ours.upstream.go()
    assert (ours.upstream.calls, ours.upstream.stopped) == (1, 0)
    assert tasks[0].cancelled()
    assert [task.done() and not task.cancelled() for task in tasks[1:]] == [True, True]


@pytest.mark.parametrize("stream", [False, True])
async def test_when_all_have_left_the_call_is_stopped_and_its_books_are_closed(stream: bool) -> None:
    ours = Shared()
    tasks = [ours.ask(stream=stream) for _ in range(3)]
    await turns()
    await ours.upstream.go(2 if stream else 0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (ours.upstream.calls, ours.upstream.stopped) == (1, 1), "no later than the last of them"
    assert len(ours.flights) == 0


async def test_a_stream_that_is_closed_early_leaves_the_call_to_the_others() -> None:
    ours = Shared()
    stream = ours.stream(EXACT)
    first = asyncio.ensure_future(anext(stream))
    other = ours.ask(stream=True)
    await turns()
    await ours.upstream.go(1)
    await first
    await stream.aclose()
    assert ours.upstream.stopped == 0
    await ours.upstream.go()
    assert other.result().text == "onetwothree"


# Time.


async def test_everybody_has_his_own_deadline() -> None:
    ours = Shared()
    patient = ours.ask(replace(EXACT, deadline_s=60.0))
    await turns()
    hurried = ours.ask(replace(EXACT, deadline_s=0.02))
    assert kind(await hurried) is FailureKind.DEADLINE_EXCEEDED
    await ours.upstream.go()
    assert patient.result().text == "onetwothree"
    assert (ours.upstream.calls, ours.upstream.stopped) == (1, 0)


async def test_nobody_joins_a_call_with_much_less_time_than_his_own() -> None:
    ours = Shared()
    ours.ask(replace(EXACT, deadline_s=1.0))
    await turns()
    second = ours.ask(replace(EXACT, deadline_s=60.0))
    await turns()
    assert ours.upstream.calls == 2
    third = ours.ask(replace(EXACT, deadline_s=60.0))
    await turns()
    assert ours.upstream.calls == 2, "the newer one is joined"
    await ours.upstream.go()
    assert second.result().text == third.result().text == "onetwothree"


async def test_a_call_that_ran_out_of_its_beginners_time_is_made_again_once_for_the_rest() -> None:
    ours = Shared(outcome=Failure(kind=FailureKind.DEADLINE_EXCEEDED))
    first = ours.ask(replace(EXACT, deadline_s=30.0))
    await turns()
    others = [ours.ask(replace(EXACT, deadline_s=50.0)) for _ in range(5)]
    await turns()
    await ours.upstream.go(1)
    assert kind(first.result()) is FailureKind.DEADLINE_EXCEEDED
    assert ours.upstream.calls == 2
    assert (ours.upstream.asked[1].deadline_s or 0.0) > 49.0
    ours.upstream.outcome = ANSWER
    await ours.upstream.go()
    assert {task.result().text for task in others} == {"onetwothree"}
    assert ours.upstream.calls == 2


# Who may share.


@pytest.mark.parametrize(
    "other",
    [
        replace(EXACT, tenant="another"),
        replace(EXACT, sampling=Sampling(temperature=0.0, seed=1)),
        replace(EXACT, provider_options={"a": {"x": 1}}),
        replace(EXACT, no_store=True),
    ],
    ids=["tenant", "sampling", "options", "no_store"],
)
async def test_what_differs_is_asked_for_itself(other: Request) -> None:
    made = Rigs(a=Step(text="hello", delay_s=1.0))
    answers = await asyncio.gather(made.gateway.complete(EXACT), made.gateway.complete(other))
    assert [one.attempts[0].outcome for one in answers] == ["ok", "ok"]
    assert made.calls() == {"a": 2}


@pytest.mark.parametrize(
    ("said", "temperature", "calls"),
    [
        ({}, 0.0, 1),
        ({}, None, 2),
        ({}, 0.7, 2),
        ({"enabled": True}, None, 1),
        ({"enabled": True}, 0.7, 2),
        ({"enabled": True, "sampled": True}, 0.7, 1),
        ({"single_flight": False}, 0.0, 2),
    ],
)
async def test_who_may_share_at_all(said: dict[str, Any], temperature: float | None, calls: int) -> None:
    made = Rigs(a=Step(text="hello", delay_s=1.0), settings={"cache": said})
    request = replace(EXACT, sampling=Sampling(temperature=temperature))
    await asyncio.gather(made.gateway.complete(request), made.gateway.complete(request))
    assert made.calls() == {"a": calls}


async def test_other_settings_are_another_call() -> None:
    ours = Shared()
    ours.ask()
    await turns()
    ours.rules = Rules()
    ours.ask()
    await turns()
    assert ours.upstream.calls == 2
    await ours.upstream.go()
    assert len(ours.flights) == 0


async def test_what_json_cannot_say_has_no_equals() -> None:
    made = Rigs(a=Step(text="hello"))
    odd = replace(EXACT, extra={"n": 2**80})
    assert (await made.answer(odd)).text == (await made.answer(odd)).text == "hello"


def test_kinds_of_parts_are_told_apart_by_their_fields() -> None:
    """Two kinds with the same fields would have the same key."""
    shapes = [tuple(part.__dataclass_fields__) for part in get_args(Part)]
    assert len(set(shapes)) == len(shapes)


# What is remembered.


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
async def test_streams_are_remembered_and_given_as_streams(first: bool, second: bool) -> None:
    made = Rigs(a=Step(text="hello"), settings={"cache": {"enabled": True}})
    said: list[Any] = []
    for at, stream in enumerate((first, second)):
        request = replace(EXACT, request_id=str(at))
        said.append(await streamed(made.gateway, request) if stream else await made.gateway.complete(request))
    assert made.calls() == {"a": 1}
    assert said[0].text == said[1].text == "hello"
    outcome = said[1].outcome if second else said[1]
    assert (outcome.attempts[0].outcome, outcome.cost, outcome.request_id) == ("cached", Cost(), "1")
    if second:
        assert said[1].start.attempts[0].outcome == "cached"


async def test_who_wants_no_remembered_answer_gets_none_and_leaves_none() -> None:
    made = Rigs(a=Step(text="hello"), settings={"cache": {"enabled": True}})
    for request, calls in ((replace(EXACT, no_store=True), 1), (EXACT, 2), (replace(EXACT, no_store=True), 3)):
        await made.answer(request)
        assert made.calls() == {"a": calls}
    await made.answer(EXACT)
    assert made.calls() == {"a": 3}


async def test_a_failure_is_not_remembered() -> None:
    made = Rigs(a=[fails(Status(status=400)), Step(text="hello")], settings={"cache": {"enabled": True}})
    assert (await made.failure(EXACT)).kind is FailureKind.BAD_REQUEST
    assert (await made.answer(EXACT)).text == "hello"


async def test_what_the_beginner_left_is_remembered_all_the_same() -> None:
    cache = AnswerCache(max_bytes=100_000)
    ours = Shared(Rules(cache=cache))
    first, other = ours.ask(), ours.ask()
    await turns()
    first.cancel()
    await ours.upstream.go()
    assert other.done()
    assert len(cache) == 1


async def test_whoever_wants_to_know_hears_of_it_and_not_of_what_was_said() -> None:
    made = Rigs(a=Step(text="hello", delay_s=1.0), settings={"cache": {"enabled": True}, "models": PRICED})
    requests = [replace(EXACT, request_id=str(at), tenant="t") for at in range(3)]
    with made.gateway.events.subscribe(("cache",)) as reader:
        await asyncio.gather(*map(made.gateway.complete, requests[:2]))
        await made.gateway.complete(requests[2])
        heard = [one for one in reader.take() if isinstance(one, CacheEvent)]
    assert [(one.how, one.request_id) for one in heard] == [
        *(("miss", "0"), ("miss", "1"), ("stored", "0"), ("shared", "1"), ("hit", "2")),
    ]
    hit = heard[-1]
    assert (hit.provider, hit.model, hit.saved_nanousd > 0) == ("a", "a-model", True)
    assert len({one.key for one in heard}) == 1
    assert "hello" not in str(heard)


# What always holds.


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["join", "stream", "leave", "go", "end"]), st.integers(0, 1), st.integers(0, 9)),
        max_size=40,
    )
)
def test_however_callers_come_and_go(steps: list[tuple[str, int, int]]) -> None:
    """One call at most under way for each key; it runs exactly while somebody listens; each who stays is answered."""
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, int, int]]) -> None:
    requests = (EXACT, replace(EXACT, tenant="other"))
    ours = [Shared(), Shared()]
    flights = SingleFlight(FakeClock())
    for one in ours:
        one.flights = flights
        one.rules = ours[0].rules
    tasks: list[tuple[int, asyncio.Task[Any]]] = []
    left: set[asyncio.Task[Any]] = set()
    for what, which, who in steps:
        match what:
            case "join" | "stream":
                tasks.append((which, ours[which].ask(requests[which], stream=what == "stream")))
            case "leave" if tasks:
                task = tasks[who % len(tasks)][1]
                if not task.done():
                    task.cancel()
                    left.add(task)
            case "go" | "end":
                await ours[which].upstream.go(1 if what == "go" else 10)
        await turns(20)
        for at, one in enumerate(ours):
            listens = any(not task.done() for which, task in tasks if which == at)
            assert one.upstream.running == listens, "one call while somebody listens, and none else"
    for one in ours:
        await one.upstream.go(100)
    for _, task in tasks:
        assert task.cancelled() == (task in left)
        if task not in left:
            assert task.result().text == "onetwothree"
    assert len(flights) == 0
