"""A `Transport` without a network, in virtual time: it keeps its limits, and a record of every call."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from runtime.dialects.base import HttpCall, HttpReply
from runtime.transport.base import Fault, FaultKind, HttpStream, Limits, whole_reply
from tests.simulation.weather import NEVER, Play

_ASKER = re.compile(rb"request (\d+)\.")
_MODEL = re.compile(rb'"model":"([^"]*)"')


@dataclass(slots=True, eq=False)
class Call:
    """One call that reached a provider. `asker` is the client's request; `ended` is None while it is under way."""

    number: int
    edge: str
    provider: str
    model: str
    asker: int
    begun: float
    trouble: str
    play: Play
    ended: float | None = None
    how: str = ""
    opened: bool = False
    closes: int = 0

    @property
    def text(self) -> str:
        return self.play.text

    def __str__(self) -> str:
        ended = "never" if self.ended is None else f"{self.ended:.3f}"
        trouble = self.trouble or "well"
        return f"call {self.number} of {self.asker} at {self.provider}/{self.model}: {trouble}, {ended} {self.how}"


class Weather(Protocol):
    """The world, as a transport sees it."""

    def begin(self, edge: str, provider: str, model: str, asker: int, *, streamed: bool, limits: Limits) -> Call:
        """A call begins: how it will go."""
        ...

    def end(self, call: Call, how: str) -> None: ...

    def heard(self, call: Call) -> None:
        """The caller has read what the answer asks it to wait."""
        ...


class SimulatedTransport:
    def __init__(self, world: Weather, edge: str, provider: str) -> None:
        self._world = world
        self._edge = edge
        self._provider = provider

    async def send(self, call: HttpCall, limits: Limits) -> HttpReply | Fault:
        stream = await self._open(call, limits)
        try:
            return await whole_reply(stream)
        finally:
            if isinstance(stream, _Stream):
                stream.end("dropped")

    async def open(self, call: HttpCall, limits: Limits) -> HttpStream | Fault:
        stream = await self._open(call, limits)
        if isinstance(stream, _Stream):
            stream.call.opened = True
        return stream

    async def close(self) -> None:
        """Nothing is kept between calls."""

    async def _open(self, sent: HttpCall, limits: Limits) -> _Stream | Fault:
        asker, model = _ASKER.search(sent.body), _MODEL.search(sent.body)
        assert asker is not None, sent.body
        call = self._world.begin(
            self._edge,
            self._provider,
            model[1].decode() if model else "",
            int(asker[1]),
            streamed=b'"stream":true' in sent.body,
            limits=limits,
        )
        how = "cancelled"
        patience = _Patience(limits)
        try:
            fault = await patience.until(
                call.begun + call.play.head_s, limits.first_byte_s, FaultKind.FIRST_BYTE_TIMEOUT
            )
            fault = fault or call.play.fault
            how = fault.kind if fault else ""
        finally:
            if how:
                self._world.end(call, how)
        return fault or _Stream(self._world, call, patience)


class _Patience:
    """One call's limits. What took its time before it was looked at is there at once."""

    __slots__ = ("_limits", "_loop", "_total_at")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._total_at = self._loop.time() + limits.total_s

    def now(self) -> float:
        return self._loop.time()

    async def until(self, due: float, patience_s: float, kind: FaultKind) -> Fault | None:
        now = self._loop.time()
        limit = now + patience_s
        if limit >= self._total_at:
            limit, kind = self._total_at, FaultKind.TOTAL_TIMEOUT
        wait_s = min(due, limit) - now
        if wait_s > 0.0:
            await asyncio.sleep(wait_s)
        return None if due <= limit else Fault(kind, "simulated")


class _Stream:
    """An `HttpStream`."""

    __slots__ = ("_at", "_came", "_fault", "_patience", "_world", "call", "headers", "status")

    def __init__(self, world: Weather, call: Call, patience: _Patience) -> None:
        self.call = call
        self.status = call.play.status
        self.headers: Mapping[str, str] = call.play.headers
        self._world = world
        self._patience = patience
        self._at = 0
        self._came = patience.now()
        self._fault: Fault | None = None

    async def read(self) -> bytes | Fault:
        if self._fault is not None:
            return self._fault
        pieces = self.call.play.pieces
        if self._at == len(pieces):
            self._world.heard(self.call)
            self.end("whole")
            return b""
        gap_s, piece = pieces[self._at]
        first = self._at == 0
        limits = self._patience._limits
        patience_s = limits.first_byte_s if first else limits.between_s
        due = NEVER if gap_s == NEVER else self._came + gap_s
        fault: Fault | None = Fault(FaultKind.TRUNCATED, "cancelled")
        try:
            fault = await self._patience.until(
                due, patience_s, FaultKind.FIRST_BYTE_TIMEOUT if first else FaultKind.BETWEEN_TIMEOUT
            )
        finally:
            if fault is not None and fault.detail == "cancelled":
                self._fault = fault
                self.end("cancelled")
        if fault is None and isinstance(piece, Fault):
            fault = piece
        if fault is not None:
            self._fault = fault
            self.end(fault.kind)
            return fault
        assert isinstance(piece, bytes)
        self._at += 1
        self._came = due
        return piece + self._rest()

    def _rest(self) -> bytes:
        """What else has come by now."""
        found = []
        for gap_s, piece in self.call.play.pieces[self._at :]:
            if isinstance(piece, Fault) or self._came + gap_s > self._patience.now():
                break
            self._at += 1
            self._came += gap_s
            found.append(piece)
        return b"".join(found)

    async def read_all(self) -> bytes | Fault:
        found: list[bytes] = []
        while piece := await self.read():
            if isinstance(piece, Fault):
                return piece
            found.append(piece)
        return b"".join(found)

    async def close(self) -> None:
        self.call.closes += 1
        if self._fault is None:
            self._fault = Fault(FaultKind.TRUNCATED, "closed")
        self.end("closed")

    def end(self, how: str) -> None:
        if self.call.ended is None:
            self._world.end(self.call, how)
