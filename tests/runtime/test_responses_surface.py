"""Our own Responses endpoint, judged by OpenAI's SDK: what it sends we read, what we send it reads."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import httpx2
import openai
import orjson
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.responses import ResponseStreamEvent
from openai.types.responses import Response as Answer
from openai.types.responses import ResponseStreamEvent as RawEvent

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.openai import OpenAI
from runtime.dialects.registry import DIALECTS
from runtime.dialects.responses_surface import ResponsesSurface, parse_request
from runtime.fold import deltas_of, fold
from runtime.outcome import (
    HANDLING,
    Choice,
    Completion,
    Cost,
    Delta,
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
    CostLimits,
    FilePart,
    ImagePart,
    Message,
    NativePart,
    Reasoning,
    ReasoningPart,
    Request,
    ResponseFormat,
    Role,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    ask,
)
from tests.wire.records import ABSENT, DEV, Record, chats

SURFACE = ResponsesSurface()
ASKED = ask("hi")
PLAIN = {"model": "p/m", "input": "hi"}
START = StreamStart(id="msg_01", provider="p", model="m", created_s=1_700_000_000, request_id="req_7")
EVENTS = {
    typing.get_args(event.model_fields["type"].annotation)[0]: event
    for event in typing.get_args(typing.get_args(RawEvent)[0])
}
PAID = Cost(total_nanousd=1_500_000)
SPENT = Usage(input_tokens=20, output_tokens=7, cached_input_tokens=3, cache_write_tokens=2, reasoning_tokens=4)


def parsed(body: Any) -> Request:
    found = parse_request(body)
    assert isinstance(found, Request), found
    return found


def refused(body: Any) -> Failure:
    found = parse_request(body)
    assert isinstance(found, Failure), found
    assert found.detail.endswith("."), found
    return found


def whole(*parts: Any, finish: FinishReason | None = FinishReason.STOP, **fields: Any) -> Completion:
    choice = Choice(parts=parts, finish_reason=finish, **fields)
    return Completion(
        id="msg_01", model="m", provider="p", choices=(choice,), usage=SPENT, cost=PAID, created_s=1_700_000_000
    )


def rendered(completion: Completion, request: Request = ASKED) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(orjson.dumps(SURFACE.render(completion, request)))
    return body


def written(events: Iterable[StreamEvent], request: Request = ASKED) -> bytes:
    renderer = SURFACE.renderer(request)
    return b"".join(data for event in events for data in renderer.render(event))


def said(stream: bytes) -> list[dict[str, Any]]:
    found = []
    for block in stream.decode().split("\n\n")[:-1]:
        event, data = block.split("\n")
        body = json.loads(data.removeprefix("data: "))
        assert event == f"event: {body['type']}"
        found.append(body)
    assert [body["sequence_number"] for body in found] == list(range(len(found)))
    return found


def streamed(deltas: Iterable[Delta], completion: Completion | None = None) -> bytes:
    deltas = list(deltas)
    choices = fold(deltas)
    if completion is None:
        completion = Completion(id="msg_01", model="m", choices=choices, usage=SPENT, cost=PAID)
    return written([START, *deltas, StreamEnd(outcome=completion)])


def client(answer: Any, seen: list[Any] | None = None) -> openai.OpenAI:
    """OpenAI's own client. It gets this answer: a body, or the bytes of a stream."""

    def reply(request: httpx2.Request) -> httpx2.Response:
        if seen is not None:
            seen.append(json.loads(request.content))
        if isinstance(answer, Failure):
            status, headers, body = SURFACE.error(answer)
            return httpx2.Response(status, headers=dict(headers), json=body)
        if isinstance(answer, bytes):
            return httpx2.Response(200, headers={"content-type": SURFACE.stream_type}, content=answer)
        return httpx2.Response(200, json=answer)

    http = httpx2.Client(transport=httpx2.MockTransport(reply))
    return openai.OpenAI(api_key="k", base_url="http://raygate.test/v1", http_client=http, max_retries=0)


def exact(answer: Answer) -> None:
    """It is what the SDK's types say, by their own strict judgement."""
    Answer.model_validate(answer.to_dict())


def accumulated(stream: bytes) -> tuple[Answer, list[ResponseStreamEvent[None]]]:
    for body in said(stream):
        EVENTS[body["type"]].model_validate(body)
    with client(stream).responses.stream(model="m", input="hi") as events:
        seen = list(events)
        return events.get_final_response(), seen


# What clients send.


