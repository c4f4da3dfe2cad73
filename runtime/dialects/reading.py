"""Lenient reading of what providers answer: a field of the wrong type says nothing, and never raises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal

from runtime.outcome import Usage
from runtime.request import Json

NOT_REPORTED = Usage(estimated=True)
"""What stands where the provider reported no usage: whoever settles must estimate it."""

_NANO = Decimal(1_000_000_000)


def text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def obj(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def objects(value: Json) -> list[dict[str, Json]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def count(value: Json) -> int:
    """A whole number from 0; some providers write 12.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def opt_count(value: Json) -> int | None:
    """The same, but None where nothing was said."""
    return count(value) if isinstance(value, int | float) else None


def nanousd(value: Json) -> int | None:
    """Dollars to nano-dollars. The shortest decimal that reads as this float is the one that was sent."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return int((Decimal(repr(value)) * _NANO).to_integral_value(ROUND_HALF_UP))


def moment(value: Json) -> int:
    """The moment of an answer in whole seconds since 1970; 0 where it is not said."""
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0


def extra_of(fields: Mapping[str, Json], known: frozenset[str]) -> dict[str, Json]:
    """The fields that no type holds, where they say anything."""
    return {name: fields[name] for name in fields.keys() - known if fields[name] is not None}
