"""What all decoders of server-sent events have in common: from bytes to JSON objects, and how a stream can end.

    reading ── data: {…} ────────────► reading    `_object` makes deltas of it, or finds its error or its end
            ── no JSON, too large ───► failed     MALFORMED
            ── end of the bytes ─────► complete only as its dialect proves it, else INTERRUPTED

An event that lacks its blank line at the end of the bytes is read, since whole JSON proves that it was not cut; but if
it has content, that comes too late to be passed on.
"""

from __future__ import annotations

import orjson

from runtime.dialects.base import Target
from runtime.dialects.sse import SseEvent, SseParser, SseTooLarge
from runtime.dialects.status import interrupted, malformed
from runtime.fold import Fold
from runtime.outcome import Completion, Delta, Failure, Outcome
from runtime.request import Json

DONE = b"[DONE]"


class EventDecoder:
    """The part of a `ChunkDecoder` that does not depend on the dialect."""

    __slots__ = ("_done", "_failure", "_fold", "_head", "_sse", "_target")

    def __init__(self, target: Target) -> None:
        self._target = target
        self._sse = SseParser()
        self._fold = Fold()
        self._failure: Failure | None = None
        self._done = False
        # The first byte that is no space: it tells a whole JSON or HTML page from a stream.
        self._head = b""

    # What a dialect says.

    def _object(self, said: dict[str, Json], name: str, deltas: list[Delta]) -> None:
        """Read one event. `name` is what its `event:` line said."""
        raise NotImplementedError

    def _end_mark(self) -> None:
        """`[DONE]` was read."""

    @property
    def _complete(self) -> bool:
        """Whether the answer is whole, now that nothing more will come."""
        return self._done

    def _completion(self) -> Completion:
        raise NotImplementedError

    # What follows.

    @property
    def ended(self) -> bool:
        return self._done or self._failure is not None

    def feed(self, data: bytes) -> list[Delta]:
        if not self._head:
            self._head = data.lstrip()[:1]
        deltas: list[Delta] = []
        if self.ended:
            return deltas
        for event in self._sse.feed(data):
            self._event(event, deltas)
            if self.ended:
                break
        return deltas

    def finish(self) -> Outcome:
        if not self.ended:
            last = self._sse.finish()
            late: list[Delta] = []
            if last is not None and _is_whole(last.data):
                self._event(last, late)
            if any(delta.has_content for delta in late):
                return interrupted(self._target, "the stream ended inside an event")
        if self._failure is not None:
            return self._failure
        if self._complete:
            return self._completion()
        if not self._fold.empty:
            return interrupted(self._target, "the stream ended before the answer was finished")
        if self._head in (b"{", b"[", b"<"):
            return malformed(self._target, "answered a streaming request with something that is no event stream")
        return interrupted(self._target, "the stream ended before any answer")

    def so_far(self) -> Completion:
        return self._completion()

    def _event(self, event: SseEvent | SseTooLarge, deltas: list[Delta]) -> None:
        if isinstance(event, SseTooLarge):
            self._failure = malformed(self._target, f"an event of the stream is larger than {event.limit_bytes} bytes")
            return
        data = event.data
        if data.startswith(DONE):
            self._end_mark()
            return
        if not data or data.isspace():
            return
        try:
            said = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            self._failure = malformed(self._target, f"an event of the stream is not JSON: {error}")
            return
        if isinstance(said, dict):
            self._object(said, event.name, deltas)
        else:
            self._failure = malformed(self._target, "an event of the stream is not a JSON object")

    def _say(self, delta: Delta, deltas: list[Delta]) -> None:
        self._fold.add(delta)
        deltas.append(delta)


def _is_whole(data: bytes) -> bool:
    data = data.strip()
    if data == DONE:
        return True
    try:
        return isinstance(orjson.loads(data), dict)
    except orjson.JSONDecodeError:
        return False
