"""The default transport: HTTP/1.1 on asyncio's own connections, with llhttp (`httptools`) to read the answers.

A general client makes a dozen objects for each request, which cost more than the request. This one makes an `Answer`;
the rest belongs to the connection and is used again.

    Http1Transport ──► Wire, kept for its Place (host, port, TLS) ──► Answer: head, pieces, end or fault
                  └──► Connecting: names, addresses, TLS; then a new Wire

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

from runtime.dialects.base import HttpCall, HttpReply
from runtime.transport.answer import Answer
from runtime.transport.base import Fault, FaultKind, HttpStream, Limits, whole_reply
from runtime.transport.connecting import Connecting
from runtime.transport.heads import Place, head_of, place_of
from runtime.transport.wire import Wire

MAX_BODY_BYTES = 64 * 2**20
KEEP_ALIVE_S = 30.0
STALE_WITHIN_S = 1.0
"""Room for the round trip to the far side of the world, with loss."""

_CLOSED = "this transport is closed"


class Http1Transport:
    """`Transport`. Connections are kept for `keep_alive_s` after their last call, by place; the last used goes first.

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
        self._keep_alive_s = keep_alive_s
        self._stale_within_s = stale_within_s
        self._kept: dict[Place, list[Wire]] = {}
        self._connecting = Connecting()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self.under_way: set[Wire] = set()
        self.names: dict[bytes, str] = {}
        """How headers are called, in lower case, by how they were written."""

    @property
    def idle(self) -> int:
        """Connections that wait for a next call."""
        return sum(map(len, self._kept.values()))

    async def send(self, call: HttpCall, limits: Limits) -> HttpReply | Fault:
        """One whole exchange. `first_byte_s` runs to the headers, and again to the first byte of the body."""
        return await whole_reply(await self._open(call, limits))

    async def open(self, call: HttpCall, limits: Limits) -> HttpStream | Fault:
        return await self._open(call, limits)

    async def close(self) -> None:
        """Calls under way end in `RESET` or `TRUNCATED`, later ones in `REFUSED`."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        self._connecting.close()
        for wire in list(self.under_way):
            answer = wire.answer
            wire.drop()
            if answer is not None:
                kind = FaultKind.TRUNCATED if answer.status else FaultKind.RESET
                answer.fails(Fault(kind, "this transport was closed"))
        for wires in self._kept.values():
            for wire in wires:
                wire.drop()
        self._kept.clear()
        await asyncio.sleep(0)  # the loop closes them in its next turn

    async def _open(self, call: HttpCall, limits: Limits) -> Answer | Fault:
        if self._closed:
            return Fault(FaultKind.REFUSED, _CLOSED)
        try:
            place = place_of(call.url)
            head = head_of(call)
        except ValueError as error:
            return Fault(FaultKind.REFUSED, str(error))
        loop = asyncio.get_running_loop()
        total_at = loop.time() + limits.total_s
        kept = self._take(place)
        wire = kept or await self._connect(place, call, limits, total_at)
        while True:
            if isinstance(wire, Fault):
                return wire
            answer = Answer(wire, limits, total_at=total_at, max_body_bytes=self._max_body_bytes)
            if (watch := call.watch) is not None:
                watch.connecting = False
            self.under_way.add(wire)
            wire.send(head, call.body, answer)
            fault = await answer.head()
            if fault is None:
                return answer
            if (
                wire is not kept
                or fault.kind is not FaultKind.RESET
                or not wire.went_stale(within_s=self._stale_within_s)
                or (watch is not None and not await watch.again())
            ):
                return fault
            wire = await self._connect(place, call, limits, total_at)

    async def _connect(self, place: Place, call: HttpCall, limits: Limits, total_at: float) -> Wire | Fault:
        loop = asyncio.get_running_loop()
        if call.watch is not None:
            call.watch.connecting = True
        left_s = total_at - loop.time()
        made = await self._connecting.connect(
            place,
            lambda: Wire(self, place, loop),
            limit_s=min(limits.connect_s, left_s),
            is_total=left_s < limits.connect_s,
        )
        if isinstance(made, Fault):
            return made
        if self._closed:
            made.drop()
            return Fault(FaultKind.RESET, _CLOSED)
        return made

    # The pool.

    def _take(self, place: Place) -> Wire | None:
        wires = self._kept.get(place)
        while wires:
            wire = wires.pop()
            if not wire.transport.is_closing():
                return wire
            wire.drop()
        return None

    def keep(self, wire: Wire) -> None:
        """It has served its call."""
        if self._closed:
            wire.drop()
            return
        wire.idle_since = wire.loop.time()
        wires = self._kept.get(wire.place)
        if wires is None:
            wires = self._kept[wire.place] = []
        wires.append(wire)
        if self._sweep is None:
            self._sweep = wire.loop.call_later(self._keep_alive_s, self._swept, wire.loop)

    def forget(self, wire: Wire) -> None:
        """It is gone, or of no use."""
        if (wires := self._kept.get(wire.place)) is not None and wire in wires:
            wires.remove(wire)

    def _swept(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close those that nobody has used for long; the longest unused stand first."""
        self._sweep = None
        until = loop.time() - self._keep_alive_s
        for place, wires in list(self._kept.items()):
            while wires and wires[0].idle_since <= until:
                wires.pop(0).drop()
            if not wires:
                del self._kept[place]
        oldest = min((wires[0].idle_since for wires in self._kept.values()), default=None)
        if oldest is not None:
            self._sweep = loop.call_at(oldest + self._keep_alive_s, self._swept, loop)
