"""Messages as `systemInstruction` and `contents`.

    system, developer       the system instruction, all of them in order
    user                    a content of role user
    tool                    a functionResponse; with its neighbours and the user's words after it, one content
    assistant               a content of role model

Google matches results with calls by id, else by name and order. An id that Raygate invented stays here, so those
results go out in the order of their calls.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runtime.dialects.encoding import (
    INVENTED,
    media_type_of,
    object_of_text,
    put_extra,
    split_data_url,
    tool_names,
)
from runtime.dialects.fields import Wrong
from runtime.dialects.google.families import UNSIGNED, Family, Version
from runtime.dialects.google.parts import NAME
from runtime.dialects.google.results import response_of_text
from runtime.dialects.google.words import is_video_page, mime_of_name
from runtime.outcome import FailureKind
from runtime.request import (
    AudioPart,
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

_USERS = (Role.USER, Role.TOOL)
_SYSTEMS = (Role.SYSTEM, Role.DEVELOPER)

Placed = tuple[int, Message]
"""A message and its place in the request, which errors and `dropped` name."""


def unsupported(param: str, detail: str) -> Wrong:
    """What this dialect, version or model cannot say."""
    return Wrong(param, f"{param}: {detail}", FailureKind.UNSUPPORTED)


@dataclass(slots=True)
class Writer:
    """Writes the turns of one request. `ours`: it came in this dialect. What is lost goes into `dropped`."""

    version: Version
    family: Family
    ours: bool
    dropped: list[str]
    names: Mapping[str, str] = field(default_factory=dict)
    """The name of each function by the id of its call."""

    def write(self, messages: Sequence[Message]) -> tuple[dict[str, Json] | None, list[Json]]:
        """The system instruction, if any, and the contents. Raises `Wrong`."""
        self.names = tool_names(messages)
        placed = list(enumerate(messages))
        instruction = self._instruction([(at, one) for at, one in placed if one.role in _SYSTEMS])
        contents: list[Json] = []
        rest = [(at, one) for at, one in placed if one.role not in _SYSTEMS]
        while rest:
            length = _length_of_turn([one.role for _, one in rest])
            turn, rest = rest[:length], rest[length:]
            role = "user" if turn[0][1].role in _USERS else "model"
            contents.append(self._turn(role, _in_order_of_calls(turn, self.names)))
        if self.family.signed_calls and self.version.full:
            _sign(contents)
        return instruction, contents

    def _instruction(self, placed: list[Placed]) -> dict[str, Json] | None:
        if not placed:
            return None
        if not self.version.full:
            raise unsupported(
                f"messages[{placed[0][0]}]",
                "v1 of this API takes no system instruction: set base_url to the address that ends in v1beta",
            )
        said: dict[str, Json] = {"parts": []}
        for at, message in placed:
            for number, part in enumerate(message.parts):
                if not isinstance(part, TextPart):
                    raise unsupported(
                        f"messages[{at}].content[{number}]", "a system instruction is text: move this to a user's turn"
                    )
            said["parts"] += self._parts(message, at)
            put_extra(said, message.extra, ours=self.ours, dropped=self.dropped, prefix=f"messages[{at}].")
        return said if said["parts"] or self.ours else None

    def _turn(self, role: str, placed: list[Placed]) -> dict[str, Json]:
        content: dict[str, Json] = {"role": role, "parts": []}
        for at, message in placed:
            if message.role is Role.TOOL:
                content["parts"].append(self._result(message, at))
            else:
                content["parts"] += self._parts(message, at)
            extra = {path: value for path, value in message.extra.items() if not path.startswith("part.")}
            put_extra(content, extra, ours=self.ours, dropped=self.dropped, prefix=f"messages[{at}].")
        if not content["parts"] and not self.ours:
            # A turn without a part is refused, one without words is not.
            content["parts"].append({"text": ""})
        return content

    def _parts(self, message: Message, at: int) -> list[Json]:
        where = f"messages[{at}]"
        if message.name is not None:
            self.dropped.append(f"{where}.name")
        if message.cache is not None:
            self.dropped.append("cache")
        parts: list[Json] = []
        for number, part in enumerate(message.parts):
            written = self._part(part, f"{where}.content[{number}]", where)
            if written is not None:
                parts.append(written)
        if message.refusal is not None:
            # There is no word for it; that it was said still matters.
            self.dropped.append(f"{where}.refusal")
            parts.append({"text": message.refusal})
        return parts

    def _part(self, part: Part, param: str, where: str) -> dict[str, Json] | None:
        match part:
            case NativePart():
                if part.dialect != NAME or not self.version.full:
                    raise unsupported(param, f"Gemini has no part such as {part.dialect}'s {part.kind}: leave it out")
                return dict(part.value)
            case ReasoningPart():
                return self._thought(part, param, where)
            case TextPart():
                if part.citations:
                    self.dropped.append(f"{param}.citations")
                said: dict[str, Json] = {"text": part.text}
            case ToolCall():
                said = self._call(part, param)
            case _:
                said = self.media(part, param)
        if part.cache is not None:
            self.dropped.append("cache")
        if isinstance(part, TextPart | ToolCall):
            self._signature(said, part.signature, param)
        self._extra(said, part.extra, param)
        return said

    def _thought(self, part: ReasoningPart, param: str, where: str) -> dict[str, Json] | None:
        if not self.ours or not self.version.full or part.redacted:
            self.dropped.append(f"{where}.reasoning")
            return None
        said: dict[str, Json] = {"thought": True}
        if part.text or not part.signature:
            said["text"] = part.text
        self._signature(said, part.signature, param)
        self._extra(said, part.extra, param)
        return said

    def _call(self, call: ToolCall, param: str) -> dict[str, Json]:
        self._no_functions_in_v1(param)
        arguments = object_of_text(call.arguments)
        if arguments is None:
            raise unsupported(param, f"Gemini takes the arguments of {call.name} only as a JSON object")
        said: dict[str, Json] = {"name": call.name, "args": arguments}
        if not call.id.startswith(INVENTED):
            said["id"] = call.id
        return {"functionCall": said}

    def _result(self, message: Message, at: int) -> dict[str, Json]:
        where = f"messages[{at}]"
        self._no_functions_in_v1(where)
        call_id = message.tool_call_id or ""
        name = message.name or self.names.get(call_id)
        if not name:
            raise Wrong(
                f"{where}.name", f"{where}.name is missing, and no message calls {call_id!r}: name the function."
            )
        texts: list[str] = []
        media: list[Json] = []
        for number, part in enumerate(message.parts):
            param = f"{where}.content[{number}]"
            if isinstance(part, ToolCall | ReasoningPart | NativePart):
                raise unsupported(param, "the result of a function is text or media")
            if part.cache is not None:
                self.dropped.append("cache")
            if isinstance(part, TextPart):
                texts.append(part.text)
                continue
            if not self.family.media_results:
                raise unsupported(param, "this model takes only text as the result of a function: send text")
            one = self.media(part, param)
            self._extra(one, part.extra, param)
            media.append(one)
        if message.cache is not None:
            self.dropped.append("cache")
        response = response_of_text("".join(texts), failed=message.is_error is True)
        said: dict[str, Json] = {"name": name, "response": response}
        if call_id and not call_id.startswith(INVENTED):
            said["id"] = call_id
        if media:
            said["parts"] = media
        written: dict[str, Json] = {"functionResponse": said}
        inner = {path[5:]: value for path, value in message.extra.items() if path.startswith("part.")}
        put_extra(written, inner, ours=self.ours, dropped=self.dropped, prefix=f"{where}.")
        return written

    def media(self, part: ImagePart | AudioPart | VideoPart | FilePart, param: str) -> dict[str, Json]:
        """`inlineData` or `fileData`. Raises `Wrong` for what Google cannot reach or would not know."""
        if isinstance(part, ImagePart | FilePart) and part.file_id is not None:
            raise unsupported(
                param, "a file of another provider cannot be read here: send its data, or the address of Google's copy"
            )
        if isinstance(part, ImagePart) and part.detail is not None:
            self.dropped.append(f"{param}.detail")
        if isinstance(part, FilePart):
            if part.name is not None:
                self.dropped.append(f"{param}.name")
            if part.text is not None:
                data = base64.b64encode(part.text.encode("utf-8", "replace")).decode()
                return {"inlineData": {"mimeType": part.media_type or "text/plain", "data": data}}
        inline = (None, part.data) if part.data is not None else split_data_url(part.url) if part.url else None
        mime = (inline[0] if inline else None) or _mime_of(part)
        if inline is not None:
            return {"inlineData": self._typed(part, "inlineData", {"data": inline[1]}, mime, param)}
        if part.url is None:
            raise Wrong(param, f"{param} has neither data nor an address: send one.")
        if not self.version.full:
            raise unsupported(param, "v1 of this API reads no addresses: send the data in base64")
        return {"fileData": self._typed(part, "fileData", {"fileUri": part.url}, mime, param)}

    def _typed(
        self,
        part: ImagePart | AudioPart | VideoPart | FilePart,
        kind: str,
        said: dict[str, Json],
        mime: str | None,
        param: str,
    ) -> dict[str, Json]:
        if self.ours and f"{kind}.mimeType" in part.extra:
            return said
        if mime is None and not self.ours:
            if kind == "inlineData":
                name = part.name if isinstance(part, FilePart) and part.name else ""
                mime = media_type_of(said["data"], None) or mime_of_name(name)
                if mime is None:
                    raise Wrong(param, f"{param} does not say what it is: set its media type.")
            elif not is_video_page(said["fileUri"]):
                mime = mime_of_name(said["fileUri"])
        return said if mime is None else {"mimeType": mime, **said}

    def _signature(self, said: dict[str, Json], signature: str, param: str) -> None:
        if not signature:
            return
        if self.version.full:
            said["thoughtSignature"] = signature
        else:
            self.dropped.append(f"{param}.signature")

    def _extra(self, said: dict[str, Json], extra: Mapping[str, Json], param: str) -> None:
        if extra:
            put_extra(said, extra, ours=self.ours and self.version.full, dropped=self.dropped, prefix=f"{param}.")

    def _no_functions_in_v1(self, param: str) -> None:
        if not self.version.full:
            raise unsupported(
                param, "v1 of this API calls no functions: set base_url to the address that ends in v1beta"
            )


def _mime_of(part: ImagePart | AudioPart | VideoPart | FilePart) -> str | None:
    if not isinstance(part, AudioPart):
        return part.media_type
    if part.format:
        return f"audio/{part.format}"
    return "audio/wav" if part.data is not None else None


def _length_of_turn(roles: Sequence[Role]) -> int:
    """How many of the first messages make one content: all up to the user's words after the last result."""
    users = next((number for number, role in enumerate(roles) if role not in _USERS), len(roles))
    results = [number for number, role in enumerate(roles[:users]) if role is Role.TOOL]
    return min(users, results[-1] + 2) if results else 1


def _in_order_of_calls(placed: list[Placed], names: Mapping[str, str]) -> list[Placed]:
    """The same turns, where results that Google finds by their order stand in the order of their calls."""
    order = {call_id: number for number, call_id in enumerate(names)}
    places = [
        place
        for place, (_, one) in enumerate(placed)
        if one.role is Role.TOOL and (one.tool_call_id or "").startswith(INVENTED) and one.tool_call_id in order
    ]
    found = sorted((placed[place] for place in places), key=lambda pair: order[pair[1].tool_call_id or ""])
    sorted_turns = list(placed)
    for place, one in zip(places, found, strict=True):
        sorted_turns[place] = one
    return sorted_turns


def _sign(contents: list[Json]) -> None:
    """Sign the first call of each step of the current turn, where its own signature is not known.

    A turn begins with the user's last words; Gemini 3 refuses a call in it that nobody signed.
    """
    begins = 0
    for at, content in enumerate(contents):
        if content["role"] == "user" and any("functionResponse" not in part for part in content["parts"]):
            begins = at
    for content in contents[begins:]:
        call = next((part for part in content["parts"] if "functionCall" in part), None)
        if call is not None and content["role"] == "model":
            call.setdefault("thoughtSignature", UNSIGNED)
