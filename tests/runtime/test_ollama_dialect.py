"""Ollama's dialect, case by case. The general laws are in tests/conformance/test_dialects.py."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pytest

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.encoding import INVENTED
from runtime.dialects.ollama import Ollama, parse_request
from runtime.fold import fold
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
    Part,
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
    ask,
    user,
)

OLLAMA = Ollama()
TARGET = Target(provider="ollama", base_url="http://127.0.0.1:11434/", model="qwen3:4b")
CLOUD = Target(provider="cloud", base_url="https://ollama.com", model="gpt-oss:20b", api_key="key-0123456789")
WHEN = "2026-01-02T03:04:05.678901234Z"
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}
F, G = Tool(name="f", description="does f", parameters=SCHEMA), Tool(name="g")


def encoded(request: Request, target: Target = TARGET) -> tuple[dict[str, Any], HttpCall]:
    call = OLLAMA.encode(request, target)
    assert isinstance(call, HttpCall), call
    return orjson.loads(call.body), call


def refused(request: Request) -> Failure:
    call = OLLAMA.encode(request, TARGET)
    assert isinstance(call, Failure), call
    return call


def parsed(body: dict[str, Any]) -> Request:
    request = parse_request({"model": "m", "messages": [{"role": "user", "content": "hi"}], **body})
    assert isinstance(request, Request), request
    return request


def wrong(**body: Any) -> Failure:
    failure = parse_request({"model": "m", "messages": [{"role": "user", "content": "hi"}], **body})
    assert isinstance(failure, Failure), failure
    return failure


def there_and_back(body: dict[str, Any]) -> dict[str, Any]:
    """What a client's body becomes on its way to a server."""
    request = parsed(body)
    call = OLLAMA.encode(request, dataclasses.replace(TARGET, model=request.model))
    assert isinstance(call, HttpCall), call
    assert call.dropped == ()
    sent: dict[str, Any] = orjson.loads(call.body)
    return sent


def of(*parts: Part, role: Role = Role.USER, **fields: Any) -> Request:
    return Request(messages=(Message(role=role, parts=parts, **fields),))


def decoded(body: object, *, status: int = 200, target: Target = TARGET, **headers: str) -> Outcome:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return OLLAMA.decode(HttpReply(status=status, headers=named, body=raw), target)


