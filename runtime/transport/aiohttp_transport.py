"""The default transport, on aiohttp: the cheapest maintained client in CPU per request and per streamed chunk.

Where the limits run, and what they cost:

| limit        | runs                                             | kept by                                        |
| ------------ | ------------------------------------------------ | ---------------------------------------------- |
| connect_s    | while a new connection is made (name, TCP, TLS)  | aiohttp; free on a kept connection             |
| first_byte_s | from sending to the headers, then to body byte 1 | one `asyncio.timeout`, then the stream's alarm |
| between_s    | while `read` waits                               | the stream's alarm                             |
| total_s      | over everything                                  | whichever of these is set, cut to the total    |

A stream's alarm is one loop timer for its whole life: a read that must wait writes down when its patience ends, and
the timer looks at that only when it fires. A chunk costs a clock reading, not a timer. Time in which nobody reads is
the reader's own and does not count, except towards the total.

Resending. A server may close a kept connection at the very moment in which we send on it. Nobody's request failed
there, so nobody should see it. An idempotent retry would be plain; ours are POSTs. RFC 9110 (9.2.2) leaves such a retry
to clients that know what they send: a completion changes nothing upstream, and at worst it is generated and billed
twice, which failover risks after any `RESET`. So a call is sent once more, on a connection made for it, if and only if

- the connection was a kept one (a fresh connection that breaks is the upstream's doing), and
- not one byte of an answer had arrived, and
- it broke within `STALE_WITHIN_S` of sending. The news of a close that crossed our request takes one round trip;
  a connection that breaks later did so on a request that the upstream was working on, and
- whoever keeps the books of the call lets it (`HttpCall.watch`): it is another attempt, and may be charged as one.
"""

from __future__ import annotations

import asyncio
import io
import math
import os
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError

from runtime.dialects.base import HttpCall, HttpReply, Watch
from runtime.transport.base import Fault, FaultKind, HttpStream, Limits, read_whole, whole_reply

MAX_BODY_BYTES = 64 * 2**20
KEEP_ALIVE_S = 30.0
STALE_WITHIN_S = 1.0
"""Room for the round trip to the far side of the world, with loss."""

_LARGE_BODY_BYTES = 2**20
_DETAIL_CHARS = 200


class _Alarm(Exception):
    """A read has waited too long. This and the next two are set on bodies by us and never leave this module."""


class _Broken(Exception):
    """The connection went away in the middle of a body."""


class _Garbled(Exception):
    """What came in the middle of a body is not HTTP."""


class AiohttpTransport:
    """`Transport` on one aiohttp session, made in the loop of the first call.

    Bodies are decompressed; a body may be at most `max_body_bytes` after that. The pool has no limit of its own:
    admission is decided above, where refusing has a meaning.
    """

    def __init__(
        self,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        keep_alive_s: float = KEEP_ALIVE_S,
        stale_within_s: float = STALE_WITHIN_S,
    ) -> None:
        self._max_body_bytes = max_body_bytes
        self._stale_within_s = stale_within_s
        self._keep_alive_s = keep_alive_s
        self._session: aiohttp.ClientSession | None = None
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
            exchange.abandon()
        if self._session is not None:
            await self._session.close()

    async def _open(self, call: HttpCall, limits: Limits) -> AiohttpStream | Fault:
        if self._closed:
            return Fault(FaultKind.REFUSED, "this transport is closed")
        if self._session is None:
            self._session = self._new_session()
        exchange = _Exchange(limits, self._under_way)
        answer = await exchange.start(self._session, call)
        stale = isinstance(answer, Fault) and exchange.went_stale(answer, within_s=self._stale_within_s)
        if stale and (call.watch is None or await call.watch.again()):
            exchange.fresh_only = True
            answer = await exchange.start(self._session, call)
        if isinstance(answer, Fault):
            return answer
        return AiohttpStream(exchange, answer, max_body_bytes=self._max_body_bytes)

    def _new_session(self) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=_Connector(limit=0, keepalive_timeout=self._keep_alive_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "raygate", "Accept-Encoding": "gzip, deflate"},
            trust_env=False,
        )
        # aiohttp would resend a GET whenever its connection breaks, fresh ones too. One rule is enough: ours.
        session._retry_connection = False
        return session


