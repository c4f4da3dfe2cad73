"""The stream of the Messages API, over any byte cuts.

message_start ─► content_block_start ─► content_block_delta … ─► content_block_stop ─► … next block
              ─► message_delta ─► message_stop     finish() gives the completion
error ───────────────────────────► failed           finish() gives that failure
no JSON, no event of this API ───► failed           MALFORMED
end of the bytes ────────────────► INTERRUPTED: message_stop alone ends an answer

text, thinking, tool_use ────────► deltas as they come
every other block ───────────────► gathered, and told whole as a NativePart when it stops
"""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from runtime.dialects.anthropic.decode import completion
from runtime.dialects.anthropic.reading import (
    CALL,
    MESSAGE,
    STOP,
    TEXT,
    THINKING,
    arguments_of,
    finish_of,
    joined_usage,
    part_of_block,
)
from runtime.dialects.base import Target
from runtime.dialects.encoding import invented_id
from runtime.dialects.events import EventDecoder
from runtime.dialects.reading import extra_of, obj, objects, text
from runtime.dialects.status import failure_of_error, malformed
from runtime.fold import merge
from runtime.outcome import Completion, Delta, ToolCallDelta
from runtime.request import Json

_KINDS = {"text_delta": "text", "citations_delta": "text", "thinking_delta": "thinking", "signature_delta": "thinking"}
"""The block in which a delta belongs, where a host forgot to open one."""


@dataclass(slots=True)
class _Block:
    """A block under way. `position` is its number among the tool calls, `input` the text of its input so far."""

    kind: str
    fields: dict[str, Json]
    position: int = -1
    begun: bool = False
    input: list[str] = field(default_factory=list)
    signature: str = ""


