"""How much a minute: one meter for each limit of requests or tokens, at the owner.

This is the Generic Cell Rate Algorithm in its second form, the continuous-state leaky bucket (ITU-T I.371, annex A;
as a rate limiter: B. Leach, "Rate limiting, cells, and GCRA", brandur.org/rate-limiting). The bucket leaks `per_min` in
a minute and holds as much; what does not fit in is refused. The level is an integer: a unit is `GRAINS`, and
`per_min` grains leak in a nanosecond, so nothing is ever rounded.

What was taken but not used can be given back. The law: afterwards the level is as if it had never been taken. A bucket
that ran empty meanwhile has forgotten a part of it, so at most the lowest level since then is given back
(`_lows` are the minima that later ones have not undercut).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass

from runtime.wire import crosses

NS = 1_000_000_000
GRAINS = 60 * NS
MOST_LOWS = 256


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class MeterState:
    """A meter as it was at `at_s` (seconds since the epoch): `level` in grains."""

    level: int
    at_s: float


class Meter:
    """`now` is seconds; one that is earlier than the last one counts as that."""

    __slots__ = ("_at", "_level", "_lows", "_since", "per_min")

    def __init__(self, per_min: int, *, now: float, state: MeterState | None = None) -> None:
        self.per_min = per_min
        self._level = 0 if state is None else state.level
        self._at = int((now if state is None else state.at_s) * NS)
        self._since = int(now * NS)
        self._lows: deque[tuple[int, int]] = deque()

    def room(self, now: float) -> int:
        """How many units could be taken now; negative where more was used than had been taken."""
        self._leak(now)
        return (self.per_min * GRAINS - self._level) // GRAINS

    def take(self, units: int, now: float) -> bool:
        """Take all of them or none."""
        if self.room(now) < units:
            return False
        self.charge(units, now)
        return True

    def charge(self, units: int, now: float) -> int:
        """Take what has been used already, room or no room. Returns the stamp by which it can be given back."""
        self._leak(now)
        while self._lows and self._lows[-1][1] >= self._level:
            self._lows.pop()
        self._lows.append((self._at, self._level))
        if len(self._lows) > MOST_LOWS:
            self._lows.popleft()
            self._since = self._lows[0][0]
        self._level += units * GRAINS
        return self._at

    def give_back(self, units: int, stamp: int, now: float) -> None:
        """Units that were taken at `stamp` (see `charge`) and not used. Of what is older than its memory, nothing."""
        self._leak(now)
        if stamp < self._since:
            return
        after = bisect_right(self._lows, stamp, key=lambda low: low[0])
        lowest = min(self._level, self._lows[after][1]) if after < len(self._lows) else self._level
        back = min(units * GRAINS, lowest)
        self._level -= back
        for at in range(after, len(self._lows)):
            self._lows[at] = (self._lows[at][0], self._lows[at][1] - back)
        # A later low that is lower now has undercut those before it.
        while 0 < after < len(self._lows) and self._lows[after - 1][1] >= self._lows[after][1]:
            after -= 1
            del self._lows[after]

    def wait_s(self, units: int, now: float) -> float:
        """Seconds until as many could be taken if nobody else took any; infinite if they never can."""
        if units > self.per_min:
            return math.inf
        self._leak(now)
        over = self._level + units * GRAINS - self.per_min * GRAINS
        return max(0, -(-over // self.per_min)) / NS if self.per_min else 0.0

    def full_in_s(self, now: float) -> float:
        """Seconds until all of a minute's worth could be taken."""
        return self.wait_s(self.per_min, now)

    def change(self, per_min: int, now: float) -> None:
        """Another limit from now on; what was taken stays taken."""
        self._leak(now)
        self.per_min = per_min

    def state(self, now: float) -> MeterState:
        self._leak(now)
        return MeterState(level=self._level, at_s=self._at / NS)

    def _leak(self, now: float) -> None:
        at = int(now * NS)
        if at > self._at:
            self._level = max(0, self._level - (at - self._at) * self.per_min)
            self._at = at
