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
from runtime.outcome import Delta, Failure, FailureKind, Outcome
from runtime.pace import Pace
from runtime.transport.base import Fault, HttpStream, Limits, Transport

Clock = Callable[[], float]
Faulted = Callable[[Fault], Failure]
"""What a fault of the transport means for this call."""


@dataclass(slots=True, kw_only=True)
class Reading:
    """A stream under way; whoever has one closes it, as a context.

    `held` is what came until the first content, `ending` how it ended if that came with it. `waited_s` are the seconds spent on the provider since then: a slow
    reader of the stream does not make it slow.
    """

    stream: HttpStream
    decoder: ChunkDecoder
    target: Target
    clock: Clock
    faulted: Faulted
    pace: Pace
    held: list[Delta] = field(default_factory=list)
    ending: Outcome | None = None
    waited_s: float = 0.0

    async def read(self) -> list[Delta] | Outcome:
        """The next deltas, or how the stream ended."""
        if self.ending is not None:
            return self.ending
        since = self.clock()
        step = await _next(self.stream, self.decoder, self.faulted)
        self.waited_s += self.clock() - since
        if isinstance(step, list) and not self.decoder.ended:
            late = self.pace.late(step, self.waited_s)
            if late is not None:
                return timed_out(self.target, late)
        return step

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        await self.stream.close()


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
            decoder = dialect.decoder(target)
            held: list[Delta] = []
            while not any(delta.has_content for delta in held):
                step = await _next(stream, decoder, faulted)
                if not isinstance(step, list):
                    return step
                held += step
        # An error on the heels of the first content: nobody has seen that yet, so somebody else may still be asked.
        ending = decoder.finish() if decoder.ended else None
        if isinstance(ending, Failure):
            return ending
        pace = Pace(gap_s=max(limits.between_s, limits.first_byte_s), min_tokens_per_s=limits.min_tokens_per_s)
        opened = Reading(
            stream=stream,
            decoder=decoder,
            target=target,
            clock=clock,
            faulted=faulted,
            pace=pace,
            held=held,
            ending=ending,
        )
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


async def _next(stream: HttpStream, decoder: ChunkDecoder, faulted: Faulted) -> list[Delta] | Outcome:
    if decoder.ended:
        return decoder.finish()
    data = await stream.read()
    if isinstance(data, Fault):
        # What the stream said of itself explains more than how its connection broke.
        said = decoder.finish()
        fault = faulted(data)
        return said if isinstance(said, Failure) and said.kind is not FailureKind.INTERRUPTED else fault
    return list(decoder.feed(data)) if data else decoder.finish()


def _is_json(content_type: str) -> bool:
    """True for a whole JSON document; lines of JSON are a stream."""
    return content_type.partition(";")[0].strip().lower() == "application/json"
