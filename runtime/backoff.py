"""How long to stay away from someone who said "too much" and not for how long."""

from __future__ import annotations

import random

LONGEST_THROTTLE_S = 60.0
"""After a 429 that named no time, however many came before."""


def throttle_s(times: int, rng: random.Random) -> float:
    """Seconds after the `times`-th 429 in a row (from 1): full jitter over a doubling bound, at least a second."""
    return max(1.0, rng.uniform(0.0, min(LONGEST_THROTTLE_S, 2.0 ** min(times, 10))))
