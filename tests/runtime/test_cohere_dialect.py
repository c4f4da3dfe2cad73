"""Cohere's requests, both ways. Its answers are in `test_cohere_answers`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.cohere import Cohere, parse_request
from runtime.outcome import Failure, FailureKind
from runtime.request import (
    AudioPart,
    CacheHint,
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

Json = Any

COHERE = Cohere()
TARGET = Target(provider="co", base_url="https://api.cohere.com", model="command-x", api_key="key-123")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def call_of(request: Request, target: Target = TARGET) -> HttpCall:
    call = COHERE.encode(request, target)
    assert isinstance(call, HttpCall), call
    return call


def body_of(request: Request) -> dict[str, Json]:
    body: dict[str, Json] = orjson.loads(call_of(request).body)
    return body


def refusal_of(request: Request) -> Failure:
    failure = COHERE.encode(request, TARGET)
    assert isinstance(failure, Failure)
    return failure


def parsed(body: Json, **address: Any) -> Request:
    request = parse_request(body, **address)
    assert isinstance(request, Request), request
    return request


def wrong(body: Json) -> Failure:
    failure = parse_request(body)
    assert isinstance(failure, Failure)
    return failure


def again(body: dict[str, Json]) -> dict[str, Json]:
    """The body that its request becomes."""
    request = parsed(body)
    return body_of(request) | {"model": body.get("model", "command-x")}


def turn(role: Role, *parts: Part, **more: Any) -> Message:
    return Message(role=role, parts=parts, **more)


# What is sent.


def test_the_shortest_request() -> None:
    call = call_of(ask("hi"))
    assert (call.method, call.url) == ("POST", "https://api.cohere.com/v2/chat")
    assert call.headers["authorization"] == "Bearer key-123"
    assert "key-123" not in call.url
    assert orjson.loads(call.body) == {"model": "command-x", "messages": [{"role": "user", "content": "hi"}]}


def test_a_stream_is_asked_for_as_one() -> None:
    call = call_of(ask("hi", stream=True))
    assert call.headers["accept"] == "text/event-stream"
    assert orjson.loads(call.body)["stream"] is True


def test_the_users_headers_go_over_ours() -> None:
    target = replace(TARGET, api_key=None, headers={"X-Client-Name": "us"})
    headers = call_of(ask("hi"), target).headers
    assert headers["x-client-name"] == "us"
    assert "authorization" not in headers


def test_every_sampling_field_by_coheres_name() -> None:
    sampling = Sampling(
        temperature=0.2,
        top_p=0.9,
        top_k=40,
        max_tokens=7,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        stop=("a", "b"),
        seed=3,
    )
    call = call_of(replace(ask("hi"), sampling=sampling))
    body = orjson.loads(call.body)
    assert call.dropped == ()
    assert {name: body[name] for name in body.keys() - {"model", "messages"}} == {
        "temperature": 0.2,
        "p": 0.9,
        "k": 40,
        "max_tokens": 7,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "stop_sequences": ["a", "b"],
        "seed": 3,
    }
    assert parsed(body).sampling == sampling


def test_values_outside_coheres_ranges_go_to_their_edge_and_are_named() -> None:
    sampling = Sampling(temperature=1.7, top_p=1.0, top_k=900, frequency_penalty=-1, presence_penalty=2, seed=-1)
    call = call_of(replace(ask("hi"), sampling=sampling, dialect="openai"))
    body = orjson.loads(call.body)
    assert (body["temperature"], body["p"], body["k"]) == (1.0, 0.99, 500)
    assert (body["frequency_penalty"], body["presence_penalty"]) == (0.0, 1.0)
    assert "seed" not in body
    assert call.dropped == ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")


def test_a_cohere_client_is_taken_at_its_word() -> None:
    call = call_of(replace(ask("hi"), sampling=Sampling(top_p=1.0), dialect="cohere"))
    assert orjson.loads(call.body)["p"] == 1.0
    assert call.dropped == ()


def test_what_cohere_has_no_word_for_is_named() -> None:
    request = replace(
        ask("hi"), choices=2, parallel_tool_calls=False, user="u", metadata={"a": "b"}, cache=CacheHint(), stream=True
    )
    assert call_of(request).dropped == ("choices", "parallel_tool_calls", "user", "metadata", "cache")


def test_caching_marks_are_named_once() -> None:
    request = Request(
        messages=(
            turn(Role.SYSTEM, TextPart("a", cache=CacheHint()), cache=CacheHint(ttl="1h")),
            turn(Role.USER, TextPart("b", cache=CacheHint())),
        ),
        tools=(Tool(name="f", cache=CacheHint()),),
    )
    assert call_of(request).dropped == ("cache",)


def test_provider_options_reach_the_body_but_not_what_decoding_rests_on() -> None:
    request = replace(ask("hi"), provider_options={"co": {"safety_mode": "OFF", "stream": True}})
    call = call_of(request)
    assert orjson.loads(call.body)["safety_mode"] == "OFF"
    assert call.dropped == ("provider_options.stream",)


# Messages.


def test_every_role_and_every_system_message() -> None:
    request = Request(
        messages=(
            turn(Role.SYSTEM, TextPart("one")),
            turn(Role.DEVELOPER, TextPart("two")),
            user("hi"),
            turn(Role.ASSISTANT, TextPart("hello")),
            user("again"),
        )
    )
    assert body_of(request)["messages"] == [
        {"role": "system", "content": "one"},
        {"role": "system", "content": "two"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "again"},
    ]


def test_images_by_address_and_inline() -> None:
    request = Request(
        messages=(
            turn(
                Role.USER,
                TextPart("what?"),
                ImagePart(url="https://host/a.png", detail="low"),
                ImagePart(data="iVBORw0KGgo="),
            ),
        )
    )
    body = body_of(request)
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": "https://host/a.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    ]
    parts = parsed(body).messages[0].parts
    assert parts[1:] == (
        ImagePart(url="https://host/a.png", detail="low"),
        ImagePart(data="iVBORw0KGgo=", media_type="image/png"),
    )


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (AudioPart(data="aGk=", format="wav"), FailureKind.UNSUPPORTED),
        (VideoPart(url="https://host/v.mp4"), FailureKind.UNSUPPORTED),
        (ImagePart(file_id="f1"), FailureKind.UNSUPPORTED),
        (ImagePart(data="????"), FailureKind.BAD_REQUEST),
        (ImagePart(), FailureKind.BAD_REQUEST),
        (FilePart(data="JVBERi0=", media_type="application/pdf"), FailureKind.UNSUPPORTED),
        (FilePart(url="https://host/a.pdf"), FailureKind.UNSUPPORTED),
        (FilePart(data="gA==", media_type="text/plain"), FailureKind.UNSUPPORTED),
        (NativePart(dialect="anthropic", kind="server_tool_use", value={}), FailureKind.UNSUPPORTED),
        (ToolCall(id="c", name="f", arguments="{}"), FailureKind.BAD_REQUEST),
    ],
)
def test_a_part_that_cannot_be_said_is_refused_by_name(part: Part, kind: FailureKind) -> None:
    failure = refusal_of(Request(messages=(turn(Role.USER, TextPart("a"), part),)))
    assert (failure.kind, failure.param) == (kind, "messages[0].content[1]")


@pytest.mark.parametrize("role", [Role.SYSTEM, Role.ASSISTANT, Role.TOOL])
def test_only_users_show_images(role: Role) -> None:
    message = turn(role, ImagePart(url="https://host/a.png"), tool_call_id="c")
    assert refusal_of(Request(messages=(message,))).kind is FailureKind.UNSUPPORTED


def test_names_and_errors_of_messages_are_named() -> None:
    request = Request(
        messages=(
            turn(Role.USER, TextPart("a"), name="Ada", tool_call_id="x"),
            turn(Role.ASSISTANT, ToolCall(id="c", name="f", arguments="{}", signature="s")),
            turn(Role.TOOL, TextPart("b"), name="f", tool_call_id="c", is_error=True),
        )
    )
    assert call_of(request).dropped == (
        "messages[0].name",
        "messages[0].tool_call_id",
        "messages[1].tool_calls[0].signature",
        "messages[2].is_error",
    )


def test_a_refusal_is_what_the_assistant_said() -> None:
    message = turn(Role.ASSISTANT, refusal="I will not.")
    assert body_of(Request(messages=(message,)))["messages"] == [{"role": "assistant", "content": "I will not."}]


def test_marks_of_other_providers_are_named() -> None:
    request = Request(
        messages=(
            turn(
                Role.ASSISTANT,
                TextPart("a", citations=({"url": "u"},), signature="s", extra={"phase": 1}),
                ReasoningPart(text="t", signature="s"),
                ReasoningPart(redacted="r"),
            ),
        ),
        dialect="anthropic",
    )
    call = call_of(request)
    assert orjson.loads(call.body)["messages"] == [{"role": "assistant", "content": "a"}]
    assert call.dropped == (
        "messages[0].content[0].citations",
        "messages[0].content[0].signature",
        "messages[0].content[0].phase",
        "messages[0].reasoning",
    )


# Thoughts and plans.


def test_a_plan_goes_back_as_the_plan() -> None:
    body = {
        "messages": [
            {"role": "user", "content": "x"},
            {
                "role": "assistant",
                "tool_plan": "I will ask.",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "5"},
        ]
    }
    request = parsed(body)
    assert request.messages[1].parts == (
        ReasoningPart(text="I will ask."),
        ToolCall(id="c", name="f", arguments="{}"),
    )
    assert again(body)["messages"] == body["messages"]


def test_a_thought_goes_back_as_a_thought() -> None:
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]
    body = {"messages": [{"role": "assistant", "content": content}]}
    assert parsed(body).messages[0].parts == (ReasoningPart(text="hm"), TextPart("yes"))
    assert again(body)["messages"] == body["messages"]


def test_a_thought_before_a_call_is_no_plan_and_a_plan_without_a_call_is_one() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = {
        "messages": [
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": "hm"}],
                "tool_plan": "ask",
                "tool_calls": [call],
            },
            {"role": "assistant", "tool_plan": "rest"},
        ]
    }
    assert again(body)["messages"] == body["messages"]


def test_plain_thoughts_from_elsewhere_become_the_plan_of_a_turn_that_calls() -> None:
    call = ToolCall(id="c", name="f", arguments="{}")
    request = Request(
        messages=(
            turn(Role.ASSISTANT, ReasoningPart(text="one"), ReasoningPart(text="two"), TextPart("So:"), call),
            turn(Role.ASSISTANT, ReasoningPart(text="three"), TextPart("x")),
        ),
        dialect="openai",
    )
    first, second = body_of(request)["messages"]
    assert (first["tool_plan"], first["content"]) == ("one\ntwo", "So:")
    assert second["content"][0] == {"type": "thinking", "thinking": "three"}


# Documents.


def test_documents_beside_the_messages_are_parts_of_the_last_question() -> None:
    body = {
        "messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": "Who made it?"},
        ],
        "documents": [
            {"id": "d1", "data": {"text": "Ada made it.", "title": "notes"}},
            {"data": {"text": "Nobody did."}},
            {"id": "d3", "data": {"snippet": "Bob", "year": 1970}},
        ],
    }
    request = parsed(body)
    assert request.messages[0].parts == (TextPart("hello"),)
    assert request.messages[2].parts == (
        FilePart(text="Ada made it.", name="notes", extra={"document.id": "d1"}),
        FilePart(text="Nobody did."),
        FilePart(text='{"snippet":"Bob","year":1970}', media_type="application/json", extra={"document.id": "d3"}),
        TextPart("Who made it?"),
    )
    assert request.extra == {}
    assert again(body) == {"model": "command-x", **body}


def test_a_document_may_be_bare_text() -> None:
    request = parsed({"messages": [{"role": "user", "content": "?"}], "documents": ["The sky is green."]})
    assert request.messages[0].parts[0] == FilePart(text="The sky is green.")
    assert body_of(request)["documents"] == [{"data": {"text": "The sky is green."}}]


def test_documents_without_a_question_get_a_turn_that_goes_again() -> None:
    body = {"messages": [{"role": "system", "content": "Sum up."}], "documents": [{"data": {"text": "a"}}]}
    request = parsed(body)
    assert request.messages[1] == turn(Role.USER, FilePart(text="a"))
    assert again(body) == {"model": "command-x", **body}


def test_documents_of_another_dialect_go_beside_the_messages() -> None:
    request = Request(
        messages=(
            turn(
                Role.USER,
                FilePart(text="a", name="a.txt", media_type="text/plain"),
                FilePart(data="YmM=", media_type="text/csv"),
            ),
            user("Which?"),
        ),
        dialect="anthropic",
    )
    body = body_of(request)
    assert body["documents"] == [{"data": {"text": "a", "title": "a.txt"}}, {"data": {"text": "bc"}}]
    assert body["messages"] == [{"role": "user", "content": "Which?"}]


def test_a_turn_of_nothing_but_a_document_stays_where_it_is_the_only_one() -> None:
    request = Request(messages=(turn(Role.USER, FilePart(text="a")),), dialect="openai")
    assert body_of(request)["messages"] == [{"role": "user", "content": ""}]


def test_the_assistant_gives_no_documents() -> None:
    failure = refusal_of(Request(messages=(turn(Role.ASSISTANT, FilePart(text="a")),)))
    assert failure.kind is FailureKind.UNSUPPORTED


def test_an_empty_list_says_nothing() -> None:
    body: dict[str, Json] = {
        "messages": [{"role": "assistant", "content": [], "citations": [], "tool_calls": [], "tool_plan": None}],
        "documents": [],
        "tools": [],
        "stop_sequences": [],
        "tool_choice": None,
    }
    request = parsed(body)
    assert request == Request(messages=(Message(role=Role.ASSISTANT),), dialect="cohere")


# Tools.


def test_a_round_trip_of_tools_with_parallel_calls_of_one_name() -> None:
    body = {
        "messages": [
            {"role": "user", "content": "Roll twice."},
            {
                "role": "assistant",
                "content": [{"type": "text", "text": ""}],
                "tool_calls": [
                    {"id": "r_1", "type": "function", "function": {"name": "roll", "arguments": "{}"}},
                    {"id": "r_2", "type": "function", "function": {"name": "roll", "arguments": '{"n": 2}'}},
                ],
            },
            {"role": "tool", "tool_call_id": "r_1", "content": "4"},
            {
                "role": "tool",
                "tool_call_id": "r_2",
                "content": [
                    {"type": "text", "text": "see"},
                    {"type": "document", "document": {"id": "d", "data": {"rolled": "6"}}},
                ],
            },
        ],
        "tools": [{"type": "function", "function": {"name": "roll", "description": "d", "parameters": SCHEMA}}],
        "tool_choice": "REQUIRED",
        "strict_tools": True,
    }
    request = parsed(body)
    assert [call.id for call in request.messages[1].tool_calls] == ["r_1", "r_2"]
    assert request.messages[3] == turn(
        Role.TOOL,
        TextPart("see"),
        FilePart(text='{"rolled":"6"}', media_type="application/json", extra={"document.id": "d"}),
        tool_call_id="r_2",
    )
    assert request.tools == (Tool(name="roll", description="d", parameters=SCHEMA, strict=True),)
    assert again(body) == {"model": "command-x", **body}


def test_a_result_must_say_what_it_answers() -> None:
    failure = refusal_of(Request(messages=(turn(Role.TOOL, TextPart("4")),)))
    assert (failure.kind, failure.param) == (FailureKind.BAD_REQUEST, "messages[0]")


def test_a_tool_that_takes_nothing_still_has_a_schema() -> None:
    tool = body_of(replace(ask("hi"), tools=(Tool(name="now"),)))["tools"][0]
    assert tool["function"]["parameters"] == {"type": "object", "properties": {}}


def test_some_strict_tools_cannot_be_said() -> None:
    tools = (Tool(name="a", strict=True), Tool(name="b"))
    call = call_of(replace(ask("hi"), tools=tools))
    assert "strict_tools" not in orjson.loads(call.body)
    assert call.dropped == ("tools[0].strict",)
    assert body_of(replace(ask("hi"), tools=(tools[0],)))["strict_tools"] is True


TWO = (Tool(name="f"), Tool(name="g"))


@pytest.mark.parametrize(
    ("choice", "word", "offered"),
    [
        (ToolChoice(mode="auto"), None, ["f", "g"]),
        (ToolChoice(mode="none"), "NONE", ["f", "g"]),
        (ToolChoice(mode="required"), "REQUIRED", ["f", "g"]),
        (ToolChoice(mode="function", function="g"), "REQUIRED", ["g"]),
        (ToolChoice(mode="required", allowed=("f",)), "REQUIRED", ["f"]),
        (ToolChoice(mode="auto", allowed=("f",)), None, ["f"]),
    ],
)
def test_a_choice_of_tools_is_a_word_and_the_tools_that_are_offered(
    choice: ToolChoice, word: str | None, offered: list[str]
) -> None:
    body = body_of(replace(ask("hi"), tools=TWO, tool_choice=choice))
    assert body.get("tool_choice") == word
    assert [tool["function"]["name"] for tool in body["tools"]] == offered


def test_a_choice_of_a_tool_that_is_not_offered_is_wrong() -> None:
    failure = refusal_of(replace(ask("hi"), tools=TWO, tool_choice=ToolChoice(mode="function", function="h")))
    assert (failure.kind, failure.param) == (FailureKind.BAD_REQUEST, "tool_choice")


def test_a_tool_of_another_provider_is_refused_and_ones_own_goes_as_it_is() -> None:
    foreign = NativeTool(dialect="openai", kind="web_search", value={"type": "web_search"})
    assert refusal_of(replace(ask("hi"), tools=(foreign,))).param == "tools[0]"
    ours = {"type": "finder", "depth": 2}
    body = {"messages": [{"role": "user", "content": "x"}], "tools": [ours]}
    assert parsed(body).tools == (NativeTool(dialect="cohere", kind="finder", value=ours),)
    assert again(body)["tools"] == body["tools"]


# The answer's form.


def test_a_schema_goes_without_a_name() -> None:
    wanted = ResponseFormat(kind="json_schema", name="city", description="d", schema=SCHEMA, strict=True)
    call = call_of(replace(ask("hi"), response_format=wanted))
    assert orjson.loads(call.body)["response_format"] == {"type": "json_object", "json_schema": SCHEMA}
    assert call.dropped == ("response_format.name", "response_format.description")
    lax = call_of(replace(ask("hi"), response_format=ResponseFormat(kind="json_schema", schema=SCHEMA, strict=False)))
    assert lax.dropped == ("response_format.strict",)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"type": "text"}, ResponseFormat(kind="text")),
        ({"type": "json_object"}, ResponseFormat(kind="json_object")),
        ({"type": "json_object", "json_schema": SCHEMA}, ResponseFormat(kind="json_schema", schema=SCHEMA)),
        ({"type": "json_object", "schema": SCHEMA}, ResponseFormat(kind="json_object", extra={"schema": SCHEMA})),
    ],
)
def test_response_formats_both_ways(said: Json, meant: ResponseFormat) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "response_format": said}
    assert parsed(body).response_format == meant
    assert again(body)["response_format"] == said


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"type": "enabled"}, Reasoning(enabled=True)),
        ({"type": "disabled"}, Reasoning(enabled=False)),
        ({"type": "enabled", "token_budget": 500}, Reasoning(enabled=True, budget_tokens=500)),
        ({"token_budget": 500}, Reasoning(budget_tokens=500)),
        ({}, Reasoning()),
    ],
)
def test_thinking_both_ways(said: Json, meant: Reasoning) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "thinking": said}
    assert parsed(body).reasoning == meant
    assert again(body)["thinking"] == said


@pytest.mark.parametrize(
    ("meant", "said"),
    [
        (Reasoning(effort="none"), {"type": "disabled"}),
        (Reasoning(enabled=False, budget_tokens=9), {"type": "disabled"}),
        (Reasoning(budget_tokens=0), {"type": "disabled"}),
        (Reasoning(effort="medium"), {"type": "enabled", "token_budget": 16_000}),
        (Reasoning(budget_tokens=700), {"type": "enabled", "token_budget": 700}),
        (Reasoning(enabled=True), {"type": "enabled"}),
    ],
)
def test_thinking_from_elsewhere(meant: Reasoning, said: Json) -> None:
    assert body_of(replace(ask("hi"), reasoning=meant))["thinking"] == said


def test_an_effort_is_a_share_of_the_longest_answer() -> None:
    target = replace(TARGET, max_output_tokens=8_000)
    call = call_of(replace(ask("hi"), reasoning=Reasoning(effort="medium")), target)
    assert orjson.loads(call.body)["thinking"]["token_budget"] == 4_000


def test_thoughts_cannot_be_hidden() -> None:
    call = call_of(replace(ask("hi"), reasoning=Reasoning(show=False)))
    assert call.dropped == ("reasoning.show",)
    assert "thinking" not in orjson.loads(call.body)


# What no type holds.


def test_unknown_fields_travel_on_to_cohere_and_are_named_elsewhere() -> None:
    body = {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "x", "a": 1},
                    {"type": "image_url", "image_url": {"url": "https://host/a", "b": 2}},
                    {"type": "hologram", "hologram": {"c": 3}},
                ],
                "d": 4,
            },
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}", "e": 5}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "y"}], "f": 6},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA, "g": 7}, "h": 8}],
        "response_format": {"type": "json_object", "i": 9},
        "thinking": {"type": "enabled", "j": 10},
        "safety_mode": "STRICT",
        "citation_options": {"mode": "OFF"},
        "priority": 3,
        "logprobs": True,
    }
    request = parsed(body)
    returned = again(body)
    # One block of text is the same as its text.
    returned["messages"][2]["content"] = [{"type": "text", "text": returned["messages"][2]["content"]}]
    assert returned == {"model": "command-x", **body}
    foreign = replace(request, dialect="somebody's", messages=(turn(Role.USER, *request.messages[0].parts[:2]),))
    named = call_of(foreign).dropped
    assert {"messages[0].content[0].a", "messages[0].content[1].image_url.b"} < set(named)
    assert {"tools[0].h", "tools[0].function.g", "response_format.i", "thinking.j", "priority"} < set(named)


def test_citations_of_earlier_answers_are_those_of_their_text() -> None:
    of_text = {"start": 0, "end": 1, "text": "a", "content_index": 1, "type": "TEXT_CONTENT"}
    of_thought = {"start": 0, "end": 1, "text": "h", "content_index": 0, "type": "THINKING_CONTENT"}
    body = {
        "messages": [
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": "h"}, {"type": "text", "text": "a"}],
                "citations": [of_text, of_thought],
            }
        ]
    }
    message = parsed(body).messages[0]
    assert message.parts[1] == TextPart("a", citations=(of_text,))
    assert message.extra == {"citations": [of_thought]}
    assert again(body)["messages"] == body["messages"]
    # An order that the parts would lose is kept by attaching none.
    body["messages"][0]["citations"] = [of_thought, of_text]
    assert again(body)["messages"] == body["messages"]


# What a client may not send.


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], "body"),
        ({}, "messages"),
        ({"message": "version 1"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "chatbot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [{}]}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "messages[0].tool_calls[0].function"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"type": "x"}]}]}, "messages[0].tool_calls[0].type"),
        ({"messages": [{"role": "user", "content": "x"}], "documents": [{}]}, "documents[0].data"),
        ({"messages": [{"role": "user", "content": "x"}], "tool_choice": "auto"}, "tool_choice"),
        ({"messages": [{"role": "user", "content": "x"}], "tools": [{}]}, "tools[0].function"),
        ({"messages": [{"role": "user", "content": "x"}], "response_format": {}}, "response_format.type"),
        ({"messages": [{"role": "user", "content": "x"}], "thinking": {"type": "on"}}, "thinking.type"),
        ({"messages": [{"role": "user", "content": "x"}], "p": "high"}, "p"),
        (
            {
                "messages": [{"role": "user", "content": "x"}],
                "response_format": {"type": "text", "json_schema": SCHEMA},
            },
            "response_format.json_schema",
        ),
    ],
)
def test_a_wrong_body_is_told_what_to_send(body: Json, param: str) -> None:
    failure = wrong(body)
    assert (failure.kind, failure.param) == (FailureKind.BAD_REQUEST, param)
    assert failure.detail.endswith(".")


def test_the_address_may_say_model_and_stream() -> None:
    body = {"messages": [{"role": "user", "content": "x"}]}
    request = parsed(body, model="m", stream=True)
    assert (request.model, request.stream, request.stream_usage) == ("m", True, True)
    assert parsed({**body, "model": "n"}, model="m").model == "n"


# What the first system got wrong.


def test_run_defect_images_are_images_not_their_json_as_text() -> None:
    body = body_of(Request(messages=(turn(Role.USER, ImagePart(url="https://host/a.png")),)))
    assert body["messages"][0]["content"] == [{"type": "image_url", "image_url": {"url": "https://host/a.png"}}]


def test_run_defect_results_of_tools_are_results_not_text_of_a_user() -> None:
    message = body_of(Request(messages=(turn(Role.TOOL, TextPart("5"), tool_call_id="c"),)))["messages"][0]
    assert message == {"role": "tool", "tool_call_id": "c", "content": "5"}


def test_run_defect_a_choice_of_tools_is_honoured() -> None:
    assert body_of(replace(ask("hi"), tools=TWO, tool_choice=ToolChoice(mode="required")))["tool_choice"] == "REQUIRED"


def test_run_defect_it_speaks_version_2_with_the_whole_conversation() -> None:
    call = call_of(Request(messages=(turn(Role.SYSTEM, TextPart("s")), user("a"), turn(Role.ASSISTANT), user("b"))))
    assert call.url.endswith("/v2/chat")
    body = orjson.loads(call.body)
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    assert body.keys().isdisjoint({"message", "chat_history", "preamble"})


# Laws.

words = st.text(min_size=1, max_size=8)
calls = st.builds(ToolCall, id=words, name=words, arguments=st.sampled_from(["{}", '{"a":1}', ""]))
documents = st.one_of(
    st.builds(FilePart, text=st.text(max_size=8), name=st.none() | words),
    st.builds(FilePart, text=st.just('{"a":{"b":[1]}}'), media_type=st.just("application/json")),
)
images = st.builds(ImagePart, url=st.just("https://host/a"), detail=st.sampled_from([None, "low"])) | st.just(
    ImagePart(data="aGk=", media_type="image/webp")
)
texts = st.builds(TextPart, st.text(max_size=8), extra=st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 9)))
thoughts = st.builds(ReasoningPart, text=words)


def assistant(content: list[Part], plan: list[Part], asked: list[Part]) -> Message:
    marked = [
        replace(part, extra={"type": "thinking"}) if asked and isinstance(part, ReasoningPart) else part
        for part in content
    ]
    return turn(Role.ASSISTANT, *marked, *(plan if asked else ()), *asked)


requests = st.builds(
    Request,
    messages=st.lists(
        st.builds(lambda parts: turn(Role.USER, *parts), st.lists(texts | images, min_size=1, max_size=3))
        | st.builds(lambda parts: turn(Role.SYSTEM, *parts), st.lists(texts, min_size=1, max_size=2))
        | st.builds(
            assistant,
            st.lists(texts | thoughts, max_size=3),
            st.lists(thoughts, max_size=1),
            st.lists(calls, max_size=2),
        )
        | st.builds(
            lambda parts, call: turn(Role.TOOL, *parts, tool_call_id=call),
            st.lists(texts | documents, min_size=1, max_size=2),
            words,
        ),
        min_size=1,
        max_size=4,
    ).map(tuple),
    model=st.just("command-x"),
    sampling=st.builds(
        Sampling,
        temperature=st.none() | st.floats(0, 2),
        top_p=st.none() | st.floats(0, 1),
        top_k=st.none() | st.integers(0, 9),
        max_tokens=st.none() | st.integers(1, 9),
        stop=st.lists(words, max_size=2).map(tuple),
        seed=st.none() | st.integers(0, 9),
    ),
    tools=st.booleans().flatmap(
        lambda strict: st.lists(
            st.builds(
                Tool, name=words, description=st.none() | words, parameters=st.just(SCHEMA), strict=st.just(strict)
            ),
            max_size=2,
        ).map(tuple)
    ),
    tool_choice=st.sampled_from([None, ToolChoice(mode="required"), ToolChoice(mode="none")]),
    reasoning=st.sampled_from([None, Reasoning(enabled=False), Reasoning(enabled=True, budget_tokens=9)]),
    extra=st.dictionaries(st.sampled_from(["priority", "safety_mode"]), st.integers(0, 9)),
    dialect=st.just("cohere"),
)


@given(request=requests)
def test_what_was_encoded_parses_to_itself(request: Request) -> None:
    call = call_of(request)
    assert call.dropped == ()
    assert parse_request(orjson.loads(call.body)) == request


@given(request=requests, extra=st.lists(documents, min_size=1, max_size=2))
def test_documents_of_the_last_question_parse_to_themselves(request: Request, extra: list[FilePart]) -> None:
    last = max((at for at, one in enumerate(request.messages) if one.role is Role.USER), default=None)
    messages = list(request.messages)
    if last is None:
        messages.append(turn(Role.USER, *extra))
    else:
        messages[last] = replace(messages[last], parts=(*extra, *messages[last].parts))
    request = replace(request, messages=tuple(messages))
    assert parse_request(orjson.loads(call_of(request).body)) == request
