"""OpenAI's dialect, case by case. The general laws are in tests/conformance/test_dialects.py."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pytest

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.openai import OpenAI
from runtime.dialects.openai_surface import parse_chat
from runtime.dialects.openrouter import OpenRouter
from runtime.dialects.status import MAX_DETAIL, failure_of_error, failure_of_reply, kind_of
from runtime.dialects.waits import retry_after_s
from runtime.outcome import Completion, Delta, Embeddings, Failure, FailureKind, FinishReason, Outcome, Usage
from runtime.request import (
    AudioPart,
    CacheHint,
    EmbedRequest,
    FilePart,
    ImagePart,
    Message,
    NativePart,
    NativeTool,
    Reasoning,
    ReasoningPart,
    Request,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    VideoPart,
    ask,
)

OPENAI = OpenAI()
TARGET = Target(provider="openai", base_url="https://api.openai.com/v1", model="gpt-4o", api_key="sk-secret-0123456789")
LLAMA = Target(provider="local", base_url="http://127.0.0.1:8080/v1/", model="smollm2")
ROUTER = Target(provider="openrouter", base_url="https://openrouter.ai/api/v1", model="a/m")


def encoded(request: Request, target: Target = TARGET) -> tuple[dict[str, Any], HttpCall]:
    call = OPENAI.encode(request, target)
    assert isinstance(call, HttpCall), call
    return orjson.loads(call.body), call


def decoded(body: object, *, status: int = 200, target: Target = TARGET, **headers: str) -> Outcome:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return OPENAI.decode(HttpReply(status=status, headers=named, body=raw), target)


def chat(message: dict[str, Any], *, finish: str = "stop", **top: Any) -> dict[str, Any]:
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish}], **top}


def streamed(*chunks: object, end: bytes = b"data: [DONE]\n\n") -> tuple[list[Delta], Outcome]:
    wire = b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + end
    decoder = OPENAI.decoder(TARGET)
    return list(decoder.feed(wire)), decoder.finish()


def chunk(finish: str | None = None, *, index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"id": "c1", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def fragment(**fields: Any) -> dict[str, Any]:
    function = {name: fields.pop(name) for name in ("name", "arguments") if name in fields}
    return chunk(tool_calls=[{**fields, "function": function}])


def completion(outcome: Outcome) -> Completion:
    assert isinstance(outcome, Completion), outcome
    return outcome


def failure(outcome: object) -> Failure:
    assert isinstance(outcome, Failure), outcome
    return outcome


# Encoding


def test_headers_and_address() -> None:
    target = dataclasses.replace(
        TARGET, options={"OpenAI-Organization": "o", "OpenAI-Project": "p"}, headers={"X-Title": "me"}
    )
    _, call = encoded(ask("hi", stream=True), target)
    assert (call.method, call.url) == ("POST", "https://api.openai.com/v1/chat/completions")
    assert call.headers == {
        "accept": "text/event-stream",
        "authorization": "Bearer sk-secret-0123456789",
        "openai-organization": "o",
        "openai-project": "p",
        "x-title": "me",
        "content-type": "application/json",
    }
    assert "authorization" not in encoded(ask("hi"), LLAMA)[1].headers


def test_vision_and_audio_are_parts_not_text() -> None:
    parts = (
        TextPart("look"),
        ImagePart(data="iVBORw0KGgo="),
        ImagePart(url="https://x/y.jpg", detail="high"),
        AudioPart(data="UklGRg==", format="mp3"),
    )
    body, _ = encoded(Request(messages=(Message(role=Role.USER, parts=parts),)))
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        {"type": "image_url", "image_url": {"url": "https://x/y.jpg", "detail": "high"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "mp3"}},
    ]


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (AudioPart(url="https://x/y.mp3"), FailureKind.UNSUPPORTED),
        (ImagePart(data="bm90IGFuIGltYWdl"), FailureKind.BAD_REQUEST),
        (ImagePart(), FailureKind.BAD_REQUEST),
    ],
)
def test_a_part_that_cannot_be_said_is_a_failure(part: ImagePart | AudioPart, kind: FailureKind) -> None:
    found = failure(OPENAI.encode(Request(messages=(Message(role=Role.USER, parts=(part,)),)), TARGET))
    assert (found.kind, found.param) == (kind, "messages[0].content[0]")


def test_tool_turns() -> None:
    turns = (
        Message(role=Role.ASSISTANT, parts=(ToolCall(id="a", name="f", arguments="{}"),)),
        Message(role=Role.TOOL, tool_call_id="a", parts=(TextPart("42"),)),
        Message(role=Role.TOOL, tool_call_id="b"),
    )
    body, _ = encoded(Request(messages=turns))
    assert body["messages"] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "42", "tool_call_id": "a"},
        {"role": "tool", "content": "", "tool_call_id": "b"},
    ]


@pytest.mark.parametrize(
    ("model", "field"),
    [
        ("gpt-4o", "max_tokens"),
        ("o10", "max_tokens"),
        ("o1", "max_completion_tokens"),
        ("o3-mini", "max_completion_tokens"),
        ("o4-mini-2025", "max_completion_tokens"),
        ("gpt-5.1", "max_completion_tokens"),
        ("gpt-5-chat-latest", "max_completion_tokens"),
        ("openai/gpt-5-nano", "max_completion_tokens"),
    ],
)
def test_newer_families_have_a_newer_name_for_the_limit(model: str, field: str) -> None:
    request = dataclasses.replace(ask("hi"), sampling=Sampling(max_tokens=9))
    body, call = encoded(request, dataclasses.replace(TARGET, model=model))
    assert (body[field], call.dropped) == (9, ())
    assert len(body.keys() & {"max_tokens", "max_completion_tokens"}) == 1


def test_options_overrule_the_tables() -> None:
    options = {"max_tokens_field": "max_completion_tokens", "stream_options": False, "top_k": "yes"}
    request = dataclasses.replace(ask("hi", stream=True), sampling=Sampling(max_tokens=9, top_k=3))
    body, call = encoded(request, dataclasses.replace(LLAMA, options=options))
    assert (body["max_completion_tokens"], body["top_k"], call.dropped) == (9, 3, ())
    assert "stream_options" not in body


def test_hosts_differ_in_top_k_and_developer() -> None:
    request = Request(
        messages=(Message(role=Role.DEVELOPER, parts=(TextPart("be brief"),)),), sampling=Sampling(top_k=5)
    )
    body, call = encoded(request)
    assert body["messages"][0]["role"] == "developer"
    assert call.dropped == ("top_k",)
    body, call = encoded(request, LLAMA)
    assert body["messages"][0]["role"] == "system"
    assert (body["top_k"], call.dropped) == (5, ())


def test_streams_always_ask_for_usage() -> None:
    body, _ = encoded(ask("hi", stream=True))
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert "stream" not in encoded(ask("hi"))[0]


def test_provider_options_reach_their_provider_only_and_not_our_fields() -> None:
    options: dict[str, dict[str, Any]] = {
        "openai": {"service_tier": "flex", "temperature": 0.1, "stream": True},
        "other": {"x": 1},
    }
    body, call = encoded(dataclasses.replace(ask("hi"), provider_options=options))
    assert (body["service_tier"], body["temperature"]) == ("flex", 0.1)
    assert body.keys().isdisjoint({"x", "stream"})
    assert call.dropped == ("provider_options.stream",)


def test_extra_goes_back_to_its_place_or_is_named() -> None:
    message = Message(role=Role.USER, parts=(TextPart("hi", extra={"x": 1}),), extra={"y": 2})
    tool = Tool(name="f", extra={"eager": True, "function.z": 3})
    request = Request(messages=(message,), tools=(tool,), extra={"logit_bias": {"5": 1}, "gone.x": 1}, dialect="openai")
    body, call = encoded(request)
    assert body["logit_bias"] == {"5": 1}
    assert body["messages"][0] == {"role": "user", "content": [{"type": "text", "text": "hi", "x": 1}], "y": 2}
    assert body["tools"] == [{"type": "function", "function": {"name": "f", "z": 3}, "eager": True}]
    assert call.dropped == ("gone.x",)
    _, call = encoded(dataclasses.replace(request, dialect="anthropic"))
    assert set(call.dropped) == {
        *("messages[0].content[0].x", "messages[0].y", "tools[0].eager", "tools[0].function.z"),
        *("logit_bias", "gone.x"),
    }


MARKED = Request(
    messages=(
        Message(role=Role.SYSTEM, parts=(TextPart("long", cache=CacheHint()),)),
        Message(role=Role.USER, parts=(TextPart("hi"), ImagePart(url="https://h/a.png", cache=CacheHint(ttl="1h")))),
    ),
    tools=(Tool(name="f", cache=CacheHint()),),
    cache=CacheHint(),
)


def test_markers_go_to_hosts_that_take_them_and_are_named_elsewhere() -> None:
    assert encoded(MARKED)[1].dropped == ("cache",)
    call = OpenRouter().encode(MARKED, ROUTER)
    assert isinstance(call, HttpCall)
    assert call.dropped == ()
    body = orjson.loads(call.body)
    mark = {"type": "ephemeral"}
    assert body["cache_control"] == body["tools"][0]["cache_control"] == mark
    assert body["messages"][0]["content"] == [{"type": "text", "text": "long", "cache_control": mark}]
    assert body["messages"][1]["content"][1]["cache_control"] == {**mark, "ttl": "1h"}


THOUGHT = Request(
    messages=(
        Message(
            role=Role.ASSISTANT,
            parts=(
                ReasoningPart(text="hm", signature="s1g", extra={"type": "reasoning.text", "format": "f1"}),
                ReasoningPart(redacted="xyz"),
                TextPart("ok"),
            ),
        ),
    ),
    reasoning=Reasoning(effort="high", show=False),
    dialect="openai",
)


def test_thoughts_go_back_in_the_form_of_each_host() -> None:
    body, call = encoded(THOUGHT)
    assert body["messages"] == [{"role": "assistant", "content": "ok"}]
    assert (body["reasoning_effort"], call.dropped) == ("high", ("messages[0].reasoning", "reasoning.show"))
    body, call = encoded(THOUGHT, LLAMA)
    assert body["messages"][0]["reasoning_content"] == "hm"
    assert "messages[0].reasoning.signature" in call.dropped
    routed = OpenRouter().encode(THOUGHT, ROUTER)
    assert isinstance(routed, HttpCall)
    body = orjson.loads(routed.body)
    assert body["messages"][0]["reasoning_details"] == [
        {"type": "reasoning.text", "text": "hm", "signature": "s1g", "format": "f1"},
        {"type": "reasoning.encrypted", "data": "xyz"},
    ]
    assert (body["reasoning"], routed.dropped) == ({"effort": "high", "exclude": True}, ())
    assert parse_chat(body) == dataclasses.replace(
        THOUGHT,
        messages=(
            dataclasses.replace(
                THOUGHT.messages[0],
                parts=(
                    THOUGHT.messages[0].parts[0],
                    ReasoningPart(redacted="xyz", extra={"type": "reasoning.encrypted"}),
                    TextPart("ok"),
                ),
            ),
        ),
        model="a/m",
    )


@pytest.mark.parametrize(
    ("wanted", "effort", "dropped"),
    [
        (Reasoning(effort="low"), "low", ()),
        (Reasoning(budget_tokens=4_000), "minimal", ()),
        (Reasoning(enabled=False), "none", ()),
        (Reasoning(enabled=True), None, ("reasoning.enabled",)),
    ],
)
def test_thinking_is_asked_for_in_one_word(wanted: Reasoning, effort: str | None, dropped: tuple[str, ...]) -> None:
    body, call = encoded(dataclasses.replace(ask("hi"), reasoning=wanted))
    assert (body.get("reasoning_effort"), call.dropped) == (effort, dropped)


def test_what_the_host_cannot_take_is_refused_by_name() -> None:
    native = NativePart(dialect="anthropic", kind="server_tool_use", value={})
    for part in (VideoPart(url="https://h/v.mp4"), FilePart(url="https://h/d.pdf"), ImagePart(file_id="f"), native):
        refusal = OPENAI.encode(Request(messages=(Message(role=Role.USER, parts=(part,)),)), TARGET)
        assert isinstance(refusal, Failure)
        assert (refusal.kind, refusal.param) == (FailureKind.UNSUPPORTED, "messages[0].content[0]")
    tool = NativeTool(dialect="google", kind="codeExecution", value={"codeExecution": {}})
    refusal = OPENAI.encode(dataclasses.replace(ask("hi"), tools=(tool,)), TARGET)
    assert isinstance(refusal, Failure)
    assert (refusal.kind, refusal.param) == (FailureKind.UNSUPPORTED, "tools[0]")


def test_a_result_of_a_tool_is_text_at_openai_and_may_be_more_elsewhere() -> None:
    result = Message(role=Role.TOOL, tool_call_id="a", parts=(ImagePart(url="https://h/a.png"),))
    refusal = OPENAI.encode(Request(messages=(result,)), TARGET)
    assert isinstance(refusal, Failure)
    assert (refusal.kind, refusal.param) == (FailureKind.UNSUPPORTED, "messages[0].content[0]")
    body, _ = encoded(Request(messages=(result,)), LLAMA)
    assert body["messages"][0]["content"][0]["type"] == "image_url"


def test_openrouter_names_the_application_and_proves_its_key_for_nothing() -> None:
    router = dataclasses.replace(ROUTER, options={"referer": "https://app.example", "title": "App"})
    call = OpenRouter().encode(ask("hi"), router)
    assert isinstance(call, HttpCall)
    assert (call.headers["http-referer"], call.headers["x-title"]) == ("https://app.example", "App")
    health = OpenRouter().health(ROUTER)
    assert isinstance(health, HttpCall)
    assert (health.method, health.url) == ("GET", "https://openrouter.ai/api/v1/key")
    assert OpenRouter().decode_health(HttpReply(status=200, headers={}, body=b'{"data":{"label":"k"}}'), ROUTER) is None
    bad = OpenRouter().decode_health(
        HttpReply(status=401, headers={}, body=b'{"error":{"message":"no","code":401}}'), ROUTER
    )
    assert bad is not None
    assert bad.kind is FailureKind.UNAUTHENTICATED


def test_extra_never_overrules_what_the_request_says() -> None:
    body, call = encoded(Request(messages=ask("hi").messages, extra={"model": "dearer"}, dialect="openai"))
    assert (body["model"], call.dropped) == ("gpt-4o", ("model",))


def test_what_json_cannot_carry_is_the_callers_mistake() -> None:
    request = Request(messages=ask("hi").messages, extra={"x": object()}, dialect="openai")
    assert failure(OPENAI.encode(request, TARGET)).kind is FailureKind.BAD_REQUEST


# Whole replies


def test_a_reply_in_full() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 1},
    }
    message = {
        "role": "assistant",
        "content": None,
        "reasoning": "hm",
        "refusal": None,
        "annotations": [{"a": 1}],
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
            {"type": "function", "function": {"name": "f", "arguments": {"x": 2}}},
        ],
    }
    found = completion(decoded(chat(message, finish="tool_calls", usage=usage, created=5, service_tier="flex")))
    assert (found.id, found.model, found.provider, found.created_s) == ("c1", "m", "openai", 5)
    assert found.finish_reason is FinishReason.TOOL_CALLS
    assert found.tool_calls == (
        ToolCall(id="a", name="f", arguments='{"x": 1}'),
        ToolCall(id="raygate_call_c1_1", name="f", arguments='{"x":2}'),
    )
    assert found.choices[0].reasoning == "hm"
    assert found.choices[0].extra == {"annotations": [{"a": 1}]}
    assert found.extra == {"service_tier": "flex"}
    assert found.usage == Usage(
        input_tokens=10,
        output_tokens=7,
        cached_input_tokens=4,
        cache_write_tokens=2,
        reasoning_tokens=3,
        audio_input_tokens=1,
        audio_output_tokens=1,
    )
    assert found.cost is None


def test_unreported_usage_is_marked_not_invented() -> None:
    usage = completion(decoded(chat({"content": "hi"}))).usage
    assert usage.estimated
    assert usage.total_tokens == 0


@pytest.mark.parametrize(
    ("said", "nanousd"),
    [(0.000123, 123_000), (1e-9, 1), (0.1 + 0.2, 300_000_000), (0, 0), (2, 2_000_000_000), (-1, None), ("1", None)],
)
def test_the_providers_own_price_is_an_exact_integer(said: object, nanousd: int | None) -> None:
    found = completion(
        decoded(chat({"content": "hi"}, usage={"prompt_tokens": 1, "completion_tokens": 1, "cost": said}))
    )
    if nanousd is None:
        assert found.cost is None
    else:
        assert found.cost is not None
        assert (found.cost.total_nanousd, found.cost.source) == (nanousd, "provider")


def test_with_a_key_of_ones_own_the_upstream_is_paid_on_top_of_the_fee() -> None:
    usage = {
        "prompt_tokens": 1,
        "cost": 0.001,
        "is_byok": True,
        "cost_details": {
            "upstream_inference_cost": 0.02,
            "upstream_inference_prompt_cost": 0.01,
            "upstream_inference_completions_cost": 0.01,
        },
    }
    cost = completion(decoded(chat({"content": "hi"}, usage=usage))).cost
    assert cost is not None
    assert (cost.total_nanousd, cost.input_nanousd) == (21_000_000, 0)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>hello</html>", FailureKind.MALFORMED),
        (b"[]", FailureKind.MALFORMED),
        ({"choices": []}, FailureKind.MALFORMED),
        ({"choices": ["x"]}, FailureKind.MALFORMED),
        ({"error": {"message": "no", "code": 429}}, FailureKind.RATE_LIMITED),
        ({"error": {"message": "no", "type": "overloaded_error"}}, FailureKind.OVERLOADED),
        ({"error": "no"}, FailureKind.UNAVAILABLE),
        (chat({"content": "par"}, finish="error"), FailureKind.UNAVAILABLE),
    ],
)
def test_a_200_that_is_no_answer(body: object, kind: FailureKind) -> None:
    assert failure(decoded(body)).kind is kind


def test_a_foreign_finish_reason_is_kept() -> None:
    choice = completion(decoded(chat({"content": "hi"}, finish="tired"))).choices[0]
    assert (choice.finish_reason, choice.extra) == (FinishReason.OTHER, {"finish_reason": "tired"})


# Errors


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (429, {"code": "insufficient_quota"}, FailureKind.QUOTA_EXHAUSTED),
        (429, {"type": "insufficient_quota", "code": None}, FailureKind.QUOTA_EXHAUSTED),
        (429, {"type": "tokens", "code": "rate_limit_exceeded"}, FailureKind.RATE_LIMITED),
        (400, {"code": "context_length_exceeded"}, FailureKind.CONTEXT_OVERFLOW),
        (400, {"code": 400, "type": "exceed_context_size_error"}, FailureKind.CONTEXT_OVERFLOW),
        (400, {"code": "content_policy_violation"}, FailureKind.CONTENT_FILTERED),
        (400, {"code": "content_filter"}, FailureKind.CONTENT_FILTERED),
        (400, {"code": "unsupported_value"}, FailureKind.UNSUPPORTED),
        (400, {"message": "rate limit, timeout, context_length_exceeded"}, FailureKind.BAD_REQUEST),
        (401, {"code": "invalid_request_error"}, FailureKind.UNAUTHENTICATED),
        (402, {"code": 402}, FailureKind.QUOTA_EXHAUSTED),
        (403, {}, FailureKind.FORBIDDEN),
        (403, {"metadata": {"flagged_input": "x"}}, FailureKind.CONTENT_FILTERED),
        (404, {}, FailureKind.MODEL_NOT_FOUND),
        (408, {}, FailureKind.TIMED_OUT),
        (413, {}, FailureKind.TOO_LARGE),
        (422, {}, FailureKind.BAD_REQUEST),
        (500, {"type": "server_error"}, FailureKind.UNAVAILABLE),
        (503, {}, FailureKind.OVERLOADED),
        (529, {}, FailureKind.OVERLOADED),
    ],
)
def test_typed_fields_decide(status: int, error: dict[str, Any], kind: FailureKind) -> None:
    found = failure(decoded({"error": {"message": "m", **error}}, status=status))
    assert (found.kind, found.status) == (kind, status)


def test_a_redirect_says_what_to_correct() -> None:
    found = failure_of_reply(HttpReply(status=301, headers={}, body=b""), TARGET)
    assert found.kind is FailureKind.MALFORMED
    assert "base_url" in found.detail


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "7", "retry-after-ms": "6500"}, 6.5),
        (
            {"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"},
            30.0,
        ),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:29:00 -0000"}, None),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds
    found = failure_of_reply(HttpReply(status=429, headers=headers, body=b""), TARGET)
    assert (found.kind, found.retry_after_s) == (FailureKind.RATE_LIMITED, seconds)


def test_retry_after_on_success_means_nothing() -> None:
    assert completion(decoded(chat({"content": "hi"}), retry_after="9")).text == "hi"


def test_a_detail_shows_no_key_and_ends() -> None:
    message = f"Incorrect API key provided: {TARGET.api_key}. Or sk-proj-abc***xyz? Bearer abcdef. " + "x" * 9999
    found = failure_of_error({"message": message}, TARGET, status=401)
    assert "secret" not in found.detail
    assert "xyz" not in found.detail
    assert "abcdef" not in found.detail
    assert len(found.detail) == MAX_DETAIL


def test_a_key_of_any_shape_is_taken_out() -> None:
    target = dataclasses.replace(TARGET, api_key="plainword42")
    assert failure_of_error("no such key: plainword42", target, status=401).detail == "no such key: [key]"


def test_the_upstreams_words_are_shown_where_the_host_only_wraps_them() -> None:
    error = {"code": 429, "message": "Provider returned error", "metadata": {"raw": "busy"}}
    assert failure_of_error(error, TARGET, status=429).detail == "Provider returned error: busy"


def test_a_number_as_code_stands_for_the_status_where_there_is_none() -> None:
    assert kind_of(None, code=503) is FailureKind.OVERLOADED
    assert kind_of(400, code=503) is FailureKind.BAD_REQUEST


# Streams


def test_parallel_tool_calls() -> None:
    deltas, outcome = streamed(
        fragment(index=0, id="a", type="function", name="f", arguments=""),
        fragment(index=0, arguments='{"x"'),
        fragment(index=1, id="b", type="function", name="f", arguments=""),
        fragment(index=0, arguments=":1}"),
        fragment(index=1, arguments="{}"),
        chunk("tool_calls"),
    )
    assert completion(outcome).tool_calls == (
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="b", name="f", arguments="{}"),
    )
    pieces = [call for delta in deltas for call in delta.tool_calls]
    assert [call.id for call in pieces if call.id] == ["a", "b"]
    assert [call.name for call in pieces if call.name] == ["f", "f"]
    assert [call.position for call in pieces] == [0, 0, 1, 0, 1]


def test_hosts_that_repeat_id_and_name_on_every_fragment() -> None:
    _, outcome = streamed(
        fragment(index=0, id="a", name="f", arguments="{"),
        fragment(index=0, id="a", name="f", arguments="}"),
        chunk("tool_calls"),
    )
    assert completion(outcome).tool_calls == (ToolCall(id="a", name="f", arguments="{}"),)


@pytest.mark.parametrize("index", [{"index": 0}, {"index": None}, {}])
def test_hosts_that_give_parallel_calls_one_index_or_none(index: dict[str, Any]) -> None:
    _, outcome = streamed(
        fragment(**index, id="a", name="f", arguments="{"),
        fragment(**index, arguments="}"),
        fragment(**index, id="b", name="f", arguments="[]"),
        chunk("tool_calls"),
    )
    assert completion(outcome).tool_calls == (
        ToolCall(id="a", name="f", arguments="{}"),
        ToolCall(id="b", name="f", arguments="[]"),
    )


def test_calls_without_an_id_get_one_each() -> None:
    _, outcome = streamed(fragment(index=0, name="f"), fragment(index=1, name="g"), chunk("tool_calls"))
    ids = [call.id for call in completion(outcome).tool_calls]
    assert len(set(ids)) == 2
    assert all(ids)


def test_thoughts_with_details_keep_what_their_provider_wants_back() -> None:
    def detail(index: int = 0, **fields: object) -> dict[str, object]:
        return {"type": "reasoning.text", "format": "f1", "index": index, **fields}

    deltas, outcome = streamed(
        chunk(reasoning="a", reasoning_details=[detail(text="a")]),
        chunk(reasoning="b", reasoning_details=[detail(text="b"), detail(signature="s1g")]),
        chunk(reasoning="c", reasoning_details=[detail(1, text="c")]),
        chunk(reasoning_details=[{"type": "reasoning.encrypted", "data": "xyz", "index": 2}]),
        chunk(content="hi"),
        chunk("stop"),
    )
    choice = completion(outcome).choices[0]
    assert choice.parts == (
        ReasoningPart(text="ab", signature="s1g", extra={"type": "reasoning.text", "format": "f1", "index": 0}),
        ReasoningPart(text="c", extra={"type": "reasoning.text", "format": "f1", "index": 1}),
        ReasoningPart(redacted="xyz", extra={"type": "reasoning.encrypted", "index": 2}),
        TextPart("hi"),
    )
    assert "".join(delta.reasoning for delta in deltas) == choice.reasoning == "abc"


def test_usage_cost_and_logprobs() -> None:
    one = {"token": "h", "logprob": -1.0}
    first = chunk(content="h")
    first["choices"][0]["logprobs"] = {"content": [one], "refusal": None}
    second = chunk(content="i")
    second["choices"][0]["logprobs"] = {"content": [one], "refusal": None}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.5}
    _, outcome = streamed(first, second, chunk("stop"), {**chunk("stop"), "usage": usage, "provider": "Groq"})
    found = completion(outcome)
    assert found.choices[0].logprobs == {"content": [one, one]}
    assert (found.usage.input_tokens, found.usage.output_tokens, found.usage.estimated) == (1, 2, False)
    assert found.cost is not None
    assert found.cost.total_nanousd == 500_000_000
    assert found.extra == {"provider": "Groq"}


def test_what_is_said_twice_at_the_end_is_kept_once() -> None:
    last = chunk("stop")
    last["choices"][0]["native_finish_reason"] = "completed"
    _, outcome = streamed(chunk(content="hi"), last, last)
    assert completion(outcome).choices[0].extra == {"native_finish_reason": "completed"}


def test_the_finish_comes_once() -> None:
    deltas, _ = streamed(chunk(content="hi"), chunk("stop"), chunk("stop"))
    assert [delta.finish_reason for delta in deltas] == [None, FinishReason.STOP]


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b"data: [DONE]", b"", b": bye\n\n", b'data: {"id', b"data:\n\n"])
def test_a_finished_answer_is_whole_with_and_without_done(end: bytes) -> None:
    _, outcome = streamed(chunk(content="hi"), chunk("stop"), end=end)
    assert completion(outcome).text == "hi"


@pytest.mark.parametrize(
    "end", [b"data: [DONE]\n\n", b"", b'data: {"choices":[{"delta":{"content":"!"},"finish_reason":"stop"}]}']
)
def test_an_unfinished_answer_is_interrupted_even_with_done(end: bytes) -> None:
    deltas, outcome = streamed(chunk(content="hi"), chunk("stop", index=1), end=end)
    assert failure(outcome).kind is FailureKind.INTERRUPTED
    assert "".join(delta.text for delta in deltas) == "hi"


def test_a_finish_without_its_blank_line_counts() -> None:
    _, outcome = streamed(chunk(content="hi"), end=b"data: " + orjson.dumps(chunk("stop")))
    assert completion(outcome).text == "hi"


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"error": {"message": "m", "type": "tokens", "code": "rate_limit_exceeded"}}, FailureKind.RATE_LIMITED),
        ({"error": {"message": "m", "type": "overloaded_error"}}, FailureKind.OVERLOADED),
        ({"error": {"message": "m", "code": 502}, "choices": []}, FailureKind.UNAVAILABLE),
        ({**chunk("error", content=""), "error": {"code": "server_error", "message": "m"}}, FailureKind.UNAVAILABLE),
        (chunk("error"), FailureKind.UNAVAILABLE),
        ([1], FailureKind.MALFORMED),
    ],
)
def test_an_error_in_the_stream_ends_it(event: object, kind: FailureKind) -> None:
    deltas, outcome = streamed(chunk(content="hi"), event, chunk("stop", content=" never read"))
    assert failure(outcome).kind is kind
    assert [delta.text for delta in deltas] == ["hi"]


def test_a_named_error_event_and_broken_json() -> None:
    for wire, kind in (
        (b'event: error\ndata: {"message": "m", "type": "overloaded_error"}\n\n', FailureKind.OVERLOADED),
        (b'data: {"choices": [}\n\n', FailureKind.MALFORMED),
        (b'data: {"a": "\xff"}\n\n', FailureKind.MALFORMED),
    ):
        decoder = OPENAI.decoder(TARGET)
        assert list(decoder.feed(wire)) == []
        assert decoder.ended
        assert failure(decoder.finish()).kind is kind


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        (b"", FailureKind.INTERRUPTED),
        (b": keep-alive\n\n", FailureKind.INTERRUPTED),
        (b"data: [DONE]\n\n", FailureKind.INTERRUPTED),
        (b' {"id": "c1", "choices": []}', FailureKind.MALFORMED),
        (b"<!doctype html>\n<p>hello\n\n", FailureKind.MALFORMED),
    ],
)
def test_no_answer_at_all(wire: bytes, kind: FailureKind) -> None:
    decoder = OPENAI.decoder(TARGET)
    for at in range(len(wire)):
        decoder.feed(wire[at : at + 1])
    assert failure(decoder.finish()).kind is kind


# Embeddings and models


def test_embeddings() -> None:
    call = OPENAI.encode_embed(EmbedRequest(inputs=("a", "b"), dimensions=2), TARGET)
    assert isinstance(call, HttpCall)
    assert call.url.endswith("/v1/embeddings")
    assert orjson.loads(call.body) == {
        "model": "gpt-4o",
        "input": ["a", "b"],
        "encoding_format": "float",
        "dimensions": 2,
    }
    rows = [{"index": 1, "embedding": [1, 0.5]}, {"index": 0, "embedding": "AACAPwAAAEA="}]
    body = orjson.dumps({"model": "e", "data": rows, "usage": {"prompt_tokens": 2, "total_tokens": 2}})
    found = OPENAI.decode_embed(HttpReply(status=200, headers={}, body=body), TARGET)
    assert isinstance(found, Embeddings)
    assert found.vectors == ((1.0, 2.0), (1.0, 0.5))
    assert (found.usage.input_tokens, found.usage.estimated) == (2, False)


def test_embeddings_that_do_not_add_up() -> None:
    for rows in ([], [{"index": 0, "embedding": ["x"]}], [{"index": 1, "embedding": [1.0]}], [{"embedding": "!"}]):
        body = orjson.dumps({"data": rows})
        found = OPENAI.decode_embed(HttpReply(status=200, headers={}, body=body), TARGET)
        assert failure(found).kind is FailureKind.MALFORMED


def test_models_and_health_are_the_same_free_call() -> None:
    call = OPENAI.list_models(LLAMA)
    assert call == OPENAI.health(LLAMA)
    assert isinstance(call, HttpCall)
    assert (call.method, call.url, call.body) == ("GET", "http://127.0.0.1:8080/v1/models", b"")
    reply = HttpReply(status=200, headers={}, body=b'{"data": [{"id": "a"}, {"id": "b"}]}')
    assert OPENAI.decode_models(reply, LLAMA) == ("a", "b")


@pytest.mark.parametrize(("metadata", "scope"), [({"provider_name": "Host", "raw": "busy"}, "model"), ({}, "")])
def test_a_host_behind_openrouter_that_is_busy_concerns_the_model(metadata: dict[str, str], scope: str) -> None:
    error = {"code": 429, "message": "Provider returned error", "metadata": metadata}
    assert failure_of_error(error, TARGET, status=429).scope == scope
