"""What holds for everything that answers requests, in process or behind an actor. See `providers.py` for whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from runtime.outcome import Completion, Embeddings, Failure, FailureKind, FinishReason, StreamEnd, StreamStart
from runtime.price import CostEstimate
from runtime.reports import ProviderStatus
from runtime.request import EmbedRequest, ask
from tests.conformance.providers import MODEL, PROVIDER, SUBJECTS, Make, Subject
from tests.fakes.providers import streamed

K = FailureKind

OK = {"text": "one two three", "usage": {"input_tokens": 10, "output_tokens": 3}}
PRICE = {"input": "1", "output": "2"}

Having = Callable[..., AbstractAsyncContextManager[Subject]]


@pytest.fixture(params=list(SUBJECTS))
def having(request: pytest.FixtureRequest) -> Having:
    """A subject whose provider plays these steps."""
    make: Make = SUBJECTS[request.param]

    @asynccontextmanager
    async def having(*steps: Any, loop: bool = True, **said: Any) -> AsyncGenerator[Subject]:
        one = {"kind": "scripted", "default_model": MODEL, "script": {"steps": list(steps), "loop": loop}, **said}
        async with make({"providers": {PROVIDER: one}, "local": {"enabled": False}}) as subject:
            await subject.provider.initialize()
            yield subject

    return having


async def until(subject: Subject, holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what takes time to show where others have to report it; in process it holds at once."""
    for _ in range(200):
        if await holds():
            return
        await subject.pause(0.05)
    raise AssertionError("it never came true")


async def idle(subject: Subject) -> None:
    async def holds() -> bool:
        return (await subject.provider.status()).in_flight == 0

    await until(subject, holds)


# complete


async def test_an_answer_says_who_answered_how_long_and_for_how_much(having: Having) -> None:
    async with having(OK, price=PRICE) as subject:
        answer = await subject.provider.complete(ask("hi"))
        assert isinstance(answer, Completion)
        assert (answer.text, answer.provider, answer.model) == ("one two three", PROVIDER, MODEL)
        assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.estimated) == (10, 3, False)
        assert answer.finish_reason is FinishReason.STOP
        assert answer.cost is not None
        assert answer.cost.total_nanousd == 16_000
        assert answer.latency_s >= 0.0


async def test_an_unknown_price_is_none(having: Having) -> None:
    async with having(OK) as subject:
        answer = await subject.provider.complete(ask("hi"))
        assert isinstance(answer, Completion)
        assert answer.cost is None


async def test_a_model_may_be_named(having: Having) -> None:
    async with having(OK) as subject:
        answer = await subject.provider.complete(ask("hi", model=MODEL))
        assert isinstance(answer, Completion)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, K.BAD_REQUEST), (401, K.UNAUTHENTICATED), (404, K.MODEL_NOT_FOUND), (413, K.TOO_LARGE)]
)
async def test_a_failure_is_a_value(having: Having, status: int, kind: FailureKind) -> None:
    async with having({"fault": {"status": status}}) as subject:
        for outcome in (
            await subject.provider.complete(ask("hi")),
            (await streamed(subject.provider, ask("hi"))).outcome,
            await subject.provider.embed(EmbedRequest(inputs=("a",))),
        ):
            assert isinstance(outcome, Failure)
            assert (outcome.kind, outcome.provider, outcome.model) == (kind, PROVIDER, MODEL)
            assert outcome.detail
        await idle(subject)


async def test_a_deadline_that_has_passed_is_kept(having: Having) -> None:
    async with having(OK) as subject:
        outcome = await subject.provider.complete(replace(ask("hi"), deadline_s=0.0))
        assert isinstance(outcome, Failure)
        assert outcome.kind is K.DEADLINE_EXCEEDED


async def test_many_calls_at_once(having: Having) -> None:
    async with having(OK) as subject:
        answers = await asyncio.gather(*(subject.provider.complete(ask(str(at))) for at in range(20)))
        assert all(isinstance(answer, Completion) for answer in answers)
        await idle(subject)


# stream


async def test_a_stream_is_the_answer_in_pieces(having: Having) -> None:
    async with having(OK, price=PRICE) as subject:
        stream = await streamed(subject.provider, replace(ask("hi"), request_id="r1"))
        assert stream.start is not None
        assert (stream.start.provider, stream.start.model) == (PROVIDER, MODEL)
        assert stream.start.request_id == "r1"
        assert len(stream.deltas) >= 3
        assert isinstance(stream.outcome, Completion)
        assert stream.text == stream.outcome.text == "one two three"
        assert stream.outcome.cost is not None
        assert stream.outcome.ttft_s is not None
        await idle(subject)


@pytest.mark.parametrize("fault", [{"truncate": 1}, {"malformed": 1}, {"error": {"after": 1}}], ids=str)
async def test_a_cut_stream_is_never_a_clean_end(having: Having, fault: Any) -> None:
    async with having({**OK, "fault": fault}) as subject:
        stream = await streamed(subject.provider, ask("hi"))
        assert stream.start is not None
        assert stream.text == "one "
        assert isinstance(stream.outcome, Failure)