def test_a_text_is_one_message_of_the_user() -> None:
    request = parsed({**PLAIN, "instructions": "be brief"})
    assert [(one.role, one.text) for one in request.messages] == [(Role.SYSTEM, "be brief"), (Role.USER, "hi")]
    assert request.model == "p/m"
    assert rendered(whole(), request)["instructions"] == "be brief"
    assert rendered(whole(), parsed(PLAIN))["instructions"] is None


@pytest.mark.parametrize("name", DIALECTS)
def test_how_it_was_said_is_nobodys_field(name: str) -> None:
    request = parsed({**PLAIN, "instructions": "be brief", "metadata": {}})
    call = DIALECTS[name].encode(request, Target(provider="p", base_url="https://a.test/v1beta", model="m"))
    assert isinstance(call, HttpCall)
    assert not [field for field in call.dropped if "instructions" in field]
    assert b"raygate" not in call.body


def test_items_become_turns() -> None:
    request = parsed(
        {
            "input": [
                {"role": "developer", "content": "rules"},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
                {
                    "type": "message",
                    "id": "msg_1",
                    "status": "completed",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []}],
                },
                {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "w", "arguments": '{"a": 1}'},
                {"type": "function_call", "call_id": "c2", "name": "w", "arguments": "{}", "status": "completed"},
                {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
                {
                    "type": "function_call_output",
                    "call_id": "c2",
                    "output": [
                        {"type": "input_text", "text": "rain"},
                        {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
                    ],
                },
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            ]
        }
    )
    assert request.messages == (
        Message(role=Role.DEVELOPER, parts=(TextPart("rules"),)),
        Message(role=Role.USER, parts=(TextPart("weather?"),)),
        Message(
            role=Role.ASSISTANT,
            parts=(
                ReasoningPart(text="hm"),
                TextPart("I look."),
                ToolCall(id="c1", name="w", arguments='{"a": 1}'),
                ToolCall(id="c2", name="w", arguments="{}"),
            ),
        ),
        Message(role=Role.TOOL, parts=(TextPart("sunny"),), tool_call_id="c1"),
        Message(
            role=Role.TOOL,
            parts=(TextPart("rain"), ImagePart(data="aGk=", media_type="image/png", detail="auto")),
            tool_call_id="c2",
        ),
        Message(role=Role.ASSISTANT, refusal="no"),
    )
    assert request.extra == {}


def test_every_kind_of_part() -> None:
    content = [
        {"type": "input_image", "image_url": "https://a.test/b.png", "detail": "low"},
        {"type": "input_image", "file_id": "file_1", "detail": "auto"},
        {"type": "input_file", "file_url": "https://a.test/b.pdf"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,aGk=", "filename": "b.pdf"},
        {"type": "input_file", "file_id": "file_2"},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
        {"type": "input_text", "text": "t", "prompt_cache_breakpoint": {"mode": "explicit"}},
    ]
    request = parsed({"input": [{"role": "user", "content": content}]})
    assert request.messages[0].parts == (
        ImagePart(url="https://a.test/b.png", detail="low"),
        ImagePart(file_id="file_1", detail="auto"),
        FilePart(url="https://a.test/b.pdf"),
        FilePart(data="aGk=", media_type="application/pdf", name="b.pdf"),
        FilePart(file_id="file_2"),
        AudioPart(data="aGk=", format="mp3"),
        TextPart("t", extra={"prompt_cache_breakpoint": {"mode": "explicit"}}),
    )


def test_tools_and_what_may_be_called() -> None:
    tools = [
        {"type": "function", "name": "w", "description": "d", "parameters": {"type": "object"}, "strict": True},
        {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
    ]
    request = parsed({**PLAIN, "tools": tools, "parallel_tool_calls": False})
    assert request.tools[0] == Tool(name="w", description="d", parameters={"type": "object"}, strict=True)
    call = OpenAI().encode(request, Target(provider="p", base_url="https://api.openai.com/v1", model="m"))
    assert isinstance(call, HttpCall)
    assert json.loads(call.body)["tools"][1] == {
        "type": "custom",
        "custom": {"name": "c", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}},
    }
    answer = client(rendered(whole(), request)).responses.create(model="m", input="hi")
    exact(answer)
    assert [tool.to_dict() for tool in answer.tools] == tools
    assert answer.parallel_tool_calls is False


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        ("auto", ToolChoice(mode="auto")),
        ("none", ToolChoice(mode="none")),
        ("required", ToolChoice(mode="required")),
        ({"type": "function", "name": "w"}, ToolChoice(mode="function", function="w")),
        ({"type": "custom", "name": "c"}, ToolChoice(mode="function", function="c")),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "w"}, {"type": "custom", "name": "c"}],
            },
            ToolChoice(mode="required", allowed=("w", "c")),
        ),
    ],
)
def test_every_tool_choice(choice: Any, meant: ToolChoice) -> None:
    tools = [{"type": "function", "name": "w", "parameters": {}}, {"type": "custom", "name": "c"}]
    request = parsed({**PLAIN, "tools": tools, "tool_choice": choice})
    assert request.tool_choice == meant
    assert rendered(whole(), request)["tool_choice"] == choice


