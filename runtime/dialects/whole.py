"""A whole reply that comes in pieces, read as if it were a stream.

reading ── bytes ─────────────► reading
        ── the JSON is whole ─► ended     its deltas, all at once; finish() gives the completion or the failure
        ── end of the bytes ──► INTERRUPTED where a JSON object had begun or nothing had come, else MALFORMED
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from runtime.dialects.base import Target
from runtime.dialects.reading import NOT_REPORTED
from runtime.dialects.sse import MAX_EVENT_BYTES
from runtime.dialects.status import failure_of_error, interrupted, malformed
from runtime.fold import deltas_of
from runtime.outcome import Completion, Delta, Outcome
from runtime.request import Json

MAX_REPLY_BYTES = MAX_EVENT_BYTES


class WholeReply:
    """A `ChunkDecoder`. `read` says what a JSON object that is no error means."""

    __slots__ = ("_held", "_outcome", "_reads", "_size", "_target")

    def __init__(self, target: Target, read: Callable[[dict[str, Json], Target], Outcome]) -> None:
        self._target = target
        self._reads = read
        self._held: list[bytes] = []
        self._size = 0
        self._outcome: Outcome | None = None

    @property
    def id(self) -> str:
        """Known with the rest, when there is nothing left to read."""
        return ""

    @property
    def model(self) -> str:
        return self._outcome.model if isinstance(self._outcome, Completion) else ""

    @property
    def ended(self) -> bool:
        return self._outcome is not None

    def feed(self, data: bytes) -> list[Delta]:
        if self._outcome is not None or not data:
            return []
        self._held.append(data)
        self._size += len(data)
        if self._size > MAX_REPLY_BYTES:
            self._outcome = malformed(self._target, f"the reply is larger than {MAX_REPLY_BYTES} bytes")
        elif data.rstrip().endswith(b"}"):
            self._outcome = self._read()
        if isinstance(self._outcome, Completion):
            return [delta for index, choice in enumerate(self._outcome.choices) for delta in deltas_of(index, choice)]
        return []

    def finish(self) -> Outcome:
        if self._outcome is not None:
            return self._outcome
        begun = b"".join(self._held).lstrip()
        if begun and not begun.startswith(b"{"):
            return malformed(self._target, "the reply is not a JSON object; check base_url")
        return interrupted(self._target, "the reply ended before it was whole")

    def so_far(self) -> Completion:
        if isinstance(self._outcome, Completion):
            return self._outcome
        return Completion(id="", model=self._target.model, provider=self._target.provider, usage=NOT_REPORTED)

    def _read(self) -> Outcome | None:
        """What the bytes so far say, if they are whole."""
        said = b"".join(self._held)
        self._held = [said]
        try:
            body = orjson.loads(said)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(body, dict):
            return malformed(self._target, "the reply is not a JSON object; check base_url")
        if body.get("error"):
            return failure_of_error(body["error"], self._target)
        return self._reads(body, self._target)
