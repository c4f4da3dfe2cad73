"""Gemini's generateContent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.wire.normal.common import blocks, each, inside, merged, said, same, without_empty

Json = Any

FREE = frozenset(("args", "response", "parametersJsonSchema", "responseJsonSchema", "labels"))
"""Fields whose inside is the caller's own JSON."""

SCHEMAS = frozenset(("parameters", "responseSchema", "response"))
_COUNTS = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"))
_VALUES = frozenset(("default", "enum", "example", "const", "examples"))
_SNAKE = re.compile(r"_([a-z0-9])")


def normal(body: dict[str, Json]) -> dict[str, Json]:
    body = bare(body)
    if "systemInstruction" in body:
        system = _content(body["systemInstruction"])
        if isinstance(system, dict):
            system.pop("role", None)
        body["systemInstruction"] = system
    if "contents" in body:
        turns = body["contents"] if isinstance(body["contents"], list) else [body["contents"]]
        body["contents"] = merged([_content(one) for one in turns], "parts")
    if "tools" in body:
        body["tools"] = _tools(body["tools"] if isinstance(body["tools"], list) else [body["tools"]])
        if body["tools"] == {"functions": [], "others": []}:
            del body["tools"]
    inside(body, "generationConfig", _config)
    inside(body, "toolConfig", lambda one: {**one, **_calling(one)})
    for name in ("generationConfig", "toolConfig"):
        if body.get(name) in ({}, {"functionCallingConfig": {}}):
            del body[name]
    return body


def bare(value: Json) -> Json:
    """Field names in camel case, without null and empty lists: what protocol buffers cannot tell apart."""
    if isinstance(value, list):
        return [bare(one) for one in value]
    if not isinstance(value, dict):
        return value
    out: dict[str, Json] = {}
    for name, one in value.items():
        camel = _camel(name)
        if one is None or one == []:
            continue
        out[camel] = one if camel in FREE or camel in SCHEMAS else bare(one)
    return out


def _camel(name: str) -> str:
    return _SNAKE.sub(lambda found: found.group(1).upper(), name)


def _content(content: Json) -> Json:
    if not isinstance(content, dict):
        return content
    role = content.get("role", "user")
    parts = content.get("parts")
    parts = [parts] if isinstance(parts, dict) else parts
    return {
        **content,
        "role": "user" if role == "function" else role,
        "parts": blocks(parts, _part, empty={"text": ""}),
    }


def _part(part: dict[str, Json]) -> dict[str, Json]:
    part = said(part, defaults={"thought": False})
    inside(part, "functionCall", lambda call: said(call, defaults={"args": {}}))
    return part


def _tools(tools: list[Json]) -> Json:
    functions: list[Json] = []
    others: list[Json] = []
    for tool in tools:
        for name, value in tool.items() if isinstance(tool, dict) else ():
            if name == "functionDeclarations" and isinstance(value, list):
                functions.extend(each(value, _function))
            else:
                others.append({name: value})
    return {"functions": functions, "others": others}


def _function(function: dict[str, Json]) -> dict[str, Json]:
    function = dict(function)
    for proto, plain in (("parameters", "parametersJsonSchema"), ("response", "responseJsonSchema")):
        for name in (proto, plain):
            if name in function:
                function[plain] = schema(function.pop(name))
    return function


def _config(config: dict[str, Json]) -> dict[str, Json]:
    config = said(config, defaults={"candidateCount": 1, "responseMimeType": "text/plain"})
    for name in ("responseSchema", "responseJsonSchema", "_responseJsonSchema"):
        if name in config:
            config["responseJsonSchema"] = schema(config.pop(name))
    inside(
        config, "thinkingConfig", lambda one: _upper(said(one, defaults={"includeThoughts": False}), "thinkingLevel")
    )
    return without_empty(config, ("thinkingConfig",))


def _calling(config: dict[str, Json]) -> dict[str, Json]:
    calling = config.get("functionCallingConfig")
    if not isinstance(calling, dict):
        return {}
    return {"functionCallingConfig": said(_upper(calling, "mode"), defaults={"mode": "AUTO"})}


def _upper(value: dict[str, Json], name: str) -> dict[str, Json]:
    one = value.get(name)
    return {**value, name: one.upper()} if isinstance(one, str) else value


def schema(value: Json) -> Json:
    """A schema in JSON schema's words, whichever of the two spellings it came in."""
    if not isinstance(value, dict):
        return value
    out: dict[str, Json] = {}
    for name, one in value.items():
        camel = _camel(name)
        if camel in _VALUES:
            out[camel] = one
        elif one is None or (camel in ("required", "properties") and not one) or (camel == "nullable" and one is False):
            continue
        elif camel == "type":
            out[camel] = one.lower() if isinstance(one, str) else one
        elif camel in _COUNTS and isinstance(one, str) and one.isdigit():
            out[camel] = int(one)
        elif camel in ("properties", "$defs", "defs", "definitions") and isinstance(one, Mapping):
            out[camel] = {key: schema(inner) for key, inner in one.items()}
        elif isinstance(one, list):
            out[camel] = [schema(inner) for inner in one]
        else:
            out[camel] = schema(one)
    if same(out.get("nullable"), True) and isinstance(out.get("type"), str):
        del out["nullable"]
        out["type"] = [out["type"], "null"]
    return out