def test_a_schema_for_the_answer() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True, "description": "d"}
    request = parsed({**PLAIN, "text": {"format": form, "verbosity": "low"}})
    assert request.response_format == ResponseFormat(
        kind="json_schema", name="n", schema={"type": "object"}, strict=True, description="d"
    )
    assert request.extra == {"verbosity": "low"}
    assert rendered(whole(), request)["text"] == {"format": form, "verbosity": "low"}
    assert parsed({**PLAIN, "text": {"format": {"type": "json_object"}}}).response_format == ResponseFormat(
        kind="json_object"
    )


def test_thinking_is_asked_for() -> None:
    assert parsed({**PLAIN, "reasoning": {"effort": "high", "summary": "auto"}}).reasoning == Reasoning(
        effort="high", show=True
    )
    assert parsed({**PLAIN, "reasoning": {}}).reasoning is None
    detailed = parsed({**PLAIN, "reasoning": {"summary": "detailed"}})
    assert detailed.extra == {"reasoning.summary": "detailed"}
    assert rendered(whole(), detailed)["reasoning"] == {"effort": None, "summary": "detailed"}


def test_the_rest_of_the_body() -> None:
    request = parsed(
        {
            **PLAIN,
            "max_output_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "metadata": {"k": "v"},
            "safety_identifier": "s",
            "store": True,
            "background": False,
            "previous_response_id": None,
            "truncation": "disabled",
            "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
            "top_logprobs": 2,
            "service_tier": "flex",
            "stream": True,
            "stream_options": {"include_obfuscation": False},
            "raygate": {"max_cost_usd": 0.5, "deadline_s": 3},
        }
    )
    assert (request.sampling.max_tokens, request.sampling.temperature, request.sampling.top_p) == (9, 0.5, 0.9)
    assert (request.stream, request.stream_usage, request.user, request.metadata) == (True, True, "s", {"k": "v"})
    assert request.cost == CostLimits(max_cost_nanousd=500_000_000)
    assert request.deadline_s == 3
    assert request.extra == {"logprobs": True, "top_logprobs": 2, "service_tier": "flex"}
    body = rendered(whole(), request)
    assert body["store"] is False
    assert (body["max_output_tokens"], body["temperature"], body["top_p"]) == (9, 0.5, 0.9)
    assert (body["metadata"], body["service_tier"]) == ({"k": "v"}, "flex")


def test_what_chat_completions_have_no_word_for_is_named_and_never_sent() -> None:
    request = parsed(
        {
            "input": [{"role": "assistant", "content": "a", "phase": "commentary"}, {"role": "user", "content": "b"}],
            "truncation": "auto",
            "context_management": [{"type": "compaction"}],
            "tools": [{"type": "function", "name": "w", "parameters": {}, "defer_loading": True}],
            "include": ["web_search_call.results"],
        }
    )
    unsaid = {
        "responses.input[0].phase",
        "responses.truncation",
        "responses.context_management",
        "responses.tools[0].defer_loading",
        "responses.include[0]",
    }
    assert set(request.extra) == unsaid
    for name in ("openai", "openrouter", "anthropic"):
        target = Target(provider="p", base_url="https://api.openai.com/v1", model="m", max_output_tokens=99)
        call = DIALECTS[name].encode(request, target)
        assert isinstance(call, HttpCall)
        assert unsaid <= set(call.dropped)
        assert b"phase" not in call.body
        assert b"responses" not in call.body


