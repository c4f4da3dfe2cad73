"""What comes back on a connection of `http1`: a head, pieces of a body, and its end or a fault.

Where the limits run, and what they cost:

| limit        | runs                                             | kept by                                         |
| ------------ | ------------------------------------------------ | ----------------------------------------------- |
| connect_s    | while a new connection is made (name, TCP, TLS)  | one `asyncio.timeout`; free on a kept connection |
| first_byte_s | from sending to the headers, then to body byte 1 | the connection's alarm                          |
| between_s    | while `read` waits                               | the connection's alarm                          |
| total_s      | over everything                                  | whichever of these is set, cut to the total     |

A connection has one loop timer, which outlives its calls: whoever must wait writes down when his patience ends, and
the timer looks at that only when it fires. Neither a call nor a chunk costs a timer. Time in which nobody reads is the
reader's own and does not count, except towards the total.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from runtime.transport.base import Fault, FaultKind, Limits, read_whole
from runtime.transport.unpacking import Unpacker, unpacker

if TYPE_CHECKING:
    from runtime.transport.wire import Wire

BUFFERED = 256 * 2**10
"""A body of which nobody reads so much is not received any further."""


class Answer:
    """`HttpStream`, and before that the wait for its head. One reader at a time.

    The bytes that came before a fault are given out first. A fault, a cancelled `read` and an early `close` drop the
    connection; a body that has come whole has given it back.
    """

    __slots__ = (
        "_gap",
        "_gap_s",
        "_max_body_bytes",
        "_pieces",
        "_size",
        "_unpacker",
        "_waiter",
        "due",
        "fault",
        "headers",
        "limits",
        "status",
        "total_at",
        "until_eof",
        "whole",
        "wire",
    )

    def __init__(self, wire: Wire, limits: Limits, *, total_at: float, max_body_bytes: int) -> None:
        self.status = 0
        """0 until the head is here."""
        self.headers: Mapping[str, str] = {}
        self.limits = limits
        self.total_at = total_at
        self.due = math.inf
        """When whoever waits loses patience; never, while nobody does."""
        self.whole = False
        self.until_eof = False
        self.fault: Fault | None = None
        self.wire: Wire | None = wire
        self._max_body_bytes = max_body_bytes
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._unpacker: Unpacker | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._gap = FaultKind.FIRST_BYTE_TIMEOUT
        self._gap_s = limits.first_byte_s

    # What the reader does.

    async def head(self) -> Fault | None:
        """Wait for the head; a fault, if there is none."""
        if not self.status and self.fault is None:
            await self._wait()
        return None if self.status else self.fault

    async def read(self) -> bytes | Fault:
        while True:
            if self._pieces:
                data = self._taken()
                if self._unpacker is not None:
                    unpacked = self._unpacker.feed(data)
                    if unpacked is None:
                        return self._garbled()
                    data = unpacked
                    if self._unpacker.rest:
                        self._pieces.append(self._unpacker.rest)
                if data:
                    self._gap = FaultKind.BETWEEN_TIMEOUT
                    self._gap_s = self.limits.between_s
                    return data
            elif self.fault is not None:
                return self.fault
            elif self.whole:
                return b"" if self._unpacker is None or self._unpacker.is_whole else self._garbled()
            else:
                await self._wait()

    async def read_all(self) -> bytes | Fault:
        if self.whole and self._unpacker is None and self._size <= self._max_body_bytes:
            return self._taken()  # nearly always
        body = await read_whole(self, self._max_body_bytes)
        if body is None:
            body = self.fault = Fault(FaultKind.TOO_LARGE, f"more than {self._max_body_bytes} bytes")
            self.drop()
        return body

    async def close(self) -> None:
        if self.fault is None and not (self.whole and not self._pieces):
            self.fault = Fault(FaultKind.TRUNCATED, "closed before the end of the body")
        self.drop()

    def drop(self) -> None:
        """Nobody will read on: close the connection, unless the whole answer is here."""
        self._pieces.clear()
        self._size = 0
        if self.wire is not None:
            self.wire.drop()

    async def _wait(self) -> None:
        """Until there is news, or patience ends."""
        wire = self.wire
        if wire is None:
            return
        self._waiter = wire.loop.create_future()
        self.due = min(wire.loop.time() + self._gap_s, self.total_at)
        if self.due < wire.alarm_at:
            wire.set_alarm(self.due)
        try:
            await self._waiter
        except BaseException:
            self.drop()
            raise
        finally:
            self._waiter = None
            self.due = math.inf

    def _taken(self) -> bytes:
        """All that has come so far."""
        pieces = self._pieces
        if len(pieces) == 1:
            data = pieces.popleft()
        else:
            data = b"".join(pieces)
            pieces.clear()
        if self._size >= BUFFERED and self.wire is not None:
            self.wire.transport.resume_reading()
        self._size = 0
        return data

    def _garbled(self) -> Fault:
        self.fault = Fault(FaultKind.PROTOCOL, "the body is not compressed as its headers say")
        self.drop()
        return self.fault

    # What the connection tells.

    def begins(self, status: int, headers: dict[str, str]) -> None:
        self.headers = headers
        self.status = status
        self.until_eof = (
            "content-length" not in headers
            and "chunked" not in headers.get("transfer-encoding", "").lower()
            and status not in (204, 304)
        )
        if "content-encoding" in headers:
            self._unpacker = unpacker(headers["content-encoding"])

    def comes(self, piece: bytes) -> None:
        before, self._size = self._size, self._size + len(piece)
        self._pieces.append(piece)
        if before < BUFFERED <= self._size and self.wire is not None:
            self.wire.transport.pause_reading()

    def ends(self) -> None:
        """The last of it has come."""
        if self._size >= BUFFERED and self.wire is not None:
            self.wire.transport.resume_reading()
        self.whole = True
        self.wire = None

    def fails(self, fault: Fault) -> None:
        """The connection is done with; what has come of the body can still be read."""
        self.wire = None
        if self.fault is None and not self.whole:
            self.fault = fault
        self.wake()

    def is_overdue(self, by: float) -> None:
        kind = FaultKind.TOTAL_TIMEOUT if by >= self.total_at else self._gap
        self.fails(Fault(kind, "the body stalled" if self.status else "no answer"))

    def wake(self) -> None:
        if (waiter := self._waiter) is not None and not waiter.done():
            waiter.set_result(None)
