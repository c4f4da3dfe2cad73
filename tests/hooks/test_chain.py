"""Hooks around a request: in order, in time, kept to themselves, and never able to change what they are shown."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.hooks import After, Attempted, Before, Embedding, Failed, Streamed, refuse
from runtime.outcome import Choice, Completion, Delta, Failure, FailureKind, FinishReason, StreamEnd, StreamStart
from runtime.request import EmbedRequest, Request, Sampling, ask, user
from tests.fakes.clock import FakeClock
from tests.fakes.gateway import Rigs, text
from tests.fakes.loop import LoopClock, in_virtual_time
from tests.hooks.rigged import end_of, events_of, hooked, mounted, put_on, said_in


class Noting:
    """Notes each moment, and changes nothing."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    def pre(self, asked: Before) -> None:
        self.notes.append(f"pre {self.name}")

    async def post(self, given: After) -> None:
        self.notes.append(f"post {self.name}")

    def error(self, failed: Failed) -> None:
        self.notes.append(f"error {self.name}")


class Asks:
    """Puts another question in the place of the one that was asked."""

    def __init__(self, words: str) -> None:
        self.words = words

    async def pre(self, asked: Before) -> Request:
        return replace(asked.request, messages=(user(self.words),))

    def pre_embed(self, asked: Embedding) -> EmbedRequest:
        return replace(asked.request, inputs=(self.words,))


class Raises:
    def pre(self, asked: Before) -> None:
        raise RuntimeError("secret of a hook")

    def post(self, given: After) -> None:
        raise RuntimeError("secret of a hook")

    def stream_event(self, seen: Streamed) -> None:
        raise RuntimeError("secret of a hook")

    def error(self, failed: Failed) -> None:
        raise RuntimeError("secret of a hook")


class Guards(Raises):
    guard = True


class Upper:
    def post(self, given: After) -> Completion:
        choice = given.completion.choices[0]
        return replace(given.completion, choices=(replace(choice, parts=Choice.of(choice.text.upper()).parts),))

    def stream_event(self, seen: Streamed) -> Delta | None:
        return replace(seen.event, text=seen.event.text.upper()) if isinstance(seen.event, Delta) else None


# Order.


@given(count=st.integers(1, 6))
def test_the_first_of_the_list_is_the_outermost(count: int) -> None:
    notes: list[str] = []
    names = [str(one) for one in range(count)]

    async def run() -> None:
        await hooked(*(Noting(name, notes) for name in names), a=text("x")).answer()

    asyncio.run(run())
    assert notes == [f"pre {name}" for name in names] + [f"post {name}" for name in reversed(names)]


async def test_each_hook_sees_what_those_before_it_made() -> None:
    made = hooked(Asks("first"), Asks("second"), a=text("x"))
    await made.answer()
    assert b"second" in made["a"].transport.sent[0]
    assert b"hi" not in made["a"].transport.sent[0]


async def test_a_hook_is_called_for_its_routes_alone() -> None:
    notes: list[str] = []
    made = hooked(
        (Noting("fast", notes), {"routes": ("fast",)}),
        (Noting("any", notes), {"routes": ("any",)}),
        settings={"routes": {"fast": ["a/m"]}},
        a=[text("x"), text("y")],
    )
    await made.answer(ask("hi", model="fast"))
    assert notes == ["pre fast", "post fast"]
    await made.answer(ask("hi"))
    assert notes[2:] == ["pre any", "post any"], "no name is the default's"


async def test_an_answer_may_be_changed() -> None:
    assert (await hooked(Upper(), a=text("quiet")).answer()).text == "QUIET"


async def test_vectors_are_asked_for_by_what_the_hook_made_of_the_texts() -> None:
    made = hooked(Asks("clean"), a=text("x"))
    await made.gateway.embed(EmbedRequest(inputs=("dirty",), model="a/m"))
    assert b"clean" in made["a"].transport.sent[0]
    assert b"dirty" not in made["a"].transport.sent[0]


# Refusing, and answering at once.


