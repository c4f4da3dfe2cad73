"""What the first system was seen to do wrong when it chose a provider or reckoned a cost, each as a test that is passed
here: by the strategies alone, and below by the gateway that goes by them.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import get_args

import pytest

from runtime.balance.entry import Asked, Candidate, Entry, Why
from runtime.balance.plan import Routing, StrategyName, plan
from runtime.balance.score import SHARES, balanced
from runtime.balance.turns import Turns
from runtime.dialects.scripted import Status, Step
from runtime.models import ModelInfo, Pricing
from runtime.outcome import FailureKind, Usage
from runtime.price import CostEstimate
from runtime.request import CostLimits, Request, ask, user
from tests.fakes.gateway import Rigs, text, tried
from tests.fakes.providers import fails, kind, streamed

STRATEGIES: tuple[StrategyName, ...] = get_args(StrategyName)
HAIKU = Pricing(input=250_000_000, output=1_250_000_000)


def chosen(entries: list[Entry], strategy: StrategyName, requests: int = 30) -> Counter[str]:
    turns, rng = Turns(), random.Random(1)
    asked = Asked(input_tokens=100)
    return Counter(
        plan(entries, asked, Routing(strategy=strategy), turns=turns, key="k", rng=rng).candidates[0].provider
        for _ in range(requests)
    )


def test_latency_does_not_send_thirty_of_thirty_to_the_first_that_was_measured() -> None:
    """Unmeasured counted as infinitely slow, and nobody was explored."""
    measured = Entry(candidate=Candidate("first", "m"), ttft_s=0.5, measured_ago_s=0.1)
    entries = [measured, *(Entry(candidate=Candidate(name, "m")) for name in ("second", "third"))]
    asked = chosen(entries, "latency")
    assert min(asked["second"], asked["third"]) > 0


def test_an_unknown_price_is_not_zero_and_does_not_win() -> None:
    """A claude-3-haiku request went to OpenAI, with that model's name, because OpenAI had no price for it."""
    priced = ModelInfo(provider="anthropic", model="claude-3-haiku", pricing=HAIKU)
    unpriced = ModelInfo(provider="openai", model="claude-3-haiku")
    entries = [Entry(candidate=Candidate(info.provider, "claude-3-haiku"), info=info) for info in (unpriced, priced)]
    assert chosen(entries, "cost") == {"anthropic": 30}
    assert balanced(entries, Asked(input_tokens=100), None, mode="cost")[0].candidate.provider == "anthropic"


def test_requests_that_are_over_are_no_load() -> None:
    """Thirty finished requests were reported as thirty active ones, and least-loaded went by that."""
    used = Entry(candidate=Candidate("used", "m"), usual_load=30.0, output_tokens=100.0, measured_ago_s=0.0)
    idle = Entry(candidate=Candidate("busy", "m"), in_flight=1)
    assert chosen([idle, used], "least_loaded") == {"used": 30}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_max_cost_of_a_billionth_of_a_dollar_leaves_nobody(strategy: StrategyName) -> None:
    """maxCost was never read: 1e-9 dollars still ran."""
    info = ModelInfo(provider="a", model="m", pricing=HAIKU)
    entries = [
        Entry(candidate=Candidate("a", "m"), info=info, bound_nanousd=25_000),
        Entry(candidate=Candidate("b", "m"), bound_nanousd=None),
    ]
    asked = Asked(input_tokens=100, max_cost_nanousd=1)
    made = plan(entries, asked, Routing(strategy=strategy), turns=Turns(), key="k", rng=random.Random(1))
    assert made.order == ()
    assert [one.why for one in made.dropped] == [Why.COST, Why.COST]


def test_a_free_local_model_is_a_known_price_and_a_bonus_not_a_blank_cheque() -> None:
    """Savings of 100 % were reported wherever a local model was listed; here it must be good enough as well."""
    free = ModelInfo(provider="local", model="tiny", pricing=Pricing(input=0, output=0))
    paid = ModelInfo(provider="openai", model="big", pricing=HAIKU)
    entries = [
        Entry(candidate=Candidate("local", "tiny"), info=free, local=True, quality=0.4),
        Entry(candidate=Candidate("openai", "big"), info=paid, quality=0.9),
    ]
    asked = Asked(input_tokens=100, min_quality=0.8)
    made = plan(entries, asked, Routing(strategy="cost"), turns=Turns(), key="k", rng=random.Random(1))
    assert [one.provider for one in made.candidates] == ["openai"]


