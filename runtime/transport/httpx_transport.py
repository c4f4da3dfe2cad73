"""The second transport, httpx-shaped: for a client that the user already has, and for `httpx.MockTransport`.

Not for load: httpx 0.28 walks its whole pool on every call (encode/httpx#3215), and a call cancelled while connecting
may leave its connection in the pool for good. Our own client sets no bound on its pool, so that such a leak only
holds sockets until `close`; a bounded pool, as an injected client may have, fills up and then answers no more.

Semantics and limits are those of the default, less what httpx does not show:

- A body that ended too early and a body that turned into garbage are one exception. Both are `TRUNCATED` here.
- A kept connection that broke is tried once more, under the rule of `http1`, but half a header cannot be
  told from none, and the second try may meet another kept connection.
- `first_byte_s` starts at sending where the client reports it, as httpx's own connections do. Elsewhere (a
  `MockTransport`) connecting and waiting share `connect_s + first_byte_s`.

An injected client keeps its owner's settings: proxies, cookies, event hooks, pool. Redirects are never followed.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncGenerator, Awaitable, Mapping
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar, cast

import h11
import httpx

from runtime.dialects.base import HttpCall, HttpReply, Watch
from runtime.transport.base import Fault, FaultKind, HttpStream, Limits, read_whole, whole_reply

MAX_BODY_BYTES = 64 * 2**20
KEEP_ALIVE_S = 30.0
STALE_WITHIN_S = 1.0

_DETAIL_CHARS = 200

T = TypeVar("T")


class HttpxTransport:
    """`Transport` on an `httpx.AsyncClient`: the one given, which stays its owner's to close, or one of ours.

    Bodies are decompressed; a body may be at most `max_body_bytes` after that.
    """

    def __init__(
        self,
        client: httpx.AsyncClient | None = None,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        stale_within_s: float = STALE_WITHIN_S,
    ) -> None:
        self._stale_within_s = stale_within_s
        self._owned = client is None
        self._client = client or _new_client()
        self._max_body_bytes = max_body_bytes
        self._under_way: set[_Exchange] = set()
        self._closed = False

    async def send(self, call: HttpCall, limits: Limits) -> HttpReply | Fault:
        """One whole exchange. `first_byte_s` runs to the headers, and again to the first byte of the body."""
        return await whole_reply(await self._open(call, limits))

    async def open(self, call: HttpCall, limits: Limits) -> HttpStream | Fault:
        return await self._open(call, limits)

    async def close(self) -> None:
        """Calls under way end in `RESET` or `TRUNCATED`, later ones in `REFUSED`."""
        self._closed = True
        for exchange in list(self._under_way):
            await exchange.abandon()
        if self._owned:
            await self._client.aclose()

    async def _open(self, call: HttpCall, limits: Limits) -> HttpxStream | Fault:
        if self._closed:
            return Fault(FaultKind.REFUSED, "this transport is closed")
        exchange = _Exchange(limits, self._under_way)
        answer = await exchange.start(self._client, call)
        stale = isinstance(answer, Fault) and exchange.went_stale(answer, within_s=self._stale_within_s)
        if stale and (call.watch is None or await call.watch.again()):
            answer = await exchange.start(self._client, call)
        if isinstance(answer, Fault):
            return answer
        return HttpxStream(exchange, answer, max_body_bytes=self._max_body_bytes)


class HttpxStream:
    """`HttpStream` over an httpx response. One reader at a time. A fault, a cancelled `read` and an early `close`
    drop the connection; a body read to its end gives it back."""

    def __init__(self, exchange: _Exchange, response: httpx.Response, *, max_body_bytes: int) -> None:
        self.status: int = response.status_code
        # httpx joins repeated headers and lowers their names by itself.
        self.headers: Mapping[str, str] = dict(response.headers)
        self._exchange = exchange
        self._max_body_bytes = max_body_bytes
        self._pieces = cast("AsyncGenerator[bytes, None]", response.aiter_bytes())
        self._gap = FaultKind.FIRST_BYTE_TIMEOUT
        self._gap_s = exchange.limits.first_byte_s
        self._fault: Fault | None = None
        self._over = False

    async def read(self) -> bytes | Fault:
        if self._fault is not None:
            return self._fault
        try:
            data = await self._exchange.within(self._gap_s, anext(self._pieces, b""))
        except TimeoutError:
            kind = FaultKind.TOTAL_TIMEOUT if self._exchange.by_total else self._gap
            return await self._fail(Fault(kind, "the body stalled"))
        except Exception as error:
            return await self._fail(fault_in_body(error))
        except BaseException:
            await self._drop()
            raise
        if data:
            self._gap = FaultKind.BETWEEN_TIMEOUT
            self._gap_s = self._exchange.limits.between_s
        else:
            self._over = True
            self._exchange.finish()
        return data

    async def read_all(self) -> bytes | Fault:
        body = await read_whole(self, self._max_body_bytes)
        if body is None:
            return await self._fail(Fault(FaultKind.TOO_LARGE, f"more than {self._max_body_bytes} bytes"))
        return body

    async def close(self) -> None:
        if self._fault is None and not self._over:
            await self._fail(Fault(FaultKind.TRUNCATED, "closed before the end of the body"))

    async def _fail(self, fault: Fault) -> Fault:
        if self._exchange.abandoned:
            fault = Fault(FaultKind.TRUNCATED, "this transport was closed")
        self._fault = fault
        await self._drop()
        return fault

    async def _drop(self) -> None:
        await self._pieces.aclose()
        await self._exchange.drop()


class _Exchange:
    """One call: its response, its patience, and how it ends."""

    def __init__(self, limits: Limits, under_way: set[_Exchange]) -> None:
        self.limits = limits
        self.response: httpx.Response | None = None
        self.abandoned = False
        self.by_total = False
        self._loop = asyncio.get_running_loop()
        self._total_at = self._loop.time() + limits.total_s
        self._sent_at = math.inf
        self._watch: Watch | None = None
        self._fresh = False
        self._tries = 0
        self._scope: asyncio.Timeout | None = None
        self._under_way = under_way

    async def start(self, client: httpx.AsyncClient, call: HttpCall) -> httpx.Response | Fault:
        """Send, and wait for the headers."""
        limits = self.limits
        connect_s = min(limits.connect_s, limits.total_s)
        self._tries += 1
        self._fresh = False
        self._sent_at = math.inf
        self._watch = call.watch
        if self._watch is not None:
            self._watch.connecting = True
        self._under_way.add(self)
        try:
            request = client.build_request(
                call.method,
                call.url,
                headers=call.headers,
                content=call.body or None,
                timeout=httpx.Timeout(None, connect=connect_s, pool=connect_s),
                extensions={"trace": self._trace},
            )
            if (request.url.port or 0) > 65_535:  # uvloop would call what is left of it
                raise httpx.InvalidURL("there are ports up to 65535")  # noqa: TRY301  # told as httpx tells of others
            self.response = await self.within(
                connect_s + limits.first_byte_s, client.send(request, stream=True, follow_redirects=False)
            )
        except Exception as error:
            self.finish()
            return self._fault_at_start(error)
        except BaseException:
            self.finish()
            raise
        return self.response

    async def within(self, patience_s: float, work: Awaitable[T]) -> T:
        """Await this for so long, and never past the total; then `TimeoutError`."""
        async with asyncio.timeout_at(self._no_later_than_total(self._loop.time() + patience_s)) as self._scope:
            return await work

    async def _trace(self, event: str, _: object) -> None:
        match event.partition(".")[2]:
            case "connect_tcp.started" | "connect_unix_socket.started":
                self._fresh = True
            case "send_request_headers.started" if self._scope is not None:
                self._sent_at = self._loop.time()
                if self._watch is not None:
                    self._watch.connecting = False
                self._scope.reschedule(self._no_later_than_total(self._sent_at + self.limits.first_byte_s))

    def went_stale(self, fault: Fault, *, within_s: float) -> bool:
        """The call died of a kept connection that the server was closing: see `http1`."""
        return (
            fault.kind is FaultKind.RESET
            and not self._fresh
            and not self.abandoned
            and self._tries == 1
            and self._loop.time() - self._sent_at < within_s
        )

    def _no_later_than_total(self, due: float) -> float:
        # Noted here, since a timer may fire a shade early: the clock could not tell afterwards which limit it was.
        self.by_total = due >= self._total_at
        return self._total_at if self.by_total else due

    def finish(self) -> None:
        self._under_way.discard(self)

    async def drop(self) -> None:
        self.finish()
        if self.response is not None:
            await self.response.aclose()

    async def abandon(self) -> None:
        """The transport closes: whoever waits here must wake up."""
        self.abandoned = True
        if self._scope is not None and not self._scope.expired():
            try:
                self._scope.reschedule(self._loop.time())
            except RuntimeError:  # nobody waits now; the next read will find the response closed
                await self.drop()

    def _fault_at_start(self, error: Exception) -> Fault:
        if self.abandoned:
            return Fault(FaultKind.RESET, "this transport was closed")
        if isinstance(error, TimeoutError):
            return Fault(FaultKind.TOTAL_TIMEOUT if self.by_total else FaultKind.FIRST_BYTE_TIMEOUT, "no answer")
        fault = fault_before_headers(error)
        if fault.kind is FaultKind.CONNECT_TIMEOUT and self.limits.total_s < self.limits.connect_s:
            return Fault(FaultKind.TOTAL_TIMEOUT, "no connection")
        return fault


def _new_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={"User-Agent": "raygate", "Accept-Encoding": "gzip, deflate"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=False,
        verify=_tls(),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEP_ALIVE_S),
    )


@cache
def _tls() -> ssl.SSLContext:
    """Reading the certificates takes tens of milliseconds: once per process is enough."""
    return httpx.create_ssl_context(trust_env=False)


_BEFORE_HEADERS: tuple[tuple[type[Exception], FaultKind], ...] = (
    (httpx.ConnectTimeout, FaultKind.CONNECT_TIMEOUT),
    (httpx.PoolTimeout, FaultKind.CONNECT_TIMEOUT),
    (httpx.TimeoutException, FaultKind.FIRST_BYTE_TIMEOUT),
    (httpx.ConnectError, FaultKind.REFUSED),
    (httpx.ProxyError, FaultKind.REFUSED),
    # A URL or header that HTTP cannot carry; a client that was closed meanwhile. Nothing was sent.
    (httpx.UnsupportedProtocol, FaultKind.REFUSED),
    (httpx.LocalProtocolError, FaultKind.REFUSED),
    (httpx.InvalidURL, FaultKind.REFUSED),
    (httpx.NetworkError, FaultKind.RESET),
    (httpx.RemoteProtocolError, FaultKind.RESET),
    (httpx.HTTPError, FaultKind.PROTOCOL),
    (httpx.CookieConflict, FaultKind.REFUSED),
    (OSError, FaultKind.RESET),
    (ValueError, FaultKind.REFUSED),
    (OverflowError, FaultKind.REFUSED),
    (TypeError, FaultKind.REFUSED),
    (RuntimeError, FaultKind.REFUSED),
)

_IN_BODY: tuple[tuple[type[Exception], FaultKind], ...] = (
    (httpx.TimeoutException, FaultKind.BETWEEN_TIMEOUT),
    (httpx.DecodingError, FaultKind.PROTOCOL),
    (httpx.HTTPError, FaultKind.TRUNCATED),
    (OSError, FaultKind.TRUNCATED),
    (RuntimeError, FaultKind.TRUNCATED),
)


def fault_before_headers(error: Exception) -> Fault:
    """What an exception of httpx or the system means while no headers have come. Raises what it does not know."""
    # anyio groups what its attempts at connecting raise, if it does not expect it.
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    # httpx has one name for "no answer" and for "not HTTP"; only the parser's own exception underneath tells.
    if isinstance(error, httpx.RemoteProtocolError) and _came_of(error, h11.RemoteProtocolError):
        return Fault(FaultKind.PROTOCOL, _detail(error))
    return _fault(error, _BEFORE_HEADERS)


def fault_in_body(error: Exception) -> Fault:
    """The same, for an exception while a body is read."""
    return _fault(error, _IN_BODY)


def _fault(error: Exception, table: tuple[tuple[type[Exception], FaultKind], ...]) -> Fault:
    for cause, kind in table:
        if isinstance(error, cause):
            return Fault(kind, _detail(error))
    raise error


def _came_of(error: BaseException, cause: type[BaseException]) -> bool:
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, cause):
            return True
        # The pool raises again `from None`, which leaves only the context.
        below = below.__cause__ or below.__context__
    return False


def _detail(error: Exception) -> str:
    """Never the URL or a header: keys may be in both."""
    name = type(error).__name__
    if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError | httpx.DecodingError):
        return f"{name}: {error}"[:_DETAIL_CHARS]
    return name
