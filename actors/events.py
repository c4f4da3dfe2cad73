"""Events of the whole cluster: from the processes in which they happen, through the manager, to whoever listens.

    somebody listens ──► manager: Listeners ── Snapshot.watched ──► every edge: EventsOut.follow
    edge: Bus ──► Reader ──► batches, ten a second at most ──► manager ──► one Reader for each listener ──► Listening

Nobody listens: no edge keeps or sends anything. Each step has a bounded queue whose oldest event gives way; whoever
listens is told how many, and no request waits for any of it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType

from ray.exceptions import RayTaskError

from actors.clock import SENSES
from actors.refs import ManagerRef, Unreachable, last_line
from runtime.events import MOST, PROMPTS, TYPES, Bus, Event, LostEvent, Reader, Wish

log = logging.getLogger("raygate.events")

MOST_OUT = 5_000
"""Events of one process that wait to be sent."""
BATCH = 1_000
CALM_S = 0.1
"""How long an edge collects before it sends."""
WAIT_S = 5.0
"""How long a listener's call waits for news at the manager."""
SILENT_S = 20.0
"""A listener that has not asked for so long is gone."""
AGAIN_S = 0.5
FOLLOW_S = 2.0
"""How long the manager waits for all edges to hear that somebody listens."""


class EventsOut:
    """An edge's part. Belongs to its event loop."""

    def __init__(self, bus: Bus, send: Callable[[Sequence[Event]], Awaitable[None]]) -> None:
        self._bus = bus
        self._send = send
        self._watched: tuple[str, ...] = ()
        self._reader: Reader | None = None
        self._task: asyncio.Task[None] | None = None

    def follow(self, watched: tuple[str, ...]) -> None:
        """From now on these types are sent; none, and nothing is."""
        if watched == self._watched:
            return
        self._watched = watched
        old, self._reader = self._reader, None
        if watched:
            types = [one for one in watched if one != PROMPTS]
            self._reader = self._bus.subscribe(types, most=MOST_OUT, prompts=PROMPTS in watched)
            for event in old.take(MOST_OUT) if old is not None else ():
                self._reader.put(event)
        if old is not None:
            old.close()
        if self._reader is not None and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._live())

    async def stop(self) -> None:
        self.follow(())
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _live(self) -> None:
        while (reader := self._reader) is not None:
            await reader.more()
            await asyncio.sleep(CALM_S)
            if not (batch := reader.take(BATCH)):
                continue
            try:
                await self._send(batch)
            except Exception as error:  # whatever it is: events are worth no request, and those that come go on
                log.warning("events.not_sent", extra={"why": last_line(error), "events": len(batch)})
                if (there := self._reader) is not None:
                    there.lose(len(batch))


class Listeners:
    """The manager's part: who listens, and what they have not fetched yet. Belongs to one event loop."""

    def __init__(self, wall: Callable[[], float], clock: Callable[[], float]) -> None:
        self.bus = Bus(wall, "manager")
        self._clock = clock
        self._readers: dict[str, Reader] = {}
        self._heard: dict[str, float] = {}

    @property
    def watched(self) -> tuple[str, ...]:
        """The types that anybody wants, as edges are told."""
        return tuple(sorted(self.bus.wanted))

    def reader(self, wish: Wish) -> Reader:
        """The listener's, made if it is new."""
        self._heard[wish.listener] = self._clock()
        found = self._readers.get(wish.listener)
        if found is None:
            found = self.bus.subscribe(wish.types, most=wish.most, prompts=wish.prompts)
            self._readers[wish.listener] = found
            if wish.known:
                found.lose(None)
        return found

    def knows(self, listener: str) -> bool:
        return listener in self._readers

    def tell(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, LostEvent):
                for reader in self._readers.values():
                    reader.lose(event.count)
            else:
                self.bus.tell(event)

    def leave(self, listener: str) -> None:
        self._heard.pop(listener, None)
        if (reader := self._readers.pop(listener, None)) is not None:
            reader.close()

    def expire(self) -> None:
        """Forget those that have fallen silent."""
        now = self._clock()
        for listener, at in list(self._heard.items()):
            if now - at > SILENT_S:
                self.leave(listener)


class Listening:
    """The cluster's events, for one listener: `async with` it, then `async for`.

    Events arrive within about a fifth of a second. A listener that is slow loses the oldest, and reads a `LostEvent`
    in their place; its `count` is None where the manager itself was away.
    """

    def __init__(
        self, types: Iterable[str] = (), *, most: int = MOST, prompts: bool = False, manager: ManagerRef | None = None
    ) -> None:
        wanted = tuple(types)
        if unknown := set(wanted) - set(TYPES):
            raise ValueError(f"there are no events of type {min(unknown)!r}; there are: {', '.join(TYPES)}")
        self._types = wanted or TYPES
        self._most = most
        self._prompts = prompts
        self._manager = manager or ManagerRef()
        self._name = secrets.token_hex(8)
        self._bus = Bus(SENSES.wall, "listener")
        self._reader = Reader(self._bus, self._types, most=most, prompts=prompts)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Listening:
        """Returns once every process that follows the manager has heard of it. Raises `Unreachable`."""
        await self._watch(known=False, wait_s=0.0)
        self._task = asyncio.create_task(self._pump())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with suppress(Unreachable, RayTaskError):
            await self._manager.unwatch(self._name)

    def __aiter__(self) -> Listening:
        return self

    async def __anext__(self) -> Event:
        return await anext(self._reader)

    async def more(self) -> None:
        """Return once there is something to `take`."""
        await self._reader.more()

    def take(self, most: int = BATCH) -> tuple[Event, ...]:
        """What is there."""
        return self._reader.take(most)

    async def _watch(self, *, known: bool, wait_s: float) -> tuple[Event, ...]:
        return await self._manager.watch(
            Wish(
                listener=self._name,
                types=self._types,
                known=known,
                most=self._most,
                prompts=self._prompts,
                wait_s=wait_s,
            )
        )

    async def _pump(self) -> None:
        known = True
        while True:
            try:
                for event in await self._watch(known=known, wait_s=WAIT_S):
                    if isinstance(event, LostEvent):
                        self._reader.lose(event.count)
                    else:
                        self._reader.put(event)
                known = True
            except (Unreachable, RayTaskError) as error:
                if known:
                    log.warning("events.manager_away", extra={"why": last_line(error)})
                    self._reader.lose(None)
                # It may be another one that answers next, and know of nobody.
                known = False
                await asyncio.sleep(AGAIN_S)
