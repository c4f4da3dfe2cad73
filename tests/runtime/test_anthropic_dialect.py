"""Anthropic's dialect, case by case. The general laws are in tests/conformance/test_dialects.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dialects.anthropic import Anthropic, parse_request
from runtime.dialects.anthropic.ids import clean
from runtime.dialects.anthropic.quirks import ANY_HOST, NEW_CLAUDE, quirks_of
from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.fold import fold
from runtime.outcome import Completion, Delta, Failure, FailureKind, FinishReason, Outcome, Usage
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

ANTHROPIC = Anthropic()
TARGET = Target(
    provider="anthropic",
    base_url="https://api.anthropic.com/v1",
    model="claude-sonnet-4-5",
    api_key="sk-ant-secret-0123456789",
)
NEWEST = dataclasses.replace(TARGET, model="claude-opus-4-8")
EITHER = dataclasses.replace(TARGET, model="claude-sonnet-4-6")
OLDEST = dataclasses.replace(TARGET, model="claude-3-5-haiku-latest")
ALWAYS = dataclasses.replace(TARGET, model="claude-opus-5-5")
QUESTION = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}


def encoded(request: Request, target: Target = TARGET) -> tuple[dict[str, Any], HttpCall]:
    call = ANTHROPIC.encode(request, target)
    assert isinstance(call, HttpCall), call
    return orjson.loads(call.body), call


def parsed(body: Mapping[str, Any]) -> Request:
    request = parse_request({"model": "m", "max_tokens": 9, "messages": QUESTION, **body})
    assert isinstance(request, Request), request
    return request


def there_and_back(body: Mapping[str, Any], target: Target = TARGET) -> dict[str, Any]:
    """What a client's body becomes on the way to the same API; nothing may be dropped."""
    again, call = encoded(parsed(body), target)
    assert call.dropped == ()
    return again


def said(*messages: Message, **fields: Any) -> Request:
    """A request of another dialect."""
    return Request(messages=messages, dialect="openai", **fields)


def assistant(*parts: Part) -> Message:
    return Message(role=Role.ASSISTANT, parts=parts)


def system(text: str) -> Message:
    return Message(role=Role.SYSTEM, parts=(TextPart(text),))


def result(call: str, text: str = "ok", **fields: Any) -> Message:
    return Message(role=Role.TOOL, tool_call_id=call, parts=(TextPart(text),), **fields)


def call(name: str, arguments: str = "{}", *, id: str) -> ToolCall:  # noqa: A002 the field's own name
    return ToolCall(id=id, name=name, arguments=arguments)


def refusal(request: Request, target: Target = TARGET) -> Failure:
    found = ANTHROPIC.encode(request, target)
    assert isinstance(found, Failure), found
    assert found.detail
    return found


def decoded(body: object, *, status: int = 200, target: Target = TARGET, **headers: str) -> Outcome:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return ANTHROPIC.decode(HttpReply(status=status, headers=named, body=raw), target)


def message(*content: Any, stop: str | None = "end_turn", **fields: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 7},
        **fields,
    }


def completion(outcome: Outcome) -> Completion:
    assert isinstance(outcome, Completion), outcome
    return outcome


def failure(outcome: object) -> Failure:
    assert isinstance(outcome, Failure), outcome
    return outcome


def wire(*events: object) -> bytes:
    named = ((event["type"] if isinstance(event, dict) else "x", event) for event in events)
    return b"".join(b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(event)) for name, event in named)


def start(**fields: Any) -> dict[str, Any]:
    return {"type": "message_start", "message": {**message(stop=None), **fields}}


def opened(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def closed(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ending(reason: str = "end_turn", **fields: Any) -> tuple[dict[str, Any], ...]:
    usage = fields.pop("usage", {"output_tokens": 7})
    change = {"stop_reason": reason, "stop_sequence": None, **fields.pop("delta", {})}
    return {"type": "message_delta", "delta": change, "usage": usage, **fields}, {"type": "message_stop"}


def streamed(*events: object, target: Target = TARGET) -> tuple[list[Delta], Outcome]:
    decoder = ANTHROPIC.decoder(target)
    return list(decoder.feed(wire(*events))), decoder.finish()


# The call


def test_headers_and_address() -> None:
    _, sent = encoded(ask("hi", stream=True))
    assert (sent.method, sent.url) == ("POST", "https://api.anthropic.com/v1/messages")
    assert sent.headers == {
        "accept": "text/event-stream",
        "content-type": "application/json",
        "x-api-key": "sk-ant-secret-0123456789",
        "anthropic-version": "2023-06-01",
    }


def test_a_key_can_be_a_bearer_token_and_version_and_betas_are_options() -> None:
    target = dataclasses.replace(
        TARGET,
        options={"auth": "bearer", "version": "2026-10-21", "beta": ["a-1", "b-2"]},
        headers={"Anthropic-Beta": "own, a-1", "X-Team": "t"},
    )
    request = dataclasses.replace(ask("hi"), provider_options={"anthropic": {"betas": ["c-3"]}})
    body, sent = encoded(request, target)
    assert sent.headers["authorization"] == "Bearer sk-ant-secret-0123456789"
    assert "x-api-key" not in sent.headers
    assert sent.headers["anthropic-version"] == "2026-10-21"
    assert sent.headers["anthropic-beta"] == "own,a-1,b-2,c-3"
    assert sent.headers["x-team"] == "t"
    assert "betas" not in body


def test_betas_that_are_no_list_of_words_are_named() -> None:
    request = dataclasses.replace(
        ask("hi"), provider_options={"anthropic": {"betas": 5, "model": "x", "speed": "fast"}}
    )
    body, sent = encoded(request)
    assert sent.dropped == ("provider_options.model", "betas")
    assert body["speed"] == "fast"
    assert "anthropic-beta" not in sent.headers


def test_without_a_key_none_is_sent() -> None:
    headers = encoded(ask("hi"), Target(provider="p", base_url="http://127.0.0.1:8080/v1/", model="m"))[1].headers
    assert headers.keys() == {"accept", "content-type", "anthropic-version"}


@pytest.mark.parametrize(
    ("asked", "limit", "dialect", "sent"),
    [
        (None, None, "", 4096),
        (None, 8192, "", 8192),
        (100, 8192, "openai", 100),
        (64_000, 8192, "openai", 8192),
        (64_000, 8192, "anthropic", 64_000),
    ],
)
def test_max_tokens_is_always_said(asked: int | None, limit: int | None, dialect: str, sent: int) -> None:
    target = dataclasses.replace(TARGET, max_output_tokens=limit)
    request = Request(messages=(user("hi"),), sampling=Sampling(max_tokens=asked), dialect=dialect)
    assert encoded(request, target)[0]["max_tokens"] == sent


def test_what_the_api_has_no_word_for_is_named() -> None:
    request = said(
        user("hi"),
        sampling=Sampling(frequency_penalty=1, presence_penalty=1, seed=1, stop=("\n", "END")),
        choices=2,
        metadata={"a": "b"},
        response_format=ResponseFormat(kind="json_object"),
        extra={"logprobs": True},
    )
    body, sent = encoded(request)
    assert sent.dropped == (
        *(
            "response_format",
            "frequency_penalty",
            "presence_penalty",
            "seed",
            "stop",
            "choices",
            "metadata",
            "logprobs",
        ),
    )
    assert body["stop_sequences"] == ["END"]
    assert body.keys() == {"model", "max_tokens", "messages", "stop_sequences"}


# The first system's defects ([RUN] in its record)


def test_vision_is_not_stringified() -> None:
    parts = (
        TextPart("look"),
        ImagePart(data="iVBORw0KGgo="),
        ImagePart(url="https://x/y.jpg"),
        ImagePart(url="data:image/webp;base64,UklGRg=="),
    )
    body, _ = encoded(said(Message(role=Role.USER, parts=parts)))
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "image", "source": {"type": "url", "url": "https://x/y.jpg"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": "UklGRg=="}},
    ]


def test_the_tool_role_is_never_sent() -> None:
    body, _ = encoded(
        said(user("q"), assistant(call("f", id="a"), call("f", id="b")), result("a"), result("b"), user("go"))
    )
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "ok"},
        {"type": "tool_result", "tool_use_id": "b", "content": "ok"},
        {"type": "text", "text": "go"},
    ]


def test_every_system_message_counts() -> None:
    body, sent = encoded(said(system("one"), Message(role=Role.DEVELOPER, parts=(TextPart("two"),)), user("q")))
    assert body["system"] == [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "q"}]}]
    assert sent.dropped == ()


