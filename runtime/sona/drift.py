"""Has a model silently become worse, or better? A two-sided CUSUM over surprises (Page, 1954).

A surprise is outcome minus expectation, in units of the noise of one outcome. Small lasting shifts add up, single bad
answers fade by `slack` each time. An alarm makes the head unsure of the model's level again, so that a few answers
settle where it is now; what it is good at, relative to its level, is not forgotten. That is why a decay of everything,
which forgets old topics, is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchfulness:
    """`slack` in standard deviations, `alarm` in their sum; `widen` is the new doubt about the level, in quality."""

    slack: float = 0.35
    alarm: float = 6.0
    widen: float = 0.3


class Drift:
    """One model's two sums."""

    __slots__ = ("down", "up")

    def __init__(self, up: float = 0.0, down: float = 0.0) -> None:
        self.up = up
        self.down = down

    def see(self, surprise: float, how: Watchfulness) -> bool:
        """Whether this surprise raises the alarm. An alarm starts both sums anew."""
        self.up = max(0.0, self.up + surprise - how.slack)
        self.down = max(0.0, self.down - surprise - how.slack)
        if max(self.up, self.down) < how.alarm:
            return False
        self.up = self.down = 0.0
        return True
