"""One output item each: what it is so far, and the events of its growth. `Output` says in which order they stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from runtime.dialects.encoding import invented_id
from runtime.dialects.reading import obj, objects
from runtime.dialects.responses_surface.citations import annotations_of
from runtime.dialects.responses_surface.parts import mark_of, sealed
from runtime.fold import merge
from runtime.outcome import Delta, ToolCallDelta
from runtime.request import ImagePart, Json, ReasoningPart, TextPart, ToolCall

Event = dict[str, Json]


class Item:
    """An item with its place among the others."""

    prefix = ""

    def __init__(self) -> None:
        self.status = "in_progress"
        self.index = -1
        self.id = ""

    def place(self, index: int, base: str) -> None:
        self.index = index
        self.id = f"{self.prefix}_{base}_{index}"

    @property
    def placed(self) -> bool:
        return self.index >= 0

    @property
    def closed(self) -> bool:
        return self.status != "in_progress"

    def event(self, kind: str, **fields: Json) -> Event:
        return {"type": kind, "output_index": self.index, **fields}

    def grow(self, kind: str, **fields: Json) -> Event:
        """An event of something inside the item."""
        return {"type": kind, "item_id": self.id, "output_index": self.index, **fields}

    def body(self) -> dict[str, Json]:
        raise NotImplementedError

    def close(self, *, cut: bool) -> Iterator[Event]:
        """Idempotent."""
        if not self.closed:
            yield from self.end()
            self.status = "incomplete" if cut else "completed"
            yield self.event("response.output_item.done", item=self.body())

    def end(self) -> Iterator[Event]:
        """What comes before the item is done."""
        yield from ()


@dataclass(slots=True)
class _Text:
    """One content part of a message. `sound`: the transcript of something spoken."""

    kind: str = "output_text"
    sound: bool = False
    pieces: list[str] = field(default_factory=list)
    citations: list[Json] = field(default_factory=list)
    logprobs: list[Json] = field(default_factory=list)
    signature: str = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def body(self) -> dict[str, Json]:
        text = self.text
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        notes = annotations_of(self.citations, len(text))
        body = {"type": "output_text", "text": text, "annotations": notes, "logprobs": self.logprobs}
        return body | mark_of(self.signature)


class Speech(Item):
    """A message of the assistant: texts and refusals."""

    prefix = "msg"

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[_Text] = []
        self._ended = 0

    def body(self) -> dict[str, Json]:
        content = [part.body() for part in self._parts]
        return {"id": self.id, "type": "message", "status": self.status, "role": "assistant", "content": content}

    def say(self, words: str, logprobs: Json = None, *, new: bool = False, sound: bool = False) -> Iterator[Event]:
        last = self._parts[-1] if self._parts else None
        if new or last is None or last.kind != "output_text" or last.sound is not sound or last.signature:
            last = _Text(sound=sound)
            yield from self._begin(last)
        tokens = _tokens(logprobs)
        last.logprobs += tokens
        if words:
            last.pieces.append(words)
            yield self._grow("response.output_text.delta", delta=words, logprobs=tokens)

    def refuse(self, words: str) -> Iterator[Event]:
        last = self._parts[-1] if self._parts else None
        if last is None or last.kind != "refusal":
            last = _Text(kind="refusal")
            yield from self._begin(last)
        last.pieces.append(words)
        yield self._grow("response.refusal.delta", delta=words)

    def mark(self, said: Delta | TextPart) -> bool:
        """Whether there was a text to take it."""
        last = self._parts[-1] if self._parts else None
        if last is None or last.kind != "output_text" or last.sound or last.signature:
            return False
        last.signature = said.signature
        last.citations += said.citations
        return True

    def cite(self, citations: list[Json]) -> None:
        for part in reversed(self._parts):
            if part.kind == "output_text":
                part.citations += citations
                return

    def measure(self, logprobs: Json) -> None:
        for part in reversed(self._parts):
            if part.kind == "output_text":
                part.logprobs += _tokens(logprobs)
                return

    def end(self) -> Iterator[Event]:
        if self._ended == len(self._parts):
            return
        part, body = self._parts[-1], self._parts[-1].body()
        self._ended = len(self._parts)
        for at, note in enumerate(body.get("annotations", ())):
            yield self._grow("response.output_text.annotation.added", annotation_index=at, annotation=note)
        if part.kind == "refusal":
            yield self._grow("response.refusal.done", refusal=part.text)
        else:
            yield self._grow("response.output_text.done", text=part.text, logprobs=part.logprobs)
        yield self._grow("response.content_part.done", part=body)

    def _begin(self, part: _Text) -> Iterator[Event]:
        yield from self.end()
        self._parts.append(part)
        yield self._grow("response.content_part.added", part=part.body())

    def _grow(self, kind: str, **fields: Json) -> Event:
        return self.grow(kind, content_index=len(self._parts) - 1, **fields)


class Thought(Item):
    """A thought; its text is shown as its summary."""

    prefix = "rs"

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[str] = []
        self._redacted = ""
        self._extra: dict[str, Json] = {}
        self.signature = ""

    def body(self) -> dict[str, Json]:
        said = [{"type": "summary_text", "text": "".join(self._pieces)}] if self._pieces else []
        part = ReasoningPart(signature=self.signature, redacted=self._redacted, extra=self._extra)
        body: dict[str, Json] = {"id": self.id, "type": "reasoning", "summary": said, "status": self.status}
        secret = sealed(part)
        return body if secret is None else {**body, "encrypted_content": secret}

    def go_on(self, words: str) -> Iterator[Event]:
        if not self._pieces:
            yield self._grow("response.reasoning_summary_part.added", part={"type": "summary_text", "text": ""})
        self._pieces.append(words)
        yield self._grow("response.reasoning_summary_text.delta", delta=words)

    def mark(self, said: Delta) -> None:
        self.signature = said.signature
        merge(self._extra, said.part_extra)

    def whole(self, part: ReasoningPart) -> Iterator[Event]:
        self.signature, self._redacted, self._extra = part.signature, part.redacted, dict(part.extra)
        if part.text:
            yield from self.go_on(part.text)
        yield from self.close(cut=False)

    def end(self) -> Iterator[Event]:
        if self._pieces:
            text = "".join(self._pieces)
            yield self._grow("response.reasoning_summary_text.done", text=text)
            yield self._grow("response.reasoning_summary_part.done", part={"type": "summary_text", "text": text})

    def _grow(self, kind: str, **fields: Json) -> Event:
        return self.grow(kind, summary_index=0, **fields)


class Call(Item):
    """A call of a function, or of a tool that takes plain text."""

    prefix = "fc"

    def __init__(self) -> None:
        super().__init__()
        self.call_id = ""
        self.name = ""
        self._signature = ""
        self._custom = False
        self._pieces: list[str] = []
        self._held: list[str] = []

    @classmethod
    def of(cls, call: ToolCall) -> Call:
        made = cls()
        made.learn(ToolCallDelta(position=0, id=call.id, name=call.name, signature=call.signature, extra=call.extra))
        return made

    def learn(self, piece: ToolCallDelta) -> bool:
        """Whether it is now known which call this is, and was not before."""
        self.call_id = self.call_id or piece.id
        self.name = self.name or piece.name
        self._signature = piece.signature or self._signature
        self._custom = self._custom or piece.extra.get("type") == "custom"
        return not self.placed and bool(self.call_id and self.name)

    def place(self, index: int, base: str) -> None:
        super().place(index, base)
        self.call_id = self.call_id or invented_id(base, index)
        if self._custom:
            self.id = f"ctc_{base}_{index}"

    def body(self) -> dict[str, Json]:
        body: dict[str, Json] = {"id": self.id, "call_id": self.call_id, "name": self.name, "status": self.status}
        if self._custom:
            return {"type": "custom_tool_call", **body, "input": self._said} | mark_of(self._signature)
        return {"type": "function_call", **body, "arguments": self._said} | mark_of(self._signature)

    def go_on(self, words: str) -> Iterator[Event]:
        if not self.placed:
            self._held.append(words)
            return
        words = "".join(self._held) + words
        self._held.clear()
        if words:
            self._pieces.append(words)
            yield self.grow(f"response.{self._kind}.delta", delta=words)

    def end(self) -> Iterator[Event]:
        if not self._said and not self._custom:
            # Clients read it as JSON, and a call without arguments has an empty object.
            yield from self.go_on("{}")
        said = {"input": self._said} if self._custom else {"name": self.name, "arguments": self._said}
        yield self.grow(f"response.{self._kind}.done", **said)

    @property
    def _said(self) -> str:
        return "".join(self._pieces)

    @property
    def _kind(self) -> str:
        return "custom_tool_call_input" if self._custom else "function_call_arguments"


class Picture(Item):
    """An image that the model drew; `url` where it is elsewhere."""

    prefix = "ig"

    def __init__(self, image: ImagePart) -> None:
        super().__init__()
        self._image = image

    def body(self) -> dict[str, Json]:
        image = self._image
        body: dict[str, Json] = {"id": self.id, "type": "image_generation_call", "status": self.status}
        body["result"] = image.data if self.closed else None
        if image.media_type is not None:
            body["output_format"] = image.media_type.removeprefix("image/")
        if image.url is not None:
            body["url"] = image.url
        return body


def _tokens(logprobs: Json) -> list[Json]:
    """Log probabilities in chat completions' form are a list per kind of words."""
    return [
        {
            "token": token.get("token", ""),
            "logprob": token.get("logprob", 0.0),
            "bytes": token.get("bytes") or [],
            "top_logprobs": token.get("top_logprobs") or [],
        }
        for token in objects(obj(logprobs).get("content"))
    ]