class Refuses:
    def __init__(self, moment: str) -> None:
        setattr(self, moment, lambda payload: refuse("not this", code="mine"))


@pytest.mark.parametrize("moment", ["pre", "post"])
async def test_a_refusal_is_the_answer(moment: str) -> None:
    notes: list[str] = []
    made = hooked(Noting("outer", notes), Refuses(moment), Noting("inner", notes), a=text("x"))
    failure = await made.failure(replace(ask("hi"), request_id="r1"))
    assert (failure.kind, failure.code, failure.detail) == (FailureKind.CONTENT_FILTERED, "mine", "not this")
    assert failure.request_id == "r1"
    assert made["a"].transport.calls == (moment == "post")
    assert notes[-2:] == ["error inner", "error outer"], "every hook hears of it"
    assert "post outer" not in notes


async def test_a_refused_answer_still_tells_what_it_cost() -> None:
    made = hooked(
        Refuses("post"), settings={"models": {"a/a-model": {"price": {"input": 1, "output": 1}}}}, a=text("x")
    )
    failure = await made.failure()
    assert failure.cost is not None
    assert (failure.provider, len(failure.attempts)) == ("a", 1)


class Answers:
    def pre(self, asked: Before) -> Completion:
        return Completion(id="mine", model="", choices=(Choice.of("from me", finish_reason=FinishReason.STOP),))


async def test_a_hook_may_answer_by_itself_in_its_own_name_and_nobody_is_asked() -> None:
    made = hooked(Answers(), a=text("x"))
    answer = await made.answer()
    assert (answer.text, answer.provider) == ("from me", "hook:Answers")
    events = await events_of(made)
    assert isinstance(events[0], StreamStart)
    assert said_in(events) == "from me"
    assert made["a"].transport.calls == 0


async def test_an_error_may_be_worded_anew() -> None:
    class Words:
        def error(self, failed: Failed) -> Failure:
            return replace(failed.failure, detail="please call us")

    made = hooked(Words(), settings={"retry": {"max_attempts": 1}}, a=text("x"))
    failure = await made.failure(ask("hi", model="nobody/nothing-of-it"))
    assert failure.detail == "please call us"


# Isolation.


async def test_a_hook_that_fails_harms_nobody() -> None:
    made = hooked(Raises(), a=[text("fine"), text("fine")])
    assert (await made.answer()).text == "fine"
    assert said_in(await events_of(made)) == "fine"


async def test_what_fails_is_counted() -> None:
    made = Rigs(a=text("fine"))
    (one,) = put_on(made, Raises())
    await made.answer()
    assert (one.counts.called, one.counts.failed) == (2, 2)


async def test_a_guard_that_fails_refuses_and_tells_no_secret() -> None:
    made = hooked(Guards(), a=text("x"))
    failure = await made.failure()
    assert (failure.kind, failure.code) == (FailureKind.UNAVAILABLE, "guard_failed")
    assert "Guards" in failure.detail
    assert "secret" not in failure.detail
    assert made["a"].transport.calls == 0


async def test_a_guard_that_fails_in_a_stream_ends_it_in_an_error() -> None:
    class Late:
        guard = True

        def stream_event(self, seen: Streamed) -> None:
            assert not isinstance(seen.event, Delta)

    made = hooked(Late(), a=text("one two three"))
    events = await events_of(made)
    outcome = end_of(events)
    assert isinstance(outcome, Failure)
    assert (outcome.code, said_in(events)) == ("guard_failed", "")
    assert made["a"].in_flight == 0


@pytest.mark.parametrize("wrong", ["a text", 3, Delta(text="x")])
async def test_a_wrong_kind_of_answer_is_a_failure_of_the_hook(wrong: Any) -> None:
    class Wrong:
        def pre(self, asked: Before) -> Any:
            return wrong

    made = Rigs(a=text("fine"))
    (one,) = put_on(made, Wrong())
    assert (await made.answer()).text == "fine"
    assert one.counts.failed == 1


