"""Tests whose sleeps overlap as they do in the world, and take no time. See `tests.simulation.loop`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.fakes.clock import FakeClock
from tests.simulation.loop import simulate

T = TypeVar("T")


class LoopClock(FakeClock):
    """The running loop's time. What sleeps side by side passes side by side, not one after another."""

    def __call__(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(seconds)


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run what `test` makes. No task may be left over."""

    async def whole() -> T:
        value = await test()
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left over: {left}"
        return value

    return simulate(whole)
