"""One message of a `Request` in Cohere's words.

TextPart, ImagePart ──► content             images in a user's turn only
FilePart (text) ──────► documents           beside the messages; in a tool's result it stays in the content
ReasoningPart ────────► tool_plan           in a turn that calls tools
                      ► content, thinking   in any other; `extra["type"]` says so where it is the other way round
ToolCall ─────────────► tool_calls
TextPart.citations ───► citations           of the whole message
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.dialects.base import Target
from runtime.dialects.encoding import media_type_of, object_of_text, put_extra
from runtime.dialects.status import refused
from runtime.outcome import Failure, FailureKind
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

NAME = "cohere"

PLAN = "tool_plan"
THINKING = "thinking"

JSON_DOCUMENT = "application/json"
"""The media type of a document whose text is its whole data as JSON: it has more fields than a text and a title."""


@dataclass(slots=True)
class Wording:
    """What saying one request takes: for whom, whether its extras are this dialect's own, what was left out.

    `documents` are those that go beside the messages. `omit` says whether a user's turn of nothing else goes with them.
    """

    target: Target
    ours: bool
    omit: bool
    dropped: list[str] = field(default_factory=list)
    documents: list[Json] = field(default_factory=list)

    def keep(self, body: dict[str, Json], extra: Mapping[str, Json], prefix: str = "") -> None:
        put_extra(body, extra, ours=self.ours, dropped=self.dropped, prefix=prefix)

    def cannot(self, param: str, what: str) -> Failure:
        return refused(self.target, FailureKind.UNSUPPORTED, f"{param}: Cohere takes {what}", param=param)

    def wrong(self, param: str, detail: str) -> Failure:
        return refused(self.target, FailureKind.BAD_REQUEST, f"{param} {detail}", param=param)


def encode_message(message: Message, position: int, wording: Wording) -> dict[str, Json] | Failure | None:
    """The message, or why it cannot be said; None where it held only documents that go beside the messages."""
    turn = _Turn(message, f"messages[{position}]", wording)
    for number, part in enumerate(message.parts):
        failure = turn.add(part, f"{turn.where}.content[{number}]")
        if failure is not None:
            return failure
    return turn.body()


@dataclass(slots=True)
class _Turn:
    """One message, its parts sorted by the field that they go to."""

    message: Message
    where: str
    wording: Wording
    content: list[dict[str, Json]] = field(default_factory=list)
    plan: list[str] = field(default_factory=list)
    calls: list[dict[str, Json]] = field(default_factory=list)
    citations: list[Json] = field(default_factory=list)
    gave_documents: bool = False

    def add(self, part: Part, param: str) -> Failure | None:
        """Put one part where it belongs, or say why it belongs nowhere."""
        match part:
            case TextPart():
                self._text(part, param)
            case ReasoningPart():
                self._thought(part, param)
            case ToolCall():
                return self._call(part, param)
            case FilePart():
                return self._document(part, param)
            case ImagePart():
                return self._image(part, param)
            case AudioPart() | VideoPart():
                return self.wording.cannot(param, "no audio and no video; send text or images")
            case NativePart():
                if part.dialect != NAME:
                    return self.wording.cannot(param, f"no {part.kind}; leave it out, or ask its own provider")
                self.content.append(dict(part.value))
        return None

    def body(self) -> dict[str, Json] | Failure | None:
        """The whole message; the parts have all been added."""
        message, wording = self.message, self.wording
        role = Role.SYSTEM if message.role is Role.DEVELOPER else message.role
        if message.refusal:
            self.content.append({"type": "text", "text": message.refusal})
        if self.gave_documents and not self.content and not message.extra and (wording.omit or role is Role.SYSTEM):
            return None
        body: dict[str, Json] = {"role": role.value}
        if self.content or role is not Role.ASSISTANT:
            body["content"] = _shortest(self.content)
        if self.plan:
            body[PLAN] = "\n".join(self.plan)
        if self.calls:
            body["tool_calls"] = self.calls
        extra = dict(message.extra)
        if self.citations:
            body["citations"] = [*self.citations, *extra.pop("citations", ())]
        if role is Role.TOOL:
            if not message.tool_call_id:
                return wording.wrong(self.where, "does not say which tool call it answers: set tool_call_id")
            body["tool_call_id"] = message.tool_call_id
        self._left_out()
        wording.keep(body, extra, f"{self.where}.")
        return body

    def _left_out(self) -> None:
        message, dropped = self.message, self.wording.dropped
        # Results find their call by its id here; the name of their tool is for other APIs.
        if message.name is not None and message.role is not Role.TOOL:
            dropped.append(f"{self.where}.name")
        if message.tool_call_id is not None and message.role is not Role.TOOL:
            dropped.append(f"{self.where}.tool_call_id")
        if message.is_error is not None:
            dropped.append(f"{self.where}.is_error")
        if message.cache is not None:
            dropped.append("cache")

    def _finished(
        self, body: dict[str, Json], part: TextPart | ImagePart | FilePart | ToolCall, param: str
    ) -> dict[str, Json]:
        """The body of a part with what no type holds; Cohere has no word for caching."""
        if part.cache is not None:
            self.wording.dropped.append("cache")
        self.wording.keep(body, part.extra, f"{param}.")
        return body

    def _text(self, part: TextPart, param: str) -> None:
        if part.citations:
            # Each provider has its own form of them.
            if self.wording.ours and self.message.role is Role.ASSISTANT:
                self.citations.extend(part.citations)
            else:
                self.wording.dropped.append(f"{param}.citations")
        if part.signature:
            self.wording.dropped.append(f"{param}.signature")
        self.content.append(self._finished({"type": "text", "text": part.text}, part, param))

    def _thought(self, part: ReasoningPart, param: str) -> None:
        """Cohere takes thoughts as plain text; one that is sealed for another provider means nothing to it."""
        if self.message.role is not Role.ASSISTANT or part.redacted or part.signature:
            self.wording.dropped.append(f"{self.where}.reasoning")
            return
        extra = dict(part.extra)
        kind = PLAN if self.message.tool_calls else THINKING
        if self.wording.ours and extra.get("type") in (PLAN, THINKING):
            kind = extra.pop("type")
        body: dict[str, Json] = {"type": THINKING, THINKING: part.text}
        self.wording.keep(body, extra, f"{param}.")
        if kind == PLAN:
            self.plan.append(part.text)
        else:
            self.content.append(body)

    def _call(self, call: ToolCall, param: str) -> Failure | None:
        if self.message.role is not Role.ASSISTANT:
            return self.wording.wrong(param, "is a tool call, which only the assistant makes")
        where = f"{self.where}.tool_calls[{len(self.calls)}]"
        if call.signature:
            self.wording.dropped.append(f"{where}.signature")
        function = {"name": call.name, "arguments": call.arguments}
        self.calls.append(self._finished({"id": call.id, "type": "function", "function": function}, call, where))
        return None

    def _image(self, part: ImagePart, param: str) -> Failure | None:
        if self.message.role is not Role.USER:
            return self.wording.cannot(param, "images from users only; send this one in a user's message")
        address = part.url
        if part.data is not None:
            media_type = media_type_of(part.data, part.media_type)
            if media_type is None:
                return self.wording.wrong(param, "does not say what image it is: set media_type")
            address = f"data:{media_type};base64,{part.data}"
        if address is None:
            if part.file_id is not None:
                return self.wording.cannot(param, "images only inline or by address, not by the id of a file")
            return self.wording.wrong(param, "has neither url nor data: set one")
        image: dict[str, Json] = {"url": address}
        if part.detail is not None:
            image["detail"] = part.detail
        self.content.append(self._finished({"type": "image_url", "image_url": image}, part, param))
        return None

    def _document(self, part: FilePart, param: str) -> Failure | None:
        """A document of a tool's result, or one beside the messages; `extra` holds its id as `document.id`."""
        if self.message.role is Role.ASSISTANT:
            return self.wording.cannot(param, "documents from users and tools only; leave this one out")
        text = part.text if part.text is not None else _text_of(part)
        if text is None:
            what = "documents as plain text only; take the text out of this one and send that"
            return self.wording.cannot(param, what)
        data = object_of_text(text) if part.media_type == JSON_DOCUMENT else None
        if data is None:
            data = {"text": text}
        if part.name is not None:
            data.setdefault("title", part.name)
        body = self._finished({"type": "document", "document": {"data": data}}, part, param)
        if self.message.role is Role.TOOL:
            self.content.append(body)
        else:
            self.wording.documents.append(body["document"])
            self.gave_documents = True
        return None


def _shortest(content: list[dict[str, Json]]) -> Json:
    """Plain text as a string. A block of no text stays a block: as a string it would be nothing."""
    if not content:
        return ""
    first = content[0]
    plain = len(content) == 1 and first.keys() == {"type", "text"} and first["type"] == "text" and first["text"]
    return first["text"] if plain else content


def _text_of(part: FilePart) -> str | None:
    """The text of an inline file that is text."""
    said = part.media_type or ""
    if part.data is None or not (said.startswith("text/") or said == JSON_DOCUMENT):
        return None
    try:
        return base64.b64decode(part.data, validate=True).decode()
    except ValueError:
        return None
