"""How often a key may give feedback: so many at once, and as many again over a minute."""

from __future__ import annotations

from collections import OrderedDict

MOST = 10_000
"""Keys that are remembered."""


class Rates:
    def __init__(self, per_min: int) -> None:
        self.per_min = per_min
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """0.0 where there was one to take, else the seconds until there is."""
        left, at = self._left.pop(key, (float(self.per_min), now))
        left = min(float(self.per_min), left + (now - at) * self.per_min / 60.0)
        wait_s = 0.0 if left >= 1.0 else (1.0 - left) * 60.0 / self.per_min
        self._left[key] = (left - 1.0 if left >= 1.0 else left, now)
        while len(self._left) > MOST:
            self._left.popitem(last=False)
        return wait_s
