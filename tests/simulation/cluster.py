"""Edges and the authorities that they share, as `actors/` wires them, without Ray: messages take time and get lost.

    edge ── EdgeReport, at least once ──► Center (the manager and the providers' actors) ── Snapshot ──► each edge
    edge ── permit? ──► authority, or nobody if it is down or the edge is cut off

The parts are the real ones: `Workshop`, `EdgeProvider`, `Gateway`, `SharedView`, `Authority`.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from runtime.assemble import Workshop, authority_policy, policy_of
from runtime.authority import Authority
from runtime.breaker import Permit, Refusal
from runtime.catalog import Catalog
from runtime.edge_provider import AskPermit, EdgeProvider, Senses
from runtime.feed import EdgeReport, Measured, Published
from runtime.gateway import Gateway
from runtime.settings import Settings
from runtime.transport.base import Transport
from runtime.view import SharedView, by_model

HEARTBEAT_S = 5.0
OUT_OF_REACH_S = 1.0
"""How long an authority that is down is waited for, as in `actors/refs.py`."""
NOT_YET_S = 1.0

Note = Callable[..., None]


@dataclass(slots=True)
class Network:
    """How messages fare between edges and their manager: a delay each, and a share that is lost."""

    rng: random.Random
    delay_s: float
    lost: float

    def delay(self) -> float:
        return self.rng.uniform(0.2, 1.8) * self.delay_s

    def loses(self) -> bool:
        return self.rng.random() < self.lost


class Edge:
    """One process that calls providers: a gateway, its report loop, and what was published to it last."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        rng: random.Random,
        transport: Callable[[str], Transport],
        ask_permit: Callable[[str], AskPermit],
        note: Note,
        adopted: Callable[[Edge, str, float], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.rng = rng
        self.note = note
        self._adopted = adopted
        self.clock = loop.time
        self.urgent = asyncio.Event()
        self.published: dict[str, Published] = {}
        self.cut_until = 0.0
        self.counted: Counter[str] = Counter()
        self._sequence = 0
        self._unsent: EdgeReport | None = None
        workshop = Workshop(
            senses=Senses(clock=loop.time, wall=lambda: 1.7e9 + loop.time()),
            rng=rng,
            sleep=asyncio.sleep,
            env={},
            on_change=self.urgent.set,
        )
        self.observations = workshop.observations
        catalog = Catalog(settings)
        self.providers: dict[str, EdgeProvider] = {}
        for provider in settings.providers:
            made = workshop.provider(provider, settings, catalog=catalog, ask_permit=ask_permit(provider))
            made.transport = transport(provider)
            self.providers[provider] = made
        self.gateway = Gateway(
            policy_of(settings, self.providers, catalog), clock=loop.time, sleep=asyncio.sleep, rng=rng
        )

    @property
    def cut_off(self) -> bool:
        return self.clock() < self.cut_until

    @property
    def in_flight(self) -> int:
        return sum(one.standing.load.in_flight for one in self.providers.values())

    def adopt(self, published: Published, measured: dict[str, Measured], others: int) -> None:
        self.published[published.provider] = published
        standing = self.providers[published.provider].standing
        standing.adopt(published, self.clock())
        standing.learn(measured, others, self.clock())
        # What the provider told this edge itself comes back late: its own moment is the one that counts.
        told_here = published.wait_id in standing.gate._whole._told
        self._adopted(self, published.provider, 0.0 if told_here else published.throttled_for_s)

    async def tell(self, center: Center) -> None:
        """As `actors.edge.Edge._tell`: once a second, at once on a change, again what did not get through."""
        while True:
            try:
                async with asyncio.timeout(self.rng.uniform(0.75, 1.25)):
                    await self.urgent.wait()
            except TimeoutError:
                pass
            self.urgent.clear()
            if self._unsent is None and self.observations:
                self._unsent = self._report()
            if self._unsent is not None and await self._delivered(center, self._unsent):
                self._unsent = None

    async def _delivered(self, center: Center, report: EdgeReport) -> bool:
        network = center.network
        await asyncio.sleep(network.delay())
        if self.cut_off or network.loses():
            return False
        center.report(report)
        # The report came, and the answer that says so gets lost: it is sent once more.
        return not network.loses()

    def take(self) -> EdgeReport | None:
        """What was seen and not yet reported, counted."""
        return self._report() if self.observations else None

    def _report(self) -> EdgeReport:
        self._sequence += 1
        observed = self.observations.take()
        for one in observed:
            self.counted[one.provider] += one.answered + sum(one.failures.values())
        now = self.clock()
        return EdgeReport(
            edge=self.name,
            sequence=self._sequence,
            observed=observed,
            in_flight={name: one.standing.load.in_flight for name, one in self.providers.items()},
            shut={
                f"{name}/{model}" if model else name: wait_s
                for name, one in self.providers.items()
                for model, wait_s in one.standing.gate.own_retry_in_s(now).items()
            },
        )


@dataclass(slots=True)
class Granted:
    """A permit that an authority gave away. `reported`: somebody has told what became of it.

    `whole`: the provider's own door was one of those that it is for; else it is for the model's alone.
    """

    at: float
    spell: int
    edge: str
    model: str
    whole: bool
    reported: bool = False
    good: bool = False


@dataclass(slots=True)
class Center:
    """The manager, and every provider's authority; one of these may be down for a while."""

    settings: Settings
    network: Network
    note: Note
    wrong: Note
    edges: list[Edge] = field(default_factory=list)
    view: SharedView = field(default_factory=SharedView)
    authorities: dict[str, Authority] = field(default_factory=dict)
    granted: dict[str, list[Granted]] = field(default_factory=dict)
    counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    _published: dict[str, tuple[Published, float]] = field(default_factory=dict)
    _back_at: dict[str, float] = field(default_factory=dict)
    _version: int = 0
    _adopted: dict[tuple[str, str], int] = field(default_factory=dict)
    _asking_again: set[tuple[str, str]] = field(default_factory=set)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def start(self) -> None:
        for provider in self.settings.providers:
            self._begin(provider)

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            for provider, authority in self.authorities.items():
                self._publish(authority.published(self.now), provider)

    def stop_authority(self, provider: str, for_s: float) -> None:
        """It is gone, and with it what it knew; it comes back with what the manager knew of it."""
        if self.authorities.pop(provider, None) is None:
            return
        self.note("authority down", provider, for_s)
        self._back_at[provider] = self.now + for_s
        asyncio.get_running_loop().call_later(for_s, self._begin, provider)

    def report(self, report: EdgeReport) -> None:
        if not self.view.apply(report, self.now):
            self.note("report again", report.edge, report.sequence)
            return
        for provider in dict.fromkeys(one.provider for one in report.observed):
            observed = [one for one in report.observed if one.provider == provider]
            for one in observed:
                self.counted[report.edge, provider] += one.answered + sum(one.failures.values())
                for permit in self.granted.get(provider, ()):
                    if permit.spell == one.spell:
                        permit.reported = True
                        permit.good |= one.good > 0
            if (authority := self.authorities.get(provider)) is not None:
                was_open = authority.published(self.now).open
                authority.apply(report.edge, observed, self.now)
                published = authority.published(self.now)
                if was_open and not published.open and not self._probe_was_good(provider):
                    self.wrong(f"{provider}: closed, and its last probe was not good")
                self._publish(published, provider)

    async def permit(self, edge: Edge, provider: str, model: str) -> Permit | Refusal | None:
        await asyncio.sleep(self.network.delay())
        authority = self.authorities.get(provider)
        if authority is None or edge.cut_off:
            if self._back_at.get(provider, 0.0) == self.now:
                return Refusal(NOT_YET_S)
            await asyncio.sleep(OUT_OF_REACH_S)
            return None
        answer = authority.permit(self.now, model)
        if isinstance(answer, Permit) and answer.probe:
            self._grant(edge, provider, model, answer)
            self._publish(authority.published(self.now), provider)
        await asyncio.sleep(self.network.delay())
        return answer

    def _probe_was_good(self, provider: str) -> bool:
        granted = self.granted.get(provider, [])
        return bool(granted) and granted[-1].good

    def _grant(self, edge: Edge, provider: str, model: str, permit: Permit) -> None:
        self.note("permit", provider, edge.name, permit.spell)
        before = self.granted.setdefault(provider, [])
        ttl_s = self.settings.breaker.probe_ttl_s
        if before and permit.spell <= before[-1].spell:
            self.wrong(f"{provider}: the permit of spell {permit.spell} is not above that of {before[-1].spell}")
        granted = Granted(
            self.now, permit.spell, edge.name, model, whole=self.authorities[provider].published(self.now).open
        )
        for one in before:
            out = not one.reported and self.now < one.at + ttl_s - 1e-6
            if out and (one.model == model or (one.whole and granted.whole)):
                self.wrong(f"{provider}: a second permit while the first of {one.at:.3f} is out, to {edge.name}")
        before.append(granted)

    def _begin(self, provider: str) -> None:
        known = self._published.get(provider)
        last = known[0].aged(self.now - known[1]) if known else None
        authority = Authority(provider, authority_policy(self.settings), now=self.now, last=last)
        self.authorities[provider] = authority
        published = authority.published(self.now)
        if last is not None and last.open and (not published.open or published.retry_in_s < last.retry_in_s - 1e-6):
            self.wrong(f"{provider}: its authority came back and forgot {last}")
        if last is not None and published.throttled_for_s < last.throttled_for_s - 1e-6:
            self.wrong(f"{provider}: its authority came back and forgot the wait of {last}")
        self._publish(published, provider)

    def _publish(self, published: Published, provider: str) -> None:
        """To the manager, and from there to each edge, in order."""
        before = self._published.get(provider)
        if before is not None and published.spell < before[0].spell:
            self.wrong(f"{provider}: spell {published.spell} after {before[0].spell}")
        self._published[provider] = (published, self.now)
        self._version += 1
        loop = asyncio.get_running_loop()
        for edge in self.edges:
            loop.call_later(self.network.delay(), self._arrives, edge, self._version, published)

    def _arrives(self, edge: Edge, version: int, published: Published) -> None:
        provider = published.provider
        if version <= self._adopted.get((edge.name, provider), 0):
            return  # overtaken on its way
        if edge.cut_off or self.network.loses():
            if (edge.name, provider) not in self._asking_again:
                self._asking_again.add((edge.name, provider))
                asyncio.get_running_loop().call_later(0.5, self._again, edge, provider)
            return
        self._adopted[edge.name, provider] = version
        measured = by_model(self.view.measured(self.now)).get(provider, {})
        others = self.view.counted(self.now, every_s=1.0).others(edge.name)
        edge.adopt(published, measured, others.get(provider, 0))

    def _again(self, edge: Edge, provider: str) -> None:
        """A poll that failed is made again, and finds what is true by then."""
        self._asking_again.discard((edge.name, provider))
        known, at = self._published[provider]
        self._arrives(edge, self._version, known.aged(self.now - at))
