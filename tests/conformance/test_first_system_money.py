"""What the first system was seen to do wrong with prices, costs and counts of tokens, each as a test that ours passes.

There: an unknown price was $0 and won; usage was split 70 to 30 by guess; a stream's answer had 100 tokens whatever it
said; Gemini was free; tokens were counted in the JSON around the messages; limits were never read; and requests that
had ended were counted as under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from runtime.catalog import Catalog
from runtime.dialects.base import HttpReply, Target
from runtime.dialects.reading import NOT_REPORTED
from runtime.dialects.registry import DIALECTS
from runtime.dialects.scripted import Step
from runtime.hold import hold
from runtime.ledger.purse import Reservation
from runtime.ledger.rows import Batch, Flag
from runtime.models import FREE
from runtime.outcome import Completion, Cost, Failure, FailureKind, Usage
from runtime.price import cost_of, estimate
from runtime.request import CostLimits, Message, Request, Role, Sampling, TextPart, Tool, ask
from runtime.settings import Settings
from runtime.tokens import estimate_tokens
from runtime.usage import UsageBook
from tests.actors.test_till import NOW, Edge
from tests.conformance.samples import SAMPLES
from tests.fakes.gateway import Rigs
from tests.fakes.providers import rig, settings_of, streamed
from tests.ledger.rows import row
from tests.serve.office import opened

PRICED = {"models": {"one/scripted": {"price": {"input": "1", "output": "3"}}}}
KINDS = ("openai", "anthropic", "google", "cohere", "ollama", "openrouter")


def catalog() -> Catalog:
    providers = {kind: {"kind": kind} for kind in (*KINDS, "local")}
    return Catalog(Settings.model_validate({"providers": providers}), today=lambda: date(2026, 11, 23))


# Unknown is not free.


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ollama"])
def test_an_unknown_price_is_unknown_and_not_zero(kind: str) -> None:
    """estimateCost said $0 with confidence 0, and the cheapest provider was whoever had no price."""
    info = catalog().info(kind, "vendor/never-heard-of-it")
    assert info is not None
    guess = estimate(ask("hi"), info)
    assert (guess.cost, guess.confidence) == (None, 0.0)
    assert hold(ask("hi"), info) is None
    assert cost_of(Usage(input_tokens=1_000), info.pricing) is None


async def test_an_unknown_price_is_unknown_in_the_answer_and_in_the_report() -> None:
    made = rig(Step(text="hi", usage=Usage(input_tokens=10, output_tokens=3)))
    answer = await made.provider.complete(ask("hi"))
    assert isinstance(answer, Completion)
    assert answer.cost is None
    total = (await made.provider.usage("all")).total
    assert (total.unpriced_requests, total.cost_nanousd, total.total_tokens) == (1, 0, 13)


async def test_a_request_with_a_limit_of_cost_does_not_go_to_an_unknown_price() -> None:
    made = Rigs(a=Step(text="hi"))
    outcome = await made.failure(replace(ask("hi", model="a/m"), cost=CostLimits(max_cost_nanousd=10**12)))
    assert outcome.kind == "budget_exceeded"


def test_gemini_is_not_free() -> None:
    """Its price list said 0 and 0 for gemini-2.0-flash: "free tier"."""
    info = catalog().info("google", "gemini-2.0-flash")
    assert info is not None
    assert info.pricing is not None
    assert info.pricing.input > 0
    assert info.pricing.output > 0


def test_what_runs_here_costs_nothing_and_says_so() -> None:
    for provider, model in (("local", "smollm2-135m"), ("ollama", "llama3.2")):
        info = catalog().info(provider, model)
        assert info is not None
        assert info.pricing == FREE
        guess = estimate(ask("hi"), info)
        assert guess.cost is not None
        assert guess.cost.total_nanousd == 0
        assert guess.confidence > 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_nobody_knows_is_paid_for_and_answered(kind: str) -> None:
    """There a TypeError came after the paid call, for its price was looked up without looking."""
    dialect = "openai" if kind == "openrouter" else kind
    target = Target(provider="p", base_url="https://h.example/v1", model="never-heard-of-it", api_key="k")
    outcome = DIALECTS[dialect].decode(HttpReply(status=200, headers={}, body=SAMPLES[dialect].reply), target)
    assert isinstance(outcome, Completion)
    assert cost_of(outcome.usage, None) is None


# Nothing is made up.


def test_usage_is_not_split_seventy_to_thirty() -> None:
    """Ten thousand tokens in and none out were reported as 7,000 and 3,000."""
    book = UsageBook()
    embedded = Completion(id="1", model="m", usage=Usage(input_tokens=10_000), cost=Cost(total_nanousd=500))
    book.add("p", "m", embedded, latency_s=1.0, at_s=0.0)
    total = book.report("all", 1.0).total
    assert (total.input_tokens, total.output_tokens) == (10_000, 0)
    assert (total.input_cost_nanousd, total.output_cost_nanousd, total.cost_nanousd) == (0, 0, 500)


def test_usage_is_broken_down_by_model_and_of_the_period_that_was_asked_for() -> None:
    """modelBreakdown was always {}, and the period was ignored."""
    book = UsageBook()
    for model, at_s in (("a", 0.0), ("b", 7_200.0)):
        answer = Completion(id="1", model=model, usage=Usage(input_tokens=5), cost=Cost(total_nanousd=5))
        book.add("p", model, answer, latency_s=1.0, at_s=at_s)
    assert set(book.report("all", 7_300.0).models) == {"p/a", "p/b"}
    assert set(book.report("hour", 7_300.0).models) == {"p/b"}


async def test_a_stream_costs_what_its_provider_counted() -> None:
    """There every stream had 100 tokens of output."""
    made = rig(
        Step(text="one two three", usage=Usage(input_tokens=10, output_tokens=7)), settings=settings_of("one", **PRICED)
    )
    outcome = (await streamed(made.provider, ask("hi"))).outcome
    assert isinstance(outcome, Completion)
    assert (outcome.usage.output_tokens, outcome.usage.estimated) == (7, False)
    assert outcome.cost is not None
    assert outcome.cost.total_nanousd == 10 * 1_000 + 7 * 3_000


async def test_a_stream_that_reports_nothing_is_counted_and_marked() -> None:
    made = rig(Step(text="x" * 400, usage=NOT_REPORTED), settings=settings_of("one", **PRICED))
    outcome = (await streamed(made.provider, ask("hi"))).outcome
    assert isinstance(outcome, Completion)
    assert outcome.usage.estimated
    assert outcome.usage.output_tokens == 100


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "openrouter"])
def test_no_count_is_ever_negative(kind: str) -> None:
    """Gemini's was the total less a guess of the prompt."""
    target = Target(provider="p", base_url="https://h.example/v1", model="m", api_key="k")
    decoder = DIALECTS[kind].decoder(target)
    decoder.feed(SAMPLES[kind].stream)
    outcome = decoder.finish()
    assert isinstance(outcome, Completion)
    assert outcome.usage.input_tokens > 0
    assert outcome.usage.output_tokens > 0


