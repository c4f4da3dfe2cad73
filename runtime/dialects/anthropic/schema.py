"""A JSON schema in the part of the language that Anthropic compiles: what its own SDK does to schemas, in short.

object without additionalProperties ─► closed           other APIs take it as closed in strict mode, too
oneOf ───────────────────────────────► anyOf
minimum, maxLength, … ───────────────► into the description, and named: the model reads it, nobody enforces it
object with free keys ───────────────► cannot be said
"""

from __future__ import annotations

from runtime.dialects.anthropic.parts import cannot
from runtime.request import Json

_TOLD = frozenset(
    (
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
        *("maxItems", "uniqueItems", "minContains", "maxContains", "minProperties", "maxProperties"),
    )
)
_OF_NAMES = ("properties", "$defs", "definitions")
_OF_LISTS = ("anyOf", "allOf", "prefixItems")


def compiled(schema: Json, where: str, dropped: list[str]) -> Json:
    """The schema to send. Raises `Wrong` where it allows keys that it does not list. `where` names it to people."""
    if not isinstance(schema, dict):
        return schema
    told: list[str] = []
    out: dict[str, Json] = {}
    for name, value in schema.items():
        at = f"{where}.{name}"
        if name in _TOLD or (name == "minItems" and value not in (0, 1)):
            told.append(f"{name}: {value}")
            dropped.append(at)
        elif name in _OF_NAMES and isinstance(value, dict):
            out[name] = {key: compiled(one, f"{at}.{key}", dropped) for key, one in value.items()}
        elif name in (*_OF_LISTS, "oneOf") and isinstance(value, list):
            listed = [compiled(one, f"{at}[{number}]", dropped) for number, one in enumerate(value)]
            out["anyOf" if name == "oneOf" and "anyOf" not in schema else name] = listed
        elif name == "items":
            out[name] = compiled(value, at, dropped)
        else:
            out[name] = value
    if told:
        said = out.get("description")
        out["description"] = f"{said}\n\n" * isinstance(said, str) + f"({', '.join(told)})"
    kind = out.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in out:
        if out.get("additionalProperties") is None and "properties" in out:
            out["additionalProperties"] = False
        if out.get("additionalProperties") is not False:
            raise cannot(
                f"{where}.additionalProperties", "no objects with free keys in a schema; list their properties"
            )
    return out
