"""A transport without a network: it plays a `Script` to the scripted dialect.

Time is the injected `sleep`, and what it was asked to sleep is the only clock: limits run out as they would on a
real connection (a hang ends after `first_byte_s`, a stall after `between_s`), yet a test sleeps nothing. A delay
of 0 does not call `sleep` at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import orjson

from runtime.dialects.base import HttpCall, HttpReply
from runtime.dialects.scripted import wire
from runtime.dialects.scripted.script import (
    ErrorEvent,
    Hang,
    Malformed,
    Refuse,
    Reset,
    Script,
    Stall,
    Status,
    Step,
    Truncate,
)
from runtime.outcome import Usage
from runtime.transport.base import Fault, FaultKind, HttpStream, Limits

Sleep = Callable[[float], Awaitable[None]]

_JSON: Mapping[str, str] = {"content-type": "application/json"}
_LINES: Mapping[str, str] = {"content-type": "application/x-ndjson"}

Piece = bytes | Fault | None
"""What a read gives: bytes, what went wrong, or None where nothing ever comes."""


class _Patience:
    """One call's limits, against the time that was slept for it."""

    __slots__ = ("_limits", "_sleep", "_slept_s")

    def __init__(self, limits: Limits, sleep: Sleep) -> None:
        self._limits = limits
        self._sleep = sleep
        self._slept_s = 0.0

    async def wait(self, delay_s: float | None, kind: FaultKind) -> Fault | None:
        """Let `delay_s` pass (None: for ever), unless the limit that `kind` names or the total runs out before."""
        if delay_s == 0.0:
            return None
        limit_s = self._limits.between_s if kind is FaultKind.BETWEEN_TIMEOUT else self._limits.first_byte_s
        left_s = max(0.0, self._limits.total_s - self._slept_s)
        if left_s < limit_s:
            limit_s, kind = left_s, FaultKind.TOTAL_TIMEOUT
        spent_s = limit_s if delay_s is None else min(delay_s, limit_s)
        if spent_s > 0.0:
            self._slept_s += spent_s
            await self._sleep(spent_s)
        if delay_s is None or delay_s > limit_s:
            return Fault(kind, f"scripted: nothing came for {limit_s:g} s")
        return None


class ScriptedTransport:
    """A `Transport`. Calls under way at the same time take the steps in the order in which they began.

    `calls` counts chats and embeddings, `active` those under way: a stream is, until it is closed. Listing the
    models, which is also the health check, takes no step and always succeeds.
    """

    def __init__(self, script: Script, sleep: Sleep) -> None:
        self.calls = 0
        self.active = 0
        self._script = script
        self._sleep = sleep
        self._closed = False

    async def send(self, call: HttpCall, limits: Limits) -> HttpReply | Fault:
        opened = await self.open(call, limits)
        if isinstance(opened, Fault):
            return opened
        try:
            body = await opened.read_all()
        finally:
            await opened.close()
        if isinstance(body, Fault):
            return body
        return HttpReply(status=opened.status, headers=opened.headers, body=body)

    async def open(self, call: HttpCall, limits: Limits) -> HttpStream | Fault:
        if self._closed:
            return Fault(FaultKind.REFUSED, "the transport is closed")
        if call.method == "GET":
            self.active += 1
            return self._play(200, _JSON, [wire.models()], Step(), patience=_Patience(limits, self._sleep))
        number = self.calls
        self.calls += 1
        step = self._script.step(number)
        patience = _Patience(limits, self._sleep)
        self.active += 1
        opened: HttpStream | Fault | None = None
        try:
            opened = await self._open(call, step, number, patience)
        finally:
            # Also where the caller was cancelled while it waited for the headers.
            if not isinstance(opened, _Playing):
                self.active -= 1
        return opened

    async def close(self) -> None:
        self._closed = True

    async def _open(self, call: HttpCall, step: Step, number: int, patience: _Patience) -> HttpStream | Fault:
        fault = step.fault
        if isinstance(fault, Refuse):
            return Fault(FaultKind.REFUSED, "scripted")
        waited = await patience.wait(None if isinstance(fault, Hang) else step.delay_s, FaultKind.FIRST_BYTE_TIMEOUT)
        if waited is not None:
            return waited
        if self._closed or isinstance(fault, Reset):
            return Fault(FaultKind.RESET, "scripted" if isinstance(fault, Reset) else "the transport was closed")
        if isinstance(fault, Status):
            headers, body = wire.refusal(fault)
            return self._play(fault.status, headers, [body], step, patience=patience)
        streamed, pieces = _pieces(call, step, number)
        return self._play(200, _LINES if streamed else _JSON, pieces, step, patience=patience)

    def _play(
        self, status: int, headers: Mapping[str, str], pieces: list[Piece], step: Step, *, patience: _Patience
    ) -> _Playing:
        return _Playing(self, status=status, headers=headers, pieces=pieces, step=step, patience=patience)

    def released(self) -> None:
        """One call is no longer under way."""
        self.active -= 1

    @property
    def closed(self) -> bool:
        return self._closed