def test_tool_call_ids_are_the_providers_own_and_never_doubled() -> None:
    calls: list[Any] = [{"type": "tool_use", "id": one, "name": "f", "input": {}} for one in ("toolu_1", "toolu_2")]
    answer = completion(decoded(message(*calls, stop="tool_use")))
    assert [one.id for one in answer.tool_calls] == ["toolu_1", "toolu_2"]


def test_tool_use_finishes_with_tool_calls_not_length() -> None:
    block = {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}
    assert completion(decoded(message(block, stop="tool_use"))).finish_reason is FinishReason.TOOL_CALLS


def test_a_model_that_nobody_knows_is_no_error_after_a_paid_call() -> None:
    target = dataclasses.replace(TARGET, model="claude-tomorrow-9-20300101")
    assert encoded(ask("hi"), target)[0]["model"] == "claude-tomorrow-9-20300101"
    answer = completion(decoded(message({"type": "text", "text": "hi"}, model="claude-tomorrow-9"), target=target))
    assert (answer.model, answer.text) == ("claude-tomorrow-9", "hi")


def test_retry_after_is_honoured() -> None:
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}
    found = failure(decoded(error, status=429, retry_after="17"))
    assert (found.kind, found.retry_after_s) == (FailureKind.RATE_LIMITED, 17.0)


def test_the_health_check_is_free() -> None:
    sent = ANTHROPIC.health(TARGET)
    assert isinstance(sent, HttpCall)
    assert (sent.method, sent.url, sent.body) == ("GET", "https://api.anthropic.com/v1/models?limit=1", b"")


def test_a_stream_reports_its_usage_finish_and_tool_calls() -> None:
    usage = {"input_tokens": 12, "cache_read_input_tokens": 3, "output_tokens": 1}
    deltas, outcome = streamed(
        start(usage=usage),
        opened(0, type="tool_use", id="a", name="f", input={}),
        delta(0, "input_json_delta", partial_json='{"x": 1}'),
        closed(0),
        *ending("tool_use", usage={"output_tokens": 40}),
    )
    answer = completion(outcome)
    assert answer.usage == Usage(input_tokens=15, cached_input_tokens=3, output_tokens=40)
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert answer.tool_calls == (ToolCall(id="a", name="f", arguments='{"x": 1}'),)
    assert fold(deltas) == answer.choices


def test_a_broken_event_is_not_swallowed() -> None:
    decoder = ANTHROPIC.decoder(TARGET)
    decoder.feed(wire(start()) + b"data: {broken\n\n")
    assert decoder.ended
    assert failure(decoder.finish()).kind is FailureKind.MALFORMED


def test_the_tool_choice_is_said() -> None:
    tools = (Tool(name="f", parameters=SCHEMA),)
    for choice, sent in (
        (ToolChoice(mode="auto"), {"type": "auto"}),
        (ToolChoice(mode="required"), {"type": "any"}),
        (ToolChoice(mode="none"), {"type": "none"}),
        (ToolChoice(mode="function", function="f"), {"type": "tool", "name": "f"}),
    ):
        assert encoded(said(user("q"), tools=tools, tool_choice=choice))[0]["tool_choice"] == sent


# System messages


def test_one_plain_system_message_is_a_string() -> None:
    assert encoded(said(system("be kind"), user("q")))[0]["system"] == "be kind"
    assert there_and_back({"system": "be kind"})["system"] == "be kind"
    assert there_and_back({"system": [{"type": "text", "text": "be kind"}]})["system"] == "be kind"
    assert "system" not in there_and_back({"system": ""})


def test_cache_markers_of_the_system_prompt_stay() -> None:
    blocks = [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]
    request = parsed({"system": blocks})
    assert request.messages[0] == Message(
        role=Role.SYSTEM, parts=(TextPart("a"), TextPart("b", cache=CacheHint(ttl="1h")))
    )
    assert there_and_back({"system": blocks})["system"] == blocks


LATER = (user("q"), assistant(TextPart("a")), system("now in Spanish"), user("r"))


def test_a_later_system_message_goes_into_the_system_prompt_of_models_that_know_no_other_place() -> None:
    body, sent = encoded(said(system("first"), *LATER))
    assert body["system"] == [{"type": "text", "text": "first"}, {"type": "text", "text": "now in Spanish"}]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert sent.dropped == ()


def test_a_later_system_message_stays_later_where_the_model_takes_it() -> None:
    body, _ = encoded(said(system("first"), *LATER, system("and short")), NEWEST)
    assert body["system"] == "first"
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user", "system"]
    assert [block["text"] for block in body["messages"][3]["content"]] == ["now in Spanish", "and short"]


def test_a_system_message_between_two_answers_has_no_place_but_the_prompt() -> None:
    body, _ = encoded(said(user("q"), assistant(TextPart("a")), system("s"), assistant(TextPart("b"))), NEWEST)
    assert body["system"] == "s"
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant"]


def test_a_system_message_never_stands_between_calls_and_their_results() -> None:
    request = said(user("q"), assistant(call("f", id="a"), call("f", id="b")), result("a"), system("s"), result("b"))
    body, _ = encoded(request, NEWEST)
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user", "system"]
    assert [block["tool_use_id"] for block in body["messages"][2]["content"]] == ["a", "b"]


def test_system_messages_in_between_and_changes_of_tools_go_through_in_place() -> None:
    addition = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}}
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "q"}]},
        {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]},
        {"role": "system", "content": [addition], "clear_at": "next_user_message"},
        {"role": "system", "output_config": {"effort": "low"}},
    ]
    request = parsed({"messages": turns})
    assert [one.role for one in request.messages] == [Role.USER, Role.SYSTEM, Role.SYSTEM, Role.SYSTEM]
    assert request.messages[2].parts == (NativePart(dialect="anthropic", kind="tool_addition", value=addition),)
    assert there_and_back({"messages": turns}, NEWEST)["messages"] == turns


def test_changes_of_tools_in_between_are_refused_where_the_model_has_no_place_for_them() -> None:
    turns = [*QUESTION, {"role": "system", "content": [{"type": "tool_addition", "tool": {}}]}]
    assert refusal(parsed({"messages": turns})).param == "messages[1]"
    of_nobody = dataclasses.replace(parsed({"messages": turns}), dialect="")
    assert refusal(of_nobody).param == "messages[1]"
    assert encoded(of_nobody, NEWEST)[0]["messages"][1]["role"] == "system"


def test_what_stands_beside_a_system_message_is_named_where_it_moves() -> None:
    turns = [*QUESTION, {"role": "system", "content": "s", "clear_at": "never"}]
    assert encoded(parsed({"messages": turns}))[1].dropped == ("messages[1].clear_at",)


def test_a_system_prompt_alone_is_refused() -> None:
    found = refusal(said(system("s")))
    assert (found.kind, found.param) == (FailureKind.UNSUPPORTED, "messages")
    picture = Message(role=Role.SYSTEM, parts=(ImagePart(url="https://x/y.png"),))
    assert refusal(said(picture, user("q"))).param == "messages[0].content[0]"


# Turns and tools


def test_results_come_first_in_one_user_turn() -> None:
    request = said(user("q"), assistant(call("f", id="a"), call("g", id="b")), result("b"), user("wait"), result("a"))
    blocks = encoded(request)[0]["messages"][2]["content"]
    assert [block["type"] for block in blocks] == ["tool_result", "tool_result", "text"]


def test_a_user_turn_with_results_is_split_and_joined_again_in_its_order() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    search = {"type": "search_result", "source": "https://x", "title": "t", "content": [{"type": "text", "text": "c"}]}
    content = [
        {"type": "tool_result", "tool_use_id": "a", "content": [picture, {"type": "text", "text": "x"}, search]},
        {"type": "tool_result", "tool_use_id": "b", "content": "bad", "is_error": True, "toolset_name": "browser"},
        {"type": "text", "text": "so?"},
        {"type": "tool_result", "tool_use_id": "c", "cache_control": {"type": "ephemeral"}},
    ]
    request = parsed({"messages": [*QUESTION, {"role": "user", "content": content}]})
    assert [one.role for one in request.messages] == [Role.USER, Role.TOOL, Role.TOOL, Role.USER, Role.TOOL]
    assert request.messages[1].parts[2] == NativePart(dialect="anthropic", kind="search_result", value=search)
    assert request.messages[2] == Message(
        role=Role.TOOL, tool_call_id="b", parts=(TextPart("bad"),), is_error=True, extra={"toolset_name": "browser"}
    )
    assert request.messages[4] == Message(role=Role.TOOL, tool_call_id="c", cache=CacheHint())
    again = there_and_back({"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": content}]})
    assert again["messages"][1]["content"] == content


