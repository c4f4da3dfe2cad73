"""Small damage to a body: what the judge of equivalence must notice."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

Json = Any
Path = tuple[str | int, ...]


def leaves(value: Json, path: Path = ()) -> Iterator[Path]:
    """Where the texts, numbers, booleans, nulls and empty containers of a body stand."""
    if isinstance(value, dict) and value:
        for name, one in value.items():
            yield from leaves(one, (*path, name))
    elif isinstance(value, list) and value:
        for at, one in enumerate(value):
            yield from leaves(one, (*path, at))
    elif path:
        yield path


def objects(value: Json, path: Path = ()) -> Iterator[Path]:
    """Where the objects of a body stand."""
    if isinstance(value, dict):
        yield path
        for name, one in value.items():
            yield from objects(one, (*path, name))
    elif isinstance(value, list):
        for at_, one in enumerate(value):
            yield from objects(one, (*path, at_))


def at(value: Json, path: Path) -> Json:
    for step in path:
        value = value[step]
    return value


def deleted(value: Json, path: Path) -> Json:
    """The body without what stands at `path`."""
    step, rest = path[0], path[1:]
    if isinstance(value, list):
        assert isinstance(step, int)
        middle = [deleted(value[step], rest)] if rest else []
        return [*value[:step], *middle, *value[step + 1 :]]
    if rest:
        return {**value, step: deleted(value[step], rest)}
    return {name: one for name, one in value.items() if name != step}


def replaced(value: Json, path: Path, new: Json) -> Json:
    """The body with `new` at `path`."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(value, list):
        assert isinstance(step, int)
        return [*value[:step], replaced(value[step], rest, new), *value[step + 1 :]]
    return {**value, step: replaced(value[step], rest, new)}


def altered(value: Json, rng: Random) -> Json:
    """Another value of the same type."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + rng.choice([1, -1, 0.5])
        case str():
            place = rng.randrange(len(value) + 1)
            return value[:place] + rng.choice("xyz") + value[place:]
        case list():
            return ["x"]
        case dict():
            return {"x": 1}
        case _:
            return "x"


def damaged(value: Json, path: Path, rng: Random) -> tuple[str, Json]:
    """One mutant, and what was done to it."""
    if rng.random() < 0.5:
        return "deleted", deleted(value, path)
    return "altered", replaced(value, path, altered(at(value, path), rng))


def kind_of(path: Path) -> str:
    """
    >>> kind_of(("messages", 3, "content"))
    'messages[].content'
    """
    return "".join("[]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
