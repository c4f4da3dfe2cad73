"""A value as bytes that may lie in a store which is not ours: JSON, and never a pickle, which could run anything.

    Completion ── pack ──► {"$":"Completion","id":…}          values of ours by the name that `runtime.wire` knows
    (1, 2)     ──────────► {"$":"","v":[1,2]}                 a tuple, which JSON would take for a list
    b"x"       ──────────► {"$":"b","v":"eA=="}

Reading makes values of registered types alone, with the fields that they have; all else is `Unreadable`. A word of an
enumeration lies there as its text, and is one again where a field's type says so.
"""

from __future__ import annotations

import base64
import dataclasses
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any

import orjson

from runtime.outcome import Completion, FinishReason
from runtime.values import fields_said
from runtime.wire import REGISTRY

FORM = 1
"""Raised when the form changes: what lies there in another one is not read."""


class Unreadable(ValueError):
    """These bytes are no answer that this version can read."""


def pack(completion: Completion, *, about: object = None) -> bytes:
    """Raises `TypeError` where the answer holds what no JSON can say."""
    return orjson.dumps([FORM, _plain(about), _plain(completion)])


def unpack(data: bytes) -> tuple[Any, Completion]:
    """What was packed: what is known about it, and the answer. Raises `Unreadable`."""
    try:
        form, about, said = orjson.loads(data)
        if form != FORM:
            raise Unreadable(f"form {form} is unknown")
        completion = _value(said)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Unreadable(str(error)) from None
    if not isinstance(completion, Completion):
        raise Unreadable("no answer")
    return _value(about), completion


def about_of(data: bytes) -> Any:
    """What is known about packed bytes. Raises `Unreadable`."""
    return unpack(data)[0]


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return {"$": "b", "v": base64.b64encode(value).decode()}
    if isinstance(value, tuple):
        return {"$": "", "v": [_plain(one) for one in value]}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        said = {str(name): _plain(one) for name, one in value.items()}
        return {"$": "m", "v": said} if "$" in said else said
    name = type(value).__name__
    if REGISTRY.get(name) is not type(value):
        raise TypeError(f"{name} cannot be packed")
    return {"$": name, **{field: _plain(one) for field, one in fields_said(value).items()}}


def _value(said: Any) -> Any:
    if isinstance(said, list):
        return [_value(one) for one in said]
    if not isinstance(said, dict):
        return said
    kind = said.get("$")
    if kind is None:
        return {name: _value(one) for name, one in said.items()}
    if kind == "":
        return tuple(_value(one) for one in said["v"])
    if kind == "b":
        return base64.b64decode(said["v"], validate=True)
    if kind == "m":
        return {name: _value(one) for name, one in said["v"].items()}
    cls = REGISTRY.get(kind)
    if cls is None:
        raise Unreadable(f"{kind} is unknown")
    words = _enums_of(cls)
    known = {one.name for one in dataclasses.fields(cls)}
    found = {name: _value(one) for name, one in said.items() if name in known}
    return cls(**{name: words[name](one) if name in words and one is not None else one for name, one in found.items()})


_WORDS: dict[type[Any], Mapping[str, type[Enum]]] = {}


def _enums_of(cls: type[Any]) -> Mapping[str, type[Enum]]:
    """The fields of this type that hold a word of an enumeration, perhaps or none."""
    if cls not in _WORDS:
        found = {}
        for name, hint in _hints_of(cls).items():
            options = typing.get_args(hint) or (hint,)
            enums = [one for one in options if isinstance(one, type) and issubclass(one, Enum)]
            if enums:
                found[name] = enums[0]
        _WORDS[cls] = found
    return _WORDS[cls]


def _hints_of(cls: type[Any]) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


__all__ = ["FORM", "FinishReason", "Unreadable", "about_of", "pack", "unpack"]
