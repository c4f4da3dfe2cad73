"""A stream from its call to its end: opened, held until it shows content, read on, and given up when it only pretends.

    open_stream ─► Reading      its first content is there: no other provider can take over any more
                ─► Completion   it answered in one piece, or without any content
                ─► Failure      nothing was shown; somebody else may be asked
    Reading.read ─► deltas, or how the stream ended

Bytes alone are no sign of life, neither before the first content (`first_byte_s`) nor after it (`runtime.pace`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from runtime.dialects.base import ChunkDecoder, Dialect, HttpCall, HttpReply, Target
from runtime.outcome import Completion, Delta, Failure, FailureKind, Outcome
from runtime.pace import Pace
from runtime.transport.base import Fault, HttpStream, Limits, Transport

Clock = Callable[[], float]

Faulted = Callable[[Fault], Failure]
"""What a fault of the transport means for this call."""

TAIL_S = 0.05
"""What the end of the body may take after the end of the answer. A new connection would cost about as much."""


@dataclass(slots=True, kw_only=True)
class Reading:
    """A stream under way; whoever has one closes it, as a context.

    `held` is what came until the first content. `waited_s` are the seconds spent on the provider since then: a slow
    reader of the stream does not make it slow. `pace` judges from the first content on.
    """

    stream: HttpStream
    decoder: ChunkDecoder
    target: Target
    clock: Clock
    faulted: Faulted
    held: list[Delta] = field(default_factory=list)
    waited_s: float = 0.0
    pace: Pace | None = None
    _ending: Outcome | None = None

    async def read(self) -> list[Delta] | Outcome:
        """The next deltas, or how the stream ended."""
        decoder = self.decoder
        if decoder.ended:
            return self._ended()
        since = self.clock()
        data = await self.stream.read()
        self.waited_s += self.clock() - since
        if isinstance(data, Fault):
            # What the stream said of itself explains more than how its connection broke.
            said = self._ended()
            fault = self.faulted(data)
            return said if isinstance(said, Failure) and said.kind is not FailureKind.INTERRUPTED else fault
        if not data:
            return self._ended()
        deltas = list(decoder.feed(data))
        if self.pace is not None and (late := self.pace.late(deltas, self.waited_s)) and not decoder.ended:
            return timed_out(self.target, late)
        return deltas

    async def until_content(self) -> Outcome | None:
        """Hold what comes; how the stream ended if that was before any content, or failed on its heels."""
        while not any(delta.has_content for delta in self.held):
            step = await self.read()
            if not isinstance(step, list):
                return step
            self.held += step
        # Nobody has seen the first content yet: after an error behind it, somebody else may still be asked.
        ending = self._ended() if self.decoder.ended else None
        return ending if isinstance(ending, Failure) else None

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        try:
            if isinstance(self._ending, Completion):
                await self._drain()
        finally:
            await self.stream.close()

    async def _drain(self) -> None:
        """Read what follows a whole answer: HTTP's own end, mostly. Without it the connection could not be kept."""
        try:
            async with asyncio.timeout(TAIL_S):
                while (data := await self.stream.read()) and not isinstance(data, Fault):
                    pass
        except TimeoutError:
            pass

    def _ended(self) -> Outcome:
        # A decoder's `finish` is for once.
        if self._ending is None:
            self._ending = self.decoder.finish()
        return self._ending


async def open_stream(
    call: HttpCall,
    *,
    dialect: Dialect,
    transport: Transport,
    target: Target,
    limits: Limits,
    clock: Clock,
    faulted: Faulted,
) -> Reading | Outcome:
    """Send, and wait for the first content, an error, or the whole answer."""
    stream = await transport.open(call, limits)
    if isinstance(stream, Fault):
        return faulted(stream)
    opened: Reading | None = None
    try:
        async with asyncio.timeout(limits.first_byte_s):
            labelled = _is_json(stream.headers.get("content-type", ""))
            if stream.status != 200 or (labelled and not dialect.json_streams):
                body = await stream.read_all()
                if isinstance(body, Fault):
                    return faulted(body)
                return dialect.decode(HttpReply(status=stream.status, headers=stream.headers, body=body), target)
            reading = Reading(
                stream=stream, decoder=dialect.decoder(target), target=target, clock=clock, faulted=faulted
            )
            ended = await reading.until_content()
            if ended is not None:
                return ended
        reading.waited_s = 0.0
        reading.pace = Pace(gap_s=max(limits.between_s, limits.first_byte_s), min_tokens_per_s=limits.min_tokens_per_s)
        opened = reading
    except TimeoutError:
        return timed_out(target, "sent no content in time")
    else:
        return opened
    finally:
        if opened is None:
            await stream.close()


def timed_out(target: Target, how: str) -> Failure:
    return Failure(
        kind=FailureKind.TIMED_OUT,
        provider=target.provider,
        model=target.model,
        detail=f"{target.provider} {how}",
    )


def _is_json(content_type: str) -> bool:
    """True for a whole JSON document; lines of JSON are a stream."""
    return content_type.partition(";")[0].strip().lower() == "application/json"
