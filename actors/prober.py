"""Asks one provider by calls that cost nothing: the only prober of it in the cluster, in its actor.

Traffic says more than any probe, so a provider is asked only while nobody calls it, or while a free call has shut it;
and with a key that was refused, to learn when it is good again. Where a free call is answered to anybody, it says
nothing of keys.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from actors.clock import SENSES
from actors.environment import environment
from actors.refs import last_line
from runtime.assemble import Workshop
from runtime.authority import Authority
from runtime.catalog import Catalog
from runtime.edge_provider import EdgeProvider
from runtime.feed import Endpoint, Exchange
from runtime.settings import BadSettings, Settings

log = logging.getLogger("raygate.prober")

AGAIN_S = 1.0
"""One free call that reached nobody may be chance; a second one after so long is none."""
OFF_S = 5.0
"""How often to look whether it has been switched on."""


class Prober:
    """Belongs to one event loop. `changed` is called when the authority's state has."""

    def __init__(self, provider: str, authority: Authority, changed: Callable[[], Awaitable[object]]) -> None:
        self._name = provider
        self._authority = authority
        self._changed = changed
        self._rng = random.Random()
        self._workshop = Workshop(senses=SENSES, rng=self._rng, sleep=asyncio.sleep, env=environment())
        self._settings: Settings | None = None
        self._endpoint: Endpoint | None = None
        self._every_s = 0.0
        self._upstream: EdgeProvider | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def follow(self, batch: Exchange) -> bool:
        """Take over settings. False if it was never given any."""
        self._every_s = batch.policy.health_every_s
        if batch.settings is not None or batch.endpoint != self._endpoint:
            if batch.settings is not None:
                self._settings = Settings.from_document(batch.settings)
            self._endpoint = batch.endpoint
            self._build()
        return self._settings is not None

    async def run(self) -> None:
        """For ever: whatever goes wrong, the next round comes."""
        while True:
            await asyncio.sleep(self._every_s * self._rng.uniform(0.75, 1.25) if self._every_s else OFF_S)
            try:
                if self._every_s:
                    await self.round()
            except Exception as error:
                log.warning("probe.failed", exc_info=error, extra={"provider": self._name, "why": last_line(error)})

    async def close(self) -> None:
        """Give the connections back."""
        if self._upstream is not None:
            await self._upstream.close()

    async def round(self) -> None:
        """Ask what is worth asking now."""
        upstream = self._upstream
        if upstream is None or upstream.spec.not_yet:
            return
        changed = False
        for key in self._authority.disabled_keys(SENSES.clock()):
            if upstream.spec.proves_keys and key in upstream.spec.secrets and await upstream.free_call(key) is None:
                changed |= self._authority.key_works(key)
        if self._authority.wants_free_call(SENSES.clock()):
            why = await self._unreached(upstream)
            if why:
                await asyncio.sleep(AGAIN_S)
                why = await self._unreached(upstream)
            changed |= self._authority.free_call(SENSES.clock(), reached=not why, why=why)
        if changed:
            await self._changed()

    async def _unreached(self, upstream: EdgeProvider) -> str:
        """Why it cannot be reached; empty if it can, whatever it says."""
        failure = await upstream.free_call(next(iter(upstream.spec.secrets), ""))
        return failure.detail if failure is not None and failure.scope == "provider" else ""

    def _build(self) -> None:
        old, self._upstream = self._upstream, None
        if old is not None:
            task = asyncio.create_task(old.close())
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        if self._settings is None or self._name not in self._settings.providers:
            return
        try:
            self._upstream = self._workshop.provider(
                self._name, self._settings, catalog=Catalog(self._settings), endpoint=self._endpoint
            )
        except BadSettings as error:
            log.warning("probe.impossible", extra={"provider": self._name, "why": str(error)})
