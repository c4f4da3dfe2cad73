"""Our own HTTP/1.1 client, where it could differ from older ones: what `test_transports` does not ask of all."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import shutil
import socket
import ssl
import subprocess
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dialects.base import HttpCall, HttpReply
from runtime.transport import connecting
from runtime.transport.answer import BUFFERED
from runtime.transport.base import Fault, FaultKind, Limits
from runtime.transport.connecting import Connecting
from runtime.transport.heads import Place, head_of, place_of
from runtime.transport.http1 import Http1Transport
from runtime.transport.unpacking import Unpacker
from tests.fakes.upstream import Upstream, hang, raw, reply, stream

LIMITS = Limits(connect_s=5.0, first_byte_s=5.0, between_s=5.0, total_s=10.0)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def transport() -> AsyncIterator[Http1Transport]:
    made = Http1Transport()
    yield made
    await made.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as fake:
        yield fake


def get(url: str, **headers: str) -> HttpCall:
    return HttpCall(method="GET", url=url, headers=headers)


async def answered(transport: Http1Transport, url: str) -> HttpReply:
    answer = await transport.send(get(url), LIMITS)
    assert isinstance(answer, HttpReply), answer
    return answer


# What is on the wire.


@pytest.mark.parametrize("first", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"])
async def test_what_only_announces_an_answer_is_none(
    transport: Http1Transport, upstream: Upstream, first: bytes
) -> None:
    upstream.on("/x", raw(first + OK, close=False))
    for _ in range(2):
        answer = await answered(transport, upstream.url + "/x")
        assert (answer.status, answer.body) == (200, b"ok")
        assert "link" not in answer.headers
    assert upstream.connections_ever == 1


@pytest.mark.parametrize("more", [OK, b"x", b"\r\nHTTP/1.1 200"], ids=["an answer", "garbage", "half an answer"])
async def test_bytes_behind_an_answer_are_never_taken_for_the_next(
    transport: Http1Transport, upstream: Upstream, more: bytes
) -> None:
    upstream.on("/evil", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine" + more, close=False))
    upstream.on("/x", reply(b"yours"))
    for _ in range(3):
        assert (await answered(transport, upstream.url + "/evil")).body == b"mine"
        assert (await answered(transport, upstream.url + "/x")).body == b"yours"


async def test_bytes_that_nobody_asked_for_end_a_kept_connection(transport: Http1Transport, upstream: Upstream) -> None:
    tell = asyncio.Event()

    async def behave(exchange: object) -> None:
        await raw(OK, close=False)(exchange)  # type: ignore[arg-type]  # an Exchange
        await tell.wait()
        await raw(OK, close=False)(exchange)  # type: ignore[arg-type]

    upstream.on("/x", behave)
    assert (await answered(transport, upstream.url + "/x")).body == b"ok"
    assert transport.idle == 1
    tell.set()
    await upstream.until(lambda: transport.idle == 0)


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n"])
async def test_connection_that_the_server_will_close_is_not_kept(
    transport: Http1Transport, upstream: Upstream, head: bytes
) -> None:
    upstream.on("/x", raw(head + b"Content-Length: 2\r\n\r\nok", close=False))
    for _ in range(2):
        assert (await answered(transport, upstream.url + "/x")).body == b"ok"
    assert transport.idle == 0
    await upstream.drained()
    assert upstream.connections_ever == 2


async def test_body_without_length_goes_on_to_the_end_of_the_connection(
    transport: Http1Transport, upstream: Upstream
) -> None:
    upstream.on("/x", raw(b"HTTP/1.1 200 OK\r\n\r\nall of it"))
    assert (await answered(transport, upstream.url + "/x")).body == b"all of it"


async def test_headers_that_come_twice_are_joined(transport: Http1Transport, upstream: Upstream) -> None:
    upstream.on("/x", raw(b"HTTP/1.1 200 OK\r\nVia: a\r\nVIA: b\r\nContent-Length: 0\r\n\r\n", close=False))
    assert (await answered(transport, upstream.url + "/x")).headers["via"] == "a, b"


async def test_reader_who_is_slow_slows_the_sender(transport: Http1Transport, upstream: Upstream) -> None:
    whole = bytes(64) * 2**17  # 8 MiB
    upstream.on("/x", reply(whole))
    answer = await transport.open(get(upstream.url + "/x"), LIMITS)
    assert not isinstance(answer, Fault)
    await asyncio.sleep(0.05)
    first = await answer.read()
    assert isinstance(first, bytes)
    assert len(first) < BUFFERED + 2**20
    rest = await answer.read_all()
    assert isinstance(rest, bytes)
    assert len(first) + len(rest) == len(whole)
    await answer.close()


async def test_unused_connection_is_closed_after_a_while(upstream: Upstream) -> None:
    transport = Http1Transport(keep_alive_s=0.02)
    upstream.on("/x", reply())
    await asyncio.gather(*(answered(transport, upstream.url + "/x") for _ in range(3)))
    assert transport.idle == 3
    await upstream.drained()
    assert transport.idle == 0
    await transport.close()


async def test_patience_of_an_earlier_call_does_not_end_a_later_one(
    transport: Http1Transport, upstream: Upstream
) -> None:
    upstream.on("/x", reply())
    upstream.on("/s", stream([b"a"] * 4, interval_s=0.03))
    brief = Limits(connect_s=5.0, first_byte_s=0.05, between_s=0.05, total_s=0.05)
    assert isinstance(await transport.send(get(upstream.url + "/x"), brief), HttpReply)
    assert (await answered(transport, upstream.url + "/s")).body == b"aaaa"
    assert upstream.connections_ever == 1


async def test_nothing_is_left_of_calls_that_ended(transport: Http1Transport, upstream: Upstream) -> None:
    upstream.on("/x", reply())
    upstream.on("/hang", hang())
    await answered(transport, upstream.url + "/x")
    task = asyncio.create_task(transport.send(get(upstream.url + "/hang"), LIMITS))
    await upstream.received(2)
    assert len(transport.under_way) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not transport.under_way
    assert transport.idle == 0


# TLS.


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, made = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    wanted = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    named = ["-keyout", key, "-out", made, "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([openssl, *wanted.split(), *named], check=True, capture_output=True)
    return key, made


async def test_tls_with_a_certificate_that_is_trusted_and_with_others(
    certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, made = certificate

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(OK)

    async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    server = await asyncio.start_server(quiet, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    for trusted, host, kind in (
        ("", "localhost", FaultKind.REFUSED),
        (made, "localhost", None),
        (made, "127.0.0.1", FaultKind.REFUSED),  # not the name in the certificate
    ):
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", trusted)
        connecting.tls.cache_clear()
        transport = Http1Transport()
        for _ in range(2):
            answer = await transport.send(get(f"https://{host}:{port}/x"), LIMITS)
            assert (answer.kind if isinstance(answer, Fault) else None) is kind, answer
        assert transport.idle == (kind is None)
        await transport.close()
    connecting.tls.cache_clear()
    server.close()


# Names.


async def test_a_name_is_asked_once_by_a_burst_and_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    known: list[tuple[object, ...]] = []

    def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        if not known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        made, place = Connecting(), Place("upstream.example", port, tls=False)

        async def connect() -> object:
            return await made.connect(place, asyncio.Protocol, limit_s=5.0, is_total=False)

        assert all(isinstance(one, Fault) for one in await asyncio.gather(*(connect() for _ in range(5))))
        assert len(asked) == 1
        known.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)))
        ended = asyncio.create_task(connect())
        rest = [asyncio.create_task(connect()) for _ in range(4)]
        await asyncio.sleep(0)
        ended.cancel()  # takes the answer from nobody
        assert all(isinstance(one, asyncio.Protocol) for one in await asyncio.gather(*rest))
        assert len(asked) == 2


# Heads.


def test_head_says_what_the_call_does_not() -> None:
    call = HttpCall(method="POST", url="http://h:8080/v1/x y?k=ä", headers={"user-agent": "mine"}, body=b"12")
    assert head_of(call).split(b"\r\n") == [
        b"POST /v1/x%20y?k=%C3%A4 HTTP/1.1",
        b"Host: h:8080",
        b"Accept: */*",
        b"Accept-Encoding: gzip, deflate",
        b"user-agent: mine",
        b"Content-Length: 2",
        b"",
        b"",
    ]


def test_length_and_host_are_not_for_callers_to_say() -> None:
    headers = {"content-length": "99", "Transfer-Encoding": "chunked", "HOST": "other", "x-mine": "1"}
    head = head_of(HttpCall(method="POST", url="http://h/x", headers=headers)).lower()
    assert head.count(b"content-length:") == head.count(b"host:") == head.count(b"x-mine:") == 1
    assert b"content-length: 0\r\n" in head
    assert b"transfer-encoding" not in head
    assert b"other" not in head


def test_places() -> None:
    assert place_of("https://api.example/v1") == ("api.example", 443, True)
    assert place_of("http://[::1]:8000/v1") == ("::1", 8000, False)
    assert b"\r\nHost: [::1]:8000\r\n" in head_of(get("http://[::1]:8000/v1"))
    assert b"\r\nHost: h\r\n" in head_of(get("https://h:443/"))
    assert b"\r\nAuthorization: Basic dTpwQA==\r\n" in head_of(get("http://u:p%40@h/"))


@given(
    st.dictionaries(
        st.text("ab:\r\n \0é", min_size=1, max_size=4), st.text("x \r\n\0:é\ud800", max_size=6), min_size=1, max_size=3
    )
)
def test_no_header_can_become_another_one_or_a_body(headers: dict[str, str]) -> None:
    try:
        head = head_of(HttpCall(method="GET", url="http://h/", headers=headers))
    except ValueError:
        return
    lines = head.split(b"\r\n")
    assert len(lines) == 1 + 4 + len(headers) + 2
    assert b"\n" not in b"".join(lines)


# Unpacking.

SQUEEZED = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "raw deflate": lambda data: zlib.compress(data)[2:-4],
    "two gzip files": lambda data: gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :]),
}


def unpacked(pieces: list[bytes]) -> bytes | None:
    """None where it is not what it says, or not whole."""
    unpack, out = Unpacker(), b""
    for one in pieces:
        piece = one
        while piece:
            more = unpack.feed(piece)
            if more is None:
                return None
            out, piece = out + more, unpack.rest
    return out if unpack.is_whole else None


@pytest.mark.parametrize("how", SQUEEZED)
@given(data=st.binary(max_size=2_000), cuts=st.lists(st.integers(0, 2_000), max_size=5))
def test_any_cut_of_a_compressed_body_is_unpacked_the_same(how: str, data: bytes, cuts: list[int]) -> None:
    squeezed = SQUEEZED[how](data)
    edges = [0, *sorted(min(cut, len(squeezed)) for cut in cuts), len(squeezed)]
    pieces = [squeezed[a:b] for a, b in itertools.pairwise(edges)]
    assert unpacked(pieces) == data
    if how != "two gzip files":
        assert unpacked([squeezed[:-1]]) is None


def test_what_is_unpacked_at_once_is_bounded() -> None:
    unpack = Unpacker()
    bomb = gzip.compress(bytes(64 * 2**20))
    first = unpack.feed(bomb)
    assert first is not None
    assert len(first) <= 256 * 2**10
    assert unpack.rest
