"""No single key may swing a route: how much one feedback counts, given whose it is.

The n-th feedback of one key within the last `window` ones counts in full while that key gave at most its share of them
(or a few, where there are few in all); beyond that it counts for less and less, so that a flood from one key adds up to
the weight of its share, whatever its size. Scores are clipped to [0, 1] before.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fairness:
    share: float = 0.2
    free: int = 20
    window: int = 1_000


class Voices:
    """Who said how much lately."""

    def __init__(self, how: Fairness | None = None) -> None:
        self._how = how or Fairness()
        self._last: deque[str] = deque()
        self._count: Counter[str] = Counter()

    def weigh(self, key: str) -> float:
        """Weight of the next feedback of this key, in (0, 1]; and remember that it came."""
        others = len(self._last) - self._count[key]
        # What the key may weigh in all, beside what the others said.
        due = max(float(self._how.free), self._how.share / (1.0 - self._how.share) * others)
        mine = self._count[key]
        self._last.append(key)
        self._count[key] += 1
        if len(self._last) > self._how.window:
            gone = self._last.popleft()
            self._count[gone] -= 1
            if not self._count[gone]:
                del self._count[gone]
        return 1.0 if mine < due else (due / (mine + 1.0)) ** 2


def score(value: float) -> float | None:
    """A quality in [0, 1]; None for what is no number."""
    return min(max(value, 0.0), 1.0) if value == value else None