class _Playing:
    """An `HttpStream`: the pieces of one answer, with their delays."""

    __slots__ = ("_at", "_open", "_owner", "_patience", "_pieces", "_step", "headers", "status")

    def __init__(
        self,
        owner: ScriptedTransport,
        *,
        status: int,
        headers: Mapping[str, str],
        pieces: list[Piece],
        step: Step,
        patience: _Patience,
    ) -> None:
        self.status = status
        self.headers = headers
        self._owner = owner
        self._pieces = pieces
        self._step = step
        self._patience = patience
        self._at = 0
        self._open = True

    async def read(self) -> bytes | Fault:
        if not self._open or self._owner.closed:
            return Fault(FaultKind.RESET, "closed")
        at = self._at
        if at == len(self._pieces):
            return b""
        piece = self._pieces[at]
        first = at == 0
        delay_s: float | None = self._step.first_chunk_delay_s if first else self._step.chunk_delay_s
        kind = FaultKind.FIRST_BYTE_TIMEOUT if first else FaultKind.BETWEEN_TIMEOUT
        waited = await self._patience.wait(None if piece is None else delay_s, kind)
        # Only now: a read that was cancelled while it waited has taken nothing.
        self._at = at + 1
        if waited is not None or piece is None:
            return waited or Fault(kind, "scripted")
        return piece

    async def read_all(self) -> bytes | Fault:
        found: list[bytes] = []
        while True:
            piece = await self.read()
            if isinstance(piece, Fault):
                return piece
            if not piece:
                return b"".join(found)
            found.append(piece)

    async def close(self) -> None:
        if self._open:
            self._open = False
            self._owner.released()


def _pieces(call: HttpCall, step: Step, number: int) -> tuple[bool, list[Piece]]:
    """Whether the answer is streamed, and what its reads give."""
    body = orjson.loads(call.body)
    model = body["model"] or wire.MODEL
    call_id = f"scripted-{number}"
    if urlsplit(call.url).path.endswith("/embed"):
        whole = wire.embedding(body["inputs"], dimensions=body.get("dimensions") or wire.DIMENSIONS, model=model)
        return False, _whole(whole, step)
    request = body["request"]
    choices: int = request["choices"]
    usage = wire.usage_of(step, input_words=wire.prompt_words(request), choices=choices)
    if request["stream"]:
        return True, _streamed(step, call_id, model, choices, usage)
    return False, _whole(wire.reply(step, call_id=call_id, model=model, choices=choices, usage=usage), step)


def _streamed(step: Step, call_id: str, model: str, choices: int, usage: Usage) -> list[Piece]:
    pieces: list[Piece] = list(wire.deltas(step, choices=choices))
    match step.fault:
        case Truncate(after):
            pieces[after:] = [Fault(FaultKind.TRUNCATED, "scripted")]
        case Stall(after):
            pieces[after:] = [None]
        case Malformed(after):
            pieces[after:] = [wire.GARBAGE]
        case ErrorEvent(after=after) as error:
            pieces[after:] = [wire.error(error)]
        case _:
            pieces.append(wire.closing(step, choices=choices, usage=usage))
    # The opening has no time of its own: it comes with the first bytes, as on real wires.
    if isinstance(pieces[0], bytes):
        pieces[0] = wire.opening(call_id=call_id, model=model) + pieces[0]
    return pieces


def _whole(body: bytes, step: Step) -> list[Piece]:
    match step.fault:
        case Truncate():
            return [body[: len(body) // 2], Fault(FaultKind.TRUNCATED, "scripted")]
        case Stall():
            return [body[: len(body) // 2], None]
        case Malformed():
            return [wire.GARBAGE]
        case ErrorEvent() as error:
            return [wire.error(error)]
        case _:
            return [body]
