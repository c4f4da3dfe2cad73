"""An upstream that speaks a dialect and breaks it as it is told, at any byte, over real sockets.

    async with ChaosUpstream(wire=WIRES["anthropic"]) as upstream:
        upstream.schedule += [Status(529), Reset(Phase.CONTENT)]     # one request each; healthy after that
        upstream.standing = Hang(Phase.HEAD)                         # or: all that are not scheduled
        upstream.by_model["ill"] = Empty()                           # or: requests for this model
        ...
        assert upstream.calls[1].at - upstream.calls[0].at >= 1.0

What is below bytes (accepting, reading requests, writing) is `tests.fakes.upstream`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import assert_never

from tests.chaos.faults import (
    Cut,
    Drip,
    Empty,
    Error,
    Fault,
    Garbled,
    Hang,
    Large,
    Mislabelled,
    Page,
    Phase,
    Pretend,
    Refuse,
    Reset,
    Status,
    Whole,
)
from tests.chaos.wires import LARGE, WORD, Wire
from tests.fakes.upstream import (
    LAST_CHUNK,
    Behaviour,
    Exchange,
    Received,
    Upstream,
    _Connection,
    _rst,
    frame,
    raw,
    reply,
)

SHOWN_S = 0.5
"""How long a fault after the first content waits for somebody to have seen that. What the reader's kernel holds when a
RST comes is lost, and the fault would strike before the content."""

LIFE_EVERY_S = 0.03


@dataclass(slots=True)
class Call:
    """One request, or one connection that broke before it could be one. Moments are of `time.monotonic`."""

    at: float
    fault: Fault | None
    request: Received | None = None
    ended_at: float | None = None
    client_left: bool = False


@dataclass
class ChaosUpstream(Upstream):
    """`calls` are in order of arrival."""

    wire: Wire = field(kw_only=True)
    schedule: deque[Fault | None] = field(default_factory=deque)
    standing: Fault | None = None
    by_model: dict[str, Fault] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    pace_s: float = 0.0
    shown: asyncio.Event = field(default_factory=asyncio.Event)
    shown_s: float = SHOWN_S

    @property
    def base_url(self) -> str:
        return self.url + self.wire.path

    @property
    def times(self) -> list[float]:
        return [call.at for call in self.calls]

    def _opened(self, connection: _Connection) -> None:
        super()._opened(connection)
        fault = self.schedule[0] if self.schedule else self.standing
        if not isinstance(fault, Reset | Hang) or fault.phase is not Phase.ACCEPT:
            return
        if self.schedule:
            self.schedule.popleft()
        self.calls.append(Call(time.monotonic(), fault))
        if isinstance(fault, Reset):
            _rst(connection.transport)
        else:
            # It is busy for ever, and never looks at the request; but it sees the client go.
            connection.task = asyncio.create_task(_idle(connection))

    def _behaviour(self, request: Received) -> Behaviour:
        self.requests.append(request)
        fault = self._fault_for(request)
        call = Call(time.monotonic(), fault, request)
        self.calls.append(call)
        self._changed.set()
        behave = self.act(fault, streamed=wants_stream(request))

        async def noted(exchange: Exchange) -> None:
            try:
                await behave(exchange)
            except asyncio.CancelledError:
                call.client_left = True
                raise
            finally:
                call.client_left |= exchange.gone.is_set()
                call.ended_at = time.monotonic()

        return noted

    def _fault_for(self, request: Received) -> Fault | None:
        if self.schedule:
            return self.schedule.popleft()
        return self.by_model.get(model_of(request), self.standing)

    # How each fault looks.

    def act(self, fault: Fault | None, *, streamed: bool) -> Behaviour:  # noqa: PLR0912  # a branch a fault
        wire = self.wire
        plain = _typed(wire.reply, "application/json")
        match fault:
            case None:
                return self._paced() if streamed else plain
            case Reset(phase):
                return self._then(phase, streamed, Exchange.reset)
            case Hang(phase):
                return self._then(phase, streamed, None)
            case Status(status, wait):
                headers, fields = wire.waits(wait, status)
                body = wire.error(status, f"The fake answers {status}.")
                if fields:
                    body["error"] |= fields
                return reply(
                    json.dumps(body).encode(), status=status, headers={**headers, "Content-Type": "application/json"}
                )
            case Garbled(phase) if streamed:
                garbage = b"data: {nothing: that is JSON\n\n" if wire.content_type == "text/event-stream" else b"{no\n"
                return self._whole_http(self._events(phase), garbage)
            case Garbled():
                return _typed(b'{"nothing": that is JSON', "application/json")
            case Cut(phase, chunked=True):
                return self._whole_http(self._said(phase, streamed=streamed), b"", streamed=streamed)
            case Cut(phase):
                said = self._said(phase, streamed=streamed)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: {self._type(streamed)}\r\nContent-Length: {len(said) + 100}"
                return raw(head.encode() + b"\r\n\r\n" + said)
            case Drip(phase, interval_s):
                return self._drip(phase, interval_s, streamed)
            case Pretend(phase, life):
                sign = wire.life[life] if streamed else b" "
                return self._pretend(phase, sign, streamed)
            case Error(phase) if streamed:
                return self._whole_http(self._events(phase), wire.error_event)
            case Error():
                return _typed(json.dumps(wire.error(500, "The fake broke.")).encode(), "application/json")
            case Page():
                page = b"<!DOCTYPE html>\n<html>\n<body>\n<h1>Welcome</h1>\n</body>\n</html>\n"
                return _typed(page, "text/html; charset=utf-8")
            case Mislabelled(content_type):
                return _typed(wire.stream if streamed else wire.reply, content_type)
            case Large():
                said = wire.stream if streamed else wire.reply
                return _typed(said.replace(WORD.encode(), LARGE.encode()), self._type(streamed))
            case Whole(content_type):
                return _typed(wire.reply, content_type)
            case Empty():
                return _typed(b"", self._type(streamed))
            case Refuse():
                raise AssertionError("a port that nobody listens on is no upstream")
            case _:
                assert_never(fault)

    def _events(self, phase: Phase) -> bytes:
        """The same of a stream, but no half event."""
        wire = self.wire
        if phase is Phase.BODY or wire.first is None:
            return b"".join(wire.pieces[: wire.first or 0])
        return wire.begun

    def _type(self, streamed: bool) -> str:
        return self.wire.content_type if streamed else "application/json"

    def _said(self, phase: Phase, *, streamed: bool) -> bytes:
        """The body as far as it has come in this phase."""
        wire = self.wire
        whole = wire.reply
        match phase:
            case Phase.ACCEPT | Phase.REQUEST | Phase.HEAD:
                return b""
            case Phase.BODY:
                return wire.before if streamed else whole[: len(whole) // 2]
            case Phase.CONTENT:
                return wire.begun if streamed else whole[: len(whole) // 2]
            case Phase.END:
                return wire.unproven if streamed else whole[:-1]
            case Phase.WHOLE:
                return wire.stream if streamed else whole

    async def _begin(self, exchange: Exchange, phase: Phase, streamed: bool) -> None:
        """All up to this phase. If that shows content, wait until it was seen."""
        if phase in (Phase.ACCEPT, Phase.REQUEST):
            return
        said = self._said(phase, streamed=streamed)
        if streamed:
            await exchange.head(200, {"Content-Type": self._type(streamed), "Transfer-Encoding": "chunked"})
            if said:
                await exchange.send(frame(said))
        else:
            length = str(len(self.wire.reply))
            await exchange.head(200, {"Content-Type": self._type(streamed), "Content-Length": length})
            await exchange.send(said)
        await self._until_shown(exchange.request, phase, streamed)

    async def _until_shown(self, request: Received, phase: Phase, streamed: bool) -> None:
        if streamed and phase in (Phase.CONTENT, Phase.END) and self.wire.first is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.shown_s):
                    await self._shown_to(request).wait()

    def _shown_to(self, request: Received) -> asyncio.Event:
        return self.shown

    def _then(self, phase: Phase, streamed: bool, end: Callable[[Exchange], None] | None) -> Behaviour:
        async def behave(exchange: Exchange) -> None:
            await self._begin(exchange, phase, streamed)
            if phase is Phase.WHOLE and not streamed:
                return  # the length said that this is the end
            if end is None:
                await exchange.gone.wait()
            else:
                # The reader's kernel drops what it has not read yet when the RST comes.
                await asyncio.sleep(0.02)
                end(exchange)

        return behave

    def _whole_http(self, said: bytes, then: bytes, *, streamed: bool = True) -> Behaviour:
        """A body that is complete as HTTP, whatever it says."""

        async def behave(exchange: Exchange) -> None:
            await exchange.head(200, {"Content-Type": self._type(streamed), "Transfer-Encoding": "chunked"})
            if said:
                await exchange.send(frame(said))
            if then:
                if said.startswith(self.wire.begun):
                    await self._until_shown(exchange.request, Phase.CONTENT, streamed)
                await exchange.send(frame(then))
            await exchange.send(LAST_CHUNK)
            exchange.close()

        return behave

    def _drip(self, phase: Phase, interval_s: float, streamed: bool) -> Behaviour:
        async def behave(exchange: Exchange) -> None:
            await self._begin(exchange, phase, streamed)
            whole = self.wire.stream if streamed else self.wire.reply
            for byte in whole[len(self._said(phase, streamed=streamed)) :]:
                await asyncio.sleep(interval_s)
                await exchange.send(frame(bytes([byte])) if streamed else bytes([byte]))
            if streamed:
                await exchange.send(LAST_CHUNK)

        return behave

    def _pretend(self, phase: Phase, sign: bytes, streamed: bool) -> Behaviour:
        async def behave(exchange: Exchange) -> None:
            if streamed:
                await self._begin(exchange, phase, streamed)
            else:
                await exchange.head(200, {"Content-Type": "application/json", "Content-Length": "1000000"})
            while not exchange.gone.is_set():
                await exchange.send(frame(sign) if streamed else sign)
                await asyncio.sleep(LIFE_EVERY_S)

        return behave

    def _paced(self) -> Behaviour:
        async def behave(exchange: Exchange) -> None:
            await exchange.head(200, {"Content-Type": self._type(True), "Transfer-Encoding": "chunked"})
            for piece in self.wire.pieces:
                if self.pace_s:
                    await asyncio.sleep(self.pace_s)
                await exchange.send(frame(piece))
            await exchange.send(LAST_CHUNK)

        return behave


async def _idle(connection: _Connection) -> None:
    await connection.gone.wait()


def wants_stream(request: Received) -> bool:
    return "streamGenerateContent" in request.path or bool(_body(request).get("stream"))


def model_of(request: Received) -> str:
    if "/models/" in request.path:
        return request.path.rpartition("/models/")[2].partition(":")[0]
    return str(_body(request).get("model", ""))


def _body(request: Received) -> dict[str, object]:
    try:
        body = json.loads(request.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _typed(body: bytes, content_type: str) -> Callable[[Exchange], Awaitable[None]]:
    return reply(body, headers={"Content-Type": content_type})
