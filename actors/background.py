"""What an actor does by itself in the loop of one of its groups: endless tasks, and word of what is new."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from ray.exceptions import RayError

from actors.refs import Unreachable, last_line

log = logging.getLogger("raygate.background")


class Background:
    """Made in the loop that it is for."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._publication: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, loop: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it in the background; asyncio itself would forget it."""
        task = asyncio.create_task(loop)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def repeat(
        self, what: str, act: Callable[[], Awaitable[None]], *, every_s: float, at_once: asyncio.Event | None = None
    ) -> asyncio.Task[None]:
        """Act at every tick, and as soon as `at_once` is set. Whatever goes wrong, the next tick comes."""
        return self.keep(_forever(what, act, every_s, at_once or asyncio.Event()))

    def publish_within(self, seconds: float, publish: Callable[[], None]) -> None:
        """Once, however many ask for it before it happens."""
        loop = asyncio.get_running_loop()
        planned = self._publication
        if planned is not None and planned.when() > loop.time():
            if planned.when() <= loop.time() + seconds:
                return
            planned.cancel()
        self._publication = loop.call_later(seconds, publish)

    def announce_news(self) -> None:
        """Wake everyone who waits now; who comes later waits for the next."""
        old, self._news = self._news, asyncio.Event()
        old.set()

    async def wait_for_news(self, seconds: float) -> bool:
        """False if there was none within this time."""
        try:
            async with asyncio.timeout(seconds):
                return await self._news.wait()
        except TimeoutError:
            return False


async def _forever(what: str, act: Callable[[], Awaitable[None]], every_s: float, at_once: asyncio.Event) -> None:
    while True:
        try:
            await act()
        except Exception as error:
            # Actors that are away are an everyday matter; what else it may be, the log's reader has to see.
            expected = isinstance(error, (Unreachable, RayError))
            log.warning("control.failed", exc_info=not expected, extra={"what": what, "why": last_line(error)})
        with suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await at_once.wait()
        at_once.clear()
