"""No single key may swing a route: how much one feedback counts, given whose it is.

A key's feedback counts in full until it said as much lately as the other keys do on average (or `free`, where that is
more). Beyond that each counts for less, by the square, so that a flood adds up to no more than twice that measure,
whatever its size. Where one key alone gives feedback there is nobody to drown, and all of it counts.
Scores are clipped to [0, 1] before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Fairness:
    """All counts are halved whenever feedback of this `window` of weight came: a flood, which weighs little, does not
    push the others out of sight."""

    free: float = 10.0
    window: float = 2_000.0


class Voices:
    """Who said how much lately."""

    def __init__(self, how: Fairness | None = None) -> None:
        self._how = how or Fairness()
        self._count: dict[str, float] = {}
        self._all = 0.0
        self._weight = 0.0

    def weigh(self, key: str) -> float:
        """Weight of the next feedback of this key, in (0, 1]; and remember that it came."""
        mine = self._count.get(key, 0.0)
        others = len(self._count) - (key in self._count)
        due = max(self._how.free, (self._all - mine) / others) if others else float("inf")
        weight = 1.0 if mine < due else (due / (mine + 1.0)) ** 2
        self._count[key] = mine + 1.0
        self._all += 1.0
        self._weight += weight
        if self._weight >= self._how.window:
            self._count = {one: count / 2 for one, count in self._count.items() if count >= 1.0}
            self._all = sum(self._count.values())
            self._weight = 0.0
        return weight

    def dump(self) -> dict[str, object]:
        """Plain data: the same voices are the same data."""
        return {"count": self._count, "all": self._all, "weight": self._weight}

    def load(self, said: Mapping[str, Any]) -> None:
        """Take over what `dump` gave."""
        self._count = {str(key): float(count) for key, count in said["count"].items()}
        self._all, self._weight = float(said["all"]), float(said["weight"])


def score(value: float) -> float | None:
    """A quality in [0, 1]; None for what is no number."""
    return min(max(value, 0.0), 1.0) if not math.isnan(value) else None
