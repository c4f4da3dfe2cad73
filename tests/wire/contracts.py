"""The providers' own machine-readable contracts for request bodies, made fit for a validator.

    openai, openrouter, anthropic, ollama     OpenAPI (../shared/wire/specs/trimmed)
    google                                    a Google discovery document, closed: an unknown field is an error
    cohere                                    the types of its SDK (its OpenAPI document is not free)
    ruvllm                                    by hand: what its server's source reads

Three repairs make the OpenAPI documents JSON Schema 2020-12: `nullable` becomes the type null (also inside `enum`), a
`discriminator` becomes if/then, an exclusive bound that is true or false becomes a number.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import pydantic

from tests.wire.equivalence import kind_of
from tests.wire.records import CONTRACTS

Json = Any
Check = Callable[[Json], set[str]]
"""The breaches of the contract in a body, as "kind of path: rule"."""

REQUESTS = {
    "openai": ("openai.openapi.json", "CreateChatCompletionRequest"),
    "openrouter": ("openrouter.openapi.json", "ChatRequest"),
    "anthropic": ("anthropic.openapi.json", "CreateMessageParams"),
    "ollama": ("ollama.openapi.json", "ChatRequest"),
    "google": ("gemini.discovery.json", "GenerateContentRequest"),
}
RUVLLM: Json = {
    "type": "object",
    "properties": {"query": {"type": "string"}, "session_id": {"type": "string"}},
    "required": ["query"],
    "additionalProperties": False,
}


@lru_cache(maxsize=16)
def contract(dialect: str) -> Check:
    """The check of a dialect's chat bodies."""
    if dialect == "cohere":
        return cohere_check()
    if dialect == "ruvllm":
        return _check(jsonschema.Draft202012Validator(RUVLLM))
    file, name = REQUESTS[dialect]
    return _check(validator(CONTRACTS / file, name, required=dialect != "anthropic"))


def validator(path: Path, name: str, *, required: bool = True) -> jsonschema.Draft202012Validator:
    """A validator for one named schema of a document. `required` off: for documents newer than what they judge."""
    document = json.loads(path.read_bytes())
    if "components" not in document:
        document = {"components": {"schemas": {key: _discovered(one) for key, one in document["schemas"].items()}}}
    schemas = document["components"]["schemas"]
    fixed = {key: repaired(one, schemas, required=required) for key, one in schemas.items()}
    whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": fixed}}
    return jsonschema.Draft202012Validator(whole)


def _check(validator: jsonschema.Draft202012Validator) -> Check:
    def check(body: Json) -> set[str]:
        return {f"{kind_of(_path(error))}: {error.validator}" for error in validator.iter_errors(body)}

    return check


def _path(error: jsonschema.ValidationError) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path).lstrip(".")


def repaired(schema: Json, schemas: Mapping[str, Json], *, required: bool = True) -> Json:
    """An OpenAPI schema as JSON Schema 2020-12."""
    if isinstance(schema, list):
        return [repaired(one, schemas, required=required) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out = {
        name: one if name in ("enum", "const", "default", "required") else repaired(one, schemas, required=required)
        for name, one in schema.items()
        if not (name == "required" and not required and isinstance(one, list))
    }
    for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if out.get(bound) is True:
            out[bound] = out.pop(limit)
        elif out.get(bound) is False:
            del out[bound]
    if isinstance(out.get("discriminator"), dict):
        out = _by_discriminator(out, schemas)
    if out.get("nullable") is True:
        del out["nullable"]
        out = {"anyOf": [out, {"type": "null"}]}
    return out


def _by_discriminator(schema: dict[str, Json], schemas: Mapping[str, Json]) -> dict[str, Json]:
    said = schema.pop("discriminator")
    name, mapping = said["propertyName"], dict(said.get("mapping") or {})
    choices = schema.pop("oneOf", None) or schema.pop("anyOf", None)
    if choices is None:
        return schema
    if not mapping:
        for choice in choices:
            target = schemas[choice["$ref"].rsplit("/", 1)[-1]]
            field = target["properties"][name]
            for word in field.get("enum", [field.get("const")]):
                mapping[word] = choice["$ref"]
    rules = [
        {"if": {"properties": {name: {"const": word}}, "required": [name]}, "then": {"$ref": ref}}
        for word, ref in mapping.items()
    ]
    return {**schema, "properties": {name: {"enum": list(mapping)}}, "required": [name], "allOf": rules}


def _discovered(schema: Json) -> Json:
    """A schema of a Google discovery document, closed. Protocol buffers take 64-bit integers as text or number."""
    if isinstance(schema, list):
        return [_discovered(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Json] = {}
    for name, one in schema.items():
        if name == "$ref":
            out[name] = f"#/components/schemas/{one}"
        elif name in ("properties",):
            out[name] = {key: _discovered(inner) for key, inner in one.items()}
        elif name in ("items", "additionalProperties"):
            out[name] = _discovered(one)
        elif name == "enum" or (name == "type" and one != "any"):
            out[name] = one
    if schema.get("format") in ("int64", "uint64"):
        out["type"] = ["string", "integer"]
    if "properties" in out:
        out.setdefault("additionalProperties", False)
    return out


def cohere_check() -> Check:
    """Cohere's chat by the parameters of its SDK's `V2Client.chat`, closed: what a type does not know is an error."""
    from cohere.v2.client import V2Client

    return _by_types(_parameters(V2Client.chat), {"stream": (bool, False)})


def cohere_embed_check() -> Check:
    from cohere.v2.client import V2Client

    return _by_types(_parameters(V2Client.embed), {})


def _parameters(method: Any) -> dict[str, tuple[Any, Any]]:
    from inspect import Parameter, signature

    hints = typing.get_type_hints(method)
    return {
        name: (hints[name], ... if one.default is Parameter.empty else None)
        for name, one in signature(method).parameters.items()
        if name not in ("self", "request_options")
    }


def _by_types(fields: dict[str, tuple[Any, Any]], more: dict[str, tuple[Any, Any]]) -> Check:
    model = pydantic.create_model(  # type: ignore[call-overload]
        "Body", __config__=pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True), **fields, **more
    )

    def check(body: Json) -> set[str]:
        try:
            found = model.model_validate(body)
        except pydantic.ValidationError as wrong:
            return {
                f"{kind_of('.'.join(f'[{s}]' if isinstance(s, int) else s for s in error['loc']))}: {error['type']}"
                for error in wrong.errors()
            }
        return {f"{kind_of(path)}: unknown" for path in _unknown(found, "")}

    return check


def _unknown(value: Any, path: str) -> Iterator[str]:
    """Fields that a type of the SDK let pass without knowing them."""
    if isinstance(value, pydantic.BaseModel):
        for name in value.model_extra or ():
            yield f"{path}.{name}".lstrip(".")
        for name in type(value).model_fields:
            yield from _unknown(getattr(value, name), f"{path}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for at, one in enumerate(value):
            yield from _unknown(one, f"{path}[{at}]")
