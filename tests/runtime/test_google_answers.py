"""Google's dialect: answers, streams, errors, embeddings and models. Fixtures written by hand after its reference."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.encoding import INVENTED
from runtime.dialects.google import Google, parse_embed
from runtime.dialects.google.pieces import ObjectSplitter
from runtime.fold import fold
from runtime.outcome import Completion, Delta, Embeddings, Failure, FailureKind, FinishReason, Outcome, Usage
from runtime.request import (
    EmbedRequest,
    ImagePart,
    NativePart,
    ReasoningPart,
    TextPart,
    ToolCall,
)

GOOGLE = Google()
BASE = "https://generativelanguage.googleapis.com/v1beta"
KEY = "AIzaNotARealKey"


def target(model: str = "gemini-2.5-flash") -> Target:
    return Target(provider="google", base_url=BASE, model=model, api_key=KEY)


def said(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Outcome:
    return GOOGLE.decode(HttpReply(status=status, headers=headers or {}, body=orjson.dumps(body)), target())


def answered(*parts: Any, finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, **more}
    if finish is not None:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 5, "totalTokenCount": 8},
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r1",
    }


def complete(body: Any) -> Completion:
    outcome = said(body)
    assert isinstance(outcome, Completion), outcome
    return outcome


def failed(body: Any, status: int) -> Failure:
    outcome = said(body, status=status)
    assert isinstance(outcome, Failure)
    return outcome


def sse(*chunks: Any) -> bytes:
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\r\n\r\n" for chunk in chunks)


def read(wire: bytes, *cuts: int) -> tuple[list[Delta], Outcome]:
    decoder, edges = GOOGLE.decoder(target()), [0, *sorted(cuts), len(wire)]
    deltas = [delta for a, b in pairwise(edges) for delta in decoder.feed(wire[a:b])]
    return deltas, decoder.finish()


def streamed(wire: bytes) -> Completion:
    deltas, outcome = read(wire)
    assert isinstance(outcome, Completion), outcome
    assert fold(deltas) == outcome.choices
    assert read(wire, *range(len(wire))) == (deltas, outcome)
    return outcome


class TestAnswers:
    def test_text_usage_and_names(self) -> None:
        outcome = complete(answered({"text": "hel"}, {"text": "lo"}))
        assert outcome.choices[0].parts == (TextPart("hel"), TextPart("lo"))
        assert (outcome.text, outcome.id, outcome.model) == ("hello", "r1", "gemini-2.5-flash")
        assert outcome.finish_reason is FinishReason.STOP
        assert outcome.usage == Usage(input_tokens=3, output_tokens=5)

    def test_a_model_that_nobody_knows_is_no_error(self) -> None:
        """The original looked up a price after the paid call, and threw the answer away with a TypeError."""
        body = {**answered({"text": "hi"}), "modelVersion": "gemini-99-unheard-of"}
        assert complete(body).model == "gemini-99-unheard-of"

    def test_all_counts(self) -> None:
        body = answered({"text": "a"}, groundingMetadata={"webSearchQueries": ["a", "b"]})
        body["usageMetadata"] = {
            "promptTokenCount": 10,
            "toolUsePromptTokenCount": 4,
            "candidatesTokenCount": 5,
            "thoughtsTokenCount": 7,
            "cachedContentTokenCount": 6,
            "totalTokenCount": 26,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}, {"modality": "AUDIO", "tokenCount": 2}],
            "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 3}],
            "serviceTier": "standard",
        }
        outcome = complete(body)
        assert outcome.usage == Usage(
            input_tokens=14,
            output_tokens=12,
            cached_input_tokens=6,
            reasoning_tokens=7,
            audio_input_tokens=2,
            audio_output_tokens=3,
            server_tool_calls={"googleSearch": 2},
        )
        assert outcome.usage.total_tokens == 26
        assert outcome.extra == {"serviceTier": "standard"}

    def test_unreported_usage_is_marked(self) -> None:
        body = answered({"text": "a"})
        del body["usageMetadata"]
        assert complete(body).usage.estimated

    def test_thoughts_calls_media_and_native_parts_in_order(self) -> None:
        code = {"executableCode": {"language": "PYTHON", "code": "1"}}
        outcome = complete(
            answered(
                {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
                code,
                {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
                {"functionCall": {"name": "f", "args": {"b": 1, "a": [2]}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"id": "x", "name": "f", "args": {}}},
                {"text": "", "thoughtSignature": "c2ln"},
            )
        )
        assert outcome.choices[0].parts == (
            ReasoningPart(text="hm", signature="c2ln"),
            NativePart(dialect="google", kind="executableCode", value=code),
            ImagePart(data="aGk=", media_type="image/png"),
            ToolCall(id=f"{INVENTED}r1_0", name="f", arguments='{"b":1,"a":[2]}', signature="c2ln"),
            ToolCall(id="x", name="f", arguments="{}"),
            TextPart("", signature="c2ln"),
        )
        assert outcome.finish_reason is FinishReason.TOOL_CALLS

    def test_calls_of_one_answer_have_ids_of_their_own(self) -> None:
        body = answered(*({"functionCall": {"name": "f"}} for _ in range(3)))
        body["candidates"].append({**body["candidates"][0], "index": 1})
        outcome = complete(body)
        ids = [call.id for choice in outcome.choices for call in choice.tool_calls]
        assert len(set(ids)) == 6
        del body["responseId"]
        first = {call.id for call in complete(body).tool_calls}
        body["candidates"][0]["content"]["parts"][0]["functionCall"]["args"] = {"a": 1}
        assert len(first | {call.id for call in complete(body).tool_calls}) == 4

    @pytest.mark.parametrize(
        ("word", "reason", "kept"),
        [
            ("STOP", FinishReason.STOP, False),
            ("MAX_TOKENS", FinishReason.LENGTH, False),
            ("SAFETY", FinishReason.CONTENT_FILTER, True),
            ("RECITATION", FinishReason.CONTENT_FILTER, True),
            ("BLOCKLIST", FinishReason.CONTENT_FILTER, True),
            ("PROHIBITED_CONTENT", FinishReason.CONTENT_FILTER, True),
            ("SPII", FinishReason.CONTENT_FILTER, True),
            ("IMAGE_SAFETY", FinishReason.CONTENT_FILTER, True),
            ("MALFORMED_FUNCTION_CALL", FinishReason.ERROR, True),
            ("UNEXPECTED_TOOL_CALL", FinishReason.ERROR, True),
            ("OTHER", FinishReason.OTHER, True),
            ("LANGUAGE", FinishReason.OTHER, True),
            ("SOMETHING_NEW", FinishReason.OTHER, True),
        ],
    )
    def test_finish_reasons(self, word: str, reason: FinishReason, kept: bool) -> None:
        choice = complete(answered({"text": "a"}, finish=word, finishMessage="m")).choices[0]
        assert choice.finish_reason is reason
        assert choice.extra == {"finishMessage": "m", **({"finish_reason": word} if kept else {})}
        assert streamed(sse(answered({"text": "a"}, finish=word))).finish_reason is reason

    def test_what_else_a_candidate_holds_is_kept(self) -> None:
        more: dict[str, Any] = {
            "safetyRatings": [{"category": "c", "probability": "LOW"}],
            "citationMetadata": {"citationSources": [{"uri": "u"}]},
            "avgLogprobs": -0.1,
            "logprobsResult": {
                "logProbabilitySum": -1.5,
                "chosenCandidates": [{"token": "a", "tokenId": 5, "logProbability": -0.5}],
                "topCandidates": [{"candidates": [{"token": "b", "logProbability": -2}]}],
            },
        }
        choice = complete(answered({"text": "a"}, **more)).choices[0]
        assert choice.logprobs == {
            "content": [{"token": "a", "token_id": 5, "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -2}]}]
        }
        assert choice.extra == {
            "safetyRatings": more["safetyRatings"],
            "citationMetadata": more["citationMetadata"],
            "avgLogprobs": -0.1,
            "logProbabilitySum": -1.5,
        }

    def test_several_candidates_come_in_order(self) -> None:
        body = answered({"text": "a"})
        body["candidates"].insert(0, {"content": {"parts": [{"text": "b"}]}, "finishReason": "STOP", "index": 1})
        del body["candidates"][1]["content"]["role"]
        body["candidates"][1]["index"] = 0
        assert [choice.text for choice in complete(body).choices] == ["a", "b"]

    def test_a_filtered_candidate_without_content_is_an_answer(self) -> None:
        outcome = complete({"candidates": [{"finishReason": "SAFETY"}], "usageMetadata": {"promptTokenCount": 1}})
        assert (outcome.text, outcome.finish_reason) == ("", FinishReason.CONTENT_FILTER)

    def test_a_part_of_a_new_form_is_passed_on_whole(self) -> None:
        strange = {"text": "a", "functionCall": {"name": "f"}}
        assert complete(answered(strange)).choices[0].parts == (
            NativePart(dialect="google", kind="text", value=strange),
        )

    def test_a_blocked_prompt_is_a_failure(self) -> None:
        outcome = said({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}})
        assert isinstance(outcome, Failure)
        assert (outcome.kind, outcome.code) == (FailureKind.CONTENT_FILTERED, "SAFETY")

    @pytest.mark.parametrize("body", [{}, {"candidates": []}, {"candidates": [5]}, [], 5, {"promptFeedback": {}}])
    def test_no_candidates_are_malformed(self, body: Any) -> None:
        outcome = said(body)
        assert isinstance(outcome, Failure)
        assert outcome.kind is FailureKind.MALFORMED


FIRST = answered({"text": "héllo "}, finish=None)
LAST = answered({"text": "wörld"})


class TestStreams:
    def test_text_usage_and_the_finish_reason(self) -> None:
        """The original set no finish reason on streams, and guessed the usage, which could become negative."""
        first = {**FIRST, "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3}}
        outcome = streamed(sse(first, LAST))
        assert (outcome.text, outcome.finish_reason) == ("héllo wörld", FinishReason.STOP)
        assert outcome.choices[0].parts == (TextPart("héllo wörld"),)
        assert outcome.usage == Usage(input_tokens=3, output_tokens=5)
        assert (outcome.id, outcome.model) == ("r1", "gemini-2.5-flash")

    def test_usage_may_follow_the_finish_reason(self) -> None:
        late = {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 9, "totalTokenCount": 12}}
        assert streamed(sse(FIRST, LAST, late)).usage.output_tokens == 9
        decoder = GOOGLE.decoder(target())
        decoder.feed(sse(FIRST, LAST))
        assert not decoder.ended

    def test_calls_come_with_their_ids(self) -> None:
        """The original streamed calls of OpenAI alone."""
        call = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"}
        outcome = streamed(sse(answered(call, finish=None), answered(call), answered({"text": ""})))
        assert [call.id for call in outcome.tool_calls] == [f"{INVENTED}r1_0", f"{INVENTED}r1_1"]
        assert outcome.finish_reason is FinishReason.TOOL_CALLS

    def test_signed_parts_stay_apart(self) -> None:
        outcome = streamed(
            sse(
                answered({"text": "a", "thought": True}, finish=None),
                answered({"text": "b", "thought": True}, finish=None),
                answered({"text": "c"}, finish=None),
                answered({"text": "d", "thoughtSignature": "c2ln"}, finish=None),
                answered({"text": "e"}, finish=None),
                answered({"text": "", "thoughtSignature": "c2lnMg=="}),
            )
        )
        assert outcome.choices[0].parts == (
            ReasoningPart(text="ab"),
            TextPart("c"),
            TextPart("d", signature="c2ln"),
            TextPart("e"),
            TextPart("", signature="c2lnMg=="),
        )

    def test_a_stop_before_code_has_run_is_not_the_end(self) -> None:
        code = {"executableCode": {"language": "PYTHON", "code": "1"}}
        result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
        wire = sse(answered(code), answered(result, finish=None), answered({"text": "one"}))
        assert streamed(wire).text == "one"
        _, outcome = read(sse(answered(code)))
        assert isinstance(outcome, Failure)
        assert outcome.kind is FailureKind.INTERRUPTED
        # A whole reply ends where it ends.
        assert complete(answered(code)).finish_reason is FinishReason.STOP

    def test_more_words_take_a_finish_reason_back(self) -> None:
        _, outcome = read(sse(LAST, FIRST))
        assert isinstance(outcome, Failure)
        assert outcome.kind is FailureKind.INTERRUPTED

    def test_grounding_is_gathered_and_counted_once(self) -> None:
        def chunk(finish: str | None, **grounding: Any) -> Any:
            ratings = [{"category": "c", "probability": finish or "LOW"}]
            return answered({"text": "a"}, finish=finish, groundingMetadata=grounding, safetyRatings=ratings)

        outcome = streamed(
            sse(
                chunk(None),
                chunk(None, webSearchQueries=["q"], groundingChunks=[{"web": {"uri": "1"}}]),
                chunk("STOP", webSearchQueries=["q"], groundingChunks=[{"web": {"uri": "2"}}]),
            )
        )
        assert outcome.choices[0].extra == {
            "groundingMetadata": {
                "webSearchQueries": ["q"],
                "groundingChunks": [{"web": {"uri": "1"}}, {"web": {"uri": "2"}}],
            },
            "safetyRatings": [{"category": "c", "probability": "STOP"}],
        }
        assert outcome.usage.server_tool_calls == {"googleSearch": 1}

    @pytest.mark.parametrize("wire", [sse(FIRST), sse(FIRST, LAST)[:-30], b"", b"[", b"[{", b": hi\n\n"])
    def test_a_broken_stream_is_interrupted(self, wire: bytes) -> None:
        _, outcome = read(wire)
        assert isinstance(outcome, Failure)
        assert outcome.kind is FailureKind.INTERRUPTED

    @pytest.mark.parametrize("end", [b"\r\n\r\n", b"\r\n", b"\n", b"\r", b""])
    def test_a_last_event_may_lack_its_blank_line(self, end: bytes) -> None:
        wire = sse(FIRST, LAST).removesuffix(b"\r\n\r\n") + end
        deltas, outcome = read(wire)
        assert isinstance(outcome, Completion)
        assert "".join(delta.text for delta in deltas) == outcome.text == "héllo wörld"

    @pytest.mark.parametrize(
        "wire",
        [b"<html></html>", b"data: {oops}\r\n\r\n", b"data: 5\r\n\r\n", b'[{"a":1} x', sse(FIRST) + b"data: }\n\n"],
    )
    def test_what_is_no_stream_of_google_is_malformed(self, wire: bytes) -> None:
        """The original swallowed JSON errors in streams."""
        _, outcome = read(wire)
        assert isinstance(outcome, Failure)
        assert outcome.kind is FailureKind.MALFORMED

    @pytest.mark.parametrize("wrap", [lambda error: error, lambda error: [error]])
    def test_an_error_inside_a_stream(self, wrap: Any) -> None:
        error = wrap({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}})
        decoder = GOOGLE.decoder(target())
        assert [delta.text for delta in decoder.feed(sse(FIRST, error, LAST))] == ["héllo "]
        assert decoder.ended
        assert decoder.feed(sse(LAST)) == []
        outcome = decoder.finish()
        assert isinstance(outcome, Failure)
        assert outcome.kind is FailureKind.OVERLOADED

    def test_a_blocked_prompt_in_a_stream(self) -> None:
        _, outcome = read(sse({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}))
        assert isinstance(outcome, Failure)
        assert outcome.kind is FailureKind.CONTENT_FILTERED

    def test_an_array_is_a_stream_too(self) -> None:
        wire = b"[" + orjson.dumps(FIRST) + b"\n,\r\n" + orjson.dumps(LAST) + b"\n]\n"
        assert streamed(wire) == streamed(sse(FIRST, LAST)) == complete([FIRST, LAST])
        decoder = GOOGLE.decoder(target())
        decoder.feed(wire)
        assert decoder.ended
        _, cut = read(wire[:-80])
        assert isinstance(cut, Failure)
        assert cut.kind is FailureKind.INTERRUPTED
        whole = said([FIRST])
        assert isinstance(whole, Failure)
        assert whole.kind is FailureKind.INTERRUPTED

    def test_an_error_in_an_array(self) -> None:
        error = {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}
        for outcome in (read(b"[" + orjson.dumps(FIRST) + b"," + orjson.dumps(error))[1], said([FIRST, error])):
            assert isinstance(outcome, Failure)
            assert outcome.kind is FailureKind.RATE_LIMITED

    def test_a_whole_answer_to_a_streaming_request_is_read(self) -> None:
        assert streamed(orjson.dumps(LAST)).text == "wörld"

    @given(
        st.lists(
            st.recursive(
                st.text(st.sampled_from('{}[]",\\é\n')) | st.integers(-9, 9) | st.none(),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.text('a"}\\', max_size=3), inner, max_size=3)
                ),
                max_leaves=8,
            ).map(lambda value: {"v": value}),
            max_size=4,
        ),
        st.data(),
    )
    def test_the_splitter_finds_the_objects_wherever_the_bytes_are_cut(self, values: Any, data: st.DataObject) -> None:
        wire = orjson.dumps(values, option=data.draw(st.sampled_from([0, orjson.OPT_INDENT_2])))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)))))
        splitter = ObjectSplitter()
        found = [one for a, b in pairwise([0, *cuts, len(wire)]) for one in splitter.feed(wire[a:b])]
        assert [orjson.loads(one) for one in found] == values
        assert splitter.closed
        assert not splitter.broken

    def test_the_splitter_has_a_cap(self) -> None:
        splitter = ObjectSplitter(max_bytes=10)
        assert splitter.feed(b'[{"a":1},{"a":"') == [b'{"a":1}']
        assert splitter.feed(b"x" * 20) == []
        assert splitter.too_large


def error(code: int, status: str, *details: Any, message: str = "m") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17.5s"}


def quota(*ids: str) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaMetric": "m", "quotaId": one} for one in ids],
    }


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "word", "kind"),
        [
            (400, "INVALID_ARGUMENT", FailureKind.BAD_REQUEST),
            (400, "FAILED_PRECONDITION", FailureKind.FORBIDDEN),
            (401, "UNAUTHENTICATED", FailureKind.UNAUTHENTICATED),
            (403, "PERMISSION_DENIED", FailureKind.FORBIDDEN),
            (404, "NOT_FOUND", FailureKind.MODEL_NOT_FOUND),
            (429, "RESOURCE_EXHAUSTED", FailureKind.RATE_LIMITED),
            (413, "RESOURCE_EXHAUSTED", FailureKind.TOO_LARGE),
            (500, "INTERNAL", FailureKind.UNAVAILABLE),
            (501, "UNIMPLEMENTED", FailureKind.UNSUPPORTED),
            (503, "UNAVAILABLE", FailureKind.OVERLOADED),
            (504, "DEADLINE_EXCEEDED", FailureKind.TIMED_OUT),
        ],
    )
    def test_the_word_says_what_it_is(self, status: int, word: str, kind: FailureKind) -> None:
        whole = failed(error(status, word), status)
        assert (whole.kind, whole.status, whole.code, whole.detail) == (kind, status, word, "m")
        assert failed([error(status, word)], status) == whole
        inside = said(error(status, word))
        assert isinstance(inside, Failure)
        assert inside.kind is kind

    def test_a_wrong_key_under_a_400(self) -> None:
        info = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
        }
        failure = failed(error(400, "INVALID_ARGUMENT", info, message=f"API key {KEY} is wrong"), 400)
        assert (failure.kind, failure.code) == (FailureKind.UNAUTHENTICATED, "API_KEY_INVALID")
        assert KEY not in failure.detail

    @pytest.mark.parametrize(
        ("delay", "seconds"),
        [("17s", 17.0), ("1.5s", 1.5), ({"seconds": 3, "nanos": 500_000_000}, 3.5), ("soon", None)],
    )
    def test_the_wait_is_in_the_body(self, delay: Any, seconds: float | None) -> None:
        assert failed(error(429, "RESOURCE_EXHAUSTED", {**RETRY, "retryDelay": delay}), 429).retry_after_s == seconds

    def test_a_quota_by_the_minute_is_a_throttle_and_one_by_the_day_is_exhausted(self) -> None:
        minute = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
        day = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
        throttled = failed(error(429, "RESOURCE_EXHAUSTED", quota(minute), RETRY), 429)
        assert (throttled.kind, throttled.retry_after_s) == (FailureKind.RATE_LIMITED, 17.5)
        exhausted = failed(error(429, "RESOURCE_EXHAUSTED", quota(minute, day), RETRY), 429)
        assert (exhausted.kind, exhausted.retry_after_s) == (FailureKind.QUOTA_EXHAUSTED, 17.5)
        assert not exhausted.retryable

    def test_a_quota_of_a_model_shuts_that_model_alone(self) -> None:
        """Shape as quoted in google-gemini/gemini-cli#8437."""
        named = {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel", "quotaDimensions": {"model": "gemini-x"}}
        unnamed = {"quotaId": "GenerateRequestsPerMinutePerProject", "quotaDimensions": {"location": "global"}}
        of = "type.googleapis.com/google.rpc.QuotaFailure"
        one = failed(error(429, "RESOURCE_EXHAUSTED", {"@type": of, "violations": [named]}), 429)
        assert (one.kind, one.scope) == (FailureKind.RATE_LIMITED, "model")
        both = failed(error(429, "RESOURCE_EXHAUSTED", {"@type": of, "violations": [named, unnamed]}), 429)
        assert both.scope == ""

    def test_a_file_that_is_not_ready_says_nothing_of_the_key(self) -> None:
        failure = failed(error(400, "FAILED_PRECONDITION"), 400)
        assert (failure.kind, failure.scope) == (FailureKind.FORBIDDEN, "request")

    def test_the_field_at_fault_is_named(self) -> None:
        bad = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "contents[0]"}]}
        assert failed(error(400, "INVALID_ARGUMENT", bad), 400).param == "contents[0]"

    def test_a_wait_on_success_is_no_throttle(self) -> None:
        assert isinstance(said(answered({"text": "a"}), headers={"retry-after": "9"}), Completion)

    @pytest.mark.parametrize("status", [302, 404, 500])
    def test_no_json_is_judged_by_its_status(self, status: int) -> None:
        outcome = GOOGLE.decode(HttpReply(status=status, headers={}, body=b"<html>"), target())
        assert isinstance(outcome, Failure)
        assert outcome.status == status