def test_turns_of_one_role_in_a_row_become_one() -> None:
    request = said(user("a"), user("b"), assistant(TextPart("c")), assistant(call("f", id="x")), result("x"))
    turns = encoded(request)[0]["messages"]
    assert [(turn["role"], len(turn["content"])) for turn in turns] == [("user", 2), ("assistant", 2), ("user", 1)]


def test_what_stands_beside_the_content_of_a_turn_comes_back() -> None:
    content = [{"type": "tool_result", "tool_use_id": "a", "content": "ok"}, {"type": "text", "text": "so?"}]
    turns = [{"role": "assistant", "content": []}, {"role": "user", "content": content, "mood": 1, "place": None}]
    again = there_and_back({"messages": turns})["messages"]
    assert again == [turns[0], {"role": "user", "content": content, "mood": 1}]


def test_blank_text_of_other_providers_is_left_out() -> None:
    request = said(user("q"), assistant(TextPart("\n"), call("f", id="a")), result("a", ""), assistant(TextPart("")))
    turns = encoded(request)[0]["messages"]
    assert [block["type"] for block in turns[1]["content"]] == ["tool_use"]
    assert turns[2]["content"] == [{"type": "tool_result", "tool_use_id": "a"}]
    assert len(turns) == 3


def test_a_name_is_named_and_a_refusal_is_said() -> None:
    request = said(
        Message(role=Role.USER, parts=(TextPart("q"),), name="ann"), Message(role=Role.ASSISTANT, refusal="I will not.")
    )
    body, sent = encoded(request)
    assert sent.dropped == ("messages[0].name",)
    assert body["messages"][1]["content"] == [{"type": "text", "text": "I will not."}]


def test_foreign_ids_keep_call_and_result_together() -> None:
    request = said(
        user("q"),
        assistant(call("f", id="call.1"), call("f", id="call:1"), call("f", id="ok_1")),
        *(result("call:1", "second"), result("call.1", "first"), result("ok_1", "third")),
    )
    turns = encoded(request)[0]["messages"]
    ids = [block["id"] for block in turns[1]["content"]]
    assert len(set(ids)) == 3
    assert ids[2] == "ok_1"
    assert all(set(one) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") for one in ids)
    answers = {block["tool_use_id"]: block["content"] for block in turns[2]["content"]}
    assert [answers[one] for one in ids] == ["first", "second", "third"]
    # The same in a later request, so that the prompt cache still fits.
    assert clean("call.1") == ids[0]


def test_an_id_used_twice_becomes_two() -> None:
    request = said(
        *(user("q"), assistant(call("f", id="0"), call("f", id="0")), result("0", "a"), result("0", "b")),
        *(assistant(call("f", id="0")), result("0", "c")),
    )
    turns = encoded(request)[0]["messages"]
    assert [block["id"] for turn in (turns[1], turns[3]) for block in turn["content"]] == ["0", "0_2", "0_3"]
    answers = [(one["tool_use_id"], one["content"]) for turn in (turns[2], turns[4]) for one in turn["content"]]
    assert answers == [("0", "a"), ("0_2", "b"), ("0_3", "c")]


@given(st.lists(st.text(max_size=4), max_size=6))
def test_ids_never_become_one(given_ids: list[str]) -> None:
    calls = [call("f", id=one) for one in given_ids]
    turns = encoded(said(user("q"), assistant(*calls), *(result(one) for one in given_ids)))[0]["messages"]
    sent = [block["id"] for block in turns[1]["content"]] if calls else []
    assert len(set(sent)) == len(sent)
    if calls:
        assert sorted(block["tool_use_id"] for block in turns[2]["content"]) == sorted(sent)


def test_arguments_are_an_object() -> None:
    body, _ = encoded(said(user("q"), assistant(call("f", "", id="a"), call("f", '{"x":[1]}', id="b")), result("a")))
    assert [block["input"] for block in body["messages"][1]["content"]] == [{}, {"x": [1]}]
    found = refusal(said(user("q"), assistant(call("f", "{oops", id="a"))))
    assert (found.kind, found.param) == (FailureKind.UNSUPPORTED, "messages[1].content[0].arguments")


def test_a_result_without_its_call_is_an_error() -> None:
    found = refusal(said(user("q"), Message(role=Role.TOOL, parts=(TextPart("x"),))))
    assert (found.kind, found.param) == (FailureKind.BAD_REQUEST, "messages[1].tool_call_id")


def test_a_tool_use_of_a_client_comes_back_whole() -> None:
    block = {
        "type": "tool_use",
        "id": "a",
        "name": "f",
        "input": {"x": 1},
        "caller": {"type": "code_execution_20260120", "tool_id": "s"},
        "cache_control": {"type": "ephemeral"},
    }
    turns = [*QUESTION, {"role": "assistant", "content": [block]}]
    assert parsed({"messages": turns}).messages[1].tool_calls == (
        ToolCall(id="a", name="f", arguments='{"x":1}', cache=CacheHint(), extra={"caller": block["caller"]}),
    )
    assert there_and_back({"messages": turns})["messages"][1]["content"] == [block]


def test_tools_are_said_with_a_schema_always() -> None:
    tools = (
        Tool(name="f", description="d", parameters=SCHEMA, cache=CacheHint()),
        Tool(name="g"),
        Tool(name="h", parameters={"properties": {}}, strict=False),
    )
    assert encoded(said(user("q"), tools=tools))[0]["tools"] == [
        {"name": "f", "input_schema": SCHEMA, "description": "d", "cache_control": {"type": "ephemeral"}},
        {"name": "g", "input_schema": {"type": "object"}},
        {"name": "h", "input_schema": {"type": "object", "properties": {}}, "strict": False},
    ]


def test_tools_of_a_client_come_back() -> None:
    tools = [
        {
            "name": "f",
            "input_schema": {"$ref": "#/x"},
            "strict": True,
            "eager_input_streaming": True,
            "defer_loading": False,
        },
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
    ]
    servers = [{"type": "url", "name": "w", "url": "https://mcp.example/"}]
    request = parsed(
        {"tools": [*tools, {"type": "custom", "name": "g", "input_schema": SCHEMA}], "mcp_servers": servers}
    )
    assert [type(tool) for tool in request.tools] == [Tool, NativeTool, Tool, NativeTool]
    assert [tool.kind for tool in request.tools if isinstance(tool, NativeTool)] == [
        "web_search_20250305",
        "mcp_server",
    ]
    again = there_and_back({"tools": tools, "mcp_servers": servers})
    assert (again["tools"], again["mcp_servers"]) == (tools, servers)


def test_strict_tools_have_a_schema_that_compiles_or_say_that_they_are_not_strict() -> None:
    nested = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}}
    free = {"type": "object", "properties": {"m": {"type": "object", "additionalProperties": {"type": "string"}}}}
    tools = (Tool(name="f", parameters=nested, strict=True), Tool(name="g", parameters=free, strict=True))
    nothing = Tool(name="h", parameters={"type": "object", "properties": {}}, strict=True)
    body, sent = encoded(said(user("q"), tools=(*tools, nothing)))
    assert body["tools"][2]["input_schema"] == {"type": "object", "properties": {}, "additionalProperties": False}
    assert body["tools"][0]["input_schema"] == {
        "type": "object",
        "properties": {"age": {"type": "integer", "description": "(minimum: 0)"}},
        "additionalProperties": False,
    }
    assert body["tools"][1] == {"name": "g", "input_schema": free}
    assert sent.dropped == ("tools[0].parameters.properties.age.minimum", "tools[1].strict")
    body, sent = encoded(said(user("q"), tools=tools), OLDEST)
    assert body["tools"][0] == {"name": "f", "input_schema": nested}
    assert sent.dropped == ("tools[0].strict", "tools[1].strict")


def test_only_the_allowed_tools_are_offered() -> None:
    tools = (Tool(name="f"), Tool(name="g"), Tool(name="h"))
    choice = ToolChoice(mode="required", allowed=("g", "h"))
    body, sent = encoded(said(user("q"), tools=tools, tool_choice=choice))
    assert [tool["name"] for tool in body["tools"]] == ["g", "h"]
    assert body["tool_choice"] == {"type": "any"}
    assert sent.dropped == ()