def reply(message: dict[str, Any], **top: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": "", **message}
    return {"model": "m", "created_at": WHEN, "message": said, "done": True, "done_reason": "stop", **top}


def line(done: bool = False, **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": "", **message}
    counts = {"done_reason": "stop", "total_duration": 9, "prompt_eval_count": 3, "eval_count": 5} if done else {}
    return {"model": "m", "created_at": WHEN, "message": said, "done": done, **counts}


def streamed(*lines: object, target: Target = TARGET) -> tuple[list[Delta], Outcome]:
    decoder = OLLAMA.decoder(target)
    deltas = list(decoder.feed(b"".join(orjson.dumps(one) + b"\n" for one in lines)))
    return deltas, decoder.finish()


def completion(outcome: Outcome) -> Completion:
    assert isinstance(outcome, Completion), outcome
    return outcome


def failure(outcome: object) -> Failure:
    assert isinstance(outcome, Failure), outcome
    return outcome


# Encoding


def test_address_headers_and_the_stream_that_is_always_said() -> None:
    body, call = encoded(ask("hi"))
    assert (call.method, call.url) == ("POST", "http://127.0.0.1:11434/api/chat")
    assert call.headers == {"accept": "application/json", "content-type": "application/json"}
    assert body == {"model": "qwen3:4b", "messages": [{"role": "user", "content": "hi"}], "stream": False}
    body, call = encoded(ask("hi", stream=True), CLOUD)
    assert call.url == "https://ollama.com/api/chat"
    assert call.headers["accept"] == "application/x-ndjson"
    assert call.headers["authorization"] == "Bearer key-0123456789"
    assert body["stream"] is True


def test_all_of_sampling_goes_into_the_options() -> None:
    sampling = Sampling(
        temperature=0.0,
        top_p=0.9,
        top_k=40,
        max_tokens=7,
        frequency_penalty=0.1,
        presence_penalty=-0.1,
        stop=("a", "b"),
        seed=0,
    )
    body, call = encoded(dataclasses.replace(ask("hi"), sampling=sampling))
    assert body["options"] == {
        "temperature": 0.0,
        "top_p": 0.9,
        "top_k": 40,
        "num_predict": 7,
        "frequency_penalty": 0.1,
        "presence_penalty": -0.1,
        "stop": ["a", "b"],
        "seed": 0,
    }
    assert call.dropped == ()
    assert parsed({"options": body["options"]}).sampling == sampling


def test_run_images_are_images_and_not_text() -> None:
    parts = (
        TextPart("look: "),
        ImagePart(data="iVBORw0KGgo=", media_type="image/png"),
        TextPart("and here"),
        ImagePart(url="data:image/jpeg;base64,/9j/4A==", detail="high"),
    )
    body, call = encoded(of(*parts))
    assert body["messages"] == [{"role": "user", "content": "look: and here", "images": ["iVBORw0KGgo=", "/9j/4A=="]}]
    assert call.dropped == ("messages[0].content[3].detail",)


@pytest.mark.parametrize(
    ("part", "advice"),
    [
        (ImagePart(url="https://x/y.png"), "base64"),
        (ImagePart(file_id="f1"), "base64"),
        (AudioPart(data="UklGRg==", format="wav"), "words of the audio"),
        (VideoPart(url="https://x/y.mp4"), "single frames"),
        (FilePart(data="JVBERi0=", media_type="application/pdf"), "its pages as images"),
        (NativePart(dialect="anthropic", kind="server_tool_use", value={}), "its own provider"),
    ],
)
def test_a_part_that_the_api_has_no_place_for_is_refused_with_advice(part: Part, advice: str) -> None:
    failed = refused(of(TextPart("hi"), part))
    assert (failed.kind, failed.param) == (FailureKind.UNSUPPORTED, "messages[0].content[1]")
    assert advice in failed.detail


def test_a_document_of_plain_text_is_text() -> None:
    body, call = encoded(of(TextPart("see: "), FilePart(text="the facts", name="a.txt")))
    assert body["messages"][0]["content"] == "see: the facts"
    assert call.dropped == ("messages[0].content[1].name",)


def test_developer_means_system() -> None:
    body, _ = encoded(of(TextPart("be brief"), role=Role.DEVELOPER))
    assert body["messages"] == [{"role": "system", "content": "be brief"}]


def test_run_tool_round_trip_with_parallel_calls_of_one_tool() -> None:
    """A result goes as a result: role tool, by name and by id, each to its own call."""
    calls = (ToolCall(id="a", name="f", arguments='{"x":1}'), ToolCall(id="b", name="f", arguments=""))
    request = Request(
        messages=(
            user("go"),
            Message(role=Role.ASSISTANT, parts=(TextPart("so"), *calls)),
            Message(role=Role.TOOL, parts=(TextPart("two"),), tool_call_id="b"),
            Message(role=Role.TOOL, parts=(TextPart("one"),), tool_call_id="a", is_error=True),
        ),
        tools=(F,),
    )
    body, call = encoded(request)
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": "so",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}},
                {"id": "b", "type": "function", "function": {"name": "f", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "two", "tool_name": "f", "tool_call_id": "b"},
        {"role": "tool", "content": "one", "tool_name": "f", "tool_call_id": "a"},
    ]
    assert body["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "does f", "parameters": SCHEMA}}
    ]
    assert call.dropped == ("messages[3].is_error",)


def test_ids_of_our_own_stay_with_us() -> None:
    made = f"{INVENTED}3_0"
    request = Request(
        messages=(
            Message(role=Role.ASSISTANT, parts=(ToolCall(id=made, name="f", arguments="{}"),)),
            Message(role=Role.TOOL, parts=(TextPart("1"),), tool_call_id=made, name="f"),
        )
    )
    body, _ = encoded(request)
    assert "id" not in body["messages"][0]["tool_calls"][0]
    assert body["messages"][1] == {"role": "tool", "content": "1", "tool_name": "f"}


def test_arguments_that_are_no_object_are_refused() -> None:
    failed = refused(of(ToolCall(id="a", name="f", arguments="[1"), role=Role.ASSISTANT))
    assert (failed.kind, failed.param) == (FailureKind.UNSUPPORTED, "messages[0].tool_calls[0].arguments")


def test_run_a_tool_choice_is_honoured_or_named() -> None:
    request = dataclasses.replace(ask("hi"), tools=(F, G))
    chosen: list[tuple[ToolChoice, list[str], tuple[str, ...]]] = [
        (ToolChoice(mode="auto"), ["f", "g"], ()),
        (ToolChoice(mode="none"), [], ()),
        (ToolChoice(mode="required"), ["f", "g"], ("tool_choice",)),
        (ToolChoice(mode="function", function="g"), ["g"], ("tool_choice",)),
        (ToolChoice(mode="auto", allowed=("f",)), ["f"], ()),
        (ToolChoice(mode="required", allowed=("f",)), ["f"], ("tool_choice",)),
    ]
    for choice, offered, dropped in chosen:
        body, call = encoded(dataclasses.replace(request, tool_choice=choice))
        assert [tool["function"]["name"] for tool in body.get("tools", [])] == offered, choice
        assert call.dropped == dropped
    failed = refused(dataclasses.replace(request, tool_choice=ToolChoice(mode="function", function="h")))
    assert (failed.kind, failed.param) == (FailureKind.BAD_REQUEST, "tool_choice")


def test_tools_in_the_contracts_form() -> None:
    tool = Tool(name="g", strict=True, extra={"x": 1}, cache=CacheHint())
    body, call = encoded(dataclasses.replace(ask("hi"), tools=(tool,)))
    assert body["tools"][0]["function"] == {"name": "g", "parameters": {"type": "object", "properties": {}}}
    assert call.dropped == ("tools[0].strict", "cache", "tools[0].x")
    own = NativeTool(dialect="ollama", kind="new", value={"type": "new"})
    assert encoded(dataclasses.replace(ask("hi"), tools=(own,)))[0]["tools"] == [{"type": "new"}]
    failed = refused(dataclasses.replace(ask("hi"), tools=(NativeTool(dialect="openai", kind="web", value={}),)))
    assert (failed.kind, failed.param) == (FailureKind.UNSUPPORTED, "tools[0]")


@pytest.mark.parametrize(
    ("wanted", "said", "dropped"),
    [
        (ResponseFormat(kind="text"), None, ()),
        (ResponseFormat(kind="json_object"), "json", ()),
        (ResponseFormat(kind="json_schema", schema=SCHEMA), SCHEMA, ()),
        (ResponseFormat(kind="json_schema", name="a"), "json", ("response_format.name",)),
        (
            ResponseFormat(kind="json_schema", schema={}, description="d", strict=False, extra={"x": 1}),
            {},
            ("response_format.description", "response_format.strict", "response_format.x"),
        ),
    ],
)
def test_formats(wanted: ResponseFormat, said: Any, dropped: tuple[str, ...]) -> None:
    body, call = encoded(dataclasses.replace(ask("hi"), response_format=wanted))
    assert body.get("format") == said
    assert call.dropped == dropped


@pytest.mark.parametrize(
    ("wanted", "think", "dropped"),
    [
        (Reasoning(), None, ()),
        (Reasoning(enabled=True), True, ()),
        (Reasoning(enabled=False, effort="high"), False, ()),
        (Reasoning(effort="none"), False, ()),
        (Reasoning(effort="minimal"), "low", ()),
        (Reasoning(enabled=True, effort="medium"), "medium", ()),
        (Reasoning(effort="xhigh"), "max", ()),
        (Reasoning(effort="max"), "max", ()),
        (Reasoning(budget_tokens=0), False, ()),
        (Reasoning(budget_tokens=8_000), "high", ()),
        (Reasoning(effort="low", show=False), "low", ("reasoning.show",)),
    ],
)
def test_thinking(wanted: Reasoning, think: Any, dropped: tuple[str, ...]) -> None:
    body, call = encoded(dataclasses.replace(ask("hi"), reasoning=wanted, sampling=Sampling(max_tokens=10_000)))
    assert body.get("think") == think
    assert call.dropped == dropped


def test_earlier_thoughts_go_as_plain_text() -> None:
    parts = (
        ReasoningPart(text="hm, ", signature="s"),
        ReasoningPart(redacted="xx"),
        ReasoningPart(text="so"),
        TextPart("yes", citations=({"u": 1},), signature="t", extra={"x": 1}),
    )
    body, call = encoded(of(*parts, role=Role.ASSISTANT, refusal=" but no"))
    assert body["messages"] == [{"role": "assistant", "content": "yes but no", "thinking": "hm, so"}]
    assert call.dropped == (
        "messages[0].reasoning.signature",
        "messages[0].reasoning",
        "messages[0].content[3].citations",
        "messages[0].content[3].signature",
        "messages[0].content[3].x",
        "messages[0].refusal",
    )


def test_what_has_no_words_here_is_named() -> None:
    request = Request(
        messages=(Message(role=Role.USER, parts=(TextPart("hi", cache=CacheHint()),), name="ann", cache=CacheHint()),),
        choices=2,
        parallel_tool_calls=False,
        user="u",
        metadata={"a": "b"},
        cache=CacheHint(),
        extra={"logit_bias": {}},
        dialect="openai",
    )
    body, call = encoded(request)
    assert body == {"model": "qwen3:4b", "messages": [{"role": "user", "content": "hi"}], "stream": False}
    assert call.dropped == (
        "cache",
        "messages[0].name",
        "choices",
        "parallel_tool_calls",
        "user",
        "metadata",
        "logit_bias",
    )


def test_settings_lie_under_the_request_and_its_own_options_over_it() -> None:
    target = dataclasses.replace(
        TARGET, options={"keep_alive": "10m", "options": {"num_ctx": 8192, "temperature": 0.1}, "other": 1}
    )
    body, _ = encoded(dataclasses.replace(ask("hi"), sampling=Sampling(temperature=0.5)), target)
    assert body["options"] == {"num_ctx": 8192, "temperature": 0.5}
    assert body["keep_alive"] == "10m"
    assert "other" not in body
    given = {"ollama": {"keep_alive": 0, "options": {"num_ctx": 4}, "model": "x", "stream": True}}
    body, call = encoded(dataclasses.replace(ask("hi"), provider_options=given), target)
    assert body["options"] == {"num_ctx": 4, "temperature": 0.1}
    assert (body["keep_alive"], body["model"], body["stream"]) == (0, "qwen3:4b", False)
    assert call.dropped == ("provider_options.model", "provider_options.stream")


# Parsing


def test_a_whole_conversation_comes_back_as_it_was() -> None:
    body = {
        "model": "qwen3:4b",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "what is it?", "images": ["iVBORw0KGgo=", "AAAA"]},
            {
                "role": "assistant",
                "content": "",
                "thinking": "hm",
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": [1, None]}}},
                    {"type": "function", "function": {"index": 1, "name": "f", "arguments": {}}, "x": 2},
                ],
            },
            {"role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "a"},
            {"role": "tool", "content": "2", "tool_name": "f"},
            {"role": "user", "content": "so?", "priority": 1},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True},
                "items": [],
            }
        ],
        "format": SCHEMA,
        "options": {"temperature": 0.5, "num_ctx": 4096, "num_predict": -1, "stop": ["x"]},
        "think": "high",
        "stream": False,
        "keep_alive": "5m",
        "logprobs": True,
        "top_logprobs": 2,
    }
    assert there_and_back(body) == body


