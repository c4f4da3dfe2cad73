"""Has a model silently become worse, or better? A two-sided CUSUM over surprises (Page, 1954).

A surprise is outcome minus expectation, in units of the noise of one outcome. Small lasting shifts add up, single bad
answers fade by `slack` each time. An alarm makes the head unsure of the model's level again, so that a few answers
settle where it is now; what it is good at, relative to its level, is not forgotten. That is why a decay of everything,
which forgets old topics, is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass

ALONE = 2
"""Fewer keys are one alone: if its word did not count, nobody would notice anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchfulness:
    """`slack` in standard deviations, `alarm` in their sum; `widen` is the new doubt about the level, in quality.
    `one_key` is the share of an alarm that one key of several can bring about: it takes several to raise it."""

    slack: float = 0.45
    alarm: float = 8.0
    widen: float = 0.2
    one_key: float = 0.4


class Drift:
    """One model's two sums, and who added how much to them."""

    __slots__ = ("down", "said", "up")

    def __init__(self, up: float = 0.0, down: float = 0.0, said: dict[str, float] | None = None) -> None:
        self.up = up
        self.down = down
        self.said = said or {}

    def see(self, surprise: float, how: Watchfulness, *, key: str | None = None, of: int = 0) -> bool:
        """Whether this surprise raises the alarm. An alarm starts both sums anew. Without a key it counts in full, and
        so does that of a key that is alone; `of` so many each may bring about what the others need not."""
        if key is not None and of >= ALONE:
            share = max(how.one_key, 1.25 / of)
            left = max(share * how.alarm - self.said.get(key, 0.0), 0.0)
            size = min(abs(surprise), left + how.slack)
            self.said[key] = self.said.get(key, 0.0) + max(size - how.slack, 0.0)
            surprise = size if surprise > 0 else -size
        self.up = max(0.0, self.up + surprise - how.slack)
        self.down = max(0.0, self.down - surprise - how.slack)
        if max(self.up, self.down) == 0.0:
            self.said.clear()
        if max(self.up, self.down) < how.alarm:
            return False
        self.up = self.down = 0.0
        self.said.clear()
        return True
