"""The short version of `make bench-balance`: seeded, so its figures are the same everywhere."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from bench.balance.policies import POLICIES
from bench.balance.scenarios import BY_NAME, CHANGED, STEP_S
from bench.balance.simulate import Result, simulate

SHORT_S = 40.0


@cache
def ran(scenario: str, policy: str, seed: int = 1) -> Result:
    return simulate(replace(BY_NAME[scenario], seconds=SHORT_S), POLICIES[policy](), seed)


def p99(scenario: str, policy: str, since_s: float = 5.0) -> float:
    return float(np.quantile(ran(scenario, policy).between(since_s), 0.99))


def mean(scenario: str, policy: str, since_s: float = 5.0) -> float:
    return float(ran(scenario, policy).between(since_s).mean())


@pytest.mark.parametrize("scenario", ["two", "mixed", "hosted"])
def test_latency_is_near_an_oracle_that_knows_as_little_of_the_answer(scenario: str) -> None:
    assert p99(scenario, "latency") <= 1.3 * p99(scenario, "oracle, lengths unknown")


@pytest.mark.parametrize("scenario", ["two", "mixed", "hosted"])
def test_latency_is_near_the_oracle_where_lengths_are_foreseen(scenario: str) -> None:
    assert p99(scenario, "latency, lengths known") <= 1.3 * p99(scenario, "oracle")


@pytest.mark.parametrize("scenario", ["two", "mixed", "hosted"])
def test_latency_is_better_than_chance(scenario: str) -> None:
    assert mean(scenario, "latency") < mean(scenario, "random")
    assert p99(scenario, "latency") < p99(scenario, "random")


def test_two_seconds_after_a_slowdown_the_slow_one_is_left_alone() -> None:
    result = ran("step up", "latency")
    assert result.share(CHANGED, STEP_S - 5.0, STEP_S) > 0.15
    assert result.share(CHANGED, STEP_S + 2.0) < 0.02


@pytest.mark.parametrize(("scenario", "since_s"), [("broken", 1.0), ("breaks", STEP_S + 1.0)])
def test_who_fails_fast_gets_little_after_a_second(scenario: str, since_s: float) -> None:
    assert ran(scenario, "latency").share(CHANGED, since_s) < 0.02


def test_round_robin_is_even() -> None:
    result = ran("mixed", "round_robin")
    shares = [result.share(server, 0.0) for server in range(5)]
    assert max(shares) - min(shares) < 0.01


def test_equal_seeds_give_equal_figures() -> None:
    again = simulate(replace(BY_NAME["two"], seconds=SHORT_S), POLICIES["latency"](), 1)
    assert np.array_equal(again.took, ran("two", "latency").took)
