"""The scripted provider: what it plays is what its dialect reads, and its faults are the real ones. Nothing sleeps."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.scripted import (
    DEFAULT_TEXT,
    BadScript,
    ErrorEvent,
    Hang,
    Malformed,
    Refuse,
    Reset,
    Script,
    Scripted,
    Stall,
    Status,
    Step,
    Trouble,
    Truncate,
    parse_script,
)
from runtime.outcome import Completion, Delta, Embeddings, Failure, FailureKind, FinishReason, Outcome, Usage
from runtime.request import EmbedRequest, Request, ToolCall, ask
from runtime.transport.base import Fault, FaultKind, Limits
from runtime.transport.scripted import ScriptedTransport

DIALECT = Scripted()
TARGET = Target(provider="s", base_url="scripted://here", model="parrot")
LIMITS = Limits(connect_s=1.0, first_byte_s=2.0, between_s=3.0, total_s=100.0)


class Naps:
    """Sleeps nothing and remembers for how long."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


def play(*steps: Step, loop: bool = True, naps: Callable[[float], Awaitable[None]] | None = None) -> ScriptedTransport:
    return ScriptedTransport(Script(steps, loop), naps or Naps())


def call(text: str = "one two three", *, stream: bool = False, choices: int = 1) -> HttpCall:
    found = DIALECT.encode(dataclasses.replace(ask(text, stream=stream), choices=choices), TARGET)
    assert isinstance(found, HttpCall)
    return found


async def whole(transport: ScriptedTransport, limits: Limits = LIMITS) -> Outcome | Fault:
    reply = await transport.send(call(), limits)
    return reply if isinstance(reply, Fault) else DIALECT.decode(reply, TARGET)


async def stream(
    transport: ScriptedTransport, limits: Limits = LIMITS, *, choices: int = 1
) -> tuple[list[Delta], Outcome | Fault]:
    opened = await transport.open(call(stream=True, choices=choices), limits)
    if isinstance(opened, Fault):
        return [], opened
    deltas: list[Delta] = []
    try:
        if opened.status != 200:
            body = await opened.read_all()
            assert isinstance(body, bytes)
            return [], DIALECT.decode(HttpReply(status=opened.status, headers=opened.headers, body=body), TARGET)
        decoder = DIALECT.decoder(TARGET)
        while not decoder.ended:
            data = await opened.read()
            if isinstance(data, Fault):
                return deltas, data
            if not data:
                break
            deltas += decoder.feed(data)
        return deltas, decoder.finish()
    finally:
        await opened.close()


async def test_without_a_script_it_says_what_it_is() -> None:
    transport, naps = play(), Naps()
    found = await whole(transport)
    assert isinstance(found, Completion)
    assert found.text == DEFAULT_TEXT
    assert (found.model, found.provider, transport.calls, transport.active) == ("parrot", "s", 1, 0)
    assert found.usage == Usage(input_tokens=3, output_tokens=len(DEFAULT_TEXT.split()), estimated=True)
    assert naps.taken == []


FULL = Step(
    text="hello there",
    reasoning="let me think",
    tool_calls=(ToolCall(id="a", name="f", arguments='{"x": 1}'), ToolCall(id="b", name="g", arguments="{}")),
    usage=Usage(input_tokens=5, output_tokens=6, cached_input_tokens=2),
)


async def test_a_stream_and_a_reply_say_the_same() -> None:
    deltas, streamed = await stream(play(FULL))
    replied = await whole(play(FULL))
    assert streamed == replied
    assert isinstance(replied, Completion)
    assert (replied.choices[0].reasoning, replied.tool_calls) == (FULL.reasoning, FULL.tool_calls)
    assert (replied.finish_reason, replied.usage) == (FinishReason.TOOL_CALLS, FULL.usage)
    assert [delta.text for delta in deltas if delta.text] == ["hello ", "there"]


async def test_several_choices_are_all_told_and_counted() -> None:
    _, found = await stream(play(Step(chunks=("a ", "b"))), choices=2)
    assert isinstance(found, Completion)
    assert [choice.text for choice in found.choices] == ["a b", "a b"]
    assert found.usage.output_tokens == 4


async def test_steps_come_in_order_and_loop_or_stay() -> None:
    steps = (Step(text="a"), Step(text="b"))
    for loop, expected in ((True, "abab"), (False, "abbb")):
        transport = play(*steps, loop=loop)
        found = [await whole(transport) for _ in range(4)]
        assert "".join(one.text for one in found if isinstance(one, Completion)) == expected
        assert transport.calls == 4


async def test_delays_are_those_of_the_script_and_zero_does_not_sleep() -> None:
    naps = Naps()
    await stream(play(Step(text="a b", delay_s=1.0, first_chunk_delay_s=0.5, chunk_delay_s=0.25), naps=naps))
    assert naps.taken == [1.0, 0.5, 0.25, 0.25]
    naps.taken.clear()
    await stream(play(Step(text="a b"), naps=naps))
    assert naps.taken == []