class AiohttpStream:
    """`HttpStream` over an aiohttp response. One reader at a time.

    The bytes that came before a fault are given out first. A fault, a cancelled `read` and an early `close` drop the
    connection; a body read to its end gives it back.
    """

    def __init__(self, exchange: _Exchange, response: aiohttp.ClientResponse, *, max_body_bytes: int) -> None:
        self.status: int = response.status
        self.headers: Mapping[str, str] = _lower(response)
        self._exchange = exchange
        self._max_body_bytes = max_body_bytes
        self._content = response.content
        self._gap = FaultKind.FIRST_BYTE_TIMEOUT
        self._gap_s = exchange.limits.first_byte_s
        self._fault: Fault | None = None

    async def read(self) -> bytes | Fault:
        content = self._content
        if self._fault is not None:
            return self._fault
        try:
            data = content.read_nowait()
            if not data and not content.at_eof():
                self._exchange.set_alarm(self._gap_s)
                data = await content.readany()
                self._exchange.due = math.inf
        except Exception as error:
            return self._failed(error)
        except BaseException:
            self._exchange.drop()
            raise
        if data:
            self._gap = FaultKind.BETWEEN_TIMEOUT
            self._gap_s = self._exchange.limits.between_s
        else:
            self._exchange.finish()
        return data

    async def read_all(self) -> bytes | Fault:
        body = await read_whole(self, self._max_body_bytes)
        return self._too_large() if body is None else body

    async def close(self) -> None:
        self._exchange.drop()
        if self._fault is None and not self._content.at_eof():
            self._fault = Fault(FaultKind.TRUNCATED, "closed before the end of the body")

    def _too_large(self) -> Fault:
        self._exchange.drop()
        self._fault = Fault(FaultKind.TOO_LARGE, f"more than {self._max_body_bytes} bytes")
        return self._fault

    def _failed(self, error: Exception) -> bytes | Fault:
        """Note the fault; what had arrived before it goes first."""
        self._exchange.drop()
        if isinstance(error, _Alarm):
            kind = FaultKind.TOTAL_TIMEOUT if self._exchange.by_total else self._gap
            self._fault = Fault(kind, "the body stalled")
        else:
            self._fault = fault_in_body(error)
        # aiohttp hides these bytes behind the exception. Often they are a whole answer that lacks only its last chunk.
        return b"".join(self._content._buffer) or self._fault


