"""Content blocks of a client's body as parts. What only this API has becomes a `NativePart`, whole."""

from __future__ import annotations

from collections.abc import Container, Mapping

from runtime.dialects.caching import take_cache
from runtime.dialects.encoding import text_of_object
from runtime.dialects.fields import Wrong, array, kind_name, obj, opt_text, text
from runtime.request import (
    CacheHint,
    FilePart,
    ImagePart,
    Json,
    NativePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCall,
)

NAME = "anthropic"

_KNOWN: Mapping[str, frozenset[str]] = {
    "text": frozenset(("type", "text", "citations", "cache_control")),
    "image": frozenset(("type", "source", "cache_control")),
    "document": frozenset(("type", "source", "title", "cache_control")),
    "thinking": frozenset(("type", "thinking", "signature")),
    "redacted_thinking": frozenset(("type", "data")),
    "tool_use": frozenset(("type", "id", "name", "input", "cache_control")),
}
"""The fields that our types hold, for each block that has a type of ours."""

_SOURCES: Mapping[str, frozenset[str]] = {
    "base64": frozenset(("type", "data", "media_type")),
    "text": frozenset(("type", "data", "media_type")),
    "url": frozenset(("type", "url")),
    "file": frozenset(("type", "file_id")),
}


def rest(fields: Mapping[str, Json], known: Container[str], extra: dict[str, Json], path: str = "") -> None:
    """Collect what no type of ours holds, by path. A null says nothing."""
    for name, value in fields.items():
        if name not in known and value is not None:
            extra[f"{path}.{name}" if path else name] = value


def parts_of(content: Json, param: str) -> tuple[Part, ...]:
    """Content that is a string, an array of blocks, or nothing. Raises `Wrong`."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (TextPart(content),)
    if not isinstance(content, list):
        raise Wrong(param, f"{param} must be a string or an array of content blocks, but is {kind_name(content)}.")
    return tuple(part_of(one, f"{param}[{at}]") for at, one in enumerate(content))


def part_of(said: Json, param: str) -> Part:
    """One block. Raises `Wrong`."""
    fields = obj(said, param)
    kind = text(fields.get("type"), f"{param}.type")
    known = _KNOWN.get(kind)
    if known is None:
        return NativePart(dialect=NAME, kind=kind, value=fields)
    extra: dict[str, Json] = {}
    if not fields.keys() <= known:
        rest(fields, known, extra)
    cache = take_cache(fields, extra) if "cache_control" in fields and "cache_control" in known else None
    match kind:
        case "text":
            said_citations = fields.get("citations")
            citations = () if said_citations is None else tuple(array(said_citations, f"{param}.citations"))
            return TextPart(text(fields.get("text"), f"{param}.text"), cache=cache, citations=citations, extra=extra)
        case "thinking":
            return ReasoningPart(
                text=text(fields.get("thinking"), f"{param}.thinking"),
                signature=opt_text(fields, "signature", f"{param}.signature") or "",
                extra=extra,
            )
        case "redacted_thinking":
            return ReasoningPart(redacted=text(fields.get("data"), f"{param}.data"), extra=extra)
        case "tool_use":
            return ToolCall(
                id=text(fields.get("id"), f"{param}.id"),
                name=text(fields.get("name"), f"{param}.name"),
                arguments=text_of_object(obj(fields.get("input"), f"{param}.input")),
                cache=cache,
                extra=extra,
            )
        case _:
            return _media(fields, kind, param, cache, extra)


def _media(
    fields: dict[str, Json], kind: str, param: str, cache: CacheHint | None, extra: dict[str, Json]
) -> ImagePart | FilePart | NativePart:
    """An image or a document, by its source."""
    where = f"{param}.source"
    source = obj(fields.get("source"), where)
    word = text(source.get("type"), f"{where}.type")
    known = _SOURCES.get(word)
    if known is None or (word == "text" and kind == "image"):
        # A document made of blocks, or a source newer than we are.
        return NativePart(dialect=NAME, kind=kind, value=fields)
    rest(source, known, extra, "source")
    said: dict[str, str | None] = {
        "url": text(source.get("url"), f"{where}.url") if word == "url" else None,
        "data": text(source.get("data"), f"{where}.data") if word == "base64" else None,
        "file_id": text(source.get("file_id"), f"{where}.file_id") if word == "file" else None,
        "media_type": opt_text(source, "media_type", f"{where}.media_type"),
    }
    if kind == "image":
        return ImagePart(**said, cache=cache, extra=extra)
    return FilePart(
        **said,
        text=text(source.get("data"), f"{where}.data") if word == "text" else None,
        name=opt_text(fields, "title", f"{param}.title"),
        cache=cache,
        extra=extra,
    )