async def test_before_content_there_is_no_start(having: Having) -> None:
    async with having({"fault": {"error": {"type": "invalid_request_error"}}}) as subject:
        stream = await streamed(subject.provider, ask("hi"))
        assert stream.start is None
        assert isinstance(stream.outcome, Failure)


async def test_closing_a_stream_stops_the_call(having: Having) -> None:
    async with having(OK) as subject:
        events = subject.provider.stream(ask("hi"))
        assert isinstance(await anext(events), StreamStart)
        await events.aclose()
        await idle(subject)
        assert not [event async for event in events]


async def test_a_stream_that_is_read_to_its_end_leaves_nothing(having: Having) -> None:
    async with having(OK) as subject:
        events = [event async for event in subject.provider.stream(ask("hi"))]
        assert [isinstance(event, StreamEnd) for event in events].count(True) == 1
        await idle(subject)


# embed


async def test_vectors_come_in_the_order_of_the_inputs(having: Having) -> None:
    async with having() as subject:
        both = await subject.provider.embed(EmbedRequest(inputs=("a b", "c")))
        second = await subject.provider.embed(EmbedRequest(inputs=("c",)))
        assert isinstance(both, Embeddings)
        assert isinstance(second, Embeddings)
        assert both.provider == PROVIDER
        assert both.vectors[1] == second.vectors[0] != both.vectors[0]


# what it says of itself


async def test_health_costs_nothing(having: Having) -> None:
    async with having({"fault": {"status": 500}}) as subject:
        report = await subject.provider.health_check()
        assert report.healthy, "the free call works, whatever the script says"
        assert report.latency_s >= 0.0
        assert report.at_s > 0.0


async def test_cost_is_estimated_before_it_arises(having: Having) -> None:
    async with having(OK, price=PRICE) as subject:
        expected = await subject.provider.estimate_cost(ask("12345678"))
        assert isinstance(expected, CostEstimate)
        # An actor may have learned that a provider counts more than the text.
        assert expected.prompt_tokens >= 2
        assert expected.cost is not None
    async with having(OK) as subject:
        expected = await subject.provider.estimate_cost(ask("12345678"))
        assert isinstance(expected, CostEstimate)
        assert expected.cost is None


async def test_models_are_listed_described_and_told_apart(having: Having) -> None:
    async with having(OK) as subject:
        listed = await subject.provider.list_models()
        assert [(info.provider, info.model) for info in listed] == [(PROVIDER, MODEL)]
        info = await subject.provider.model_info(f"{PROVIDER}/{MODEL}" if subject.provider.name != PROVIDER else MODEL)
        assert info is not None
        assert (info.provider, info.model) == (PROVIDER, MODEL)
        assert not await subject.provider.validate_model("no-such-model")


async def test_status_counts_what_is_under_way_and_nothing_else(having: Having) -> None:
    # Longer than what an actor may produce ahead of its reader.
    async with having({"chunks": ["word "] * 500}) as subject:
        for _ in range(5):
            await subject.provider.complete(ask("hi"))
        await idle(subject)
        events = subject.provider.stream(ask("hi"))
        await anext(events)

        async def one_in_flight() -> bool:
            return (await subject.provider.status()).in_flight == 1

        await until(subject, one_in_flight)
        await events.aclose()
        await idle(subject)


async def test_a_provider_that_fails_is_shown_as_such(having: Having) -> None:
    async with having({"fault": {"status": 500}}, loop=False) as subject:
        for _ in range(6):
            await subject.provider.complete(ask("hi"))

        async def shut() -> bool:
            status = await subject.provider.status()
            (part,) = status.parts or (status,)
            assert isinstance(part, ProviderStatus)
            return not status.available and part.retry_in_s > 0.0 and part.breaker == "open"

        await until(subject, shut)
        refused = await subject.provider.complete(ask("hi"))
        assert isinstance(refused, Failure)
        assert refused.kind is K.REFUSED
        assert refused.retry_after_s is not None


async def test_usage_is_what_was_reported(having: Having) -> None:
    async with having(OK, {"fault": {"status": 400}}, price=PRICE) as subject:
        before = (await subject.provider.usage("all")).total
        await subject.provider.complete(ask("hi"))
        await subject.provider.complete(ask("hi"))

        async def counted() -> bool:
            return (await subject.provider.usage("all")).requests == before.requests + 2

        await until(subject, counted)
        after = (await subject.provider.usage("all")).total
        assert after.errors - before.errors == 1
        assert after.input_tokens - before.input_tokens == 10
        assert after.output_tokens - before.output_tokens == 3
        assert after.cost_nanousd - before.cost_nanousd == 16_000


async def test_metrics_are_numbers(having: Having) -> None:
    async with having(OK) as subject:
        await subject.provider.complete(ask("hi"))
        metrics = await subject.provider.metrics()
        assert metrics
        assert all(isinstance(value, int | float) for value in metrics.values())


async def test_what_was_remembered_can_be_forgotten(having: Having) -> None:
    async with having(OK) as subject:
        await subject.provider.list_models()
        assert await subject.provider.clear_cache() == 1
        assert await subject.provider.clear_cache() == 0


async def test_initialize_and_close_may_be_repeated(having: Having) -> None:
    async with having(OK) as subject:
        await subject.provider.initialize()
        await subject.provider.initialize()
        await subject.provider.close()
        await subject.provider.close()
