"""What every transport promises, on real sockets against an upstream that misbehaves on demand.

A new transport joins by a row in `TRANSPORTS`. Where one is excused, `Excuses` says from what.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import httpx
import pytest

from runtime.dialects.base import HttpCall, HttpReply
from runtime.transport import httpx_transport
from runtime.transport.base import Fault, FaultKind, HttpStream, Limits, Transport
from runtime.transport.http1 import Http1Transport
from runtime.transport.httpx_transport import HttpxTransport
from tests.fakes.upstream import (
    GARBAGE,
    HALF_HEAD,
    HEAD,
    HEAD_CHUNKED,
    PART,
    PART_CHUNKED,
    Behaviour,
    BlackHole,
    Exchange,
    OpenAIUpstream,
    Tap,
    Upstream,
    closed_port,
    disconnect,
    drip,
    gzipped,
    hang,
    huge,
    raw,
    reply,
    reset,
    stream,
)

RAYS_LOOP = pytest.mark.asyncio(loop_factories=["uvloop"])
"""The slow tests run on one loop only, the one of Ray's async actors."""

SECRET = "sk-never-in-a-detail"
MIB = 2**20


@dataclass(frozen=True)
class Row:
    """A transport, and what its library does not let it do."""

    make: Callable[..., Transport]
    tells_garbage_from_truncation: bool = True
    tells_half_a_head_from_none: bool = True
    survives_cancelled_connects: bool = True
    rounds: int = 20
    """Of mass cancellation. httpx has shown what it does long before the twentieth, at twice the CPU."""


TRANSPORTS = {
    "http1": Row(Http1Transport),
    "httpx": Row(
        HttpxTransport,
        tells_garbage_from_truncation=False,
        tells_half_a_head_from_none=False,
        survives_cancelled_connects=False,
        rounds=5,
    ),
}


@pytest.fixture(params=TRANSPORTS)
def row(request: pytest.FixtureRequest) -> Row:
    return TRANSPORTS[request.param]


@pytest.fixture
async def transport(row: Row) -> AsyncIterator[Transport]:
    made = row.make()
    yield made
    await made.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as fake:
        yield fake


def limits(
    *, connect_s: float = 5.0, first_byte_s: float = 5.0, between_s: float = 5.0, total_s: float = 10.0
) -> Limits:
    return Limits(connect_s=connect_s, first_byte_s=first_byte_s, between_s=between_s, total_s=total_s)


def post(url: str, body: bytes = b"{}") -> HttpCall:
    headers = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}
    return HttpCall(method="POST", url=f"{url}?key={SECRET}", headers=headers, body=body)


async def send(transport: Transport, url: str, within: Limits | None = None) -> HttpReply | Fault:
    return await transport.send(post(url), within or limits())


async def opened(transport: Transport, url: str, within: Limits | None = None) -> HttpStream:
    answer = await transport.open(post(url), within or limits())
    assert not isinstance(answer, Fault), answer
    return answer


def kind_of(answer: object) -> FaultKind:
    assert isinstance(answer, Fault), answer
    assert SECRET not in answer.detail
    return answer.kind


# Plain exchanges.


async def test_reply_is_whole_and_its_header_names_are_lower_case(transport: Transport, upstream: Upstream) -> None:
    upstream.on("/x", reply(b"hello", status=418, headers={"X-Request-ID": "Abc", "Retry-After": "3"}))
    answer = await send(transport, upstream.url + "/x")
    assert isinstance(answer, HttpReply)
    assert (answer.status, answer.body) == (418, b"hello")
    assert answer.headers["x-request-id"] == "Abc"
    assert answer.headers["retry-after"] == "3"
    assert all(name == name.lower() for name in answer.headers)


async def test_request_arrives_as_it_was_made(transport: Transport, upstream: Upstream) -> None:
    upstream.on("/x", reply())
    body = bytes(range(256)) * 8192  # 2 MiB: more than the system takes in one go
    await transport.send(post(upstream.url + "/x", body), limits())
    await transport.send(HttpCall(method="GET", url=upstream.url + "/x", headers={"X-Mine": "1"}), limits())
    sent, got = upstream.requests
    assert (sent.method, sent.body, sent.query) == ("POST", body, {"key": SECRET})
    assert sent.headers["authorization"] == f"Bearer {SECRET}"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["user-agent"] == "raygate"
    assert (got.method, got.body, got.headers["x-mine"]) == ("GET", b"", "1")