def test_what_a_client_said_is_typed() -> None:
    request = parsed(
        {
            "messages": [
                {"role": "User", "content": "look", "images": ["/9j/4A=="]},
                {
                    "role": "assistant",
                    "thinking": "hm",
                    "content": "ok",
                    "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}],
                },
            ],
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "format": "json",
            "think": False,
        }
    )
    assert request == Request(
        model="m",
        messages=(
            Message(role=Role.USER, parts=(ImagePart(data="/9j/4A==", media_type="image/jpeg"), TextPart("look"))),
            Message(
                role=Role.ASSISTANT,
                parts=(
                    ReasoningPart(text="hm"),
                    TextPart("ok"),
                    ToolCall(id=f"{INVENTED}1_0", name="f", arguments='{"x":1}'),
                ),
            ),
        ),
        tools=(Tool(name="f"),),
        response_format=ResponseFormat(kind="json_object"),
        reasoning=Reasoning(enabled=False),
        stream=True,
        dialect="ollama",
    )


def test_what_says_nothing_is_nothing() -> None:
    nothing: dict[str, Any] = {
        "format": "",
        "options": {},
        "tools": [],
        "think": None,
        "keep_alive": None,
        "stream": None,
    }
    assert parsed(nothing) == parsed({})
    assert parsed({}).stream is True
    assert parse_request({"messages": []}, model="m", stream=False) == Request(
        messages=(), model="m", stream=True, dialect="ollama"
    )