def test_parallel_calls_are_part_of_the_choice() -> None:
    request = said(user("q"), tools=(Tool(name="f"),), parallel_tool_calls=False)
    assert encoded(request)[0]["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    forced = dataclasses.replace(
        request, tool_choice=ToolChoice(mode="function", function="f"), parallel_tool_calls=True
    )
    assert encoded(forced)[0]["tool_choice"] == {"type": "tool", "name": "f", "disable_parallel_tool_use": False}
    none = dataclasses.replace(request, tool_choice=ToolChoice(mode="none"))
    body, sent = encoded(none)
    assert (body["tool_choice"], sent.dropped) == ({"type": "none"}, ("parallel_tool_calls",))
    assert encoded(said(user("q"), tool_choice=ToolChoice(mode="auto"), parallel_tool_calls=False))[1].dropped == (
        "tool_choice",
        "parallel_tool_calls",
    )


def test_a_choice_that_the_model_cannot_be_held_to_is_named() -> None:
    request = said(user("q"), tools=(Tool(name="f"),), tool_choice=ToolChoice(mode="required"))
    assert encoded(request, ALWAYS)[1].dropped == ("tool_choice",)
    assert encoded(request, dataclasses.replace(ALWAYS, options={"forced_tools": True}))[0]["tool_choice"] == {
        "type": "any"
    }


@pytest.mark.parametrize(
    ("kind", "mode"), [("auto", "auto"), ("any", "required"), ("none", "none"), ("tool", "function")]
)
def test_tool_choices_of_a_client_come_back(kind: str, mode: str) -> None:
    said_choice = {"type": kind, **({"name": "f"} if kind == "tool" else {}), "newer": 1}
    if kind != "none":
        said_choice["disable_parallel_tool_use"] = True
    request = parsed({"tool_choice": said_choice})
    assert request.tool_choice == ToolChoice(mode=mode, function="f" if kind == "tool" else None)  # type: ignore[arg-type]
    assert request.parallel_tool_calls is (None if kind == "none" else False)
    assert there_and_back({"tool_choice": said_choice})["tool_choice"] == said_choice


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (said(user("q"), tools=(NativeTool(dialect="google", kind="google_search", value={}),)), "tools[0]"),
        (said(user("q"), tools=(Tool(name="a.b"),)), "tools[0].name"),
        (said(user("q"), assistant(call("a b", id="1"))), "messages[1].content[0].name"),
        (said(Message(role=Role.USER, parts=(AudioPart(data="UklGRg=="),))), "messages[0].content[0]"),
        (said(Message(role=Role.USER, parts=(VideoPart(url="https://x/y"),))), "messages[0].content[0]"),
        (said(Message(role=Role.USER, parts=(ImagePart(file_id="file-1"),))), "messages[0].content[0]"),
        (
            said(Message(role=Role.USER, parts=(FilePart(data="aGk=", media_type="audio/wav"),))),
            "messages[0].content[0]",
        ),
        (
            said(Message(role=Role.USER, parts=(NativePart(dialect="google", kind="executableCode", value={}),))),
            "messages[0].content[0]",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_so_that_others_may(request_: Request, param: str) -> None:
    found = refusal(request_)
    assert (found.kind, found.param, found.provider) == (FailureKind.UNSUPPORTED, param, "anthropic")


def test_media_without_any_source_is_an_error() -> None:
    for part in (ImagePart(), FilePart(), ImagePart(data="AAAA"), FilePart(data="/w==", media_type="text/plain")):
        found = refusal(said(Message(role=Role.USER, parts=(part,))))
        assert (found.kind, found.param) == (FailureKind.BAD_REQUEST, "messages[0].content[0]")


# Files, thoughts, markers


def test_files_are_documents() -> None:
    parts = (
        FilePart(data="JVBERi0=", name="a.pdf"),
        FilePart(text="plain", name="b.txt"),
        FilePart(data="aMOp", media_type="text/markdown"),
        FilePart(url="https://x/y.pdf"),
        FilePart(url="data:application/pdf;base64,JVBERi0="),
    )
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    assert encoded(said(Message(role=Role.USER, parts=parts)))[0]["messages"][0]["content"] == [
        {"type": "document", "source": pdf, "title": "a.pdf"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}, "title": "b.txt"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hé"}},
        {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
        {"type": "document", "source": pdf},
    ]


def test_blocks_of_a_client_come_back() -> None:
    blocks = [
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}, "cache_control": {"type": "ephemeral"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {
            "type": "document",
            "source": {"type": "file", "file_id": "file_2"},
            "title": "t",
            "citations": {"enabled": True},
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}, "context": "c"},
        {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf", "newer": 1}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
        {"type": "container_upload", "file_id": "file_3"},
        {"type": "text", "text": "x", "citations": [{"type": "char_location", "cited_text": "x"}]},
        {"type": "text", "text": "y", "cache_control": {"type": "ephemeral", "scope": "all"}},
        {"type": "text", "text": "z", "cache_control": {"type": "eternal"}},
        {"type": "made_up", "anything": [1]},
    ]
    parts = parsed({"messages": [{"role": "user", "content": blocks}]}).messages[0].parts
    kinds = [type(part) for part in parts]
    assert kinds == [ImagePart] * 2 + [FilePart] * 3 + [NativePart] * 2 + [TextPart] * 3 + [NativePart]
    assert there_and_back({"messages": [{"role": "user", "content": blocks}]})["messages"][0]["content"] == blocks


def test_thoughts_go_home_and_nowhere_else() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "thinking", "thinking": "", "signature": "t"},
        {"type": "text", "text": "a"},
    ]
    turns = [*QUESTION, {"role": "assistant", "content": blocks}]
    request = parsed({"messages": turns})
    assert request.messages[1].parts[:2] == (ReasoningPart(text="hm", signature="s"), ReasoningPart(redacted="d"))
    assert there_and_back({"messages": turns})["messages"][1]["content"] == blocks
    foreign = dataclasses.replace(request, dialect="openai")
    body, sent = encoded(foreign)
    assert sent.dropped == ("messages[1].reasoning",)
    assert body["messages"][1]["content"] == blocks[3:]


def test_a_thought_without_a_seal_is_left_out_and_named() -> None:
    turns = [
        *QUESTION,
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, *[{"type": "text", "text": "a"}]]},
    ]
    assert encoded(parsed({"messages": turns}))[1].dropped == ("messages[1].reasoning",)


def test_marks_of_other_providers_are_named() -> None:
    request = said(
        Message(role=Role.USER, parts=(ImagePart(url="https://x/y", detail="low"), TextPart("q", extra={"a": 1}))),
        assistant(
            TextPart("a", signature="s", citations=({"url": "u"},)),
            dataclasses.replace(call("f", id="1"), signature="t"),
        ),
        result("1", extra={"b": 2}),
        tools=(Tool(name="f", extra={"c": 3}),),
        response_format=ResponseFormat(kind="text", extra={"d": 4}),
    )
    assert encoded(request)[1].dropped == (
        "messages[0].content[0].detail",
        "messages[0].content[1].a",
        "messages[1].content[0].signature",
        "messages[1].content[0].citations",
        "messages[1].content[1].signature",
        "messages[2].b",
        "tools[0].c",
        "response_format.d",
    )


def test_cache_markers_on_messages_and_the_whole_prompt() -> None:
    request = said(
        Message(role=Role.USER, parts=(TextPart("a"), TextPart("b")), cache=CacheHint(ttl="1h")),
        cache=CacheHint(),
    )
    body, sent = encoded(request)
    assert body["cache_control"] == {"type": "ephemeral"}
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]
    assert sent.dropped == ()
    assert parsed({"cache_control": {"type": "ephemeral", "ttl": "5m"}}).cache == CacheHint(ttl="5m")


# Thinking


@pytest.mark.parametrize(
    ("body", "reasoning"),
    [
        ({"thinking": {"type": "adaptive"}}, Reasoning(enabled=True)),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, Reasoning(enabled=True, show=False)),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, Reasoning(enabled=True, budget_tokens=2000)),
        ({"thinking": {"type": "disabled"}}, Reasoning(enabled=False)),
        ({"output_config": {"effort": "xhigh"}}, Reasoning(effort="xhigh")),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}},
            Reasoning(enabled=True, show=True, effort="low"),
        ),
        ({"thinking": {"type": "adaptive", "display": "updates"}}, Reasoning(enabled=True)),
        ({"thinking": {"type": "adaptive", "block_binding": {"a": 1}}}, Reasoning(enabled=True)),
        ({"thinking": {"type": "between_tools"}}, None),
        ({"output_config": {"effort": "unheard_of", "task_budget": {"total": 9}}}, None),
    ],
)
def test_wishes_for_thinking_come_back_exactly(body: dict[str, Any], reasoning: Reasoning | None) -> None:
    assert parsed(body).reasoning == reasoning
    again = there_and_back(body, EITHER)
    assert {name: again.get(name) for name in ("thinking", "output_config")} == {
        name: body.get(name) for name in ("thinking", "output_config")
    }


