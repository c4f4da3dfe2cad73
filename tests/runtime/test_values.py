"""Values that are made and changed quickly are what the dataclass decorator makes of them."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest

import runtime.gateway  # noqa: F401  # so that all types are known
from runtime.outcome import Completion, Usage
from runtime.request import Request, ask
from runtime.values import _CHANGED, fields_said, maker, quick, replace
from runtime.wire import REGISTRY


@quick
@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0
    tags: dict[str, int] = field(default_factory=dict)
    name: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class Plain:
    x: int
    y: int = 0
    tags: dict[str, int] = field(default_factory=dict)
    name: str = field(default="", kw_only=True)


def test_they_take_the_same_arguments_and_give_the_same_fields() -> None:
    for args, named in (((1,), {}), ((1, 2), {"name": "a"}), ((), {"x": 1, "tags": {"b": 1}})):
        assert dataclasses.astuple(Point(*args, **named)) == dataclasses.astuple(Plain(*args, **named))  # type: ignore[arg-type]
    assert [*inspect.signature(Point).parameters] == [*inspect.signature(Plain).parameters]


@pytest.mark.parametrize(("args", "named"), [((), {}), ((1, 2, {}, "a"), {}), ((1,), {"z": 1}), ((1,), {"x": 2})])
def test_wrong_arguments_are_type_errors(args: Any, named: Any) -> None:
    for cls in (Point, Plain):
        with pytest.raises(TypeError):
            cls(*args, **named)


def test_a_default_that_is_made_is_made_for_each() -> None:
    assert Point(1).tags is not Point(1).tags


def test_they_are_frozen_and_stay_so_when_changed() -> None:
    for point in (Point(1), replace(Point(1), x=2)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            point.x = 3  # type: ignore[misc]
        assert type(point) is Point


def test_a_change_leaves_the_old_one_as_it_was() -> None:
    old = Point(1, 2, {"a": 1})
    assert (replace(old, y=5), old) == (Point(1, 5, {"a": 1}), Point(1, 2, {"a": 1}))
    assert replace(old).tags is old.tags


def test_a_field_that_there_is_not_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="Point"):
        replace(Point(1), z=1)  # type: ignore[call-arg]


def test_they_are_equal_hashed_copied_and_pickled_as_before() -> None:
    usage, sampling = Usage(input_tokens=3), ask("hi").sampling
    assert copy.copy(usage) == pickle.loads(pickle.dumps(usage)) == replace(Usage(), input_tokens=3) == usage
    assert hash(sampling) == hash(replace(sampling))


def test_what_does_more_than_fill_its_fields_stays_as_it_is() -> None:
    @quick
    @dataclass(frozen=True, slots=True)
    class Checked:
        x: int

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("x is below 0")

    assert Checked not in _CHANGED
    with pytest.raises(ValueError, match="below"):
        replace(Checked(1), x=-1)


def test_every_value_on_the_wire_is_quick() -> None:
    assert {Request, Completion} <= set(REGISTRY.values())
    assert [
        cls.__name__ for cls in REGISTRY.values() if cls.__module__.startswith("runtime.") and cls not in _CHANGED
    ] == []


def test_only_what_is_said_is_told() -> None:
    for cls in (Point, Plain):
        assert fields_said(cls(0)) == {"x": 0}
        assert fields_said(cls(1, 2, {}, name="a")) == {"x": 1, "y": 2, "name": "a"}
        assert fields_said(cls(1, tags={"b": 1})) == {"x": 1, "tags": {"b": 1}}


def test_a_maker_makes_what_the_class_makes() -> None:
    made, by_class = maker(Point)(1, y=2), Point(1, y=2)
    assert (made, type(made), made.y) == (by_class, Point, 2)
    assert maker(Request)(messages=ask("hi").messages) == ask("hi")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.x = 3  # type: ignore[misc]


def test_a_class_that_does_more_than_fill_its_fields_is_its_own_maker() -> None:
    assert maker(Fussy) is Fussy


@dataclass(frozen=True, slots=True)
class Fussy:
    x: int

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError(self.x)
