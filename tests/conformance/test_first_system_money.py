"""What the first system was seen to do wrong with prices, costs and counts of tokens, each as a test that ours passes.

There: an unknown price was $0 and won; usage was split 70 to 30 by guess; a stream's answer had 100 tokens whatever it
said; Gemini was free; and tokens were counted in the JSON around the messages.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import orjson
import pytest

from runtime.catalog import Catalog
from runtime.dialects.base import HttpReply, Target
from runtime.dialects.reading import NOT_REPORTED
from runtime.dialects.registry import DIALECTS
from runtime.dialects.scripted import Step
from runtime.hold import hold
from runtime.models import FREE
from runtime.outcome import Completion, Cost, Usage
from runtime.price import cost_of, estimate
from runtime.request import CostLimits, Message, Request, Role, Sampling, TextPart, Tool, ask
from runtime.settings import Settings
from runtime.tokens import estimate_tokens
from runtime.usage import UsageBook
from tests.conformance.samples import SAMPLES
from tests.fakes.gateway import Rigs
from tests.fakes.providers import rig, settings_of, streamed

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
