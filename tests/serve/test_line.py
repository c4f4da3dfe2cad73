"""Whoever goes past ASGI must be heard by clients as if he had not: both ways, under the server that Serve runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from serve.http import LINE, ClientGone, Exchange, TooLarge
from serve.line import Line, line_of

App = Callable[[Exchange], Awaitable[None]]

WAYS = pytest.mark.parametrize("direct", [True, False], ids=["line", "asgi"])


@asynccontextmanager
async def served(
    app: App, *, direct: bool, known: bool = True
) -> AsyncIterator[Callable[[bytes], Awaitable[tuple[Any, Any]]]]:
    """A server, and how to send it bytes; what comes back are a reader and a writer."""
    lines: list[Line | None] = []

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if direct:
            scope[LINE] = line_of(scope, send)
            lines.append(scope[LINE])
        await app(Exchange(scope, receive, send))

    config = uvicorn.Config(asgi, port=0, lifespan="off", access_log=False, log_config=None, http="httptools")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.001)
    port = server.servers[0].sockets[0].getsockname()[1]
    writers: list[asyncio.StreamWriter] = []

    async def ask(request: bytes) -> tuple[Any, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        writer.write(request)
        return reader, writer

    try:
        yield ask
    finally:
        for writer in writers:
            writer.close()
        server.should_exit = True
        await serving
    # The test was of what its name says.
    assert all(isinstance(one, Line) is known for one in lines)


def request(body: bytes = b"", *headers: bytes, method: bytes = b"POST") -> bytes:
    length = b"content-length: %d" % len(body)
    return b"\r\n".join([method + b" / HTTP/1.1", b"host: x", length, *headers, b"", body])


def without_date(head: bytes) -> list[bytes]:
    return sorted(line for line in head.lower().split(b"\r\n") if not line.startswith(b"date:"))


async def heard(app: App, sent: bytes, *, direct: bool, again: bool = False) -> tuple[list[bytes], bytes]:
    """The head's lines and the rest, up to the end of the connection."""
    async with served(app, direct=direct) as ask:
        reader, _ = await ask(sent + (request(b"", b"connection: close") if again else b""))
        head = await reader.readuntil(b"\r\n\r\n")
        return without_date(head), await reader.read()


CLOSE = b"connection: close"


async def whole(exchange: Exchange) -> None:
    body = await exchange.body(1_000)
    await exchange.reply(418, b"got " + body, [(b"x-mine", b"1")])


async def pieces(exchange: Exchange) -> None:
    await exchange.start(200, [(b"content-type", b"text/plain")])
    for one in (b"one", b"", b"three"):
        await exchange.write(one)
    await exchange.write(b"", more=False)


async def not_changed(exchange: Exchange) -> None:
    await exchange.start(304, [(b"etag", b"x")])
    await exchange.write(b"", more=False)


async def of_known_length(exchange: Exchange) -> None:
    await exchange.start(200, [(b"content-length", b"5")])
    await exchange.write(b"he")
    await exchange.write(b"llo", more=False)


async def empty(exchange: Exchange) -> None:
    await exchange.reply(200, b"", [])


@pytest.mark.parametrize("app", [whole, pieces, not_changed, of_known_length, empty])
async def test_an_answer_is_the_same_both_ways(app: App) -> None:
    sent = request(b"hello", CLOSE)
    by_line, by_asgi = [await heard(app, sent, direct=direct) for direct in (True, False)]
    assert by_line == by_asgi
    assert CLOSE in by_line[0]


@pytest.mark.parametrize("app", [whole, pieces, not_changed, of_known_length, empty])
async def test_a_connection_goes_on_after_an_answer_both_ways(app: App) -> None:
    sent = request(b"hello")
    by_line, by_asgi = [await heard(app, sent, direct=direct, again=True) for direct in (True, False)]
    assert CLOSE not in by_line[0]
    assert by_line[0] == by_asgi[0]
    assert by_line[1].count(b"HTTP/1.1") == by_asgi[1].count(b"HTTP/1.1") == 1