@pytest.mark.parametrize(
    ("model", "wanted", "thinking", "effort", "dropped"),
    [
        # By effort: words where the model has them, else a share of the longest answer.
        ("claude-opus-4-8", Reasoning(effort="xhigh"), {"type": "adaptive"}, "xhigh", ()),
        ("claude-sonnet-4-6", Reasoning(effort="xhigh"), {"type": "adaptive"}, "high", ()),
        ("claude-sonnet-4-6", Reasoning(effort="minimal"), {"type": "adaptive"}, "low", ()),
        ("claude-opus-4-5", Reasoning(effort="max"), {"type": "enabled", "budget_tokens": 9500}, "high", ()),
        ("claude-haiku-4-5-20251001", Reasoning(effort="medium"), {"type": "enabled", "budget_tokens": 5000}, None, ()),
        ("claude-3-haiku-20240307", Reasoning(effort="high"), None, None, ("reasoning",)),
        ("somebody/else-7b", Reasoning(effort="low"), {"type": "enabled", "budget_tokens": 2000}, None, ()),
        # By budget.
        ("claude-sonnet-4-6", Reasoning(budget_tokens=3000), {"type": "enabled", "budget_tokens": 3000}, None, ()),
        ("claude-sonnet-4-5", Reasoning(budget_tokens=10), {"type": "enabled", "budget_tokens": 1024}, None, ()),
        ("claude-sonnet-4-5", Reasoning(budget_tokens=99_999), {"type": "enabled", "budget_tokens": 9999}, None, ()),
        ("claude-opus-5", Reasoning(budget_tokens=2000), {"type": "adaptive"}, "low", ()),
        ("claude-opus-5", Reasoning(budget_tokens=10), {"type": "adaptive"}, "low", ()),
        # On and off.
        ("claude-sonnet-4-5", Reasoning(enabled=True), {"type": "enabled", "budget_tokens": 5000}, None, ()),
        (
            "claude-opus-4-8",
            Reasoning(enabled=True, show=True),
            {"type": "adaptive", "display": "summarized"},
            None,
            (),
        ),
        ("claude-opus-4-8", Reasoning(effort="none"), {"type": "disabled"}, None, ()),
        ("claude-opus-4-8", Reasoning(enabled=False, effort="high"), {"type": "disabled"}, None, ()),
        ("claude-opus-5-5", Reasoning(enabled=False), None, None, ("reasoning",)),
        ("claude-sonnet-5-5", Reasoning(budget_tokens=0), {"type": "between_tools"}, None, ("reasoning",)),
        ("claude-3-haiku-20240307", Reasoning(enabled=False), None, None, ()),
        # To show alone.
        ("claude-sonnet-4-5", Reasoning(show=True), None, None, ("reasoning.show",)),
        ("claude-fable-5", Reasoning(show=False), {"type": "adaptive", "display": "omitted"}, None, ()),
    ],
)
def test_thinking_in_each_familys_form(
    model: str, wanted: Reasoning, thinking: object, effort: str | None, dropped: tuple[str, ...]
) -> None:
    target = dataclasses.replace(TARGET, model=model)
    body, sent = encoded(said(user("q"), reasoning=wanted, sampling=Sampling(max_tokens=10_000)), target)
    assert (body.get("thinking"), body.get("output_config", {}).get("effort")) == (thinking, effort)
    assert sent.dropped == dropped


@pytest.mark.parametrize(
    ("model", "thinking", "sent", "effort"),
    [
        ("claude-opus-4-8", {"type": "enabled", "budget_tokens": 5000}, {"type": "adaptive"}, "medium"),
        ("claude-haiku-4-5", {"type": "adaptive"}, {"type": "enabled", "budget_tokens": 8000}, None),
        (
            "claude-haiku-4-5",
            {"type": "enabled", "budget_tokens": 20_000},
            {"type": "enabled", "budget_tokens": 20_000},
            None,
        ),
    ],
)
def test_a_clients_form_that_its_model_refuses_is_translated(
    model: str, thinking: dict[str, Any], sent: dict[str, Any], effort: str | None
) -> None:
    body, _ = encoded(parsed({"thinking": thinking, "max_tokens": 10_000}), dataclasses.replace(TARGET, model=model))
    assert (body["thinking"], body.get("output_config", {}).get("effort")) == (sent, effort)


def test_an_effort_that_a_clients_model_does_not_have_is_named() -> None:
    assert encoded(parsed({"output_config": {"effort": "low"}}))[1].dropped == ("reasoning.effort",)


def test_a_default_limit_leaves_room_for_the_thoughts_asked_for() -> None:
    body, _ = encoded(said(user("q"), reasoning=Reasoning(budget_tokens=6000)))
    assert (body["max_tokens"], body["thinking"]["budget_tokens"]) == (10_096, 6000)


def test_a_limit_too_short_for_thoughts_has_none() -> None:
    request = said(user("q"), reasoning=Reasoning(effort="low"), sampling=Sampling(max_tokens=1024))
    assert encoded(request)[1].dropped == ("reasoning",)


def test_a_budget_is_not_asked_for_where_the_api_would_refuse_it() -> None:
    tools = (Tool(name="f"),)
    forced = said(user("q"), tools=tools, tool_choice=ToolChoice(mode="required"), reasoning=Reasoning(effort="high"))
    lost = said(user("q"), assistant(call("f", id="a")), result("a"), tools=tools, reasoning=Reasoning(effort="high"))
    for request in (forced, lost):
        body, sent = encoded(request)
        assert "thinking" not in body
        assert sent.dropped == ("reasoning",)
        assert encoded(request, NEWEST)[0]["thinking"] == {"type": "adaptive"}


@pytest.mark.parametrize(
    ("model", "sampling", "thinks", "sent", "dropped"),
    [
        (
            "claude-3-haiku-20240307",
            Sampling(temperature=0.5, top_p=0.5, top_k=4),
            False,
            {"temperature", "top_p", "top_k"},
            (),
        ),
        ("claude-sonnet-4-5", Sampling(temperature=0.5, top_p=0.5), False, {"temperature"}, ("top_p",)),
        ("claude-sonnet-4-5", Sampling(temperature=1.5, top_p=0.5), False, {"top_p"}, ("temperature",)),
        ("claude-sonnet-4-5", Sampling(temperature=1, top_k=4), True, {"temperature"}, ("top_k",)),
        ("claude-sonnet-4-5", Sampling(temperature=0.2, top_p=0.97), True, {"top_p"}, ("temperature",)),
        ("claude-sonnet-4-5", Sampling(top_p=0.5), True, set(), ("top_p",)),
        (
            "claude-opus-4-8",
            Sampling(temperature=0.2, top_p=0.9, top_k=4),
            False,
            set(),
            ("temperature", "top_p", "top_k"),
        ),
    ],
)
def test_sampling_that_model_or_thinking_refuse_is_named(
    model: str, sampling: Sampling, thinks: bool, sent: set[str], dropped: tuple[str, ...]
) -> None:
    sampling = dataclasses.replace(sampling, max_tokens=9000)
    request = said(user("q"), sampling=sampling, reasoning=Reasoning(enabled=True) if thinks else None)
    body, made = encoded(request, dataclasses.replace(TARGET, model=model))
    assert body.keys() & {"temperature", "top_p", "top_k"} == sent
    assert made.dropped == dropped


