"""A stream as a client of this API reads it.

    StreamStart ─► message_start
    Delta ───────► content_block_start, content_block_delta …, content_block_stop      one block open at a time
    completion ──► message_delta with the usage and the cost, message_stop
    failure ─────► error, and nothing after it: a client must not take a broken answer for a whole one

Other APIs mix the pieces of parallel tool calls. Here each block ends before the next begins, so what comes for a later
one waits: until the arguments of the open call are whole, or until the answer ends.

Every event has its `event:` line: the official SDKs see no others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from runtime.dialects.anthropic.answer import (
    USAGE_BESIDE,
    Block,
    blocks_of,
    has_foreign_seal,
    own_citations,
    own_fields,
    render_usage,
    stop_of,
    transcript_of,
)
from runtime.dialects.anthropic.arguments import Arguments
from runtime.dialects.anthropic.render import error_body, message_id
from runtime.dialects.encoding import invented_id
from runtime.fold import deltas_of
from runtime.outcome import Completion, Delta, Failure, StreamEvent, StreamStart, ToolCallDelta
from runtime.request import Json, Request

_BEFORE_START = b": keep-alive\n\n"
_PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_TAIL = b"}}\n\n"

_WORDS: Mapping[str, Block] = {
    "text": {"type": "text", "text": ""},
    # What is no text elsewhere, and has no other place here: a refusal, the transcript of what was said aloud.
    "refusal": {"type": "text", "text": ""},
    "sound": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}


@dataclass(slots=True, eq=False)
class _Block:
    """A block under way. `held` are its changes that were not sent yet; `sealed` words are finished."""

    index: int
    kind: str
    start: Block
    held: list[Block] = field(default_factory=list)
    arguments: Arguments | None = None
    position: int = 0
    begun: bool = False
    sealed: bool = False
    foreign: bool = False

    @property
    def may_end(self) -> bool:
        """Whether it ends where another block begins."""
        return self.arguments is None or (self.begun and self.arguments.whole())


class EventRenderer:
    """A `StreamRenderer`: one stream's events as SSE bytes, in order. Use one for each stream."""

    __slots__ = ("_blocks", "_calls", "_ended", "_id", "_next", "_request", "_request_id", "_started", "_text_head")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._request_id = request.request_id
        self._id = ""
        self._started = False
        self._ended = False
        self._next = 0
        self._blocks: deque[_Block] = deque()
        self._calls: dict[int, _Block] = {}
        # Set while the open block is a text and nothing waits: nearly every event is a piece of it.
        self._text_head = b""

    def render(self, event: StreamEvent) -> list[bytes]:
        """The bytes of this event; each item is one whole SSE event."""
        if self._ended:
            return []
        if isinstance(event, Delta):
            if self._text_head and _is_plain(event):
                return [self._text_head + orjson.dumps(event.text) + _TAIL]
            out: list[bytes] = []
            self._delta(event, out)
            return out
        if isinstance(event, StreamStart):
            return self._begin(event)
        self._ended = True
        if isinstance(event.outcome, Failure):
            return [_event("error", error_body(event.outcome, self._request_id))]
        return self._completion(event.outcome)

    def keep_alive(self) -> bytes:
        """A ping, once the message has begun; a comment before."""
        return _PING if self._started else _BEFORE_START

    def _begin(self, said: StreamStart | Completion) -> list[bytes]:
        if self._started:
            return []
        self._started = True
        self._request_id = said.request_id or self._request_id
        self._id = message_id(said.id, self._request_id)
        message: Block = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": said.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            # Nobody knows them yet; message_delta tells them all.
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
        return [_event("message_start", {"type": "message_start", "message": message})]

    def _completion(self, completion: Completion) -> list[bytes]:
        out = self._begin(completion)
        choice = completion.choices[0] if completion.choices else None
        if choice is not None and not self._next:
            # Nothing of it was streamed, as when a cache answers: here it is whole.
            for delta in deltas_of(0, choice):
                self._delta(delta, out)
        self._advance(out, over=True)
        change: Block = stop_of(choice, self._request)
        extra = completion.extra
        if "container" in extra:
            change["container"] = extra["container"]
        last: Block = {
            "type": "message_delta",
            "delta": change,
            "usage": render_usage(completion.usage, completion.cost, extra, completion.continued),
        }
        for name, value in extra.items():
            if name not in USAGE_BESIDE and name != "container":
                last.setdefault(name, value)
        return [*out, _event("message_delta", last), _event("message_stop", {"type": "message_stop"})]

    def _delta(self, delta: Delta, out: list[bytes]) -> None:
        if delta.choice:
            # This API knows one answer.
            return
        if not self._started:
            out += self._begin(StreamStart(id="", provider="", model=""))
        if delta.reasoning:
            self._say(
                "thinking", delta.reasoning, out, new=delta.new_part, extra={} if delta.text else delta.part_extra
            )
        if delta.text:
            self._say("text", delta.text, out, new=delta.new_part and not delta.reasoning, extra=delta.part_extra)
        if delta.signature or delta.citations or delta.part_extra:
            self._mark(delta, out)
        if delta.refusal:
            self._say("refusal", delta.refusal, out)
        for call in delta.tool_calls:
            self._call(call, out)
        if delta.audio is not None and (transcript := transcript_of(delta.audio)):
            self._say("sound", transcript, out)
        for part in delta.parts:
            for block in blocks_of(part):
                self._whole(block, out)
            # Also what has no word here stood between what was said before it and after it.
            self._seal()

    def _say(
        self, kind: str, said: str, out: list[bytes], *, new: bool = False, extra: Mapping[str, Json] | None = None
    ) -> None:
        """A piece of a text or thought: of the last block, or of a new one."""
        block = self._blocks[-1] if self._blocks else None
        if block is None or new or block.kind != kind or block.sealed:
            block = self._add(_Block(self._next, kind, {**_WORDS[kind], **own_fields(extra or {})}), out)
        if kind == "thinking":
            self._change(block, {"type": "thinking_delta", "thinking": said}, out)
        else:
            self._change(block, {"type": "text_delta", "text": said}, out)

    def _mark(self, delta: Delta, out: list[bytes]) -> None:
        """Citations of the text, or the seal of the thought, that this delta ends with; they may stand alone."""
        citations = own_citations(delta.citations)
        foreign = has_foreign_seal(delta.part_extra)
        block = self._blocks[-1] if self._blocks else None
        alone = delta.new_part and not delta.text and not delta.reasoning
        if block is None or alone or block.kind not in ("text", "thinking") or block.sealed:
            if not citations and (delta.citations or not delta.signature or foreign):
                return
            kind = "text" if citations else "thinking"
            block = self._add(_Block(self._next, kind, {**_WORDS[kind], **own_fields(delta.part_extra)}), out)
        block.foreign = block.foreign or foreign
        if block.kind == "text":
            for citation in citations:
                self._change(block, {"type": "citations_delta", "citation": citation}, out)
        elif delta.signature and not block.foreign:
            self._change(block, {"type": "signature_delta", "signature": delta.signature}, out)
        if delta.signature:
            self._seal()

    def _seal(self) -> None:
        """No more words for the last block."""
        if self._blocks:
            self._blocks[-1].sealed = True
        self._text_head = b""

    def _call(self, said: ToolCallDelta, out: list[bytes]) -> None:
        block = self._calls.get(said.position)
        if block is None:
            start: Block = {"type": "tool_use", "id": said.id, "name": said.name, "input": {}, **own_fields(said.extra)}
            block = _Block(self._next, "tool_use", start, arguments=Arguments(), position=said.position)
            self._calls[said.position] = self._add(block, out)
        elif not block.begun:
            block.start["id"] = block.start["id"] or said.id
            block.start["name"] = block.start["name"] or said.name
        if block.arguments is not None and said.arguments and (piece := block.arguments.add(said.arguments)):
            self._change(block, {"type": "input_json_delta", "partial_json": piece}, out)
        self._advance(out)

    def _whole(self, block: Block, out: list[bytes]) -> None:
        """A block that came at once. What has a growing form takes it: clients read that alone."""
        start, held = dict(block), []
        match block.get("type"):
            case "text":
                start = {**start, "text": ""}
                held = [{"type": "text_delta", "text": block["text"]}]
                held += [{"type": "citations_delta", "citation": one} for one in start.pop("citations", ())]
            case "thinking":
                start = {**start, "thinking": "", "signature": ""}
                held = [
                    {"type": "thinking_delta", "thinking": block["thinking"]},
                    {"type": "signature_delta", "signature": block["signature"]},
                ]
            case str(kind) if kind.endswith("tool_use") and isinstance(block.get("input"), dict) and block["input"]:
                start["input"] = {}
                held = [{"type": "input_json_delta", "partial_json": orjson.dumps(block["input"]).decode()}]
        self._add(_Block(self._next, "whole", start, held), out)

    def _add(self, block: _Block, out: list[bytes]) -> _Block:
        self._next += 1
        self._blocks.append(block)
        self._text_head = b""
        self._advance(out)
        return block

    def _change(self, block: _Block, change: Block, out: list[bytes]) -> None:
        if block is self._blocks[0] and block.begun:
            out.append(_change(block.index, change))
        elif block.index >= self._blocks[0].index:
            block.held.append(change)

    def _advance(self, out: list[bytes], *, over: bool = False) -> None:
        """Send what the first block holds, and end it where the next one may begin; `over` ends them all."""
        while self._blocks:
            block = self._blocks[0]
            self._send(block, out, over=over)
            if not over and (len(self._blocks) == 1 or not block.may_end):
                break
            if block.arguments is not None and (rest := block.arguments.rest()):
                out.append(_change(block.index, {"type": "input_json_delta", "partial_json": rest}))
            stop: Block = {"type": "content_block_stop", "index": block.index}
            out.append(_event("content_block_stop", stop))
            self._blocks.popleft()
        if len(self._blocks) == 1 and self._blocks[0].kind == "text" and not self._blocks[0].sealed:
            self._text_head = _text_head(self._blocks[0].index)

    def _send(self, block: _Block, out: list[bytes], *, over: bool) -> None:
        if not block.begun:
            start = block.start
            if block.arguments is not None and not (start["id"] and start["name"]):
                if not over:
                    return
                start["id"] = start["id"] or invented_id(self._id, block.position)
            block.begun = True
            begin: Block = {"type": "content_block_start", "index": block.index, "content_block": start}
            out.append(_event("content_block_start", begin))
        out.extend(_change(block.index, change) for change in block.held)
        block.held.clear()


def _is_plain(delta: Delta) -> bool:
    """Whether this is a piece of text of the first choice that goes on, and nothing else."""
    return (
        bool(delta.text)
        and delta.choice == 0
        and not (delta.new_part or delta.reasoning or delta.refusal or delta.tool_calls or delta.parts)
        and not (delta.signature or delta.citations or delta.part_extra or delta.audio)
    )


def _text_head(index: int) -> bytes:
    return (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
        b'"delta":{"type":"text_delta","text":' % index
    )


def _change(index: int, change: Block) -> bytes:
    return _event("content_block_delta", {"type": "content_block_delta", "index": index, "delta": change})


def _event(name: str, data: Block) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"