class TestEmbeddings:
    def test_each_text_is_a_request_of_the_batch(self) -> None:
        request = EmbedRequest(inputs=("a", "b"), dimensions=8, purpose="query", user="u")
        call = GOOGLE.encode_embed(request, target("gemini-embedding-001"))
        assert isinstance(call, HttpCall)
        assert call.url == f"{BASE}/models/gemini-embedding-001:batchEmbedContents"
        assert call.dropped == ("user",)
        body = orjson.loads(call.body)
        assert body["requests"][1] == {
            "model": "models/gemini-embedding-001",
            "outputDimensionality": 8,
            "taskType": "RETRIEVAL_QUERY",
            "content": {"parts": [{"text": "b"}]},
        }
        again = replace(request, user=None, model="gemini-embedding-001", dialect="google")
        assert parse_embed(body) == again

    def test_a_model_without_tasks(self) -> None:
        call = GOOGLE.encode_embed(EmbedRequest(inputs=("a",), purpose="query"), target("gemini-embedding-2"))
        assert isinstance(call, HttpCall)
        assert call.dropped == ("purpose",)

    def test_a_clients_single_text(self) -> None:
        body = {"content": {"parts": [{"text": "a"}]}, "task_type": "CODE_RETRIEVAL_QUERY", "title": "t"}
        request = parse_embed(body, model="models/gemini-embedding-001")
        assert isinstance(request, EmbedRequest)
        assert request == EmbedRequest(
            inputs=("a",),
            model="gemini-embedding-001",
            extra={"taskType": "CODE_RETRIEVAL_QUERY", "title": "t"},
            dialect="google",
        )
        call = GOOGLE.encode_embed(request, target("gemini-embedding-001"))
        assert isinstance(call, HttpCall)
        sent_request = orjson.loads(call.body)["requests"][0]
        assert (sent_request["taskType"], sent_request["title"]) == ("CODE_RETRIEVAL_QUERY", "t")

    def test_texts_that_ask_for_different_things_are_refused(self) -> None:
        one = {"content": {"parts": [{"text": "a"}]}}
        failure = parse_embed({"requests": [one, {**one, "outputDimensionality": 3}]})
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.param) == (FailureKind.UNSUPPORTED, "requests[1]")

    def test_vectors_in_order(self) -> None:
        body = {"embeddings": [{"values": [1, 0.5]}, {"values": [0]}], "usageMetadata": {"promptTokenCount": 4}}
        reply = HttpReply(status=200, headers={}, body=orjson.dumps(body))
        outcome = GOOGLE.decode_embed(reply, target("gemini-embedding-001"))
        assert outcome == Embeddings(
            model="gemini-embedding-001",
            provider="google",
            vectors=((1.0, 0.5), (0.0,)),
            usage=Usage(input_tokens=4),
        )

    @pytest.mark.parametrize("body", [{}, [], {"embeddings": []}, {"embeddings": [{"values": ["x"]}]}])
    def test_no_vectors_are_malformed(self, body: Any) -> None:
        outcome = GOOGLE.decode_embed(HttpReply(status=200, headers={}, body=orjson.dumps(body)), target())
        assert isinstance(outcome, Failure)
        assert outcome.kind is FailureKind.MALFORMED


