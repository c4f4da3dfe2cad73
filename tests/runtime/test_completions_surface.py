"""Our own text completions endpoint, judged by OpenAI's SDK."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import httpx2
import openai
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion as Answer

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.completions_surface import LENGTH, CompletionsSurface, parse_request
from runtime.dialects.openai import OpenAI
from runtime.dialects.registry import DIALECTS
from runtime.fold import fold
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
    Usage,
)
from runtime.request import CostLimits, Request, ask
from tests.wire.records import ABSENT, DEV, chats

SURFACE = CompletionsSurface()
PLAIN = {"model": "p/m", "prompt": "hi"}
ASKED = ask("hi")
START = StreamStart(id="chatcmpl-1", provider="p", model="m", created_s=7)
SPENT = Usage(input_tokens=20, output_tokens=7)
PAID = Cost(total_nanousd=1_500_000)


def parsed(body: Any) -> Request:
    found = parse_request(body)
    assert isinstance(found, Request), found
    return found


def whole(*texts: str, finish: FinishReason = FinishReason.STOP, **fields: Any) -> Completion:
    choices = tuple(Choice.of(text, finish_reason=finish, **fields) for text in texts)
    return Completion(id="chatcmpl-1", model="m", choices=choices, usage=SPENT, cost=PAID, created_s=7)


def rendered(completion: Completion, request: Request = ASKED) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(orjson.dumps(SURFACE.render(completion, request)))
    return body


def written(events: Iterable[StreamEvent], request: Request = ASKED) -> bytes:
    renderer = SURFACE.renderer(request)
    return b"".join(data for event in events for data in renderer.render(event))


def client(answer: Any) -> openai.OpenAI:
    def reply(request: httpx2.Request) -> httpx2.Response:
        if isinstance(answer, Failure):
            status, headers, body = SURFACE.error(answer)
            return httpx2.Response(status, headers=dict(headers), json=body)
        if isinstance(answer, bytes):
            return httpx2.Response(200, headers={"content-type": SURFACE.stream_type}, content=answer)
        return httpx2.Response(200, json=answer)

    http = httpx2.Client(transport=httpx2.MockTransport(reply))
    return openai.OpenAI(api_key="k", base_url="http://raygate.test/v1", http_client=http, max_retries=0)


def created(body: dict[str, Any]) -> Answer:
    answer = client(body).completions.create(model="m", prompt="hi")
    Answer.model_validate(answer.to_dict())
    return answer


def chunks(stream: bytes) -> list[Answer]:
    return list(client(stream).completions.create(model="m", prompt="hi", stream=True))


def test_a_prompt_is_what_a_user_says() -> None:
    request = parsed(PLAIN)
    assert request.messages == ask("hi").messages
    assert (request.model, request.sampling.max_tokens, request.choices) == ("p/m", LENGTH, 1)
    assert parsed({"prompt": ["hi"]}).messages == request.messages


def test_the_rest_of_the_body() -> None:
    request = parsed(
        {
            **PLAIN,
            "max_tokens": 9,
            "n": 2,
            "best_of": 2,
            "stop": ["a", "b"],
            "seed": 3,
            "temperature": 0,
            "logprobs": 2,
            "logit_bias": {"50256": -100},
            "user": "u",
            "suffix": None,
            "echo": False,
            "stream": True,
            "stream_options": {"include_usage": True},
            "raygate": {"max_cost_usd": 1},
            "unheard_of": 1,
        }
    )
    assert (request.sampling.max_tokens, request.choices, request.sampling.stop) == (9, 2, ("a", "b"))
    assert (request.stream, request.stream_usage, request.user) == (True, True, "u")
    assert request.cost == CostLimits(max_cost_nanousd=1_000_000_000)
    call = OpenAI().encode(request, Target(provider="p", base_url="https://api.openai.com/v1", model="m"))
    assert isinstance(call, HttpCall)
    body = json.loads(call.body)
    assert (body["logprobs"], body["top_logprobs"], body["logit_bias"]) == (True, 2, {"50256": -100})
    assert call.dropped == ("completions.unheard_of",)
    assert "unheard_of" not in body


@pytest.mark.parametrize(
    ("body", "param", "kind"),
    [
        ("x", "body", FailureKind.BAD_REQUEST),
        ({}, "prompt", FailureKind.BAD_REQUEST),
        ({"prompt": 7}, "prompt", FailureKind.BAD_REQUEST),
        ({"prompt": [None]}, "prompt[0]", FailureKind.BAD_REQUEST),
        ({"prompt": [1, 2]}, "prompt", FailureKind.UNSUPPORTED),
        ({"prompt": [[1, 2]]}, "prompt", FailureKind.UNSUPPORTED),
        ({"prompt": ["a", "b"]}, "prompt", FailureKind.UNSUPPORTED),
        ({"prompt": []}, "prompt", FailureKind.UNSUPPORTED),
        ({**PLAIN, "suffix": "end"}, "suffix", FailureKind.UNSUPPORTED),
        ({**PLAIN, "best_of": 3}, "best_of", FailureKind.UNSUPPORTED),
        ({**PLAIN, "best_of": 1, "n": 2}, "best_of", FailureKind.BAD_REQUEST),
        ({**PLAIN, "n": 1000}, "n", FailureKind.BAD_REQUEST),
        ({**PLAIN, "logprobs": 6}, "logprobs", FailureKind.BAD_REQUEST),
        ({**PLAIN, "logprobs": 1, "echo": True}, "logprobs", FailureKind.UNSUPPORTED),
        ({**PLAIN, "max_tokens": 0}, "max_tokens", FailureKind.BAD_REQUEST),
        ({**PLAIN, "logit_bias": 1}, "logit_bias", FailureKind.BAD_REQUEST),
        ({**PLAIN, "raygate": {"x": 1}}, "raygate.x", FailureKind.BAD_REQUEST),
    ],
)
def test_a_wrong_body_is_told_where_and_what_to_do(body: Any, param: str, kind: FailureKind) -> None:
    failure = parse_request(body)
    assert isinstance(failure, Failure)
    assert (failure.param, failure.kind) == (param, kind)
    assert failure.detail.endswith(".")


def test_a_whole_answer() -> None:
    answer = created(rendered(whole("hello", "hey")))
    assert (answer.id, answer.object, answer.created, answer.model) == ("cmpl-1", "text_completion", 7, "m")
    assert [(one.text, one.index, one.finish_reason) for one in answer.choices] == [
        ("hello", 0, "stop"),
        ("hey", 1, "stop"),
    ]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (20, 7, 27)
    assert answer.usage.to_dict()["cost"] == 0.0015


@pytest.mark.parametrize(
    ("finish", "word"),
    [(FinishReason.LENGTH, "length"), (FinishReason.CONTENT_FILTER, "content_filter"), (FinishReason.OTHER, "stop")],
)
def test_why_an_answer_ended(finish: FinishReason, word: str) -> None:
    assert created(rendered(whole("a", finish=finish))).choices[0].finish_reason == word


def test_the_prompt_may_be_echoed() -> None:
    request = parsed({**PLAIN, "echo": True})
    for dialect in DIALECTS.values():
        call = dialect.encode(request, Target(provider="p", base_url="https://a.test/v1beta", model="m"))
        assert isinstance(call, HttpCall)
        assert not [name for name in call.dropped if "echo" in name]
        assert b"echo" not in call.body
    assert rendered(whole(" there"), request)["choices"][0]["text"] == "hi there"
    stream = written(
        [
            START,
            Delta(text=" th"),
            Delta(text="ere"),
            Delta(finish_reason=FinishReason.STOP),
            StreamEnd(outcome=whole(" there")),
        ],
        request,
    )
    assert "".join(chunk.choices[0].text for chunk in chunks(stream)) == "hi there"


TOKENS = [
    {"token": "he", "logprob": -0.1, "bytes": None, "top_logprobs": [{"token": "he", "logprob": -0.1}]},
    {"token": "y", "logprob": -0.2, "bytes": None, "top_logprobs": []},
]


def test_probabilities_of_tokens() -> None:
    logprobs = created(rendered(whole("hey", logprobs={"content": TOKENS}))).choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == ["he", "y"]
    assert logprobs.token_logprobs == [-0.1, -0.2]
    assert logprobs.top_logprobs == [{"he": -0.1}, {}]
    assert logprobs.text_offset == [0, 2]
    deltas = [
        Delta(text="he", logprobs={"content": TOKENS[:1]}),
        Delta(text="y", logprobs={"content": TOKENS[1:]}, finish_reason=FinishReason.STOP),
    ]
    found = chunks(written([START, *deltas, StreamEnd(outcome=whole("hey"))]))
    assert [chunk.choices[0].logprobs and chunk.choices[0].logprobs.text_offset for chunk in found] == [[0], [2]]


def test_a_stream() -> None:
    request = parsed({**PLAIN, "stream": True, "stream_options": {"include_usage": True}})
    deltas = [Delta(reasoning="hm"), Delta(text="hel"), Delta(text="lo"), Delta(finish_reason=FinishReason.LENGTH)]
    stream = written([START, *deltas, StreamEnd(outcome=whole("hello", finish=FinishReason.LENGTH))], request)
    assert stream.endswith(b"data: [DONE]\n\n")
    *found, last = chunks(stream)
    assert "".join(chunk.choices[0].text for chunk in found) == "hello"
    assert [chunk.choices[0].finish_reason for chunk in found] == [None, None, "length"]
    assert {chunk.id for chunk in found} == {"cmpl-1"}
    assert {chunk.object for chunk in found} == {"text_completion"}
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.total_tokens, last.usage.to_dict()["cost"]) == (27, 0.0015)


def test_an_answer_from_a_cache_is_streamed_whole() -> None:
    found = chunks(written([StreamEnd(outcome=whole("a", "b"))]))
    assert [(chunk.choices[0].index, chunk.choices[0].text, chunk.choices[0].finish_reason) for chunk in found] == [
        (0, "a", "stop"),
        (1, "b", "stop"),
    ]


def test_a_broken_stream_ends_in_an_error() -> None:
    failure = Failure(kind=FailureKind.INTERRUPTED, provider="p", detail="the line broke")
    stream = written([START, Delta(text="hel"), StreamEnd(outcome=failure)])
    assert b"[DONE]" not in stream
    assert b'"finish_reason":"' not in stream
    with pytest.raises(openai.APIError, match="the line broke"):
        chunks(stream)


@pytest.mark.parametrize("kind", FailureKind)
def test_errors_have_the_envelope_of_the_api(kind: FailureKind) -> None:
    with pytest.raises(openai.APIStatusError, match="why") as caught:
        client(Failure(kind=kind, detail="why", param="prompt")).completions.create(model="m", prompt="hi")
    assert (caught.value.status_code, caught.value.param) == (HANDLING[kind].status, "prompt")


deltas_of_texts = st.lists(st.builds(Delta, choice=st.integers(0, 2), text=st.text(max_size=5)), max_size=9)


# The SDK builds its types on first use.
@given(deltas_of_texts, st.booleans())
def test_streamed_and_whole_answers_say_the_same(deltas: list[Delta], echo: bool) -> None:
    request = parsed({**PLAIN, "echo": echo})
    deltas += [Delta(choice=at, finish_reason=FinishReason.STOP) for at in range(3)]
    completion = Completion(id="chatcmpl-1", model="m", choices=fold(deltas))
    told = dict.fromkeys(range(3), "")
    for chunk in chunks(written([START, *deltas, StreamEnd(outcome=completion)], request)):
        told[chunk.choices[0].index] += chunk.choices[0].text
    assert [told[at] for at in range(3)] == [one["text"] for one in rendered(completion, request)["choices"]]


@pytest.mark.skipif(not DEV.is_dir(), reason=ABSENT)
def test_recorded_streams_of_others_are_read_by_the_sdk() -> None:
    count = 0
    for record in chats():
        if not record.ok or record.stream is None:
            continue
        decoder = DIALECTS[record.dialect].decoder(record.target)
        deltas, outcome = decoder.feed(record.wire), decoder.finish()
        if isinstance(outcome, Completion):
            told: dict[int, str] = {}
            for chunk in chunks(written([START, *deltas, StreamEnd(outcome=outcome)])):
                told[chunk.choices[0].index] = told.get(chunk.choices[0].index, "") + chunk.choices[0].text
            texts = [choice.text + (choice.refusal or "") for choice in outcome.choices]
            assert [told[at] for at in range(len(texts))] == texts, record.id
            count += 1
    assert count
