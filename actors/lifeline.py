"""What ties the calls of a process to its life: when it dies, however it dies, its calls end in the actor too.

Ray goes on with the calls of a caller that was killed: they would be paid for to their end. But Ray knows who owns
an object that is not there yet, and tells whoever waits for it that its owner has died. So a caller makes one call
that never returns, and shows the actor that call's result:

    caller                                     actor
    line = lifeline(caller) ─────────────────► waits, and for nothing
    tie(caller, [line])     ─────────────────► awaits `line`: OwnerDiedError → cancels this caller's calls
    complete(request, caller), …  ───────────► known by its caller while it is under way

No message is sent while both live, and nothing is measured in silences: a caller whose loop is busy, or whose
notebook computes for a minute, is not taken for dead. Seen on Ray 2.60: told 1 to 2 s after a `kill -9` or an exit;
for a node that falls silent it takes as long as Ray itself does to notice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayError

from actors.plots import Plots

log = logging.getLogger("raygate.lifeline")

DEAD_REMEMBERED = 1_000
"""Calls of a caller that is dead already may still be on their way."""

TIED = ("complete", "stream", "embed")
"""The methods that take a `caller`."""


class Lifeline:
    """The caller's end, to one actor."""

    def __init__(self) -> None:
        self._caller = ""
        self._line: Any = None
        self._over: Future[Any] | None = None

    def tie(self, handle: Any) -> str:
        """The name to call this actor under, from now on tied to this process's life; costs nothing once it is."""
        if self._over is None or self._over.done():  # it is over when the actor has died; another life, another line
            self._caller = secrets.token_hex(8)
            self._line = handle.lifeline.remote(self._caller)
            # In a list: Ray would wait for a bare one before it makes the call.
            handle.tie.remote(self._caller, [self._line])
            self._over = self._line.future()
        return self._caller

    def cut(self) -> None:
        """Give it up, and with it every call that is still under way."""
        if self._line is not None:
            ray.cancel(self._line)
            self._line = self._over = None


class Callers:
    """The actor's end. Belongs to the loop of the calls."""

    def __init__(self) -> None:
        self._calls: dict[str, set[asyncio.Task[Any]]] = {}
        self._lines: dict[str, asyncio.Event] = {}
        self._dead: deque[str] = deque(maxlen=DEAD_REMEMBERED)

    @contextmanager
    def call(self, caller: str) -> Iterator[None]:
        """Around a call, in its task. One without a `caller` ends when it ends."""
        task = asyncio.current_task()
        if not caller or task is None:
            yield
            return
        self._calls.setdefault(caller, set()).add(task)
        if caller in self._dead:
            task.cancel()
        try:
            yield
        finally:
            ours = self._calls[caller]
            ours.discard(task)
            if not ours:
                del self._calls[caller]

    async def lifeline(self, caller: str) -> None:
        """Return once the caller is dead, which then nobody hears."""
        over = self._lines.setdefault(caller, asyncio.Event())
        try:
            await over.wait()
        finally:
            self._lines.pop(caller, None)

    async def tie(self, caller: str, line: Awaitable[object]) -> None:
        """Watch this caller until it dies or gives its line up."""
        try:
            await line
        except ObjectLostError:  # above all OwnerDiedError
            self._gone(caller)
        except RayError:
            self._end(caller)  # given up, and its calls with it

    def _gone(self, caller: str) -> None:
        self._dead.append(caller)
        if over := self._lines.get(caller):
            over.set()
        ended = self._end(caller)
        log.info("caller.died", extra={"caller": caller, "calls": ended})

    def _end(self, caller: str) -> int:
        ours = tuple(self._calls.get(caller, ()))
        for task in ours:
            task.cancel()
        return len(ours)


class Tied:
    """An actor's handle for people: the same, but that its calls end with the process that makes them.

    `manager.complete.remote(request)` gives a Ray reference as ever, for `ray.get` or `await`.
    """

    plot = Plots()
    """Pictures: `manager.plot.latency()`."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._lifeline = Lifeline()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what copy and pickle look for
            raise AttributeError(name)
        method = getattr(self._handle, name)
        return _TiedMethod(method, self._handle, self._lifeline) if name in TIED else method

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._handle)})

    def __reduce__(self) -> tuple[type[Tied], tuple[Any]]:
        return Tied, (self._handle,)  # another process lives its own life

    def __repr__(self) -> str:
        return f"Tied({self._handle!r})"


class _TiedMethod:
    def __init__(self, method: Any, handle: Any, lifeline: Lifeline) -> None:
        self._method = method
        self._handle = handle
        self._lifeline = lifeline

    def options(self, **options: Any) -> _TiedMethod:
        return _TiedMethod(self._method.options(**options), self._handle, self._lifeline)

    def remote(self, request: Any) -> Any:
        return self._method.remote(request, self._lifeline.tie(self._handle))