async def test_a_hook_whose_maker_fails_is_left_out_and_a_guard_lets_nothing_pass() -> None:
    class Unmade:
        def for_request(self) -> object:
            raise RuntimeError("no")

    assert (await hooked(Unmade(), a=text("fine")).answer()).text == "fine"
    failure = await hooked((Unmade(), {"guard": True}), a=text("x")).failure()
    assert failure.code == "guard_failed"


async def test_a_hook_of_a_request_remembers_that_request_alone() -> None:
    class Counting:
        def __init__(self) -> None:
            self.seen: list[int] = []

        def for_request(self) -> object:
            return _One(self.seen)

    class _One:
        def __init__(self, seen: list[int]) -> None:
            self.seen, self.moments = seen, 0

        def pre(self, asked: Before) -> None:
            self.moments += 1

        def post(self, given: After) -> None:
            self.seen.append(self.moments + 1)

    hook = Counting()
    made = hooked(hook, a=[text("x"), text("y")])
    await made.answer()
    await made.answer()
    assert hook.seen == [2, 2]


# In time.


class Sleeps:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def pre(self, asked: Before) -> Request:
        await asyncio.sleep(self.seconds)
        return replace(asked.request, messages=(user("changed"),))


@given(seconds=st.floats(0.01, 5.0), limit=st.floats(0.01, 5.0))
def test_an_async_hook_has_its_time_and_no_more(seconds: float, limit: float) -> None:
    if abs(seconds - limit) < 0.001:
        return

    async def run() -> tuple[Any, float, Any]:
        clock = LoopClock()
        one = mounted(Sleeps(seconds), clock, timeout_s=limit)
        began = clock()
        got = await one.ask(one.hook.pre, Before(request=ask("hi")), (Request,))
        return got, clock() - began, one

    got, took_s, one = in_virtual_time(run)
    assert took_s == pytest.approx(min(seconds, limit))
    assert (got is None) == (seconds > limit)
    assert one.counts.slow == (seconds > limit)


def test_a_guard_out_of_time_refuses() -> None:
    async def run() -> Any:
        one = mounted(Sleeps(2.0), LoopClock(), timeout_s=1.0, guard=True)
        return await one.ask(one.hook.pre, Before(request=ask("hi")), (Request,))

    assert in_virtual_time(run).code == "guard_failed"


async def test_a_plain_function_that_takes_too_long_is_counted_and_its_word_holds() -> None:
    clock = FakeClock()

    class Blocks:
        def pre(self, asked: Before) -> Request:
            clock.advance(2.0)
            return asked.request

    one = mounted(Blocks(), clock, timeout_s=1.0)
    assert isinstance(await one.ask(one.hook.pre, Before(request=ask("hi")), (Request,)), Request)
    assert (one.counts.slow, one.counts.failed) == (1, 0)


# Nothing that is shown can be changed.


PAYLOADS = [
    Before(request=ask("hi")),
    Embedding(request=EmbedRequest(inputs=("hi",))),
    Attempted(request=ask("hi"), provider="a", model="m", kind="openai"),
    After(request=ask("hi"), completion=Completion(id="1", model="m")),
    Failed(request=ask("hi"), failure=refuse("no")),
    Streamed(request=ask("hi"), event=Delta(text="x")),
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda one: type(one).__name__)
def test_payloads_are_frozen_and_so_is_what_they_hold(payload: Any) -> None:
    for one in dataclasses.fields(payload):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(payload, one.name, None)
        value = getattr(payload, one.name)
        for inner in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(value, inner.name, None)


async def test_whose_request_it_is_no_hook_can_change() -> None:
    class Robs:
        def pre(self, asked: Before) -> Request:
            return Request(messages=(user("mine"),), tenant="other", stream=True)

    seen: list[Request] = []

    class Sees:
        def pre(self, asked: Before) -> None:
            seen.append(asked.request)

    made = hooked(Robs(), Sees(), a=text("x"))
    await made.answer(replace(ask("hi"), tenant="us", request_id="r1", deadline_s=5.0))
    assert (seen[0].tenant, seen[0].request_id, seen[0].stream, seen[0].deadline_s) == ("us", "r1", False, 5.0)