def test_results_without_ids_find_their_calls() -> None:
    def call(name: str) -> dict[str, Any]:
        return {"function": {"name": name, "arguments": {}}}

    def result(**fields: str) -> dict[str, Any]:
        return {"role": "tool", "content": "x", **fields}

    request = parsed(
        {
            "messages": [
                {"role": "assistant", "tool_calls": [call("f"), call("g"), call("f"), call("h")]},
                result(tool_name="g"),
                result(tool_name="f"),
                result(tool_name="f"),
                result(),
                result(tool_name="unheard-of"),
                {"role": "assistant", "tool_calls": [call("f")]},
                result(tool_name="f"),
            ]
        }
    )
    ids = [message.tool_call_id for message in request.messages if message.role is Role.TOOL]
    assert [made.removeprefix(INVENTED) for made in ids if made] == ["0_1", "0_0", "0_2", "0_3", "5_0", "6_0"]
    calls = [made.id for message in request.messages for made in message.tool_calls]
    assert len(set(calls)) == 5
    names = [message.name for message in request.messages if message.role is Role.TOOL]
    assert names == ["g", "f", "f", None, "unheard-of", "f"]


def test_options_that_no_type_holds_travel_by_path() -> None:
    request = parsed({"options": {"num_ctx": 8192, "num_predict": -2, "mirostat": None}, "template": "t"})
    assert request.extra == {"options.num_ctx": 8192, "options.num_predict": -2, "template": "t"}
    assert request.sampling == Sampling()
    assert encoded(request)[0]["options"] == {"num_ctx": 8192, "num_predict": -2}
    abroad = encoded(dataclasses.replace(request, dialect="x"))
    assert "options" not in abroad[0]
    assert set(abroad[1].dropped) == {"options.num_ctx", "options.num_predict", "template"}


