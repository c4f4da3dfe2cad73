"""How values cross between processes: as plain data with a schema number, never as exceptions.

Detached actors outlive a redeploy, so two versions of Raygate may exchange values. Fields are only ever
added: a reader ignores fields that it does not know, and a field that the writer did not know takes its
default. Exceptions lose their attributes on the way through Ray; these values lose nothing.

    value ── pickle ──► revive, ("Failure", 1, {"kind": …, "provider": …})
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from runtime.values import fields_said, quick

SCHEMA = 1
"""Raised when the meaning of a field changes; version N also understands N - 1."""

OLDEST_SCHEMA = 1

REGISTRY: dict[str, type[Any]] = {}
"""Every type that may cross a process border, by its name. Filled by `crosses` at import, then only read."""

_FIELDS: dict[str, frozenset[str]] = {}

T = TypeVar("T")


class SchemaMismatch(TypeError):
    """A value came from a version of Raygate that this one does not understand."""


def crosses(cls: type[T]) -> type[T]:
    """Register a frozen dataclass as a value that may cross a process border.

    Fields that hold their default are left out, so a value costs what it says and no more.
    """
    name = cls.__name__
    if name in REGISTRY:
        raise ValueError(f"two wire types are named {name}")

    def reduce(self: Any) -> tuple[Any, tuple[str, int, dict[str, Any]]]:
        return revive, (name, SCHEMA, fields_said(self))

    cls.__reduce__ = reduce  # type: ignore[method-assign]
    REGISTRY[name] = cls
    _FIELDS[name] = frozenset(one.name for one in dataclasses.fields(cls))  # type: ignore[arg-type]  # it is one
    return quick(cls)


def revive(name: str, schema: int, fields: Mapping[str, Any]) -> Any:
    """Rebuild a value. Raises `SchemaMismatch` where it is newer or older than this version understands."""
    cls = REGISTRY.get(name)
    if cls is None or not OLDEST_SCHEMA <= schema <= SCHEMA:
        raise SchemaMismatch(
            f"{name} with schema {schema} is unknown here (this version reads {OLDEST_SCHEMA} to {SCHEMA}); "
            "restart the part of Raygate that is older"
        )
    known = _FIELDS[name]
    if fields.keys() <= known:
        return cls(**fields)
    return cls(**{field: value for field, value in fields.items() if field in known})
