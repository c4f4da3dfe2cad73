r"""The objects of a JSON array over arbitrary byte cuts: how Google streams without `alt=sse`.

bytes ── feed ──► whole objects, as bytes         '[{"a":1}\n,{"b'  ·  '":2}]'  →  {"a":1} · {"b":2}

Outside the objects only brackets, commas and space may stand; anything else sets `broken`. `closed` is True after
the bracket that ends the array. One object alone, without an array, is read as well.
"""

from __future__ import annotations

from runtime.dialects.sse import MAX_EVENT_BYTES

_QUOTE, _BACKSLASH = b'"', b"\\"
_OPEN, _CLOSE = frozenset(b"{["), frozenset(b"}]")
_BETWEEN = frozenset(b", \t\r\n")


class ObjectSplitter:
    """Feed it bytes as they come. The same bytes give the same objects, wherever they are cut."""

    __slots__ = ("_depth", "_escaped", "_held", "_held_bytes", "_in_string", "_limit", "broken", "closed", "too_large")

    def __init__(self, *, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self.closed = False
        self.broken = False
        self.too_large = False

    def feed(self, data: bytes) -> list[bytes]:
        """The objects that these bytes complete."""
        found: list[bytes] = []
        at = start = 0
        while at < len(data) and not (self.closed or self.broken or self.too_large):
            if self._depth == 0:
                start = at
                self._between(data[at])
                at += 1
            elif self._in_string:
                at = self._string(data, at)
            else:
                at = self._structure(data, at)
                if self._depth == 0:
                    self._held.append(data[start:at])
                    found.append(b"".join(self._held))
                    self._held.clear()
                    self._held_bytes = 0
        if self._depth:
            self._held.append(data[start:])
            self._held_bytes += len(data) - start
            self.too_large = self._held_bytes > self._limit
        return found

    def _between(self, byte: int) -> None:
        if byte == 0x7B:  # {
            self._depth = 1
        elif byte == 0x5D:  # ]
            self.closed = True
        elif byte != 0x5B and byte not in _BETWEEN:
            self.broken = True

    def _string(self, data: bytes, at: int) -> int:
        """Where the string ends, or the data."""
        if self._escaped:
            self._escaped = False
            at += 1
        while at < len(data):
            quote = data.find(_QUOTE, at)
            end = len(data) if quote < 0 else quote
            backslash = data.find(_BACKSLASH, at, end)
            if backslash < 0:
                self._in_string = quote < 0
                return end + 1 if quote >= 0 else end
            at = backslash + 2
            self._escaped = at > len(data)
        return min(at, len(data))

    def _structure(self, data: bytes, at: int) -> int:
        """Past the next string's quote, past the bracket that ends the object, or to the end of the data."""
        quote = data.find(_QUOTE, at)
        end = len(data) if quote < 0 else quote
        for place in range(at, end):
            byte = data[place]
            if byte in _OPEN:
                self._depth += 1
            elif byte in _CLOSE:
                self._depth -= 1
                if self._depth == 0:
                    return place + 1
        self._in_string = quote >= 0
        return end + 1 if quote >= 0 else end
