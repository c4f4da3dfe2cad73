"""One HTTP exchange over raw ASGI: read the body in bounds, answer once, notice that the client has gone.

Starlette's request and response objects cost more than the whole of our own work on the hot path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import orjson

from runtime.dialects.openai_surface import OpenAISurface
from runtime.dialects.surface import Surface
from runtime.outcome import Embeddings, Outcome
from runtime.request import EmbedRequest, Request
from runtime.tracing import Trace
from serve.line import Line

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

DRAIN_FACTOR = 8
"""A body over the limit is read on (and thrown away) up to this many times the limit: most clients look for an
answer only once they have sent everything."""

JSON = (b"content-type", b"application/json")

LINE = "raygate.line"
"""Where a scope has the server's end of its request, if it has."""

OPENAI = OpenAISurface()

T = TypeVar("T")


class ClientGone(Exception):  # an event, not an error
    """The client closed its connection."""


class TooLarge(Exception):  # see above
    """The body is larger than allowed."""


class Exchange:
    """One request and its answer. `surface` is the API that was asked: it words our errors.

    Serve puts `x-request-id` on every answer, unless we are `alone`; Anthropic's clients look for `request-id`.
    """

    __slots__ = (
        "_line",
        "_receive",
        "_send",
        "alone",
        "came_at",
        "headers",
        "method",
        "model",
        "more_headers",
        "operation",
        "outcome",
        "path",
        "peer",
        "query_string",
        "request_id",
        "started",
        "surface",
        "traced",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        # Serve mounts applications under a prefix; what comes after it is ours.
        self.path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        self.query_string: bytes = scope.get("query_string", b"")
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.peer: str = (scope.get("client") or ("",))[0]
        """The address of whoever holds the other end of the connection, which may be a proxy of ours."""
        self.more_headers: Callable[[], Headers] | None = None
        """What else the answer's head is to say, as things stand when it begins."""
        self.request_id = ""
        self.alone = False
        self.came_at: float | None = None
        """When a request came that is counted; None for all others."""
        self.operation = ""
        self.model = ""
        self.outcome: Outcome | Embeddings | None = None
        """What it came to, as far as that is known."""
        self.traced: tuple[Trace, str, Request | EmbedRequest] | None = None
        """Where it is in a trace, below which span, and what was asked."""
        self.started = False
        self.surface: Surface = OPENAI
        self._receive = receive
        self._send = send
        self._line: Line | None = scope.get(LINE)

    def header(self, name: bytes) -> str:
        """A header's value, "" where it is missing."""
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def query(self) -> dict[str, str]:
        """What the address says after its question mark; of a name that comes twice, the last."""
        return dict(parse_qsl(self.query_string.decode("latin-1")))

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises `TooLarge`, once the client is ready to hear it, and `ClientGone`."""
        if self._line is not None and (whole := self._line.body()) is not None:
            if len(whole) > limit:
                raise TooLarge
            return whole
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part: bytes = message.get("body", b"")
            size += len(part)
            if size <= limit:
                parts.append(part)
            elif size > limit * DRAIN_FACTOR:
                raise TooLarge
            if not message.get("more_body", False):
                break
        if size > limit:
            raise TooLarge
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def unless_gone(self, work: Awaitable[T]) -> T:
        """The work's result. Raises `ClientGone`, and cancels the work, if the client leaves first.

        The work is done here and not in a task of its own, which would cost as much as a tenth of a request. So whoever
        watches the client cancels this task, and what the work does about that is over before anybody hears of it.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # whoever awaits runs in one
        before, gone, over = task.cancelling(), False, False

        def leave() -> None:
            nonlocal gone
            if not over and not gone:
                gone = True
                task.cancel()

        stop = self._watch(leave)
        try:
            return await work
        except asyncio.CancelledError:
            if gone and task.cancelling() == before + 1:
                raise ClientGone from None
            raise
        finally:
            over = True
            stop()
            if gone:
                task.uncancel()

    def _watch(self, leave: Callable[[], None]) -> Callable[[], object]:
        """`leave` is called once the client has left, until what is returned is called."""
        if (line := self._line) is not None:
            line.watch(leave)
            return line.unwatch
        watch = asyncio.ensure_future(self._gone())
        watch.add_done_callback(lambda watch: None if watch.cancelled() else leave())
        return watch.cancel

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _head(self, headers: Headers) -> Headers:
        self.started = True
        if self.request_id:
            named = self.request_id.encode("latin-1", "replace")
            headers = [*headers, (b"request-id", named), *([(b"x-request-id", named)] if self.alone else ())]
        if self.more_headers is not None:
            headers = [*headers, *self.more_headers()]
        return headers

    async def start(self, status: int, headers: Headers) -> None:
        """The head of an answer that comes in pieces."""
        headers = self._head(headers)
        if self._line is not None:
            await self._line.begin(status, headers)
        else:
            await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        if self._line is not None:
            await self._line.chunk(data, more=more)
        else:
            await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def reply(self, status: int, body: bytes, headers: Headers) -> None:
        """A whole answer."""
        if self._line is not None:
            await self._line.whole(status, self._head(headers), body)
            return
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.write(body, more=False)

    async def reply_json(self, status: int, body: object, headers: Headers | None = None) -> None:
        await self.reply(status, orjson.dumps(body), [JSON, *(headers or [])])


def encoded(headers: Mapping[str, str]) -> Headers:
    """Headers as ASGI wants them."""
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
