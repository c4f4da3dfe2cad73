"""One message of a `Request` in Ollama's words: one text, images beside it, one thought, calls of tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.dialects.base import Target
from runtime.dialects.encoding import INVENTED, object_of_text, put_extra, split_data_url
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
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCall,
    VideoPart,
)

NAME = "ollama"

_INSTEAD: Mapping[type[Part], str] = {
    FilePart: "text and images; send what the file says as text, or its pages as images",
    VideoPart: "text and images; send single frames as images",
    AudioPart: "text and images; send the words of the audio as text",
}


@dataclass(slots=True)
class Wording:
    """What saying one request takes: for whom, whose extras it holds, the tools' names by call, what was left out."""

    target: Target
    ours: bool
    names: Mapping[str, str]
    dropped: list[str] = field(default_factory=list)

    def keep(self, body: dict[str, Json], extra: Mapping[str, Json], prefix: str = "") -> None:
        put_extra(body, extra, ours=self.ours, dropped=self.dropped, prefix=prefix)

    def lose(self, param: str, value: object) -> None:
        """Name a field that cannot be said, where it says anything."""
        if value is not None and value not in ((), ""):
            self.dropped.append(param)

    def unmarked(self, cache: CacheHint | None) -> None:
        self.lose("cache", cache)

    def cannot(self, param: str, what: str) -> Failure:
        return refused(self.target, FailureKind.UNSUPPORTED, f"{param}: Ollama takes {what}", param=param)


@dataclass(slots=True)
class _Said:
    """The parts of one message, by the field that they go to."""

    text: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    calls: list[dict[str, Json]] = field(default_factory=list)


def encode_message(message: Message, position: int, wording: Wording) -> dict[str, Json] | Failure:
    """The message, or why it cannot be said."""
    where = f"messages[{position}]"
    said = _Said()
    for number, part in enumerate(message.parts):
        failure = _add(said, part, f"{where}.content[{number}]", where, wording)
        if failure is not None:
            return failure
    if message.refusal is not None:
        # What the assistant said stays said; that it was a refusal cannot be.
        said.text.append(message.refusal)
        wording.dropped.append(f"{where}.refusal")
    role = Role.SYSTEM if message.role is Role.DEVELOPER else message.role
    body: dict[str, Json] = {"role": role.value, "content": "".join(said.text)}
    if said.thoughts:
        body["thinking"] = "".join(said.thoughts)
    if said.images:
        body["images"] = said.images
    if said.calls:
        body["tool_calls"] = said.calls
    if role is Role.TOOL or wording.ours:
        _answered(body, message, wording)
    else:
        wording.lose(f"{where}.name", message.name)
    wording.lose(f"{where}.is_error", message.is_error)
    wording.unmarked(message.cache)
    wording.keep(body, message.extra, f"{where}.")
    return body


def _answered(body: dict[str, Json], message: Message, wording: Wording) -> None:
    """Which call a result answers: by the tool's name, and by the call's id where the provider gave one."""
    call_id = message.tool_call_id or ""
    name = message.name
    if name is None and not wording.ours:
        name = wording.names.get(call_id)
    if name is not None:
        body["tool_name"] = name
    if call_id and not call_id.startswith(INVENTED):
        body["tool_call_id"] = call_id


def _add(said: _Said, part: Part, param: str, where: str, wording: Wording) -> Failure | None:
    """Put a part where it goes, or say why it goes nowhere."""
    match part:
        case TextPart():
            said.text.append(part.text)
            wording.lose(f"{param}.citations", part.citations)
            wording.lose(f"{param}.signature", part.signature)
        case ReasoningPart():
            _think(said, part, f"{where}.reasoning", wording)
        case ToolCall():
            return _call(said, part, f"{where}.tool_calls[{len(said.calls)}]", wording)
        case ImagePart():
            data = _image(part, param, wording)
            if isinstance(data, Failure):
                return data
            said.images.append(data)
            wording.lose(f"{param}.detail", part.detail)
        case FilePart(text=str(text)):
            # A document of plain text is text: nothing of it is lost but its name.
            said.text.append(text)
            wording.lose(f"{param}.name", part.name)
        case FilePart() | VideoPart() | AudioPart():
            return wording.cannot(param, _INSTEAD[type(part)])
        case NativePart():
            return wording.cannot(param, f"no {part.kind}; leave it out, or ask its own provider")
    if not isinstance(part, ReasoningPart):
        wording.unmarked(part.cache)
    # Texts, thoughts and images are no objects here: what stood beside them has no place.
    put_extra({}, part.extra, ours=False, dropped=wording.dropped, prefix=f"{param}.")
    return None


def _think(said: _Said, part: ReasoningPart, where: str, wording: Wording) -> None:
    """Thoughts are plain text here; what proves or hides them means something to their own provider alone."""
    if part.text:
        said.thoughts.append(part.text)
    wording.lose(f"{where}.signature", part.signature)
    wording.lose(where, part.redacted)


def _image(part: ImagePart, param: str, wording: Wording) -> str | Failure:
    """Bare base64: the kind of image is not said on this wire."""
    if part.data is not None:
        return part.data
    inline = split_data_url(part.url) if part.url is not None else None
    return inline[1] if inline else wording.cannot(param, "images only inline; send the image's data in base64")


def _call(said: _Said, call: ToolCall, where: str, wording: Wording) -> Failure | None:
    arguments = object_of_text(call.arguments)
    if arguments is None:
        return wording.cannot(
            f"{where}.arguments", "arguments that are a JSON object; correct the call, or leave it out"
        )
    body: dict[str, Json] = {}
    if call.id and not call.id.startswith(INVENTED):
        body["id"] = call.id
    body["type"] = "function"
    body["function"] = {"name": call.name, "arguments": arguments}
    wording.lose(f"{where}.signature", call.signature)
    wording.unmarked(call.cache)
    wording.keep(body, call.extra, f"{where}.")
    said.calls.append(body)
    return None
