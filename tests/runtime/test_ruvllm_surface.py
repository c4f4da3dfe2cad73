"""Our own ruvLLM endpoints: the five fields of an answer, sentences for errors, and no claim to have learnt."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dialects.base import HttpReply, Target
from runtime.dialects.ruvllm import RuvLLM
from runtime.dialects.ruvllm.surface import (
    Feedback,
    RuvLLMSurface,
    parse_feedback,
    parse_request,
    parse_session,
    render_session,
    render_sona_metrics,
    render_stats,
)
from runtime.dialects.surface import Surface
from runtime.fold import deltas_of
from runtime.outcome import (
    HANDLING,
    Choice,
    Completion,
    Cost,
    Delta,
    Failure,
    FailureKind,
    FinishReason,
    Outcome,
    StreamEnd,
    StreamStart,
    Usage,
)
from runtime.request import AudioPart, NativePart, ReasoningPart, Request, TextPart, ask

SURFACE: Surface = RuvLLMSurface()
RUVLLM = RuvLLM()
TARGET = Target(provider="p", base_url="http://127.0.0.1:3000", model="ruvector-auto")
ASKED = ask("hi")


def completion(*choices: Choice, **fields: Any) -> Completion:
    named: dict[str, Any] = {"id": "c1", "model": "m", "usage": Usage(input_tokens=3, output_tokens=5)}
    return Completion(choices=choices, **(named | fields))


def read(body: bytes) -> Completion:
    found = RUVLLM.decode(HttpReply(status=200, headers={}, body=body), TARGET)
    assert isinstance(found, Completion), found
    return found


def streamed(outcome: Outcome, deltas: list[Delta]) -> bytes:
    renderer = SURFACE.renderer(ASKED)
    found = [renderer.keep_alive(), *renderer.render(StreamStart(id="c1", provider="p", model="m"))]
    for delta in deltas:
        found += renderer.render(delta)
    return b"".join(found + renderer.render(StreamEnd(outcome=outcome)))


def test_an_answer_has_its_five_fields() -> None:
    assert SURFACE.render(completion(Choice.of("hello"), latency_s=0.25), ASKED) == {
        "text": "hello",
        "model_used": "m",
        "context_size": 3,
        "confidence": None,
        "latency_ms": 250.0,
    }


def test_what_it_cost_and_what_was_estimated_is_said() -> None:
    whole = completion(Choice.of("a"), usage=Usage(input_tokens=3, estimated=True), cost=Cost(total_nanousd=2_000))
    body = SURFACE.render(whole, ASKED)
    assert (body["estimated"], body["cost"]) == (True, 2e-06)


def test_what_a_ruvllm_behind_us_said_is_passed_on() -> None:
    said = {"text": "a", "model_used": "m", "context_size": 9, "confidence": 0.5, "latency_ms": 7.5, "sources": [1]}
    assert SURFACE.render(read(orjson.dumps(said)), ASKED) == said | {"estimated": True}
    odd = completion(Choice.of("a"), extra={"confidence": "high", "latency_ms": True, "error": "x", "cost": "much"})
    body = SURFACE.render(odd, ASKED)
    assert (body["confidence"], body["latency_ms"]) == (None, 0.0)
    assert not {"error", "cost"} & body.keys()


def test_what_has_no_word_is_left_out_and_the_text_around_it_stays() -> None:
    parts = (
        ReasoningPart(text="hm", signature="s"),
        TextPart("a"),
        NativePart(dialect="anthropic", kind="server_tool_use", value={}),
        AudioPart(data="AAAA", extra={"transcript": "b"}),
        AudioPart(data="AAAA"),
        TextPart("c"),
    )
    assert SURFACE.render(completion(Choice(parts=parts, refusal="no")), ASKED)["text"] == "abcno"
    assert SURFACE.render(completion(), ASKED)["text"] == ""


@given(text=st.text(), model=st.text(min_size=1), latency_s=st.floats(0, 9), tokens=st.integers(0, 9))
def test_an_answer_that_we_render_reads_the_same(text: str, model: str, latency_s: float, tokens: int) -> None:
    choice = Choice.of(text, finish_reason=FinishReason.STOP)
    whole = completion(choice, model=model, latency_s=latency_s, usage=Usage(input_tokens=tokens))
    again = read(orjson.dumps(SURFACE.render(whole, ASKED)))
    assert (again.text, again.model, again.finish_reason) == (text, model, FinishReason.STOP)
    assert again.extra["context_size"] == tokens
    data = streamed(whole, deltas_of(0, choice))
    assert read(data) == again
    decoder = RUVLLM.decoder(TARGET)
    pieces = [delta for byte in data for delta in decoder.feed(bytes([byte]))]
    assert "".join(piece.text for piece in pieces) == text
    assert decoder.finish() == again


def test_a_question_with_its_session() -> None:
    found = parse_request({"query": "hi", "session_id": "s1"})
    assert isinstance(found, Request)
    assert (found.messages[0].text, found.extra, found.stream) == ("hi", {"session_id": "s1"}, False)
    wrong = parse_request({"question": "hi"})
    assert isinstance(wrong, Failure)
    assert wrong.param == "query"


@pytest.mark.parametrize("kind", FailureKind)
def test_errors_are_sentences(kind: FailureKind) -> None:
    failure = Failure(kind=kind, provider="p", detail="why", retry_after_s=2.0)
    status, headers, body = SURFACE.error(failure)
    assert (status, body, headers["retry-after"]) == (HANDLING[kind].status, "p: why", "2")
    again = RUVLLM.decode(HttpReply(status=status, headers={}, body=body.encode()), TARGET)
    assert isinstance(again, Failure)
    # Its own server knows no 404 here: the dialect takes one for another server's.
    assert ("why" in again.detail) is (status != 404)


def test_a_stream_that_broke_is_no_answer() -> None:
    data = streamed(Failure(kind=FailureKind.INTERRUPTED, detail="gone"), [Delta(text="a")])
    assert data == b" gone"
    assert isinstance(RUVLLM.decode(HttpReply(status=200, headers={}, body=data), TARGET), Failure)


def test_feedback() -> None:
    said = {"query": "q", "response": "r", "quality": 1}
    assert parse_feedback(said) == Feedback(query="q", response="r", quality=1.0)
    assert parse_feedback(said | {"quality": 0, "more": 1}) == Feedback(query="q", response="r", quality=0.0)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"query": None}, "query"),
        ({"query": 7}, "query"),
        ({"response": []}, "response"),
        ({"quality": None}, "quality"),
        ({"quality": "good"}, "quality"),
        ({"quality": True}, "quality"),
        ({"quality": 1.1}, "quality"),
        ({"quality": -0.1}, "quality"),
        ({"quality": float("nan")}, "quality"),
    ],
)
def test_feedback_that_is_wrong(change: dict[str, Any], param: str) -> None:
    found = parse_feedback({"query": "q", "response": "r", "quality": 0.5} | change)
    assert isinstance(found, Failure)
    assert (found.kind, found.param) == (FailureKind.BAD_REQUEST, param)
    assert param in found.detail


def test_no_body_but_an_object() -> None:
    for parse in (parse_feedback, parse_session, parse_request):
        found = parse([])
        assert isinstance(found, Failure)
        assert found.param == "body"


def test_sessions() -> None:
    assert parse_session(None) is parse_session({}) is None
    assert parse_session({"session_id": "s1"}) == "s1"
    assert isinstance(parse_session({"session_id": 7}), Failure)
    assert render_session("s1") == {"session_id": "s1"}


def test_numbers_of_the_server() -> None:
    assert render_stats(total_queries=7, cache_hits=2, avg_latency_ms=12.5) == {
        "total_queries": 7,
        "cache_hits": 2,
        "avg_latency_ms": 12.5,
        "memory_nodes": 0,
        "router_updates": 0,
    }
    assert render_stats(total_queries=0, cache_hits=0, avg_latency_ms=float("nan"))["avg_latency_ms"] == 0.0


def test_nothing_is_said_to_be_learnt_where_nothing_is() -> None:
    metrics = render_sona_metrics(None)
    assert (metrics["enabled"], metrics["adaptationsApplied"], metrics["patternsLearned"]) == (False, 0, 0)
    assert metrics["qualityScore"] is None
