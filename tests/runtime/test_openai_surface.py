"""Our own OpenAI endpoint: strict in, complete out."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pytest

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.openai import OpenAI
from runtime.dialects.openai_surface import (
    ChunkRenderer,
    parse_chat,
    parse_embed,
    render_completion,
    render_embeddings,
    render_error,
    render_models,
)
from runtime.dialects.openrouter import OpenRouter
from runtime.dialects.registry import DIALECTS
from runtime.fold import deltas_of
from runtime.outcome import (
    HANDLING,
    Choice,
    Completion,
    Cost,
    Delta,
    Embeddings,
    Failure,
    FailureKind,
    FinishReason,
    StreamEnd,
    StreamEvent,
    StreamStart,
    ToolCallDelta,
    Usage,
)
from runtime.request import (
    AudioPart,
    CacheHint,
    CostLimits,
    FilePart,
    ImagePart,
    Message,
    NativePart,
    NativeTool,
    Reasoning,
    ReasoningPart,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    VideoPart,
)
from runtime.tokens import embed_tokens

HI = [{"role": "user", "content": "hi"}]
START = StreamStart(id="c1", provider="p", model="m", created_s=7)


def parsed(**body: Any) -> Request:
    found = parse_chat({"messages": HI, **body})
    assert isinstance(found, Request), found
    return found


def refused(body: object) -> Failure:
    found = parse_chat(body)
    assert isinstance(found, Failure), found
    return found


# Requests


def test_a_request_with_everything() -> None:
    found = parsed(
        model="openai/gpt-4o",
        temperature=1,
        top_p=0.5,
        max_completion_tokens=9,
        stop="END",
        seed=4,
        n=2,
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}],
        tool_choice={"type": "function", "function": {"name": "f"}},
        parallel_tool_calls=False,
        response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": {}, "strict": True}},
        stream=True,
        stream_options={"include_usage": True},
        user="u",
        metadata={"a": "b"},
        logit_bias={"1": 2},
        frequency_penalty=None,
    )
    assert found == Request(
        messages=(Message(role=Role.USER, parts=(TextPart("hi"),)),),
        model="openai/gpt-4o",
        sampling=Sampling(temperature=1.0, top_p=0.5, max_tokens=9, stop=("END",), seed=4),
        choices=2,
        tools=(Tool(name="f", parameters={"type": "object"}, strict=True),),
        tool_choice=ToolChoice(mode="function", function="f"),
        parallel_tool_calls=False,
        response_format=ResponseFormat(kind="json_schema", name="s", schema={}, strict=True),
        stream=True,
        stream_usage=True,
        user="u",
        metadata={"a": "b"},
        extra={"logit_bias": {"1": 2}},
        dialect="openai",
    )


def test_messages_of_every_role() -> None:
    found = parsed(
        messages=[
            {"role": "developer", "content": "be brief"},
            {
                "role": "user",
                "name": "ann",
                "content": [
                    {"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                    {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "hm",
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "a", "content": ""},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        ]
    )
    assert found.messages == (
        Message(role=Role.DEVELOPER, parts=(TextPart("be brief"),)),
        Message(
            role=Role.USER,
            name="ann",
            parts=(
                TextPart("look", cache=CacheHint()),
                ImagePart(data="aGk=", media_type="image/png", detail="low"),
                ImagePart(url="https://x/y.png"),
                AudioPart(data="aGk=", format="wav"),
            ),
        ),
        Message(
            role=Role.ASSISTANT,
            parts=(ReasoningPart(text="hm"), ToolCall(id="a", name="f", arguments="{}")),
        ),
        Message(role=Role.TOOL, tool_call_id="a"),
        Message(role=Role.ASSISTANT, refusal="no"),
    )


def test_the_raygate_extension() -> None:
    found = parsed(
        raygate={
            "max_cost_usd": 0.01,
            "preferred_models": ["a"],
            "preferred_providers": ["p", "q"],
            "deadline_s": 30,
            "provider_options": {"p": {"x": 1}},
        }
    )
    assert found.cost == CostLimits(
        max_cost_nanousd=10_000_000, preferred_models=("a",), preferred_providers=("p", "q")
    )
    assert (found.deadline_s, found.provider_options, found.extra) == (30.0, {"p": {"x": 1}}, {})
    assert parsed(raygate={"max_cost_usd": "0.0000000001"}).cost.max_cost_nanousd == 1
    assert parsed(raygate=None) == parsed()
    said = {"max_latency_s": 5, "min_quality": 0.8, "residency": ["eu"], "session": "s1"}
    assert parsed(raygate=said).cost == CostLimits(max_latency_s=5.0, min_quality=0.8, residency=("eu",), session="s1")


@pytest.mark.parametrize("said", [{"max_latency_s": 0}, {"min_quality": 2}, {"deadline_s": -1}], ids=str)
def test_what_the_extension_cannot_mean_is_named(said: dict[str, object]) -> None:
    (name,) = said
    assert refused({"messages": HI, "raygate": said}).param == f"raygate.{name}"


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ([], "body", "an array"),
        ({}, "messages", "missing"),
        ({"messages": None}, "messages", "null"),
        ({"messages": []}, "messages", "at least one"),
        ({"messages": ["hi"]}, "messages[0]", "a string"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role", "system, developer, user, assistant, tool"),
        ({"messages": [{"role": "bot", "content": "hi"}]}, "messages[0].role", '"bot"'),
        ({"messages": [{"role": "function", "name": "f", "content": "1"}]}, "messages[0].name", "no function_call"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "a number"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing"),
        ({"messages": [{"role": "tool", "content": "1"}]}, "messages[0].tool_call_id", "missing"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "null"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type", "null"),
        ({"messages": HI, "model": 5}, "model", "a number"),
        ({"messages": HI, "temperature": "hot"}, "temperature", "a string"),
        ({"messages": HI, "temperature": True}, "temperature", "a boolean"),
        ({"messages": HI, "temperature": 3}, "temperature", "between 0 and 2"),
        ({"messages": HI, "max_tokens": 0}, "max_tokens", "at least 1"),
        ({"messages": HI, "max_tokens": 1.5}, "max_tokens", "whole number"),
        ({"messages": HI, "max_tokens": 1, "max_completion_tokens": 2}, "max_tokens", "max_completion_tokens"),
        ({"messages": HI, "n": 999}, "n", "128"),
        ({"messages": HI, "stop": [1]}, "stop[0]", "a number"),
        ({"messages": HI, "stream": "yes"}, "stream", "true or false"),
        ({"messages": HI, "stream_options": {"include_usage": 1}}, "stream_options.include_usage", "a number"),
        ({"messages": HI, "tools": [{"type": "function"}]}, "tools[0].function", "null"),
        ({"messages": HI, "tool_choice": "any"}, "tool_choice", "required"),
        ({"messages": HI, "response_format": {"type": "xml"}}, "response_format.type", "json_schema"),
        ({"messages": HI, "functions": [{"name": "f"}], "tools": []}, "functions", "send tools alone"),
        ({"messages": HI, "functions": [], "function_call": 1}, "function_call", '"auto"'),
        ({"messages": HI, "raygate": {"max_cost": 1}}, "raygate.max_cost", "max_cost_usd"),
        ({"messages": HI, "raygate": {"max_cost_usd": "much"}}, "raygate.max_cost_usd", "much"),
        ({"messages": HI, "raygate": {"max_cost_usd": -1}}, "raygate.max_cost_usd", "between"),
        ({"messages": HI, "raygate": {"deadline_s": 0}}, "raygate.deadline_s", "more than 0"),
    ],
)
def test_a_refusal_names_the_field_and_says_why(body: object, param: str, words: str) -> None:
    found = refused(body)
    assert (found.kind, found.param) == (FailureKind.BAD_REQUEST, param)
    assert words in found.detail


def test_kinds_of_content_that_only_some_hosts_have_are_carried_whole() -> None:
    document = {"type": "document_url", "document_url": "https://h/d.pdf"}
    custom = {"type": "custom", "custom": {"name": "c"}}
    search = {"type": "openrouter:web_search", "parameters": {"max_results": 2}}
    found = parsed(
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "file", "file": {"filename": "d.pdf", "file_data": "data:application/pdf;base64,aGk="}},
                    {"type": "file", "file": {"file_id": "f"}},
                    {"type": "file", "file": {"file_data": "https://h/d.pdf"}},
                    {"type": "video_url", "video_url": {"url": "https://h/v.mp4"}},
                    document,
                ],
            },
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "a", "type": "custom", "custom": {"name": "c", "input": "free words"}},
                    {
                        "id": "b",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "s1g"}},
                    },
                ],
            },
        ],
        tools=[custom, search],
        tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [custom]}},
    )
    assert found.messages[0].parts == (
        FilePart(data="aGk=", media_type="application/pdf", name="d.pdf"),
        FilePart(file_id="f"),
        FilePart(url="https://h/d.pdf"),
        VideoPart(url="https://h/v.mp4"),
        NativePart(dialect="openai", kind="document_url", value=document),
    )
    assert found.messages[1].tool_calls == (
        ToolCall(id="a", name="c", arguments="free words", extra={"type": "custom"}),
        ToolCall(id="b", name="f", arguments="{}", signature="s1g"),
    )
    assert found.tools == (
        NativeTool(dialect="openai", kind="custom", value=custom),
        NativeTool(dialect="openai", kind="openrouter:web_search", value=search),
    )
    assert found.tool_choice == ToolChoice(mode="auto", allowed=("c",))
    call = OpenRouter().encode(found, Target(provider="p", base_url="https://h", model="m"))
    assert isinstance(call, HttpCall)
    assert parse_chat(orjson.loads(call.body)) == dataclasses.replace(found, model="m")


def test_thoughts_of_plain_text_go_back_under_the_names_they_came_in() -> None:
    local = Target(provider="p", base_url="http://127.0.0.1:8080/v1", model="m")
    for said in (
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning_content": "hm", "reasoning": "hm"},
    ):
        found = parsed(messages=[*HI, {"role": "assistant", "content": "ok", **said}])
        assert found.messages[1].parts[0] == ReasoningPart(text="hm", extra=found.messages[1].parts[0].extra)
        call = OpenAI().encode(found, local)
        assert isinstance(call, HttpCall)
        assert orjson.loads(call.body)["messages"][1] == {"role": "assistant", "content": "ok", **said}
        call = OpenRouter().encode(dataclasses.replace(found, dialect="anthropic"), local)
        assert isinstance(call, HttpCall)
        assert orjson.loads(call.body)["messages"][1] == {"role": "assistant", "content": "ok", "reasoning": "hm"}


def test_functions_are_tools_in_older_words() -> None:
    found = parsed(
        messages=[
            *HI,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "42"},
        ],
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
    )
    assert found.legacy_functions
    assert found.tools == (Tool(name="f", parameters={"type": "object"}),)
    assert (found.tool_choice, found.parallel_tool_calls) == (ToolChoice(mode="function", function="f"), False)
    (call,) = found.messages[1].tool_calls
    assert (call.name, found.messages[2].role, found.messages[2].tool_call_id) == ("f", Role.TOOL, call.id)


def test_who_spoke_of_functions_is_answered_so() -> None:
    choice = Choice.of(tool_calls=(ToolCall(id="a", name="f", arguments="{}"),), finish_reason=FinishReason.TOOL_CALLS)
    body = render_completion(Completion(id="c1", model="m", choices=(choice,)), legacy=True)["choices"][0]
    assert body["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert (body["finish_reason"], "tool_calls" in body["message"]) == ("function_call", False)
    renderer = ChunkRenderer(stream_usage=False, legacy=True)
    chunks = [orjson.loads(one[6:]) for delta in deltas_of(0, choice) for one in renderer.render(delta)]
    assert chunks[0]["choices"][0]["delta"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"


def test_thinking_in_either_form() -> None:
    assert parsed(messages=HI, reasoning_effort="low").reasoning == Reasoning(effort="low")
    assert parsed(messages=HI, reasoning={"max_tokens": 5, "exclude": True}).reasoning == Reasoning(
        budget_tokens=5, show=False
    )
    assert parsed(messages=HI, reasoning_effort="huge").extra == {"reasoning_effort": "huge"}


def test_signed_thoughts_and_calls_reach_a_client_that_sends_them_back() -> None:
    choice = Choice(
        parts=(
            ReasoningPart(text="hm", signature="s1g"),
            TextPart("ok"),
            ToolCall(id="a", name="f", arguments="{}", signature="c1g"),
            ImagePart(data="aGk=", media_type="image/png"),
            AudioPart(data="aGk=", extra={"id": "a1", "transcript": "hi"}),
        ),
        finish_reason=FinishReason.TOOL_CALLS,
    )
    whole = Completion(id="c1", model="m", choices=(choice,))
    decoder = OpenAI().decoder(Target(provider="p", base_url="https://h"))
    renderer = ChunkRenderer(stream_usage=False)
    for delta in deltas_of(0, choice):
        decoder.feed(b"".join(renderer.render(delta)))
    decoder.feed(b"".join(renderer.render(StreamEnd(outcome=whole))))
    streamed = decoder.finish()
    reply = HttpReply(status=200, headers={}, body=orjson.dumps(render_completion(whole)))
    for outcome in (streamed, OpenAI().decode(reply, Target(provider="p", base_url="https://h"))):
        assert isinstance(outcome, Completion)
        found = outcome.choices[0]
        assert (found.text, found.reasoning, found.tool_calls) == ("ok", "hm", choice.tool_calls)
        assert [part.signature for part in found.parts if isinstance(part, ReasoningPart)] == ["s1g"]
        assert all(part in found.parts for part in choice.parts[3:])


# Replies

WHOLE = Completion(
    id="c1",
    model="m",
    provider="p",
    created_s=7,
    choices=(
        Choice.of(
            "",
            tool_calls=(ToolCall(id="a", name="f", arguments="{}"),),
            finish_reason=FinishReason.TOOL_CALLS,
            reasoning="hm",
            extra={"native_finish_reason": "tool_use", "annotations": [1]},
        ),
        Choice.of("hi", finish_reason=FinishReason.OTHER, logprobs={"content": []}),
    ),
    usage=Usage(input_tokens=3, output_tokens=2, cached_input_tokens=1, reasoning_tokens=1),
    cost=Cost(total_nanousd=1_234_567),
    extra={"service_tier": "flex", "id": "never overruled"},
)


def test_a_rendered_completion() -> None:
    assert render_completion(WHOLE) == {
        "id": "c1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "refusal": None,
                    "reasoning_content": "hm",
                    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                    "annotations": [1],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
                "native_finish_reason": "tool_use",
            },
            {
                "index": 1,
                "message": {"role": "assistant", "content": "hi", "refusal": None},
                "logprobs": {"content": []},
                "finish_reason": "stop",
            },
        ],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "total_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 1, "audio_tokens": 0},
            "cost": 0.001234567,
        },
        "service_tier": "flex",
    }


def test_what_was_estimated_says_so_and_what_is_unknown_stays_away() -> None:
    usage = render_completion(Completion(id="c", model="m", usage=Usage(estimated=True)))["usage"]
    assert usage["estimated"] is True
    assert "cost" not in usage


# Streams


def rendered(*events: StreamEvent, stream_usage: bool = False) -> list[Any]:
    """The data of each SSE event, as a client reads it; [DONE] as text."""
    renderer = ChunkRenderer(stream_usage=stream_usage)
    found = [data for event in events for data in renderer.render(event)]
    assert all(data.startswith(b"data: ") and data.endswith(b"\n\n") and data.count(b"\n") == 2 for data in found)
    return ["[DONE]" if data == b"data: [DONE]\n\n" else orjson.loads(data[6:]) for data in found]


def one(text: str, finish: FinishReason = FinishReason.STOP) -> Completion:
    return Completion(
        id="c1", model="m", choices=(Choice.of(text, finish_reason=finish),), usage=Usage(output_tokens=2)
    )


def test_a_stream_as_clients_want_it() -> None:
    found = rendered(
        START,
        Delta(text="a\n"),
        Delta(text="b"),
        Delta(finish_reason=FinishReason.STOP),
        StreamEnd(outcome=one("a\nb")),
    )
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
    assert found == [
        {
            **head,
            "choices": [
                {"index": 0, "delta": {"role": "assistant", "content": "a\n"}, "logprobs": None, "finish_reason": None}
            ],
        },
        {**head, "choices": [{"index": 0, "delta": {"content": "b"}, "logprobs": None, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]},
        "[DONE]",
    ]


def test_usage_comes_last_and_only_where_it_was_asked_for() -> None:
    events: list[StreamEvent] = [START, Delta(text="hi", finish_reason=FinishReason.STOP), StreamEnd(outcome=one("hi"))]
    *chunks, usage, done = rendered(*events, stream_usage=True)
    assert (usage["choices"], usage["usage"]["completion_tokens"], done) == ([], 2, "[DONE]")
    assert all("usage" not in chunk for chunk in [*chunks, *rendered(*events)])


def test_tool_call_fragments_carry_their_index() -> None:
    calls = (ToolCallDelta(position=0, id="a", name="f"), ToolCallDelta(position=1, arguments="{}"))
    (chunk,) = rendered(START, Delta(tool_calls=calls))
    assert chunk["choices"][0]["delta"]["tool_calls"] == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]


def test_every_choice_has_its_role_once_and_a_finish() -> None:
    both = Completion(id="c1", model="m", choices=(Choice.of("a"), Choice.of("b", finish_reason=FinishReason.STOP)))
    found = rendered(START, Delta(text="a"), Delta(choice=1, text="b"), Delta(text=""), StreamEnd(outcome=both))[:-1]
    choices = [chunk["choices"][0] for chunk in found]
    assert [(c["index"], c["delta"].get("role"), c["finish_reason"]) for c in choices] == [
        (0, "assistant", None),
        (1, "assistant", None),
        (0, None, None),
        (0, None, "stop"),
        (1, None, "stop"),
    ]


def test_a_failure_ends_a_stream_without_done() -> None:
    broken = Failure(kind=FailureKind.INTERRUPTED, provider="p", detail="the stream ended early")
    found = rendered(START, Delta(text="a"), StreamEnd(outcome=broken), stream_usage=True)
    assert len(found) == 2
    assert found[-1] == {
        "error": {
            "message": "p: the stream ended early",
            "type": "upstream_interrupted_error",
            "param": None,
            "code": "interrupted",
        }
    }


def test_an_answer_that_never_streamed_comes_whole() -> None:
    renderer = ChunkRenderer(stream_usage=True)
    wire = b"".join(renderer.render(StreamEnd(outcome=WHOLE)))
    decoder = OpenAI().decoder(Target(provider="p", base_url=""))
    decoder.feed(wire)
    found = decoder.finish()
    assert isinstance(found, Completion)
    assert (found.id, found.usage, found.tool_calls) == ("c1", WHOLE.usage, WHOLE.tool_calls)
    assert [choice.text for choice in found.choices] == ["", "hi"]
    assert found.cost is not None
    assert found.cost.total_nanousd == 1_234_567


# Errors


@pytest.mark.parametrize("kind", FailureKind)
def test_errors_follow_the_one_table(kind: FailureKind) -> None:
    status, headers, body = render_error(Failure(kind=kind, detail="why", retry_after_s=1.2345))
    assert status == HANDLING[kind].status
    assert headers == {
        "x-should-retry": "true" if HANDLING[kind].client_retry else "false",
        "retry-after": "2",
        "retry-after-ms": "1235",
    }
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert (body["error"]["type"], body["error"]["message"]) == (HANDLING[kind].type, "why")
    assert body["error"]["code"]


def test_codes_are_those_that_clients_decide_by() -> None:
    overflow = Failure(kind=FailureKind.CONTEXT_OVERFLOW, code="exceed_context_size_error")
    assert render_error(overflow)[2]["error"]["code"] == "context_length_exceeded"
    ours = Failure(kind=FailureKind.UNAUTHENTICATED, provider="openai", code="invalid_api_key")
    assert render_error(ours)[2]["error"]["code"] == "upstream_unauthenticated"
    theirs = Failure(kind=FailureKind.BAD_REQUEST, code="invalid_image_url", param="messages[0]")
    assert render_error(theirs)[2]["error"]["code"] == "invalid_image_url"
    assert render_error(theirs)[1] == {"x-should-retry": "false"}


# Embeddings and models


def test_embeddings_go_in_and_out() -> None:
    found = parse_embed({"input": "a", "model": "e", "encoding_format": "base64", "dimensions": 2, "x": 1})
    assert not isinstance(found, Failure)
    request, encoding = found
    assert (request.inputs, request.model, request.dimensions, request.extra) == (("a",), "e", 2, {"x": 1})
    vectors = Embeddings(model="e", vectors=((1.0, 0.5), (0.0, -2.0)), usage=Usage(input_tokens=2))
    for form in (encoding, "float"):
        body = orjson.dumps(render_embeddings(vectors, encoding="base64" if form == "base64" else "float"))
        again = OpenAI().decode_embed(HttpReply(status=200, headers={}, body=body), Target(provider="", base_url=""))
        assert again == vectors


@pytest.mark.parametrize("said", [[1, 0, 3], [[1, 0, 3]], [[1], [2, 3]]])
def test_texts_may_come_as_token_numbers(said: list[Any]) -> None:
    found = parse_embed({"input": said, "model": "e"})
    assert not isinstance(found, Failure)
    request, _ = found
    assert request.tokens == ((1, 0, 3),) if len(said) != 2 else ((1,), (2, 3))
    assert embed_tokens(request) == 3
    target = Target(provider="p", base_url="http://p", model="e")
    call = OpenAI().encode_embed(request, target)
    assert not isinstance(call, Failure)
    assert orjson.loads(call.body)["input"] == list(map(list, request.tokens))
    for name, dialect in DIALECTS.items():
        if name not in ("openai", "openrouter"):
            refused = dialect.encode_embed(request, target)
            assert isinstance(refused, Failure)
            assert refused.kind is FailureKind.UNSUPPORTED, "somebody else may take them"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": [[1, 2], "a"]}, "input[1]"),
        ({"input": [[1, "a"]]}, "input[0][1]"),
        ({"input": [[]]}, "input[0]"),
        ({"input": [1, None]}, "input[1]"),
        ({"input": "a", "encoding_format": "x"}, "encoding_format"),
    ],
)
def test_embeddings_refused(body: dict[str, Any], param: str) -> None:
    found = parse_embed(body)
    assert isinstance(found, Failure)
    assert found.param == param


def test_the_model_list() -> None:
    body = render_models(["openai/gpt-4o", "smollm2"])
    assert [row["owned_by"] for row in body["data"]] == ["openai", "raygate"]
    reply = HttpReply(status=200, headers={}, body=orjson.dumps(body))
    assert OpenAI().decode_models(reply, Target(provider="", base_url="")) == ("openai/gpt-4o", "smollm2")