# Streams.


async def test_each_piece_of_a_stream_may_be_changed_and_its_end_agrees() -> None:
    events = await events_of(hooked(Upper(), a=text("one two")))
    outcome = end_of(events)
    assert isinstance(outcome, Completion)
    assert said_in(events) == outcome.text == "ONE TWO"


async def test_pieces_may_be_held_back_until_the_end() -> None:
    class Holds:
        def for_request(self) -> object:
            return _Holding()

    class _Holding:
        def __init__(self) -> None:
            self.held = ""

        def stream_event(self, seen: Streamed) -> Any:
            match seen.event:
                case Delta(text=words) if words:
                    self.held += words
                    return ()
                case StreamEnd():
                    return (Delta(text=self.held), seen.event)
            return None

    events = await events_of(hooked(Holds(), a=text("one two three")))
    assert [one.text for one in events if isinstance(one, Delta) and one.text] == ["one two three"]
    assert isinstance(end_of(events), Completion)


async def test_no_hook_can_take_away_the_start_or_the_end_of_a_stream() -> None:
    class Swallows:
        def stream_event(self, seen: Streamed) -> tuple[()]:
            return ()

    events = await events_of(hooked(Swallows(), a=text("x")))
    assert isinstance(events[0], StreamStart)
    assert isinstance(end_of(events), Completion)


async def test_a_stream_that_is_refused_after_all_ends_in_an_error_and_stops_the_provider() -> None:
    class Stops:
        def stream_event(self, seen: Streamed) -> Failure | None:
            if isinstance(seen.event, Delta) and "two" in seen.event.text:
                return refuse("enough")
            return None

    made = hooked(Stops(), a=text("one two three"))
    events = await events_of(made)
    outcome = end_of(events)
    assert isinstance(outcome, Failure)
    assert outcome.detail == "enough"
    assert "two" not in said_in(events)
    assert made["a"].transport.active == 0


async def test_a_stream_refused_before_it_began_is_an_end_alone() -> None:
    (only,) = await events_of(hooked(Refuses("pre"), a=text("x")))
    assert isinstance(only, StreamEnd)


# What the parts behind the hooks see.


async def test_equal_questions_after_the_hooks_share_an_answer() -> None:
    made = hooked(Asks("the same"), settings={"cache": {"enabled": True}}, a=[text("once"), text("twice")])
    first, second = await made.answer(ask("one")), await made.answer(ask("two"))
    assert (first.text, second.text) == ("once", "once")
    assert made["a"].transport.calls == 1


async def test_a_request_may_be_changed_for_one_candidate() -> None:
    class Cooler:
        def attempt(self, made: Attempted) -> Request | None:
            if made.provider == "a":
                return replace(made.request, sampling=Sampling(temperature=0.125), model="ignored")
            return None

    made = hooked(Cooler(), a=text("x"))
    await made.answer()
    assert b"0.125" in made["a"].transport.sent[0]
    assert b"ignored" not in made["a"].transport.sent[0]


async def test_estimates_are_of_every_candidate() -> None:
    found: list[Any] = []

    class Looks:
        def pre(self, asked: Before) -> None:
            found.extend(asked.estimates(asked.request))

    prices = {"models": {"a/a-model": {"price": {"input": 1, "output": 1}}}}
    made = hooked(Looks(), settings=prices, a=text("x"), b=text("y"))
    await made.answer()
    assert [(one.provider, one.cost is None) for one in found] == [("a", False), ("b", True)]


async def test_the_time_of_hooks_is_told_as_overhead() -> None:
    made = Rigs(a=text("x"))

    class Takes:
        def pre(self, asked: Before) -> None:
            made.clock.advance(0.25)

        def post(self, given: After) -> None:
            made.clock.advance(0.5)

    put_on(made, Takes())
    assert (await made.answer()).overhead_s == pytest.approx(0.75, abs=1e-3)