@pytest.mark.parametrize(
    ("body", "param", "kind"),
    [
        ([], "body", FailureKind.BAD_REQUEST),
        ({}, "input", FailureKind.BAD_REQUEST),
        ({"input": []}, "input", FailureKind.BAD_REQUEST),
        ({"input": 7}, "input", FailureKind.BAD_REQUEST),
        ({"input": ["x"]}, "input[0]", FailureKind.BAD_REQUEST),
        ({"input": [{}]}, "input[0].type", FailureKind.BAD_REQUEST),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", FailureKind.BAD_REQUEST),
        ({"input": [{"role": "user"}]}, "input[0].content", FailureKind.BAD_REQUEST),
        (
            {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
            "input[0].content[0].type",
            FailureKind.BAD_REQUEST,
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0].image_url",
            FailureKind.BAD_REQUEST,
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "filename": "x"}]}]},
            "input[0].content[0]",
            FailureKind.BAD_REQUEST,
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "refusal", "refusal": "x"}]}]},
            "input[0].content",
            FailureKind.BAD_REQUEST,
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]},
            "input[0].call_id",
            FailureKind.BAD_REQUEST,
        ),
        (
            {"input": [{"type": "reasoning", "summary": [], "encrypted_content": "raygate.!"}]},
            "input[0].encrypted_content",
            FailureKind.BAD_REQUEST,
        ),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]", FailureKind.UNSUPPORTED),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input[0].type", FailureKind.UNSUPPORTED),
        ({**PLAIN, "previous_response_id": "resp_1"}, "previous_response_id", FailureKind.UNSUPPORTED),
        ({**PLAIN, "conversation": "conv_1"}, "conversation", FailureKind.UNSUPPORTED),
        ({**PLAIN, "prompt": {"id": "pmpt_1"}}, "prompt", FailureKind.UNSUPPORTED),
        ({**PLAIN, "background": True}, "background", FailureKind.UNSUPPORTED),
        ({**PLAIN, "tools": [{"type": "web_search"}]}, "tools[0].type", FailureKind.UNSUPPORTED),
        ({**PLAIN, "tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type", FailureKind.UNSUPPORTED),
        ({**PLAIN, "tools": [{"name": "x"}]}, "tools[0].type", FailureKind.BAD_REQUEST),
        ({**PLAIN, "tool_choice": {"type": "file_search"}}, "tool_choice", FailureKind.UNSUPPORTED),
        ({**PLAIN, "tool_choice": "any"}, "tool_choice", FailureKind.BAD_REQUEST),
        ({**PLAIN, "tool_choice": {"type": "function"}}, "tool_choice", FailureKind.BAD_REQUEST),
        ({**PLAIN, "text": {"format": {"type": "xml"}}}, "text.format.type", FailureKind.BAD_REQUEST),
        ({**PLAIN, "text": {"format": {"type": "json_schema"}}}, "text.format.name", FailureKind.BAD_REQUEST),
        ({**PLAIN, "reasoning": {"effort": "much"}}, "reasoning.effort", FailureKind.BAD_REQUEST),
        ({**PLAIN, "truncation": "some"}, "truncation", FailureKind.BAD_REQUEST),
        ({**PLAIN, "store": "yes"}, "store", FailureKind.BAD_REQUEST),
        ({**PLAIN, "temperature": 3}, "temperature", FailureKind.BAD_REQUEST),
        ({**PLAIN, "raygate": {"x": 1}}, "raygate.x", FailureKind.BAD_REQUEST),
    ],
)
def test_a_wrong_body_is_told_where_and_what_to_do(body: Any, param: str, kind: FailureKind) -> None:
    failure = refused(body)
    assert (failure.param, failure.kind) == (param, kind)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    *("input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "stream_options", "metadata"),
    *("truncation", "max_output_tokens", "top_logprobs", "stop", "store", "prompt", "raygate", "unheard_of"),
)
KINDS = ("message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "image_generation_call")


@given(
    st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4),
    st.lists(
        st.dictionaries(
            st.sampled_from(("role", "content", "summary", "call_id", "name", "arguments", "output", "result", "id")),
            json_values,
        ).map(lambda item: item),
        max_size=3,
    ),
    st.sampled_from(KINDS),
)
def test_no_body_makes_the_parser_raise(body: dict[str, Any], items: list[dict[str, Any]], kind: str) -> None:
    for said_in in (body, {**body, "input": [{"type": kind, **item} for item in items]}):
        found = parse_request(said_in)
        if isinstance(found, Failure):
            assert found.param
            assert found.detail


# What clients get.


