"""docs/configuration.md, from the settings' own types: python -m runtime.settings.reference docs/configuration.md

A section for each part, in the order in which the settings name it, with what its type's docstring says of its keys.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.settings.model import Settings

BEGIN = """\
# Configuration

Every key of a settings file, made from the types that read it (`make docs` renews this page).

Settings come from, each over the one before: the defaults below; the file (`raygate up --config FILE`, or
`RAYGATE_CONFIG`); the environment. A variable is `RAYGATE_` and the key in capitals, with `__` for each dot:
`retry.max_attempts` is `RAYGATE_RETRY__MAX_ATTEMPTS`. A key that is unknown is refused, with the nearest one that
there is. `raygate config check FILE` says what is wrong, `raygate config show` what holds now, `raygate config schema`
prints the JSON schema for editors that complete and check YAML by one.

A secret may be written as `os.environ/NAME`, the variable that holds it; then it is not even stored. Seconds end in
`_s`, dollars in `_usd`.
"""
ONE_OF_MANY = "NAME"


def page() -> str:
    """The whole page, as Markdown."""
    schema = Settings.model_json_schema()
    parts = [BEGIN, *_section("", schema, schema["$defs"], set())]
    return "\n".join(parts).rstrip() + "\n"


def _section(path: str, part: Mapping[str, Any], defs: Mapping[str, Any], seen: set[str]) -> Iterator[str]:
    """One part and, after it, those that it names. What was shown once is not shown again."""
    yield f"## `{path}`\n" if path else "## The top\n"
    if said := part.get("description", ""):
        yield said + "\n"
    yield "| key | is | default |"
    yield "| --- | --- | --- |"
    inner: list[tuple[str, str]] = []
    for name, one in part["properties"].items():
        dotted = f"{path}.{name}" if path else name
        default = "" if name in part.get("required", ()) else _default(one)
        yield f"| `{name}` | {_words(one, defs)} | {default} |"
        inner += [(f"{dotted}{more}", ref) for more, ref in _parts(one, defs)]
    yield ""
    for dotted, ref in inner:
        if ref not in seen:
            seen.add(ref)
            yield from _section(dotted, defs[ref], defs, seen)


def _parts(one: Mapping[str, Any], defs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where further parts stand within this key, and which."""
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        if "properties" in defs[name]:
            yield "", name
    for other in one.get("anyOf", ()):
        yield from _parts(other, defs)
    if isinstance(one.get("items"), dict):
        yield from ((f"[]{more}", ref) for more, ref in _parts(one["items"], defs))
    if isinstance(one.get("additionalProperties"), dict):
        yield from ((f".{ONE_OF_MANY}{more}", ref) for more, ref in _parts(one["additionalProperties"], defs))


def _words(one: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """What a value is, in words."""
    if "$ref" in one:
        named = defs[one["$ref"].rpartition("/")[2]]
        return "a part of its own, below" if "properties" in named else _words(named, defs)
    if "anyOf" in one:
        # What is "null" in the schema is said by the default.
        kinds = [_words(other, defs) for other in one["anyOf"] if other.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    if "const" in one:
        return f"`{one['const']}`"
    match one.get("type"):
        case "integer" | "number" as kind:
            return ("a whole number" if kind == "integer" else "a number") + _bounds(one)
        case "boolean":
            return "yes or no"
        case "string":
            return "a secret" if one.get("format") == "password" else "a text"
        case "array":
            items = one.get("items", {})
            return f"a list, each {_words(items, defs)}" if items else "a list"
        case "object":
            more = one.get("additionalProperties")
            return f"by name, each {_words(more, defs)}" if isinstance(more, dict) and more else "JSON"
        case _:
            return "JSON"


def _bounds(one: Mapping[str, Any]) -> str:
    said = []
    if "minimum" in one:
        said.append(f"at least {one['minimum']:,g}")
    if "exclusiveMinimum" in one:
        said.append(f"more than {one['exclusiveMinimum']:,g}")
    if "maximum" in one:
        said.append(f"at most {one['maximum']:,g}")
    return f" ({', '.join(said)})" if said else ""


def _default(one: Mapping[str, Any]) -> str:
    default = one.get("default")
    if default is None:
        return "–"
    if isinstance(default, dict) and default:
        return "as below"
    return f"`{json.dumps(default)}`"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
