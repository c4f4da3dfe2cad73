"""Two candidates side by side: who wins, what becomes of the other, and that nothing is left over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from runtime.dialects.scripted import Hang, Refuse, Stall, Status, Step
from runtime.outcome import Completion, Failure, FailureKind, StreamStart
from runtime.request import ask
from tests.fakes.gateway import Rigs, text, tried
from tests.fakes.loop import LoopClock, in_virtual_time
from tests.fakes.providers import Streamed, fails, streamed

K = FailureKind
ALWAYS = {"after_s": 1.0, "max_share": 1.0}


def rigs(hedge: dict[str, Any] | None = None, *, settings: dict[str, Any] | None = None, **steps: Any) -> Rigs:
    """A route over these providers, in order, that is hedged after a second as often as it likes."""
    route = {"targets": [f"{name}/m" for name in steps], "hedge": hedge or ALWAYS}
    said = {"routes": {"any": {**route, **(settings or {})}}}
    # Else the route's own turns would change who is first.
    said["providers"] = {name: {"priority": -at} for at, name in enumerate(steps)}
    clock = LoopClock()
    return Rigs(clock=clock, sleep=clock.sleep, settings=said, **steps)


def slow(words: str, seconds: float, **said: Any) -> Step:
    return text(words, delay_s=seconds, **said)


Ask = Callable[[Rigs], Awaitable[tuple[str, Completion | Failure]]]


async def whole(made: Rigs) -> tuple[str, Completion | Failure]:
    outcome = await made.gateway.complete(ask("hi"))
    return outcome.text if isinstance(outcome, Completion) else "", outcome


async def in_pieces(made: Rigs) -> tuple[str, Completion | Failure]:
    seen: Streamed = await streamed(made.gateway, ask("hi"))
    if isinstance(seen.outcome, Completion):
        assert seen.text == seen.outcome.text, "nothing of the loser's is in the stream"
    return seen.text, seen.outcome


both = pytest.mark.parametrize("answer", [whole, in_pieces], ids=lambda one: str(one.__name__))


def nothing_left(made: Rigs) -> None:
    assert all(one.in_flight == 0 and one.transport.active == 0 for one in made.rigs.values())


@both
def test_the_faster_of_two_answers_and_the_other_is_cancelled_and_billed(answer: Ask) -> None:
    async def test() -> None:
        made = rigs(a=slow("from a", 9.0), b=slow("from b", 2.0))
        begun = made.clock()
        said, outcome = await answer(made)
        assert (said, made.clock() - begun) == ("from b", 3.0)
        assert isinstance(outcome, Completion)
        assert (outcome.provider, outcome.latency_s) == ("b", 2.0)
        assert sorted(tried(outcome.attempts)) == [("a", "hedged"), ("b", "ok")]
        assert outcome.overhead_s == pytest.approx(0.0, abs=1e-6), "the wait for the first is no overhead of ours"
        await made.gateway.close()
        nothing_left(made)
        used = (await made["a"].provider.usage("all")).total
        assert (used.requests, used.errors) == (1, 0)
        assert used.input_tokens > 0, "what the loser used is counted"

    in_virtual_time(test)


@both
def test_who_is_fast_enough_is_asked_alone(answer: Ask) -> None:
    async def test() -> None:
        made = rigs(a=slow("from a", 0.9), b=text("from b"))
        said, outcome = await answer(made)
        assert (said, tried(outcome.attempts)) == ("from a", [("a", "ok")])
        assert made.calls() == {"a": 1, "b": 0}

    in_virtual_time(test)


@both
def test_the_slow_one_may_still_win(answer: Ask) -> None:
    async def test() -> None:
        made = rigs(a=slow("from a", 1.5), b=slow("from b", 2.0))
        said, outcome = await answer(made)
        assert said == "from a"
        assert sorted(tried(outcome.attempts)) == [("a", "ok"), ("b", "hedged")]
        await made.gateway.close()
        nothing_left(made)

    in_virtual_time(test)


@both
@pytest.mark.parametrize("status", [500, 400])
def test_a_failure_of_one_leaves_the_other_alone(answer: Ask, status: int) -> None:
    """Also a final verdict: who is under way already may answer."""

    async def test() -> None:
        bad = fails(Status(status=status), delay_s=2.0)
        for made in (rigs(a=slow("fine", 5.0), b=bad), rigs(a=bad, b=slow("fine", 4.0))):
            said, outcome = await answer(made)
            assert said == "fine"
            assert len(outcome.attempts) == 2
            await made.gateway.close()
            nothing_left(made)

    in_virtual_time(test)


@both
def test_both_fail_and_the_rest_is_asked(answer: Ask) -> None:
    async def test() -> None:
        down = Status(status=500)
        made = rigs(a=fails(down, delay_s=3.0), b=fails(down, delay_s=1.0), c=text("from c"))
        said, outcome = await answer(made)
        assert said == "from c"
        assert tried(outcome.attempts) == [("b", "unavailable"), ("a", "unavailable"), ("c", "ok")]

    in_virtual_time(test)


@both
def test_hedges_count_as_attempts(answer: Ask) -> None:
    async def test() -> None:
        down = fails(Status(status=500), delay_s=3.0)
        made = rigs(a=down, b=down, c=text("from c"), settings={"max_attempts": 2})
        _, outcome = await answer(made)
        assert isinstance(outcome, Failure)
        assert made.calls() == {"a": 1, "b": 1, "c": 0}

    in_virtual_time(test)


def test_a_door_that_is_shut_is_not_asked_beside() -> None:
    async def test() -> None:
        made = rigs(a=slow("from a", 9.0), b=fails(Status(status=429, retry_after_s=60.0)), c=slow("from c", 1.0))
        await made["b"].provider.complete(ask("hi", model="m"))
        outcome = await made.answer()
        assert outcome.provider == "c"
        assert made["b"].transport.calls == 1
        await made.gateway.close()

    in_virtual_time(test)


def test_the_same_model_is_not_asked_beside_itself() -> None:
    async def test() -> None:
        made = rigs(a=slow("from a", 9.0))
        assert tried((await made.answer()).attempts) == [("a", "ok")]

    in_virtual_time(test)


def test_the_share_holds() -> None:
    async def test() -> None:
        made = rigs({"after_s": 1.0, "max_share": 0.05}, a=slow("from a", 2.0), b=text("from b"))
        for _ in range(100):
            await made.answer()
        assert made.calls() == {"a": 100, "b": 5}
        await made.gateway.close()

    in_virtual_time(test)


def test_the_usual_time_is_learnt_before_anybody_is_hedged() -> None:
    async def test() -> None:
        times = [slow("a", 0.1)] * 30 + [slow("a", 60.0)]
        made = rigs({"max_share": 1.0}, a=times, b=text("from b"))
        for _ in range(30):
            assert (await made.answer()).provider == "a"
        begun = made.clock()
        outcome = await made.answer()
        assert outcome.provider == "b"
        assert made.clock() - begun == pytest.approx(0.1, rel=0.03)
        await made.gateway.close()

    in_virtual_time(test)


def test_losers_are_remembered_as_slow() -> None:
    """Else the slow answers would never be seen, and the wait would sink with each hedge."""

    async def test() -> None:
        made = rigs({"max_share": 1.0}, a=[slow("a", 0.1)] * 30 + [slow("a", 60.0)], b=slow("from b", 5.0))
        for _ in range(30):
            await made.answer()
        for _ in range(20):
            await made.answer()
        begun = made.clock()
        await made.answer()
        assert made.clock() - begun > 5.2, "it waits longer than at the beginning"
        await made.gateway.close()

    in_virtual_time(test)


@both
def test_abandoning_the_request_cancels_both(answer: Ask) -> None:
    async def test() -> None:
        made = rigs(a=fails(Hang()), b=fails(Hang()))
        task = asyncio.ensure_future(answer(made))
        await asyncio.sleep(5.0)
        assert [one.in_flight for one in made.rigs.values()] == [1, 1]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        nothing_left(made)

    in_virtual_time(test)


def test_a_hedged_stream_that_is_closed_early_leaves_nothing() -> None:
    async def test() -> None:
        made = rigs(a=slow("from a", 9.0), b=slow("one two three", 1.0))
        async with aclosing(made.gateway.stream(ask("hi"))) as events:
            start = await anext(events)
            assert isinstance(start, StreamStart)
            assert (start.provider, tried(start.attempts)) == ("b", [("a", "hedged")])
        await made.gateway.close()
        nothing_left(made)

    in_virtual_time(test)


def test_two_streams_that_begin_at_once_leave_one() -> None:
    async def test() -> None:
        made = rigs(a=slow("from a", 3.0), b=slow("from b", 2.0))
        said, outcome = await in_pieces(made)
        assert said == "from a"
        assert sorted(tried(outcome.attempts)) == [("a", "ok"), ("b", "hedged")]
        await made.gateway.close()
        nothing_left(made)

    in_virtual_time(test)


def test_a_stream_is_hedged_by_its_first_content_alone() -> None:
    async def test() -> None:
        made = rigs(a=text("one two", chunk_delay_s=5.0), b=text("from b"))
        said, _ = await in_pieces(made)
        assert said == "one two"
        assert made.calls() == {"a": 1, "b": 0}

    in_virtual_time(test)


steps = st.builds(
    Step,
    text=st.just("fine words"),
    delay_s=st.sampled_from((0.0, 0.5, 1.5, 3.0)),
    chunk_delay_s=st.sampled_from((0.0, 2.0)),
    fault=st.none() | st.sampled_from((Refuse(), Hang(), Stall(0), Stall(1), Status(status=500), Status(status=429))),
)


@how(max_examples=60)
@given(
    played=st.lists(st.lists(steps, min_size=1, max_size=3), min_size=1, max_size=4),
    max_attempts=st.integers(1, 5),
    give_up_at=st.none() | st.sampled_from((0.7, 2.0, 6.0)),
    answer=st.sampled_from((whole, in_pieces)),
)
def test_laws(played: list[list[Step]], max_attempts: int, give_up_at: float | None, answer: Ask) -> None:
    async def test() -> None:
        names = dict(zip("abcd", played, strict=False))
        made = rigs(settings={"max_attempts": max_attempts, "timeout_s": 30}, **names)
        begun = made.clock()
        try:
            async with asyncio.timeout(give_up_at):
                _, outcome = await answer(made)
        except TimeoutError:
            nothing_left(made)
        else:
            assert made.clock() - begun <= 30.0 + 1e-6, "past the deadline"
            assert 1 <= len(outcome.attempts) <= max_attempts
            words = [one.outcome for one in outcome.attempts]
            assert words.count("ok") == isinstance(outcome, Completion)
            assert sum(made.calls().values()) <= max_attempts
        await made.gateway.close()
        nothing_left(made)

    in_virtual_time(test)


def test_a_caller_sees_the_same_request_id_whoever_wins() -> None:
    async def test() -> None:
        made = rigs(a=slow("from a", 9.0), b=text("from b"))
        outcome = await made.gateway.complete(replace(ask("hi"), request_id="r1"))
        assert outcome.request_id == "r1"
        await made.gateway.close()

    in_virtual_time(test)
