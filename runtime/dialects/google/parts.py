"""One part of a turn, as Google writes it, as one of ours: in requests and in answers alike.

    text                      TextPart; with `thought`, ReasoningPart
    inlineData, fileData      ImagePart, AudioPart, VideoPart or FilePart, by media type
    functionCall              ToolCall
    anything else             NativePart (executableCode, codeExecutionResult, toolCall, toolResponse, …)

`functionResponse` is a message of its own and read by `parse`. A `thoughtSignature` goes into the `signature` of what
has one, else into `extra`, as do `videoMetadata`, `partMetadata`, `mediaResolution` and whatever comes next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runtime.dialects.encoding import text_of_object
from runtime.dialects.fields import Wrong, opt_bool, opt_obj, opt_text, text
from runtime.dialects.google.words import (
    audio_format,
    camel_deep,
    fields_of,
    is_video_page,
    leftover_fields,
    mime_of_name,
)
from runtime.request import (
    AudioPart,
    FilePart,
    ImagePart,
    Json,
    NativePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCall,
    VideoPart,
)

NAME = "google"

MODIFIERS = frozenset(
    (
        *("thought", "thoughtSignature", "partMetadata", "mediaResolution", "mediaProcessing"),
        *("videoMetadata", "audioMetadata", "documentMetadata", "spreadsheetMetadata", "speechMetadata"),
    )
)
"""Fields that say something about a part."""

CONTENT = frozenset(
    (
        *("text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode"),
        *("codeExecutionResult", "toolCall", "toolResponse"),
    )
)
"""Fields that are the part. A field in neither set stands beside one of these, or is a part of a kind yet to come."""

_TEXT = frozenset(("text", "thought", "thoughtSignature"))
_CALL = frozenset(("functionCall", "thoughtSignature"))
_CALL_FIELDS = frozenset(("id", "name", "args"))


def part_of(said: Json, param: str, call_id: Callable[[str], str]) -> Part:
    """The part. `call_id` makes an id for a call of this name that came without one. Raises `Wrong`."""
    fields = fields_of(said, param)
    signature = opt_text(fields, "thoughtSignature", f"{param}.thoughtSignature") or ""
    if not opt_bool(fields, "thought", f"{param}.thought"):
        fields.pop("thought", None)
    kinds = [name for name in fields if name in CONTENT] or [name for name in fields if name not in MODIFIERS]
    if len(kinds) > 1:
        raise Wrong(param, f"{param} holds {' and '.join(sorted(kinds))}: send each as a part of its own.")
    match kinds[0] if kinds else "text":
        case "text":
            return _text(fields, param, signature)
        case "functionCall":
            return _call(fields, param, signature, call_id)
        case "inlineData" | "fileData" as kind:
            return _media(fields, kind, param)
        case kind:
            return NativePart(dialect=NAME, kind=kind, value=camel_deep(fields))


def _text(fields: dict[str, Json], param: str, signature: str) -> Part:
    said = opt_text(fields, "text", f"{param}.text") or ""
    extra: dict[str, Json] = {}
    if not fields.keys() <= _TEXT:
        leftover_fields(fields, _TEXT, "", extra)
    if "thought" in fields:
        return ReasoningPart(text=said, signature=signature, extra=extra)
    return TextPart(said, signature=signature, extra=extra)


def _call(fields: dict[str, Json], param: str, signature: str, call_id: Callable[[str], str]) -> ToolCall:
    where = f"{param}.functionCall"
    call = fields_of(fields["functionCall"], where)
    extra: dict[str, Json] = {}
    leftover_fields(fields, _CALL, "", extra)
    leftover_fields(call, _CALL_FIELDS, "functionCall.", extra)
    name = text(call.get("name"), f"{where}.name")
    return ToolCall(
        id=opt_text(call, "id", f"{where}.id") or call_id(name),
        name=name,
        arguments=text_of_object(opt_obj(call, "args", f"{where}.args") or {}, f"{where}.args"),
        signature=signature,
        extra=extra,
    )


def _media(fields: dict[str, Json], kind: str, param: str) -> Part:
    where = f"{param}.{kind}"
    inner = fields_of(fields[kind], where)
    key = "data" if kind == "inlineData" else "fileUri"
    content = text(inner.get(key), f"{where}.{key}")
    mime = opt_text(inner, "mimeType", f"{where}.mimeType") or ""
    extra: dict[str, Json] = {}
    leftover_fields(fields, frozenset((kind,)), "", extra)
    leftover_fields(inner, frozenset((key, "mimeType")), f"{kind}.", extra)
    place: Mapping[str, Any] = {"data" if kind == "inlineData" else "url": content, "extra": extra}
    shown = (mime or (mime_of_name(content) if kind == "fileData" else None) or "").lower()
    if shown.startswith("image/"):
        return ImagePart(media_type=mime or None, **place)
    if shown.startswith("video/") or (kind == "fileData" and not mime and is_video_page(content)):
        return VideoPart(media_type=mime or None, **place)
    if shown.startswith("audio/"):
        if mime and mime != f"audio/{audio_format(mime)}":
            # The short name alone would not say it again: audio/mpeg, or a rate.
            extra[f"{kind}.mimeType"] = mime
        return AudioPart(format=audio_format(mime) if mime else None, **place)
    return FilePart(media_type=mime or None, **place)
