"""One message of a `Request` in OpenAI's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.dialects.base import Target
from runtime.dialects.caching import marker
from runtime.dialects.encoding import media_type_of, put_extra
from runtime.dialects.openai.quirks import Quirks
from runtime.dialects.openai.reading import NAMED
from runtime.dialects.status import refused
from runtime.outcome import Failure, FailureKind
from runtime.request import (
    AudioPart,
    CacheHint,
    FilePart,
    ImagePart,
    Json,
    Message,
    NativePart,
    ReasoningPart,
    Role,
    TextPart,
    ToolCall,
    VideoPart,
)

Content = TextPart | ImagePart | AudioPart | VideoPart | FilePart | NativePart

_BESIDE = (ToolCall, ReasoningPart)
"""Parts that are not in a message's content."""


@dataclass(slots=True)
class Wording:
    """What saying one request takes: for whom, whether its extras are this dialect's own, what was left out."""

    target: Target
    quirks: Quirks
    ours: bool
    dropped: list[str] = field(default_factory=list)

    def keep(self, body: dict[str, Json], extra: Mapping[str, Json], prefix: str = "") -> None:
        put_extra(body, extra, ours=self.ours, dropped=self.dropped, prefix=prefix)

    def mark(self, body: dict[str, Json], cache: CacheHint) -> None:
        """A prompt-caching marker, in the form that OpenRouter took over from Anthropic."""
        if self.quirks.cache_control:
            body["cache_control"] = marker(cache)
        else:
            self.dropped.append("cache")

    def cannot(self, param: str, what: str) -> Failure:
        return refused(self.target, FailureKind.UNSUPPORTED, f"{param}: this dialect takes {what}", param=param)

    def nothing(self, param: str) -> Failure:
        return refused(self.target, FailureKind.BAD_REQUEST, f"{param} has neither url nor data: set one", param=param)


def encode_message(message: Message, position: int, wording: Wording) -> dict[str, Json] | Failure:
    """The message, or why it cannot be said."""
    role = message.role
    if role is Role.DEVELOPER and not wording.quirks.developer_role:
        role = Role.SYSTEM
    text = _plain(message)
    return _whole(message, role, position, wording) if text is None else {"role": role.value, "content": text}


def _whole(message: Message, role: Role, position: int, wording: Wording) -> dict[str, Json] | Failure:
    where = f"messages[{position}]"
    content: list[dict[str, Json]] = []
    for number, part in enumerate(message.parts):
        if not isinstance(part, _BESIDE):
            if role is Role.TOOL and not isinstance(part, TextPart) and not wording.quirks.media_results:
                return wording.cannot(f"{where}.content[{number}]", "only text as the result of a tool")
            encoded = _content(part, f"{where}.content[{number}]", wording)
            if isinstance(encoded, Failure):
                return encoded
            content.append(encoded)
    calls = [_call(call, f"{where}.tool_calls[{at}]", wording) for at, call in enumerate(message.tool_calls)]
    if message.cache is not None:
        wording.mark(content[-1] if content else {}, message.cache)
    silent = not calls and message.refusal is None
    body: dict[str, Json] = {"role": role.value, "content": _shortest(content, silent=silent)}
    if message.name is not None and (role is not Role.TOOL or wording.ours):
        # Results find their call by its id here; their name is for other APIs.
        body["name"] = message.name
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.is_error is not None:
        wording.dropped.append(f"{where}.is_error")
    if message.refusal is not None:
        body["refusal"] = message.refusal
    thoughts = [part for part in message.parts if isinstance(part, ReasoningPart)]
    if thoughts:
        _thoughts(body, thoughts, f"{where}.reasoning", wording)
    if calls:
        body["tool_calls"] = calls
    wording.keep(body, message.extra, f"{where}.")
    return body


def _plain(message: Message) -> str | None:
    """The text of a message that is nothing but that, as nearly all are."""
    if len(message.parts) != 1 or message.extra or message.cache is not None or message.name is not None:
        return None
    part = message.parts[0]
    if type(part) is not TextPart or part.extra or part.citations or part.cache is not None:
        return None
    if message.tool_call_id is not None or message.is_error is not None or message.refusal is not None:
        return None
    return part.text


def _shortest(content: list[dict[str, Json]], *, silent: bool) -> Json:
    """Plain text as a string: many hosts take a list only from users. Null only beside something else that was said."""
    if not content:
        return "" if silent else None
    first = content[0]
    # A part of a host's own kind may have a text too.
    plain = len(content) == 1 and first.keys() == {"type", "text"} and first["type"] == "text"
    return first["text"] if plain else content


def _content(part: Content, param: str, wording: Wording) -> dict[str, Json] | Failure:
    """One content part with its marker and what no type holds."""
    body = _part(part, param, wording)
    if isinstance(body, Failure) or isinstance(part, NativePart):
        return body
    if part.cache is not None:
        wording.mark(body, part.cache)
    wording.keep(body, part.extra, f"{param}.")
    return body