@pytest.mark.parametrize(
    ("model", "like"),
    [
        ("claude-sonnet-4-20250514", "claude-sonnet-4-0"),
        ("us.anthropic.claude-opus-4-6-v1:0", "claude-opus-4-6"),
        ("anthropic/claude-haiku-4.5", "claude-haiku-4-5-20251001"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("claude-3-7-sonnet-latest", "claude-sonnet-4-0"),
        ("claude-opus-9", "claude-opus-5-5"),
        ("claude-2.1", "claude-3-opus-20240229"),
    ],
)
def test_families_are_known_by_any_of_their_names(model: str, like: str) -> None:
    assert quirks_of(dataclasses.replace(TARGET, model=model)) == quirks_of(dataclasses.replace(TARGET, model=like))


def test_names_without_a_row() -> None:
    assert quirks_of(dataclasses.replace(TARGET, model="claude-novel-7")) == NEW_CLAUDE
    assert quirks_of(dataclasses.replace(TARGET, model="claude-sonnet-latest")) == NEW_CLAUDE
    assert quirks_of(dataclasses.replace(TARGET, model="kimi-k2")) == ANY_HOST


# The form of the answer


def test_a_schema_is_asked_for_and_closed() -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 9, "description": "who"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/one"}, "minItems": 2},
            "which": {"oneOf": [{"type": "null"}, {"type": "object", "properties": {"k": {"type": "string"}}}]},
        },
        "$defs": {"one": {"type": "object", "properties": {"x": {"type": "number"}}, "additionalProperties": False}},
    }
    wanted = ResponseFormat(kind="json_schema", name="label", strict=True, schema=schema, description="d")
    body, sent = encoded(said(user("q"), response_format=wanted))
    assert body["output_config"] == {
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "who\n\n(maxLength: 9)"},
                    "list": {"type": "array", "items": {"$ref": "#/$defs/one"}, "description": "(minItems: 2)"},
                    "which": {
                        "anyOf": [
                            {"type": "null"},
                            {"type": "object", "properties": {"k": {"type": "string"}}, "additionalProperties": False},
                        ]
                    },
                },
                "$defs": schema["$defs"],
                "additionalProperties": False,
            },
        }
    }
    assert sent.dropped == (
        "response_format.description",
        "response_format.schema.properties.name.maxLength",
        "response_format.schema.properties.list.minItems",
    )


def test_a_schema_that_cannot_be_kept_to_is_refused() -> None:
    wanted = ResponseFormat(kind="json_schema", name="n", schema={"type": "object", "additionalProperties": True})
    assert refusal(said(user("q"), response_format=wanted)).kind is FailureKind.UNSUPPORTED
    assert refusal(said(user("q"), response_format=dataclasses.replace(wanted, schema=SCHEMA)), OLDEST).param == (
        "response_format"
    )


def test_the_format_of_a_client_comes_back_also_from_its_old_place() -> None:
    form = {"type": "json_schema", "schema": {"type": "object", "minProperties": 1}, "newer": 1}
    body = {"output_config": {"format": form, "effort": "low"}}
    assert there_and_back(body, EITHER)["output_config"] == body["output_config"]
    again = there_and_back({"output_format": form})
    assert again["output_config"] == {"format": form}
    assert "output_format" not in again
    both = {"output_format": {"type": "x"}, "output_config": {"format": form}}
    assert {name: there_and_back(both)[name] for name in both} == both
    newer = {"output_config": {"format": {"type": "grammar"}}}
    assert there_and_back(newer)["output_config"] == newer["output_config"]


# Parsing


def test_a_whole_body_comes_back() -> None:
    body = {
        "model": TARGET.model,
        "max_tokens": 99,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "system": "s",
        "temperature": 0.5,
        "top_k": 4,
        "stop_sequences": ["a", "b"],
        "stream": True,
        "metadata": {"user_id": "u", "team": "t"},
        "cache_control": {"type": "ephemeral"},
        "container": "c",
        "service_tier": "auto",
        "context_management": {"edits": []},
    }
    request = parse_request(body)
    assert isinstance(request, Request)
    assert (request.dialect, request.model, request.user, request.stream) == ("anthropic", TARGET.model, "u", True)
    assert request.sampling == Sampling(temperature=0.5, top_k=4, max_tokens=99, stop=("a", "b"))
    assert request.extra.keys() == {"container", "service_tier", "context_management", "metadata.team"}
    again, sent = encoded(request)
    assert again == body
    assert sent.dropped == ()
    assert parse_request(again) == request


def test_unknown_fields_go_nowhere_else_and_are_named_there() -> None:
    request = dataclasses.replace(parsed({"container": "c", "messages": QUESTION}), dialect="x")
    assert encoded(request)[1].dropped == ("container",)


def test_the_address_says_what_the_body_does_not() -> None:
    request = parse_request({"messages": QUESTION, "max_tokens": 9}, model="m", stream=True)
    assert isinstance(request, Request)
    assert (request.model, request.stream) == ("m", True)


def test_nulls_say_nothing() -> None:
    body = dict.fromkeys(("system", "tools", "mcp_servers", "metadata", "thinking", "container", "stream"))
    request = parsed(
        {**body, "output_config": None, "output_format": None, "tool_choice": None, "stop_sequences": None}
    )
    assert request == parsed({})


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": 1}]}]},
            "messages[0].content[0].source",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content[0].tool_use_id"),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_result"}]}]}, "messages[0].content"),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": "{}"}]}
                ]
            },
            "messages[0].content[0].input",
        ),
        ({"system": 5}, "system"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop_sequences": "a"}, "stop_sequences"),
        ({"stream": "yes"}, "stream"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"name": "f", "input_schema": []}]}, "tools[0].input_schema"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {}}, "thinking.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id"),
        ({"mcp_servers": ["x"]}, "mcp_servers[0]"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], param: str) -> None:
    found = parse_request({"model": "m", "max_tokens": 9, "messages": QUESTION, **change})
    assert isinstance(found, Failure)
    assert (found.kind, found.param) == (FailureKind.BAD_REQUEST, param)
    assert param.split(".", maxsplit=1)[0] in found.detail


def test_a_body_that_is_no_object_is_an_error() -> None:
    assert isinstance(parse_request([]), Failure)


WHOLE = {
    "model": "m",
    "max_tokens": 9,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "a/b", "data": ""}}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [], "is_error": True}]},
        {"role": "system", "content": "s"},
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object"}, "strict": True}],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 9},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    "metadata": {"user_id": "u"},
}
ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**63) | st.text(max_size=3) | st.just("text"),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "a.b[0]", "x"]), inner)
    ),
    max_leaves=4,
)


def mutated(value: Any, path: list[int], new: Any) -> Any:
    if not path or not isinstance(value, dict | list) or not value:
        return new
    key: Any = list(value)[path[0] % len(value)] if isinstance(value, dict) else path[0] % len(value)
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = mutated(value[key], path[1:], new)
    return copy


@given(
    path=st.lists(st.integers(0, 9), min_size=1, max_size=7), new=ODD, model=st.sampled_from([TARGET, NEWEST, ALWAYS])
)
def test_no_body_raises_neither_in_nor_out(path: list[int], new: object, model: Target) -> None:
    found = parse_request(mutated(WHOLE, path, new))
    if isinstance(found, Failure):
        assert found.detail
        assert found.handling.status == 400
    else:
        for request in (found, dataclasses.replace(found, dialect="openai")):
            assert isinstance(ANTHROPIC.encode(request, model), HttpCall | Failure)


# Replies


def test_blocks_are_parts_in_their_order() -> None:
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    citation = {"type": "web_search_result_location", "url": "https://x"}
    answer = completion(
        decoded(
            message(
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                search,
                found,
                {"type": "text", "text": ""},
                {"type": "text", "text": "so", "citations": [citation]},
                {"type": "text", "text": " on", "citations": None},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"x": [1]}, "caller": {"type": "direct"}},
            )
        )
    )
    assert answer.choices[0].parts == (
        ReasoningPart(text="hm", signature="s"),
        ReasoningPart(redacted="d"),
        NativePart(dialect="anthropic", kind="server_tool_use", value=search),
        NativePart(dialect="anthropic", kind="web_search_tool_result", value=found),
        TextPart("so", citations=(citation,)),
        TextPart(" on"),
        ToolCall(id="t", name="f", arguments='{"x":[1]}', extra={"caller": {"type": "direct"}}),
    )
    assert (answer.id, answer.model, answer.provider) == ("msg_1", "claude-sonnet-4-5-20250929", "anthropic")


@pytest.mark.parametrize(
    ("word", "reason", "extra"),
    [
        ("end_turn", FinishReason.STOP, {}),
        ("max_tokens", FinishReason.LENGTH, {}),
        ("model_context_window_exceeded", FinishReason.LENGTH, {"finish_reason": "model_context_window_exceeded"}),
        ("tool_use", FinishReason.TOOL_CALLS, {}),
        ("refusal", FinishReason.CONTENT_FILTER, {}),
        ("pause_turn", FinishReason.OTHER, {"finish_reason": "pause_turn"}),
        ("compaction", FinishReason.OTHER, {"finish_reason": "compaction"}),
        (None, None, {}),
    ],
)
def test_why_it_ended(word: str | None, reason: FinishReason | None, extra: dict[str, Any]) -> None:
    choice = completion(decoded(message({"type": "text", "text": "a"}, stop=word))).choices[0]
    assert (choice.finish_reason, choice.extra) == (reason, extra)


