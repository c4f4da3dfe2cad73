"""The HTTP server's end of one request, by calls where ASGI has messages.

ASGI has the server and us tell each other everything in dictionaries and coroutines, and has it look at each header by
regular expressions. What is usual needs none of it: a body that is here already, an answer in one write, a piece of a
stream, and a word when the client leaves, without a task that waits for it. Everything else goes ASGI's way, on the
same request: what we do here, uvicorn finds as if it had done so itself.

This knows the inside of uvicorn's request (`RequestResponseCycle`, of its parser in C). Where that is not what we know,
`line_of` gives none, and requests go ASGI's way; `tests/serve/test_line.py` holds both ways to the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

_KNOWN = (
    "default_headers",
    "disconnected",
    "flow",
    "keep_alive",
    "message_event",
    "more_body",
    "on_response",
    "response_complete",
    "response_started",
    "transport",
    "waiting_for_100_continue",
)

Headers = list[tuple[bytes, bytes]]


class Line:
    """Of one request. Once either `whole`, or `begin` and then `chunk`; after a client has left they do nothing."""

    __slots__ = ("_cycle", "_event", "_gone")

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        self._event: Any = None
        self._gone: Callable[[], None] | None = None

    def body(self) -> bytes | None:
        """The whole body, once, if all of it has come."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected or cycle.waiting_for_100_continue:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()
        cycle.flow.resume_reading()
        return body

    def watch(self, gone: Callable[[], None]) -> None:
        """`gone` is called once the client has left, if it has already at once."""
        cycle = self._cycle
        self._gone = gone
        if self._event is None:
            # The server sets its event when there is news of the client; from here on it tells us.
            self._event, cycle.message_event = cycle.message_event, self
        if cycle.disconnected:
            gone()

    def unwatch(self) -> None:
        self._gone = None

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """An answer with its head and all of its body, in one write."""
        cycle = self._cycle
        head = self._head(status, [*headers, (b"content-length", b"%d" % len(body))])
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if not cycle.disconnected:
            self._begin(chunked=False)
            cycle.transport.write(head + body)
            self._end()

    async def begin(self, status: int, headers: Headers) -> None:
        """The head of an answer that comes in pieces."""
        cycle = self._cycle
        chunked = status not in (204, 304) and not any(name == b"content-length" for name, _ in headers)
        head = self._head(status, [*headers, (b"transfer-encoding", b"chunked")] if chunked else headers)
        if not cycle.disconnected:
            self._begin(chunked=chunked)
            cycle.transport.write(head)

    async def chunk(self, data: bytes, *, more: bool) -> None:
        cycle = self._cycle
        if cycle.response_complete:
            raise RuntimeError("a piece of an answer that has ended")
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        if cycle.chunked_encoding:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            if not more:
                data += b"0\r\n\r\n"
        if data:
            cycle.transport.write(data)
        if not more:
            self._end()

    def _begin(self, *, chunked: bool) -> None:
        cycle = self._cycle
        if cycle.response_started:
            raise RuntimeError("a second answer to one request")
        cycle.response_started = True
        cycle.chunked_encoding = chunked
        cycle.waiting_for_100_continue = False

    def _head(self, status: int, headers: Headers) -> bytes:
        cycle = self._cycle
        said = b"".join([b"%b: %b\r\n" % header for header in headers])
        if said.count(b"\r") != len(headers) or said.count(b"\n") != len(headers) or b"\0" in said:
            raise RuntimeError("a header of an answer holds what HTTP cannot carry")
        more = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
        close = b"" if cycle.keep_alive else b"connection: close\r\n"
        return b"%b%b%b%b\r\n" % (_statuses()[status], more, said, close)

    def _end(self) -> None:
        cycle = self._cycle
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()

    # What the server takes for its event.

    def set(self) -> None:
        self._event.set()
        if self._gone is not None and self._cycle.disconnected:
            self._gone()

    def clear(self) -> None:
        self._event.clear()

    def is_set(self) -> bool:
        return bool(self._event.is_set())

    async def wait(self) -> bool:
        return bool(await self._event.wait())


@cache
def _kind() -> Any:
    """Uvicorn's half of a request, as its faster parser has it; None where there is none, or not the one we know."""
    try:
        from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    except ImportError:
        return None
    known = all(name in RequestResponseCycle.__init__.__code__.co_names for name in _KNOWN)
    return RequestResponseCycle if known else None


@cache
def _statuses() -> dict[int, bytes]:
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE

    return dict(STATUS_LINE)


def line_of(scope: Any, send: Any) -> Line | None:
    """The server's end of this request, where it is one that we know and an answer has a body."""
    cycle: Any = getattr(send, "__self__", None)
    if cycle is None or type(cycle) is not _kind() or cycle.access_log or scope["method"] == "HEAD":
        return None
    return Line(cycle)


def config_of(send: Any) -> Any:
    """The configuration of the HTTP server (`uvicorn.Config`) that a request came by, where it is one that we know."""
    cycle: Any = getattr(send, "__self__", None)
    return cycle.on_response.__self__.config if cycle is not None and type(cycle) is _kind() else None
