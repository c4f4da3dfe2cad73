"""Our own Messages endpoint: what its clients read, whole and streamed. `anthropic` reads it back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dialects.anthropic import Anthropic, AnthropicStream, parse_request
from runtime.dialects.anthropic.arguments import Arguments
from runtime.dialects.anthropic.parse import parse_count
from runtime.dialects.anthropic.render import ERRORS, render_count, render_models
from runtime.dialects.anthropic.surface import AnthropicSurface
from runtime.dialects.base import HttpReply, Target
from runtime.dialects.sse import SseEvent, SseParser
from runtime.dialects.surface import Surface
from runtime.fold import deltas_of, fold
from runtime.models import ModelInfo
from runtime.outcome import (
    Choice,
    Completion,
    Cost,
    Delta,
    Failure,
    FailureKind,
    FinishReason,
    StreamEnd,
    StreamStart,
    ToolCallDelta,
    Usage,
)
from runtime.request import (
    AudioPart,
    ImagePart,
    NativePart,
    Part,
    ReasoningPart,
    Request,
    Sampling,
    TextPart,
    ToolCall,
    user,
)

SURFACE: Surface = AnthropicSurface()
ANTHROPIC = Anthropic()
TARGET = Target(provider="p", base_url="https://api.anthropic.com/v1", model="m")
ASKED = Request(messages=(user("hi"),), dialect="anthropic", stream=True, request_id="r1")
START = StreamStart(id="msg_1", provider="p", model="claude-sonnet-4-5")
USAGE = Usage(input_tokens=10, output_tokens=4)
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "ray"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
PAGE = {"type": "page_location", "cited_text": "so", "document_index": 0, "start_page_number": 1}


def answered(*parts: Part, finish: FinishReason | None = FinishReason.STOP, **fields: Any) -> Completion:
    extra = fields.pop("choice_extra", {})
    choice = Choice(parts=parts, finish_reason=finish, refusal=fields.pop("refusal", None), extra=extra)
    return Completion(**{"id": "msg_1", "model": "m", "choices": (choice,), "usage": USAGE, **fields})


def rendered(completion: Completion, request: Request = ASKED) -> dict[str, Any]:
    body: dict[str, Any] = SURFACE.render(completion, request)
    return body


def streamed(deltas: Iterable[Delta], completion: Completion | None = None) -> list[dict[str, Any]]:
    """The events of a whole stream; each was named by its line and stood where it may stand."""
    deltas = list(deltas)
    if completion is None:
        choices = fold(deltas)
        completion = Completion(id="msg_1", model="m", choices=choices[:1] or (Choice(),), usage=USAGE)
    return events(wire(deltas, completion))


def wire(deltas: Iterable[Delta], completion: Completion) -> bytes:
    renderer = SURFACE.renderer(ASKED)
    out = renderer.render(START)
    for delta in deltas:
        out += renderer.render(delta)
    return b"".join(out + renderer.render(StreamEnd(outcome=completion)))


def events(data: bytes) -> list[dict[str, Any]]:
    found = []
    for event in SseParser().feed(data):
        assert isinstance(event, SseEvent)
        said = orjson.loads(event.data)
        assert event.name == said["type"]
        found.append(said)
    in_order(found)
    return found


def in_order(said: list[dict[str, Any]]) -> None:
    """What every official client takes for granted: blocks one after the other, numbered from 0."""
    assert said[0]["type"] == "message_start"
    assert [one["type"] for one in said[-2:]] == ["message_delta", "message_stop"]
    number, is_open = -1, False
    for one in said[1:-2]:
        match one["type"]:
            case "content_block_start":
                assert not is_open
                number, is_open = number + 1, True
            case "content_block_delta":
                assert is_open
            case "content_block_stop":
                assert is_open
                is_open = False
            case "ping":
                continue
            case other:
                raise AssertionError(other)
        assert one["index"] == number
    assert not is_open


def read_back(data: bytes) -> Completion:
    stream = AnthropicStream(TARGET)
    stream.feed(data)
    outcome = stream.finish()
    assert isinstance(outcome, Completion), outcome
    return outcome


def piece(position: int, arguments: str = "", *, call: str = "", name: str = "") -> Delta:
    return Delta(tool_calls=(ToolCallDelta(position=position, id=call, name=name, arguments=arguments),))


def inputs(said: list[dict[str, Any]]) -> dict[int, str]:
    """The arguments of each block, as a client joins them."""
    joined: dict[int, str] = {}
    for one in said:
        if one["type"] == "content_block_delta" and one["delta"]["type"] == "input_json_delta":
            joined[one["index"]] = joined.get(one["index"], "") + one["delta"]["partial_json"]
    return joined


# ---- whole replies


def test_a_message_has_all_that_clients_demand() -> None:
    assert rendered(answered(TextPart("hi"))) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 4,
        },
    }


def test_an_answer_without_an_id_is_named_after_its_request() -> None:
    assert rendered(answered(TextPart("x"), id=""))["id"] == "msg_r1"
    assert rendered(answered(TextPart("x"), id="", request_id="r2"))["id"] == "msg_r2"
    assert rendered(answered(TextPart("x"), id="chatcmpl-7"))["id"] == "chatcmpl-7"


def test_parts_become_blocks_in_order() -> None:
    content = rendered(
        answered(
            ReasoningPart(text="hm", signature="s=="),
            ReasoningPart(redacted="x=="),
            TextPart("see", citations=(PAGE,)),
            NativePart(dialect="anthropic", kind="server_tool_use", value=SEARCH),
            NativePart(dialect="anthropic", kind="web_search_tool_result", value=FOUND),
            ToolCall(id="toolu_1", name="f", arguments='{"a": 1}', extra={"caller": {"type": "direct"}}),
            finish=FinishReason.TOOL_CALLS,
        )
    )["content"]
    assert content == [
        {"type": "thinking", "thinking": "hm", "signature": "s=="},
        {"type": "redacted_thinking", "data": "x=="},
        {"type": "text", "text": "see", "citations": [PAGE]},
        SEARCH,
        FOUND,
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}, "caller": {"type": "direct"}},
    ]


def test_what_the_api_has_no_word_for_is_left_out_and_the_text_around_it_stays() -> None:
    parts: tuple[Part, ...] = (
        TextPart("a", citations=({"type": "url_citation", "url": "https://example.com"},), signature="gemini"),
        NativePart(dialect="google", kind="executableCode", value={"executableCode": {}}),
        ImagePart(data="iVBORw0KGgo="),
        TextPart(""),
        TextPart("b", extra={"index": 3, "raygate:named": "x"}),
    )
    content = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert rendered(answered(*parts))["content"] == content
    again = read_back(wire(deltas_of(0, Choice(parts=parts)), answered(*parts)))
    assert again.choices[0].parts == (TextPart("a"), TextPart("b"))


def test_a_thought_sealed_by_another_provider_keeps_its_text_alone() -> None:
    foreign = {"type": "reasoning.text", "format": "openai-responses-v1", "id": "rs_1", "index": 0}
    parts = (
        ReasoningPart(text="hm", signature="theirs", extra=foreign),
        ReasoningPart(redacted="theirs", extra=foreign),
        ReasoningPart(text="so", signature="ours", extra={"format": "anthropic-claude-v1", "index": 1}),
    )
    thoughts = [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "thinking", "thinking": "so", "signature": "ours"},
    ]
    assert rendered(answered(*parts))["content"] == thoughts
    again = read_back(wire(deltas_of(0, Choice(parts=parts)), answered(*parts)))
    assert again.choices[0].parts == (ReasoningPart(text="hm"), ReasoningPart(text="so", signature="ours"))


def test_what_was_said_aloud_becomes_text() -> None:
    sound = AudioPart(data="UklGRg==", format="wav", extra={"id": "audio_1", "transcript": "hello there"})
    assert rendered(answered(sound))["content"] == [{"type": "text", "text": "hello there"}]
    pieces = [Delta(audio=AudioPart(extra={"transcript": one})) for one in ("hello", " there")]
    assert read_back(wire(pieces, answered(sound))).text == "hello there"


@pytest.mark.parametrize(
    ("completion", "reason", "sequence"),
    [
        (answered(finish=FinishReason.STOP), "end_turn", None),
        (answered(finish=FinishReason.LENGTH), "max_tokens", None),
        (answered(finish=FinishReason.TOOL_CALLS), "tool_use", None),
        (answered(finish=FinishReason.CONTENT_FILTER), "refusal", None),
        (answered(finish=FinishReason.OTHER), "end_turn", None),
        (answered(finish=FinishReason.OTHER, choice_extra={"finish_reason": "pause_turn"}), "pause_turn", None),
        (
            answered(finish=FinishReason.LENGTH, choice_extra={"finish_reason": "model_context_window_exceeded"}),
            "model_context_window_exceeded",
            None,
        ),
        (answered(finish=FinishReason.OTHER, choice_extra={"finish_reason": "LANGUAGE"}), "end_turn", None),
        (answered(finish=None), "end_turn", None),
        (answered(choice_extra={"stop_sequence": "END"}), "stop_sequence", "END"),
        # vLLM names it, and says numbers for tokens of its own; Cohere says only that there was one.
        (answered(choice_extra={"stop_reason": "END"}), "stop_sequence", "END"),
        (answered(choice_extra={"stop_reason": 2}), "end_turn", None),
        (answered(choice_extra={"finish_reason": "STOP_SEQUENCE"}), "stop_sequence", "END"),
        # A function that the client itself named: OpenAI says "stop".
        (answered(ToolCall(id="a", name="f", arguments="{}")), "tool_use", None),
        (answered(refusal="I will not."), "refusal", None),
        (answered(choices=()), "end_turn", None),
    ],
)
def test_why_an_answer_ended(completion: Completion, reason: str, sequence: str | None) -> None:
    asked = dataclasses.replace(ASKED, sampling=Sampling(stop=("END",)))
    said = rendered(completion, asked)
    assert (said["stop_reason"], said["stop_sequence"]) == (reason, sequence)
    renderer = SURFACE.renderer(asked)
    last = events(b"".join([*renderer.render(START), *renderer.render(StreamEnd(outcome=completion))]))[-2]
    assert last["delta"] == {"stop_reason": reason, "stop_sequence": sequence}


def test_a_refusal_is_what_the_model_said() -> None:
    refused = answered(refusal="I will not.")
    assert rendered(refused)["content"] == [{"type": "text", "text": "I will not."}]
    again = read_back(wire([Delta(refusal="I will "), Delta(refusal="not.")], refused))
    assert (again.text, again.finish_reason) == ("I will not.", FinishReason.CONTENT_FILTER)


def test_the_details_of_a_refusal_stay() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": None}
    refused = answered(finish=FinishReason.CONTENT_FILTER, choice_extra={"stop_details": details})
    assert rendered(refused)["stop_details"] == details
    assert streamed([], refused)[-2]["delta"]["stop_details"] == details


@pytest.mark.parametrize("text", ['{"a": "b', "[1]", "no JSON", '"x"', "NaN", "null", '{"a":' * 300 + "1" + "}" * 300])
def test_arguments_that_are_no_object_are_kept_in_one(text: str) -> None:
    call = ToolCall(id="a", name="f", arguments=text)
    assert orjson.loads(orjson.dumps(rendered(answered(call))))["content"][0]["input"] == {"INVALID_JSON": text}


def test_usage_tells_the_caches_part_beside_the_input_and_what_it_cost() -> None:
    usage = Usage(
        input_tokens=1000,
        output_tokens=50,
        cached_input_tokens=600,
        cache_write_tokens=300,
        cache_write_1h_tokens=100,
        reasoning_tokens=20,
        server_tool_calls={"web_search": 2},
        estimated=True,
    )
    completion = answered(TextPart("x"), usage=usage, cost=Cost(total_nanousd=1_250_000))
    expected = {
        "input_tokens": 100,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 600,
        "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 20},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
        "estimated": True,
        "cost": 0.00125,
    }
    assert rendered(completion)["usage"] == expected
    assert streamed([Delta(text="x")], completion)[-2]["usage"] == expected


def test_the_caches_parts_never_add_up_to_more_than_the_input() -> None:
    usage = rendered(answered(usage=Usage(input_tokens=10, cached_input_tokens=8, cache_write_tokens=8)))["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (0, 8, 2)


def test_tokens_of_a_compaction_are_counted_once() -> None:
    iterations = [{"type": "compaction", "input_tokens": 100, "output_tokens": 10}, {"type": "message"}]
    body = {"input_tokens": 5, "output_tokens": 3, "iterations": iterations}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": body}
    decoded = ANTHROPIC.decode(HttpReply(status=200, headers={}, body=orjson.dumps(message)), TARGET)
    assert isinstance(decoded, Completion)
    assert decoded.usage.input_tokens == 105
    usage = rendered(decoded)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["iterations"]) == (5, 3, iterations)


def test_fields_that_no_type_holds_stand_where_they_stood() -> None:
    extra = {"service_tier": "priority", "inference_geo": "eu", "container": {"id": "c"}, "context_management": {}}
    completion = answered(TextPart("x"), extra=extra)
    whole = rendered(completion)
    assert (whole["usage"]["service_tier"], whole["usage"]["inference_geo"]) == ("priority", "eu")
    assert (whole["container"], whole["context_management"]) == ({"id": "c"}, {})
    last = streamed([Delta(text="x")], completion)[-2]
    assert (last["delta"]["container"], last["context_management"]) == ({"id": "c"}, {})
    assert last["usage"]["service_tier"] == "priority"


def test_a_service_tier_of_another_api_is_none_here() -> None:
    assert "service_tier" not in rendered(answered(extra={"service_tier": "default"}))["usage"]


# ---- streams


def test_a_stream_of_text() -> None:
    said = streamed([Delta(text="hel"), Delta(text="lo", finish_reason=FinishReason.STOP)])
    assert said[0]["message"] == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
    assert said[1:-2] == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hel"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
        {"type": "content_block_stop", "index": 0},
    ]
    assert said[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert said[-2]["usage"]["input_tokens"] == 10
    assert said[-2]["usage"]["output_tokens"] == 4


def test_each_piece_is_sent_as_it_comes() -> None:
    renderer = SURFACE.renderer(ASKED)
    assert len(renderer.render(START)) == 1
    assert len(renderer.render(Delta(reasoning="hm"))) == 2
    assert len(renderer.render(Delta(text="a"))) == 3
    assert len(renderer.render(Delta(text="b"))) == 1
    assert len(renderer.render(piece(0, '{"x":', call="a", name="f"))) == 3
    assert len(renderer.render(piece(0, "1}"))) == 1


def test_a_thought_comes_with_its_signature() -> None:
    said = streamed([Delta(reasoning="h"), Delta(reasoning="m"), Delta(signature="s=="), Delta(text="x")])
    assert [one["delta"] for one in said if one["type"] == "content_block_delta"] == [
        {"type": "thinking_delta", "thinking": "h"},
        {"type": "thinking_delta", "thinking": "m"},
        {"type": "signature_delta", "signature": "s=="},
        {"type": "text_delta", "text": "x"},
    ]
    assert said[1]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}


def test_a_native_call_streams_its_input_as_the_api_does() -> None:
    part = NativePart(dialect="anthropic", kind="server_tool_use", value=SEARCH)
    said = streamed([Delta(parts=(part,))])
    assert said[1]["content_block"] == {**SEARCH, "input": {}}
    assert inputs(said) == {0: '{"query":"ray"}'}


def test_mixed_pieces_of_parallel_calls_become_one_block_after_the_other() -> None:
    deltas = [
        Delta(text="ok"),
        piece(0, call="a", name="f"),
        piece(1, call="b", name="g"),
        piece(0, '{"x": "}'),
        piece(1, '{"y":'),
        piece(0, '\\"{"}'),
        piece(1, "[2]}"),
        Delta(text="so", finish_reason=FinishReason.TOOL_CALLS),
    ]
    said = streamed(deltas)
    assert [one["content_block"].get("id") for one in said if one["type"] == "content_block_start"] == [
        *(None, "a", "b", None)
    ]
    assert inputs(said) == {1: '{"x": "}\\"{"}', 2: '{"y":[2]}'}


def test_a_call_ends_where_its_arguments_do_if_another_waits() -> None:
    renderer = SURFACE.renderer(ASKED)
    renderer.render(START)
    renderer.render(piece(0, '{"x":', call="a", name="f"))
    assert renderer.render(piece(1, "{}", call="b", name="g")) == []
    out = b"".join(renderer.render(piece(0, "1}")))
    assert b'"content_block_stop","index":0' in out
    assert b'"id":"b"' in out


def test_a_call_without_a_name_yet_waits_for_it() -> None:
    renderer = SURFACE.renderer(ASKED)
    renderer.render(START)
    assert renderer.render(piece(0, '{"x"', call="a")) == []
    assert len(renderer.render(piece(0, ":1}", name="f"))) == 3


@pytest.mark.parametrize("pieces", [["[1", "]"], ["no JSON"], [" ", '"x"']])
def test_streamed_arguments_that_begin_as_no_object_are_kept_in_one(pieces: list[str]) -> None:
    said = streamed([piece(0, call="a", name="f"), *(piece(0, one) for one in pieces), Delta(text="x")])
    assert orjson.loads(inputs(said)[0]) == {"INVALID_JSON": "".join(pieces)}


def test_broken_off_arguments_go_on_as_they_came() -> None:
    said = streamed([piece(0, '{"a": "b', call="a", name="f"), Delta(finish_reason=FinishReason.LENGTH)])
    assert inputs(said) == {0: '{"a": "b'}
    assert said[-2]["delta"]["stop_reason"] == "max_tokens"


def test_an_answer_that_came_whole_is_streamed_whole() -> None:
    completion = answered(TextPart("cached"), ToolCall(id="a", name="f", arguments='{"x": 1}'))
    renderer = SURFACE.renderer(ASKED)
    out = renderer.render(StreamEnd(outcome=completion))
    assert events(b"".join(out))[0]["message"]["model"] == "m"
    assert read_back(b"".join(out)).choices[0].parts == completion.choices[0].parts


def test_other_choices_than_the_first_are_not_heard() -> None:
    assert streamed([Delta(choice=1, text="b"), Delta(text="a")])[2]["delta"]["text"] == "a"


def test_a_broken_stream_ends_with_the_error_and_nothing_after_it() -> None:
    renderer = SURFACE.renderer(ASKED)
    renderer.render(dataclasses.replace(START, request_id="req_7"))
    renderer.render(Delta(text="half"))
    failure = Failure(kind=FailureKind.OVERLOADED, provider="p", detail="try later")
    (out,) = renderer.render(StreamEnd(outcome=failure))
    name, data = out.decode().strip().split("\n")
    assert name == "event: error"
    assert orjson.loads(data.removeprefix("data: ")) == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "p: try later", "details": {"error_code": "overloaded"}},
        "request_id": "req_7",
    }
    assert renderer.render(Delta(text="late")) == []
    assert renderer.render(StreamEnd(outcome=answered())) == []


def test_keeping_alive_says_nothing() -> None:
    renderer = SURFACE.renderer(ASKED)
    before = renderer.keep_alive()
    assert before.startswith(b":")
    out = [before, *renderer.render(START), renderer.keep_alive(), *renderer.render(Delta(text="a"))]
    out += [renderer.keep_alive(), *renderer.render(StreamEnd(outcome=answered(TextPart("a"))))]
    assert [one["type"] for one in events(b"".join(out))].count("ping") == 2
    assert read_back(b"".join(out)).text == "a"


# ---- laws

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=6)
extras = st.just({}) | st.just({"later": {"a": [1]}})
objects = st.dictionaries(st.sampled_from(["a", "b", "{"]), st.integers(0, 9) | words | st.just([{"c": 1}]), max_size=2)
texts = st.builds(TextPart, words, citations=st.lists(st.just(PAGE), max_size=2).map(tuple), extra=extras)
thoughts = st.builds(ReasoningPart, text=words, signature=st.sampled_from(["", "s=="]), extra=extras) | st.sampled_from(
    [ReasoningPart(redacted="x=="), ReasoningPart(signature="alone==")]
)
natives = st.sampled_from(
    [
        NativePart(dialect="anthropic", kind="server_tool_use", value=SEARCH),
        NativePart(dialect="anthropic", kind="web_search_tool_result", value=FOUND),
    ]
)


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    """What Anthropic itself can say."""
    parts: list[Part] = list(draw(st.lists(st.one_of(texts, thoughts, natives), max_size=4)))
    calls = [
        ToolCall(id=f"toolu_{at}", name="f", arguments=orjson.dumps(value).decode(), extra=draw(extras))
        for at, value in enumerate(draw(st.lists(objects, max_size=3)))
    ]
    if calls:
        return Choice(parts=(*parts, *calls), finish_reason=FinishReason.TOOL_CALLS)
    finish = draw(st.sampled_from([FinishReason.STOP, FinishReason.LENGTH, FinishReason.CONTENT_FILTER]))
    extra = draw(st.sampled_from([{}, {"stop_sequence": "END"}])) if finish is FinishReason.STOP else {}
    return Choice(parts=tuple(parts), finish_reason=finish, extra=extra)


usages = st.builds(
    lambda fresh, read, five, hour, output, thought, searches: Usage(
        input_tokens=fresh + read + five + hour,
        output_tokens=output + thought,
        cached_input_tokens=read,
        cache_write_tokens=five + hour,
        cache_write_1h_tokens=hour,
        reasoning_tokens=thought,
        server_tool_calls={"web_search": searches} if searches else {},
    ),
    *(st.integers(0, 999) for _ in range(7)),
)


@given(choices(), usages)
def test_a_rendered_message_reads_the_same(choice: Choice, usage: Usage) -> None:
    completion = Completion(id="msg_1", model="m", provider="p", choices=(choice,), usage=usage)
    reply = HttpReply(status=200, headers={}, body=orjson.dumps(rendered(completion)))
    assert ANTHROPIC.decode(reply, TARGET) == completion


@given(choices(), usages)
def test_a_rendered_stream_reads_the_same(choice: Choice, usage: Usage) -> None:
    completion = Completion(id="msg_1", model="m", provider="p", choices=(choice,), usage=usage)
    data = wire(deltas_of(0, choice), completion)
    events(data)
    again = read_back(data)
    assert again.choices == (choice,)
    assert again.usage == usage


@given(st.lists(objects, min_size=2, max_size=4), st.data())
def test_calls_mixed_in_any_way_read_the_same(values: list[dict[str, Any]], data: st.DataObject) -> None:
    left = [[text[at : at + 3] for at in range(0, len(text), 3)] for text in (orjson.dumps(v).decode() for v in values)]
    deltas = [piece(at, call=f"toolu_{at}", name="f") for at in range(len(values))]
    while any(left):
        at = data.draw(st.sampled_from([number for number, pieces in enumerate(left) if pieces]))
        deltas.append(piece(at, left[at].pop(0)))
    deltas.append(Delta(finish_reason=FinishReason.TOOL_CALLS))
    completion = Completion(id="msg_1", model="m", choices=fold(deltas), usage=USAGE)
    out = wire(deltas, completion)
    events(out)
    assert read_back(out).choices == completion.choices


@given(st.dictionaries(words, st.text(max_size=5) | st.lists(words, max_size=2), max_size=3), st.integers(1, 5))
def test_an_object_is_whole_exactly_at_its_end(value: dict[str, Any], size: int) -> None:
    text = orjson.dumps(value).decode()
    arguments = Arguments()
    for at in range(0, len(text), size):
        assert not arguments.whole()
        assert arguments.add(text[at : at + size]) == text[at : at + size]
    assert arguments.whole()
    assert arguments.rest() == ""


# ---- errors


def test_every_kind_has_a_status_and_a_type() -> None:
    assert ERRORS.keys() == set(FailureKind)


@pytest.mark.parametrize("kind", list(FailureKind))
def test_errors_stand_in_the_apis_envelope(kind: FailureKind) -> None:
    failure = Failure(kind=kind, provider="p", detail="it broke", param="messages[0]", request_id="req_1")
    status, headers, body = SURFACE.error(failure)
    assert status >= 400
    assert headers["x-should-retry"] == str(failure.handling.client_retry).lower()
    assert body["type"] == "error"
    assert body["error"]["message"] == "p: it broke"
    assert body["error"]["details"] == {"error_code": kind.value, "param": "messages[0]"}
    assert body["request_id"] == "req_1"


@pytest.mark.parametrize(
    ("failure", "status", "word"),
    [
        (Failure(kind=FailureKind.BAD_REQUEST), 400, "invalid_request_error"),
        (Failure(kind=FailureKind.BAD_KEY, code="invalid_api_key"), 401, "authentication_error"),
        (Failure(kind=FailureKind.QUOTA_EXHAUSTED), 402, "billing_error"),
        (Failure(kind=FailureKind.MODEL_NOT_FOUND), 404, "not_found_error"),
        (Failure(kind=FailureKind.BAD_REQUEST, code="unknown_url"), 404, "not_found_error"),
        (Failure(kind=FailureKind.BAD_REQUEST, code="method_not_allowed"), 405, "invalid_request_error"),
        (Failure(kind=FailureKind.TOO_LARGE), 413, "request_too_large"),
        (Failure(kind=FailureKind.RATE_LIMITED), 429, "rate_limit_error"),
        (Failure(kind=FailureKind.BUDGET_EXCEEDED), 429, "rate_limit_error"),
        (Failure(kind=FailureKind.INTERNAL), 500, "api_error"),
        # Our key, not the caller's.
        (Failure(kind=FailureKind.UNAUTHENTICATED, code="invalid_api_key"), 502, "api_error"),
        (Failure(kind=FailureKind.TIMED_OUT), 504, "timeout_error"),
        (Failure(kind=FailureKind.OVERLOADED), 529, "overloaded_error"),
    ],
)
def test_errors_have_anthropics_words(failure: Failure, status: int, word: str) -> None:
    said = SURFACE.error(failure)
    assert (said.status, said.body["error"]["type"]) == (status, word)


def test_a_refused_key_of_ours_is_not_told_as_the_callers() -> None:
    said = SURFACE.error(Failure(kind=FailureKind.UNAUTHENTICATED, code="invalid_api_key")).body
    assert said["error"]["details"] == {"error_code": "unauthenticated"}


def test_a_wait_is_passed_on() -> None:
    headers = SURFACE.error(Failure(kind=FailureKind.RATE_LIMITED, retry_after_s=1.5)).headers
    assert headers == {"x-should-retry": "true", "retry-after": "2", "retry-after-ms": "1500"}


def test_our_error_reads_as_the_same_kind() -> None:
    for kind in (FailureKind.RATE_LIMITED, FailureKind.OVERLOADED, FailureKind.TOO_LARGE, FailureKind.QUOTA_EXHAUSTED):
        said = SURFACE.error(Failure(kind=kind, detail="x"))
        reply = HttpReply(status=said.status, headers=said.headers, body=orjson.dumps(said.body))
        read = ANTHROPIC.decode(reply, TARGET)
        assert isinstance(read, Failure)
        assert read.kind is kind


# ---- parsing, counting, models


def test_a_request_must_say_how_long_the_answer_may_be_and_a_count_need_not() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    failure = parse_request(body)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.param) == (FailureKind.BAD_REQUEST, "max_tokens")
    assert "max_tokens is missing" in SURFACE.error(failure).body["error"]["message"]
    assert isinstance(parse_request({**body, "max_tokens": 9}), Request)
    counted = parse_count({**body, "system": "be brief"})
    assert isinstance(counted, Request)
    assert counted.sampling.max_tokens is None
    wrong = parse_count({"model": "m"})
    assert isinstance(wrong, Failure)
    assert wrong.param == "messages"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"tools": [{"name": 7}]}, "tools[0].name"),
        ({"tool_choice": {"type": "maybe"}}, "tool_choice.type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], param: str) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **change}
    failure = parse_request(body)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.param) == (FailureKind.BAD_REQUEST, param)


def test_a_count_of_tokens() -> None:
    assert render_count(12) == {"input_tokens": 12}
    assert render_count(12, estimated=True) == {"input_tokens": 12, "estimated": True}


MODELS = [
    ModelInfo(provider="p", model="a", name="Model A", context_length=200_000, max_output_tokens=64_000),
    ModelInfo(provider="p", model="b", deprecated=True),
    ModelInfo(provider="q", model="c"),
]


def test_a_list_of_models() -> None:
    said = render_models(MODELS)
    assert said["data"][0] == {
        "type": "model",
        "id": "p/a",
        "display_name": "Model A",
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
    }
    assert said["data"][1]["lifecycle"] == "deprecated"
    assert (said["has_more"], said["first_id"], said["last_id"]) == (False, "p/a", "q/c")
    assert render_models([]) == {"data": [], "has_more": False, "first_id": None, "last_id": None}
    reply = HttpReply(status=200, headers={}, body=orjson.dumps(said))
    assert ANTHROPIC.decode_models(reply, TARGET) == ("p/a", "p/b", "q/c")


@pytest.mark.parametrize(
    ("page", "ids", "more"),
    [
        ({"limit": 2}, ["p/a", "p/b"], True),
        ({"limit": 2, "after_id": "p/b"}, ["q/c"], False),
        ({"limit": 1, "before_id": "q/c"}, ["p/b"], True),
        ({"after_id": "unknown"}, ["p/a", "p/b", "q/c"], False),
        ({"after_id": "q/c"}, [], False),
    ],
)
def test_pages_of_models(page: dict[str, Any], ids: list[str], more: bool) -> None:
    said = render_models(MODELS, **page)
    assert ([one["id"] for one in said["data"]], said["has_more"]) == (ids, more)
