"""Who is asked first: entries in, an order out."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.strategy import STRATEGIES, Candidate, Entry, latency, order, round_robin

RNG = random.Random(1)


def entry(name: str, **said: object) -> Entry:
    return Entry(candidate=Candidate(name, "m"), **said)  # type: ignore[arg-type]


def names(candidates: list[Candidate]) -> list[str]:
    return [one.provider for one in candidates]


class NoChance(random.Random):
    """Never explores."""

    def random(self) -> float:
        return 1.0


def test_round_robin_takes_turns() -> None:
    entries = [entry("a"), entry("b"), entry("c")]
    firsts = [order(round_robin, entries, turn=turn, rng=RNG)[0].provider for turn in range(6)]
    assert firsts == ["a", "b", "c", "a", "b", "c"]


def test_round_robin_goes_on_from_its_first() -> None:
    assert names(order(round_robin, [entry("a"), entry("b"), entry("c")], turn=1, rng=RNG)) == ["b", "c", "a"]


def test_latency_counts_the_queue() -> None:
    fast_but_busy, slow = entry("busy", latency_s=0.2, in_flight=9), entry("slow", latency_s=1.0)
    assert names(order(latency, [fast_but_busy, slow], turn=0, rng=NoChance())) == ["slow", "busy"]


def test_unmeasured_providers_are_explored() -> None:
    """The first system took unmeasured for infinitely slow: 30 of 30 requests went to the first provider."""
    entries = [entry("known", latency_s=0.1), entry("new")]
    assert names(order(latency, entries, turn=0, rng=NoChance()))[0] == "new"


def test_an_unmeasured_provider_is_not_stampeded() -> None:
    entries = [entry("known", latency_s=0.1), entry("new", in_flight=1)]
    assert names(order(latency, entries, turn=0, rng=NoChance()))[0] == "known"


def test_nobody_measured_yet_spreads_by_load() -> None:
    entries = [entry("a", in_flight=2), entry("b", in_flight=1), entry("c", in_flight=3)]
    assert names(order(latency, entries, turn=0, rng=NoChance())) == ["b", "a", "c"]


def test_who_was_slow_once_is_measured_again() -> None:
    entries = [entry("fast", latency_s=0.1), entry("was_slow", latency_s=9.0)]
    firsts = Counter(order(latency, entries, turn=0, rng=random.Random(seed))[0].provider for seed in range(1_000))
    assert 20 <= firsts["was_slow"] <= 90


def test_priorities_come_first_and_shut_ones_last() -> None:
    entries = [
        entry("shut_long", priority=9, retry_in_s=20.0),
        entry("low", priority=-1),
        entry("shut_soon", retry_in_s=1.0),
        entry("high", priority=5),
        entry("usual"),
    ]
    expected = ["high", "usual", "low", "shut_soon", "shut_long"]
    assert names(order(round_robin, entries, turn=0, rng=RNG)) == expected


def test_no_preference_opens_a_door_that_is_shut() -> None:
    entries = [
        entry("shut", preferred=True, retry_in_s=9.0),
        entry("usual", priority=7),
        entry("wanted", preferred=True),
    ]
    assert names(order(round_robin, entries, turn=0, rng=RNG)) == ["wanted", "usual", "shut"]


@pytest.mark.parametrize("name", STRATEGIES)
@given(
    data=st.lists(
        st.builds(
            Entry,
            candidate=st.builds(Candidate, st.sampled_from("abcdef"), st.sampled_from("xyz")),
            in_flight=st.integers(0, 9),
            latency_s=st.none() | st.floats(0, 100),
            retry_in_s=st.just(0.0) | st.floats(0, 100),
            priority=st.integers(-2, 2),
            preferred=st.booleans(),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda one: one.candidate,
    ),
    turn=st.integers(0, 1_000),
    seed=st.integers(),
)
def test_every_strategy_only_orders(name: str, data: list[Entry], turn: int, seed: int) -> None:
    ordered = order(STRATEGIES[name], data, turn=turn, rng=random.Random(seed))
    assert sorted(map(repr, ordered)) == sorted(repr(one.candidate) for one in data)
    assert ordered == order(STRATEGIES[name], data, turn=turn, rng=random.Random(seed)), "a seed repeats the choice"
    shut = {one.candidate for one in data if one.retry_in_s > 0.0}
    assert all(one in shut for one in ordered[len(data) - len(shut) :])


def test_who_has_just_healed_gets_a_growing_share() -> None:
    rng = random.Random(1)
    for share in (0.1, 0.5, 0.9):
        entries = [entry("healed", share=share, priority=5), entry("well")]
        firsts = Counter(order(round_robin, entries, turn=0, rng=rng)[0].provider for _ in range(2_000))
        assert firsts["healed"] / 2_000 == pytest.approx(share, abs=0.05)


def test_a_share_refuses_nobody() -> None:
    entries = [entry("healed", share=0.1), entry("shut", retry_in_s=5.0)]
    assert names(order(round_robin, entries, turn=0, rng=NoChance())) == ["healed", "shut"]
