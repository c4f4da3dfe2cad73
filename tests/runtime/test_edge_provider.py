"""One provider, from the door to the books, over the scripted wire."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from runtime.breaker import Permit, Refusal
from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.reading import NOT_REPORTED
from runtime.dialects.scripted import (
    ErrorEvent,
    Hang,
    Malformed,
    Refuse,
    Reset,
    Scripted,
    Stall,
    Status,
    Step,
    Truncate,
)
from runtime.feed import Published
from runtime.hold import within
from runtime.outcome import (
    Completion,
    Delta,
    Embeddings,
    Failure,
    FailureKind,
    FinishReason,
    Outcome,
    StreamEnd,
    StreamStart,
    Usage,
)
from runtime.price import cost_of
from runtime.request import EmbedRequest, Request, Sampling, Tool, ask
from runtime.settings import Settings
from runtime.transport.base import Fault, FaultKind, Limits
from tests.fakes.clock import HeldSleep, turns
from tests.fakes.providers import Rig, fails, kind, rig, settings_of, streamed
from tests.simulation.loop import simulate

K = FailureKind
OK = Step(text="one two three", usage=Usage(input_tokens=10, output_tokens=3))
DOWN = fails(Status(status=500))
PRICED = settings_of("one", models={"one/scripted": {"price": {"input": "1", "output": "2"}}})


async def opened(*steps: Step, **said: Any) -> Rig:
    """A provider whose breaker has just opened."""
    made = rig(*[DOWN] * 5, *steps, **said)
    for _ in range(5):
        await made.provider.complete(ask("hi"))
    made.changes.clear()
    made.observations.take()
    return made


# An answer.


async def test_an_answer_is_priced_timed_and_counted() -> None:
    made = rig(replace(OK, delay_s=0.5), settings=PRICED)
    answer = await made.provider.complete(ask("hi"))
    assert isinstance(answer, Completion)
    assert (answer.text, answer.provider, answer.model) == ("one two three", "one", "scripted")
    assert answer.latency_s == pytest.approx(0.5)
    assert answer.cost is not None
    assert answer.cost.total_nanousd == 10 * 1_000 + 3 * 2_000
    assert made.in_flight == 0
    seen = made.seen()
    assert (seen.good, seen.answered, seen.cost_nanousd) == (1, 1, 16_000)
    assert seen.latency_sum_s == pytest.approx(0.5)
    assert (await made.provider.usage("hour")).requests == 1


async def test_an_unknown_price_is_no_zero() -> None:
    answer = await rig(OK).provider.complete(ask("hi"))
    assert isinstance(answer, Completion)
    assert answer.cost is None


async def test_usage_that_was_not_reported_is_estimated_and_marked() -> None:
    """Else the price of unreported tokens would be that of none."""

    class Silent(Scripted):
        def decode(self, reply: HttpReply, target: Target) -> Outcome:
            answer = super().decode(reply, target)
            return replace(answer, usage=NOT_REPORTED) if isinstance(answer, Completion) else answer

        def decode_embed(self, reply: HttpReply, target: Target) -> Embeddings | Failure:
            vectors = super().decode_embed(reply, target)
            return replace(vectors, usage=NOT_REPORTED) if isinstance(vectors, Embeddings) else vectors

    made = rig(OK, dialect=Silent(), settings=PRICED)
    answer = await made.provider.complete(ask("12345678"))
    assert isinstance(answer, Completion)
    # 8 and 13 bytes
    assert answer.usage == Usage(input_tokens=2, output_tokens=4, estimated=True)
    assert answer.cost is not None
    assert answer.cost.total_nanousd == 2 * 1_000 + 4 * 2_000
    assert made.seen().estimated == 1
    vectors = await made.provider.embed(EmbedRequest(inputs=("1234", "12345")))
    assert isinstance(vectors, Embeddings)
    assert vectors.usage == Usage(input_tokens=3, estimated=True)


async def test_without_a_model_the_default_is_meant() -> None:
    made = rig(OK, settings=settings_of("one", providers={"one": {"default_model": "m1"}}))
    answer = await made.provider.complete(ask("hi"))
    assert isinstance(answer, Completion)
    assert answer.model == "m1"


async def test_settings_fill_what_a_request_leaves_open() -> None:
    class Spy(Scripted):
        sent: Request

        def encode(self, request: Request, target: Target) -> HttpCall | Failure:
            self.sent = request
            return super().encode(request, target)

    spy = Spy()
    made = rig(OK, dialect=spy, defaults=Sampling(temperature=0.5, max_tokens=7, stop=("x",)))
    await made.provider.complete(replace(ask("hi"), sampling=Sampling(temperature=0.0)))
    assert spy.sent.sampling == Sampling(temperature=0.0, max_tokens=7, stop=("x",))


async def test_what_a_dialect_cannot_carry_is_named() -> None:
    request = replace(ask("hi"), extra={"x": 1})
    made = rig(OK)
    answer = await made.provider.complete(request)
    assert isinstance(answer, Completion)
    assert answer.dropped == ("x",)
    stream = await streamed(made.provider, request)
    assert stream.start is not None
    assert stream.start.dropped == ("x",)


class Sent(Scripted):
    """Remembers what it was to send."""

    request: Request
    target: Target

    def encode(self, request: Request, target: Target) -> HttpCall | Failure:
        self.request, self.target = request, target
        return super().encode(request, target)


def modelled(**said: Any) -> Settings:
    return settings_of("one", models={"one/scripted": said})


@pytest.mark.parametrize("how", ["complete", "stream"])
async def test_what_a_model_does_not_take_is_left_out_and_named(how: str) -> None:
    sent = Sent()
    made = rig(OK, dialect=sent, settings=modelled(unsupported_parameters=["temperature", "seed"]))
    request = replace(ask("hi"), sampling=Sampling(temperature=0.5, max_tokens=7), extra={"x": 1})
    if how == "stream":
        stream = await streamed(made.provider, request)
        assert stream.start is not None
        assert stream.start.dropped == ("temperature", "x")
        answer = stream.outcome
    else:
        answer = await made.provider.complete(request)
    assert isinstance(answer, Completion)
    assert answer.dropped == ("temperature", "x")
    assert sent.request.sampling == Sampling(max_tokens=7)


async def test_what_a_model_cannot_do_is_refused_unsent() -> None:
    made = rig(OK, settings=modelled(features=["streaming", "system_messages"]))
    request = replace(ask("hi"), tools=(Tool(name="f"),))
    refusal = await made.provider.complete(request)
    assert isinstance(refusal, Failure)
    assert (refusal.kind, refusal.param, refusal.provider) == (K.UNSUPPORTED, "tools", "one")
    assert kind((await streamed(made.provider, request)).outcome) is K.UNSUPPORTED
    assert made.transport.calls == made.in_flight == 0
    assert not made.observations


async def test_a_dialect_is_told_the_longest_answer() -> None:
    sent = Sent()
    await rig(OK, dialect=sent, settings=modelled(max_output_tokens=77)).provider.complete(ask("hi"))
    assert sent.target.max_output_tokens == 77


async def test_a_model_that_cannot_stream_is_asked_for_the_whole_and_waited_for() -> None:
    sent = Sent()
    body = b'{"id":"7","model":"m","choices":[{"text":"all of it","finish_reason":"stop"}],"usage":{}}'

    class Patient(Piecemeal):
        limits: Limits

        async def open(self, call: HttpCall, limits: Limits) -> Piecemeal:
            self.limits = limits
            return self

    transport = Patient([body], content_type="application/json")
    made = rig(transport=transport, dialect=sent, settings=modelled(features=["system_messages"]))
    stream = await streamed(made.provider, ask("hi"))
    assert stream.text == "all of it"
    assert not sent.request.stream
    assert transport.limits.first_byte_s == transport.limits.total_s


async def test_embeddings_are_counted_like_answers() -> None:
    made = rig(Step(delay_s=0.25))
    vectors = await made.provider.embed(EmbedRequest(inputs=("a b", "c")))
    assert isinstance(vectors, Embeddings)
    assert len(vectors.vectors) == 2
    assert vectors.latency_s == pytest.approx(0.25)
    assert made.seen().answered == 1


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (Refuse(), K.UNAVAILABLE),
        (Reset(), K.UNAVAILABLE),
        (Hang(), K.TIMED_OUT),
        (Truncate(), K.INTERRUPTED),
        (Malformed(), K.MALFORMED),
        (ErrorEvent(type="overloaded_error"), K.OVERLOADED),
        (Status(status=400), K.BAD_REQUEST),
        (Status(status=401), K.UNAUTHENTICATED),
        (Status(status=404), K.MODEL_NOT_FOUND),
        (Status(status=429), K.RATE_LIMITED),
        (Status(status=503), K.OVERLOADED),
    ],
    ids=str,
)
@pytest.mark.parametrize("how", ["complete", "stream", "embed"])
async def test_every_trouble_is_a_value_and_settled(trouble: Any, expected: FailureKind, how: str) -> None:
    made = rig(fails(trouble, text="one two"))
    if how == "stream":
        outcome: Any = (await streamed(made.provider, ask("hi"))).outcome
    elif how == "embed":
        outcome = await made.provider.embed(EmbedRequest(inputs=("a",)))
    else:
        outcome = await made.provider.complete(ask("hi"))
    assert kind(outcome) is expected
    assert (outcome.provider, outcome.model) == ("one", "scripted")
    assert outcome.detail
    assert made.in_flight == made.transport.active == 0
    assert made.seen().failures == {expected: 1}


async def test_a_stall_is_cut_short() -> None:
    made = rig(fails(Stall(), text="one two"))
    assert kind(await made.provider.complete(ask("hi"))) is K.INTERRUPTED
    assert kind((await streamed(made.provider, ask("hi"))).outcome) is K.TIMED_OUT


# Streams.


async def test_a_stream_tells_who_answers_then_what_then_how_it_went() -> None:
    step = replace(OK, delay_s=0.5, first_chunk_delay_s=0.25, chunk_delay_s=0.1)
    made = rig(step, settings=PRICED)
    stream = await streamed(made.provider, ask("hi"))
    assert stream.start is not None
    assert (stream.start.provider, stream.start.model) == ("one", "scripted")
    assert stream.text == "one two three"
    assert stream.deltas[-1].finish_reason is FinishReason.STOP
    assert isinstance(stream.outcome, Completion)
    assert stream.outcome.text == "one two three"
    assert stream.outcome.ttft_s == pytest.approx(0.75)
    assert stream.outcome.latency_s == pytest.approx(0.75 + 3 * 0.1)
    assert stream.outcome.cost is not None
    assert made.in_flight == made.transport.active == 0


async def test_a_slow_reader_does_not_make_a_provider_slow() -> None:
    made = rig(replace(OK, chunk_delay_s=0.1))
    async for event in made.provider.stream(ask("hi")):
        made.clock.advance(10.0)
        if isinstance(event, StreamEnd):
            assert isinstance(event.outcome, Completion)
            assert event.outcome.latency_s == pytest.approx(0.3)
    assert made.provider.standing.load.latency_s.value == pytest.approx(0.3)


@pytest.mark.parametrize("trouble", [ErrorEvent(), Truncate(), Stall(), Malformed()], ids=str)
async def test_before_content_a_stream_fails_alone(trouble: Any) -> None:
    """No start: another provider can take over."""
    stream = await streamed(rig(fails(trouble, text="one two")).provider, ask("hi"))
    assert stream.start is None
    assert isinstance(stream.outcome, Failure)


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (Truncate(after=1), K.INTERRUPTED),
        (Stall(after=1), K.INTERRUPTED),
        (Malformed(after=1), K.MALFORMED),
        (ErrorEvent(after=1, type="overloaded_error"), K.OVERLOADED),
    ],
    ids=str,
)
async def test_after_content_a_failure_is_explicit(trouble: Any, expected: FailureKind) -> None:
    stream = await streamed(rig(fails(trouble, text="one two three")).provider, ask("hi"))
    assert stream.start is not None
    assert stream.text == "one "
    assert kind(stream.outcome) is expected


async def test_an_answer_without_content_is_an_answer() -> None:
    stream = await streamed(rig(Step(finish_reason=FinishReason.CONTENT_FILTER)).provider, ask("hi"))
    assert stream.start is not None
    assert isinstance(stream.outcome, Completion)
    assert stream.outcome.finish_reason is FinishReason.CONTENT_FILTER
    assert stream.deltas[-1].finish_reason is FinishReason.CONTENT_FILTER


class Piecemeal:
    """A transport whose streams give these bytes, then wait."""

    def __init__(self, pieces: list[bytes], *, content_type: str = "text/event-stream", again: bool = False) -> None:
        self.headers: Mapping[str, str] = {"content-type": content_type}
        self.status = 200
        self.closed = 0
        self._pieces = pieces
        self._again = again

    async def send(self, call: HttpCall, limits: Limits) -> HttpReply | Fault:
        return Fault(FaultKind.REFUSED)

    async def open(self, call: HttpCall, limits: Limits) -> Piecemeal:
        return self

    async def read(self) -> bytes | Fault:
        await asyncio.sleep(0)
        if self._again:
            return self._pieces[0]
        return self._pieces.pop(0) if self._pieces else b""

    async def read_all(self) -> bytes | Fault:
        return b"".join(self._pieces)

    async def close(self) -> None:
        self.closed += 1


async def test_bytes_alone_are_no_sign_of_life() -> None:
    empty = Piecemeal([b'{"delta":{}}\n'], again=True)
    made = rig(transport=empty, limits=Limits(first_byte_s=0.01))
    stream = await streamed(made.provider, ask("hi"))
    assert kind(stream.outcome) is K.TIMED_OUT
    assert empty.closed == 1


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON ; charset=utf-8"])
async def test_a_whole_answer_to_a_streams_request_is_streamed(content_type: str) -> None:
    body = b'{"id":"7","model":"m","choices":[{"text":"all of it","finish_reason":"stop"}],"usage":{}}'
    made = rig(transport=Piecemeal([body], content_type=content_type))
    stream = await streamed(made.provider, ask("hi"))
    assert stream.text == "all of it"
    assert isinstance(stream.outcome, Completion)


class Labelled(Scripted):
    json_streams = True


async def test_a_stream_may_be_labelled_as_json_where_its_dialect_says_so() -> None:
    lines = [b'{"id":"7","model":"m"}\n', b'{"delta":{"text":"a"}}\n', b'{"delta":{"text":"b"}}\n{"end":true}\n']
    made = rig(dialect=Labelled(), transport=Piecemeal(lines, content_type="application/json"))
    stream = await streamed(made.provider, ask("hi"))
    assert [delta.text for delta in stream.deltas] == ["a", "b"]
    assert isinstance(stream.outcome, Completion)


async def test_a_stream_that_just_stops_is_no_clean_end() -> None:
    cut = Piecemeal([b'{"id":"7","model":"m"}\n{"delta":{"text":"half"}}\n'])
    stream = await streamed(rig(transport=cut).provider, ask("hi"))
    assert stream.text == "half"
    assert kind(stream.outcome) is K.INTERRUPTED


# Bugs, and what a dialect refuses.


class Refusing(Scripted):
    """Cannot express anything."""

    def encode(self, request: Request, target: Target) -> HttpCall | Failure:
        return Failure(kind=K.BAD_REQUEST, detail="cannot be expressed")


class Broken(Scripted):
    def decode(self, reply: HttpReply, target: Target) -> Outcome:
        raise ZeroDivisionError


async def test_what_was_never_sent_says_nothing_of_the_provider() -> None:
    """A bad request counts as good news of whoever answered it; nobody answered this one."""
    made = await opened(OK)
    made.provider.dialect = Refusing()
    made.clock.advance(30.0)
    assert kind(await made.provider.complete(ask("hi"))) is K.BAD_REQUEST
    assert kind((await streamed(made.provider, ask("hi"))).outcome) is K.BAD_REQUEST
    assert made.provider.standing.gate.why(made.clock(), "scripted") == "open"
    assert not made.observations
    assert made.in_flight == 0
    made.provider.dialect = Scripted()
    assert isinstance(await made.provider.complete(ask("hi")), Completion), "the probe was lost"


async def test_a_bug_is_settled_and_blames_nobody() -> None:
    made = rig(OK, dialect=Broken())
    assert kind(await made.provider.complete(ask("hi"))) is K.INTERNAL
    assert made.in_flight == made.transport.active == 0
    assert made.seen().silent == 1


async def test_a_stream_with_a_bug_has_an_end() -> None:
    class Choking(Scripted):
        def decoder(self, target: Target) -> Any:
            decoder = super().decoder(target)

            class Later:
                id, model, ended = "1", "m", False

                def feed(self, data: bytes) -> list[Delta]:
                    deltas = decoder.feed(data)
                    if any(delta.finish_reason for delta in deltas):
                        raise ZeroDivisionError
                    return deltas

            return Later()

    made = rig(OK, dialect=Choking())
    stream = await streamed(made.provider, ask("hi"))
    assert stream.text == "one two three"
    assert kind(stream.outcome) is K.INTERNAL
    assert made.in_flight == made.transport.active == 0


# The breaker.


async def test_the_breaker_opens_after_five_failures() -> None:
    made = rig(DOWN)
    for _ in range(5):
        assert kind(await made.provider.complete(ask("hi"))) is K.UNAVAILABLE
    refused = await made.provider.complete(ask("hi"))
    assert isinstance(refused, Failure)
    assert (refused.kind, refused.retry_after_s) == (K.REFUSED, 30.0)
    assert made.transport.calls == 5
    assert len(made.changes) == 1, "others hear of it at once"
    status = await made.provider.status()
    assert (status.available, status.breaker, status.retry_in_s) == (False, "open", 30.0)


async def test_streams_do_not_bypass_the_breaker() -> None:
    """In the first system the breaker saw only that a generator had been made."""
    made = rig(fails(ErrorEvent(after=1), text="one two"))
    for _ in range(5):
        await streamed(made.provider, ask("hi"))
    assert kind((await streamed(made.provider, ask("hi"))).outcome) is K.REFUSED
    assert kind(await made.provider.complete(ask("hi"))) is K.REFUSED
    assert made.transport.calls == 5


async def test_four_hundreds_and_wrong_keys_do_not_open_the_breaker() -> None:
    made = rig(fails(Status(status=400)), fails(Status(status=401)), fails(Status(status=404)), loop=True)
    for _ in range(30):
        await made.provider.complete(ask("hi"))
    assert made.transport.calls == 30


@pytest.mark.parametrize("how", ["complete", "stream"])
async def test_half_open_sends_a_single_probe(how: str) -> None:
    """In the first system half-open let everyone in."""
    held = HeldSleep()
    made = await opened(replace(OK, delay_s=1.0), sleep=held)
    made.clock.advance(30.0)

    async def call() -> Outcome:
        if how == "stream":
            return (await streamed(made.provider, ask("hi"))).outcome
        return await made.provider.complete(ask("hi"))

    calls = [asyncio.create_task(call()) for _ in range(10)]
    await turns()
    assert held.sleeping == 1
    held.release()
    outcomes = await asyncio.gather(*calls)
    assert [isinstance(one, Completion) for one in outcomes] == [True] + [False] * 9
    assert {kind(one) for one in outcomes[1:]} == {K.REFUSED}
    assert isinstance(await call(), Completion)


async def test_a_probes_stream_frees_the_door_at_its_first_content() -> None:
    made = await opened(OK)
    made.clock.advance(30.0)
    async with aclosing(made.provider.stream(ask("hi"))) as events:
        assert isinstance(await anext(events), StreamStart)
        assert isinstance(await made.provider.complete(ask("hi")), Completion)
    assert len(made.changes) >= 1


async def test_a_late_failure_does_not_reopen_a_healed_door() -> None:
    held = HeldSleep()
    made = rig(fails(Status(status=500), delay_s=1.0), *[DOWN] * 5, OK, sleep=held)
    late = asyncio.create_task(made.provider.complete(ask("hi")))
    await turns()
    for _ in range(5):
        await made.provider.complete(ask("hi"))
    made.clock.advance(30.0)
    assert isinstance(await made.provider.complete(ask("hi")), Completion)
    held.release()
    assert kind(await late) is K.UNAVAILABLE
    assert (await made.provider.status()).breaker == "closed"


# Rate limits.


async def test_a_rate_limit_with_a_time_shuts_the_door_for_it() -> None:
    made = rig(fails(Status(status=429, retry_after_s=7.0)), OK)
    limited = await made.provider.complete(ask("hi"))
    assert isinstance(limited, Failure)
    assert (limited.kind, limited.retry_after_s) == (K.RATE_LIMITED, 7.0)
    refused = await made.provider.complete(ask("hi"))
    assert kind(refused) is K.THROTTLED
    assert "throttled" in str(refused)
    made.clock.advance(7.0)
    assert isinstance(await made.provider.complete(ask("hi")), Completion)


async def test_a_rate_limit_without_a_time_gets_one() -> None:
    made = rig(fails(Status(status=429)), OK)
    limited = await made.provider.complete(ask("hi"))
    assert isinstance(limited, Failure)
    assert limited.retry_after_s is not None
    assert limited.retry_after_s >= 1.0
    assert made.seen().throttled_for_s == limited.retry_after_s
    made.clock.advance(limited.retry_after_s)
    assert isinstance(await made.provider.complete(ask("hi")), Completion)


# Callers who go away.


@pytest.mark.parametrize("how", ["complete", "stream", "embed"])
async def test_a_caller_who_goes_away_is_settled_and_blames_nobody(how: str) -> None:
    made = rig(Step(text="one", delay_s=1.0), sleep=HeldSleep())
    calls: dict[str, Any] = {
        "complete": lambda: made.provider.complete(ask("hi")),
        "stream": lambda: streamed(made.provider, ask("hi")),
        "embed": lambda: made.provider.embed(EmbedRequest(inputs=("a",))),
    }
    call = asyncio.create_task(calls[how]())
    await turns()
    assert made.in_flight == made.transport.active == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert made.in_flight == made.transport.active == 0
    seen = made.seen()
    assert (seen.good, seen.bad, seen.silent, seen.failures) == (0, 0, 1, {K.CANCELLED: 1})
    report = await made.provider.usage("hour")
    assert (report.requests, report.errors, report.total.answered) == (1, 0, 0)
    assert report.total.input_tokens == seen.input_tokens == 1, "the provider has had the question"
    assert report.total.estimated_requests == 1


@pytest.mark.parametrize("ends", ["the caller goes", "the stream breaks"])
async def test_what_a_stream_used_before_it_ended_early_is_counted(ends: str) -> None:
    text = ("four" * 4,) * 3
    made = rig(Step(chunks=text, fault=None if ends == "the caller goes" else Truncate(after=3)), settings=PRICED)
    events = made.provider.stream(ask("12345678"))
    if ends == "the caller goes":
        for _ in range(4):
            await anext(events)
        await events.aclose()
    else:
        last = [event async for event in events][-1]
        assert isinstance(last, StreamEnd)
        assert isinstance(last.outcome, Failure)
        assert last.outcome.usage == Usage(input_tokens=2, output_tokens=12, estimated=True)
        assert last.outcome.cost is not None
    seen = made.seen()
    assert (seen.answered, seen.input_tokens, seen.output_tokens, seen.estimated) == (0, 2, 12, 1)
    assert seen.cost_nanousd == 2 * 1_000 + 12 * 2_000


@pytest.mark.parametrize("read", [1, 2, 3])
async def test_closing_a_stream_early_stops_the_upstream_call(read: int) -> None:
    made = rig(OK)
    events = made.provider.stream(ask("hi"))
    for _ in range(read):
        await anext(events)
    assert made.in_flight == made.transport.active == 1
    await events.aclose()
    assert made.in_flight == made.transport.active == 0
    assert made.seen().failures == {K.CANCELLED: 1}


async def test_a_cancelled_probe_leaves_the_door_to_the_next() -> None:
    held = HeldSleep()
    made = await opened(replace(OK, delay_s=1.0), OK, sleep=held)
    made.clock.advance(30.0)
    probe = asyncio.create_task(made.provider.complete(ask("hi")))
    await turns()
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    assert isinstance(await made.provider.complete(ask("hi")), Completion)


# The authority.


class Authority:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: asyncio.Future[Permit | Refusal | None] = asyncio.get_running_loop().create_future()

    async def permit(self, model: str) -> Permit | Refusal | None:
        self.asked += 1
        return await self.answer


def shut(made: Rig) -> None:
    state = Published(provider="one", spell=8, open=True)
    made.provider.standing.adopt(state, made.clock())


async def test_a_probe_is_asked_for_once_and_sent_once() -> None:
    authority = Authority()
    made = rig(OK, ask_permit=authority.permit)
    shut(made)
    calls = [asyncio.create_task(made.provider.complete(ask("hi"))) for _ in range(5)]
    await turns()
    assert (authority.asked, made.transport.calls) == (1, 0)
    authority.answer.set_result(Permit(9, probe=True))
    outcomes = await asyncio.gather(*calls)
    assert [isinstance(one, Completion) for one in outcomes] == [True] + [False] * 4
    assert made.in_flight == 0
    assert made.seen().spell == 9
    assert made.changes


@pytest.mark.parametrize("locally_open", [False, True])
async def test_a_caller_who_goes_away_while_it_asks_loses_no_probe(*, locally_open: bool) -> None:
    authority = Authority()
    made = await opened(OK, ask_permit=authority.permit) if locally_open else rig(OK, ask_permit=authority.permit)
    made.clock.advance(30.0)
    shut(made)
    call = asyncio.create_task(made.provider.complete(ask("hi")))
    await turns()
    assert made.in_flight == 1
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert made.in_flight == 0
    again = Authority()
    again.answer.set_result(Permit(9, probe=True))
    made.provider.ask_permit = again.permit
    assert isinstance(await made.provider.complete(ask("hi")), Completion)


def test_asking_for_leave_takes_no_more_than_the_requests_own_time() -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop().time
        authority = Authority()
        made = rig(OK, ask_permit=authority.permit)
        shut(made)
        begun = clock()
        assert kind(await made.provider.complete(replace(ask("hi"), deadline_s=0.5))) is K.DEADLINE_EXCEEDED
        assert clock() - begun == pytest.approx(0.5)
        assert made.transport.calls == made.in_flight == 0
        authority.answer = asyncio.get_running_loop().create_future()
        authority.answer.set_result(Permit(9, probe=True))
        assert isinstance(await made.provider.complete(ask("hi")), Completion), "the door is free for the next"

    simulate(main)


async def test_an_authority_that_errs_is_out_of_reach() -> None:
    async def erring(model: str) -> Permit | Refusal | None:
        raise ConnectionResetError

    made = rig(OK, ask_permit=erring)
    shut(made)
    assert isinstance(await made.provider.complete(ask("hi")), Completion), "one probe of its own"
    assert kind(await made.provider.complete(ask("hi"))) is K.REFUSED
    assert made.in_flight == 0


# Time.


async def test_a_deadline_cuts_the_time_limit() -> None:
    made = rig(fails(Hang()))
    started = made.clock()
    await made.provider.complete(replace(ask("hi"), deadline_s=20.0))
    assert made.clock() - started == 20.0


async def test_a_deadline_that_has_passed_asks_nobody() -> None:
    made = rig(OK)
    assert kind(await made.provider.complete(replace(ask("hi"), deadline_s=0.0))) is K.DEADLINE_EXCEEDED
    assert made.transport.calls == made.in_flight == 0


async def test_a_caller_in_a_hurry_cannot_shut_a_provider() -> None:
    made = rig(Step(delay_s=1.0, text="ok"))
    for _ in range(10):
        assert kind(await made.provider.complete(replace(ask("hi"), deadline_s=0.1))) is K.DEADLINE_EXCEEDED
    assert (await made.provider.status()).available


async def test_a_provider_that_hangs_is_to_blame_also_for_callers_with_deadlines() -> None:
    made = rig(fails(Hang()))
    for _ in range(5):
        assert kind(await made.provider.complete(replace(ask("hi"), deadline_s=10.0))) is K.TIMED_OUT
    assert not (await made.provider.status()).available


async def test_what_is_fair_follows_what_is_usual() -> None:
    made = rig(Step(delay_s=0.5, text="ok"), fails(Hang()))
    await made.provider.complete(ask("hi"))
    assert kind(await made.provider.complete(replace(ask("hi"), deadline_s=2.0))) is K.TIMED_OUT
    assert kind(await made.provider.complete(replace(ask("hi"), deadline_s=0.6))) is K.DEADLINE_EXCEEDED


# Bounds.


async def test_calls_in_flight_are_bounded() -> None:
    held = HeldSleep()
    made = rig(Step(text="ok", delay_s=1.0), sleep=held, max_in_flight=2)
    calls = [asyncio.create_task(made.provider.complete(ask("hi"))) for _ in range(2)]
    await turns()
    assert made.provider.vitals("scripted", made.clock()).retry_in_s > 0.0, "others are asked first"
    refused = await made.provider.complete(ask("hi"))
    assert isinstance(refused, Failure)
    assert refused.kind is K.REFUSED
    assert refused.detail.startswith("one has 2 calls in flight, its limit")
    status = await made.provider.status()
    assert (status.in_flight, status.max_in_flight, status.load) == (2, 2, 1.0)
    held.release()
    await asyncio.gather(*calls)
    assert isinstance(await made.provider.complete(ask("hi")), Completion)


async def test_finished_requests_are_not_active() -> None:
    """In the first system thirty finished requests were thirty active ones."""
    made = rig(OK)
    for _ in range(30):
        await made.provider.complete(ask("hi"))
    status = await made.provider.status()
    assert (status.in_flight, status.queued) == (0, 0)
    assert (await made.provider.metrics())["requests"] == 30


async def test_what_cannot_be_called_yet_says_why() -> None:
    made = rig(OK, not_yet="still starting")
    failure = await made.provider.complete(ask("hi"))
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.detail) == (K.UNAVAILABLE, "still starting")
    assert made.transport.calls == made.in_flight == 0
    assert not (await made.provider.status()).available


# What it says of itself.


class Listing(Scripted):
    """Counts how often its list is asked for, and fails as long as it is told to."""

    asked = 0
    failing = False

    def decode_models(self, reply: HttpReply, target: Target) -> tuple[str, ...] | Failure:
        self.asked += 1
        return Failure(kind=K.UNAVAILABLE, detail="no list") if self.failing else ("m1", "m2")


async def test_a_list_is_asked_for_once() -> None:
    dialect = Listing()
    made = rig(dialect=dialect)
    lists = await asyncio.gather(*(made.provider.list_models() for _ in range(5)))
    assert [[info.model for info in models] for models in lists] == [["m1", "m2"]] * 5
    assert dialect.asked == 1
    assert await made.provider.clear_cache() == 2
    await made.provider.list_models()
    assert dialect.asked == 2


async def test_a_list_that_failed_is_not_asked_for_again_at_once() -> None:
    dialect = Listing()
    dialect.failing = True
    made = rig(dialect=dialect)
    for _ in range(10):
        assert await made.provider.list_models() == ()
    assert dialect.asked == 1
    dialect.failing = False
    made.clock.advance(30.0)
    assert await made.provider.validate_model("m2")
    assert not await made.provider.validate_model("m3")


async def test_an_old_list_is_better_than_none() -> None:
    dialect = Listing()
    made = rig(dialect=dialect)
    await made.provider.list_models()
    dialect.failing = True
    made.clock.advance(3_600.0)
    assert len(await made.provider.list_models()) == 2
    assert dialect.asked == 2


async def test_health_is_what_the_dialect_reads_in_it() -> None:
    class Ill(Scripted):
        def decode_health(self, reply: HttpReply, target: Target) -> Failure | None:
            return Failure(kind=K.UNAUTHENTICATED, detail="no such key")

    report = await rig(OK, dialect=Ill()).provider.health_check()
    assert not report.healthy
    assert "no such key" in report.detail


async def test_health_is_a_free_call() -> None:
    made = rig(DOWN)
    report = await made.provider.health_check()
    assert report.healthy
    assert made.transport.calls == 0
    await made.provider.close()
    assert not (await made.provider.health_check()).healthy


# What things cost.


async def test_what_was_served_in_another_tier_than_the_list_has_is_at_an_unknown_price() -> None:
    class Hurried(Scripted):
        def decode(self, reply: HttpReply, target: Target) -> Outcome:
            answer = super().decode(reply, target)
            return replace(answer, extra={"service_tier": "priority"}) if isinstance(answer, Completion) else answer

    made = rig(OK, dialect=Hurried(), settings=PRICED)
    answer = await made.provider.complete(ask("hi"))
    assert isinstance(answer, Completion)
    assert answer.cost is None
    assert made.seen().unpriced == 1


async def test_what_a_provider_counts_corrects_what_is_estimated_of_those_that_do_not() -> None:
    class Mute(Scripted):
        def decode(self, reply: HttpReply, target: Target) -> Outcome:
            answer = super().decode(reply, target)
            silent = isinstance(answer, Completion) and answer.text == "silence"
            return replace(answer, usage=NOT_REPORTED) if silent else answer  # type: ignore[arg-type]

    counted = Step(text="one two three", usage=Usage(input_tokens=200, output_tokens=3))
    made = rig(*[counted] * 40, Step(text="silence"), dialect=Mute(), settings=PRICED)
    for _ in range(40):
        await made.provider.complete(ask("x" * 400))
    answer = await made.provider.complete(ask("x" * 400))
    assert isinstance(answer, Completion)
    assert answer.usage.estimated
    assert answer.usage.input_tokens == pytest.approx(200, rel=0.05), "a hundred, by bytes"


async def test_an_estimate_that_was_learned_is_never_more_than_was_held() -> None:
    counted = Step(text="one", usage=Usage(input_tokens=4_000_000, output_tokens=3))
    made = rig(*[counted] * 40, settings=PRICED)
    request = replace(ask("x" * 400), sampling=Sampling(max_tokens=10))
    for _ in range(40):
        await made.provider.complete(request)
    guess = await made.provider.estimate_cost(request)
    assert not isinstance(guess, Failure)
    info = await made.provider.model_info("scripted")
    usage = within(Usage(input_tokens=10**9, output_tokens=10**9, estimated=True), request, info)
    cost = cost_of(usage, info.pricing if info else None)
    assert cost is not None
    assert guess.bound_nanousd is not None
    assert cost.total_nanousd <= guess.bound_nanousd
