"""Typed reading of JSON fields, each with an error that says what to send instead.

`Wrong` never leaves a dialect: its `parse` functions turn it into a `Failure`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation

from runtime.outcome import Failure, FailureKind
from runtime.request import Json

MOST_DIMENSIONS = 65_536
"""Vectors longer than this nobody makes, and whoever asks for them asks for our memory."""


class Wrong(Exception):
    """A field is not what it should be. `detail` is one sentence for the caller."""

    def __init__(self, param: str, detail: str, kind: FailureKind = FailureKind.BAD_REQUEST) -> None:
        super().__init__(detail)
        self.param = param
        self.detail = detail
        self.kind = kind

    def failure(self) -> Failure:
        return Failure(kind=self.kind, param=self.param or None, detail=self.detail)


def kind_name(value: Json) -> str:
    """The JSON name of a value's type, for people."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "an array"
        case _:
            return "an object"


def text(value: Json, param: str) -> str:
    if isinstance(value, str):
        return value
    raise Wrong(param, f"{param} must be a string, but is {kind_name(value)}.")


def opt_text(fields: Mapping[str, Json], key: str, param: str) -> str | None:
    value = fields.get(key)
    return None if value is None else text(value, param)


def opt_bool(fields: Mapping[str, Json], key: str, param: str) -> bool | None:
    value = fields.get(key)
    if value is None or isinstance(value, bool):
        return value
    raise Wrong(param, f"{param} must be true or false, but is {kind_name(value)}.")


def opt_int(
    fields: Mapping[str, Json], key: str, param: str, *, least: int | None = None, most: int | None = None
) -> int | None:
    value = fields.get(key)
    if value is None:
        return None
    # Some clients send whole numbers as 1.0.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Wrong(param, f"{param} must be a whole number, but is {kind_name(value)}.")
    if least is not None and value < least:
        raise Wrong(param, f"{param} must be at least {least}, but is {value}.")
    if most is not None and value > most:
        raise Wrong(param, f"{param} must be at most {most}, but is {value}.")
    return value


def opt_number(
    fields: Mapping[str, Json], key: str, param: str, *, least: float = -math.inf, most: float = math.inf
) -> float | None:
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong(param, f"{param} must be a number, but is {kind_name(value)}.")
    if not least <= value <= most:
        raise Wrong(param, f"{param} must be between {least:g} and {most:g}, but is {value:g}.")
    return float(value)


def obj(value: Json, param: str) -> dict[str, Json]:
    if isinstance(value, dict):
        return value
    raise Wrong(param, f"{param} must be an object, but is {kind_name(value)}.")


def opt_obj(fields: Mapping[str, Json], key: str, param: str) -> dict[str, Json] | None:
    value = fields.get(key)
    return None if value is None else obj(value, param)


def array(value: Json, param: str) -> list[Json]:
    if isinstance(value, list):
        return value
    raise Wrong(param, f"{param} must be an array, but is {kind_name(value)}.")


def texts(fields: Mapping[str, Json], key: str, param: str) -> tuple[str, ...]:
    """An array of strings, or nothing."""
    value = fields.get(key)
    if value is None:
        return ()
    return tuple(text(one, f"{param}[{at}]") for at, one in enumerate(array(value, param)))


def opt_nanousd(fields: Mapping[str, Json], key: str, param: str) -> int | None:
    """Dollars, as a number or as decimal text, in nano-dollars. A fraction of one counts as one."""
    value = fields.get(key)
    if value is None:
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise Wrong(param, f"{param} must be an amount in US dollars, but is {kind_name(value)}.")
        amount = Decimal(value if isinstance(value, str) else repr(value))
    except InvalidOperation:
        raise Wrong(param, f'{param} must be an amount in US dollars such as 0.01, but is "{value}".') from None
    if not amount.is_finite() or not 0 <= amount <= 1_000_000:
        raise Wrong(param, f"{param} must be between 0 and 1000000 US dollars.")
    return int((amount * 1_000_000_000).to_integral_value(ROUND_CEILING))
