"""Steps that several APIs share. All are pure: what comes in is never changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

Json = Any

DATA_URL = re.compile(
    r"data:(?P<type>[^;,]*)(?P<parameters>(?:;[^;,]*)*);base64,(?P<data>.*)", re.IGNORECASE | re.DOTALL
)


def said(value: Mapping[str, Json], *, defaults: Mapping[str, Json] | None = None) -> dict[str, Json]:
    """The fields that say something: neither null, nor what the API takes an absent field to mean."""
    defaults = defaults or {}
    return {
        name: one
        for name, one in value.items()
        if one is not None and not (name in defaults and same(one, defaults[name]))
    }


def same(one: Json, other: Json) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def without_empty(value: dict[str, Json], names: Collection[str]) -> dict[str, Json]:
    """The object without those of the named fields that hold an empty text, list or object."""
    return {
        name: one for name, one in value.items() if not (name in names and one in ("", [], {}) and one is not False)
    }


def each(value: Json, form: Callable[[dict[str, Json]], Json]) -> Json:
    """A list with `form` applied to its objects; anything else as it is."""
    return [form(one) if isinstance(one, dict) else one for one in value] if isinstance(value, list) else value


def inside(value: dict[str, Json], name: str, form: Callable[[dict[str, Json]], Json]) -> None:
    """Apply `form` to the object at `name`, or to the objects of the list there. `value` is the caller's own copy."""
    one = value.get(name)
    if isinstance(one, dict):
        value[name] = form(one)
    elif isinstance(one, list):
        value[name] = each(one, form)


EMPTY = {"type": "text", "text": ""}


def blocks(content: Json, form: Callable[[dict[str, Json]], Json], *, empty: Json = EMPTY) -> Json:
    """Content as a list of blocks: text is one block, nothing and empty text are none."""
    if content is None:
        content = []
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        return content
    formed = each(content, lambda one: form(said(one)))
    return [one for one in formed if one != empty]


def json_text(value: Json) -> Json:
    """Text that is documented to be JSON, as what it says; other text as it is."""
    try:
        return {"JSON text": json.loads(value)} if isinstance(value, str) else value
    except ValueError:
        return value


def data_url(value: Json) -> Json:
    """An inline address without what means nothing in it."""
    found = DATA_URL.match(value) if isinstance(value, str) else None
    return f"data:{found['type'].lower()};base64,{found['data']}" if found else value


def merged(turns: list[Json], content: str) -> list[Json]:
    """Turns of one role in a row as one turn, where they hold nothing but their role and content."""
    out: list[Json] = []
    for turn in turns:
        last = out[-1] if out else None
        plain = {"role", content}
        if (
            isinstance(last, dict)
            and isinstance(turn, dict)
            and last.keys() <= plain
            and turn.keys() <= plain
            and last.get("role") == turn.get("role")
            and isinstance(last.get(content), list)
            and isinstance(turn.get(content), list)
        ):
            out[-1] = {**last, content: [*last[content], *turn[content]]}
        else:
            out.append(turn)
    return out