class _Exchange:
    """One call: its connection, its patience, and how it ends."""

    __slots__ = (
        "_loop",
        "_scope",
        "_timer",
        "_timer_at",
        "_under_way",
        "abandoned",
        "by_total",
        "due",
        "fresh_only",
        "limits",
        "response",
        "sent_at",
        "total_at",
        "watch",
        "wire",
    )

    def __init__(self, limits: Limits, under_way: set[_Exchange]) -> None:
        self.limits = limits
        self.response: aiohttp.ClientResponse | None = None
        self.wire: _Wire | None = None
        self.watch: Watch | None = None
        self.fresh_only = False
        self.abandoned = False
        self._loop = asyncio.get_running_loop()
        self.sent_at = math.inf
        self.total_at = self._loop.time() + limits.total_s
        self.due = math.inf
        self.by_total = False
        self._scope = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._under_way = under_way

    async def start(self, session: aiohttp.ClientSession, call: HttpCall) -> aiohttp.ClientResponse | Fault:
        """Send, and wait for the headers."""
        limits = self.limits
        self.wire = None
        self.watch = call.watch
        if self.watch is not None:
            self.watch.connecting = True
        self._under_way.add(self)
        token = _sending.set(self)
        try:
            async with asyncio.timeout(None) as self._scope:
                self.response = await session.request(
                    call.method,
                    call.url,
                    data=_body(call),
                    headers=call.headers,
                    allow_redirects=False,
                    timeout=_connecting(min(limits.connect_s, limits.total_s)),
                )
        except Exception as error:
            self._under_way.discard(self)
            return self._fault_at_start(error)
        except BaseException:
            self._under_way.discard(self)
            raise
        finally:
            _sending.reset(token)
        return self.response

    def sending(self, wire: _Wire) -> None:
        """The connection is there, the request goes out: from here on `first_byte_s` runs."""
        self.wire = wire
        if self.watch is not None:
            self.watch.connecting = False
        self.sent_at = self._loop.time()
        self._scope.reschedule(self._no_later_than_total(self.sent_at + self.limits.first_byte_s))

    def went_stale(self, fault: Fault, *, within_s: float) -> bool:
        """The call died of a kept connection that the server was closing: see the head of this module."""
        wire = self.wire
        return (
            fault.kind is FaultKind.RESET
            and wire is not None
            and wire.lost
            and wire.calls > 1
            and not wire.heard
            and not self.abandoned
            and self._loop.time() - self.sent_at < within_s
        )

    def _no_later_than_total(self, due: float) -> float:
        # Noted here, since a timer may fire a shade early: the clock could not tell afterwards which limit it was.
        self.by_total = due >= self.total_at
        return self.total_at if self.by_total else due

    def set_alarm(self, patience_s: float) -> None:
        """The read that is about to wait may do so for this long. It puts `due` back to never when it is served."""
        due = self.due = self._no_later_than_total(self._loop.time() + patience_s)
        if due < self._timer_at:
            self._set_timer(due)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._ring)
        self._timer_at = at

    def _ring(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        if self.due == math.inf:  # nobody reads just now
            self.by_total = True
        due = min(self.due, self.total_at)
        if self._loop.time() < due:
            self._set_timer(due)
        elif self.response is not None:
            self.response.content.set_exception(_Alarm())
            self.response.close()

    def finish(self) -> None:
        """The body was read to its end; aiohttp has taken the connection back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._under_way.discard(self)

    def drop(self) -> None:
        """Close the connection, unless the whole answer is here."""
        self.finish()
        if self.response is not None and not self.response.closed:
            self.response.close()

    def abandon(self) -> None:
        """The transport closes: whoever waits here must wake up."""
        self.abandoned = True
        if self.response is None:
            self._scope.reschedule(self._loop.time())
        else:
            self.response.content.set_exception(_Broken("this transport was closed"))
            self.drop()

    def _fault_at_start(self, error: Exception) -> Fault:
        if self.abandoned:
            return Fault(FaultKind.RESET, "this transport was closed")
        if self._scope.expired():
            return Fault(FaultKind.TOTAL_TIMEOUT if self.by_total else FaultKind.FIRST_BYTE_TIMEOUT, "no answer")
        if isinstance(error, aiohttp.ConnectionTimeoutError) and self.limits.total_s < self.limits.connect_s:
            return Fault(FaultKind.TOTAL_TIMEOUT, "no connection")
        return fault_before_headers(error)


class _Wire(ResponseHandler):
    """aiohttp's end of a connection, which also knows what resending and truncation turn on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.calls = 0
        self.heard = False
        self.lost = False

    def set_response_params(self, **params: Any) -> None:
        self.calls += 1
        self.heard = False
        super().set_response_params(**params)
        _sending.get().sending(self)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        super().data_received(data)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        # aiohttp would leave the reader of a body waiting for ever when its chunks turn into garbage.
        if isinstance(exc, HttpProcessingError):
            self._fail_body(_Garbled(exc.message))
        super().set_exception(exc, *cause)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost = True
        # aiohttp takes even a reset for the end of a body that has neither length nor chunks.
        if exc is not None:
            self._fail_body(_Broken("the connection broke"))
        super().connection_lost(exc)

    def close(self) -> None:
        # close() would first flush what the peer does not read, and wait for its TLS farewell.
        self.abort()

    def _fail_body(self, error: Exception) -> None:
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(error)


class _Connector(aiohttp.TCPConnector):
    def __init__(self, *, limit: int, keepalive_timeout: float) -> None:
        super().__init__(limit=limit, keepalive_timeout=keepalive_timeout)
        self._factory = lambda: _Wire(self._loop)  # type: ignore[assignment]  # a partial there, any callable will do

    async def _get(self, key: Any, traces: Any) -> Connection | None:
        if _sending.get().fresh_only:
            return None
        return await super()._get(key, traces)


_sending: ContextVar[_Exchange] = ContextVar("sending")
"""The exchange for which aiohttp, below us on the stack, is at work."""


def _body(call: HttpCall) -> bytes | io.BytesIO | None:
    # aiohttp warns of large bytes, since it would write them in one go; a file it writes in pieces.
    return io.BytesIO(call.body) if len(call.body) >= _LARGE_BODY_BYTES else call.body or None


@lru_cache(maxsize=64)
def _connecting(limit_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=limit_s)


def _lower(response: aiohttp.ClientResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


_BEFORE_HEADERS: tuple[tuple[type[Exception], FaultKind], ...] = (
    (aiohttp.ConnectionTimeoutError, FaultKind.CONNECT_TIMEOUT),
    (aiohttp.ServerTimeoutError, FaultKind.FIRST_BYTE_TIMEOUT),
    (aiohttp.ClientConnectorError, FaultKind.REFUSED),
    (aiohttp.ServerFingerprintMismatch, FaultKind.REFUSED),
    (aiohttp.ClientConnectionError, FaultKind.RESET),
    (aiohttp.InvalidURL, FaultKind.REFUSED),
    (aiohttp.NonHttpUrlClientError, FaultKind.REFUSED),
    (aiohttp.ClientError, FaultKind.PROTOCOL),
    (OSError, FaultKind.RESET),
    # A URL or header that HTTP cannot carry; a session that was closed meanwhile. Nothing was sent.
    (ValueError, FaultKind.REFUSED),
    (RuntimeError, FaultKind.REFUSED),
)

_IN_BODY: tuple[tuple[type[Exception], FaultKind], ...] = (
    (_Garbled, FaultKind.PROTOCOL),
    (_Broken, FaultKind.TRUNCATED),
    (aiohttp.ServerTimeoutError, FaultKind.BETWEEN_TIMEOUT),
    (aiohttp.ClientResponseError, FaultKind.PROTOCOL),
    (aiohttp.ClientError, FaultKind.TRUNCATED),
    (OSError, FaultKind.TRUNCATED),
    (RuntimeError, FaultKind.TRUNCATED),
)


def fault_before_headers(error: Exception) -> Fault:
    """What an exception of aiohttp or the system means while no headers have come. Raises what it does not know."""
    return _fault(error, _BEFORE_HEADERS)


def fault_in_body(error: Exception) -> Fault:
    """The same, for an exception while a body is read."""
    if isinstance(error.__cause__, ContentEncodingError):
        return Fault(FaultKind.PROTOCOL, "the body is not compressed as its headers say")
    return _fault(error, _IN_BODY)


def _fault(error: Exception, table: tuple[tuple[type[Exception], FaultKind], ...]) -> Fault:
    for cause, kind in table:
        if isinstance(error, cause):
            return Fault(kind, _detail(error))
    raise error


def _detail(error: Exception) -> str:
    """Never the URL, of which some providers make a place for keys."""
    match error:
        case aiohttp.ClientConnectorError():
            text = str(error)
        case aiohttp.ClientResponseError():
            text = " ".join(error.message.split())
        case OSError() if error.strerror and error.errno is not None:
            text = os.strerror(error.errno)
        case _Broken() | _Garbled() | aiohttp.ClientPayloadError():
            text = str(error)
        case _:
            text = type(error).__name__
    return text[:_DETAIL_CHARS]