def test_the_routers_weights_and_bonuses_are_kept() -> None:
    """Its selection was real, and worth keeping: .5 · cost + .3 · latency + .2 · quality, times the bonuses."""
    priced = ModelInfo(provider="a", model="m", pricing=Pricing(input=100_000_000_000, output=0))
    asked = Asked(input_tokens=500, output_tokens=1.0)
    one = Entry(candidate=Candidate("a", "m"), info=priced, typical_s=0.5, quality=0.9)
    (plain,) = balanced([one], asked, None)
    # $0.05 of $0.1; 500 ms of 2000.
    assert plain.terms["score"] == pytest.approx(0.5 * 0.5 + 0.3 * 0.75 + 0.2 * 0.9)
    bonus = replace(one, local=True, preferred_provider=True, preferred_model=True)
    (favoured,) = balanced([bonus], asked, None)
    assert favoured.terms["bonus"] == pytest.approx(1.2 * 1.1 * 1.2)
    shares = {mode: balanced([one], asked, None, mode=mode)[0].terms["score"] for mode in SHARES}
    assert shares["cost"] == pytest.approx(0.5)
    assert shares["performance"] == pytest.approx(0.75)
    assert shares["quality"] == pytest.approx(0.9)


# The gateway.

PRICED = {"price": {"input": "0.25", "output": "1.25"}}


async def met(made: Rigs, request: Request, times: int) -> Counter[str]:
    return Counter([(await made.answer(request)).provider for _ in range(times)])


async def test_the_gateway_does_not_send_thirty_of_thirty_to_the_first() -> None:
    made = Rigs(**{name: text(name, delay_s=0.1) for name in "abc"}, settings={"strategy": "latency"})
    assert set(await met(made, ask("hi"), 30)) == {"a", "b", "c"}


async def test_the_gateway_goes_by_calls_under_way_and_not_by_those_that_are_over() -> None:
    made = Rigs(a=text("a"), b=text("b"), settings={"strategy": "least_loaded"})
    only = ask("hi", model="a/a-model")
    assert await met(made, only, 30) == {"a": 30}
    assert (await made.gateway.policy.upstreams["a"].status()).in_flight == 0
    assert min((await met(made, ask("hi"), 40)).values()) > 8, "30 requests that are over are no reason to avoid it"


@pytest.mark.parametrize("strategy", ["cost", "balanced"])
async def test_a_model_goes_to_nobody_only_because_its_price_is_unknown_there(strategy: str) -> None:
    settings = {
        "strategy": strategy,
        "routes": {"claude-3-haiku": ["b/claude-3-haiku", "a/claude-3-haiku"]},
        "models": {"a/claude-3-haiku": PRICED},
    }
    made = Rigs(a=text("a"), b=text("b"), settings=settings)
    assert await met(made, ask("hi", model="claude-3-haiku"), 10) == {"a": 10}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_billionth_of_a_dollar_is_refused_before_any_call(strategy: str, stream: bool) -> None:
    made = Rigs(a=text("a"), b=text("b"), settings={"strategy": strategy, "models": {"a/a-model": PRICED}})
    capped = replace(ask("hi"), cost=CostLimits(max_cost_nanousd=1))
    outcome = (await streamed(made.gateway, capped)).outcome if stream else await made.failure(capped)
    assert kind(outcome) is FailureKind.BUDGET_EXCEEDED
    assert made.calls() == {"a": 0, "b": 0}


async def test_an_unknown_price_is_an_unknown_cost_and_never_zero_dollars() -> None:
    made = Rigs(a=text("a"))
    expected = await made.gateway.estimate_cost(ask("hi"))
    assert isinstance(expected, CostEstimate)
    assert (expected.cost, expected.confidence) == (None, 0.0)


async def test_an_estimate_counts_words_and_no_json_around_them() -> None:
    """There: the letters of `JSON.stringify(messages)` by four, brackets and quotes included."""
    made = Rigs(a=text("a"), settings={"models": {"a/a-model": PRICED}})
    letters = "word " * 80
    expected = await made.gateway.estimate_cost(ask(letters))
    assert isinstance(expected, CostEstimate)
    assert expected.prompt_tokens == pytest.approx(len(letters) / 4, rel=0.3)
    many = Request(messages=tuple(user("hi") for _ in range(50)))
    short = await made.gateway.estimate_cost(many)
    assert isinstance(short, CostEstimate)
    assert short.prompt_tokens < 300


async def test_usage_is_as_reported_and_not_divided_seventy_to_thirty() -> None:
    made = Rigs(a=Step(text="hi", usage=Usage(input_tokens=10, output_tokens=90)))
    await made.answer(ask("hi"))
    used = (await made.gateway.usage("all")).total
    assert (used.input_tokens, used.output_tokens, used.requests) == (10, 90, 1)


async def test_preferred_models_are_asked_first_and_the_others_after_them() -> None:
    """There: read by nobody."""
    made = Rigs(a=text("a"), b=[fails(Status(status=500)), text("b")], settings={"strategy": "latency"})
    wanted = replace(ask("hi"), cost=CostLimits(preferred_models=("b-model",)))
    assert tried((await made.answer(wanted)).attempts) == [("b", "unavailable"), ("a", "ok")]
    assert (await made.answer(wanted)).provider == "b"


async def test_a_limit_of_time_leaves_out_who_is_known_to_be_slower() -> None:
    made = Rigs(a=text("a", delay_s=5.0), b=text("b", delay_s=0.1), settings={"strategy": "round_robin"})
    await met(made, ask("hi"), 2)
    hasty = replace(ask("hi"), cost=CostLimits(max_latency_s=1.0))
    assert await met(made, hasty, 4) == {"b": 4}
