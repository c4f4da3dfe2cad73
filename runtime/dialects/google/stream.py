"""The stream of `streamGenerateContent`, over any byte cuts: events, or the pieces of one JSON array.

    reading ── data: {chunk} · {chunk} , ─► reading    deltas
            ── {"error": …} ──────────────► failed     finish() gives that failure
            ── no JSON, too large ────────► failed     MALFORMED
            ── ] ─────────────────────────► ended      only an array has an end of its own
            ── end of the bytes ──────────► complete only if every candidate had its finish reason, else INTERRUPTED

Events have no end mark, so nothing but the end of the bytes ends them: usage may follow the finish reason. A whole
object ends its event even where the blank line has not come: an object cannot go on.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from runtime.dialects.base import Target
from runtime.dialects.google.answer import Answer
from runtime.dialects.google.errors import failure_of_error
from runtime.dialects.google.pieces import ObjectSplitter
from runtime.dialects.sse import SseEvent, SseParser, SseTooLarge
from runtime.dialects.status import envelope_of, interrupted, malformed
from runtime.outcome import Completion, Delta, Outcome
from runtime.request import Json

_DATA = b"data:"


class GoogleStream:
    """A `ChunkDecoder`."""

    __slots__ = ("_answer", "_head", "_line", "_line_ended", "_pieces", "_sse", "_target")

    def __init__(self, target: Target) -> None:
        self._target = target
        self._answer = Answer(target, stream=True)
        self._sse = SseParser()
        # Set where the stream turns out to be JSON rather than events.
        self._pieces: ObjectSplitter | None = None
        # The first byte that is no space.
        self._head = b""
        # The pieces of the last line of an event that lacks its end.
        self._line: list[bytes] = []
        self._line_ended = False

    @property
    def id(self) -> str:
        return self._answer.id

    @property
    def model(self) -> str:
        return self._answer.model

    @property
    def ended(self) -> bool:
        return self._answer.failure is not None or (self._pieces is not None and self._pieces.closed)

    def feed(self, data: bytes) -> list[Delta]:
        deltas: list[Delta] = []
        if self.ended:
            return deltas
        if not self._head:
            data = data.lstrip()
            self._head = data[:1]
            if self._head in (b"[", b"{"):
                self._pieces = ObjectSplitter()
        if self._pieces is not None:
            self._feed_pieces(self._pieces, data, deltas)
        else:
            self._feed_events(data, deltas)
        return deltas

    def finish(self) -> Outcome:
        if self._answer.failure is not None:
            return self._answer.failure
        if self._answer.empty:
            if self._head == b"<":
                return malformed(self._target, "answered a streaming request with something that is no event stream")
            if not self.ended:
                return interrupted(self._target, "the stream ended before any answer")
        return self._answer.outcome()

    def so_far(self) -> Completion:
        return self._answer.so_far()

    def _feed_events(self, data: bytes, deltas: list[Delta]) -> None:
        self._events(self._sse.feed(data), deltas)
        if not self._sse.pending:
            self._line.clear()
            self._line_ended = False
        elif self._is_whole(data):
            self._line.clear()
            self._line_ended = False
            self._events(self._sse.feed(b"\n\n"), deltas)

    def _is_whole(self, data: bytes) -> bool:
        """True where the last line so far is a whole object. Nothing is parsed that does not look like one."""
        said = data.rstrip(b"\r\n")
        if not said:
            self._line_ended = True
            return False
        begins = max(said.rfind(b"\n"), said.rfind(b"\r")) + 1
        if begins or self._line_ended:
            self._line.clear()
        self._line.append(said[begins:])
        self._line_ended = len(said) != len(data)
        if not said.endswith(b"}"):
            return False
        line = b"".join(self._line)
        if not line.startswith(_DATA):
            return False
        try:
            return isinstance(orjson.loads(line[len(_DATA) :]), dict)
        except orjson.JSONDecodeError:
            return False

    def _events(self, events: Sequence[SseEvent | SseTooLarge], deltas: list[Delta]) -> None:
        for event in events:
            if self._answer.failure is not None:
                return
            if isinstance(event, SseTooLarge):
                self._fail(f"an event of the stream is larger than {event.limit_bytes} bytes")
            elif event.data and not event.data.isspace() and not event.data.startswith(b"[DONE]"):
                self._object(event.data, deltas)

    def _feed_pieces(self, pieces: ObjectSplitter, data: bytes, deltas: list[Delta]) -> None:
        for one in pieces.feed(data):
            self._object(one, deltas)
            if self._answer.failure is not None:
                return
        if pieces.broken:
            self._fail("the stream is no JSON array of objects")
        elif pieces.too_large:
            self._fail("an object of the stream is too large")

    def _object(self, data: bytes, deltas: list[Delta]) -> None:
        try:
            chunk: Json = orjson.loads(data)
        except orjson.JSONDecodeError as wrong:
            self._fail(f"a piece of the stream is not JSON: {wrong}")
            return
        if isinstance(chunk, dict) and not chunk.get("error"):
            self._answer.chunk(chunk, deltas)
            return
        error = envelope_of(chunk)
        if error is None:
            self._fail("a piece of the stream is not a JSON object")
        else:
            self._answer.failure = failure_of_error(error, self._target)

    def _fail(self, detail: str) -> None:
        self._answer.failure = malformed(self._target, detail)