@pytest.mark.parametrize(
    ("fault", "kind", "slept"),
    [
        (Refuse(), FaultKind.REFUSED, []),
        (Reset(), FaultKind.RESET, []),
        (Hang(), FaultKind.FIRST_BYTE_TIMEOUT, [2.0]),
        (Truncate(1), FaultKind.TRUNCATED, []),
        (Stall(1), FaultKind.BETWEEN_TIMEOUT, [3.0]),
    ],
)
async def test_faults_of_the_connection(fault: Trouble, kind: FaultKind, slept: list[float]) -> None:
    for streamed in (False, True):
        naps = Naps()
        transport = play(Step(text="a b c", fault=fault), naps=naps)
        found: object
        if streamed:
            deltas, found = await stream(transport)
            assert len(deltas) == (1 if isinstance(fault, Truncate | Stall) else 0)
        else:
            found = await whole(transport)
        assert isinstance(found, Fault)
        assert found.kind is kind
        assert naps.taken == slept
        assert (transport.calls, transport.active) == (1, 0)


async def test_a_stall_before_the_first_chunk_is_no_first_byte() -> None:
    _, found = await stream(play(Step(text="a", fault=Stall(0))))
    assert isinstance(found, Fault)
    assert found.kind is FaultKind.FIRST_BYTE_TIMEOUT


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Step(delay_s=2.5), FaultKind.FIRST_BYTE_TIMEOUT),
        (Step(text="a", first_chunk_delay_s=2.5), FaultKind.FIRST_BYTE_TIMEOUT),
        (Step(text="a b", chunk_delay_s=3.5), FaultKind.BETWEEN_TIMEOUT),
        (Step(text="a " * 99, chunk_delay_s=2.9), FaultKind.TOTAL_TIMEOUT),
    ],
)
async def test_a_delay_past_its_limit_is_that_timeout(step: Step, kind: FaultKind) -> None:
    naps = Naps()
    _, found = await stream(play(step, naps=naps))
    assert isinstance(found, Fault)
    assert found.kind is kind
    assert sum(naps.taken) <= LIMITS.total_s


async def test_a_hang_never_outlives_the_total() -> None:
    naps = Naps()
    found = await whole(play(Step(fault=Hang()), naps=naps), Limits(first_byte_s=60.0, total_s=0.5))
    assert isinstance(found, Fault)
    assert (found.kind, naps.taken) == (FaultKind.TOTAL_TIMEOUT, [0.5])


@pytest.mark.parametrize(
    ("fault", "kind", "wait_s"),
    [
        (Malformed(1), FailureKind.MALFORMED, None),
        (ErrorEvent(after=1, type="overloaded_error"), FailureKind.OVERLOADED, None),
        (ErrorEvent(after=1, code="insufficient_quota"), FailureKind.QUOTA_EXHAUSTED, None),
        (Status(status=429, retry_after_s=1.5), FailureKind.RATE_LIMITED, 1.5),
        (Status(status=503), FailureKind.OVERLOADED, None),
        (Status(status=400, body='{"error": {"code": "context_length_exceeded"}}'), FailureKind.CONTEXT_OVERFLOW, None),
        (Status(status=500, headers={"retry-after-ms": "20"}, body="<html>"), FailureKind.UNAVAILABLE, 0.02),
    ],
)
async def test_faults_of_the_answer(fault: Trouble, kind: FailureKind, wait_s: float | None) -> None:
    deltas, streamed = await stream(play(Step(text="a b c", fault=fault)))
    for found in (streamed, await whole(play(Step(text="a b c", fault=fault)))):
        assert isinstance(found, Failure)
        assert (found.kind, found.retry_after_s, found.provider) == (kind, wait_s, "s")
    assert len(deltas) == (0 if isinstance(fault, Status) else 1)


