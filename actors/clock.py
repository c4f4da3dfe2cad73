"""The clocks, read here and nowhere else; everything below takes them as arguments."""

from __future__ import annotations

import time

from runtime.entrance import Senses

monotonic = time.monotonic  # noqa: TID251  # this is the one place
wall = time.time  # noqa: TID251  # this is the one place

SENSES = Senses(clock=monotonic, wall=wall)
