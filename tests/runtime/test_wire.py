"""The laws of values that cross processes, for every type that is registered, now or later."""

from __future__ import annotations

import enum
import importlib
import pickle
import pkgutil
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runtime
from runtime import wire
from runtime.outcome import Failure, FailureKind
from runtime.wire import OLDEST_SCHEMA, REGISTRY, SCHEMA, SchemaMismatch, crosses, revive

for _module in pkgutil.walk_packages(runtime.__path__, "runtime."):
    importlib.import_module(_module.name)

SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=8),
    int: st.integers(-(2**63), 2**63),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=8),
    type(None): st.none(),
    date: st.dates(),
    object: st.text(max_size=8),
    Any: st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
        max_leaves=4,
    ),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type hint. Fails loudly at a hint that it does not know, so that no field goes untested."""
    if hint in SCALARS:
        return SCALARS[hint]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from(hint)
    if is_dataclass(hint):
        # Deferred, since a report may hold reports.
        return st.deferred(lambda: instances(hint))
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values(arg) for arg in args])
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(values(args[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, args))
    if origin in (frozenset, set):
        return st.frozensets(values(args[0]), max_size=3)
    if origin is list:
        return st.lists(values(args[0]), max_size=2)
    if origin in (dict, Mapping):
        return st.dictionaries(values(args[0]), values(args[1]), max_size=2)
    raise NotImplementedError(f"test_wire has no values for {hint!r}; add them to `values`")


@cache
def instances(cls: Any) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    said = {field.name: values(hints[field.name]) for field in fields(cls)}
    # Both full values and those that leave most to their defaults.
    needed = {name: strategy for name, strategy in said.items() if name in _required(cls)}
    rest = {name: strategy for name, strategy in said.items() if name not in needed}
    return st.fixed_dictionaries(needed, optional=rest).map(lambda given: cls(**given))


def _required(cls: Any) -> set[str]:
    import dataclasses

    missing = dataclasses.MISSING
    return {one.name for one in fields(cls) if one.default is missing and one.default_factory is missing}


each_type = pytest.mark.parametrize("cls", REGISTRY.values(), ids=REGISTRY.keys())
some = settings(max_examples=12, suppress_health_check=list(HealthCheck))


@each_type
@some
@given(data=st.data())
def test_every_value_pickles_to_itself(cls: Any, data: st.DataObject) -> None:
    value = data.draw(instances(cls))
    assert pickle.loads(pickle.dumps(value)) == value


@each_type
@some
@given(data=st.data())
def test_a_field_from_the_future_is_ignored(cls: Any, data: st.DataObject) -> None:
    value = data.draw(instances(cls))
    _, (name, schema, said) = value.__reduce__()
    assert revive(name, schema, {**said, "added_in_the_next_version": 1}) == value


@each_type
@pytest.mark.parametrize("schema", [OLDEST_SCHEMA - 1, SCHEMA + 1])
def test_a_schema_that_we_do_not_know_is_refused(cls: Any, schema: int) -> None:
    with pytest.raises(SchemaMismatch, match=cls.__name__):
        revive(cls.__name__, schema, {})


def test_a_type_that_we_do_not_know_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match="restart"):
        revive("AddedInTheNextVersion", SCHEMA, {})


@each_type
def test_every_type_is_frozen(cls: Any) -> None:
    assert cls.__dataclass_params__.frozen


def test_defaults_are_not_sent() -> None:
    _, (_, _, said) = Failure(kind=FailureKind.TIMED_OUT, detail="slow").__reduce__()  # type: ignore[misc]
    assert said == {"kind": FailureKind.TIMED_OUT, "detail": "slow"}


def test_two_types_cannot_share_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "REGISTRY", dict(REGISTRY))
    with pytest.raises(ValueError, match="Failure"):
        crosses(Failure)
