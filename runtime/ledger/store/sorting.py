"""Which rows of a batch are new, which correct one that is there, and which were there already. Pure.

there                 comes                      then
nothing               any                        new
nothing               from before the fold       too old: may have been there, is not counted
LOST                  not LOST                   corrected: flagged RECONCILED, the first cost kept
any                   RECONCILED, and different  corrected
any                   any other                  known: nothing happens
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from runtime.ledger.rows import Flag, Row
from runtime.ledger.store.base import Appended, Change
from runtime.ledger.store.columns import AT, Flat, flat
from runtime.ledger.store.tally import is_unpriced

_ATTEMPT, _AT_MS, _FLAGS, _COST, _WAS = (
    AT[name] for name in ("attempt", "at_ms", "flags", "cost_nanousd", "was_nanousd")
)
_IN, _OUT = AT["input_tokens"], AT["output_tokens"]
_LOST, _RECONCILED = int(Flag.LOST), int(Flag.RECONCILED)


class Sorted(NamedTuple):
    """`new` are written, `corrected` written over `taken`, in the same order."""

    new: list[Flat]
    corrected: list[Flat]
    taken: list[Flat]
    appended: Appended


def flat_rows(rows: Iterable[Row]) -> list[Flat]:
    """As columns, without those that the provider never saw."""
    return [flat(row) for row in rows if not row.settlement.unsent]


def all_new(rows: Iterable[Row], flats: list[Flat]) -> Appended:
    """What is said of a batch of which nothing was there."""
    sent = (row for row in rows if not row.settlement.unsent)
    return Appended(changes=tuple(_fresh(row, values) for row, values in zip(sent, flats, strict=True)))


def sort_out(rows: Iterable[Row], stored: Mapping[str, Flat], folded_ms: int) -> Sorted:
    """`stored` are those of the batch that are there, by attempt; all before `folded_ms` has been removed."""
    now: dict[str, Flat] = {}
    of: dict[str, Row] = {}
    known, too_old = 0, list[Row]()
    for row in rows:
        if row.settlement.unsent:
            continue
        values = flat(row)
        attempt = values[_ATTEMPT]
        there = now.get(attempt) or stored.get(attempt)
        if there is None:
            if values[_AT_MS] < folded_ms:
                too_old.append(row)
                continue
            now[attempt], of[attempt] = values, row
        elif _corrects(there, values):
            now[attempt], of[attempt] = corrected(there, values), row
        else:
            known += 1
    changes, new, better, taken = [], [], [], []
    for attempt, values in now.items():
        if (old := stored.get(attempt)) is None:
            new.append(values)
            changes.append(_fresh(of[attempt], values))
        else:
            better.append(values)
            taken.append(old)
            changes.append(_difference(of[attempt], old, values))
    return Sorted(new, better, taken, Appended(changes=tuple(changes), known=known, too_old=tuple(too_old)))


def corrected(there: Flat, values: Flat) -> Flat:
    """The row as it is now known, in the periods in which it was first counted; what it cost first stays beside it."""
    now = list(values)
    now[_AT_MS] = there[_AT_MS]
    now[_FLAGS] = values[_FLAGS] | _RECONCILED
    now[_WAS] = there[_WAS] if there[_FLAGS] & _RECONCILED else there[_COST]
    return tuple(now)


def _corrects(there: Flat, values: Flat) -> bool:
    if there[_FLAGS] & _LOST and not values[_FLAGS] & _LOST:
        return True
    return bool(values[_FLAGS] & _RECONCILED) and corrected(there, values) != there


def _fresh(row: Row, values: Flat) -> Change:
    cost = values[_COST]
    unpriced = 1 if cost is None and is_unpriced(values) else 0
    return Change(row, cost or 0, values[_IN] + values[_OUT], unpriced, True)  # noqa: FBT003  # a named tuple


def _difference(row: Row, old: Flat, values: Flat) -> Change:
    return Change(
        row=row,
        cost_nanousd=(values[_COST] or 0) - (old[_COST] or 0),
        tokens=values[_IN] + values[_OUT] - old[_IN] - old[_OUT],
        unpriced=is_unpriced(values) - is_unpriced(old),
        new=False,
    )
