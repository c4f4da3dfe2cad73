"""Quantiles of positive numbers, of which the older ones count less, in bounded memory and with a bounded error.

Buckets of logarithmic width (Masson, Rim & Lee, "DDSketch", VLDB 2019): bucket i holds (γⁱ⁻¹, γⁱ] with
γ = (1 + α) / (1 − α), and 2γⁱ / (γ + 1) stands for all of it, so an answer is off by at most the share α of the true
value. Forgetting is forward decay (Cormode et al., ICDE 2009): a sample weighs 2^(t / half-life) with its moment t,
so that older ones need not be touched. Both are old ideas; the combination is ours.
"""

from __future__ import annotations

import math

ERROR = 0.02
"""α: the greatest relative error of a quantile, of numbers between `LEAST` and `MOST`."""

LEAST, MOST = 1e-4, 1e5
"""What is less or more is counted as these, which bounds the number of buckets to 519."""

_GAMMA = (1.0 + ERROR) / (1.0 - ERROR)
_LOG_GAMMA = math.log(_GAMMA)

_HEAVIEST = 2.0**60
"""Weights are scaled down before a float loses count."""


class DecayingQuantile:
    """A sample that is `half_life_s` old counts half of a fresh one. `now` never goes back."""

    __slots__ = ("_buckets", "_half_life_s", "_last", "_since", "_total", "count")

    def __init__(self, half_life_s: float = 600.0) -> None:
        self.count = 0
        self._half_life_s = half_life_s
        self._buckets: dict[int, float] = {}
        self._total = 0.0
        self._last = 1.0
        self._since: float | None = None

    def add(self, sample: float, now: float) -> None:
        if self._since is None:
            self._since = now
        self._last = self._weight(now)
        at = math.ceil(math.log(min(max(sample, LEAST), MOST)) / _LOG_GAMMA)
        self._buckets[at] = self._buckets.get(at, 0.0) + self._last
        self._total += self._last
        self.count += 1

    def value(self, quantile: float) -> float | None:
        """The sample of rank ⌊q·(n − 1)⌋ by weight, within `ERROR`; None where there is none."""
        if not self._buckets:
            return None
        rank = quantile * max(0.0, self._total - self._last)
        passed = 0.0
        at = 0
        for at in sorted(self._buckets):
            passed += self._buckets[at]
            if passed > rank:
                break
        return 2.0 * _GAMMA**at / (_GAMMA + 1.0)

    def _weight(self, now: float) -> float:
        """Of a sample of this moment."""
        since = now if self._since is None else self._since
        # Silence longer than a float can count has made all before it weightless.
        weight: float = 2.0 ** min((now - since) / self._half_life_s, 1_000.0)
        if weight < _HEAVIEST:
            return weight
        self._since = now
        self._buckets = {at: kept for at, held in self._buckets.items() if (kept := held / weight) > 1e-9}
        self._total = math.fsum(self._buckets.values())
        return 1.0
