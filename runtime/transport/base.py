"""The only network I/O of Raygate, as a protocol of five methods, and its own taxonomy of faults.

Faults are values: which of them happened decides about retry and failover, so no library's exception leaks out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from runtime.dialects.base import HttpCall, HttpReply
from runtime.values import quick


class FaultKind(StrEnum):
    """What went wrong below HTTP.

    REFUSED: no connection (refused, name not found, TLS). The request did not reach anyone.
    CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, BETWEEN_TIMEOUT, TOTAL_TIMEOUT: the limit that ran out.
    RESET: the connection broke before the answer's headers.
    TRUNCATED: the body ended before its declared end.
    PROTOCOL: what came back is not HTTP.
    TOO_LARGE: the answer is larger than we keep.
    """

    REFUSED = "refused"
    CONNECT_TIMEOUT = "connect_timeout"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    BETWEEN_TIMEOUT = "between_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    RESET = "reset"
    TRUNCATED = "truncated"
    PROTOCOL = "protocol"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class Fault:
    kind: FaultKind
    detail: str = ""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds. `first_byte_s` runs from sending to the answer's headers (and, on a stream, again to its first
    body byte); `between_s` between two pieces of a body; `total_s` over everything.

    `min_tokens_per_s` is no transport's: a stream that gives fewer is given up (`runtime.pace`); 0 asks for none."""

    connect_s: float = 5.0
    first_byte_s: float = 60.0
    between_s: float = 30.0
    total_s: float = 600.0
    min_tokens_per_s: float = 0.0


class HttpStream(Protocol):
    """An answer whose headers have come. Always `close` it; closing early drops the connection."""

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes | Fault:
        """The next bytes, as soon as there are any; b"" at the end of the body; or what went wrong."""
        ...

    async def read_all(self) -> bytes | Fault:
        """The rest of the body."""
        ...

    async def close(self) -> None: ...


class Transport(Protocol):
    """Sends calls. One instance serves one event loop; it keeps connections open between calls.

    Cancelling a call closes its connection at once. Redirects are not followed, proxies of the environment are
    not used, cookies are not kept.
    """

    async def send(self, call: HttpCall, limits: Limits) -> HttpReply | Fault:
        """One whole exchange."""
        ...

    async def open(self, call: HttpCall, limits: Limits) -> HttpStream | Fault:
        """Send, and return once the answer's headers are there."""
        ...

    async def close(self) -> None:
        """Close all connections. Calls under way fail."""
        ...


async def whole_reply(opened: HttpStream | Fault) -> HttpReply | Fault:
    """What `send` answers, of what `open` answered."""
    if isinstance(opened, Fault):
        return opened
    body = await opened.read_all()
    return body if isinstance(body, Fault) else HttpReply(status=opened.status, headers=opened.headers, body=body)


async def read_whole(stream: HttpStream, limit: int) -> bytes | Fault | None:
    """The rest of a body; None where it is longer than `limit` bytes, or says that it will be."""
    declared = stream.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        return None
    pieces: list[bytes] = []
    size = 0
    while piece := await stream.read():
        if isinstance(piece, Fault):
            return piece
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            return None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
