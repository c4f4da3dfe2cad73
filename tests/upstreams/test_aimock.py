"""Every dialect against aimock, an implementation of these APIs that nobody of us wrote.

What is asserted is what the real APIs do. Where aimock is known to do otherwise, `KNOWN` says so and what then holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from runtime.dialects.registry import DIALECTS
from runtime.outcome import Embeddings, FailureKind, FinishReason
from runtime.request import (
    EmbedRequest,
    ImagePart,
    Message,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
)
from tests.fakes.providers import streamed
from tests.upstreams.stack import WEATHER, How, Row, answered, asked, completion, control, failure, stack

K = FailureKind

OPENAI = Row("openai", "openai", "openai", "/v1", "gpt-4o")
OPENROUTER = Row("openrouter", "openrouter", "openrouter", "/api/v1", "openai/gpt-4o")
ANTHROPIC = Row("anthropic", "anthropic", "anthropic", "/v1", "claude-sonnet-4-5")
GOOGLE = Row("google", "google", "google", "/v1beta", "gemini-2.5-flash")
COHERE = Row("cohere", "cohere", "cohere", "", "command-a-03-2025")
OLLAMA = Row("ollama", "ollama", "ollama", "", "qwen3:4b")
ROWS = (OPENAI, OPENROUTER, ANTHROPIC, GOOGLE, COHERE, OLLAMA)

KNOWN: Mapping[tuple[str, str], str] = {
    ("ollama", "usage"): "counts nothing, ever",
    ("ollama", "length"): "says stop whatever the fixture says",
    ("ollama", "thoughts"): "calls the field reasoning_content; Ollama says thinking",
    ("ollama", "embeddings"): "answers /api/embed as the older /api/embeddings: one vector, named embedding",
    ("cohere", "thoughts"): "sends them as another text block; Cohere's block is of type thinking",
    ("google", "tool_finish"): "says FUNCTION_CALL; Gemini says STOP",
    ("google", "embeddings"): "has no batchEmbedContents",
    ("google", "models"): "lists none under /v1beta",
    ("cohere", "models"): "lists them in OpenAI's words",
}

every_row = pytest.mark.parametrize("row", ROWS, ids=str)
both_ways = pytest.mark.parametrize("how", ["whole", "stream"])


@both_ways
@every_row
async def test_an_answer(row: Row, how: How, aimock: str) -> None:
    async with stack(row, aimock) as made:
        said = completion(await made.once(asked("say it plainly, please"), how))
        assert said.text == "The answer is plain: forty-two."
        assert said.finish_reason is FinishReason.STOP
        assert (said.provider, said.model) == ("up", row.model)
        assert said.dropped == ()
        counts = (0, 0) if (row.name, "usage") in KNOWN else (11, 7)
        assert (said.usage.input_tokens, said.usage.output_tokens) == counts
        assert not said.usage.estimated
        assert (await made.provider.usage("hour")).requests == 1


@every_row
async def test_a_stream_comes_in_pieces(row: Row, aimock: str) -> None:
    async with stack(row, aimock) as made:
        stream = await streamed(made.provider, replace(asked("say it plainly, please"), model=row.model))
        assert [delta.text for delta in stream.deltas if delta.text] == [
            "The a", "nswer", " is p", "lain:", " fort", "y-two", "."
        ]  # fmt: skip


@both_ways
@every_row
async def test_a_tool_round_trip_with_parallel_calls_of_one_tool(row: Row, how: How, aimock: str) -> None:
    request = asked("the weather in two cities?", tools=(WEATHER,), sampling=Sampling(max_tokens=100))
    tag = {"x-test-id": f"tools-{row}-{how}"}
    async with stack(row, aimock, headers=tag) as made:
        first = completion(await made.once(request, how))
        calls = first.tool_calls
        assert first.finish_reason is FinishReason.TOOL_CALLS
        unknown = first.choices[0].extra.get("finish_reason")
        assert unknown == ("FUNCTION_CALL" if (row.name, "tool_finish") in KNOWN else None)
        assert first.text == "I will look."
        assert [call.name for call in calls] == ["get_weather"] * 2
        assert [call.arguments for call in calls] == ['{"city":"Paris"}', '{"city":"Zürich"}']
        assert len({call.id for call in calls}) == 2
        last = completion(await made.once(answered(request, calls, "21 degrees", "17 degrees"), how))
        assert (last.text, last.finish_reason) == ("Paris 21, Zürich 17.", FinishReason.STOP)
    seen = _seen(aimock, tag)
    assert [tool["function"]["name"] for tool in seen["tools"]] == ["get_weather"]
    said = [message for message in seen["messages"] if message.get("tool_calls")]
    assert [call["function"]["arguments"] for call in said[0]["tool_calls"]] == [
        '{"city":"Paris"}',
        '{"city":"Zürich"}',
    ]
    results = [message for message in seen["messages"] if message["role"] == "tool"]
    assert ["21 degrees" in str(results[0]["content"]), "17 degrees" in str(results[1]["content"])] == [True, True]


@both_ways
@every_row
async def test_thoughts_come_apart_from_the_answer(row: Row, how: How, aimock: str) -> None:
    async with stack(row, aimock) as made:
        choice = completion(await made.once(asked("think first"), how)).choices[0]
    if (row.name, "thoughts") not in KNOWN:
        assert (choice.reasoning, choice.text) == ("Two and two make four.", "Four.")
    else:
        # Under another name it is no thought, but nothing is lost.
        assert "Two and two make four." in choice.text + choice.extra.get("reasoning_content", "")


@both_ways
@every_row
async def test_an_answer_that_ran_out_of_tokens(row: Row, how: How, aimock: str) -> None:
    async with stack(row, aimock) as made:
        said = completion(await made.once(asked("run out of tokens", sampling=Sampling(max_tokens=2)), how))
    assert said.text == "And then"
    assert said.finish_reason is (FinishReason.STOP if (row.name, "length") in KNOWN else FinishReason.LENGTH)


@every_row
async def test_an_image_and_a_system_message_arrive(row: Row, aimock: str) -> None:
    parts = (ImagePart(data="iVBORw0KGgo=", media_type="image/png"), TextPart("what is on the picture?"))
    request = Request(
        messages=(
            Message(role=Role.SYSTEM, parts=(TextPart("be brief"),)),
            Message(role=Role.USER, parts=parts),
        )
    )
    tag = {"x-test-id": f"image-{row}"}
    seeing = replace(row, model="command-a-vision-07-2025") if row is COHERE else row
    async with stack(seeing, aimock, headers=tag) as made:
        assert completion(await made.once(request)).text == "A single pixel."
    seen = _seen(aimock, tag)
    assert [message["role"] for message in seen["messages"]] == ["system", "user"]


@every_row
async def test_a_schema_is_asked_for(row: Row, aimock: str) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    wanted = ResponseFormat(kind="json_schema", name="person", schema={**schema, "additionalProperties": False})
    async with stack(row, aimock) as made:
        said = completion(await made.once(asked("answer as JSON", response_format=wanted)))
    assert said.text == '{"age": 22}'


@both_ways
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, K.BAD_REQUEST),
        (401, K.UNAUTHENTICATED),
        (403, K.FORBIDDEN),
        (404, K.MODEL_NOT_FOUND),
        (429, K.RATE_LIMITED),
        (500, K.UNAVAILABLE),
        (503, K.OVERLOADED),
    ],
)
@every_row
async def test_an_error(row: Row, status: int, kind: FailureKind, how: How, aimock: str) -> None:
    async with stack(row, aimock) as made:
        failed = failure(await made.once(asked(f"fail with {status}"), how))
    assert (failed.kind, failed.status) == (kind, status)
    assert failed.retry_after_s == (7.0 if status == 429 else None)
    assert failed.detail in {
        "this is wrong",
        "who are you?",
        "not for you",
        "no such model",
        "slow down",
        "oh no",
        "too much",
    }


@both_ways
@every_row
async def test_a_passing_failure_is_asked_again(row: Row, how: How, aimock: str) -> None:
    async with stack(row, aimock, headers={"x-test-id": f"once-{row}-{how}"}) as made:
        said = completion(await made.patiently(asked("fail once"), how))
    assert said.text == "Now it works."
    tries = ["overloaded"] if how == "stream" else ["overloaded", "ok"]
    assert [attempt.outcome for attempt in said.attempts][: len(tries)] == tries


@pytest.mark.parametrize("text", ["stop in the middle", "hang up on me"])
@every_row
async def test_a_stream_that_breaks_off_is_no_answer(row: Row, text: str, aimock: str) -> None:
    async with stack(row, aimock) as made:
        whole = completion(await made.once(asked(text))).text
        stream = await streamed(made.provider, replace(asked(text), model=row.model))
    assert failure(stream.outcome).kind is K.INTERRUPTED
    assert stream.text
    assert whole.startswith(stream.text)
    assert whole != stream.text


@every_row
async def test_the_time_to_the_first_token(row: Row, aimock: str) -> None:
    async with stack(row, aimock) as made:
        said = completion(await made.once(asked("take your time"), "stream"))
    assert said.text == "Here I am."
    assert said.ttft_s is not None
    assert 0.25 < said.ttft_s <= said.latency_s


@both_ways
@pytest.mark.parametrize(
    ("chaos", "kind"),
    [
        ("dropRate", K.UNAVAILABLE),
        ("malformedRate", K.MALFORMED),
        ("disconnectRate", K.UNAVAILABLE),
        ("rateLimitRate", K.RATE_LIMITED),
    ],
)
@every_row
async def test_chaos(row: Row, chaos: str, kind: FailureKind, how: How, aimock: str) -> None:
    tag = {"x-test-id": f"{chaos}-{row}-{how}"}
    control(f"{aimock}/__aimock/chaos", {chaos: 1}, tag)
    async with stack(row, aimock, headers=tag) as made:
        failed = failure(await made.once(asked("say it plainly, please"), how))
    if kind is K.MALFORMED and how == "stream" and DIALECTS[row.dialect].json_streams:
        # Broken JSON under a label that these streams may have: nothing tells it from a stream that broke off.
        kind = K.INTERRUPTED
    assert failed.kind is kind
    assert failed.retry_after_s == (1.0 if kind is K.RATE_LIMITED else None)


@every_row
async def test_embeddings(row: Row, aimock: str) -> None:
    async with stack(row, aimock) as made:
        one = await made.provider.embed(EmbedRequest(inputs=("one vector",), model="m"))
        many = await made.provider.embed(EmbedRequest(inputs=("a", "b"), model="m"))
    if row is ANTHROPIC:
        assert failure(one).kind is K.UNSUPPORTED
    elif (row.name, "embeddings") in KNOWN:
        assert failure(one).kind is (K.MALFORMED if row is OLLAMA else K.MODEL_NOT_FOUND)
    else:
        assert isinstance(one, Embeddings)
        assert one.vectors == ((0.25, -0.5, 1.0),)
        assert isinstance(many, Embeddings)
        assert len(many.vectors) == 2
        assert many.vectors[0] != many.vectors[1]


@every_row
async def test_models_and_health_are_free(row: Row, aimock: str) -> None:
    async with stack(row, aimock) as made:
        healthy = await made.provider.health_check()
        listed = {info.model for info in await made.provider.list_models()}
        assert (await made.provider.usage("hour")).requests == 0
    if (row.name, "models") in KNOWN:
        assert not healthy.healthy
        return
    assert healthy.healthy, healthy.detail
    assert listed >= ({"anthropic/claude-3.5-sonnet"} if row is OPENROUTER else {"gpt-4", "gpt-4o"})


def _seen(aimock: str, tag: Mapping[str, str]) -> dict[str, Any]:
    """The last request of a test as aimock understood it: it translates every API into OpenAI's words."""
    (test_id,) = tag.values()
    seen: dict[str, Any] = control(f"{aimock}/__aimock/journal?testId={test_id}")[-1]["body"]
    return seen