# Estimates.


def test_the_json_around_messages_is_not_counted() -> None:
    """ceil(len/4) of JSON.stringify(messages)."""
    spelled = Request(messages=tuple(Message(role=Role.USER, parts=(TextPart("x" * 40),)) for _ in range(10)))
    assert estimate_tokens(spelled) == 100


def test_tools_are_counted() -> None:
    tool = Tool(name="find", description="x" * 396)
    assert estimate_tokens(replace(ask(""), tools=(tool,))) == 100


def test_an_answers_assumed_length_is_its_limit_and_confidence_is_not_the_same_for_all() -> None:
    """0.7, whatever was known."""
    info = catalog().info("openai", "gpt-4o-mini")
    limited = estimate(replace(ask("hi"), sampling=Sampling(max_tokens=5)), info)
    assert limited.completion_tokens == 5
    assert limited.confidence > estimate(ask("hi"), info).confidence > 0.0


async def test_an_estimate_says_what_it_may_come_to_at_most_and_how_old_its_prices_are() -> None:
    made = rig(Step(text="hi"), settings=settings_of("one", **PRICED))
    guess = await made.provider.estimate_cost(replace(ask("hi"), sampling=Sampling(max_tokens=50)))
    assert guess.cost is not None  # type: ignore[union-attr]
    assert guess.bound_nanousd is not None  # type: ignore[union-attr]
    assert guess.cost.total_nanousd < guess.bound_nanousd  # type: ignore[union-attr]
    info = catalog().info("openai", "gpt-4o-mini")
    assert info is not None
    assert estimate(ask("hi"), info).prices_as_of == date(2026, 11, 9)


async def test_a_route_is_estimated_at_each_who_may_be_asked() -> None:
    prices = {"a/m": {"price": {"input": 1, "output": 1}}, "b/m": {"price": {"input": 2, "output": 2}}}
    made = Rigs(a=Step(text="x"), b=Step(text="x"), settings={"models": prices, "routes": {"r": ["a/m", "b/m"]}})
    guess = await made.gateway.estimate_cost(ask("hi", model="r"))
    assert [one.provider for one in guess.options] == ["a", "b"]  # type: ignore[union-attr]
    first, second = (one.cost for one in guess.options)  # type: ignore[union-attr]
    assert first is not None
    assert second is not None
    assert second.total_nanousd == 2 * first.total_nanousd


# The provider's own word.


async def test_what_the_provider_says_that_it_charged_goes_before_the_list() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "cost": 0.000012345}
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    body = orjson.dumps({"id": "1", "model": "m", "choices": [choice], "usage": usage})
    target = Target(provider="p", base_url="https://h.example/v1", model="m", api_key="k")
    outcome = DIALECTS["openrouter"].decode(HttpReply(status=200, headers={}, body=body), target)
    assert isinstance(outcome, Completion)
    assert outcome.cost == Cost(total_nanousd=12_345, source="provider")


