"""How a family of models counts, learned from what its providers report against what was counted here.

    reported ≈ ratio · counted + fixed

`ratio` is the family's tokeniser against ours, `fixed` what its template adds to every request of a shape: a preamble
of tools is hundreds of tokens, and Gemini does not count a schema at all. So each shape is learned by itself.

The fit is by least squares of the relative error, over sums that fade (the last fifty or so matter), drawn towards what
is known of the family's relatives (the first word of its name), and they towards ratio 1 and nothing fixed. Nothing is
random, and nothing here asks for the time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Shape = Literal["plain", "tools", "schema", "output"]
"""What was counted: a prompt without tools or schema, one with tools, one with a schema, or an answer."""

FADE = 0.98
"""What an observation still weighs after the next one."""

MOST_FAMILIES = 512
"""Names come from callers, so they must not fill the memory: who was not heard of for longest is forgotten."""

RATIO_BOUNDS = (0.25, 4.0)
FIXED_BOUNDS = (0.0, 4_096.0)
"""No tokeniser and no template lies outside; a report that does is an error of somebody's."""

NOISE = 0.1
"""The relative error of a count that is usual: how much one observation weighs against the prior."""

RATIO_DOUBT, FIXED_DOUBT = 0.5, 100.0
"""How far from the prior both may well be, in the prior's own measure."""

LEARNS_ALL = 32
LEARNS_EVERY = 8
"""The first observations are all wanted; later ones cost more than they teach."""


@dataclass(slots=True)
class _Sums:
    """Of weights, and of counted x and reported y under them. `offered` counts what might have been observed."""

    w: float = 0.0
    x: float = 0.0
    xx: float = 0.0
    y: float = 0.0
    xy: float = 0.0
    offered: int = 0

    def add(self, counted: float, reported: float) -> None:
        weight = 1.0 / (NOISE * reported) ** 2
        self.w = self.w * FADE + weight
        self.x = self.x * FADE + weight * counted
        self.xx = self.xx * FADE + weight * counted * counted
        self.y = self.y * FADE + weight * reported
        self.xy = self.xy * FADE + weight * counted * reported

    def fit(self, ratio: float, fixed: float) -> tuple[float, float]:
        """Ratio and fixed part, drawn towards these."""
        by_ratio, by_fixed = 1.0 / RATIO_DOUBT**2, 1.0 / FIXED_DOUBT**2
        xx, w = self.xx + by_ratio, self.w + by_fixed
        xy, y = self.xy + by_ratio * ratio, self.y + by_fixed * fixed
        spread = xx * w - self.x * self.x
        fixed = _within((xx * y - self.x * xy) / spread, FIXED_BOUNDS)
        return _within((xy - fixed * self.x) / xx, RATIO_BOUNDS), fixed


class Ratios:
    """What one process has learned. Belongs to one event loop."""

    def __init__(self) -> None:
        self._families: dict[tuple[str, Shape], _Sums] = {}

    def __len__(self) -> int:
        return len(self._families)

    def expected(self, model: str, shape: Shape, counted: int) -> int:
        """The tokens that this model's provider will report for so many counted ones."""
        ratio, fixed = self.learned(model, shape)
        return max(0, round(ratio * counted + fixed))

    def learned(self, model: str, shape: Shape) -> tuple[float, float]:
        """Ratio and fixed part; (1, 0) of a family of which nobody reported anything."""
        ratio, fixed = 1.0, 0.0
        for name in families_of(model):
            if sums := self._families.get((name, shape)):
                ratio, fixed = sums.fit(ratio, fixed)
        return ratio, fixed

    def wants(self, model: str, shape: Shape) -> bool:
        """Whether the next observation is worth counting tokens for."""
        sums = self._sums(families_of(model)[-1], shape)
        sums.offered += 1
        return sums.offered <= LEARNS_ALL or sums.offered % LEARNS_EVERY == 0

    def observe(self, model: str, shape: Shape, *, counted: int, reported: int) -> None:
        """A provider reported this for so many counted tokens."""
        if counted > 0 and reported > 0:
            for name in dict.fromkeys(families_of(model)):
                self._sums(name, shape).add(counted, reported)

    def _sums(self, name: str, shape: Shape) -> _Sums:
        # Taken out and put back, the ones that were used last stand last.
        sums = self._families.pop((name, shape), None) or _Sums()
        self._families[name, shape] = sums
        if len(self._families) > MOST_FAMILIES:
            del self._families[next(iter(self._families))]
        return sums


_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|latest|preview)$")


@lru_cache(maxsize=1024)
def families_of(model: str) -> tuple[str, str]:
    """The model's relatives, and the model itself without its vendor, its date and its tag.

    >>> families_of("anthropic/claude-haiku-4-5-20251001"), families_of("qwen2.5:0.5b")
    (('claude', 'claude-haiku-4-5'), ('qwen', 'qwen2.5'))
    """
    name = model.lower().rpartition("/")[2].partition(":")[0]
    name = _SNAPSHOT.sub("", name) or name
    word = re.match(r"[a-z]+", name)
    # The two must differ, or one observation would count twice.
    return f"{word[0] if word else ''}", name if word is None or name != word[0] else f"{name} itself"


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])
