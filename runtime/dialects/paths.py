"""Names for the places inside a body, so that what a type cannot hold travels on beside it.

A surface keeps a field that it does not know under its path: `logit_bias`, `tools[0].cache_control`,
`content[1].cache_control`. A dialect of the same kind puts it back where it was; any other names that path to the
caller as dropped. A path is thus both the key and the words for people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from runtime.request import Json

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


def leftovers(value: Mapping[str, Json], known: Iterable[str], prefix: str, into: dict[str, Json]) -> None:
    """Collect the fields of `value` beyond `known` into `into`, by path."""
    for key in value.keys() - known:
        into[f"{prefix}.{key}" if prefix else key] = value[key]


def place(body: dict[str, Json], path: str, value: Json) -> bool:
    """Put `value` back at `path`, where its parent still exists and holds nothing there; whether that was so.

    >>> body = {"tools": [{"type": "function"}]}
    >>> place(body, "tools[0].cache_control", {"type": "ephemeral"}), place(body, "tools[7].cache_control", 1)
    (True, False)
    >>> body
    {'tools': [{'type': 'function', 'cache_control': {'type': 'ephemeral'}}]}
    """
    if "." not in path and "[" not in path:
        body.setdefault(path, value)
        return body[path] is value
    steps: list[str | int] = [int(index) if index else name for name, index in _STEP.findall(path)]
    parent: Json = body
    for step in steps[:-1]:
        if isinstance(step, int):
            if not isinstance(parent, list) or step >= len(parent):
                return False
            parent = parent[step]
        else:
            if not isinstance(parent, dict) or step not in parent:
                return False
            parent = parent[step]
    last = steps[-1] if steps else ""
    if not isinstance(parent, dict) or not isinstance(last, str):
        return False
    parent.setdefault(last, value)
    return parent[last] is value
