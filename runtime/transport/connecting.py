"""New connections: a name becomes addresses, the first of them that answers becomes a socket, with TLS where asked.

Addresses are tried a quarter of a second apart, IPv6 and IPv4 by turns (RFC 8305). What a name stands for is remembered
for `NAMES_S`, and asked once by all who want it at the same moment: a burst of new connections asks no burst of names.

A machine that loses its power, or its network, closes no connection; after `UNHEARD_S` without a sign of it the system
does. A server that only takes its time gives that sign all along: its own system answers for it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import cache
from ipaddress import ip_address
from typing import Any, TypeVar

from aiohappyeyeballs import start_connection

from runtime.transport.base import Fault, FaultKind
from runtime.transport.heads import Place

NAMES_S = 10.0
UNHEARD_S = 10
_SILENCE = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 4),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 3),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 2),
    # What was sent and is not acknowledged; in milliseconds.
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", UNHEARD_S * 1_000),
)
_SILENCE_OPTIONS = tuple((of, getattr(socket, name), value) for of, name, value in _SILENCE if hasattr(socket, name))
_NEXT_ADDRESS_S = 0.25
_MOST_NAMES = 256

_Address = tuple[int, int, int, str, Any]
P_ = TypeVar("P_", bound=asyncio.Protocol)


@cache
def tls() -> ssl.SSLContext:
    """The system's certificates, or those of SSL_CERT_FILE. Made once: reading them takes tens of milliseconds."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connecting:
    """Makes connections, until it is closed. Belongs to one event loop."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, int], tuple[asyncio.Future[list[_Address]], float]] = {}
        self._under_way: set[asyncio.Timeout] = set()
        self._closed = False

    async def connect(self, place: Place, protocol: Callable[[], P_], *, limit_s: float, is_total: bool) -> P_ | Fault:
        """A connection, or why there is none. `is_total`: the limit is that of the whole call."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit_s) as patience:
                self._under_way.add(patience)
                sock = await start_connection(
                    await self._addresses(place, loop), happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1, loop=loop
                )
                try:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for of, option, value in _SILENCE_OPTIONS:
                        sock.setsockopt(of, option, value)
                    context, name = (tls(), place.host.rstrip(".")) if place.tls else (None, None)
                    made = await loop.create_connection(protocol, sock=sock, ssl=context, server_hostname=name)
                except BaseException:
                    sock.close()
                    raise
                return made[1]
        except TimeoutError:
            if self._closed:
                return Fault(FaultKind.RESET, "this transport was closed")
            if not patience.expired():
                return Fault(FaultKind.REFUSED, "the connection timed out")
            return Fault(FaultKind.TOTAL_TIMEOUT if is_total else FaultKind.CONNECT_TIMEOUT, "no connection")
        except (OSError, ValueError, RuntimeError) as error:
            return Fault(FaultKind.REFUSED, _words(error))
        finally:
            self._under_way.discard(patience)

    def close(self) -> None:
        """Connections that are being made are given up."""
        self._closed = True
        now = asyncio.get_running_loop().time()
        for patience in self._under_way:
            patience.reschedule(now)

    async def _addresses(self, place: Place, loop: asyncio.AbstractEventLoop) -> list[_Address]:
        at = (place.host, place.port)
        if (known := _literal(*at)) is not None:
            return [known]
        asked = self._names.get(at)
        if asked is None or asked[1] < loop.time() or (asked[0].done() and asked[0].exception() is not None):
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            looked_up = asyncio.ensure_future(_look_up(loop, *at))
            # Whoever asked may have gone by the time at which it fails.
            looked_up.add_done_callback(lambda done: done.cancelled() or done.exception())
            asked = self._names[at] = looked_up, loop.time() + NAMES_S
        # One who leaves takes no answer from the others.
        return await asyncio.shield(asked[0])


async def _look_up(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[_Address]:
    return list(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP))


def _literal(host: str, port: int) -> _Address | None:
    """The address, where the host is one already."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if address.version == 6:
        return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))


def _words(error: Exception) -> str:
    """Without the address, of which some providers make a place for keys."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"TLS: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS: {error.reason or 'handshake failed'}"
        case OSError() if error.strerror:
            return error.strerror
        case _:
            return type(error).__name__