def test_a_whole_answer() -> None:
    answer = client(rendered(whole(ReasoningPart(text="hm"), TextPart("hello")))).responses.create(
        model="m", input="hi"
    )
    exact(answer)
    assert (answer.id, answer.object, answer.status, answer.model) == ("resp_01", "response", "completed", "m")
    assert answer.output_text == "hello"
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.created_at == 1_700_000_000
    assert (answer.error, answer.incomplete_details) == (None, None)
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (20, 7, 27)
    assert answer.usage.input_tokens_details.cached_tokens == 3
    assert answer.usage.output_tokens_details.reasoning_tokens == 4
    assert answer.usage.to_dict()["cost"] == 0.0015


def test_calls_of_functions() -> None:
    calls = (
        ToolCall(id="c1", name="w", arguments='{"a": 1}'),
        ToolCall(id="c2", name="w", arguments=""),
        ToolCall(id="c3", name="p", arguments="print(1)", extra={"type": "custom"}),
    )
    answer = client(rendered(whole(TextPart("look"), *calls, finish=FinishReason.TOOL_CALLS))).responses.create(
        model="m", input="hi"
    )
    exact(answer)
    assert answer.status == "completed"
    found = [item.to_dict() for item in answer.output[1:]]
    assert [(one["type"], one["call_id"], one["name"]) for one in found] == [
        ("function_call", "c1", "w"),
        ("function_call", "c2", "w"),
        ("custom_tool_call", "c3", "p"),
    ]
    assert [one.get("arguments", one.get("input")) for one in found] == ['{"a": 1}', "{}", "print(1)"]
    assert len({one["id"] for one in found}) == 3


class Weather(pydantic.BaseModel):
    city: str
    degrees: int


def test_a_structured_answer() -> None:
    seen: list[Any] = []
    body = rendered(whole(TextPart('{"city": "Bonn", "degrees": 7}')))
    answer = client(body, seen).responses.parse(model="m", input="hi", text_format=Weather)
    assert answer.output_parsed == Weather(city="Bonn", degrees=7)
    form = parsed(seen[0]).response_format
    assert form is not None
    assert (form.kind, form.name, form.strict) == ("json_schema", "Weather", True)


def test_a_structured_stream() -> None:
    stream = streamed([Delta(text='{"city": "Bonn",'), Delta(text=' "degrees": 7}', finish_reason=FinishReason.STOP)])
    with client(stream).responses.stream(model="m", input="hi", text_format=Weather) as events:
        assert events.get_final_response().output_parsed == Weather(city="Bonn", degrees=7)


def test_function_calling_with_the_sdk_there_and_back() -> None:
    seen: list[Any] = []
    tool = openai.pydantic_function_tool(Weather, name="w")["function"]
    first = rendered(
        whole(
            ReasoningPart(text="hm", signature="sig"),
            ToolCall(id="c1", name="w", arguments='{"city": "Bonn", "degrees": 7}', signature="g"),
            finish=FinishReason.TOOL_CALLS,
        )
    )
    sdk = client(first, seen)
    tools: Any = [{"type": "function", **tool}]
    history: list[Any] = [{"role": "user", "content": "weather?"}]
    answer = sdk.responses.parse(model="m", input=history, tools=tools)
    call = answer.output[1]
    assert call.type == "function_call"
    assert call.parsed_arguments == {"city": "Bonn", "degrees": 7}
    history += answer.output
    history.append({"type": "function_call_output", "call_id": call.call_id, "output": "ok"})
    sdk.responses.create(model="m", input=history, tools=tools, store=False)
    request = parsed(seen[1])
    assert request.messages[1] == Message(
        role=Role.ASSISTANT,
        parts=(
            ReasoningPart(text="hm", signature="sig"),
            ToolCall(id="c1", name="w", arguments='{"city": "Bonn", "degrees": 7}', signature="g"),
        ),
    )
    assert request.messages[2] == Message(role=Role.TOOL, parts=(TextPart("ok"),), tool_call_id="c1")
    assert not [name for name in request.extra if "extra" in name]


@pytest.mark.parametrize(
    "thought",
    [
        ReasoningPart(text="hm"),
        ReasoningPart(text="hm", signature="s"),
        ReasoningPart(signature="s"),
        ReasoningPart(redacted="only its provider can read this"),
        ReasoningPart(text="hm", signature="s", extra={"format": "x", "index": 0}),
    ],
)
def test_a_thought_comes_back_as_it_went(thought: ReasoningPart) -> None:
    item = rendered(whole(thought))["output"][0]
    assert item["type"] == "reasoning"
    assert parsed({"input": [item]}).messages[0].parts == (thought,)
    final, _ = accumulated(streamed(deltas_of(0, Choice(parts=(thought,), finish_reason=FinishReason.STOP))))
    assert parsed({"input": [final.output[0].to_dict()]}).messages[0].parts == (thought,)


