"""From Google's `Schema`, its subset of OpenAPI, to JSON schema.

    OBJECT, STRING, …                   object, string, …
    nullable: true beside a type        type: [that type, "null"], and null among the enum
    nullable: true beside anyOf         one more alternative, {"type": "null"}
    minItems: "2"                       minItems: 2

What JSON schema does not know (`propertyOrdering`, `example`, formats such as int32) stays: readers ignore it, and
Google understands it in either form. There is no way back, for none is needed: v1beta takes JSON schema as it
stands, and v1 takes no schema at all.
"""

from __future__ import annotations

from runtime.dialects.fields import Wrong
from runtime.dialects.google.words import MOST_DEEP, camel
from runtime.request import Json

_COUNTS = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"))
_MAPS = frozenset(("properties", "$defs", "definitions"))
_LISTS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_INNER = frozenset(("items", "additionalProperties"))
_NULLABLE = frozenset(("default", "example", "const"))
_NAMES = {"defs": "$defs", "ref": "$ref"}


def json_schema_of(said: Json, depth: int = 0) -> Json:
    """The JSON schema that means the same; what is no object is given back as it is.

    >>> json_schema_of({"type": "STRING", "nullable": True})
    {'type': ['string', 'null']}
    """
    if not isinstance(said, dict):
        return said
    if depth > MOST_DEEP:
        raise Wrong("", f"A schema is nested deeper than {MOST_DEEP} levels: send a flatter one.")
    schema: dict[str, Json] = {}
    for key, value in said.items():
        name = camel(key)
        name = _NAMES.get(name, name)
        if value is not None or name in _NULLABLE:
            schema[name] = _value(name, value, depth + 1)
    if not schema.get("type", True):
        del schema["type"]
    if "nullable" in schema:
        _admit_null(schema)
    return schema


def _value(name: str, value: Json, depth: int) -> Json:
    if name == "type":
        return _types(value)
    if name in _COUNTS and isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if name in _MAPS and isinstance(value, dict):
        return {inner: json_schema_of(one, depth) for inner, one in value.items()}
    if name in _LISTS and isinstance(value, list):
        return [json_schema_of(one, depth) for one in value]
    return json_schema_of(value, depth) if name in _INNER else value


def _types(said: Json) -> Json:
    if isinstance(said, str):
        word = said.lower()
        return "" if word == "type_unspecified" else word
    return [one.lower() if isinstance(one, str) else one for one in said] if isinstance(said, list) else said


def _admit_null(schema: dict[str, Json]) -> None:
    nullable = schema.pop("nullable")
    if nullable is not True:
        return
    kind, alternatives = schema.get("type"), schema.get("anyOf")
    if isinstance(kind, str):
        schema["type"] = [kind, "null"] if kind != "null" else kind
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    elif isinstance(alternatives, list):
        if {"type": "null"} not in alternatives:
            schema["anyOf"] = [*alternatives, {"type": "null"}]
    elif kind is None:
        # Anything, null included: JSON schema says that by saying nothing. Google's readers need the word.
        schema["nullable"] = True
