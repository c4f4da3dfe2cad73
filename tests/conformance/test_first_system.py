"""What the first system was seen to do wrong at its providers, each as a test that every dialect here passes.

Its defects in balancing, caching, limits and bookkeeping are tests beside those parts.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import orjson
import pytest

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.registry import DIALECTS, PARSERS
from runtime.outcome import Completion, Failure, FailureKind, FinishReason
from runtime.request import ImagePart, Message, Request, Role, TextPart, Tool, ToolCall, user
from tests.conformance.samples import SAMPLES

CHAT = sorted(set(PARSERS) - {"ruvllm"})
"""The dialects with messages, tools and images."""

MODELS = {"anthropic": "claude-haiku-4-5", "google": "gemini-2.5-flash"}

every_chat = pytest.mark.parametrize("name", CHAT)


def target(name: str, **options: object) -> Target:
    return Target(
        provider="p", base_url="https://host.example/v1beta", model=MODELS.get(name, "m"), api_key="k" * 9, **options
    )


def sent_and_read(name: str, request: Request) -> Request:
    """The request as an independent reader of the wire understands it."""
    call = DIALECTS[name].encode(request, target(name))
    assert isinstance(call, HttpCall), call
    read = PARSERS[name](orjson.loads(call.body), model=request.model)
    assert isinstance(read, Request), read
    return read


@every_chat
def test_an_image_is_an_image_and_not_text_that_describes_one(name: str) -> None:
    image = ImagePart(data="iVBORw0KGgo=", media_type="image/png")
    read = sent_and_read(name, Request(messages=(Message(role=Role.USER, parts=(TextPart("look"), image)),)))
    assert read.messages[0].text == "look"
    assert [part.data for part in read.messages[0].parts if isinstance(part, ImagePart)] == [image.data]


CALLS = (
    ToolCall(id="call_1", name="add", arguments='{"a":1}'),
    ToolCall(id="call_2", name="add", arguments='{"a":2}'),
)
ROUND = Request(
    messages=(
        Message(role=Role.SYSTEM, parts=(TextPart("count well"),)),
        user("add"),
        Message(role=Role.ASSISTANT, parts=CALLS),
        Message(role=Role.TOOL, tool_call_id="call_1", name="add", parts=(TextPart("one"),)),
        Message(role=Role.TOOL, tool_call_id="call_2", name="add", parts=(TextPart("two"),)),
    ),
    tools=(Tool(name="add", parameters={"type": "object", "properties": {"a": {"type": "integer"}}}),),
)


@every_chat
def test_a_tool_result_is_a_result_and_neither_text_nor_the_assistants(name: str) -> None:
    read = sent_and_read(name, ROUND)
    results = [message for message in read.messages if message.role is Role.TOOL]
    said = [orjson.loads(one.text) if one.text.startswith("{") else one.text for one in results]
    # Gemini's results are objects: plain text is wrapped in one.
    assert [one.get("result") if isinstance(one, dict) else one for one in said] == ["one", "two"]
    calls = [call for message in read.messages for call in message.tool_calls]
    assert [orjson.loads(call.arguments) for call in calls] == [{"a": 1}, {"a": 2}]
    assert [result.tool_call_id for result in results] == [call.id for call in calls]
    assert len({call.id for call in calls}) == 2


@every_chat
def test_every_system_message_reaches_the_model(name: str) -> None:
    messages = tuple(Message(role=Role.SYSTEM, parts=(TextPart(text),)) for text in ("be brief", "be kind"))
    read = sent_and_read(name, Request(messages=(*messages, user("hi"))))
    system = "\n".join(message.text for message in read.messages if message.role is not Role.USER)
    assert "be brief" in system
    assert "be kind" in system


@every_chat
def test_tool_calls_keep_their_ids_and_streams_their_finish_and_usage(name: str) -> None:
    decoder = DIALECTS[name].decoder(target(name))
    deltas = [
        delta
        for start, end in pairwise([*range(0, len(SAMPLES[name].stream), 7), len(SAMPLES[name].stream)])
        for delta in decoder.feed(SAMPLES[name].stream[start:end])
    ]
    outcome = decoder.finish()
    assert isinstance(outcome, Completion), outcome
    calls = outcome.tool_calls
    assert len(calls) == len({call.id for call in calls}) == 2
    streamed = {call.position: call.id for delta in deltas for call in delta.tool_calls if call.id}
    assert [streamed[position] for position in sorted(streamed)] == [call.id for call in calls]
    assert outcome.finish_reason is FinishReason.TOOL_CALLS
    assert not outcome.usage.estimated
    assert outcome.usage.input_tokens > 0
    assert outcome.usage.output_tokens > 0


@every_chat
def test_a_model_that_nobody_knows_is_answered_all_the_same(name: str) -> None:
    unknown = dataclasses.replace(target(name), model="never-heard-of-it")
    outcome = DIALECTS[name].decode(HttpReply(status=200, headers={}, body=SAMPLES[name].reply), unknown)
    assert isinstance(outcome, Completion)
    assert outcome.text == SAMPLES[name].text


@every_chat
def test_a_wait_that_the_provider_names_is_kept_in_seconds(name: str) -> None:
    reply = HttpReply(status=429, headers={"retry-after": "7"}, body=b"{}")
    outcome = DIALECTS[name].decode(reply, target(name))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.retry_after_s) == (FailureKind.RATE_LIMITED, 7.0)


@every_chat
def test_a_stream_that_is_no_json_is_an_error_and_not_silence(name: str) -> None:
    decoder = DIALECTS[name].decoder(target(name))
    decoder.feed(b"event: x\ndata: {oops\n\n{oops\n")
    outcome = decoder.finish()
    assert isinstance(outcome, Failure)
    assert outcome.kind in (FailureKind.MALFORMED, FailureKind.INTERRUPTED)


@every_chat
def test_the_key_is_in_no_address(name: str) -> None:
    dialect = DIALECTS[name]
    for call in (
        dialect.encode(Request(messages=(user("hi"),)), target(name)),
        dialect.health(target(name)),
        dialect.list_models(target(name)),
    ):
        assert isinstance(call, HttpCall)
        assert "k" * 9 not in call.url
        assert any("k" * 9 in value for value in call.headers.values())


@every_chat
def test_health_is_asked_for_nothing(name: str) -> None:
    call = DIALECTS[name].health(target(name))
    assert isinstance(call, HttpCall)
    assert (call.method, call.body) == ("GET", b"")


@every_chat
def test_the_users_own_headers_are_sent(name: str) -> None:
    call = DIALECTS[name].encode(Request(messages=(user("hi"),)), target(name, headers={"X-Mine": "yes"}))
    assert isinstance(call, HttpCall)
    assert call.headers["x-mine"] == "yes"