def _part(part: Content, param: str, wording: Wording) -> dict[str, Json] | Failure:
    match part:
        case TextPart():
            if part.citations:
                wording.dropped.append(f"{param}.citations")
            return {"type": "text", "text": part.text}
        case ImagePart():
            return _image(part, param, wording)
        case AudioPart():
            if part.data is None:
                return wording.cannot(param, "audio only inline; send its data in base64 instead of an address")
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format or "wav"}}
        case VideoPart():
            return _video(part, param, wording)
        case FilePart():
            return _file(part, param, wording)
        case NativePart():
            if part.dialect != "openai":
                return wording.cannot(param, f"no {part.kind}; leave it out, or ask its own provider")
            return dict(part.value)


def _image(part: ImagePart, param: str, wording: Wording) -> dict[str, Json] | Failure:
    address = part.url
    if part.data is not None:
        media_type = media_type_of(part.data, part.media_type)
        if media_type is None:
            detail = f"{param} does not say what image it is: set media_type"
            return refused(wording.target, FailureKind.BAD_REQUEST, detail, param=param)
        address = f"data:{media_type};base64,{part.data}"
    if address is None:
        if part.file_id is not None:
            return wording.cannot(param, "images only inline or by address, not by the id of a file")
        return wording.nothing(param)
    image: dict[str, Json] = {"url": address}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _video(part: VideoPart, param: str, wording: Wording) -> dict[str, Json] | Failure:
    if not wording.quirks.video:
        return wording.cannot(param, "no video; send single frames as images")
    address = part.url
    if part.data is not None:
        address = f"data:{part.media_type or 'video/mp4'};base64,{part.data}"
    if address is None:
        return wording.nothing(param)
    return {"type": "video_url", "video_url": {"url": address}}


def _file(part: FilePart, param: str, wording: Wording) -> dict[str, Json] | Failure:
    if part.text is not None:
        # A document of plain text is text: nothing of it is lost but its name.
        if part.name is not None:
            wording.dropped.append(f"{param}.name")
        return {"type": "text", "text": part.text}
    file: dict[str, Json] = {}
    if part.name is not None:
        file["filename"] = part.name
    if part.file_id is not None:
        file["file_id"] = part.file_id
    if part.data is not None:
        media_type = media_type_of(part.data, part.media_type)
        file["file_data"] = part.data if media_type is None else f"data:{media_type};base64,{part.data}"
    elif part.url is not None:
        if not wording.quirks.file_url:
            return wording.cannot(param, "files only inline or by id; send its data in base64 instead of an address")
        file["file_data"] = part.url
    elif part.file_id is None:
        return wording.nothing(param)
    return {"type": "file", "file": file}


def _call(call: ToolCall, where: str, wording: Wording) -> dict[str, Json]:
    extra = dict(call.extra)
    body: dict[str, Json]
    if wording.ours and extra.pop("type", "function") == "custom":
        body = {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    else:
        body = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    if call.signature:
        if wording.quirks.thoughts == "none":
            wording.dropped.append(f"{where}.signature")
        else:
            # The field in which Google's own OpenAI endpoint sends and wants it.
            body["extra_content"] = {"google": {"thought_signature": call.signature}}
    if call.cache is not None:
        wording.mark(body, call.cache)
    wording.keep(body, extra, f"{where}.")
    return body


def _thoughts(body: dict[str, Json], thoughts: list[ReasoningPart], where: str, wording: Wording) -> None:
    """Earlier thoughts, in the form that the host takes. What is not their text is worth something only at home."""
    sealed = any(thought.signature or thought.redacted or thought.extra.keys() - {NAMED} for thought in thoughts)
    text = "".join(thought.text for thought in thoughts)
    match wording.quirks.thoughts:
        case "none":
            wording.dropped.append(where)
        case "details" if wording.ours and sealed:
            body["reasoning_details"] = [detail_of(thought) for thought in thoughts]
        case kind:
            names = thoughts[0].extra.get(NAMED) if wording.ours else None
            for name in names or ["reasoning" if kind == "details" else "reasoning_content"] if text else ():
                body[name] = text
            if sealed:
                wording.dropped.append(f"{where}.signature")


def detail_of(thought: ReasoningPart) -> dict[str, Json]:
    """One item of OpenRouter's `reasoning_details`."""
    extra = dict(thought.extra)
    kind = extra.pop("type", "reasoning.encrypted" if thought.redacted else "reasoning.text")
    body: dict[str, Json] = {"type": kind}
    if thought.redacted:
        body["data"] = thought.redacted
    elif kind == "reasoning.summary":
        body["summary"] = thought.text
    else:
        body["text"] = thought.text
    if thought.signature:
        body["signature"] = thought.signature
    return {**body, **extra}
