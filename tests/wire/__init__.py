"""The proof on recorded traffic: `make prove-wire` prints it, pytest asserts it."""

from __future__ import annotations

import os
import random

_SEED = int(os.environ.get("RAYGATE_TEST_SEED", random.SystemRandom().randrange(2**32)))


def seed() -> int:
    """The seed of all chance here, told on every use: RAYGATE_TEST_SEED repeats it."""
    print(f"RAYGATE_TEST_SEED={_SEED}")
    return _SEED
