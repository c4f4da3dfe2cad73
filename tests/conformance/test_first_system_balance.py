"""What the first system was seen to do wrong when it chose a provider, each as a test that the strategies here pass."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from runtime.balance.entry import Asked, Candidate, Entry, Why
from runtime.balance.plan import Routing, StrategyName, plan
from runtime.balance.score import balanced
from runtime.balance.turns import Turns
from runtime.models import ModelInfo, Pricing

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


@pytest.mark.parametrize(
    "strategy", ["round_robin", "least_loaded", "latency", "cost", "balanced", "weighted", "rules", "learned"]
)
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
