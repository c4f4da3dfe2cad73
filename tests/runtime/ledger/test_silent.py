"""Attempts of a node that nobody hears any more are charged at their hold; those of all others stay open."""

from __future__ import annotations

from runtime.ledger.rows import Flag
from runtime.ledger.silent import GONE_S, Silent
from tests.runtime.ledger.rows_of import intent

OPENED = [intent("w1-1"), intent("w1-2"), intent("w2-1")]


def test_what_a_silent_writer_had_open_is_charged_at_its_hold_and_flagged() -> None:
    silent = Silent()
    assert silent.lost(OPENED, {"w2"}, 100.0) == []
    rows = silent.lost(OPENED, {"w2"}, 100.0 + GONE_S)
    assert [row.intent.attempt for row in rows] == ["w1-1", "w1-2"]
    assert all(row.cost_nanousd == row.intent.hold_nanousd == 5_000 for row in rows)
    assert all(row.settlement.flags & Flag.LOST for row in rows)


def test_a_writer_that_is_heard_again_has_its_time_anew() -> None:
    silent = Silent()
    silent.lost(OPENED, {"w2"}, 0.0)
    assert silent.lost(OPENED, {"w1", "w2"}, GONE_S - 1.0) == []
    assert silent.lost(OPENED, {"w2"}, GONE_S + 1.0) == []


def test_a_long_attempt_of_a_writer_that_lives_is_never_given_up() -> None:
    silent = Silent()
    assert all(not silent.lost(OPENED, {"w1", "w2"}, at * GONE_S) for at in range(100))
