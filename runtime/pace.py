"""Is a stream that has begun still worth waiting for? Decided from its deltas and the time, never from its bytes.

    guard       too late when
    -----------------------------------------------------------------------------------------------------------------
    gap         bytes come, but for more than `gap_s` no content: comments, pings, empty deltas, half an event
    throughput  less than `min_tokens_per_s` over each whole `WINDOW_S` since the first content; 0 switches it off

Bytes that stop altogether are the transport's to notice (`between_s`). `now` is what the caller has spent waiting for
this stream: time in which nobody reads it does not make it slow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from runtime.outcome import Delta
from runtime.tokens import BYTES_PER_TOKEN

WINDOW_S = 10


class Pace:
    """One stream from its first content on."""

    __slots__ = ("_bytes", "_content_at", "_full_at", "_gap_s", "_least", "_second", "_seconds")

    def __init__(self, *, gap_s: float, min_tokens_per_s: float = 0.0, now: float = 0.0) -> None:
        self._gap_s = gap_s
        self._least = min_tokens_per_s
        self._content_at = now
        # Bytes of content by whole seconds, so that a chunk costs an addition. The second of the beginning is no
        # whole one.
        self._second = int(now)
        self._full_at = self._second + 1 + WINDOW_S
        self._bytes = 0
        self._seconds: deque[tuple[int, int]] = deque()

    def late(self, deltas: Iterable[Delta], now: float) -> str | None:
        """Count what a read gave. Why the stream is to be given up, in words for people; None if it goes on."""
        content, size = False, 0
        for delta in deltas:
            if delta.has_content:
                content = True
                if self._least:
                    size += content_bytes(delta)
        if content:
            self._content_at = now
        elif now - self._content_at > self._gap_s:
            return f"sent signs of life but no content for {self._gap_s:g} s in the middle of its answer"
        if not self._least:
            return None
        slow = self._turn(int(now)) if int(now) != self._second else None
        self._bytes += size
        return slow

    def _turn(self, second: int) -> str | None:
        """A second has become whole: look at those of the window."""
        self._seconds.append((self._second, self._bytes))
        self._second, self._bytes = second, 0
        while self._seconds and self._seconds[0][0] < second - WINDOW_S:
            self._seconds.popleft()
        if second < self._full_at:
            return None
        rate = sum(size for _, size in self._seconds) / BYTES_PER_TOKEN / WINDOW_S
        if rate >= self._least:
            return None
        return f"sent {rate:.1f} tokens a second over {WINDOW_S} s, fewer than the {self._least:g} that it must"


def content_bytes(delta: Delta) -> int:
    """What a delta shows, in bytes of UTF-8. A part that comes whole (an image) counts as written out."""
    said = len(delta.text.encode()) + len(delta.reasoning.encode()) + len(delta.refusal.encode())
    said += sum(len(call.name.encode()) + len(call.arguments.encode()) for call in delta.tool_calls)
    if delta.audio is not None:
        said += len(delta.audio.data or "")
    return said + sum(len(repr(part)) for part in delta.parts)
