"""The replicas' common memory of answers, for edges: the `cache` actor as a `Store`."""

from __future__ import annotations

from collections.abc import Mapping

from actors.names import CACHE
from actors.refs import ActorRef
from runtime.cache.answers import About, Forget
from runtime.cache.shared import TakenUp

HURRY_S = 5.0
"""Beyond what `SharedTier` waits for anything: it is who gives up."""


class CacheRef:
    """Belongs to one event loop. Raises `Unreachable`, or Ray's error for what went wrong inside."""

    def __init__(self) -> None:
        self.actor = ActorRef(CACHE)

    async def take(self, key: bytes, holder: str, lease_s: float) -> TakenUp:
        found: TakenUp = await self.actor.call("take", key, holder, lease_s, timeout_s=HURRY_S)
        return found

    async def look(self, key: bytes) -> TakenUp:
        found: TakenUp = await self.actor.call("look", key, timeout_s=HURRY_S)
        return found

    async def wait(self, key: bytes, within_s: float) -> TakenUp:
        found: TakenUp = await self.actor.call("wait", key, within_s, timeout_s=within_s + HURRY_S)
        return found

    async def renew(self, key: bytes, holder: str, lease_s: float) -> None:
        await self.actor.call("renew", key, holder, lease_s, timeout_s=HURRY_S)

    async def put(self, key: bytes, holder: str, packed: bytes, about: About, ttl_s: float) -> None:
        await self.actor.call("put", key, holder, packed, about, ttl_s, timeout_s=HURRY_S)

    async def release(self, key: bytes, holder: str) -> None:
        await self.actor.call("release", key, holder, timeout_s=HURRY_S)

    async def forget(self, what: Forget) -> int:
        return int(await self.actor.call("forget", what, timeout_s=HURRY_S))

    async def resize(self, max_bytes: int) -> None:
        await self.actor.call("resize", max_bytes, timeout_s=HURRY_S)

    async def stats(self) -> Mapping[str, int]:
        found: Mapping[str, int] = await self.actor.call("stats", timeout_s=HURRY_S)
        return found

    async def close(self) -> None:
        self.actor.close()
