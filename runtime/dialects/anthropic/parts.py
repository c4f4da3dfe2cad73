"""One part of a message as a content block."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.dialects.anthropic.blocks import NAME
from runtime.dialects.anthropic.ids import Ids
from runtime.dialects.anthropic.quirks import Quirks
from runtime.dialects.base import Target
from runtime.dialects.caching import marker
from runtime.dialects.encoding import media_type_of, object_of_text, put_extra, split_data_url
from runtime.dialects.fields import Wrong
from runtime.outcome import FailureKind
from runtime.request import (
    AudioPart,
    CacheHint,
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

Block = dict[str, Json]

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
UNCACHED = frozenset(("thinking", "redacted_thinking"))
"""Blocks that take no prompt-caching marker."""

_TEXTS = ("text/", "application/json", "application/xml", "application/yaml", "application/x-yaml")


@dataclass(slots=True)
class Wording:
    """What saying one request takes: for whom, in which dialect it was written, what was left out."""

    target: Target
    quirks: Quirks
    dialect: str
    ids: Ids
    dropped: list[str] = field(default_factory=list)

    @property
    def ours(self) -> bool:
        return self.dialect == NAME

    def keep(self, body: Block, extra: Mapping[str, Json], prefix: str = "") -> None:
        put_extra(body, extra, ours=self.ours, dropped=self.dropped, prefix=prefix)


def cannot(param: str, what: str) -> Wrong:
    """This API has no words for it; another provider may."""
    return Wrong(param, f"{param}: this API takes {what}", FailureKind.UNSUPPORTED)


def mark(block: Block, cache: CacheHint | None) -> None:
    """Put the prompt-caching marker on, where there is none."""
    if cache is not None and "cache_control" not in block:
        block["cache_control"] = marker(cache)


def block_of(part: Part, param: str, position: int, wording: Wording) -> Block | None:
    """The block, or None where the part was left out (and named). Raises `Wrong` where it cannot be said.

    `position` is that of the message, `param` names the part in it.
    """
    if isinstance(part, NativePart):
        if part.dialect != NAME:
            raise cannot(param, f"no {part.kind}; leave it out, or ask its own provider")
        return dict(part.value)
    if isinstance(part, ReasoningPart):
        return _thought(part, position, wording)
    block = _said(part, param, wording)
    if block is not None:
        if not isinstance(part, AudioPart | VideoPart):
            mark(block, part.cache)
        wording.keep(block, part.extra, f"{param}.")
    return block


def _said(
    part: TextPart | ImagePart | AudioPart | VideoPart | FilePart | ToolCall, param: str, wording: Wording
) -> Block | None:
    match part:
        case TextPart():
            return _text(part, param, wording)
        case ImagePart():
            return _image(part, param, wording)
        case FilePart():
            return _document(part, param, wording)
        case ToolCall():
            return _call(part, param, wording)
        case AudioPart():
            raise cannot(param, "no audio; send a transcript of it as text")
        case VideoPart():
            raise cannot(param, "no video; send single frames as images")


def _text(part: TextPart, param: str, wording: Wording) -> Block | None:
    if part.signature:
        wording.dropped.append(f"{param}.signature")
    # The API refuses blank blocks, other providers write them.
    if not wording.ours and not part.text.strip():
        return None
    block: Block = {"type": "text", "text": part.text}
    if part.citations:
        if wording.ours:
            block["citations"] = list(part.citations)
        else:
            wording.dropped.append(f"{param}.citations")
    return block


def _thought(part: ReasoningPart, position: int, wording: Wording) -> Block | None:
    """A thought goes back only with its provider's own seal."""
    if not wording.ours or not (part.signature or part.redacted):
        wording.dropped.append(f"messages[{position}].reasoning")
        return None
    block: Block
    if part.redacted:
        block = {"type": "redacted_thinking", "data": part.redacted}
    else:
        block = {"type": "thinking", "thinking": part.text, "signature": part.signature}
    wording.keep(block, part.extra, f"messages[{position}].reasoning.")
    return block


def _call(part: ToolCall, param: str, wording: Wording) -> Block:
    arguments = object_of_text(part.arguments)
    if arguments is None:
        raise cannot(f"{param}.arguments", "a JSON object as the arguments of a tool call, and this text is none")
    if not wording.ours and not TOOL_NAME.fullmatch(part.name):
        raise cannot(f"{param}.name", "letters, digits, _ and - in the name of a tool, at most 128")
    if part.signature:
        wording.dropped.append(f"{param}.signature")
    return {"type": "tool_use", "id": wording.ids.of_call(part.id), "name": part.name, "input": arguments}


def _image(part: ImagePart, param: str, wording: Wording) -> Block:
    if part.detail is not None:
        wording.dropped.append(f"{param}.detail")
    inline = split_data_url(part.url) if part.url is not None else None
    media_type, data = inline or (part.media_type, part.data)
    if data is not None:
        media_type = media_type_of(data, media_type)
        if media_type is None:
            raise Wrong(param, f"{param} does not say what image it is: set media_type")
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
    return {"type": "image", "source": _elsewhere(part, param, wording)}


def _elsewhere(part: ImagePart | FilePart, param: str, wording: Wording) -> Block:
    """Something by its address, or by its id in this provider's files."""
    if part.url is not None:
        return {"type": "url", "url": part.url}
    if part.file_id is None:
        raise Wrong(param, f"{param} has neither url nor data: set one")
    if wording.dialect not in (NAME, ""):
        raise cannot(param, "files by its own ids alone; send the data in base64 instead of another provider's id")
    return {"type": "file", "file_id": part.file_id}


def _document(part: FilePart, param: str, wording: Wording) -> Block:
    block: Block = {"type": "document", "source": _source(part, param, wording)}
    if part.name is not None:
        block["title"] = part.name
    return block


def _source(part: FilePart, param: str, wording: Wording) -> Block:
    if part.text is not None:
        return {"type": "text", "media_type": "text/plain", "data": part.text}
    inline = split_data_url(part.url) if part.url is not None else None
    media_type, data = inline or (part.media_type, part.data)
    if data is None:
        return _elsewhere(part, param, wording)
    media_type = media_type_of(data, media_type) or ""
    if not wording.ours and media_type.startswith(_TEXTS):
        return {"type": "text", "media_type": "text/plain", "data": _decoded(data, param)}
    if not wording.ours and media_type != "application/pdf":
        raise cannot(param, f"PDF and plain text as files, not {media_type or 'a file without a media type'}")
    return {"type": "base64", "media_type": media_type, "data": data}


def _decoded(data: str, param: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except ValueError:
        raise Wrong(param, f"{param} is no text in base64: correct its data or its media_type") from None