class TestModels:
    def test_the_free_calls(self) -> None:
        listing, health = GOOGLE.list_models(target()), GOOGLE.health(target())
        assert isinstance(listing, HttpCall)
        assert isinstance(health, HttpCall)
        assert (listing.method, listing.url) == ("GET", f"{BASE}/models?pageSize=1000")
        assert (health.method, health.url) == ("GET", f"{BASE}/models?pageSize=1")

    def test_names_are_those_of_requests(self) -> None:
        body = {
            "models": [
                {"name": "models/gemini-2.5-flash", "supportedGenerationMethods": ["generateContent"]},
                {"name": "models/imagen-4", "supportedGenerationMethods": ["predict"]},
                {"name": "models/gemini-embedding-001", "supportedGenerationMethods": ["embedContent"]},
                {"name": "tunedModels/mine"},
            ]
        }
        reply = HttpReply(status=200, headers={}, body=orjson.dumps(body))
        assert GOOGLE.decode_models(reply, target()) == ("gemini-2.5-flash", "gemini-embedding-001", "tunedModels/mine")
        assert GOOGLE.decode_health(reply, target()) is None

    def test_a_sick_provider_says_so(self) -> None:
        reply = HttpReply(status=503, headers={}, body=orjson.dumps(error(503, "UNAVAILABLE")))
        failure = GOOGLE.decode_health(reply, target())
        assert failure is not None
        assert failure.kind is FailureKind.OVERLOADED
