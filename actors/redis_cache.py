"""The replicas' common memory of answers in a Redis or Valkey, for those who have one: `cache.url`.

    rg:a:<key>    hash: answer (packed), about (packed), at (Redis's clock, ms)     ends by itself
    rg:l:<key>    who asks for it: the lease, with its end

Each step is one round trip and, where it reads before it writes, one script, so that nothing can come between. How much
is kept, and what goes first, is that server's own setting (`maxmemory`, `maxmemory-policy allkeys-lru`). What it tells
is data and nothing else: `runtime.cache.pack` reads it without trust.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from runtime.cache.answers import About, Forget
from runtime.cache.pack import Unreadable, about_of
from runtime.cache.shared import TakenUp

ANSWERS, LEASES = b"rg:a:", b"rg:l:"

_TAKE = """
local kept = redis.call('HMGET', KEYS[1], 'answer', 'at')
if kept[1] then
  local now = redis.call('TIME')
  return {kept[1], now[1] * 1000 + math.floor(now[2] / 1000) - kept[2]}
end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {'', -1} end
return {'', -2}
"""
_LOOK = """
local kept = redis.call('HMGET', KEYS[1], 'answer', 'at')
if kept[1] then
  local now = redis.call('TIME')
  return {kept[1], now[1] * 1000 + math.floor(now[2] / 1000) - kept[2]}
end
return {'', redis.call('EXISTS', KEYS[2]) == 1 and -2 or -1}
"""
_PUT = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], 'answer', ARGV[2], 'at', now[1] * 1000 + math.floor(now[2] / 1000))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('DEL', KEYS[2])
return 1
"""
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

OURS, NOBODY, SOMEBODY = 0, -1, -2

SOONEST_S, LATEST_S = 0.02, 0.25
"""Whoever waits for another replica looks again after so long, doubled each time."""
SCANNED = 500


class RedisStore:
    """Belongs to one event loop. Raises whatever redis-py raises. Raises `ImportError` where that is not installed."""

    def __init__(self, url: str) -> None:
        from redis.asyncio import Redis

        self._redis: Any = Redis.from_url(url, socket_timeout=5.0, socket_connect_timeout=2.0)
        self._take = self._redis.register_script(_TAKE)
        self._look = self._redis.register_script(_LOOK)
        self._put = self._redis.register_script(_PUT)
        self._renew = self._redis.register_script(_RENEW)
        self._release = self._redis.register_script(_RELEASE)

    async def take(self, key: bytes, holder: str, lease_s: float) -> TakenUp:
        packed, told = await self._take(keys=_keys(key), args=[holder, _ms(lease_s)])
        return _taken(packed, told)

    async def look(self, key: bytes) -> TakenUp:
        packed, told = await self._look(keys=_keys(key))
        return _taken(packed, told, may_lead=False)

    async def wait(self, key: bytes, within_s: float) -> TakenUp:
        now = asyncio.get_running_loop().time
        until, pause_s = now() + within_s, SOONEST_S
        while True:
            packed, told = await self._look(keys=_keys(key))
            if told != SOMEBODY or now() + pause_s > until:
                return _taken(packed, told, may_lead=False)
            await asyncio.sleep(pause_s)
            pause_s = min(LATEST_S, 2 * pause_s)

    async def renew(self, key: bytes, holder: str, lease_s: float) -> None:
        await self._renew(keys=[LEASES + key], args=[holder, _ms(lease_s)])

    async def put(self, key: bytes, holder: str, packed: bytes, about: About, ttl_s: float) -> None:
        # What is known about an answer is packed with it.
        await self._put(keys=_keys(key), args=[holder, packed, _ms(ttl_s)])

    async def release(self, key: bytes, holder: str) -> None:
        await self._release(keys=[LEASES + key], args=[holder])

    async def forget(self, what: Forget) -> int:
        """Looks through all that lies there, some at a time."""
        count = 0
        # First, so that what is under way now is not taken in.
        async for lease in self._redis.scan_iter(match=LEASES + b"*", count=SCANNED):
            await self._redis.delete(lease)
        async for name in self._redis.scan_iter(match=ANSWERS + b"*", count=SCANNED):
            if what.everything or await self._fits(name, what):
                count += int(await self._redis.delete(name))
        return count

    async def _fits(self, name: bytes, what: Forget) -> bool:
        packed = await self._redis.hget(name, "answer")
        if packed is None:
            return False
        try:
            about = about_of(packed)
        except Unreadable:
            return True
        return isinstance(about, About) and what.fits(name.removeprefix(ANSWERS), about)

    async def stats(self) -> Mapping[str, int]:
        """Its own counts: keys of all kinds, and all bytes that it uses."""
        return {
            "entries": int(await self._redis.dbsize()),
            "bytes": int((await self._redis.info("memory"))["used_memory"]),
        }

    async def close(self) -> None:
        await self._redis.aclose()


def _keys(key: bytes) -> list[bytes]:
    return [ANSWERS + key, LEASES + key]


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1_000))


def _taken(packed: bytes, told: int, *, may_lead: bool = True) -> TakenUp:
    if told in (NOBODY, SOMEBODY):
        return TakenUp(lead=may_lead and told == NOBODY)
    return TakenUp(packed=packed, age_s=max(0.0, told / 1_000))