def test_why_an_answer_is_not_whole() -> None:
    for finish, reason in ((FinishReason.LENGTH, "max_output_tokens"), (FinishReason.CONTENT_FILTER, "content_filter")):
        answer = client(rendered(whole(TextPart("hel"), finish=finish))).responses.create(model="m", input="hi")
        exact(answer)
        assert answer.status == "incomplete"
        assert answer.incomplete_details is not None
        assert answer.incomplete_details.reason == reason
        assert answer.output[0].to_dict()["status"] == "incomplete"
        events = said(streamed([Delta(text="hel"), Delta(finish_reason=finish)]))
        assert events[-1]["type"] == "response.incomplete"
        assert events[-1]["response"]["incomplete_details"] == {"reason": reason}
        assert "response.completed" not in {event["type"] for event in events}


def test_a_refusal() -> None:
    refusal = {"type": "refusal", "refusal": "I cannot."}
    body = rendered(whole(refusal="I cannot."))
    assert body["output"][0]["content"] == [refusal]
    final, seen = accumulated(
        streamed([Delta(refusal="I "), Delta(refusal="cannot."), Delta(finish_reason=FinishReason.STOP)])
    )
    exact(final)
    assert final.output[0].to_dict()["content"] == [refusal]
    assert [event.type for event in seen].count("response.refusal.delta") == 2


def test_sources_become_annotations() -> None:
    web = {"type": "web_search_result_location", "url": "https://a.test", "title": "A", "cited_text": "x"}
    page = {"type": "char_location", "document_title": "D", "cited_text": "x"}
    native = {"type": "url_citation", "url_citation": {"url": "https://b.test", "title": "B", "start_index": 0}}
    cohere = {"start": 1, "end": 3, "sources": [{"type": "document", "id": "d1", "document": {"title": "T"}}]}
    text = TextPart("hello", citations=(web, page, native, cohere, {"type": "other"}))
    expected = [
        {"type": "url_citation", "url": "https://a.test", "title": "A", "start_index": 0, "end_index": 5},
        {"type": "file_citation", "file_id": "", "filename": "D", "index": 5},
        {"type": "url_citation", "url": "https://b.test", "title": "B", "start_index": 0, "end_index": 5},
        {"type": "file_citation", "file_id": "d1", "filename": "T", "index": 3},
    ]
    assert rendered(whole(text))["output"][0]["content"][0]["annotations"] == expected
    events = said(streamed(deltas_of(0, Choice(parts=(text,), finish_reason=FinishReason.STOP))))
    added = [event["annotation"] for event in events if event["type"] == "response.output_text.annotation.added"]
    assert added == expected
    beside = whole(TextPart("hello"), extra={"annotations": [native], "grounding": 1})
    message = rendered(beside)["output"][0]
    assert message["content"][0]["annotations"] == expected[2:3]
    assert message["grounding"] == 1


def test_pictures_sound_and_what_only_one_provider_has() -> None:
    native = NativePart(dialect="anthropic", kind="server_tool_use", value={})
    answer = client(
        rendered(
            whole(
                TextPart("a"),
                native,
                ImagePart(data="aGk=", media_type="image/webp"),
                TextPart("b"),
                AudioPart(data="aGk=", extra={"transcript": "spoken"}),
            )
        )
    ).responses.create(model="m", input="hi")
    exact(answer)
    assert [item.type for item in answer.output] == ["message", "image_generation_call", "message"]
    picture = answer.output[1].to_dict()
    assert (picture["result"], picture["output_format"], picture["status"]) == ("aGk=", "webp", "completed")
    assert answer.output_text == "abspoken"
    assert parsed({"input": [picture]}).messages[0].parts == (ImagePart(data="aGk=", media_type="image/webp"),)


