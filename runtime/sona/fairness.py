"""No single key may swing a route: how much one feedback counts, given whose it is and of which model.

A key's word on a model counts in full until it has said a third more of that model lately than the others do on
average (or `free`, where that is more). Beyond that each word counts for less, by the third power, so that a flood adds
up to no more than twice what an average key says of that model, whatever its size. Whoever has said less than `free` in
all is nobody to be compared with; and where fewer than `quorum` others are left, there is no crowd that could be told
from a single voice: then all of it counts. So one key among few can swing what is learned (`docs/learning.md` has how
much one among many can). Scores are clipped to [0, 1] before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SLACK, POWER = 4.0 / 3.0, 3
"""A flood of one key adds up to SLACK · POWER / (POWER - 1) = 2 times what is due to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fairness:
    """All counts are halved whenever feedback of this `window` of weight came: a flood, which weighs little, does not
    push the others out of sight."""

    free: float = 5.0
    quorum: int = 3
    window: float = 2_000.0


class Voices:
    """Who said how much lately, of which model. `_crowd` are those who have said enough, `_heard` what they said of
    each model together."""

    def __init__(self, how: Fairness | None = None) -> None:
        self._how = how or Fairness()
        self._count: dict[str, dict[str, float]] = {}
        self._weight = 0.0
        self._crowd: set[str] = set()
        self._heard: dict[str, float] = {}

    def __len__(self) -> int:
        """How many have said enough to count as one."""
        return len(self._crowd)

    def weigh(self, key: str, model: str = "") -> float:
        """Weight of the next feedback of this key on this model, in (0, 1]; and remember that it came."""
        mine = self._count.get(key, {}).get(model, 0.0)
        belongs = key in self._crowd
        others = len(self._crowd) - belongs
        due = math.inf
        if others >= self._how.quorum:
            heard = self._heard.get(model, 0.0) - (mine if belongs else 0.0)
            due = max(self._how.free, SLACK * heard / others)
        weight = 1.0 if mine < due else (due / (mine + 1.0)) ** POWER
        self._note(key, model)
        self._weight += weight
        if self._weight >= self._how.window:
            self._halve()
        return weight

    def _note(self, key: str, model: str) -> None:
        said = self._count.setdefault(key, {})
        said[model] = said.get(model, 0.0) + 1.0
        if key in self._crowd:
            self._heard[model] = self._heard.get(model, 0.0) + 1.0
        else:
            self._join(key)

    def _join(self, key: str) -> None:
        said = self._count[key]
        if sum(said.values()) >= self._how.free:
            self._crowd.add(key)
            for model, count in said.items():
                self._heard[model] = self._heard.get(model, 0.0) + count

    def _halve(self) -> None:
        halves = {
            key: {model: count / 2 for model, count in said.items() if count >= 1.0}
            for key, said in self._count.items()
        }
        self._set({key: said for key, said in halves.items() if said})
        self._weight = 0.0

    def _set(self, count: dict[str, dict[str, float]]) -> None:
        self._count = count
        self._crowd, self._heard = set(), {}
        for key in count:
            self._join(key)

    def dump(self) -> dict[str, object]:
        """Plain data: the same voices are the same data."""
        return {"said": self._count, "weight": self._weight}

    def load(self, said: Mapping[str, Any]) -> None:
        """Take over what `dump` gave; of what an earlier version gave, which did not know of which models, the keys."""
        before = {key: {"": count} for key, count in said.get("count", {}).items()}
        known = said.get("said", before)
        self._set({str(key): {str(of): float(n) for of, n in each.items()} for key, each in known.items()})
        self._weight = float(said["weight"])


def score(value: float) -> float | None:
    """A quality in [0, 1]; None for what is no number."""
    return min(max(value, 0.0), 1.0) if not math.isnan(value) else None
