"""How often a provider, or one of its models, failed lately, over all edges: counts in slots of time, forgotten one
by one.

The ring holds `slots` slots of `span_s / slots` seconds. A slot is cleared when time re-enters it, so the sum
always covers the last `span_s` seconds, give or take one slot, never "this lap only".
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
    that saw a failure."""

    good: int
    bad: int
    complainants: int
    unreached: int = 0

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

    def tally(self, now: float) -> Tally:
        oldest = int(now / self._width_s) - len(self._slots) + 1
        live = [slot for slot in self._slots if slot.index >= oldest]
        return Tally(
            good=sum(slot.good for slot in live),
            bad=sum(slot.bad for slot in live),
            unreached=sum(slot.unreached for slot in live),
            complainants=len(set().union(*(slot.complainants for slot in live))) if live else 0,
        )

    def clear(self) -> None:
        """Forget everything: a closed breaker starts anew."""
        self._slots = [_Slot() for _ in self._slots]
