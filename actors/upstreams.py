"""The providers that a process calls, made from the settings, and kept over every change that leaves them as they are.

    settings, endpoints ──► Upstreams.follow ──► EdgeProvider     called from here
                                             └─► ProviderRef      called through the provider's actor

Where nothing of a provider has changed it stays, with its connections. Where something has, calls that are under way
end in the old one; what is known of the provider, its doors, keys and load, outlives a change of everything but kind
and address.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.clock import SENSES
from actors.refs import AuthorityRef, ProviderRef
from runtime.assemble import Workshop, breaker_policy, places
from runtime.catalog import Catalog
from runtime.edge_provider import EdgeProvider
from runtime.feed import Endpoint
from runtime.gate import Gate
from runtime.settings import BadSettings, BreakerSettings, ProviderKind, ProviderSettings, Reach, Settings, Timeouts
from runtime.standing import Standing

log = logging.getLogger("raygate.edge")

Upstream = EdgeProvider | ProviderRef
_Parts = tuple[ProviderSettings, Endpoint | None, Timeouts, BreakerSettings]


@dataclass(slots=True)
class _Built:
    """An upstream and what it was made from: the same parts again need no new one."""

    upstream: Upstream
    made_from: _Parts


class Upstreams:
    """Belongs to one event loop.

    `own` is the provider whose actor this process is: the only one that it calls, and directly, whatever its reach.
    `via_actors` sends every call through the providers' actors.
    """

    def __init__(self, workshop: Workshop, *, node: str, own: str, via_actors: bool, rng: random.Random) -> None:
        self._workshop = workshop
        self._node = node
        self._own = own
        self._via_actors = via_actors
        self._rng = rng
        self._settings = Settings()
        self._endpoints: Mapping[str, Endpoint] = {}
        self._wanted: Mapping[str, _Parts] = {}
        self._built: dict[str, _Built] = {}
        self._retired: dict[int, Upstream] = {}
        self._standings: dict[str, tuple[tuple[str, str], Standing]] = {}
        self._authorities: dict[str, AuthorityRef] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def by_name(self) -> dict[str, Upstream]:
        return {name: built.upstream for name, built in self._built.items()}

    @property
    def gates(self) -> dict[str, Gate]:
        return {name: built.upstream.standing.gate for name, built in self._built.items()}

    def get(self, name: str) -> Upstream | None:
        built = self._built.get(name)
        return built.upstream if built is not None else None

    def follow(self, settings: Settings, told: tuple[Endpoint, ...], *, anew: bool, longest_s: float) -> Catalog | None:
        """Make what is new; keep what is unchanged; let go of the rest in `longest_s`, when its last call has ended.

        The catalogue of what is there now, or None where nothing has changed. `told` is where servers of ours listen;
        `anew`: these are other settings.
        """
        self._settings = settings
        # A manager that has just restarted does not know yet where a provider listens. It listens there all the same.
        self._endpoints = {
            **{name: one for name, one in self._endpoints.items() if self._is_local(name)},
            **{one.provider: one for one in told if self._is_local(one.provider)},
        }
        wanted = {
            name: (one, self._endpoints.get(name), settings.timeouts, settings.breaker)
            for name, one in settings.providers.items()
            if one.enabled and self._own in ("", name)
        }
        if not anew and wanted == self._wanted:
            return None
        self._wanted = wanted
        kept = {name: built for name, built in self._built.items() if wanted.get(name) == built.made_from}
        catalog = Catalog(settings)
        retired = [built for name, built in self._built.items() if name not in kept]
        self._built = kept
        self._standings = {name: one for name, one in self._standings.items() if name in wanted}
        for name, made_from in wanted.items():
            if name not in kept and (upstream := self._make(name, made_from, catalog)) is not None:
                self._built[name] = _Built(upstream, made_from)
        for name, built in self._built.items():
            if isinstance(built.upstream, EdgeProvider):
                built.upstream.catalog = catalog
                self.limit(name)
        for built in retired:
            self._retired[id(built.upstream)] = built.upstream
            asyncio.get_running_loop().call_later(longest_s, self._let_go, built.upstream)
        return catalog

    def limit(self, name: str, others: int = 0) -> None:
        """How many calls a provider takes at once, where other processes have so many there."""
        limit = places(self._settings.providers[name], self._settings, self._endpoints.get(name), others=others)
        self._built[name].upstream.standing.limit(limit, SENSES.clock, self._rng)

    def in_flight(self) -> dict[str, int]:
        """Calls that this process itself has under way; those through an actor are that actor's to report."""
        counts: Counter[str] = Counter()
        # A provider that was switched off or changed has calls under way that began before.
        for one in (*(built.upstream for built in self._built.values()), *self._retired.values()):
            if isinstance(one, EdgeProvider):
                counts[one.name] += one.standing.load.in_flight
        return {name: count for name, count in counts.items() if count}

    def waiting(self) -> dict[str, int]:
        """Calls that wait for a place."""
        queues = {name: built.upstream.standing.queue for name, built in self._built.items()}
        return {name: queue.queued for name, queue in queues.items() if queue is not None and queue.queued}

    def through_actors(self) -> dict[str, int]:
        """Calls that this process has under way through providers' actors."""
        refs = [built.upstream for built in self._built.values() if isinstance(built.upstream, ProviderRef)]
        return {one.name: count for one in refs if (count := one.standing.load.in_flight)}

    def actors(self) -> list[Any]:
        """The actors that are asked for this."""
        refs = [built.upstream.actor for built in self._built.values() if isinstance(built.upstream, ProviderRef)]
        return [*(authority.actor for authority in self._authorities.values()), *refs]

    async def close(self) -> None:
        """Let go of what was replaced, and wait for it. What is in use is its gateway's to close."""
        await asyncio.gather(*self._closing, return_exceptions=True)
        await asyncio.gather(*(one.close() for one in self._retired.values()), return_exceptions=True)
        self._retired.clear()

    def _let_go(self, upstream: Upstream) -> None:
        if self._retired.pop(id(upstream), None) is not None:
            closing = asyncio.ensure_future(upstream.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _is_local(self, name: str) -> bool:
        ours = self._settings.providers.get(name)
        return ours is not None and (ours.kind is ProviderKind.LOCAL or ours.managed is not None)

    def _make(self, name: str, made_from: _Parts, catalog: Catalog) -> Upstream | None:
        ours, endpoint, *_ = made_from
        standing = self._standing(name, ours.kind, endpoint.base_url if endpoint else ours.url)
        elsewhere = ours.reach is Reach.NODE and (endpoint is None or endpoint.node != self._node)
        if not self._own and (self._via_actors or ours.reach is Reach.ACTOR or elsewhere):
            return ProviderRef(name, standing.gate, standing=standing)
        authority = self._authorities.setdefault(name, AuthorityRef(name))
        try:
            return self._workshop.provider(
                name,
                self._settings,
                catalog=catalog,
                endpoint=endpoint,
                ask_permit=authority.permit,
                standing=standing,
            )
        except BadSettings as error:
            log.error("provider.unusable", extra={"provider": name, "why": str(error)})  # noqa: TRY400
            return None

    def _standing(self, name: str, kind: str, address: str) -> Standing:
        """What is known of this provider, if it is still the same one."""
        known = self._standings.get(name)
        if known is None or known[0] != (kind, address):
            known = ((kind, address), Standing(Gate(breaker_policy(self._settings), self._rng)))
            self._standings[name] = known
        known[1].gate.follow(breaker_policy(self._settings))
        return known[1]