def test_probabilities_of_tokens() -> None:
    token = {"token": "hi", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    deltas = [Delta(text="hi", logprobs={"content": [token]}), Delta(finish_reason=FinishReason.STOP)]
    stream = streamed(deltas)
    exact(accumulated(stream)[0])
    final = said(stream)[-1]["response"]["output"]
    assert final[0]["content"][0]["logprobs"] == [{**token, "bytes": []}]
    assert rendered(whole(TextPart("hi"), logprobs={"content": [token]}))["output"] == final


def test_a_stream_of_everything() -> None:
    stream = streamed(
        [
            Delta(reasoning="h"),
            Delta(reasoning="m"),
            Delta(signature="s"),
            Delta(text="he"),
            Delta(text="llo"),
            Delta(tool_calls=(ToolCallDelta(position=0, id="c1", name="w"),)),
            Delta(tool_calls=(ToolCallDelta(position=1, id="c2", name="w", arguments='{"b"'),)),
            Delta(tool_calls=(ToolCallDelta(position=0, arguments='{"a": 1}'),)),
            Delta(tool_calls=(ToolCallDelta(position=1, arguments=": 2}"),)),
            Delta(finish_reason=FinishReason.TOOL_CALLS),
        ]
    )
    final, seen = accumulated(stream)
    exact(final)
    assert [event.type for event in seen] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert final.output_text == "hello"
    assert [item.to_dict().get("arguments") for item in final.output[2:]] == ['{"a": 1}', '{"b": 2}']
    assert final.usage is not None
    assert final.usage.to_dict()["cost"] == 0.0015


def test_a_call_is_announced_once_it_is_known_which() -> None:
    deltas = [
        Delta(tool_calls=(ToolCallDelta(position=0, arguments="{"),)),
        Delta(tool_calls=(ToolCallDelta(position=0, id="c1", name="w", arguments="}"),)),
        Delta(tool_calls=(ToolCallDelta(position=1, name="v", arguments="{}"),)),
        Delta(finish_reason=FinishReason.TOOL_CALLS),
    ]
    final, _ = accumulated(streamed(deltas))
    exact(final)
    calls = [item.to_dict() for item in final.output]
    assert [(one["name"], one["arguments"]) for one in calls] == [("w", "{}"), ("v", "{}")]
    assert all(one["call_id"] for one in calls)


def test_an_answer_from_a_cache_is_streamed_whole() -> None:
    completion = whole(TextPart("hello"))
    stream = written([StreamEnd(outcome=completion)])
    assert accumulated(stream)[0].output_text == "hello"
    assert said(stream)[-1]["response"] == rendered(completion)
    started, _ = accumulated(written([START, StreamEnd(outcome=completion)]))
    assert started.output_text == "hello"


def test_nothing_was_said() -> None:
    body = rendered(Completion(id="", model="m", request_id="req_9"))
    answer = client(body).responses.create(model="m", input="hi")
    exact(answer)
    assert (answer.id, answer.output, answer.output_text) == ("resp_9", [], "")


def test_a_broken_stream_ends_in_an_error() -> None:
    failure = Failure(kind=FailureKind.INTERRUPTED, provider="p", detail="the line broke", code="cut")
    stream = written([START, Delta(text="hel"), StreamEnd(outcome=failure)])
    events = said(stream)
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert "response.completed" not in {event["type"] for event in events}
    assert events[-1]["response"]["status"] == "failed"
    assert events[-1]["response"]["error"] == {"code": "server_error", "message": "p: the line broke"}
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "hel"
    for event in events:
        EVENTS[event["type"]].model_validate(event)
    with pytest.raises(openai.APIError, match="the line broke") as caught:
        list(client(stream).responses.create(model="m", input="hi", stream=True))
    assert caught.value.code == "cut"
    with (
        pytest.raises(openai.APIError, match="the line broke"),
        client(stream).responses.stream(model="m", input="hi") as under_way,
    ):
        under_way.get_final_response()


def test_a_stream_that_fails_after_its_first_sign_of_life() -> None:
    failure = Failure(kind=FailureKind.RATE_LIMITED, detail="slow down", request_id="req_1")
    events = said(written([StreamEnd(outcome=failure)]))
    assert [event["type"] for event in events] == ["error", "response.failed"]
    assert events[1]["response"]["error"]["code"] == "rate_limit_exceeded"
    assert SURFACE.renderer(ASKED).keep_alive().startswith(b":")


def test_an_answer_that_its_provider_ended_with_an_error() -> None:
    assert rendered(whole(TextPart("hel"), finish=FinishReason.ERROR))["status"] == "failed"
    events = said(streamed([Delta(text="hel"), Delta(finish_reason=FinishReason.ERROR)]))
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]


@pytest.mark.parametrize("kind", FailureKind)
def test_errors_have_the_envelope_of_the_api(kind: FailureKind) -> None:
    failure = Failure(kind=kind, detail="why", param="input", retry_after_s=2)
    with pytest.raises(openai.APIStatusError) as caught:
        client(failure).responses.create(model="m", input="hi")
    assert caught.value.status_code == HANDLING[kind].status
    assert caught.value.param == "input"
    assert "why" in caught.value.message
    assert caught.value.response.headers["x-should-retry"] in ("true", "false")


