"""The manager's care for the other actors: makes those that the settings ask for, ends those that they no longer do,
and knows where the model servers among them listen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from ray.exceptions import RayError

from actors import supervisor
from actors.authorities import Authorities
from actors.background import Background
from actors.cache_actor import CacheActor
from actors.cache_ref import CacheRef
from actors.clock import SENSES
from actors.fleet import Fleet, managed_of
from actors.held import Held
from actors.leaving import Leaving
from actors.ledger_actor import LedgerActor
from actors.local_model import LocalModelActor
from actors.names import CACHE, COPY, LEDGER, LOCAL_MODEL, RUVECTOR, provider_actor
from actors.provider_actor import ProviderActor
from actors.refs import LocalModelRef, Unreachable, last_line
from actors.ruvector_actor import RuVectorActor
from runtime.feed import Endpoint

log = logging.getLogger("raygate.manager")


class Household:
    """Belongs to one event loop. `calls` says how many calls a provider has under way and waiting; `publish` is called
    when an endpoint has changed; `forget`, when a provider is no more."""

    def __init__(
        self,
        folder: Path,
        authorities: Authorities,
        *,
        held: Callable[[], Held],
        calls: Callable[[str], tuple[int, int]],
        publish: Callable[[], None],
        forget: Callable[[str], None],
    ) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.cache = CacheRef()
        self._folder = folder
        self._authorities = authorities
        self._held = held
        self._calls = calls
        self._publish = publish
        self._forget = forget
        self._supervising = asyncio.Lock()
        self._leaving = Leaving()
        self._inherited = False
        self._local_model = LocalModelRef()
        self._local_model_of: str | None = None
        self._fleet = Fleet(folder)
        self._cache_mb = 0

    async def supervise(self, background: Background) -> None:
        """One round. What is made, ended or found missing here is so by the settings that hold when its turn comes."""
        # One at a time: an older round must not undo what a newer one has done.
        async with self._supervising:
            if not self._inherited:
                await self._inherit()
            await self._supervise_providers(background)
            await asyncio.to_thread(supervisor.ensure, LEDGER, LedgerActor, str(self._folder), here=True)
            if not self._held().settings.learning.enabled:
                await asyncio.to_thread(supervisor.remove, RUVECTOR)
            await self._supervise_cache(background)
            local = self._held().local_provider
            if local is not None:
                self._leaving.stays(LOCAL_MODEL)
                await asyncio.to_thread(supervisor.ensure, LOCAL_MODEL, LocalModelActor)
            elif self._local_model_of is not None:
                self._let_go(LOCAL_MODEL, self._local_model_of)
            self._local_model_of = local
            for actor in self._leaving.due(SENSES.clock(), lambda provider: self._calls(provider)[0]):
                await asyncio.to_thread(supervisor.remove, actor)

    async def make_learner(self) -> None:
        await asyncio.to_thread(supervisor.ensure, RUVECTOR, RuVectorActor, str(self._folder), here=True)

    async def look_after_local_model(self) -> None:
        """Tell the embedded model's actor what to serve; it may have restarted and listen elsewhere."""
        name = self._held().local_provider
        if name is None:
            return
        ours = self._held().settings.local
        base_url, api_key, node = await self._local_model.serve(
            threads=ours.threads, context_length=ours.context_length, slots=ours.slots
        )
        endpoint = Endpoint(provider=name, base_url=base_url, api_key=api_key, node=node)
        if self._held().local_provider == name and self.endpoints.get(name) != endpoint:
            moved = name in self.endpoints
            self._tell({**self.endpoints, name: endpoint})
            if moved:
                # What the dead one did at its old address says nothing about this one.
                await self._authorities.reopen(name)

    async def look_after_copies(self) -> None:
        """Have as many copies of the servers that we run as their calls ask for; tell where those that serve listen."""
        if not self._inherited:
            return
        managed = managed_of(self._held().settings)
        wanted = self._fleet.wanted(managed, {name: sum(self._calls(name)) for name in managed}, SENSES.clock())
        for actor, name in self._fleet.superfluous(wanted):
            self._let_go(actor, name)
        found = await self._fleet.serve(managed, wanted, keep=self._leaving.stays)
        ours = {name: one for name, one in self.endpoints.items() if name not in managed}
        # Where none answers just now the last that did are told: their edges find out by themselves.
        now = {name: found.get(name, self.endpoints.get(name)) for name in managed}
        self._tell({**ours, **{name: one for name, one in now.items() if one is not None}})

    def drop_endpoints(self) -> None:
        """Of those whom the settings that have just come do not ask for. Who sets settings publishes by himself."""
        kept = {self._held().local_provider, *managed_of(self._held().settings)}
        self.endpoints = {name: one for name, one in self.endpoints.items() if name in kept}

    def _tell(self, endpoints: Mapping[str, Endpoint]) -> None:
        if endpoints != self.endpoints:
            self.endpoints = dict(endpoints)
            self._publish()

    async def _supervise_providers(self, background: Background) -> None:
        wanted = set(self._held().enabled)
        for name in self._authorities.superfluous(wanted):
            self._authorities.end(name)
            self._forget(name)
            self._let_go(provider_actor(name), name)
        for name in wanted:
            self._leaving.stays(provider_actor(name))
            try:
                await asyncio.to_thread(supervisor.ensure, provider_actor(name), ProviderActor, name)
            except Exception as error:  # the others are to have theirs; this one's turn comes again
                log.warning("supervise.failed", extra={"provider": name, "why": last_line(error)})
            self._authorities.begin(name, background)

    async def _supervise_cache(self, background: Background) -> None:
        """The actor in which all replicas remember answers, where the settings want one."""
        if not self._held().shares_answers:
            await asyncio.to_thread(supervisor.remove, CACHE)
            self._cache_mb = 0
            return
        wanted_mb = self._held().settings.cache.shared_mb
        await asyncio.to_thread(supervisor.ensure, CACHE, CacheActor, wanted_mb * 1_000_000)
        if wanted_mb != self._cache_mb:
            # One that was there before may have another size; one that is only starting keeps nobody waiting.
            self._cache_mb = wanted_mb
            background.keep(self._resize_cache(wanted_mb))

    async def _resize_cache(self, wanted_mb: int) -> None:
        try:
            await self.cache.resize(wanted_mb * 1_000_000)
        except (Unreachable, RayError) as error:
            log.warning("cache.not_resized", extra={"why": last_line(error)})
            self._cache_mb = 0  # once more, with the next round

    def _let_go(self, actor: str, provider: str) -> None:
        """End this actor, once the calls to its provider are over."""
        settings = self._held().settings
        limits = [settings.timeouts.total_s, *(one.timeout_s or 0.0 for one in settings.providers.values())]
        self._leaving.let_go(actor, provider, SENSES.clock(), longest_s=max(limits))

    async def _inherit(self) -> None:
        """Let go of what a manager before this one had no time to end."""
        for actor in await asyncio.to_thread(supervisor.existing):
            if actor.startswith(COPY):
                self._fleet.inherit(actor)
            if actor == LOCAL_MODEL or actor.startswith(provider_actor("")):
                self._let_go(actor, actor.removeprefix(provider_actor("")))
        self._inherited = True
