"""Prices, holds and token counts against what providers charged and reported. `python -m tests.wire.money` shows it."""

from __future__ import annotations

from random import Random

import pytest

from runtime import vocabulary
from tests.wire.money import beyond_bounds, beyond_holds, charged, token_errors
from tests.wire.records import ABSENT, DEV

pytestmark = pytest.mark.skipif(not DEV.is_dir(), reason=ABSENT)

OTHERWISE = {
    "408f7a5a75086657": "OpenRouter searched the web for it: a cent, which it counts nowhere",
    "7fdd3a9041e14997": "an advisor, another model, was asked as well",
    "e281155140d17d99": "the same tokens were read from a cache and written to it again",
    "d771c6b19add8645": "it went to a host that is cheaper than the list",
    "d25e05abfd504335": "another model of its list answered",
    "50ec39ff4cb3a833": "a name that the price data does not have: unknown",
    "5ba784aa1e856760": "a name that the price data does not have: unknown",
}
"""Why OpenRouter's own cost is another one than its list's. Its own is what we report, so none of this is wrong."""

UNUSUAL = {
    "b51d43382efa5f2f": "its request has no limit, and an attempt that is held sends one",
    "9f1cc2872de152f8": "a stand-in reports spoken tokens of a written request; their price is unknown",
    "b66bc23993486857": "the same stand-in",
}
"""What used more than our bounds."""


def test_our_price_of_what_openrouter_reports_is_what_it_charged_to_the_nanodollar() -> None:
    costs = charged()
    assert len(costs) > 150
    assert {one.exchange.record.id for one in costs if not one.agrees} == set(OTHERWISE)


def test_nothing_was_charged_beyond_its_hold() -> None:
    assert beyond_holds() == []


def test_nothing_used_more_than_its_bounds() -> None:
    count, over = beyond_bounds()
    assert count > 1_400
    assert {one.record.id for one in over} == set(UNUSUAL)


@pytest.mark.parametrize("exact", [False, True], ids=["bytes", "vocabulary"])
def test_what_was_reported_makes_estimates_better(monkeypatch: pytest.MonkeyPatch, *, exact: bool) -> None:
    monkeypatch.setattr(vocabulary, "_loaded", [vocabulary.load()] if exact else [])
    errors = token_errors(Random(1))
    before, after = errors[""]
    assert before.median > 0.3
    assert after.median < 0.15
    assert after.p95 < before.p95
    for family in ("gpt", "claude", "qwen", "command"):
        before, after = errors[family]
        assert after.median < 0.2, family
        assert after.median < before.median / 2, family
