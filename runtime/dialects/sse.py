r"""Server-sent events over arbitrary byte cuts, as the HTML standard frames them.

    bytes ── feed ──► events          "data: a\n", "data: b\n\n"  →  SseEvent(b"a\nb")
          ── finish ► the event that the end of the bytes cut off before its blank line, if any

Line ends may be LF, CRLF or CR, mixed; a BOM, comments and the fields `id` and `retry` say nothing to us. `data`
stays bytes: the JSON parser reads bytes, and wrong UTF-8 is its error to report.

An event larger than the cap becomes `SseTooLarge` in the event list, once; after it the parser is mute. Memory is
bounded by the cap plus one piece.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

MAX_EVENT_BYTES = 16 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"


class SseEvent(NamedTuple):
    """One event. `name` is what its `event:` line said, or empty."""

    data: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class SseTooLarge:
    """An event passed the cap; nothing is read after it."""

    limit_bytes: int


class SseParser:
    """Feed it bytes as they come. The same bytes give the same events, wherever they are cut."""

    __slots__ = ("_after_cr", "_data", "_dead", "_held", "_held_bytes", "_limit", "_name", "_size", "_start")

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._data: list[bytes] = []
        self._size = 0
        self._name = ""
        self._after_cr = False
        self._dead = False
        # The first bytes, while they may yet turn out to be a BOM; None once that is decided.
        self._start: bytes | None = b""

    @property
    def pending(self) -> bool:
        """True where the bytes so far end inside an event."""
        return bool(self._data or self._held_bytes or self._start)

    def feed(self, data: bytes) -> list[SseEvent | SseTooLarge]:
        """The events that these bytes complete."""
        if self._start is not None:
            data = self._start + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._start = data
                return []
            self._start = None
            data = data.removeprefix(_BOM)
        if self._dead or not data:
            return []
        if self._after_cr or b"\r" in data:
            data = self._with_plain_ends(data)
        if b"\n" not in data:
            return self._hold(data)
        if self._held:
            self._held.append(data)
            data = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
        lines = data.split(b"\n")
        tail = lines.pop()
        events: list[SseEvent | SseTooLarge] = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(self._take())
                else:
                    self._name = ""
            elif not self._line(line):
                events.append(self._overflow())
                return events
        if tail:
            events += self._hold(tail)
        return events

    def finish(self) -> SseEvent | None:
        """What an end of the bytes left without its blank line. The standard drops it; the caller decides.

        The last line itself may be cut, so a caller must not trust it further than its content proves.
        """
        if self._dead:
            return None
        line = (self._start or b"") + b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        if line and not self._line(line):
            return None
        return self._take() if self._data else None

    def _hold(self, data: bytes) -> list[SseEvent | SseTooLarge]:
        if data:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._size + self._held_bytes > self._limit:
                return [self._overflow()]
        return []

    def _with_plain_ends(self, data: bytes) -> bytes:
        """LF for every line end. A CR ends its line at once; an LF that follows in the next piece is half of it."""
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _line(self, line: bytes) -> bool:
        """Read one line that is not empty; False where it passes the cap."""
        if self._size + len(line) > self._limit:
            return False
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            self._size += len(line)
        elif line.startswith(b"event:"):
            self._name = line[6:].removeprefix(b" ").decode("utf-8", "replace")
        elif line == b"data":
            self._data.append(b"")
            self._size += len(line)
        elif line == b"event":
            self._name = ""
        return True

    def _take(self) -> SseEvent:
        event = SseEvent(self._data[0] if len(self._data) == 1 else b"\n".join(self._data), self._name)
        self._data.clear()
        self._size = 0
        self._name = ""
        return event

    def _overflow(self) -> SseTooLarge:
        self._dead = True
        self._data.clear()
        self._held.clear()
        self._held_bytes = 0
        return SseTooLarge(self._limit)