async def test_a_cancelled_call_is_no_longer_under_way() -> None:
    asleep = asyncio.Event()

    async def for_ever(seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    for step in (Step(delay_s=1.0), Step(text="a b", chunk_delay_s=1.0)):
        transport = play(step, naps=for_ever)
        asleep.clear()
        task = asyncio.create_task(stream(transport))
        await asleep.wait()
        assert transport.active == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert transport.active == 0


async def test_a_read_that_was_cancelled_has_taken_nothing() -> None:
    class Once:
        first = True

        async def __call__(self, seconds: float) -> None:
            if self.first:
                self.first = False
                raise asyncio.CancelledError

    transport = play(Step(text="a b", first_chunk_delay_s=1.0), naps=Once())
    opened = await transport.open(call(stream=True), LIMITS)
    assert not isinstance(opened, Fault)
    with pytest.raises(asyncio.CancelledError):
        await opened.read()
    body = await opened.read_all()
    assert isinstance(body, bytes)
    decoder = DIALECT.decoder(TARGET)
    decoder.feed(body)
    found = decoder.finish()
    assert isinstance(found, Completion)
    assert found.text == "a b"


async def test_closing() -> None:
    transport = play(Step(text="a b"))
    opened = await transport.open(call(stream=True), LIMITS)
    assert not isinstance(opened, Fault)
    await opened.close()
    await opened.close()
    assert transport.active == 0
    assert isinstance(await opened.read(), Fault)
    under_way = await transport.open(call(stream=True), LIMITS)
    assert not isinstance(under_way, Fault)
    await transport.close()
    assert isinstance(await under_way.read(), Fault)
    assert isinstance(await transport.send(call(), LIMITS), Fault)


async def test_models_and_health_take_no_step() -> None:
    transport = play(Step(fault=Refuse()))
    health = DIALECT.health(TARGET)
    assert isinstance(health, HttpCall)
    reply = await transport.send(health, LIMITS)
    assert isinstance(reply, HttpReply)
    assert DIALECT.decode_models(reply, TARGET) == ("scripted",)
    assert (transport.calls, transport.active) == (0, 0)


async def test_embeddings_are_steady_and_alike_for_like_texts() -> None:
    asked = DIALECT.encode_embed(
        EmbedRequest(inputs=("red apple pie", "red apple tart", "quantum field", ""), dimensions=256), TARGET
    )
    assert isinstance(asked, HttpCall)
    reply = await play().send(asked, LIMITS)
    assert isinstance(reply, HttpReply)
    found = DIALECT.decode_embed(reply, TARGET)
    assert isinstance(found, Embeddings)
    a, b, c, _ = found.vectors
    assert {len(vector) for vector in found.vectors} == {256}
    assert sum(x * y for x, y in zip(a, b, strict=True)) > 0.5 > abs(sum(x * y for x, y in zip(a, c, strict=True)))
    assert found.usage == Usage(input_tokens=8, estimated=True)
    refused = await play(Step(fault=Refuse())).send(asked, LIMITS)
    assert isinstance(refused, Fault)


def test_extra_is_dropped_by_name() -> None:
    found = DIALECT.encode(Request(messages=ask("hi").messages, extra={"logit_bias": {}}, dialect="openai"), TARGET)
    assert isinstance(found, HttpCall)
    assert found.dropped == ("logit_bias",)
    assert b"logit_bias" not in found.body


# Scripts from settings


def test_a_script_from_plain_data() -> None:
    found = parse_script(
        {
            "loop": False,
            "steps": [
                "just text",
                {"text": "hi", "delay_s": 1, "chunk_delay_s": 0.5, "finish_reason": "length"},
                {"chunks": ["a", "b"], "usage": {"input_tokens": 1, "estimated": True}},
                {"tool_calls": [{"name": "f", "arguments": {"x": 1}}], "reasoning": "hm"},
                {"fault": "refuse"},
                {"fault": {"truncate": 3}},
                {"fault": {"malformed": 2}},
                {"fault": {"status": 429, "headers": {"X-A": "b"}, "body": {"error": "no"}, "retry_after_s": 2}},
                {"fault": {"error": {"after": 1, "type": "overloaded_error"}}},
            ],
        }
    )
    assert found == Script(
        (
            Step(text="just text"),
            Step(text="hi", delay_s=1.0, chunk_delay_s=0.5, finish_reason=FinishReason.LENGTH),
            Step(chunks=("a", "b"), usage=Usage(input_tokens=1, estimated=True)),
            Step(tool_calls=(ToolCall(id="call_0", name="f", arguments='{"x":1}'),), reasoning="hm"),
            Step(fault=Refuse()),
            Step(fault=Truncate(3)),
            Step(fault=Malformed(2)),
            Step(fault=Status(status=429, headers={"x-a": "b"}, body='{"error":"no"}', retry_after_s=2.0)),
            Step(fault=ErrorEvent(after=1, type="overloaded_error")),
        ),
        loop=False,
    )
    assert parse_script(None) == parse_script([]) == parse_script({}) == parse_script({"steps": None}) == Script()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (5, "script must be a mapping"),
        ({"step": []}, "script.step is unknown"),
        ({"loop": "yes"}, "script.loop"),
        ({"steps": {}}, "script.steps must be a list"),
        ([{"text": "a"}, {"txt": "b"}], "script.steps[1].txt is unknown"),
        ([{"text": 5}], "script.steps[0].text must be text"),
        ([{"delay_s": -1}], "script.steps[0].delay_s"),
        ([{"chunk_delay_s": "1s"}], "script.steps[0].chunk_delay_s"),
        ([{"finish_reason": "done"}], "script.steps[0].finish_reason must be one of stop"),
        ([{"usage": {"tokens": 1}}], "script.steps[0].usage.tokens is unknown"),
        ([{"usage": {"input_tokens": -1}}], "script.steps[0].usage.input_tokens"),
        ([{"tool_calls": [{"id": "a"}]}], "script.steps[0].tool_calls[0].name"),
        ([{"fault": "explode"}], "script.steps[0].fault must be refuse"),
        ([{"fault": {"truncate": "x"}}], "script.steps[0].fault.truncate"),
        ([{"fault": {"status": 200}}], "script.steps[0].fault.status"),
        ([{"fault": {"status": 429, "retry": 1}}], "script.steps[0].fault.retry is unknown"),
        ([{"fault": {"error": {"afer": 1}}}], "script.steps[0].fault.error.afer is unknown"),
    ],
)
def test_a_bad_script_names_the_step_and_the_key(said: Any, words: str) -> None:
    with pytest.raises(BadScript) as raised:
        parse_script(said)
    assert words in str(raised.value)
