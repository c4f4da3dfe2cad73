"""What is learned of how providers count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.token_ratio import FIXED_BOUNDS, LEARNS_ALL, LEARNS_EVERY, MOST_FAMILIES, RATIO_BOUNDS, Ratios, families_of


def taught(ratio: float, fixed: float, model: str = "claude-haiku-4-5", n: int = 60) -> Ratios:
    ratios = Ratios()
    for i in range(n):
        counted = 20 + 97 * (i % 20)
        ratios.observe(model, "plain", counted=counted, reported=round(ratio * counted + fixed))
    return ratios


def test_who_said_nothing_counts_as_we_do() -> None:
    assert Ratios().expected("m", "plain", 123) == 123


@pytest.mark.parametrize(("ratio", "fixed"), [(1.3, 0), (0.8, 40), (1.0, 500), (2.5, 300)])
def test_both_the_ratio_and_what_is_fixed_are_found(ratio: float, fixed: float) -> None:
    found = taught(ratio, fixed).expected("claude-haiku-4-5", "plain", 1_000)
    assert found == pytest.approx(1_000 * ratio + fixed, rel=0.03)


def test_each_shape_is_learned_by_itself() -> None:
    ratios = taught(1.0, 400.0)
    assert ratios.expected("claude-haiku-4-5", "tools", 100) == 100
    assert ratios.expected("claude-haiku-4-5", "plain", 100) > 400


def test_a_new_model_begins_as_its_relatives_are() -> None:
    ratios = taught(1.5, 0.0)
    assert ratios.expected("anthropic/claude-opus-9", "plain", 1_000) == pytest.approx(1_500, rel=0.1)
    assert ratios.expected("gemini-9", "plain", 1_000) == 1_000


def test_a_tokeniser_that_changes_is_learned_anew() -> None:
    ratios = taught(1.0, 0.0, n=200)
    for i in range(200):
        counted = 20 + 97 * (i % 20)
        ratios.observe("claude-haiku-4-5", "plain", counted=counted, reported=round(counted * 1.4))
    assert ratios.expected("claude-haiku-4-5", "plain", 1_000) == pytest.approx(1_400, rel=0.05)


@given(st.lists(st.tuples(st.integers(-5, 10**7), st.integers(-5, 10**7)), max_size=30), st.integers(0, 10**7))
def test_no_report_makes_it_absurd(seen: list[tuple[int, int]], counted: int) -> None:
    ratios = Ratios()
    for x, y in seen:
        ratios.observe("m-1", "plain", counted=x, reported=y)
    ratio, fixed = ratios.learned("m-1", "plain")
    assert RATIO_BOUNDS[0] <= ratio <= RATIO_BOUNDS[1]
    assert FIXED_BOUNDS[0] <= fixed <= FIXED_BOUNDS[1]
    assert ratios.expected("m-1", "plain", counted) >= 0


def test_names_do_not_fill_the_memory_and_what_is_used_stays() -> None:
    ratios = taught(1.5, 0.0, "kept-1")
    for i in range(2 * MOST_FAMILIES):
        ratios.observe(f"{chr(97 + i % 26)}x-{i}", "plain", counted=10, reported=10)
        ratios.observe("kept-1", "plain", counted=1_000, reported=1_500)
    assert len(ratios) <= MOST_FAMILIES
    assert ratios.expected("kept-1", "plain", 1_000) == pytest.approx(1_500, rel=0.05)


def test_later_observations_are_wanted_less_often() -> None:
    ratios = Ratios()
    wanted = [ratios.wants("m", "plain") for _ in range(LEARNS_ALL + 10 * LEARNS_EVERY)]
    assert all(wanted[:LEARNS_ALL])
    assert sum(wanted[LEARNS_ALL:]) == 10


@pytest.mark.parametrize(
    ("model", "relatives", "itself"),
    [
        ("openai/gpt-4o-mini-2024-07-18", "gpt", "gpt-4o-mini"),
        ("models/gemini-2.5-flash-preview", "gemini", "gemini-2.5-flash"),
        ("llama3.2:1b", "llama", "llama3.2"),
        ("command", "command", "command itself"),
        ("", "", ""),
    ],
)
def test_dates_vendors_and_tags_do_not_make_another_family(model: str, relatives: str, itself: str) -> None:
    assert families_of(model) == (relatives, itself)