@pytest.mark.parametrize(
    ("body", "param", "kind"),
    [
        ({"messages": None}, "messages", FailureKind.BAD_REQUEST),
        ({"messages": {}}, "messages", FailureKind.BAD_REQUEST),
        ({"messages": ["hi"]}, "messages[0]", FailureKind.BAD_REQUEST),
        ({"messages": [{"content": "hi"}]}, "messages[0].role", FailureKind.BAD_REQUEST),
        ({"messages": [{"role": "control", "content": "x"}]}, "messages[0].role", FailureKind.UNSUPPORTED),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content",
            FailureKind.BAD_REQUEST,
        ),
        ({"messages": [{"role": "user", "images": "AAAA"}]}, "messages[0].images", FailureKind.BAD_REQUEST),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
            FailureKind.BAD_REQUEST,
        ),
        ({"tools": [{"type": "web", "function": {}}]}, "tools[0].type", FailureKind.BAD_REQUEST),
        ({"tools": [{"type": "function"}]}, "tools[0].function", FailureKind.BAD_REQUEST),
        ({"format": "xml"}, "format", FailureKind.BAD_REQUEST),
        ({"think": "very"}, "think", FailureKind.BAD_REQUEST),
        ({"stream": "no"}, "stream", FailureKind.BAD_REQUEST),
        ({"options": []}, "options", FailureKind.BAD_REQUEST),
        ({"options": {"temperature": "hot"}}, "options.temperature", FailureKind.BAD_REQUEST),
        ({"options": {"num_predict": 1.5}}, "options.num_predict", FailureKind.BAD_REQUEST),
        ({"options": {"stop": [1]}}, "options.stop[0]", FailureKind.BAD_REQUEST),
    ],
)
def test_a_wrong_body_names_the_field_and_what_to_send(body: dict[str, Any], param: str, kind: FailureKind) -> None:
    failed = wrong(**body)
    assert (failed.param, failed.kind) == (param, kind)
    assert param in failed.detail


def test_a_body_that_is_no_object_is_wrong() -> None:
    assert failure(parse_request([])).param == "body"


# Whole replies


def test_a_reply() -> None:
    said = completion(
        decoded(
            reply(
                {"content": "hello", "thinking": "hm"},
                prompt_eval_count=11,
                eval_count=18,
                total_duration=174560334,
                load_duration=101397084,
                remote_model="gpt-oss:120b",
            )
        )
    )
    assert said.choices[0].parts == (ReasoningPart(text="hm"), TextPart("hello"))
    assert said.finish_reason is FinishReason.STOP
    assert (said.id, said.model, said.provider, said.created_s) == ("", "m", "ollama", 1767323045)
    assert said.usage == Usage(input_tokens=11, output_tokens=18)
    assert said.cost is None
    assert said.extra == {"total_duration": 174560334, "load_duration": 101397084, "remote_model": "gpt-oss:120b"}


