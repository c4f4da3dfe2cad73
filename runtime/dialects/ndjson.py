"""Newline-delimited JSON over arbitrary byte cuts: the lines, not yet parsed.

bytes ── feed ──► whole lines, without their ends; blank lines are left out
      ── finish ► the last line, where the bytes ended without a line end
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_LINE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LineTooLong:
    """A line passed the cap; nothing is read after it."""

    limit_bytes: int


class LineParser:
    """Feed it bytes as they come. The same bytes give the same lines, wherever they are cut."""

    __slots__ = ("_dead", "_held", "_held_bytes", "_limit")

    def __init__(self, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._limit = max_line_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._dead = False

    def feed(self, data: bytes) -> list[bytes | LineTooLong]:
        """The lines that these bytes complete."""
        if self._dead or not data:
            return []
        found: list[bytes | LineTooLong] = []
        if b"\n" in data:
            if self._held:
                self._held.append(data)
                data = b"".join(self._held)
                self._held.clear()
                self._held_bytes = 0
            lines = data.split(b"\n")
            data = lines.pop()
            for line in lines:
                if len(line) > self._limit:
                    return [*found, self._overflow()]
                if line and not line.isspace():
                    found.append(line)
        if data:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes > self._limit:
                found.append(self._overflow())
        return found

    def finish(self) -> bytes | None:
        """What an end of the bytes left without a line end; it may be cut."""
        line = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        return line if line and not line.isspace() else None

    def _overflow(self) -> LineTooLong:
        self._dead = True
        self._held.clear()
        self._held_bytes = 0
        return LineTooLong(self._limit)
