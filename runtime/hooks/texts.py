"""Every text that a request or an answer holds, wherever it stands: also in tools, metadata and fields of no type.

What is not language is left as it is: ids, base64, addresses, signatures and what they sign.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson

from runtime.request import ReasoningPart, ToolCall
from runtime.values import replace

T = TypeVar("T")

KEPT = frozenset(
    (
        *("id", "request_id", "tool_call_id", "file_id", "tenant", "model", "provider", "dialect", "kind", "role"),
        *("data", "url", "media_type", "format", "signature", "redacted", "billing", "limits", "cache", "cost"),
        *("usage", "attempts", "finish_reason", "sampling", "tool_choice", "reasoning_effort"),
    )
)
"""Fields that hold no language, or none that may be changed."""

SEALED = frozenset(("data", "signature", "thoughtSignature", "thought_signature", "encrypted_content"))
"""The same of objects whose keys no type of ours knows: people write what they like under `id`."""

_FIELDS: dict[type, tuple[str, ...]] = {}


def changed(value: T, change: Callable[[str], str]) -> T:
    """The value with each of its texts changed; itself where none was. `change` is given text, never JSON."""
    made: T = _walk(value, change)
    return made


def _walk(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        # Base64 of a file is long, and full of digits that mean nothing.
        return value if not value or value.startswith("data:") else change(value)
    if isinstance(value, tuple | list):
        new = [_walk(one, change) for one in value]
        same = all(a is b for a, b in zip(new, value, strict=True))
        return value if same else type(value)(new)
    if isinstance(value, Mapping):
        said = {key: one if key in SEALED else _walk(one, change) for key, one in value.items()}
        return value if all(said[key] is value[key] for key in value) else said
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    if isinstance(value, ReasoningPart) and value.signature:
        # The thought is its provider's own, and its signature would no longer fit.
        return value
    changes = {}
    for name in _fields(type(value)):
        one = getattr(value, name)
        if one is None or one == () or isinstance(one, bool | int | float):
            continue
        is_json = name == "arguments" and isinstance(value, ToolCall)
        made = in_json(one, change) if is_json else _walk(one, change)
        if made is not one:
            changes[name] = made
    return replace(value, **changes) if changes else value


def in_json(said: str, change: Callable[[str], str]) -> str:
    """JSON with each text in it changed, and nothing else of it; as text where it is no JSON.

    A number that is changed becomes a text.
    """
    try:
        read = orjson.loads(said)
    except orjson.JSONDecodeError:
        return change(said) if said else said
    new = _in_value(read, change)
    return said if new is read else orjson.dumps(new).decode()


def _in_value(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        new = change(str(value))
        return value if new == str(value) else new
    if isinstance(value, list):
        made = [_in_value(one, change) for one in value]
        return value if all(a is b for a, b in zip(made, value, strict=True)) else made
    if isinstance(value, dict):
        said = {key: _in_value(one, change) for key, one in value.items()}
        return value if all(said[key] is value[key] for key in value) else said
    return _walk(value, change)


def _fields(cls: type) -> tuple[str, ...]:
    found = _FIELDS.get(cls)
    if found is None:
        found = _FIELDS[cls] = tuple(one.name for one in dataclasses.fields(cls) if one.name not in KEPT)
    return found