@pytest.mark.parametrize(
    ("said", "finish", "extra"),
    [
        ("stop", FinishReason.STOP, {}),
        (None, FinishReason.STOP, {}),
        ("length", FinishReason.LENGTH, {}),
        ("load", FinishReason.OTHER, {"finish_reason": "load"}),
        ("unload", FinishReason.OTHER, {"finish_reason": "unload"}),
        ("new", FinishReason.OTHER, {"finish_reason": "new"}),
        (7, FinishReason.OTHER, {"finish_reason": 7}),
    ],
)
def test_why_an_answer_ended(said: object, finish: FinishReason, extra: dict[str, Any]) -> None:
    choice = completion(decoded(reply({"content": "x"}, done_reason=said))).choices[0]
    assert (choice.finish_reason, choice.extra) == (finish, extra)


def test_run_tool_calls_keep_their_ids_and_end_as_tool_calls() -> None:
    """Ollama says "stop" of them; old servers give no ids, so each call gets one of its own."""
    calls = [
        {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"city": "Tōkyō"}}},
        {"function": {"index": 0, "name": "f", "arguments": {"a": 1.5}}},
        {"function": {"name": "g", "arguments": None, "note": 1}, "type": "function"},
    ]
    said = completion(decoded(reply({"tool_calls": calls})))
    assert said.finish_reason is FinishReason.TOOL_CALLS
    assert said.tool_calls == (
        ToolCall(id="call_1", name="f", arguments='{"city":"Tōkyō"}'),
        ToolCall(id=f"{INVENTED}20260102030405678901234_1", name="f", arguments='{"a":1.5}'),
        ToolCall(id=f"{INVENTED}20260102030405678901234_2", name="g", arguments="{}", extra={"function.note": 1}),
    )
    cut = completion(decoded(reply({"tool_calls": calls}, done_reason="length")))
    assert cut.finish_reason is FinishReason.LENGTH


def test_images_and_what_no_type_holds() -> None:
    message = {"images": ["iVBORw0KGgo="], "tool_calls": [{"custom": 1}], "mood": "good"}
    choice = completion(decoded(reply(message))).choices[0]
    assert choice.parts == (ImagePart(data="iVBORw0KGgo=", media_type="image/png"),)
    assert choice.extra == {"mood": "good", "foreign_tool_calls": [{"custom": 1}]}
    assert choice.finish_reason is FinishReason.STOP


def test_usage_that_was_not_reported_is_no_zero() -> None:
    assert completion(decoded(reply({}))).usage == Usage(estimated=True)
    # Older servers say nothing of a prompt that they had in memory.
    assert completion(decoded(reply({}, eval_count=5))).usage == Usage(output_tokens=5, estimated=True)
    assert completion(decoded(reply({}, prompt_eval_count=5))).usage == Usage(input_tokens=5)


def test_logprobs_in_the_form_of_openai() -> None:
    tokens = [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}]
    assert completion(decoded(reply({}, logprobs=tokens))).choices[0].logprobs == {"content": tokens}


def test_a_reply_that_is_no_chat_answer() -> None:
    assert failure(decoded({"object": "list"})).kind is FailureKind.MALFORMED
    assert failure(decoded(b"<html>")).kind is FailureKind.MALFORMED
    assert failure(decoded(b"")).kind is FailureKind.MALFORMED
    assert failure(decoded(line(content="half"))).kind is FailureKind.INTERRUPTED
    pretty = orjson.dumps(reply({"content": "x"}), option=orjson.OPT_INDENT_2)
    assert completion(decoded(pretty)).text == "x"


def test_a_stream_that_calls_itself_json_is_read_whole() -> None:
    """Ollama's cloud says content-type application/json of its streams."""
    wire = b"".join(orjson.dumps(one) + b"\n" for one in (line(content="a"), line(content="b"), line(done=True)))
    assert completion(decoded(wire, target=CLOUD)).text == "ab"
    broken = orjson.dumps(line(content="a")) + b"\n" + orjson.dumps({"error": "out of memory"}) + b"\n"
    assert failure(decoded(broken)).detail == "out of memory"
    assert failure(decoded(orjson.dumps(line(content="a")) + b"\n{")).kind is FailureKind.INTERRUPTED


# Errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FailureKind.BAD_REQUEST),
        (401, FailureKind.UNAUTHENTICATED),
        (403, FailureKind.FORBIDDEN),
        (404, FailureKind.MODEL_NOT_FOUND),
        (429, FailureKind.RATE_LIMITED),
        (500, FailureKind.UNAVAILABLE),
        (502, FailureKind.UNAVAILABLE),
        (503, FailureKind.OVERLOADED),
    ],
)
def test_errors_are_bare_text_under_a_status(status: int, kind: FailureKind) -> None:
    failed = failure(decoded({"error": "model 'nope' not found"}, status=status, retry_after="3"))
    assert (failed.kind, failed.status, failed.retry_after_s) == (kind, status, 3.0)
    assert failed.detail == "model 'nope' not found"
    assert (failed.provider, failed.model) == ("ollama", "qwen3:4b")


def test_an_error_inside_a_200() -> None:
    assert failure(decoded({"error": "no"})).kind is FailureKind.UNAVAILABLE


# Streams


def test_a_stream() -> None:
    deltas, outcome = streamed(
        line(thinking="h"),
        line(thinking="m"),
        line(content="hé"),
        line(content="llo"),
        line(done=True),
    )
    said = completion(outcome)
    assert [delta.text for delta in deltas] == ["", "", "hé", "llo", ""]
    assert said.choices[0].parts == (ReasoningPart(text="hm"), TextPart("héllo"))
    assert fold(deltas) == said.choices
    assert said.usage == Usage(input_tokens=3, output_tokens=5)
    assert said.extra == {"total_duration": 9}
    assert (said.model, said.created_s) == ("m", 1767323045)


def test_run_streams_end_with_a_reason_and_carry_tool_calls() -> None:
    """Each line numbers its calls from 0: they are told apart by their order."""
    call = {"function": {"index": 0, "name": "f", "arguments": {"x": 1}}}
    deltas, outcome = streamed(
        line(content="so"),
        line(tool_calls=[{"id": "a", **call}]),
        line(tool_calls=[call, {"id": "c", **call}]),
        line(done=True),
    )
    said = completion(outcome)
    assert deltas[-1].finish_reason is said.finish_reason is FinishReason.TOOL_CALLS
    assert [call.id for call in said.tool_calls] == ["a", f"{INVENTED}20260102030405678901234_1", "c"]
    assert [call.arguments for call in said.tool_calls] == ['{"x":1}'] * 3
    assert [piece.position for delta in deltas for piece in delta.tool_calls] == [0, 1, 2]
    assert fold(deltas) == said.choices


