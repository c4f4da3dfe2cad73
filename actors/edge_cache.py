"""What an edge does about remembered answers: its way to the shared tier, what is to be forgotten, what it counts."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from actors.cache_ref import CacheRef
from actors.clock import SENSES
from actors.redis_cache import RedisStore
from runtime.cache import AnswerCache, Forget
from runtime.cache.semantic import Meanings
from runtime.cache.shared import SharedTier, Store
from runtime.feed import Snapshot
from runtime.gateway import Gateway
from runtime.memory.embed import default_embedder
from runtime.settings import BadSettings, CacheSettings, Settings, resolve_secret

log = logging.getLogger("raygate.cache")

COUNTED = "cache_"
"""How the names of its counters begin; the manager sums them over all edges."""
FORGOT = f"{COUNTED}forgot"
"""The number of the last word to forget that this edge has followed."""


class EdgeCache:
    """Belongs to one edge and its loop."""

    def __init__(self, counters: Counter[str], rng: random.Random, env: Mapping[str, str]) -> None:
        self.tier: SharedTier | None = None
        self._counters = counters
        self._rng = rng
        self._env = env
        self._settings = CacheSettings()
        self._forgot = (0, 0)
        self._meanings: Meanings | None = None
        self._loading: asyncio.Task[None] | None = None
        self._of: AnswerCache | None = None
        self._threshold: float | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def follow(self, settings: Settings, known: AnswerCache | None) -> AnswerCache | None:
        """Settings that hold from now on. Returns what is still remembered of before: keys know all the rest."""
        before, after = self._settings, settings.cache
        self._settings = after
        if (before.tier, before.url) != (after.tier, after.url):
            if self.tier is not None:
                closing = asyncio.ensure_future(self.tier.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
            self.tier = self._made(after)
        return known if before.max_mb == after.max_mb else None

    def understand(self, settings: Settings, gateway: Gateway) -> None:
        """Have the gateway find answers by their meaning, where the settings want that: once the vectors are read."""
        wants = settings.cache.semantic or any(one.cache.semantic for one in settings.routes.values())
        cache = gateway.policy.cache
        if not wants or cache is None:
            if self._of is not None:
                self._of.gone = lambda _: None
            self._meanings = self._of = None
            return
        if self._meanings is None or self._of is not cache or self._threshold != settings.cache.threshold:
            self._of, self._threshold = cache, settings.cache.threshold
            if self._loading is not None:
                self._loading.cancel()
            self._loading = asyncio.ensure_future(self._load(cache, settings.cache.threshold, gateway))
        else:
            gateway.policy = replace(gateway.policy, meanings=self._meanings)

    async def _load(self, cache: AnswerCache, threshold: float | None, gateway: Gateway) -> None:
        try:
            embedder = await asyncio.to_thread(default_embedder)
        except Exception:  # whatever it is, requests go on without it
            log.exception("cache.no_embedder")
            return
        # What is remembered already has no meaning yet: only its very words find it.
        made = self._meanings = Meanings(embedder, threshold=threshold)
        cache.gone = made.gone
        if gateway.policy.cache is cache:
            gateway.policy = replace(gateway.policy, meanings=made)

    def judged(self, request_id: str, *, good: bool, gateway: Gateway) -> None:
        """What somebody thinks of an answer: one that was given for its meaning, and is bad, is not given again."""
        key = None if self._meanings is None else self._meanings.judged(request_id, good=good)
        if key is not None and gateway.policy.cache is not None:
            gateway.policy.cache.forget(Forget(key=key.hex()))

    def _made(self, settings: CacheSettings) -> SharedTier | None:
        store: Store
        match settings.tier:
            case "edge":
                return None
            case "actor":
                store = CacheRef()
            case "redis":
                try:
                    url = resolve_secret(settings.url, self._env)
                    store = RedisStore(url or "")
                except (ImportError, ValueError, BadSettings) as error:
                    log.error("cache.no_redis", extra={"why": str(error)})  # noqa: TRY400
                    return None
        return SharedTier(store, clock=SENSES.clock, rng=self._rng)

    def forget(self, snapshot: Snapshot, cache: AnswerCache | None) -> bool:
        """Follow what is to be forgotten. True if there was anything."""
        incarnation, seen = self._forgot
        if incarnation != snapshot.incarnation:
            incarnation, seen = snapshot.incarnation, 0
        news = [one for one in snapshot.forgets if one.number > seen]
        self._forgot = (incarnation, news[-1].number if news else seen)
        self._counters[FORGOT] = self._forgot[1]
        if cache is not None and news:
            # Words that have been dropped meanwhile may have been about anything.
            for one in news if news[0].number == seen + 1 else [Forget()]:
                cache.forget(one)
        return bool(news)

    def count(self, gateway: Gateway) -> None:
        """What the manager hears of it with the next report."""
        cache = gateway.policy.cache
        if cache is None:
            return
        counts, counters = cache.counts, self._counters
        counters[f"{COUNTED}entries"], counters[f"{COUNTED}bytes"] = len(cache), cache.bytes
        for name in counts.__slots__:
            counters[COUNTED + name] = getattr(counts, name)
        if self._meanings is not None:
            for name in self._meanings.counts.__slots__:
                counters[f"{COUNTED}semantic_{name}"] = getattr(self._meanings.counts, name)
            for why, count in self._meanings.doubted.items():
                counters[f"{COUNTED}semantic_doubted_{why}"] = count
        if self.tier is not None:
            counters[f"{COUNTED}shared_found"] = self.tier.found
            counters[f"{COUNTED}shared_waited"] = self.tier.waited
            counters[f"{COUNTED}shared_away"] = self.tier.away

    async def stop(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
        if self.tier is not None:
            await self.tier.close()
        await asyncio.gather(*self._closing, return_exceptions=True)