class AnthropicStream(EventDecoder):
    """A `ChunkDecoder`."""

    __slots__ = ("_blocks", "_calls", "_message", "_usage")

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._blocks: dict[Json, _Block] = {}
        self._calls = 0
        self._message: dict[str, Json] = {}
        self._usage: Json = None

    @property
    def id(self) -> str:
        return text(self._message.get("id"))

    @property
    def model(self) -> str:
        return text(self._message.get("model"))

    def _completion(self) -> Completion:
        return completion(self._message, self._target, choices=self._fold.choices(), usage=self._usage)

    def _object(self, said: dict[str, Json], name: str, deltas: list[Delta]) -> None:
        kind = said.get("type") or name
        if kind == "content_block_delta":
            self._delta(said.get("index"), obj(said.get("delta")), deltas)
        elif kind == "error" or said.get("error"):
            self._failure = failure_of_error(said.get("error") or said, self._target)
        else:
            self._frame(text(kind), said, deltas)

    def _frame(self, kind: str, said: dict[str, Json], deltas: list[Delta]) -> None:
        match kind:
            case "ping":
                pass
            case "message_start":
                message = obj(said.get("message"))
                self._message = {**message, **self._message}
                self._usage = joined_usage(self._usage, message.get("usage"))
                self._fold.open(0)
            case "content_block_start":
                self._start(said.get("index"), obj(said.get("content_block")), deltas)
            case "content_block_stop":
                self._stop(said.get("index"), deltas)
            case "message_delta":
                self._message_delta(said, deltas)
            case "message_stop":
                self._stop_all(deltas)
                self._done = True
            case "":
                self._failure = malformed(self._target, "an event of the stream has no type; check base_url")
            case _:
                merge(self._message, {"events": [said]})

    def _message_delta(self, said: dict[str, Json], deltas: list[Delta]) -> None:
        self._stop_all(deltas)
        change = obj(said.get("delta"))
        self._usage = joined_usage(self._usage, said.get("usage"))
        self._message.update(extra_of(said, MESSAGE | {"delta"}))
        self._message.update(extra_of(change, STOP))
        extra: dict[str, Json] = {}
        finish = finish_of(change, extra)
        if finish is not None or extra:
            self._say(Delta(finish_reason=finish, extra=extra), deltas)

    def _start(self, index: Json, fields: dict[str, Json], deltas: list[Delta]) -> None:
        self._stop(index, deltas)
        kind = text(fields.get("type"))
        if kind == "tool_use" and not isinstance(fields.get("name"), str):
            kind = ""
        block = self._blocks[_key(index)] = _Block(kind, fields)
        match kind:
            case "text":
                self._words(block, Delta(text=text(fields.get("text"))), deltas)
                for citation in objects(fields.get("citations")):
                    self._words(block, Delta(citations=(citation,)), deltas)
            case "thinking":
                self._words(block, Delta(reasoning=text(fields.get("thinking"))), deltas)
                block.signature = text(fields.get("signature"))
            case "tool_use":
                block.position = self._calls
                self._calls += 1
                call = ToolCallDelta(
                    position=block.position,
                    id=text(fields.get("id")) or invented_id(self.id, block.position),
                    name=fields["name"],
                    extra=extra_of(fields, CALL),
                )
                self._say(Delta(tool_calls=(call,)), deltas)
            case _:
                # The block grows: it must not share lists and objects with what was parsed.
                block.fields = {}
                merge(block.fields, fields)

    def _delta(self, index: Json, change: dict[str, Json], deltas: list[Delta]) -> None:
        kind = change.get("type")
        block = self._blocks.get(_key(index))
        if block is None:
            known = _KINDS.get(text(kind), "")
            block = self._blocks[_key(index)] = _Block(known, {"type": known} if known else {})
        if kind == "text_delta" and block.kind == "text":
            self._words(block, Delta(text=text(change.get("text"))), deltas)
        elif kind == "thinking_delta" and block.kind == "thinking":
            self._words(block, Delta(reasoning=text(change.get("thinking"))), deltas)
        elif kind == "input_json_delta":
            said = text(change.get("partial_json"))
            if said:
                block.input.append(said)
                if block.kind == "tool_use":
                    self._say(Delta(tool_calls=(ToolCallDelta(position=block.position, arguments=said),)), deltas)
        elif kind == "signature_delta" and block.kind == "thinking":
            block.signature += text(change.get("signature"))
        elif kind == "citations_delta" and block.kind == "text":
            self._words(block, Delta(citations=tuple(objects([change.get("citation")]))), deltas)
        elif kind == "citations_delta":
            merge(block.fields, {"citations": [change.get("citation")]})
        elif block.position >= 0 or block.kind in ("text", "thinking"):
            self._say(Delta(extra={"unknown_deltas": [change]}), deltas)
        else:
            merge(block.fields, {name: value for name, value in change.items() if name != "type" and value is not None})

    def _words(self, block: _Block, delta: Delta, deltas: list[Delta]) -> None:
        """A piece of a text or thought. The first one begins a part, and brings what no type holds."""
        if not (delta.text or delta.reasoning or delta.citations):
            return
        if not block.begun:
            block.begun = True
            known = TEXT if block.kind == "text" else THINKING
            beside = extra_of(block.fields, known) if not block.fields.keys() <= known else {}
            delta = Delta(
                new_part=True, text=delta.text, reasoning=delta.reasoning, citations=delta.citations, part_extra=beside
            )
        self._say(delta, deltas)

    def _stop(self, index: Json, deltas: list[Delta]) -> None:
        block = self._blocks.pop(_key(index), None)
        if block is None:
            return
        if block.kind == "thinking":
            if block.signature:
                beside = {} if block.begun else extra_of(block.fields, THINKING)
                self._say(Delta(signature=block.signature, new_part=not block.begun, part_extra=beside), deltas)
        elif block.kind == "tool_use":
            if not block.input:
                whole = arguments_of(block.fields.get("input"))
                self._say(Delta(tool_calls=(ToolCallDelta(position=block.position, arguments=whole),)), deltas)
        elif block.kind != "text":
            if block.input:
                said = "".join(block.input)
                try:
                    block.fields["input"] = orjson.loads(said)
                except orjson.JSONDecodeError:
                    block.fields["input"] = said
            part = part_of_block(block.fields, self.id, self._calls)
            if part is not None:
                self._say(Delta(parts=(part,)), deltas)

    def _stop_all(self, deltas: list[Delta]) -> None:
        for index in list(self._blocks):
            self._stop(index, deltas)


def _key(index: Json) -> int:
    return index if isinstance(index, int) else -1
