"""How many calls run at once, and how many may wait: beyond that a call is refused at once, not queued for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Admission:
    """Belongs to one event loop. First come, first served."""

    def __init__(self, *, max_in_flight: int, max_queued: int) -> None:
        self._running = asyncio.Semaphore(max_in_flight)
        self._max_in_flight = max_in_flight
        self._room = max_in_flight + max_queued
        self._inside = 0

    @property
    def queued(self) -> int:
        return max(0, self._inside - self._max_in_flight)

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[bool]:
        """False if there is no room even to wait; else waits for its turn and keeps it until the end."""
        if self._inside >= self._room:
            yield False
            return
        self._inside += 1
        try:
            async with self._running:
                yield True
        finally:
            self._inside -= 1
