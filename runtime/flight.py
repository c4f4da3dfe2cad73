"""One call under way that several listen to, and how its events are told to those who have not asked for themselves.

A flight belongs to no one caller: it runs while at least one listens, and is cancelled when the last has gone. Its
events are kept until its end, so that whoever joins late misses nothing. `runtime.single_flight` says who may join.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing

from runtime.fold import deltas_of
from runtime.outcome import (
    SHARED,
    Attempt,
    Completion,
    Cost,
    Failure,
    FailureKind,
    StreamEnd,
    StreamEvent,
    StreamStart,
)
from runtime.request import Request
from runtime.values import replace


class Flight:
    """One call under way and how many listen to it. Begins at once; `leave` as often as you `join`.

    While others may join it stands in `register`.
    """

    def __init__(
        self,
        register: dict[bytes, Flight],
        key: bytes,
        events: AsyncGenerator[StreamEvent],
        *,
        rules: object,
        ends: float,
    ) -> None:
        self.rules = rules
        self.ends = ends
        self._register = register
        self._key = key
        self._over = False
        self._said: list[StreamEvent] = []
        self._listeners = 0
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._task = asyncio.create_task(self._fly(events))
        register[key] = self

    def join(self) -> None:
        self._listeners += 1

    async def leave(self) -> None:
        """Whoever is the last to leave stops the call, and waits until its books are closed."""
        self._listeners -= 1
        if self._listeners == 0 and not self._task.done():
            self._end()
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def events(self, until: float) -> AsyncGenerator[StreamEvent]:
        """All events from the first on. Raises `TimeoutError` if the next does not come before this moment."""
        at = 0
        while True:
            while at < len(self._said):
                yield self._said[at]
                at += 1
            if self._over:
                break
            if until == math.inf:
                await self._news.wait()
            else:
                async with asyncio.timeout_at(until):
                    await self._news.wait()
        if self._error is not None:
            raise self._error

    async def _fly(self, source: AsyncGenerator[StreamEvent]) -> None:
        try:
            async with aclosing(source) as events:
                async for event in events:
                    self._said.append(event)
                    if isinstance(event, StreamEnd):
                        break
                    self._wake()
        except Exception as error:  # whoever listens is to have it
            self._error = error
        finally:
            self._end()

    def _end(self) -> None:
        """Nothing more comes, and nobody joins any more."""
        self._over = True
        if self._register.get(self._key) is self:
            del self._register[self._key]
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


async def lead(flight: Flight) -> AsyncGenerator[StreamEvent]:
    """As the one who began it, whose own time limit the call keeps by itself."""
    flight.join()
    try:
        async with aclosing(flight.events(math.inf)) as events:
            async for event in events:
                yield event
    finally:
        await flight.leave()


async def follow(flight: Flight, request: Request, until: float) -> AsyncGenerator[StreamEvent]:
    flight.join()
    try:
        async with aclosing(flight.events(until)) as events:
            async for event in events:
                yield _shared(event, request)
    except TimeoutError:
        detail = "the request's time ran out while it shared the call of an equal one; allow more"
        failure = Failure(kind=FailureKind.DEADLINE_EXCEEDED, model=request.model, detail=detail)
        yield StreamEnd(outcome=replace(failure, request_id=request.request_id))
    finally:
        await flight.leave()


def _shared(event: StreamEvent, request: Request) -> StreamEvent:
    """The event as one is told it who has not asked for himself: it cost him nothing."""
    match event:
        case StreamStart():
            alike = _attempt(event.provider, event.model)
            return replace(event, request_id=request.request_id, attempts=(alike,), overhead_s=0.0, queue_s=0.0)
        case StreamEnd(outcome=Completion() as given):
            free = replace(
                given, cost=Cost(saved_nanousd=_worth(given)), latency_s=0.0, ttft_s=None, overhead_s=0.0, queue_s=0.0
            )
            alike = _attempt(given.provider, given.model)
            return StreamEnd(outcome=replace(free, request_id=request.request_id, attempts=(alike,)))
        case StreamEnd(outcome=Failure() as given):
            attempts = (*given.attempts, _attempt(given.provider, given.model))
            free_failure = replace(given, usage=None, cost=None, attempts=attempts)
            return StreamEnd(outcome=replace(free_failure, request_id=request.request_id))
        case _:
            return event


def _worth(given: Completion) -> int:
    """Nano-dollars that nobody paid a second time."""
    return 0 if given.cost is None else given.cost.total_nanousd + given.cost.saved_nanousd


def _attempt(provider: str, model: str) -> Attempt:
    return Attempt(provider=provider, model=model, outcome=SHARED, elapsed_s=0.0)


def as_stream(whole: Completion) -> list[StreamEvent]:
    """A whole answer in the form of a stream."""
    start = StreamStart(
        id=whole.id,
        provider=whole.provider,
        model=whole.model,
        created_s=whole.created_s,
        attempts=tuple(one for one in whole.attempts if one.outcome != "ok"),
        dropped=whole.dropped,
        request_id=whole.request_id,
        overhead_s=whole.overhead_s,
        queue_s=whole.queue_s,
    )
    deltas = [delta for index, choice in enumerate(whole.choices) for delta in deltas_of(index, choice)]
    return [start, *deltas, StreamEnd(outcome=whole)]
