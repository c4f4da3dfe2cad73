"""How often a provider, or one of its models, failed lately, over all edges: counts in slots of time, forgotten one
by one.

The ring holds `slots` slots of `span_s / slots` seconds. A slot is cleared when time re-enters it, so the sum
always covers the last `span_s` seconds, give or take one slot, never "this lap only". Besides, what has failed since
the last success, however long ago that was: where every edge has shut it by itself, calls are too few for a rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class _Slot:
    index: int = -1
    good: int = 0
    bad: int = 0
    unreached: int = 0
    complainants: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Sums over the window. `unreached` of the `bad` never reached the provider; `complainants` are the distinct edges
    that saw a failure. The same `in_a_row`: of all since the last success, of these edges, of which two are counted."""

    good: int
    bad: int
    complainants: int
    unreached: int = 0
    in_a_row: int = 0
    row_unreached: int = 0
    row_complainants: int = 0

    @property
    def total(self) -> int:
        return self.good + self.bad

    @property
    def failure_rate(self) -> float:
        return self.bad / self.total if self.total else 0.0

    @property
    def unreached_rate(self) -> float:
        return self.unreached / self.total if self.total else 0.0


class Window:
    def __init__(self, *, span_s: float = 10.0, slots: int = 10) -> None:
        self._width_s = span_s / slots
        self._slots = [_Slot() for _ in range(slots)]
        self._row = _Slot()

    def add(self, now: float, *, good: int, bad: int, edge: str, unreached: int = 0) -> None:
        index = int(now / self._width_s)
        slot = self._slots[index % len(self._slots)]
        if slot.index != index:
            slot.index, slot.good, slot.bad, slot.unreached = index, 0, 0, 0
            slot.complainants.clear()
        slot.good += good
        slot.bad += bad
        slot.unreached += unreached
        if bad:
            slot.complainants.add(edge)
        if good:
            # Which of them came first, nobody says.
            self._row = _Slot()
        elif bad:
            self._row.bad += bad
            self._row.unreached += unreached
            if len(self._row.complainants) < 2:
                self._row.complainants.add(edge)

    def tally(self, now: float) -> Tally:
        oldest = int(now / self._width_s) - len(self._slots) + 1
        live = [slot for slot in self._slots if slot.index >= oldest]
        return Tally(
            good=sum(slot.good for slot in live),
            bad=sum(slot.bad for slot in live),
            unreached=sum(slot.unreached for slot in live),
            complainants=len(set().union(*(slot.complainants for slot in live))) if live else 0,
            in_a_row=self._row.bad,
            row_unreached=self._row.unreached,
            row_complainants=len(self._row.complainants),
        )

    def clear(self) -> None:
        """Forget everything: a closed breaker starts anew."""
        self._slots = [_Slot() for _ in self._slots]
        self._row = _Slot()