def test_logprobs_of_a_stream_add_up() -> None:
    first, second = {"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -0.2}
    _, outcome = streamed({**line(content="a"), "logprobs": [first]}, {**line(done=True), "logprobs": [second]})
    assert completion(outcome).choices[0].logprobs == {"content": [first, second]}


def test_run_an_error_in_a_stream_is_not_swallowed() -> None:
    deltas, outcome = streamed(line(content="a"), {"error": "an error was encountered while running the model"})
    assert [delta.text for delta in deltas] == ["a"]
    failed = failure(outcome)
    assert (failed.kind, failed.detail) == (
        FailureKind.UNAVAILABLE,
        "an error was encountered while running the model",
    )
    _, outcome = streamed({"error": "too many requests", "status": 429})
    assert failure(outcome).kind is FailureKind.RATE_LIMITED
    _, outcome = streamed({"error": {"message": "boom", "type": "overloaded_error"}})
    assert failure(outcome).kind is FailureKind.OVERLOADED


@pytest.mark.parametrize(
    "wire",
    [b"<html>\n", b"<html>", b"data: {}\n\n", b"[1]\n", b"[1]", b'{"object":"chat.completion"}\n', b'{"done"\n'],
)
def test_run_what_is_no_stream_of_ollama_is_malformed(wire: bytes) -> None:
    decoder = OLLAMA.decoder(TARGET)
    decoder.feed(wire)
    assert failure(decoder.finish()).kind is FailureKind.MALFORMED


def test_a_stream_is_whole_only_with_its_end() -> None:
    assert failure(streamed()[1]).kind is FailureKind.INTERRUPTED
    assert failure(streamed(line(content="a"))[1]).kind is FailureKind.INTERRUPTED
    # The last line may lack its line end, if it is whole and shows nothing new.
    for last, whole in ((line(done=True), True), (line(done=True, content="b"), False)):
        decoder = OLLAMA.decoder(TARGET)
        decoder.feed(orjson.dumps(line(content="a")) + b"\n" + orjson.dumps(last))
        assert not decoder.ended
        outcome = decoder.finish()
        assert isinstance(outcome, Completion) if whole else failure(outcome).kind is FailureKind.INTERRUPTED


def test_a_whole_answer_is_one_also_without_a_line_end() -> None:
    """So it comes where a proxy answers a stream's request in one piece: nothing of it was to be shown before."""
    decoder = OLLAMA.decoder(TARGET)
    decoder.feed(orjson.dumps(line(done=True, content="all of it")))
    assert completion(decoder.finish()).text == "all of it"


def test_nothing_is_read_after_the_end() -> None:
    decoder = OLLAMA.decoder(TARGET)
    decoder.feed(orjson.dumps(line(done=True)) + b"\n" + orjson.dumps(line(content="late")) + b"\n")
    assert decoder.ended
    assert decoder.feed(b"noise\n") == []
    assert completion(decoder.finish()).text == ""
    assert decoder.model == "m"
    assert decoder.id == ""


# Embeddings, models, health


def embedded(body: object, status: int = 200) -> Embeddings | Failure:
    return OLLAMA.decode_embed(HttpReply(status=status, headers={}, body=orjson.dumps(body)), TARGET)


def test_embeddings() -> None:
    request = EmbedRequest(inputs=("a", "b"), dimensions=2, purpose="query", user="u", extra={"truncate": False})
    call = OLLAMA.encode_embed(dataclasses.replace(request, dialect="ollama"), TARGET)
    assert isinstance(call, HttpCall)
    assert call.url == "http://127.0.0.1:11434/api/embed"
    assert orjson.loads(call.body) == {"model": "qwen3:4b", "input": ["a", "b"], "dimensions": 2, "truncate": False}
    assert call.dropped == ("purpose", "user")
    assert embedded({"model": "e", "embeddings": [[1, 0.5], [0, 1]], "prompt_eval_count": 4}) == Embeddings(
        model="e", provider="ollama", vectors=((1.0, 0.5), (0.0, 1.0)), usage=Usage(input_tokens=4)
    )
    without = embedded({"embeddings": [[1]]})
    assert isinstance(without, Embeddings)
    assert (without.usage.estimated, without.model) == (True, "qwen3:4b")


@pytest.mark.parametrize("body", [{}, {"embeddings": []}, {"embeddings": [[]]}, {"embeddings": [["a"]]}, {"data": []}])
def test_no_vectors_are_malformed(body: object) -> None:
    assert failure(embedded(body)).kind is FailureKind.MALFORMED


def test_an_embedding_of_an_unknown_model() -> None:
    assert failure(embedded({"error": "model 'x' not found"}, 404)).kind is FailureKind.MODEL_NOT_FOUND


def test_models_and_health_are_one_free_call() -> None:
    for call in (OLLAMA.list_models(CLOUD), OLLAMA.health(CLOUD)):
        assert isinstance(call, HttpCall)
        assert (call.method, call.url) == ("GET", "https://ollama.com/api/tags")
        assert call.headers["authorization"] == "Bearer key-0123456789"
    listed = {"models": [{"name": "llama3.2:latest", "size": 1}, {"model": "qwen3:4b"}, {"size": 2}, "x"]}
    reply = HttpReply(status=200, headers={}, body=orjson.dumps(listed))
    assert OLLAMA.decode_models(reply, TARGET) == ("llama3.2:latest", "qwen3:4b")
    assert OLLAMA.decode_health(reply, TARGET) is None
    empty = HttpReply(status=200, headers={}, body=b'{"models":[]}')
    assert OLLAMA.decode_models(empty, TARGET) == ()
    assert OLLAMA.decode_health(empty, TARGET) is None
    for body, status in ((b"Ollama is running", 200), (b"{}", 200), (b"", 500)):
        assert isinstance(OLLAMA.decode_health(HttpReply(status=status, headers={}, body=body), TARGET), Failure)
