"""How many copies of a server there should be, by the calls that are under way or wait for a place.

    wanted now = calls / slots, rounded up, within least and most
    above what there is, all of `up_after_s`      ──► the least of what was wanted meanwhile
    below what there is, all of `down_after_s`    ──► the most of what was wanted meanwhile

So a moment's rush starts nothing, and a pause ends nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from runtime.settings.managed import ManagedSettings


@dataclass(slots=True)
class _Since:
    at: float
    number: int


class Copies:
    """`number` is how many there should be. Times are a monotonic clock's, in seconds."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._above: _Since | None = None
        self._below: _Since | None = None

    def look(self, ours: ManagedSettings, calls: int, now: float) -> int:
        """Take a look at the calls of this moment; returns `number`."""
        wanted = min(max(math.ceil(calls / ours.slots), ours.min_copies), ours.max_copies)
        self.number = min(max(self.number, ours.min_copies), ours.max_copies)
        self._above = self._longer(self._above, wanted > self.number, min, wanted, now)
        self._below = self._longer(self._below, wanted < self.number, max, wanted, now)
        for since, after_s in ((self._above, ours.up_after_s), (self._below, ours.down_after_s)):
            if since is not None and now - since.at >= after_s:
                self.number = since.number
                self._above = self._below = None
                break
        return self.number

    @staticmethod
    def _longer(since: _Since | None, holds: bool, of: object, wanted: int, now: float) -> _Since | None:  # noqa: FBT001
        if not holds:
            return None
        if since is None:
            return _Since(now, wanted)
        since.number = min(since.number, wanted) if of is min else max(since.number, wanted)
        return since
