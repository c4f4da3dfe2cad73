"""What we render of any recorded answer on our own Anthropic endpoint reads the same again."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from runtime.dialects.anthropic import Anthropic, AnthropicStream
from runtime.dialects.anthropic.surface import AnthropicSurface
from runtime.dialects.base import HttpReply, Target
from runtime.dialects.encoding import object_of_text
from runtime.dialects.registry import DIALECTS
from runtime.outcome import Choice, Completion, Delta, FinishReason, StreamEnd, StreamStart
from runtime.request import AudioPart, Json, Request, ToolCall, user
from tests.wire.records import ABSENT, DEV, ROWS, chats

pytestmark = pytest.mark.skipif(not DEV.is_dir(), reason=ABSENT)
hosts = pytest.mark.parametrize("host", [host for host in ROWS if host != "compat_errors"])

SURFACE = AnthropicSurface()
TARGET = Target(provider="p", base_url="https://api.anthropic.com/v1", model="m")
ASKED = Request(messages=(user("hi"),), dialect="anthropic", stream=True)


def answers(host: str) -> list[tuple[str, list[Delta], Completion]]:
    """The id of each recorded answer, its deltas if it was streamed, and the whole of it."""
    found = []
    for record in chats():
        if record.provider != host or not record.ok:
            continue
        dialect = DIALECTS[record.dialect]
        if record.stream is None:
            deltas, outcome = [], dialect.decode(record.reply, record.target)
        else:
            decoder = dialect.decoder(record.target)
            deltas, outcome = list(decoder.feed(record.wire)), decoder.finish()
        if isinstance(outcome, Completion):
            found.append((record.id, deltas, outcome))
    assert found
    return found


def reply(answer: Completion) -> Completion:
    body = orjson.dumps(SURFACE.render(answer, ASKED))
    again = Anthropic().decode(HttpReply(status=200, headers={}, body=body), TARGET)
    assert isinstance(again, Completion)
    return again


def stream(deltas: list[Delta], answer: Completion) -> Completion:
    renderer = SURFACE.renderer(ASKED)
    out = renderer.render(StreamStart(id=answer.id, provider="p", model=answer.model))
    for delta in deltas:
        out += renderer.render(delta)
    decoder = AnthropicStream(TARGET)
    decoder.feed(b"".join(out + renderer.render(StreamEnd(outcome=answer))))
    again = decoder.finish()
    assert isinstance(again, Completion)
    return again


def plain(choice: Choice) -> Choice:
    """Arguments as the same JSON in one spelling."""
    return replace(
        choice,
        parts=tuple(
            replace(part, arguments=orjson.dumps(orjson.loads(part.arguments)).decode())
            if isinstance(part, ToolCall)
            else part
            for part in choice.parts
        ),
    )


def said(choice: Choice) -> Json:
    """What an answer of any provider says in this API's words."""
    aloud = "".join(str(part.extra.get("transcript", "")) for part in choice.parts if isinstance(part, AudioPart))
    finish = choice.finish_reason or FinishReason.STOP
    if finish is FinishReason.STOP and choice.tool_calls:
        finish = FinishReason.TOOL_CALLS
    elif finish is FinishReason.STOP and choice.refusal:
        finish = FinishReason.CONTENT_FILTER
    text = choice.text + aloud + (choice.refusal or "")
    return text, choice.reasoning, [(one.id, one.name, arguments(one)) for one in choice.tool_calls], finish


def arguments(call: ToolCall) -> Json:
    """Their JSON; what is none is kept as text: broken off in a stream, in an object of its own in a whole reply."""
    value = object_of_text(call.arguments)
    return call.arguments if value is None else value.get("INVALID_JSON", value)


def test_anthropics_own_answers_come_back_whole() -> None:
    for record, deltas, answer in answers("anthropic"):
        for again in (reply(answer), stream(deltas, answer), stream([], answer)):
            assert list(map(plain, again.choices)) == list(map(plain, answer.choices)), record
            assert (again.id, again.model, again.usage) == (answer.id, answer.model, answer.usage), record
            assert again.extra == answer.extra, record


@hosts
def test_every_providers_answers_say_the_same(host: str) -> None:
    for record, deltas, answer in answers(host):
        expected = said(answer.choices[0])
        for again in (reply(answer), stream(deltas, answer), stream([], answer)):
            assert said(again.choices[0]) == expected, record
            assert again.usage.input_tokens == answer.usage.input_tokens, record
            assert again.usage.output_tokens == answer.usage.output_tokens, record
            assert again.usage.cached_input_tokens == answer.usage.cached_input_tokens, record
            assert (again.cost and again.cost.total_nanousd) == (answer.cost and answer.cost.total_nanousd), record
