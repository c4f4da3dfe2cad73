"""Attempts whose writers have fallen silent, with their node or behind a cut: they are charged at their hold.

    heard          ─► its attempts stay open, however long they take
    not heard for `GONE_S` ─► Row at its hold, LOST   (`journal.lost`; the true settlement corrects it, should it come)

Whose journal lies on this node is not silent: the collector brings in what it says, which is more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from runtime.ledger.journal import lost
from runtime.ledger.rows import Intent, Row

GONE_S = 60.0
"""An edge is heard about each second; a manager that has just started has heard all that live long before."""


def writer_of(attempt: str) -> str:
    """Whose journal an attempt stands in."""
    return attempt.rpartition("-")[0]


class Silent:
    """`now` is any clock that does not jump back, in seconds."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def lost(self, opened: Iterable[Intent], living: Collection[str], now: float) -> list[Row]:
        """Rows of those that are given up. `opened` are all attempts that the ledger knows to be under way."""
        by_writer: dict[str, list[Intent]] = {}
        for intent in opened:
            by_writer.setdefault(writer_of(intent.attempt), []).append(intent)
        self._since = {name: self._since.get(name, now) for name in by_writer if name not in living}
        gone = [name for name, since in self._since.items() if now - since >= GONE_S]
        return [lost(intent) for name in gone for intent in by_writer[name]]
