"""An event loop whose time is a number: who waits, waits no time at all.

    something is ready        run it
    nothing is ready          jump to the next timer
    no timer either           `Deadlock`: whoever still waits would do so for ever
    ready, over and over      `Livelock`, after `MOST_TURNS` turns at the same moment

Everything of asyncio that rests on `call_soon` and `call_at` works as ever (timeouts, sleeps, tasks, events, async
generators). There are no sockets and no threads, so one order of events follows from one seed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

MOST_TURNS = 100_000


class Deadlock(Exception):
    """Nobody can go on, and no timer will change that."""


class Livelock(Exception):
    """Time stands still while tasks keep each other busy."""


class VirtualLoop(asyncio.BaseEventLoop):
    def __init__(self, start_s: float = 1_000.0) -> None:
        super().__init__()
        self._now = start_s
        self._turns = 0
        # What `BaseEventLoop` waits in; ours never does.
        self._selector = self

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        """Let `timeout` seconds pass; None where there is nothing to wait for."""
        if timeout is None:
            waiting = "\n".join(sorted(f"  {_where(task)}" for task in asyncio.all_tasks(self)))
            raise Deadlock(f"at {self._now:.3f} s nothing is ready and no timer is set; these tasks wait:\n{waiting}")
        if timeout > 0.0:
            self._now += timeout
            self._turns = 0
            return []
        self._turns += 1
        if self._turns > MOST_TURNS:
            raise Livelock(f"{MOST_TURNS} turns at {self._now:.3f} s, and still somebody is ready")
        return []

    def run_in_executor(self, *args: object) -> NoReturn:
        raise RuntimeError("a thread has no place in virtual time")

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none: no sockets."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector who would have to be woken up."""


def simulate(main: Callable[[], Coroutine[Any, Any, T]], *, start_s: float = 1_000.0) -> T:
    """Run `main` to its end in a world of its own; what it leaves running is cancelled."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start_s)) as runner:
        return runner.run(main())


def _where(task: asyncio.Task[Any]) -> str:
    """The innermost place in which a task waits."""
    waits: Any = task.get_coro()
    at = getattr(waits, "__qualname__", str(waits))
    while (inner := getattr(waits, "cr_await", None) or getattr(waits, "ag_await", None)) is not None:
        waits = inner
        at = getattr(waits, "__qualname__", at)
    return f"{task.get_name()}, in {at}"
