"""Time for tests: it passes when they say so, and a sleep takes none."""

from __future__ import annotations

import asyncio


class FakeClock:
    """Monotonic seconds. `sleep` lets them pass at once and notes them in `slept`."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)


class HeldSleep:
    """A sleep that ends when the test says so: who sleeps is in the middle of a call."""

    def __init__(self) -> None:
        self.sleeping = 0
        self._over = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.sleeping += 1
        try:
            await self._over.wait()
        finally:
            self.sleeping -= 1

    def release(self) -> None:
        self._over.set()


async def turns(count: int = 5) -> None:
    """Let every task that can run do so."""
    for _ in range(count):
        await asyncio.sleep(0)
