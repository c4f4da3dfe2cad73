"""A connection of `http1`: bytes of one call out, an `Answer` in, read by llhttp.

What does not belong to the answer that was asked for (bytes that nobody has asked for, an answer behind the answer)
is never taken for one: such a connection is closed.
"""

from __future__ import annotations

import asyncio
import math
import os
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from runtime.transport.answer import Answer
from runtime.transport.base import Fault, FaultKind
from runtime.transport.heads import Place

MAX_HEAD_BYTES = 64 * 2**10
_LARGE_BODY_BYTES = 64 * 2**10
"""A body below this is copied behind its head, to leave in one write."""
_MOST_NAMES = 1_000


class Home(Protocol):
    """Whose connection it is."""

    under_way: set[Wire]
    names: dict[bytes, str]

    def keep(self, wire: Wire) -> None:
        """It has served its call."""
        ...

    def forget(self, wire: Wire) -> None:
        """It is gone, or of no use."""
        ...


class Wire(asyncio.Protocol):
    """One connection, with at most one call under way on it."""

    __slots__ = (
        "_bytes_of_head",
        "_headers",
        "_home",
        "_names",
        "_parser",
        "_spent",
        "_timer",
        "alarm_at",
        "answer",
        "calls",
        "heard",
        "idle_since",
        "loop",
        "lost",
        "place",
        "sent_at",
        "transport",
    )

    def __init__(self, home: Home, place: Place, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.place = place
        self.answer: Answer | None = None
        self.calls = 0
        self.heard = False
        """Whether anything has come since the last call was sent."""
        self.lost = False
        self.sent_at = 0.0
        self.idle_since = 0.0
        self.alarm_at = math.inf
        self._home = home
        self._timer: asyncio.TimerHandle | None = None
        self._parser = HttpResponseParser(self)
        self._names = home.names
        self._headers: dict[str, str] = {}
        self._bytes_of_head = 0
        self._spent = False
        """Whether the connection cannot be used for another call."""

    # Calls.

    def send(self, head: bytes, body: bytes, answer: Answer) -> None:
        self.answer = answer
        self.calls += 1
        self.heard = False
        self._bytes_of_head = 0
        self.sent_at = self.loop.time()
        if len(body) < _LARGE_BODY_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))

    def drop(self) -> None:
        """Close it at once; close() would first flush what the peer does not read, and wait for its TLS farewell."""
        answer, self.answer = self.answer, None
        if answer is not None:
            answer.wire = None
            self._home.under_way.discard(self)
        self._silence()
        self.transport.abort()

    def went_stale(self, *, within_s: float) -> bool:
        """Its call died of a kept connection that the server was closing: see the head of this module."""
        return self.lost and self.calls > 1 and not self.heard and self.loop.time() - self.sent_at < within_s

    def set_alarm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(at, self._ring)
        self.alarm_at = at

    def _ring(self) -> None:
        self._timer = None
        self.alarm_at = math.inf
        if (answer := self.answer) is None:
            return
        due = min(answer.due, answer.total_at)
        if self.loop.time() < due:
            self.set_alarm(due)
        else:
            self.drop()
            answer.is_overdue(due)

    def _silence(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fail(self, fault: Fault) -> None:
        answer = self.answer
        self.drop()
        if answer is not None:
            answer.fails(fault)

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        if (answer := self.answer) is None:
            # Nobody has asked.
            self._home.forget(self)
            self.drop()
            return
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not answer.whole:
                self._fail(Fault(FaultKind.PROTOCOL, f"what came is not HTTP ({type(error).__name__})"))
                return
            self._spent = True
        if answer.whole:
            self._release(answer)
        elif not answer.status:
            self._bytes_of_head += len(data)
            if self._bytes_of_head > MAX_HEAD_BYTES:
                self._fail(Fault(FaultKind.PROTOCOL, f"a head of more than {MAX_HEAD_BYTES} bytes"))
            return
        answer.wake()

    def eof_received(self) -> None:
        self._gone(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone(exc)

    def _gone(self, error: Exception | None) -> None:
        self.lost = True
        answer = self.answer
        self._home.forget(self)
        self.drop()
        if answer is None:
            return
        if not answer.status:
            answer.fails(Fault(FaultKind.RESET, words_of(error)))
        elif answer.until_eof and error is None:
            answer.ends()
            answer.wake()
        else:
            answer.fails(Fault(FaultKind.TRUNCATED, "the connection broke"))

    def _release(self, answer: Answer) -> None:
        """The answer is whole."""
        if self._spent or self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.drop()
            return
        self.answer = None
        self._home.under_way.discard(self)
        self._home.keep(self)

    # What the parser tells.

    def on_message_begin(self) -> None:
        if (answer := self.answer) is None or answer.whole:
            self._spent = True
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        key = self._names.get(name)
        if key is None:
            key = name.decode("latin-1").lower()
            if len(self._names) < _MOST_NAMES:
                self._names[name] = key
        said = value.decode("utf-8", "surrogateescape")
        headers = self._headers
        headers[key] = f"{headers[key]}, {said}" if key in headers else said

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and (answer := self.answer) is not None and not answer.whole:
            answer.begins(status, self._headers)

    def on_body(self, piece: bytes) -> None:
        if (answer := self.answer) is not None and not answer.whole:
            answer.comes(piece)

    def on_message_complete(self) -> None:
        # What only announces an answer (100, 103) is none.
        if (answer := self.answer) is not None and answer.status and not answer.whole:
            if not self._parser.should_keep_alive():
                self._spent = True
            answer.ends()


def words_of(error: BaseException | None) -> str:
    """Never the URL, of which some providers make a place for keys."""
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        return os.strerror(error.errno)
    return "the connection was closed" if error is None else type(error).__name__