# Limits are read, and usage is what was used: the ledger itself.


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncGenerator[Edge]:
    made = Edge(await opened(tmp_path))
    yield made
    await made.till.stop()
    await made.ledger.close()


async def asked(edge: Edge, what: str, **how: str) -> Any:
    found = await edge.ledger.ask(what, who="test", **how)
    assert not isinstance(found, Failure), found
    return found


def used(attempt: str, *, ago_s: float = 1.0, **more: Any) -> Any:
    return row(attempt, at_ms=round((NOW - ago_s) * 1_000), **more)


async def test_a_budget_of_a_billionth_of_a_dollar_is_kept(edge: Edge) -> None:
    """maxCost of 1e-9 still ran: maxCostPerRequest and costConstraints were never read."""
    payer = await edge.key(budgets=[{"period": "total", "limit_usd": "0.000000001"}])
    async with asyncio.timeout(5):
        refused = await edge.till.money(payer.account, 2)
        paid = await edge.till.money(payer.account, 1)
        assert isinstance(refused, Failure)
        assert refused.kind is FailureKind.BUDGET_EXCEEDED
        assert isinstance(paid, Reservation)
        edge.till.settle(paid, 1, 0)
        assert isinstance(await edge.till.money(payer.account, 1), Failure)


@pytest.mark.parametrize(
    ("rate", "tokens"), [({"requests_per_min": 1}, 5), ({"tokens_per_min": 9}, 5), ({"concurrent": 1}, 5)]
)
async def test_each_limit_is_read(edge: Edge, rate: dict[str, int], tokens: int) -> None:
    payer = await edge.key(rate=rate)
    async with asyncio.timeout(5):
        assert isinstance(await edge.till.request(payer, tokens), Reservation)
        refused = await edge.till.request(payer, tokens)
    assert isinstance(refused, Failure)
    assert refused.kind is FailureKind.THROTTLED


async def test_requests_that_have_ended_take_no_place(edge: Edge) -> None:
    """Thirty finished requests were thirty active ones."""
    payer = await edge.key(rate={"concurrent": 1})
    async with asyncio.timeout(5):
        for _ in range(30):
            place = await edge.till.request(payer, 5)
            assert isinstance(place, Reservation)
            edge.till.settle(place, 0, 5)


async def test_attempts_that_have_ended_are_not_under_way(edge: Edge) -> None:
    rows = tuple(used(f"w:{n}") for n in range(30))
    assert await edge.ledger.ship(Batch(writer="w", open=tuple(one.intent for one in rows))) is None
    assert (await asked(edge, "state"))["under_way"] == 30
    assert await edge.ledger.ship(Batch(writer="w", rows=rows)) is None
    assert (await asked(edge, "state"))["under_way"] == 0


async def test_spend_is_as_reported_and_not_split_seventy_to_thirty(edge: Edge) -> None:
    await edge.ledger.ship(Batch(writer="w", rows=(used("w:1", tokens=(10_000, 0), cost=500),)))
    total = (await asked(edge, "spend"))["total"]
    assert (total["input_tokens"], total["output_tokens"], total["cost_nanousd"]) == (10_000, 0, 500)


async def test_spend_has_a_line_for_each_model_and_is_of_the_span_that_was_asked_for(edge: Edge) -> None:
    """modelBreakdown was always {}, and the period was ignored."""
    rows = (used("w:1", model="a"), used("w:2", model="b"), used("w:3", model="c", ago_s=10 * 86_400))
    await edge.ledger.ship(Batch(writer="w", rows=rows))
    spend = await asked(edge, "spend", by="model", last="7d")
    assert {one["model"] for one in spend["lines"]} == {"a", "b"}
    assert spend["total"]["attempts"] == 2


async def test_an_unknown_price_is_in_no_sum_and_is_not_zero(edge: Edge) -> None:
    await edge.ledger.ship(Batch(writer="w", rows=(used("w:1", cost=None, flags=Flag.UNPRICED),)))
    total = (await asked(edge, "spend"))["total"]
    assert (total["cost_usd"], total["unpriced"], total["attempts"]) == (None, 1, 1)
    assert (await asked(edge, "rows"))["rows"][0]["cost_nanousd"] is None


async def test_an_unknown_price_is_not_within_a_hard_budget(edge: Edge) -> None:
    """What had no price was the cheapest of all, and was asked."""
    payer = await edge.key(budgets=[{"period": "month", "limit_usd": 1_000_000}])
    refused = await edge.till.money(payer.account, None)
    assert isinstance(refused, Failure)
    assert refused.code == "unknown_price"


async def test_an_attempt_that_is_told_twice_is_paid_once(edge: Edge) -> None:
    batch = Batch(writer="w", rows=(used("w:1", cost=500),))
    for _ in range(3):
        assert await edge.ledger.ship(batch) is None
    assert (await asked(edge, "spend"))["total"]["cost_nanousd"] == 500
