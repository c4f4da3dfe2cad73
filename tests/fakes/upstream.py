"""An HTTP/1.1 upstream that misbehaves on demand, on real sockets and in raw bytes.

    async with Upstream() as upstream:
        upstream.on("/ok", reply(b"hello"))
        upstream.once("/ok", reset())          # the next request only; then the standing behaviour again
        ... call upstream.url + "/ok" ...
        assert upstream.requests[0].body == b"..."
        await upstream.drained()               # every client has gone

A behaviour is a coroutine function over one `Exchange`: it writes whatever bytes it likes. When it returns, the
connection waits for the next request, unless the behaviour closed it. When the client goes first, `Exchange.gone`
is set and the behaviour is cancelled.

`OpenAIUpstream` adds the routes of an OpenAI-compatible provider. `python -m tests.fakes.upstream --port N` serves
it, and every behaviour of `ROUTES`, as a process of its own (it prints its port when ready; /_stats observes it).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import socket
import struct
import sys
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast
from urllib.parse import parse_qsl, urlsplit

Behaviour = Callable[["Exchange"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Received:
    """One request, as it came. Header names are in lower case. `connection` counts from 0 per upstream."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    connection: int

    def json(self) -> Any:
        return json.loads(self.body)


class Exchange:
    """What a behaviour works with: the request, and the raw connection to answer on."""

    def __init__(self, request: Received, connection: _Connection) -> None:
        self.request = request
        self.gone = connection.gone
        self._connection = connection

    async def send(self, data: bytes) -> None:
        """Write; wait only while the client does not read."""
        await self._connection.writable.wait()
        self._connection.transport.write(data)

    async def head(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        lines = [f"HTTP/1.1 {status} Fake", *(f"{k}: {v}" for k, v in (headers or {}).items())]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    def close(self) -> None:
        """An orderly FIN, after what was written."""
        self._connection.transport.close()

    def reset(self) -> None:
        """A RST, now."""
        _rst(self._connection.transport)


def _rst(transport: asyncio.Transport) -> None:
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class _Connection(asyncio.Protocol):
    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.gone = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.number = -1
        self.task: asyncio.Task[None] | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is none by its class, only by its methods.
        self.transport = cast("asyncio.Transport", transport)
        self.upstream._opened(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._buffer.startswith(b"\x16\x03"):  # a TLS greeting: we do not speak it
            self.transport.close()
        self._next()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        self.writable.set()
        if self.task is not None:
            self.task.cancel()
        self.upstream._closed(self)

    def _next(self) -> None:
        """Start on the next request once it is complete and the one before it is answered."""
        if self.task is not None or (request := self._parse()) is None:
            return
        self.task = asyncio.create_task(self._answer(request))

    def _parse(self) -> Received | None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        url = urlsplit(target)
        return Received(method, url.path, dict(parse_qsl(url.query)), headers, rest[:length], self.number)

    async def _answer(self, request: Received) -> None:
        behaviour = self.upstream._behaviour(request)
        try:
            await behaviour(Exchange(request, self))
        finally:
            self.task = None
            if not self.transport.is_closing():
                self._next()


@dataclass
class Upstream:
    """The server. Counts what it sees; `requests` are in order of arrival."""

    host: str = "127.0.0.1"
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    connections_ever: int = 0
    _standing: dict[str, Behaviour] = field(default_factory=dict)
    _queued: defaultdict[str, deque[Behaviour]] = field(default_factory=lambda: defaultdict(deque))
    _open: set[_Connection] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut everyone off. Then the port refuses."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = [c.task for c in self._open if c.task is not None]
        for connection in list(self._open):
            connection.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.drained()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def on(self, path: str, behaviour: Behaviour) -> None:
        """What requests to this path get from now on."""
        self._standing[path] = behaviour

    def once(self, path: str, *behaviours: Behaviour) -> None:
        """What the next requests to this path get, one each, before the standing behaviour."""
        self._queued[path].extend(behaviours)

    @property
    def open_connections(self) -> int:
        return len(self._open)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; it is looked at whenever a request or connection comes or goes."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def received(self, count: int) -> None:
        """Wait until this many requests have come in all."""
        await self.until(lambda: len(self.requests) >= count)

    async def drained(self) -> None:
        """Wait until no connection is open."""
        await self.until(lambda: not self._open)

    def close_idle(self, *, rst: bool = False) -> None:
        """Close the kept-alive connections on which no request is under way."""
        for connection in [c for c in self._open if c.task is None]:
            if rst:
                _rst(connection.transport)
            else:
                connection.transport.close()

    def _behaviour(self, request: Received) -> Behaviour:
        self.requests.append(request)
        self._changed.set()
        if self._queued[request.path]:
            return self._queued[request.path].popleft()
        return self._standing.get(request.path) or reply(b"no such path", status=404)

    def _opened(self, connection: _Connection) -> None:
        connection.number = self.connections_ever
        self.connections_ever += 1
        self._open.add(connection)
        self._changed.set()

    def _closed(self, connection: _Connection) -> None:
        self._open.discard(connection)
        self._changed.set()


class BlackHole:
    """An address where connecting neither succeeds nor fails: its accept queue is full (Linux drops the SYN)."""

    def __enter__(self) -> str:
        self._sockets = [socket.socket()]
        self._sockets[0].bind(("127.0.0.1", 0))
        self._sockets[0].listen(0)
        address = self._sockets[0].getsockname()
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            self._sockets.append(filler)
        return f"http://127.0.0.1:{address[1]}"

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()


def closed_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# Behaviours. Each returns a function that answers one request.


def reply(
    body: bytes = b"ok", *, status: int = 200, headers: Mapping[str, str] | None = None, delay_s: float = 0.0
) -> Behaviour:
    """A whole answer with Content-Length; the connection is kept."""

    async def behave(exchange: Exchange) -> None:
        if delay_s:
            await asyncio.sleep(delay_s)
        lines = {"Content-Type": "text/plain", **(headers or {}), "Content-Length": str(len(body))}
        text = "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        await exchange.send(f"HTTP/1.1 {status} Fake\r\n{text}\r\n".encode() + body)

    return behave


def gzipped(body: bytes) -> Behaviour:
    return reply(gzip.compress(body), headers={"Content-Encoding": "gzip"})


def frame(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
SSE_HEADERS = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}


def stream(
    chunks: Iterable[bytes] | AsyncIterator[bytes],
    *,
    interval_s: float | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    end: bytes = LAST_CHUNK,
) -> Behaviour:
    """A chunked answer, each chunk written by itself. `interval_s` 0 still lets the loop send each one.

    An iterator may be exhausted only once: give a list where several requests are to come.
    """

    async def behave(exchange: Exchange) -> None:
        await exchange.head(status, {**SSE_HEADERS, **(headers or {})})
        first = True
        async for chunk in _each(chunks):
            if interval_s is not None and not first:
                await asyncio.sleep(interval_s)
            first = False
            await exchange.send(frame(chunk))
        await exchange.send(end)

    return behave


async def _each(chunks: Iterable[bytes] | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if isinstance(chunks, AsyncIterator):
        async for chunk in chunks:
            yield chunk
    else:
        for chunk in chunks:
            yield chunk


class Tap:
    """A chunked stream under the test's hand: what is sent, and how it ends, is what the test says, when it says."""

    def __init__(self, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self._status = status
        self._headers = SSE_HEADERS if headers is None else headers
        self._orders: asyncio.Queue[bytes | Callable[[Exchange], None]] = asyncio.Queue()
        self.gone = asyncio.Event()

    def push(self, data: bytes) -> None:
        self.push_raw(frame(data))

    def push_raw(self, data: bytes) -> None:
        self._orders.put_nowait(data)

    def end(self) -> None:
        self.push_raw(LAST_CHUNK)

    def close(self) -> None:
        self._orders.put_nowait(Exchange.close)

    def reset(self) -> None:
        self._orders.put_nowait(Exchange.reset)

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.head(self._status, self._headers)
        try:
            while True:
                match await self._orders.get():
                    case bytes(data):
                        await exchange.send(data)
                        if data == LAST_CHUNK:
                            return
                    case act:
                        act(exchange)
        finally:
            if exchange.gone.is_set():
                self.gone.set()


def ticks(*, count: int = 100, interval_s: float = 0.01) -> Behaviour:
    """SSE events that carry the moment of sending (`time.monotonic`, which all processes of a host share)."""

    async def each() -> AsyncIterator[bytes]:
        for n in range(count):
            yield b"data: " + json.dumps({"n": n, "sent": time.monotonic()}).encode() + b"\n\n"

    async def behave(exchange: Exchange) -> None:
        await stream(each(), interval_s=interval_s)(exchange)

    return behave


def drip(body: bytes, *, interval_s: float = 0.05) -> Behaviour:
    """The whole answer, head and all, one byte at a time."""

    async def behave(exchange: Exchange) -> None:
        for byte in b"HTTP/1.1 200 Fake\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body):
            await exchange.send(bytes([byte]))
            await asyncio.sleep(interval_s)

    return behave


def huge(size: int, *, declared: bool = True) -> Behaviour:
    """A body of that many zeros, with Content-Length or chunked."""

    async def behave(exchange: Exchange) -> None:
        piece = bytes(65536)
        await exchange.head(200, {"Content-Length": str(size)} if declared else SSE_HEADERS)
        for at in range(0, size, len(piece)):
            data = piece[: size - at]
            await exchange.send(data if declared else frame(data))
        if not declared:
            await exchange.send(LAST_CHUNK)

    return behave


def raw(data: bytes, *, close: bool = True) -> Behaviour:
    """These bytes and nothing else: garbage, half a header, a truncated body."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(data)
        if close:
            exchange.close()

    return behave


def hang(before: bytes = b"") -> Behaviour:
    """Send this much of an answer, then nothing until the client goes."""

    async def behave(exchange: Exchange) -> None:
        if before:
            await exchange.send(before)
        await exchange.gone.wait()

    return behave


def reset(before: bytes = b"", *, settle_s: float = 0.02) -> Behaviour:
    """Send this much of an answer, then RST. The pause lets the client's kernel take those bytes first."""

    async def behave(exchange: Exchange) -> None:
        if before:
            await exchange.send(before)
            await asyncio.sleep(settle_s)
        exchange.reset()

    return behave


def disconnect() -> Behaviour:
    """Close in good order, without a byte of answer."""
    return raw(b"")


GARBAGE = b"\x00\x01SSH-2.0-OpenSSH_9.6\r\n\r\n"
HALF_HEAD = b"HTTP/1.1 200 OK\r\nContent-Ty"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
HEAD_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PART = HEAD + b"0123456789"
PART_CHUNKED = HEAD_CHUNKED + frame(b"0123456789")


# An OpenAI-compatible provider.


@dataclass
class OpenAIUpstream(Upstream):
    """POST /v1/chat/completions (plain and SSE), POST /v1/embeddings and GET /v1/models.

    Streams send `pieces`, `interval_s` apart, then a usage chunk where the request asks for one, then [DONE].
    `once` scripts failures in front of that. `chats` are the bodies of the chat requests so far.
    """

    models: tuple[str, ...] = ("fake-1", "fake-2")
    pieces: tuple[str, ...] = ("Hello", " from", " the", " fake", ".")
    interval_s: float | None = None
    delay_s: float = 0.0
    prompt_tokens: int = 7

    def __post_init__(self) -> None:
        self.on("/v1/chat/completions", self._chat)
        self.on("/v1/embeddings", self._embed)
        self.on("/v1/models", self._list)

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def chats(self) -> list[Any]:
        return [r.json() for r in self.requests if r.path == "/v1/chat/completions"]

    @property
    def usage(self) -> dict[str, int]:
        count = len(self.pieces)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": count,
            "total_tokens": self.prompt_tokens + count,
        }

    async def _list(self, exchange: Exchange) -> None:
        rows = [{"id": name, "object": "model", "created": 0, "owned_by": "fake"} for name in self.models]
        await _json({"object": "list", "data": rows})(exchange)

    async def _embed(self, exchange: Exchange) -> None:
        body = exchange.request.json()
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        rows = [{"object": "embedding", "index": i, "embedding": [float(len(t)), 1.0]} for i, t in enumerate(texts)]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        await _json({"object": "list", "data": rows, "model": body["model"], "usage": usage})(exchange)

    async def _chat(self, exchange: Exchange) -> None:
        body = exchange.request.json()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if body.get("stream"):
            events = self._events(body)
            await stream(events, interval_s=self.interval_s)(exchange)
            return
        message = {"role": "assistant", "content": "".join(self.pieces)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {"id": "chatcmpl-fake", "object": "chat.completion", "created": 0, "model": body.get("model", "")}
        await _json({**answer, "choices": [choice], "usage": self.usage})(exchange)

    def _events(self, body: Mapping[str, Any]) -> list[bytes]:
        base = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 0, "model": body.get("model", "")}

        def event(delta: dict[str, str], finish: str | None = None) -> dict[str, object]:
            return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

        events: list[dict[str, object]] = [event({"role": "assistant", "content": ""})]
        events += [event({"content": piece}) for piece in self.pieces]
        events.append(event({}, "stop"))
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append({**base, "choices": [], "usage": self.usage})
        return [*(b"data: " + json.dumps(e).encode() + b"\n\n" for e in events), b"data: [DONE]\n\n"]


def _json(value: object) -> Behaviour:
    return reply(json.dumps(value).encode(), headers={"Content-Type": "application/json"})


def _streamed(exchange: Exchange) -> Awaitable[None]:
    """/stream?n=100&size=64&interval=0.01"""
    query = exchange.request.query
    chunk = b"data: " + b"x" * (int(query.get("size", "64")) - 8) + b"\n\n"
    interval = float(query["interval"]) if "interval" in query else None
    return stream([chunk] * int(query.get("n", "100")), interval_s=interval)(exchange)


ROUTES: dict[str, Behaviour] = {
    "/ok": reply(b"x" * 1024),
    "/slow": reply(delay_s=0.1),
    "/stream": _streamed,
    "/ticks": ticks(),
    "/gzip": gzipped(b"x" * 4096),
    "/drip": drip(b"0123456789"),
    "/huge": huge(128 * 2**20),
    "/garbage": raw(GARBAGE),
    "/disconnect": disconnect(),
    "/reset": reset(),
    "/reset-in-head": reset(HALF_HEAD),
    "/reset-in-body": reset(PART_CHUNKED),
    "/hang": hang(),
    "/hang-after-head": hang(HEAD_CHUNKED),
    "/hang-in-body": hang(PART_CHUNKED),
    "/truncated": raw(PART),
    "/truncated-chunked": raw(PART_CHUNKED),
    "/429": reply(b'{"error": {"message": "slow down"}}', status=429, headers={"Retry-After": "3"}),
    "/500": reply(b'{"error": {"message": "broken"}}', status=500),
}


async def serve(port: int, *, pieces: int, interval_s: float | None) -> None:
    words = tuple(f"word{index} " for index in range(pieces)) or OpenAIUpstream.pieces
    async with OpenAIUpstream(port=port, pieces=words, interval_s=interval_s) as upstream:
        for path, behaviour in ROUTES.items():
            upstream.on(path, behaviour)

        async def stats(exchange: Exchange) -> None:
            counts = {
                "requests": len(upstream.requests),
                "open_connections": upstream.open_connections,
                "connections_ever": upstream.connections_ever,
            }
            await _json(counts)(exchange)

        upstream.on("/_stats", stats)
        sys.stdout.write(f"{upstream.port}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="The fake upstream as a process of its own.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--pieces", type=int, default=0, help="how many chunks a chat stream has")
    parser.add_argument("--interval", type=float, default=None, help="seconds between them")
    said = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(said.port, pieces=said.pieces, interval_s=said.interval))


if __name__ == "__main__":
    main()