def test_the_stop_word_and_details_are_kept() -> None:
    details = {"type": "refusal", "category": "bio"}
    reply = message({"type": "text", "text": "a"}, stop="stop_sequence", stop_sequence="END", stop_details=details)
    choice = completion(decoded(reply)).choices[0]
    assert choice.finish_reason is FinishReason.STOP
    assert choice.extra == {"stop_sequence": "END", "stop_details": details}


def test_usage_counts_the_cache_thoughts_and_searches() -> None:
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 40,
        "output_tokens_details": {"thinking_tokens": 25},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
        "service_tier": "standard",
        "inference_geo": None,
    }
    answer = completion(decoded(message({"type": "text", "text": "a"}, usage=usage, container={"id": "c"})))
    assert answer.usage == Usage(
        input_tokens=45,
        output_tokens=40,
        cached_input_tokens=5,
        cache_write_tokens=30,
        cache_write_1h_tokens=20,
        reasoning_tokens=25,
        server_tool_calls={"web_search": 2},
    )
    assert answer.extra == {"service_tier": "standard", "container": {"id": "c"}}
    assert answer.cost is None


def test_a_compaction_is_paid_for_and_an_advisor_is_another_models() -> None:
    iterations = [
        {"type": "compaction", "input_tokens": 1000, "output_tokens": 30, "cache_read_input_tokens": 7},
        {"type": "message", "input_tokens": 20, "output_tokens": 4},
        {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 500, "output_tokens": 60},
    ]
    usage = {"input_tokens": 20, "output_tokens": 4, "iterations": iterations}
    answer = completion(decoded(message({"type": "text", "text": "a"}, usage=usage)))
    assert answer.usage == Usage(input_tokens=1027, output_tokens=34, cached_input_tokens=7)
    assert answer.extra == {"iterations": iterations}


def test_unreported_usage_is_to_be_estimated() -> None:
    assert completion(decoded(message({"type": "text", "text": "a"}, usage=None))).usage.estimated


def test_a_host_that_names_its_price_is_believed() -> None:
    usage = {"input_tokens": 1, "output_tokens": 1, "cost": 0.0003, "is_byok": False}
    cost = completion(decoded(message({"type": "text", "text": "a"}, usage=usage))).cost
    assert cost is not None
    assert (cost.total_nanousd, cost.source) == (300_000, "provider")


def test_odd_blocks_are_kept() -> None:
    parts = (
        completion(decoded(message({"x": 1}, {"type": "tool_use"}, {"type": "tool_use", "name": "f"}))).choices[0].parts
    )
    assert parts[:2] == (
        NativePart(dialect="anthropic", kind="", value={"x": 1}),
        NativePart(dialect="anthropic", kind="tool_use", value={"type": "tool_use"}),
    )
    assert parts[2] == ToolCall(id="raygate_call_msg_1_0", name="f", arguments="{}")


def test_a_success_may_carry_retry_after() -> None:
    assert completion(decoded(message({"type": "text", "text": "a"}), retry_after="60")).text == "a"


@pytest.mark.parametrize("body", [{"id": "x"}, {"content": "text"}, {"content": ["text"]}, [], b"<html>"])
def test_what_is_no_message_is_malformed(body: object) -> None:
    assert failure(decoded(body)).kind is FailureKind.MALFORMED


@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [
        (400, "invalid_request_error", FailureKind.BAD_REQUEST),
        (401, "authentication_error", FailureKind.UNAUTHENTICATED),
        (402, "billing_error", FailureKind.QUOTA_EXHAUSTED),
        (403, "permission_error", FailureKind.FORBIDDEN),
        (404, "not_found_error", FailureKind.MODEL_NOT_FOUND),
        (413, "request_too_large", FailureKind.TOO_LARGE),
        (429, "rate_limit_error", FailureKind.RATE_LIMITED),
        (500, "api_error", FailureKind.UNAVAILABLE),
        (504, "timeout_error", FailureKind.UNAVAILABLE),
        (529, "overloaded_error", FailureKind.OVERLOADED),
    ],
)
def test_errors_by_status_and_type(status: int, word: str, kind: FailureKind) -> None:
    error = {"type": "error", "error": {"type": word, "message": "m sk-ant-secret-0123456789"}, "request_id": "r"}
    found = failure(decoded(error, status=status, x_should_retry="true"))
    assert (found.kind, found.status, found.code) == (kind, status, word)
    assert "secret" not in found.detail


def test_an_error_inside_a_200_is_a_failure() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert failure(decoded(error)).kind is FailureKind.OVERLOADED


# Streams


def test_a_stream_says_what_the_whole_reply_says() -> None:
    result_block = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result"}]}
    citation = {"type": "web_search_result_location", "url": "https://x"}
    deltas, outcome = streamed(
        start(container=None),
        {"type": "ping"},
        opened(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="h"),
        delta(0, "thinking_delta", thinking="m"),
        delta(0, "signature_delta", signature="s"),
        closed(0),
        opened(1, type="redacted_thinking", data="d"),
        closed(1),
        opened(2, type="server_tool_use", id="s", name="web_search", input={}),
        delta(2, "input_json_delta", partial_json=""),
        delta(2, "input_json_delta", partial_json='{"query":'),
        delta(2, "input_json_delta", partial_json='"q"}'),
        closed(2),
        opened(3, **result_block),
        closed(3),
        opened(4, type="text", text=""),
        delta(4, "text_delta", text="one"),
        closed(4),
        opened(5, type="text", text="", citations=[]),
        delta(5, "citations_delta", citation=citation),
        delta(5, "text_delta", text="two"),
        closed(5),
        opened(6, type="tool_use", id="t", name="f", input={}, caller={"type": "direct"}),
        closed(6),
        opened(7, type="thinking", thinking="", signature=""),
        delta(7, "signature_delta", signature="u"),
        closed(7),
        *ending("tool_use", delta={"container": {"id": "c"}}, context_management={"applied_edits": []}),
    )
    whole = completion(
        decoded(
            message(
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
                result_block,
                {"type": "text", "text": "one"},
                {"type": "text", "text": "two", "citations": [citation]},
                {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}},
                {"type": "thinking", "thinking": "", "signature": "u"},
                stop="tool_use",
                container={"id": "c"},
                context_management={"applied_edits": []},
            )
        )
    )
    assert completion(outcome) == whole
    assert fold(deltas) == whole.choices
    assert [one.name for piece in deltas for one in piece.tool_calls] == ["f", ""]


def test_parallel_calls_of_one_tool_stay_apart() -> None:
    _, outcome = streamed(
        start(),
        opened(0, type="tool_use", id="a", name="f", input={}),
        opened(1, type="tool_use", id="b", name="f", input={"whole": True}),
        delta(0, "input_json_delta", partial_json='{"x":1}'),
        closed(0),
        closed(1),
        *ending("tool_use"),
    )
    assert [(one.id, one.arguments) for one in completion(outcome).tool_calls] == [
        ("a", '{"x":1}'),
        ("b", '{"whole":true}'),
    ]


def test_blocks_and_deltas_that_nobody_knows_are_kept() -> None:
    deltas, outcome = streamed(
        start(),
        opened(0, type="compaction", content=None),
        delta(0, "compaction_delta", content="sum", encrypted_content="e"),
        delta(0, "compaction_delta", content="mary"),
        closed(0),
        opened(1, type="text", text="", newer=1),
        delta(1, "text_delta", text="a"),
        delta(1, "glow_delta", glow=2),
        closed(1),
        opened(2, type="oracle", facts=[1]),
        delta(2, "facts_delta", facts=[2]),
        {"type": "progress", "percent": 50},
        *ending(),
    )
    answer = completion(outcome)
    assert answer.choices[0].parts == (
        NativePart(
            dialect="anthropic",
            kind="compaction",
            value={"type": "compaction", "content": "summary", "encrypted_content": "e"},
        ),
        TextPart("a", extra={"newer": 1}),
        NativePart(dialect="anthropic", kind="oracle", value={"type": "oracle", "facts": [1, 2]}),
    )
    assert answer.choices[0].extra == {"unknown_deltas": [{"type": "glow_delta", "glow": 2}]}
    assert answer.extra["events"] == [{"type": "progress", "percent": 50}]
    assert fold(deltas) == answer.choices


