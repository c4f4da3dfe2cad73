"""Cohere's answers: replies, streams, errors, vectors, lists. Its requests are in `test_cohere_dialect`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.cohere import Cohere
from runtime.fold import fold
from runtime.outcome import Completion, Delta, Embeddings, Failure, FailureKind, FinishReason, Outcome, Usage
from runtime.request import EmbedRequest, NativePart, ReasoningPart, TextPart, ToolCall

Json = Any

COHERE = Cohere()
TARGET = Target(provider="co", base_url="https://api.cohere.com", model="command-x", api_key="key-123")


def decoded(body: Json, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Outcome:
    return COHERE.decode(HttpReply(status=status, headers=headers or {}, body=orjson.dumps(body)), TARGET)


def completed(body: Json) -> Completion:
    outcome = decoded(body)
    assert isinstance(outcome, Completion), outcome
    return outcome


def failed(body: Json, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Failure:
    outcome = decoded(body, status=status, headers=headers)
    assert isinstance(outcome, Failure), outcome
    return outcome


def wire(*events: Json, done: bool = True) -> bytes:
    said = b"".join(b"event: %s\ndata: %s\n\n" % (one["type"].encode(), orjson.dumps(one)) for one in events)
    return said + (b"data: [DONE]\n\n" if done else b"")


def read(data: bytes) -> tuple[list[Delta], Outcome]:
    decoder = COHERE.decoder(TARGET)
    return list(decoder.feed(data)), decoder.finish()


def streamed(*events: Json) -> tuple[list[Delta], Completion]:
    deltas, outcome = read(wire(*events))
    assert isinstance(outcome, Completion), outcome
    assert fold(deltas) == outcome.choices
    return deltas, outcome


def event(kind: str, index: int | None = None, **message: Json) -> Json:
    at = {} if index is None else {"index": index}
    return {"type": kind, **at, "delta": {"message": message}}


START = {"type": "message-start", "id": "m1", "delta": {"message": {"role": "assistant"}}}


def end(word: str = "COMPLETE", **more: Json) -> Json:
    return {"type": "message-end", "delta": {"finish_reason": word, **more}}


def said(**message: Json) -> Json:
    return {"id": "m1", "message": {"role": "assistant", **message}, "finish_reason": "COMPLETE"}


# Whole replies.


def test_text_usage_and_who_answered() -> None:
    body = said(content=[{"type": "text", "text": "hi"}]) | {
        "usage": {
            "billed_units": {"input_tokens": 5.0, "output_tokens": 2},
            "tokens": {"input_tokens": 70, "output_tokens": 9, "reasoning_tokens": 4},
            "cached_tokens": 64,
        }
    }
    answer = completed(body)
    assert (answer.id, answer.model, answer.provider, answer.text) == ("m1", "command-x", "co", "hi")
    assert answer.finish_reason is FinishReason.STOP
    assert answer.usage == Usage(
        input_tokens=70,
        output_tokens=9,
        cached_input_tokens=64,
        reasoning_tokens=4,
        billed_input_tokens=5,
        billed_output_tokens=2,
    )


def test_images_count_beside_the_input_they_belong_to() -> None:
    usage = {
        "billed_units": {"input_tokens": 267, "output_tokens": 5},
        "tokens": {"input_tokens": 34, "image_tokens": 259},
    }
    answer = completed(said(content=[]) | {"usage": usage})
    assert answer.usage.input_tokens == 293
    assert answer.extra == {"image_tokens": 259}


def test_what_is_charged_by_the_call() -> None:
    usage = {"billed_units": {"input_tokens": 1, "output_tokens": 1, "search_units": 2.0, "classifications": 0}}
    answer = completed(said(content=[]) | {"usage": usage})
    assert answer.usage.server_tool_calls == {"search_units": 2}
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (1, 1)


def test_usage_that_is_not_reported_must_be_estimated() -> None:
    assert completed(said(content=[])).usage == Usage(estimated=True)


def test_thoughts_plan_and_calls_in_their_order() -> None:
    body = said(
        content=[{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": ""}],
        tool_plan="I will ask.",
        tool_calls=[
            {"id": "f_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
            {"type": "function", "function": {"name": "f", "arguments": "{}"}},
        ],
    )
    answer = completed({**body, "finish_reason": "TOOL_CALL"})
    assert answer.choices[0].parts == (
        ReasoningPart(text="hm"),
        ReasoningPart(text="I will ask."),
        ToolCall(id="f_1", name="f", arguments='{"a":1}'),
        ToolCall(id="raygate_call_m1_1", name="f", arguments="{}"),
    )
    assert answer.finish_reason is FinishReason.TOOL_CALLS


def test_null_is_as_good_as_nothing() -> None:
    answer = completed(said(content=None, tool_calls=None, tool_plan=None, citations=None))
    assert answer.choices[0].parts == ()
    assert completed(said(content="hi")).text == "hi"


def test_citations_belong_to_the_text_that_they_name() -> None:
    first = {"start": 0, "end": 2, "text": "hi", "sources": [{"type": "tool", "id": "c:0"}], "type": "TEXT_CONTENT"}
    plan = {"start": 0, "end": 1, "text": "I", "type": "PLAN"}
    body = said(
        content=[{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "hi"}],
        citations=[{**first, "content_index": 1}, plan],
    )
    choice = completed(body).choices[0]
    assert choice.parts[1] == TextPart("hi", citations=({**first, "content_index": 1},))
    assert choice.extra == {"citations": [plan]}
    assert completed(said(content=[{"type": "text", "text": "hi"}], citations=[first])).choices[0].parts == (
        TextPart("hi", citations=(first,)),
    )


@pytest.mark.parametrize(
    ("word", "reason", "kept"),
    [
        ("COMPLETE", FinishReason.STOP, None),
        ("STOP_SEQUENCE", FinishReason.STOP, "STOP_SEQUENCE"),
        ("MAX_TOKENS", FinishReason.LENGTH, None),
        ("TOOL_CALL", FinishReason.TOOL_CALLS, None),
        ("TIRED", FinishReason.OTHER, "TIRED"),
    ],
)
def test_why_an_answer_ended(word: str, reason: FinishReason, kept: str | None) -> None:
    choice = completed({**said(content=[]), "finish_reason": word}).choices[0]
    assert (choice.finish_reason, choice.extra.get("finish_reason")) == (reason, kept)


@pytest.mark.parametrize(("word", "kind"), [("ERROR", FailureKind.UNAVAILABLE), ("TIMEOUT", FailureKind.TIMED_OUT)])
def test_an_answer_that_ended_in_an_error_is_none(word: str, kind: FailureKind) -> None:
    assert failed({**said(content=[{"type": "text", "text": "ha"}]), "finish_reason": word}).kind is kind


def test_logprobs_are_told_as_openai_does() -> None:
    logs = [
        {"text": "Hé", "token_ids": [7], "logprobs": [-0.5]},
        {"text": "!", "token_ids": [8, 9], "logprobs": [-1, -2]},
    ]
    found = completed(said(content=[]) | {"logprobs": logs}).choices[0].logprobs
    assert [(one["token"], one["logprob"], one["token_ids"]) for one in found["content"]] == [
        ("Hé", -0.5, [7]),
        ("!", -3.0, [8, 9]),
    ]
    assert found["content"][0]["bytes"] == [72, 195, 169]


def test_what_is_new_in_a_reply_is_kept() -> None:
    body = said(content=[{"type": "chart", "chart": 1}, {"type": "text", "text": "hi"}], mood="good") | {
        "prompt": "<p>"
    }
    answer = completed(body)
    assert answer.choices[0].parts[0] == NativePart(dialect="cohere", kind="chart", value={"type": "chart", "chart": 1})
    assert (answer.choices[0].extra, answer.extra) == ({"mood": "good"}, {"prompt": "<p>"})


def test_a_reply_that_is_no_chat_is_malformed() -> None:
    assert failed({"choices": []}).kind is FailureKind.MALFORMED
    assert failed([]).kind is FailureKind.MALFORMED


# Errors.


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FailureKind.BAD_REQUEST),
        (401, FailureKind.UNAUTHENTICATED),
        (402, FailureKind.QUOTA_EXHAUSTED),
        (403, FailureKind.FORBIDDEN),
        (404, FailureKind.MODEL_NOT_FOUND),
        (422, FailureKind.BAD_REQUEST),
        (429, FailureKind.RATE_LIMITED),
        (498, FailureKind.CONTENT_FILTERED),
        (499, FailureKind.UNAVAILABLE),
        (500, FailureKind.UNAVAILABLE),
        (501, FailureKind.UNSUPPORTED),
        (503, FailureKind.OVERLOADED),
        (504, FailureKind.TIMED_OUT),
    ],
)
def test_the_status_says_what_kind_of_failure_it_is(status: int, kind: FailureKind) -> None:
    failure = failed({"id": "e1", "message": "no"}, status=status)
    assert (failure.kind, failure.status, failure.detail) == (kind, status, "no")
    page = COHERE.decode(HttpReply(status=status, headers={}, body=b"<html>"), TARGET)
    assert isinstance(page, Failure)
    assert page.kind is kind


def test_an_error_type_says_it_better() -> None:
    failure = failed({"id": "e1", "error_type": "TOO_MANY_TOKENS", "message": "too many"}, status=400)
    assert (failure.kind, failure.code) == (FailureKind.CONTEXT_OVERFLOW, "TOO_MANY_TOKENS")


def test_a_wait_is_read_and_a_key_is_not_shown() -> None:
    failure = failed({"message": "key-123 is too fast"}, status=429, headers={"retry-after": "2"})
    assert failure.retry_after_s == 2.0
    assert "key-123" not in failure.detail


def test_an_error_inside_a_200_is_one() -> None:
    assert failed({"id": "e1", "message": "it broke"}).detail == "it broke"


# Streams.


def test_a_stream_of_thoughts_text_and_citations() -> None:
    citation = {"start": 0, "end": 2, "text": "hi", "content_index": 1, "type": "TEXT_CONTENT"}
    deltas, answer = streamed(
        START,
        event("content-start", 0, content={"type": "thinking", "thinking": ""}),
        event("content-delta", 0, content={"thinking": "h"}),
        event("content-delta", 0, content={"thinking": "m"}),
        event("content-end", 0),
        event("content-start", 1, content={"type": "text", "text": ""}),
        event("content-delta", 1, content={"text": "hi"}),
        event("citation-start", 0, citations=citation),
        event("citation-end", 0),
        event("content-delta", 1, content={"text": " you"}),
        event("content-end", 1),
        end(usage={"tokens": {"input_tokens": 3, "output_tokens": 4}, "cached_tokens": 1}),
    )
    assert [(one.reasoning, one.text) for one in deltas if one.has_content] == [
        ("h", ""),
        ("m", ""),
        ("", "hi"),
        ("", " you"),
    ]
    assert answer.choices[0].parts == (ReasoningPart(text="hm"), TextPart("hi you", citations=(citation,)))
    assert (answer.id, answer.model, answer.finish_reason) == ("m1", "command-x", FinishReason.STOP)
    assert answer.usage == Usage(input_tokens=3, output_tokens=4, cached_input_tokens=1)


def call_start(index: int, **call: Json) -> Json:
    return event("tool-call-start", index, tool_calls={"type": "function", **call})


def arguments(index: int, text: str) -> Json:
    return event("tool-call-delta", index, tool_calls={"function": {"arguments": text}})


def test_a_stream_of_a_plan_and_parallel_calls_of_one_name() -> None:
    deltas, answer = streamed(
        START,
        event("tool-plan-delta", tool_plan="I will"),
        event("tool-plan-delta", tool_plan=" ask."),
        call_start(0, id="f_1", function={"name": "f", "arguments": ""}),
        arguments(0, '{"a"'),
        arguments(0, ":1}"),
        event("tool-call-end", 0),
        call_start(1, id="f_2", function={"name": "f", "arguments": ""}),
        event("tool-call-end", 1),
        end("TOOL_CALL"),
    )
    assert answer.choices[0].parts == (
        ReasoningPart(text="I will ask."),
        ToolCall(id="f_1", name="f", arguments='{"a":1}'),
        ToolCall(id="f_2", name="f", arguments=""),
    )
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert [one.tool_calls[0].position for one in deltas if one.tool_calls] == [0, 0, 0, 1]


def test_calls_are_told_apart_also_where_a_host_is_careless() -> None:
    _, answer = streamed(
        START,
        event("tool-call-start", 0, tool_calls=[{"function": {"name": "f", "arguments": "{}"}}]),
        call_start(0, id="b", function={"name": "g", "arguments": ""}),
        arguments(0, "{}"),
        arguments(7, "[]"),
        end("TOOL_CALL"),
    )
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [
        ("raygate_call_m1_0", "f", "{}"),
        ("b", "g", "{}"),
        ("raygate_call_m1_2", "", "[]"),
    ]


def test_a_thought_and_a_plan_are_two_parts_and_so_are_two_texts() -> None:
    _, answer = streamed(
        START,
        event("content-delta", 0, content={"thinking": "hm"}),
        event("tool-plan-delta", tool_plan="ask"),
        event("content-start", 0, content={"type": "text", "text": "a"}),
        event("content-start", 1, content={"type": "text", "text": "b"}),
        end(),
    )
    assert answer.choices[0].parts == (
        ReasoningPart(text="hm"),
        ReasoningPart(text="ask"),
        TextPart("a"),
        TextPart("b"),
    )


def test_a_citation_that_is_not_of_a_text_is_kept_beside() -> None:
    plan = {"text": "ask", "type": "PLAN"}
    early = {"text": "?", "type": "TEXT_CONTENT"}
    _, answer = streamed(
        START,
        event("citation-start", 0, citations=early),
        event("tool-plan-delta", tool_plan="ask"),
        event("citation-start", 1, citations=plan),
        end(),
    )
    assert answer.choices[0].extra == {"citations": [early, plan]}


def test_logprobs_of_a_stream() -> None:
    log = {"text": "a", "token_ids": [1], "logprobs": [-0.25]}
    _, answer = streamed(
        START,
        {**event("content-delta", 0, content={"text": "a"}), "logprobs": log},
        {**event("content-delta", 0, content={"text": "b"}), "logprobs": {**log, "text": "b"}},
        end("MAX_TOKENS"),
    )
    assert [one["token"] for one in answer.choices[0].logprobs["content"]] == ["a", "b"]
    assert answer.finish_reason is FinishReason.LENGTH


def test_what_is_new_in_a_stream_is_kept_or_passed_over() -> None:
    _, answer = streamed(
        START,
        {"type": "debug", "prompt": "<p>"},
        {"type": "weather", "delta": 1},
        event("content-start", 0, content={"type": "chart", "chart": 1}),
        event("content-delta", 0, content={"text": "x"}),
        end(usage={"tokens": {"input_tokens": 1, "image_tokens": 2}}),
    )
    assert answer.choices[0].parts == (
        NativePart(dialect="cohere", kind="chart", value={"type": "chart", "chart": 1}),
        TextPart("x"),
    )
    assert answer.extra == {"prompt": "<p>", "image_tokens": 2}


def test_a_stream_may_end_with_an_error() -> None:
    for last, kind in (
        (end("ERROR", error="it broke"), FailureKind.UNAVAILABLE),
        (end("TIMEOUT"), FailureKind.TIMED_OUT),
        (end("COMPLETE", error="it broke"), FailureKind.UNAVAILABLE),
        ({"type": "error", "message": "it broke"}, FailureKind.UNAVAILABLE),
    ):
        _, outcome = read(wire(START, event("content-delta", 0, content={"text": "a"}), last))
        assert isinstance(outcome, Failure)
        assert outcome.kind is kind


def test_an_error_may_come_instead_of_an_event() -> None:
    decoder = COHERE.decoder(TARGET)
    body = {"id": "e1", "message": "too many", "error_type": "TOO_MANY_TOKENS"}
    assert list(decoder.feed(wire(START, done=False) + b"data: " + orjson.dumps(body) + b"\n\n")) == []
    assert decoder.ended
    outcome = decoder.finish()
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.CONTEXT_OVERFLOW


def test_only_the_message_end_makes_a_stream_complete() -> None:
    whole = wire(START, event("content-delta", 0, content={"text": "a"}), end())
    _, outcome = read(wire(START, event("content-delta", 0, content={"text": "a"})))
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.INTERRUPTED
    decoder = COHERE.decoder(TARGET)
    decoder.feed(whole.removesuffix(b"data: [DONE]\n\n"))
    assert decoder.ended
    assert isinstance(decoder.finish(), Completion)
    # The last blank line may be missing: whole JSON proves that nothing was cut.
    assert isinstance(read(whole.removesuffix(b"\n\ndata: [DONE]\n\n"))[1], Completion)
    late = wire(START, event("content-delta", 0, content={"text": "a"}), done=False).removesuffix(b"\n\n")
    assert isinstance(read(late)[1], Failure)


@pytest.mark.parametrize("data", [b'{"message":"no stream"}', b"<html>", b"data: {oops\n\n", b"data: [1]\n\n"])
def test_what_is_no_stream_is_malformed(data: bytes) -> None:
    _, outcome = read(data)
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.MALFORMED


# Embeddings, models, health.


@pytest.mark.parametrize(
    ("purpose", "word", "dropped"),
    [
        (None, "search_document", ()),
        ("document", "search_document", ()),
        ("query", "search_query", ()),
        ("classification", "classification", ()),
        ("clustering", "clustering", ()),
        ("similarity", "search_document", ("purpose",)),
    ],
)
def test_embeddings_say_what_they_are_for(purpose: Any, word: str, dropped: tuple[str, ...]) -> None:
    request = EmbedRequest(inputs=("a", "b"), dimensions=256, purpose=purpose)
    call = COHERE.encode_embed(request, TARGET)
    assert isinstance(call, HttpCall)
    assert call.url == "https://api.cohere.com/v2/embed"
    assert orjson.loads(call.body) == {
        "model": "command-x",
        "texts": ["a", "b"],
        "input_type": word,
        "embedding_types": ["float"],
        "output_dimension": 256,
    }
    assert call.dropped == dropped


def test_embeddings_extras() -> None:
    request = EmbedRequest(inputs=("a",), extra={"truncate": "END"}, dialect="cohere", user="u")
    call = COHERE.encode_embed(request, TARGET)
    assert isinstance(call, HttpCall)
    assert orjson.loads(call.body)["truncate"] == "END"
    assert call.dropped == ("user",)
    foreign = COHERE.encode_embed(replace(request, dialect="openai"), TARGET)
    assert isinstance(foreign, HttpCall)
    assert foreign.dropped == ("user", "truncate")


def embedded(body: Json, status: int = 200) -> Embeddings | Failure:
    return COHERE.decode_embed(HttpReply(status=status, headers={}, body=orjson.dumps(body)), TARGET)


def test_vectors_and_what_they_cost() -> None:
    body = {
        "id": "e1",
        "response_type": "embeddings_by_type",
        "embeddings": {"float": [[1, 0.5], [-1, 0]]},
        "texts": ["a", "b"],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 4}},
    }
    answer = embedded(body)
    assert isinstance(answer, Embeddings)
    assert answer.vectors == ((1.0, 0.5), (-1.0, 0.0))
    assert answer.usage == Usage(input_tokens=4, billed_input_tokens=4)
    bare = embedded({"embeddings": [[1]]})
    assert isinstance(bare, Embeddings)
    assert bare.usage.estimated


@pytest.mark.parametrize("said", [None, {}, {"float": []}, {"float": [["a"]]}, {"float": [[True]]}, {"int8": [[1]]}])
def test_no_vectors_are_malformed(said: Json) -> None:
    answer = embedded({"embeddings": said})
    assert isinstance(answer, Failure)
    assert answer.kind is FailureKind.MALFORMED


def test_embeddings_fail_like_chats() -> None:
    answer = embedded({"message": "no"}, status=401)
    assert isinstance(answer, Failure)
    assert answer.kind is FailureKind.UNAUTHENTICATED


def test_models_are_listed_by_name() -> None:
    call = COHERE.list_models(TARGET)
    assert isinstance(call, HttpCall)
    assert (call.method, call.url) == ("GET", "https://api.cohere.com/v1/models?page_size=1000")
    assert call.headers["authorization"] == "Bearer key-123"
    body = {"models": [{"name": "command-x", "endpoints": ["chat"]}, {"name": "embed-y"}, {}, 7]}
    reply = HttpReply(status=200, headers={}, body=orjson.dumps(body))
    assert COHERE.decode_models(reply, TARGET) == ("command-x", "embed-y")
    empty = COHERE.decode_models(replace(reply, body=b"{}"), TARGET)
    assert isinstance(empty, Failure)


def test_health_costs_nothing_and_proves_the_key() -> None:
    call = COHERE.health(TARGET)
    assert isinstance(call, HttpCall)
    assert (call.method, call.url) == ("GET", "https://api.cohere.com/v1/models?page_size=1")
    assert COHERE.decode_health(HttpReply(status=200, headers={}, body=b'{"models":[]}'), TARGET) is None
    refused = COHERE.decode_health(HttpReply(status=401, headers={}, body=b'{"message":"no"}'), TARGET)
    assert refused is not None
    assert refused.kind is FailureKind.UNAUTHENTICATED


# What the first system got wrong.


def test_run_defect_ids_of_tool_calls_are_the_providers_own() -> None:
    calls = [{"id": f"f_{at}", "function": {"name": "f", "arguments": "{}"}} for at in range(2)]
    assert [call.id for call in completed(said(tool_calls=calls)).tool_calls] == ["f_0", "f_1"]


def test_run_defect_an_unknown_model_does_not_break_a_paid_answer() -> None:
    reply = HttpReply(status=200, headers={}, body=orjson.dumps(said(content=[{"type": "text", "text": "hi"}])))
    answer = COHERE.decode(reply, replace(TARGET, model="command-of-tomorrow"))
    assert isinstance(answer, Completion)
    assert (answer.text, answer.model) == ("hi", "command-of-tomorrow")


def test_run_defect_a_version_1_stream_of_lines_is_no_stream() -> None:
    lines = b'{"event_type":"text-generation","text":"a"}\n{"event_type":"stream-end","finish_reason":"COMPLETE"}\n'
    _, outcome = read(lines)
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.MALFORMED


def test_run_defect_streams_say_why_they_ended_and_calls_are_streamed() -> None:
    deltas, answer = streamed(START, call_start(0, id="c", function={"name": "f", "arguments": "{}"}), end("TOOL_CALL"))
    assert deltas[0].tool_calls[0].name == "f"
    assert answer.finish_reason is FinishReason.TOOL_CALLS


def test_run_defect_broken_json_in_a_stream_is_not_swallowed() -> None:
    _, outcome = read(wire(START, done=False) + b'data: {"type":"content-delta"\n\n' + wire(end()))
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.MALFORMED
