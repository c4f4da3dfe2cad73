"""How much chaos: the short version of `make test`, or all of it (`make chaos` sets RAYGATE_CHAOS=full)."""

from __future__ import annotations

import os

FULL = os.environ.get("RAYGATE_CHAOS") == "full"


def sized(short: int, full: int) -> int:
    return full if FULL else short