async def test_connection_is_kept(transport: Transport, upstream: Upstream) -> None:
    upstream.on("/x", reply())
    upstream.on("/s", stream([b"a", b"b"]))
    for path in ("/x", "/s", "/x", "/s"):
        await send(transport, upstream.url + path)
    assert upstream.connections_ever == 1


async def test_compressed_body_is_unpacked(transport: Transport, upstream: Upstream) -> None:
    upstream.on("/x", gzipped(b"x" * 10_000))
    answer = await send(transport, upstream.url + "/x")
    assert isinstance(answer, HttpReply)
    assert answer.body == b"x" * 10_000


async def test_empty_body(transport: Transport, upstream: Upstream) -> None:
    upstream.on("/x", raw(b"HTTP/1.1 204 No Content\r\n\r\n", close=False))
    answer = await send(transport, upstream.url + "/x")
    assert isinstance(answer, HttpReply)
    assert (answer.status, answer.body) == (204, b"")


async def test_redirect_is_an_answer_like_any_other(transport: Transport, upstream: Upstream) -> None:
    upstream.on("/x", reply(status=307, headers={"Location": "/other"}))
    answer = await send(transport, upstream.url + "/x")
    assert isinstance(answer, HttpReply)
    assert (answer.status, answer.headers["location"]) == (307, "/other")
    assert len(upstream.requests) == 1