def test_hosts_that_forget_to_open_or_close_a_block() -> None:
    _, outcome = streamed(
        start(),
        delta(0, "thinking_delta", thinking="hm"),
        delta(1, "text_delta", text="a"),
        opened(2, type="tool_use", name="f"),
        delta(2, "input_json_delta", partial_json="{}"),
        delta(3, "citations_delta", citation={"n": 1}),
        *ending(),
    )
    assert completion(outcome).choices[0].parts == (
        ReasoningPart(text="hm"),
        TextPart("a"),
        ToolCall(id="raygate_call_msg_1_0", name="f", arguments="{}"),
        TextPart("", citations=({"n": 1},)),
    )


def test_input_that_is_no_json_is_kept_as_text() -> None:
    _, outcome = streamed(
        start(),
        opened(0, type="mcp_tool_use", id="m", name="n", server_name="s", input={}),
        delta(0, "input_json_delta", partial_json='{"cut'),
        closed(0),
        *ending(),
    )
    part = completion(outcome).choices[0].parts[0]
    assert isinstance(part, NativePart)
    assert part.value["input"] == '{"cut'


def test_usage_rises_and_never_falls() -> None:
    first = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 8,
        "output_tokens": 1,
        "cache_creation": {"ephemeral_1h_input_tokens": 8, "ephemeral_5m_input_tokens": 0},
        "service_tier": "priority",
    }
    last = {"input_tokens": 0, "cache_creation_input_tokens": None, "output_tokens": 20, "server_tool_use": None}
    answer = completion(streamed(start(usage=first), *ending(usage=last))[1])
    assert answer.usage == Usage(input_tokens=18, output_tokens=20, cache_write_tokens=8, cache_write_1h_tokens=8)
    assert answer.extra == {"service_tier": "priority"}
    later = {"input_tokens": 32, "output_tokens": 16}
    assert completion(
        streamed(start(usage={"input_tokens": 0, "output_tokens": 0}), *ending(usage=later))[1]
    ).usage == (Usage(input_tokens=32, output_tokens=16))


def test_an_empty_answer_is_an_answer() -> None:
    answer = completion(streamed(start(), *ending("refusal", delta={"stop_details": {"category": "bio"}}))[1])
    assert answer.choices[0].parts == ()
    assert answer.finish_reason is FinishReason.CONTENT_FILTER
    assert answer.choices[0].extra == {"stop_details": {"category": "bio"}}


def test_only_message_stop_ends_an_answer() -> None:
    decoder = ANTHROPIC.decoder(TARGET)
    decoder.feed(wire(start(), opened(0, type="text", text="a"), closed(0), ending()[0]))
    assert not decoder.ended
    assert (decoder.id, decoder.model) == ("msg_1", "claude-sonnet-4-5-20250929")
    assert failure(decoder.finish()).kind is FailureKind.INTERRUPTED


def test_an_end_without_its_blank_line_counts_but_words_without_it_do_not() -> None:
    decoder = ANTHROPIC.decoder(TARGET)
    decoder.feed(wire(start(), opened(0, type="text", text="a"), closed(0), *ending())[:-2])
    assert completion(decoder.finish()).text == "a"
    decoder = ANTHROPIC.decoder(TARGET)
    decoder.feed(wire(start(), opened(0, type="oracle"), *ending())[: -len(wire(*ending()))] + wire(*ending()[1:])[:-2])
    assert failure(decoder.finish()).kind is FailureKind.INTERRUPTED


def test_what_follows_the_end_is_not_read() -> None:
    decoder = ANTHROPIC.decoder(TARGET)
    decoder.feed(
        wire(start(), opened(0, type="text", text="a"), closed(0), *ending()) + b"event: data\ndata: [DONE]\n\n"
    )
    assert decoder.ended
    assert decoder.feed(wire(delta(0, "text_delta", text="b"))) == []
    assert completion(decoder.finish()).text == "a"


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("overloaded_error", FailureKind.OVERLOADED),
        ("rate_limit_error", FailureKind.RATE_LIMITED),
        ("api_error", FailureKind.UNAVAILABLE),
        ("invalid_request_error", FailureKind.BAD_REQUEST),
        ("timeout_error", FailureKind.TIMED_OUT),
    ],
)
def test_an_error_event_is_that_failure(word: str, kind: FailureKind) -> None:
    error = {"type": "error", "error": {"type": word, "message": "m", "details": None}}
    decoder = ANTHROPIC.decoder(TARGET)
    said_before = decoder.feed(wire(start(), opened(0, type="text", text="a"), error, delta(0, "text_delta", text="b")))
    assert "".join(one.text for one in said_before) == "a"
    assert decoder.ended
    found = failure(decoder.finish())
    assert (found.kind, found.code) == (kind, word)


@pytest.mark.parametrize(
    "data",
    [
        b"data: {}\n\n",
        b"data: 5\n\n",
        orjson.dumps(message({"type": "text", "text": "a"})),
        b"<html>",
        b"data: {x}\n\n",
    ],
)
def test_what_is_no_stream_of_this_api_is_malformed(data: bytes) -> None:
    decoder = ANTHROPIC.decoder(TARGET)
    decoder.feed(data)
    assert failure(decoder.finish()).kind is FailureKind.MALFORMED


def test_silence_is_an_interruption() -> None:
    decoder = ANTHROPIC.decoder(TARGET)
    decoder.feed(b": hold on\n\ndata: \n\n")
    assert failure(decoder.finish()).kind is FailureKind.INTERRUPTED


# What is free, and what there is not


def test_models_and_health() -> None:
    sent = ANTHROPIC.list_models(TARGET)
    assert isinstance(sent, HttpCall)
    assert (sent.method, sent.url) == ("GET", "https://api.anthropic.com/v1/models?limit=1000")
    assert sent.headers["x-api-key"] == "sk-ant-secret-0123456789"
    listed = HttpReply(status=200, headers={}, body=b'{"data":[{"type":"model","id":"a"},{"id":5},{"id":"b"}]}')
    assert ANTHROPIC.decode_models(listed, TARGET) == ("a", "b")
    assert ANTHROPIC.decode_health(listed, TARGET) is None
    ill = HttpReply(status=401, headers={}, body=b'{"type":"error","error":{"type":"authentication_error"}}')
    assert failure(ANTHROPIC.decode_health(ill, TARGET)).kind is FailureKind.UNAUTHENTICATED
    other = HttpReply(status=200, headers={}, body=b"{}")
    assert failure(ANTHROPIC.decode_models(other, TARGET)).kind is FailureKind.MALFORMED


def test_there_are_no_embeddings() -> None:
    found = failure(ANTHROPIC.encode_embed(EmbedRequest(inputs=("a",)), TARGET))
    assert (found.kind, found.provider) == (FailureKind.UNSUPPORTED, "anthropic")
    for status in (200, 500):
        assert isinstance(ANTHROPIC.decode_embed(HttpReply(status=status, headers={}, body=b""), TARGET), Failure)


def test_a_marker_needs_something_to_stand_on() -> None:
    request = said(user("q"), Message(role=Role.ASSISTANT, parts=(ReasoningPart(text="hm"),), cache=CacheHint()))
    assert encoded(request)[1].dropped == ("messages[1].reasoning", "cache")


def test_a_strict_tool_that_need_not_be_is_not_for_models_without_schemas() -> None:
    request = said(user("q"), tools=(Tool(name="f", strict=False),))
    body, sent = encoded(request, OLDEST)
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]
    assert sent.dropped == ()


def test_odd_blocks_of_a_stream_are_kept() -> None:
    _, outcome = streamed(
        start(),
        opened(0, type="text", text="a", citations=[{"n": 1}]),
        opened(1, type="tool_use", id="x"),
        delta(1, "input_json_delta", partial_json='{"y":1}'),
        opened(2, type="oracle"),
        delta(2, "citations_delta", citation={"n": 2}),
        *ending(),
    )
    assert completion(outcome).choices[0].parts == (
        TextPart("a", citations=({"n": 1},)),
        NativePart(dialect="anthropic", kind="tool_use", value={"type": "tool_use", "id": "x", "input": {"y": 1}}),
        NativePart(dialect="anthropic", kind="oracle", value={"type": "oracle", "citations": [{"n": 2}]}),
    )


def test_a_stream_that_breaks_off_inside_an_event_is_interrupted() -> None:
    decoder = ANTHROPIC.decoder(TARGET)
    decoder.feed(wire(start(), *ending())[:-4])
    assert failure(decoder.finish()).kind is FailureKind.INTERRUPTED