def test_other_choices_are_not_mixed_in() -> None:
    final, _ = accumulated(
        streamed([Delta(text="a"), Delta(choice=1, text="b"), Delta(finish_reason=FinishReason.STOP)])
    )
    assert final.output_text == "a"


words = st.text(max_size=5).filter(lambda text: text.isprintable())
calls = st.integers(0, 2).flatmap(
    lambda at: st.builds(
        lambda text: Delta(tool_calls=(ToolCallDelta(position=at, id=f"c{at}", name="w", arguments=text),)), words
    )
)
pieces = (
    st.builds(Delta, text=words, new_part=st.booleans())
    | st.builds(Delta, reasoning=words, new_part=st.booleans())
    | st.builds(Delta, signature=st.just("s"), new_part=st.booleans())
    | st.builds(Delta, citations=st.just(({"url": "https://a.test"},)), new_part=st.just(value=True), text=words)
    | st.builds(Delta, parts=st.just((ReasoningPart(redacted="r"),)))
    | st.builds(Delta, parts=st.just((ImagePart(data="aGk=", media_type="image/png"),)))
    | st.builds(Delta, parts=st.just((NativePart(dialect="x", kind="y", value={}),)))
    | calls
)


# The SDK builds its types on first use.
@given(st.lists(pieces, max_size=12), st.sampled_from([FinishReason.STOP, FinishReason.LENGTH]))
def test_streamed_and_whole_answers_say_the_same(deltas: list[Delta], finish: FinishReason) -> None:
    deltas = [*deltas, Delta(finish_reason=finish)]
    stream = streamed(deltas)
    events = said(stream)
    final = events[-1]["response"]
    completion = Completion(id="msg_01", model="m", choices=fold(deltas), usage=SPENT, cost=PAID)
    assert final["output"] == rendered(completion)["output"]
    done = {one["output_index"]: one["item"] for one in events if one["type"] == "response.output_item.done"}
    assert [done[at] for at in range(len(done))] == final["output"]
    # What was said piece by piece is what was said.
    for kind, field in (("output_text", "text"), ("function_call_arguments", "arguments")):
        told: dict[Any, str] = {}
        for event in events:
            key = (event.get("output_index"), event.get("content_index"))
            if event["type"] == f"response.{kind}.delta":
                told[key] = told.get(key, "") + event["delta"]
            elif event["type"] == f"response.{kind}.done":
                assert told.get(key, "") == event[field]
    if finish is FinishReason.STOP:
        accumulated(stream)


recorded = pytest.mark.skipif(not DEV.is_dir(), reason=ABSENT)


def answers(provider: str) -> list[Record]:
    found = [one for one in chats() if one.provider == provider and one.ok and one.stream is not None]
    assert found
    return found


@recorded
@pytest.mark.parametrize("provider", ["anthropic", "gemini", "openai", "openrouter", "cohere", "ollama"])
def test_recorded_streams_of_others_are_read_by_the_sdk(provider: str) -> None:
    for record in answers(provider):
        decoder = DIALECTS[record.dialect].decoder(record.target)
        deltas, outcome = decoder.feed(record.wire), decoder.finish()
        if isinstance(outcome, Failure):
            continue
        start = StreamStart(id=outcome.id, provider="p", model=outcome.model, request_id="req_1")
        stream = written([start, *deltas, StreamEnd(outcome=outcome)])
        last = said(stream)[-1]["response"]
        choice = outcome.choices[0]
        if last["status"] == "completed":
            answer, _ = accumulated(stream)
        else:
            answer = client(last).responses.create(model="m", input="hi")
        exact(answer)
        assert answer.output_text == choice.text, record.id
        calls = [item for item in answer.output if item.type == "function_call"]
        assert [(call.call_id, call.name, call.arguments) for call in calls] == [
            (call.id, call.name, call.arguments or "{}") for call in choice.tool_calls
        ], record.id
        thoughts = [item for item in answer.output if item.type == "reasoning"]
        assert "".join(one.text for item in thoughts for one in item.summary) == choice.reasoning, record.id
        assert answer.usage is not None
        assert answer.usage.input_tokens == outcome.usage.input_tokens, record.id
        assert last["output"] == rendered(replace(outcome, id=outcome.id or "req_1"))["output"], record.id
