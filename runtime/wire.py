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

from runtime.values import quick

SCHEMA = 1
"""Raised when the meaning of a field changes; version N also understands N - 1."""

OLDEST_SCHEMA = 1

REGISTRY: dict[str, type[Any]] = {}
"""Every type that may cross a process border, by its name. Filled by `crosses` at import, then only read."""

T = TypeVar("T")


class SchemaMismatch(TypeError):
    """A value came from a version of Raygate that this one does not understand."""


def crosses(cls: type[T]) -> type[T]:
    """Register a frozen dataclass as a value that may cross a process border.

    Fields that hold their default are left out, so a value costs what it says and no more.
    """
    plain = {
        field.name: field.default_factory() if callable(field.default_factory) else field.default
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]  # the decorator below it made a dataclass
    }
    name = cls.__name__
    if name in REGISTRY:
        raise ValueError(f"two wire types are named {name}")

    def reduce(self: Any) -> tuple[Any, tuple[str, int, dict[str, Any]]]:
        said = {}
        for field, default in plain.items():
            value = getattr(self, field)
            if value is not default and value != default:
                said[field] = value
        return revive, (name, SCHEMA, said)

    cls.__reduce__ = reduce  # type: ignore[method-assign]
    REGISTRY[name] = cls
    return quick(cls)


def revive(name: str, schema: int, said: Mapping[str, Any]) -> Any:
    """Rebuild a value. Raises `SchemaMismatch` where it is newer or older than this version understands."""
    cls = REGISTRY.get(name)
    if cls is None or not OLDEST_SCHEMA <= schema <= SCHEMA:
        raise SchemaMismatch(
            f"{name} with schema {schema} is unknown here (this version reads {OLDEST_SCHEMA} to {SCHEMA}); "
            "restart the part of Raygate that is older"
        )
    known = {field.name for field in dataclasses.fields(cls)}
    return cls(**{field: value for field, value in said.items() if field in known})