@WAYS
@pytest.mark.parametrize("size", [0, 10, 70_000, 900_000])
async def test_a_body_that_comes_in_parts_is_whole(direct: bool, size: int) -> None:
    async def app(exchange: Exchange) -> None:
        await exchange.reply(200, b"%d" % len(await exchange.body(10**6)), [])

    async with served(app, direct=direct) as ask:
        sent = request(b"x" * size, CLOSE)
        reader, writer = await ask(sent[:60])
        await asyncio.sleep(0.01)
        writer.write(sent[60:])
        assert (await reader.read()).endswith(b"\r\n\r\n%d" % size)


@WAYS
async def test_a_body_that_is_asked_for_is_sent(direct: bool) -> None:
    async with served(whole, direct=direct) as ask:
        sent = request(b"hello", b"expect: 100-continue", CLOSE)
        reader, writer = await ask(sent.removesuffix(b"hello"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        assert (await reader.read()).endswith(b"got hello")


@WAYS
async def test_a_body_over_the_limit_is_refused(direct: bool) -> None:
    async def app(exchange: Exchange) -> None:
        try:
            await exchange.body(3)
        except TooLarge:
            await exchange.reply(413, b"", [])

    head, _ = await heard(app, request(b"four", CLOSE), direct=direct)
    assert any(line.startswith(b"http/1.1 413") for line in head)


@WAYS
async def test_work_ends_with_the_client_that_wants_it(direct: bool) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()

    async def app(exchange: Exchange) -> None:
        await exchange.body(10)
        try:
            await exchange.unless_gone(work())
        except ClientGone:
            ended.set()

    async with served(app, direct=direct) as ask:
        _, writer = await ask(request(b"hello"))
        await begun.wait()
        assert not ended.is_set()
        writer.close()
        await asyncio.wait_for(ended.wait(), 5)


@WAYS
async def test_a_client_that_left_before_the_work_began_ends_it_too(direct: bool) -> None:
    read, ended, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(exchange: Exchange) -> None:
        await exchange.body(10)
        read.set()
        await left.wait()
        try:
            await exchange.unless_gone(asyncio.Event().wait())
        except ClientGone:
            ended.set()

    async with served(app, direct=direct) as ask:
        _, writer = await ask(request(b"hello"))
        await read.wait()
        writer.transport.abort()
        await asyncio.sleep(0.02)
        left.set()
        await asyncio.wait_for(ended.wait(), 5)


@WAYS
async def test_work_that_has_ended_is_not_cancelled_by_a_client_that_leaves(direct: bool) -> None:
    over, done = asyncio.Event(), asyncio.Event()

    async def app(exchange: Exchange) -> None:
        await exchange.body(10)
        assert await exchange.unless_gone(asyncio.sleep(0, "result")) == "result"
        over.set()
        await asyncio.sleep(0.02)
        await exchange.reply(200, b"to nobody", [])
        done.set()

    async with served(app, direct=direct) as ask:
        _, writer = await ask(request(b"hello"))
        await over.wait()
        writer.transport.abort()
        await asyncio.wait_for(done.wait(), 5)


@WAYS
async def test_a_client_that_does_not_read_holds_the_writer_up(direct: bool) -> None:
    written = 0

    async def app(exchange: Exchange) -> None:
        nonlocal written
        await exchange.start(200, [])
        for _ in range(1_000):
            await exchange.write(b"x" * 100_000)
            written += 1
        await exchange.write(b"", more=False)

    async with served(app, direct=direct) as ask:
        reader, writer = await ask(request())
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)
        assert written < 1_000
        writer.transport.abort()


@pytest.mark.parametrize("value", [b"a\r\nx-evil: 1", b"a\nb", b"a\0b"])
async def test_no_header_can_become_another_one(value: bytes) -> None:
    async def app(exchange: Exchange) -> None:
        with pytest.raises(RuntimeError):
            await exchange.reply(200, b"", [(b"x-said", value)])
        await exchange.reply(500, b"", [])

    head, _ = await heard(app, request(b"", CLOSE), direct=True)
    assert not any(b"evil" in line for line in head)


async def test_a_request_without_a_body_in_its_answer_goes_the_usual_way() -> None:
    assert line_of({"method": "GET"}, print) is None
    async with served(empty, direct=True, known=False) as ask:
        reader, _ = await ask(request(b"", CLOSE, method=b"HEAD"))
        assert (await reader.read()).endswith(b"\r\n\r\n")
