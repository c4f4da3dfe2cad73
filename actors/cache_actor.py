"""The replicas' common memory of answers, as an actor: packed bytes, least recently used out first, and who asks.

It decides nothing (`runtime.cache.shared.SharedAnswers`), and wakes whoever waits. What it holds is gone with it; every
edge goes on with its own memory, and a new one fills by and by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from actors import logs
from actors.clock import monotonic
from actors.environment import environment
from actors.names import CACHE
from runtime.cache.answers import About, Forget
from runtime.cache.shared import SharedAnswers, TakenUp


class CacheActor:
    """Undecorated: the supervisor makes a Ray actor of it. All of it runs in one loop."""

    CONTROL_METHODS = ()

    def __init__(self, max_bytes: int) -> None:
        logs.begin(CACHE, environment())
        self._answers = SharedAnswers(max_bytes=max_bytes)
        self._news: dict[bytes, asyncio.Event] = {}

    async def take(self, key: bytes, holder: str, lease_s: float) -> TakenUp:
        return self._answers.take(key, holder, lease_s, monotonic())

    async def look(self, key: bytes) -> TakenUp:
        return self._answers.look(key, monotonic())

    async def wait(self, key: bytes, within_s: float) -> TakenUp:
        """The answer once it is there; nothing once nobody asks for it any more, or the time is over."""
        until = monotonic() + within_s
        while (left_s := min(until - monotonic(), self._answers.lease_left_s(key, monotonic()))) > 0.0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._news.setdefault(key, asyncio.Event()).wait()
        return self._answers.look(key, monotonic())

    async def renew(self, key: bytes, holder: str, lease_s: float) -> None:
        self._answers.renew(key, holder, lease_s, monotonic())

    async def put(self, key: bytes, holder: str, packed: bytes, about: About, ttl_s: float) -> None:  # called by Ray
        self._answers.put(key, holder, packed, about, ttl_s=ttl_s, now=monotonic())
        self._wake(key)

    async def release(self, key: bytes, holder: str) -> None:
        self._answers.release(key, holder)
        self._wake(key)

    async def forget(self, what: Forget) -> int:
        count = self._answers.forget(what)
        for key in list(self._news):
            self._wake(key)
        return count

    async def resize(self, max_bytes: int) -> None:
        """What is over it goes with the next answer that comes."""
        self._answers.max_bytes = max_bytes

    async def stats(self) -> Mapping[str, int]:
        return self._answers.stats()

    def _wake(self, key: bytes) -> None:
        if (news := self._news.pop(key, None)) is not None:
            news.set()
