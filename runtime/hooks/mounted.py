"""One hook as the settings have it: called in time, its mistakes kept to itself unless it is a guard.

    it returns in time           what it returned
    raises, too late, wrong type  not a guard: as if it had returned nothing, and counted
                                  a guard: the request is refused (503, `guard_failed`)

An `async def` is cancelled when its time is over. A plain function runs inline and cannot be: it holds up every request
of its process, so one that takes longer than its time is counted (`slow`) and logged, and its word still holds: it is
there. What may take long belongs into an `async def`, which uses a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from runtime.hooks.payloads import Counts
from runtime.ledger.accounts import matches
from runtime.outcome import Failure, FailureKind

log = logging.getLogger("raygate.hooks")

GUARD_FAILED = "guard_failed"
AGAIN_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """`routes` are patterns of names that may be asked for, empty for all."""

    name: str
    hook: Any
    guard: bool = False
    timeout_s: float = 1.0
    routes: tuple[str, ...] = ()
    clock: Callable[[], float]
    counts: Counts = field(default_factory=Counts)

    def is_for(self, name: str) -> bool:
        return not self.routes or matches(name, self.routes)

    def told(self) -> dict[str, float]:
        """How it was called, and what it counts itself."""
        own = getattr(self.hook, "metrics", None)
        try:
            more = own() if callable(own) else {}
        except Exception as error:
            self._count(error)
            more = {}
        return {**self.counts.told(), **more}

    def begun(self, begin: Callable[[], Any]) -> Any:
        """The hook of one request; None, or a `Failure` of a guard, where there is none."""
        try:
            return begin()
        except Exception as error:
            return self._failed(error)

    async def ask(self, method: Callable[[Any], Any], payload: object, takes: tuple[type, ...]) -> Any:
        """What it returned, which is one of these types or None; a `Failure` where it refused, or is a guard that
        failed."""
        clock, counts = self.clock, self.counts
        counts.called += 1
        began = clock()
        waited = False
        try:
            got = method(payload)
            if got is not None and hasattr(got, "__await__"):
                waited = True
                got = await self._in_time(got)
        except Exception as error:
            counts.spent_s += clock() - began
            return self._failed(error)
        spent_s = clock() - began
        counts.spent_s += spent_s
        if spent_s > self.timeout_s and not waited:
            self._slow(spent_s)
        return None if got is None else self._checked(got, takes)

    def ask_now(self, method: Callable[[Any], Any], payload: object, takes: tuple[type, ...]) -> Any:
        """The same where nobody can wait, and nobody refuses: what it returned, or None."""
        self.counts.called += 1
        began = self.clock()
        try:
            got = method(payload)
        except Exception as error:
            self._count(error)
            return None
        self.counts.spent_s += self.clock() - began
        if got is not None and not isinstance(got, takes):
            if hasattr(got, "close"):
                got.close()
            self._count(TypeError(f"it returned {type(got).__name__}"))
            return None
        return got

    async def _in_time(self, got: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self.timeout_s) as scope:
                return await got
        except TimeoutError:
            if not scope.expired():
                raise
            self.counts.slow += 1
            raise TimeoutError(f"it took longer than {self.timeout_s:g} s") from None

    def _checked(self, got: Any, takes: tuple[type, ...]) -> Any:
        if isinstance(got, takes):
            return got
        if isinstance(got, Failure):
            self.counts.refused += 1
            return got
        names = ", ".join(one.__name__ for one in takes)
        return self._failed(TypeError(f"it returned {type(got).__name__}, not {names}, Failure or None"))

    def _failed(self, error: Exception) -> Failure | None:
        self._count(error)
        if not self.guard:
            return None
        detail = (
            f"the hook {self.name} is a guard and failed ({type(error).__name__}), so nothing passes it; "
            "Raygate's log says more"
        )
        return Failure(
            kind=FailureKind.UNAVAILABLE, detail=detail, code=GUARD_FAILED, retry_after_s=AGAIN_S, scope="request"
        )

    def _count(self, error: Exception) -> None:
        """Told in full the first time, and then in a line: it may be so with each request, or each event of one."""
        self.counts.failed += 1
        kind = type(error).__name__
        known = kind in self.counts.warned
        self.counts.warned.add(kind)
        said = {"hook": self.name, "why": kind, "times": self.counts.failed}
        if known:
            log.debug("hook.failed", extra=said)
        else:
            log.warning("hook.failed", exc_info=error, extra=said)

    def _slow(self, spent_s: float) -> None:
        self.counts.slow += 1
        if "slow" not in self.counts.warned:
            self.counts.warned.add("slow")
            log.warning("hook.slow", extra={"hook": self.name, "took_s": round(spent_s, 3), "of_s": self.timeout_s})