async def test_proxies_of_the_environment_are_not_used(
    row: Row, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    upstream.on("/x", reply())
    transport = row.make()
    assert isinstance(await send(transport, upstream.url + "/x"), HttpReply)
    await transport.close()


async def test_cookies_are_not_kept(transport: Transport, upstream: Upstream) -> None:
    upstream.on("/x", reply(headers={"Set-Cookie": "a=b; Path=/"}))
    for _ in range(2):
        await send(transport, upstream.url + "/x")
    assert all("cookie" not in request.headers for request in upstream.requests)


async def test_many_at_once_each_get_their_own_answer(transport: Transport, upstream: Upstream) -> None:
    async def echo(exchange: Exchange) -> None:
        await stream([exchange.request.body] * 5, interval_s=0.001)(exchange)

    upstream.on("/x", echo)
    bodies = [b"%d," % n for n in range(100)]
    answers = await asyncio.gather(*(transport.send(post(upstream.url + "/x", body), limits()) for body in bodies))
    assert [a.body for a in answers if isinstance(a, HttpReply)] == [body * 5 for body in bodies]


# Streams.


async def test_open_returns_at_the_headers_and_read_as_soon_as_there_are_bytes(
    transport: Transport, upstream: Upstream
) -> None:
    tap = Tap()
    upstream.on("/x", tap)
    answer = await opened(transport, upstream.url + "/x")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    for piece in (b"one", b"two", b"\n" * 40_000, b"3"):
        tap.push(piece)  # only now: nothing later is on its way
        got = b""
        while len(got) < len(piece):
            more = await answer.read()
            assert isinstance(more, bytes)
            got += more
        assert got == piece
    tap.end()
    assert await answer.read() == b""
    assert await answer.read() == b""
    await answer.close()
    await send(transport, upstream.url + "/none")
    assert upstream.connections_ever == 1


async def test_rest_of_a_stream_in_one_go(transport: Transport, upstream: Upstream) -> None:
    tap = Tap()
    upstream.on("/x", tap)
    answer = await opened(transport, upstream.url + "/x")
    tap.push(b"a")
    assert await answer.read() == b"a"
    for piece in (b"b", b"c"):
        tap.push(piece)
    tap.end()
    assert await answer.read_all() == b"bc"
    await answer.close()


async def test_closing_early_drops_the_connection(transport: Transport, upstream: Upstream) -> None:
    tap = Tap()
    upstream.on("/x", tap)
    answer = await opened(transport, upstream.url + "/x")
    tap.push(b"a")
    await answer.read()
    await answer.close()
    await tap.gone.wait()
    await upstream.drained()
    assert kind_of(await answer.read()) is FaultKind.TRUNCATED


async def test_time_in_which_nobody_reads_does_not_count(transport: Transport, upstream: Upstream) -> None:
    all_sent = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x"
            await asyncio.sleep(0.02)
        all_sent.set()

    upstream.on("/x", stream(pieces()))
    answer = await opened(transport, upstream.url + "/x", limits(between_s=0.1))
    assert await answer.read() == b"x"
    await all_sent.wait()
    assert await answer.read_all() == b"x" * 9
    await answer.close()


# Faults. `send` and `open`/`read` must agree about each.

FIRST, BETWEEN, TOTAL = {"first_byte_s": 0.03}, {"between_s": 0.03}, {"total_s": 0.03}
FAULTS: dict[str, tuple[Behaviour, FaultKind, dict[str, float]]] = {
    "closed before headers": (disconnect(), FaultKind.RESET, {}),
    "reset before headers": (reset(), FaultKind.RESET, {}),
    "reset in headers": (reset(HALF_HEAD), FaultKind.RESET, {}),
    "closed in headers": (raw(HALF_HEAD), FaultKind.RESET, {}),
    "reset after headers": (reset(HEAD), FaultKind.TRUNCATED, {}),
    "reset in body": (reset(PART), FaultKind.TRUNCATED, {}),
    "reset in chunked body": (reset(PART_CHUNKED), FaultKind.TRUNCATED, {}),
    "reset in endless body": (reset(b"HTTP/1.1 200 OK\r\n\r\nabc"), FaultKind.TRUNCATED, {}),
    "truncated body": (raw(PART), FaultKind.TRUNCATED, {}),
    "truncated chunked body": (raw(PART_CHUNKED), FaultKind.TRUNCATED, {}),
    "hang before headers": (hang(), FaultKind.FIRST_BYTE_TIMEOUT, FIRST),
    "hang in headers": (hang(HALF_HEAD), FaultKind.FIRST_BYTE_TIMEOUT, FIRST),
    "slow drip of headers": (drip(b"0123456789"), FaultKind.FIRST_BYTE_TIMEOUT, FIRST),
    "hang after headers": (hang(HEAD), FaultKind.FIRST_BYTE_TIMEOUT, FIRST),
    "hang after chunked headers": (hang(HEAD_CHUNKED), FaultKind.FIRST_BYTE_TIMEOUT, FIRST),
    "hang in body": (hang(PART), FaultKind.BETWEEN_TIMEOUT, BETWEEN),
    "hang in chunked body": (hang(PART_CHUNKED), FaultKind.BETWEEN_TIMEOUT, BETWEEN),
    "hang, total first": (hang(), FaultKind.TOTAL_TIMEOUT, TOTAL),
    "hang in body, total first": (hang(PART), FaultKind.TOTAL_TIMEOUT, TOTAL),
    "endless stream": (
        stream([b"x"] * 100, interval_s=0.02),
        FaultKind.TOTAL_TIMEOUT,
        {"total_s": 0.1},
    ),
    "garbage": (raw(GARBAGE), FaultKind.PROTOCOL, {}),
    "garbage, then silence": (raw(GARBAGE, close=False), FaultKind.PROTOCOL, {}),
    "HTTP/2": (raw(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\r\n\r\n", close=False), FaultKind.PROTOCOL, {}),
    "bad length": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n"), FaultKind.PROTOCOL, {}),
    "header without end": (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000), FaultKind.PROTOCOL, {}),
    "not gzip": (reply(b"plain", headers={"Content-Encoding": "gzip"}), FaultKind.PROTOCOL, {}),
}


@pytest.mark.parametrize("case", FAULTS)
async def test_fault(transport: Transport, upstream: Upstream, case: str) -> None:
    behaviour, kind, patience = FAULTS[case]
    upstream.on("/x", behaviour)
    assert kind_of(await send(transport, upstream.url + "/x", limits(**patience))) is kind
    answer = await transport.open(post(upstream.url + "/x"), limits(**patience))
    if not isinstance(answer, Fault):
        last: bytes | Fault = b"x"
        while isinstance(last, bytes) and last:
            last = await answer.read()
        assert await answer.read() == last
        await answer.close()
        answer = last  # type: ignore[assignment]  # a fault, as the next line asserts
    assert kind_of(answer) is kind
    await upstream.until(lambda: upstream.open_connections == 0 or case == "not gzip")
    assert len(upstream.requests) == 2


async def test_garbage_in_the_middle_of_a_stream(row: Row, transport: Transport, upstream: Upstream) -> None:
    tap = Tap()
    upstream.on("/x", tap)
    answer = await opened(transport, upstream.url + "/x")
    tap.push(b"fine")
    assert await answer.read() == b"fine"
    tap.push_raw(b"zzzz\r\nnot a chunk")
    kind = FaultKind.PROTOCOL if row.tells_garbage_from_truncation else FaultKind.TRUNCATED
    assert kind_of(await answer.read()) is kind
    await tap.gone.wait()


@pytest.mark.parametrize("head", [HEAD, HEAD_CHUNKED], ids=["length", "chunked"])
async def test_bytes_that_came_before_a_fault_are_given_out_first(
    transport: Transport, upstream: Upstream, head: bytes
) -> None:
    upstream.on("/x", raw(PART if head == HEAD else PART_CHUNKED))
    answer = await opened(transport, upstream.url + "/x")
    await upstream.drained()  # the end of the connection is here before the first read
    assert await answer.read() == b"0123456789"
    assert kind_of(await answer.read()) is FaultKind.TRUNCATED


async def test_refused(transport: Transport) -> None:
    assert kind_of(await send(transport, f"http://127.0.0.1:{closed_port()}/x")) is FaultKind.REFUSED


async def test_stopped_upstream_refuses(transport: Transport, upstream: Upstream) -> None:
    upstream.on("/x", reply())
    await send(transport, upstream.url + "/x")
    await upstream.stop()
    assert kind_of(await send(transport, upstream.url + "/x")) is FaultKind.REFUSED


async def test_tls_with_one_who_speaks_none_is_refused(transport: Transport, upstream: Upstream) -> None:
    assert kind_of(await send(transport, upstream.url.replace("http", "https") + "/x")) is FaultKind.REFUSED


async def test_unknown_name_is_refused(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    if "uvloop" in type(asyncio.get_running_loop()).__module__:
        # uvloop asks libc itself. A label longer than any name may have never leaves the machine.
        assert kind_of(await send(transport, f"http://{'a' * 64}.invalid/x")) is FaultKind.REFUSED
    else:
        assert kind_of(await send(transport, "http://nobody.invalid/x")) is FaultKind.REFUSED


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://127.0.0.1/x", "http://", "http://127.0.0.1:99999/x"])
async def test_what_cannot_be_sent_is_refused(transport: Transport, url: str) -> None:
    assert kind_of(await send(transport, url)) is FaultKind.REFUSED


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\x00b", SECRET + "\n"])
async def test_header_that_http_cannot_carry_is_refused(transport: Transport, upstream: Upstream, value: str) -> None:
    call = HttpCall(method="POST", url=upstream.url + "/x", headers={"Authorization": value}, body=b"{}")
    assert kind_of(await transport.send(call, limits())) is FaultKind.REFUSED
    assert upstream.requests == []


async def test_connect_timeout(transport: Transport) -> None:
    with BlackHole() as url:
        assert kind_of(await send(transport, url, limits(connect_s=0.1))) is FaultKind.CONNECT_TIMEOUT
        within = limits(total_s=0.1)
        assert kind_of(await send(transport, url, within)) is FaultKind.TOTAL_TIMEOUT


@pytest.mark.parametrize("declared", [True, False])
async def test_too_large(row: Row, upstream: Upstream, *, declared: bool) -> None:
    transport = row.make(max_body_bytes=MIB)
    upstream.on("/x", huge(64 * MIB, declared=declared))
    assert kind_of(await send(transport, upstream.url + "/x")) is FaultKind.TOO_LARGE
    await upstream.drained()
    upstream.on("/x", huge(MIB, declared=declared))
    answer = await send(transport, upstream.url + "/x")
    assert isinstance(answer, HttpReply)
    assert len(answer.body) == MIB
    await transport.close()


async def test_size_is_counted_after_unpacking(row: Row, upstream: Upstream) -> None:
    transport = row.make(max_body_bytes=MIB)
    upstream.on("/x", gzipped(bytes(16 * MIB)))
    assert kind_of(await send(transport, upstream.url + "/x")) is FaultKind.TOO_LARGE
    await transport.close()


# Kept connections that the server closes.


async def test_connection_closed_while_idle_is_no_failure(transport: Transport, upstream: Upstream) -> None:
    upstream.on("/x", reply())
    for rst in (False, True):
        await asyncio.gather(*(send(transport, upstream.url + "/x") for _ in range(5)))
        upstream.close_idle(rst=rst)
        await upstream.drained()
        assert isinstance(await send(transport, upstream.url + "/x"), HttpReply)
    assert len(upstream.requests) == 12


@pytest.mark.parametrize("end", [disconnect(), reset()], ids=["fin", "rst"])
async def test_close_that_crosses_the_request_is_no_failure(
    transport: Transport, upstream: Upstream, end: Behaviour
) -> None:
    upstream.on("/x", reply(b"ok"))
    upstream.once("/x", reply(), end)
    await send(transport, upstream.url + "/x")
    answer = await send(transport, upstream.url + "/x")
    assert isinstance(answer, HttpReply)
    assert [request.connection for request in upstream.requests] == [0, 0, 1]


async def test_call_is_sent_again_only_once(transport: Transport, upstream: Upstream) -> None:
    upstream.on("/x", reset())
    upstream.once("/x", reply())
    await send(transport, upstream.url + "/x")
    assert kind_of(await send(transport, upstream.url + "/x")) is FaultKind.RESET
    assert len(upstream.requests) == 3


@dataclass
class Keeper:
    """Keeps the books of a call."""

    lets: bool = True
    connecting: bool = False
    asked: int = 0

    async def again(self) -> bool:
        self.asked += 1
        return self.lets


@pytest.mark.parametrize("lets", [True, False])
async def test_call_is_sent_again_only_where_its_keeper_lets_it(
    transport: Transport, upstream: Upstream, *, lets: bool
) -> None:
    keeper = Keeper(lets)
    upstream.on("/x", reply())
    upstream.once("/x", reply(), reset())
    await send(transport, upstream.url + "/x")
    answer = await transport.send(replace(post(upstream.url + "/x"), watch=keeper), limits())
    assert isinstance(answer, HttpReply) is lets
    assert (keeper.asked, len(upstream.requests)) == (1, 3 if lets else 2)


async def test_keeper_knows_whether_anything_went_out(transport: Transport, upstream: Upstream) -> None:
    upstream.on("/x", hang())
    sent = Keeper(connecting=True)
    task: asyncio.Task[object] = asyncio.create_task(
        transport.send(replace(post(upstream.url + "/x"), watch=sent), limits())
    )
    await upstream.received(1)
    await cancel(task)
    assert not sent.connecting
    with BlackHole() as url:
        waiting = Keeper()
        task = asyncio.create_task(transport.send(replace(post(url), watch=waiting), limits()))
        await asyncio.sleep(0.05)
        await cancel(task)
    assert waiting.connecting


async def test_get_on_a_fresh_connection_is_not_sent_again(transport: Transport, upstream: Upstream) -> None:
    upstream.on("/x", reset())
    call = HttpCall(method="GET", url=upstream.url + "/x", headers={})
    assert kind_of(await transport.send(call, limits())) is FaultKind.RESET
    assert len(upstream.requests) == 1


async def test_call_on_which_the_upstream_had_worked_is_not_sent_again(row: Row, upstream: Upstream) -> None:
    transport = row.make(stale_within_s=0.0)
    upstream.on("/x", reply())
    upstream.once("/x", reply(), reset())
    await send(transport, upstream.url + "/x")
    assert kind_of(await send(transport, upstream.url + "/x")) is FaultKind.RESET
    assert len(upstream.requests) == 2
    await transport.close()


async def test_call_that_was_being_answered_is_not_sent_again(
    row: Row, transport: Transport, upstream: Upstream
) -> None:
    upstream.on("/x", reply())
    upstream.once("/x", reply(), reset(HALF_HEAD))
    await send(transport, upstream.url + "/x")
    answer = await send(transport, upstream.url + "/x")
    assert isinstance(answer, Fault) is row.tells_half_a_head_from_none
    assert len(upstream.requests) == (2 if row.tells_half_a_head_from_none else 3)


# Cancelling.


async def cancel(task: asyncio.Task[object]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancel_before_the_headers_closes_the_connection(transport: Transport, upstream: Upstream) -> None:
    upstream.on("/x", hang())
    task: asyncio.Task[object] = asyncio.create_task(send(transport, upstream.url + "/x"))
    await upstream.received(1)
    await cancel(task)
    await upstream.drained()


async def test_cancel_mid_stream_closes_the_connection(transport: Transport, upstream: Upstream) -> None:
    tap = Tap()
    upstream.on("/x", tap)
    answer = await opened(transport, upstream.url + "/x")
    tap.push(b"a")
    await answer.read()
    task: asyncio.Task[object] = asyncio.create_task(answer.read())
    await asyncio.sleep(0)
    await cancel(task)
    await tap.gone.wait()  # without close()
    await answer.close()


async def test_cancel_while_connecting(transport: Transport) -> None:
    with BlackHole() as url:
        task: asyncio.Task[object] = asyncio.create_task(send(transport, url))
        await asyncio.sleep(0)
        await cancel(task)


async def test_abandoned_upload_stops_at_once(transport: Transport) -> None:
    """Not after flushing to a peer that does not read."""
    size = 32 * MIB
    loop = asyncio.get_running_loop()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        call = post(f"http://127.0.0.1:{listener.getsockname()[1]}/x", bytes(size))
        assert kind_of(await transport.send(call, limits(first_byte_s=0.1))) is FaultKind.FIRST_BYTE_TIMEOUT
        peer, _ = await loop.sock_accept(listener)
        with peer:
            received = 0
            try:
                while data := await loop.sock_recv(peer, MIB):
                    received += len(data)
            except ConnectionResetError:
                pass
        assert received < size


@RAYS_LOOP
async def test_mass_cancellation_leaves_nothing_open(row: Row, transport: Transport, upstream: Upstream) -> None:
    upstream.on("/hang", hang())
    upstream.on("/stream", hang(PART_CHUNKED))
    upstream.on("/ok", reply(b"ok"))
    for _ in range(row.rounds):
        before = len(upstream.requests)
        paths = ["/hang", "/stream"] * 64
        tasks = [asyncio.create_task(send(transport, upstream.url + path)) for path in paths]
        await upstream.received(before + 128)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await upstream.drained()
    assert isinstance(await send(transport, upstream.url + "/ok"), HttpReply)


@RAYS_LOOP
async def test_mass_cancellation_at_any_moment(row: Row, transport: Transport, upstream: Upstream) -> None:
    """Also while connections are being made. httpx leaks some of those until it is closed, but goes on answering."""
    upstream.on("/hang", hang())
    upstream.on("/ok", reply(b"ok"))
    for turns in range(row.rounds):
        tasks = [asyncio.create_task(send(transport, upstream.url + "/hang")) for _ in range(128)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(await send(transport, upstream.url + "/ok"), HttpReply)
    if row.survives_cancelled_connects:
        await upstream.until(lambda: upstream.open_connections <= 1)
    await transport.close()
    await upstream.drained()


# Closing.


async def test_close_ends_calls_under_way(transport: Transport, upstream: Upstream) -> None:
    tap = Tap()
    upstream.on("/stream", tap)
    upstream.on("/hang", hang())
    waiting = asyncio.create_task(send(transport, upstream.url + "/hang"))
    streaming = await opened(transport, upstream.url + "/stream")
    idle = await opened(transport, upstream.url + "/stream")
    reading = asyncio.create_task(streaming.read())
    await upstream.received(3)
    await transport.close()
    assert kind_of(await waiting) is FaultKind.RESET
    assert kind_of(await reading) is FaultKind.TRUNCATED
    assert kind_of(await idle.read()) is FaultKind.TRUNCATED
    await upstream.drained()
    assert kind_of(await send(transport, upstream.url + "/hang")) is FaultKind.REFUSED
    await transport.close()


async def test_close_ends_calls_that_are_connecting(transport: Transport) -> None:
    with BlackHole() as url:
        connecting = asyncio.create_task(send(transport, url))
        await asyncio.sleep(0)
        await transport.close()
        assert kind_of(await connecting) is FaultKind.RESET


# What one library is about.


@pytest.mark.parametrize("error", [OSError(9, "bad"), TimeoutError(), ConnectionResetError(104, "x"), RuntimeError()])
def test_every_exception_of_the_system_is_known(error: Exception) -> None:
    kind_of(httpx_transport.fault_before_headers(error))
    kind_of(httpx_transport.fault_in_body(error))


HTTPX_EXCEPTIONS = [
    each
    for each in vars(httpx).values()
    if isinstance(each, type) and issubclass(each, Exception) and each.__module__ == "httpx"
]


@pytest.mark.parametrize("cls", HTTPX_EXCEPTIONS)
def test_every_exception_of_httpx_is_known(cls: type[Exception]) -> None:
    error = cls.__new__(cls)
    kind_of(httpx_transport.fault_before_headers(error))
    if not issubclass(cls, httpx.InvalidURL | httpx.CookieConflict):
        kind_of(httpx_transport.fault_in_body(error))


async def test_bugs_are_not_faults() -> None:
    with pytest.raises(ZeroDivisionError):
        httpx_transport.fault_before_headers(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        httpx_transport.fault_in_body(ZeroDivisionError())


async def test_injected_httpx_client_stays_its_owners() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        match request.url.path:
            case "/refused":
                raise httpx.ConnectError("no")
            case "/moved":
                return httpx.Response(302, headers={"Location": "/x"})
            case _:
                return httpx.Response(200, headers={"X-Mine": "1"}, json={"ok": True})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), follow_redirects=True) as client:
        transport = HttpxTransport(client)
        got = await send(transport, "http://mock/x")
        assert isinstance(got, HttpReply)
        assert (got.headers["x-mine"], got.body) == ("1", b'{"ok":true}')
        moved = await send(transport, "http://mock/moved")
        assert isinstance(moved, HttpReply)
        assert moved.status == 302
        assert kind_of(await send(transport, "http://mock/refused")) is FaultKind.REFUSED
        await transport.close()
        assert not client.is_closed
    assert len(seen) == 3


async def test_hanging_mock_times_out() -> None:
    async def answer(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        got = await send(HttpxTransport(client), "http://mock/x", limits(connect_s=0.05, first_byte_s=0.05))
        assert kind_of(got) is FaultKind.FIRST_BYTE_TIMEOUT


# The fake itself, where later tests lean on it.


async def test_openai_fake(transport: Transport) -> None:
    async with OpenAIUpstream() as fake:
        models = await transport.send(HttpCall(method="GET", url=fake.base_url + "/models", headers={}), limits())
        assert isinstance(models, HttpReply)
        assert b'"fake-1"' in models.body
        plain = await transport.send(post(fake.base_url + "/chat/completions", b'{"model": "fake-1"}'), limits())
        assert isinstance(plain, HttpReply)
        assert b"Hello from the fake." in plain.body
        body = b'{"model": "fake-1", "stream": true, "stream_options": {"include_usage": true}}'
        streamed = await transport.send(post(fake.base_url + "/chat/completions", body), limits())
        assert isinstance(streamed, HttpReply)
        assert streamed.body.endswith(b"data: [DONE]\n\n")
        assert streamed.body.count(b"data: ") == len(fake.pieces) + 4
        assert b'"total_tokens": 12' in streamed.body
        fake.once("/v1/chat/completions", reply(status=429))
        scripted = await send(transport, fake.base_url + "/chat/completions")
        assert isinstance(scripted, HttpReply)
        assert scripted.status == 429
        assert fake.chats[1]["stream"] is True


async def test_fake_runs_as_a_process_of_its_own(transport: Transport) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.upstream", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    url = f"http://127.0.0.1:{int(await process.stdout.readline())}"
    ticks = await send(transport, url + "/ok")
    assert isinstance(ticks, HttpReply)
    stats = await send(transport, url + "/_stats")
    assert isinstance(stats, HttpReply)
    assert b'"requests": 2' in stats.body
    process.terminate()
    await process.wait()
