"""A process that calls providers by itself: its gateway, kept true by the manager's feed.

    manager ── Snapshot ──► Edge.apply ──► Policy (whole), Standing of each provider
    manager ◄─ EdgeReport ── Edge._tell ◄── Observations of every EdgeProvider

An edge never waits for an actor on a request's usual path. If the manager dies it goes on with what it knows.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import random
import secrets
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from actors.books import BooksPolicy, ProcessBooks
from actors.clock import SENSES
from actors.edge_cache import EdgeCache
from actors.events import EventsOut
from actors.judging import JUDGE, Judge
from actors.launch.processes import MARK
from actors.learning import EdgeLearning
from actors.ledger_ref import LedgerRef
from actors.names import JOURNALS
from actors.passes import Passes
from actors.refs import ManagerRef, Unreachable, last_line
from actors.till import Till
from actors.tracing import opened
from actors.upstreams import Upstreams
from runtime.assemble import Workshop, policy_of
from runtime.events import Bus
from runtime.feed import EdgeReport, Endpoint, KeyInfo, Published, Snapshot
from runtime.gateway import Gateway
from runtime.hooks.build import Rack, close
from runtime.hooks.mounted import Mounted
from runtime.ledger.purse import OwnerDead, Purse, PursePolicy
from runtime.metrics.labels import Labels
from runtime.metrics.meter import Meter
from runtime.metrics.sums import Family, Sums, doors, levels
from runtime.models import NANOUSD
from runtime.outcome import Failure
from runtime.request import Request
from runtime.settings import Settings
from runtime.view import by_model, strictest

log = logging.getLogger("raygate.edge")

RETRY_S = 0.1
LONGEST_RETRY_S = 2.0
"""A lost manager is tried again after `RETRY_S`, doubled up to this, with jitter."""
LAST_WORD_S = 2.0
"""How long an edge that ends tries to report what it has seen last."""
TRUST_S = 5.0
"""For so long after a manager's start what we took for shut stays so: until then it may not have heard all edges."""


class Edge:
    """Belongs to one event loop. `start` it, then use `gateway`; `stop` ends its loops and connections.

    `own` is the provider whose actor this process is: the only one that it calls, and directly, whatever its
    reach. `via_actors` sends every call through the providers' actors.
    """

    def __init__(
        self,
        name: str,
        *,
        node: str,
        env: Mapping[str, str],
        own: str = "",
        via_actors: bool = False,
        folder: Path | None = None,
    ) -> None:
        # A process may start its edge again, and count its reports from 1 again: that is another edge. By the same word
        # the ledger knows its journal and its leases.
        self.writer = secrets.token_hex(6)
        self.name = f"{name}:{self.writer}"
        self.node = node
        self._env = env
        self._own = own
        self.settings = Settings()
        self.keys: Mapping[str, KeyInfo] = {}
        self.manager = ManagerRef()
        self.ledger = LedgerRef()
        self.passes = Passes(self.ledger.present, SENSES.clock, away=Unreachable)
        self._accounts = (0, 0)
        self.till = Till(Purse(edge=self.writer), self.passes, self.ledger.exchange, SENSES.clock, away=Unreachable)
        self.books = None if folder is None else ProcessBooks(folder / JOURNALS, self.ledger.ship, writer=self.writer)
        self.counters: Counter[str] = Counter()
        self._rng = random.Random()
        self.events = Bus(SENSES.wall, self.name)
        self._events_out = EventsOut(self.events, self.manager.tell_events)
        self.cache = EdgeCache(self.counters, self._rng, env)
        self.learning = EdgeLearning(self.writer, SENSES, self._rng, self.counters, events=self.events)
        self._urgent = asyncio.Event()
        self._ready = asyncio.Event()
        self._workshop = Workshop(
            senses=SENSES,
            rng=self._rng,
            sleep=asyncio.sleep,
            env=env,
            on_change=self._urgent.set,
            books=self.books,
            till=self.till,
        )
        self.upstreams = Upstreams(self._workshop, node=node, own=own, via_actors=via_actors, rng=self._rng)
        self._stamp: tuple[int, int] | None = None
        self._settings_version = -1
        self._sequence = 0
        self._unsent: tuple[EdgeReport, float] | None = None
        self._views: tuple[Published, ...] | None = None
        self._kept: Mapping[str, Published] = {}
        self._trusted_at = 0.0
        self._published: dict[str, tuple[Published, float]] = {}
        self._told_in_flight: dict[str, int] = {}
        self._told_counters: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []
        self._hooks = Rack(SENSES.clock)
        self.meter = Meter(Labels(self.settings), self.counters)
        self._sums = Sums()
        # A provider's actor carries out attempts of others, who tell of them.
        self.traces = None if own else opened(env)
        self.gateway = Gateway(
            policy_of(self.settings, {}),
            clock=SENSES.clock,
            rng=self._rng,
            books=self.books,
            events=self.events,
            traces=self.traces,
        )

        self.learning.ask_vectors = self.gateway.embed
        self.learning.judge = Judge(
            self.gateway.complete,
            self.learning.feedback,
            lambda: self.ledger.ask("spend", last="24h", key=JUDGE, who=JUDGE),
            senses=SENSES,
            rng=self._rng,
            counters=self.counters,
        )

    @property
    def ready(self) -> bool:
        """True once a first snapshot was applied."""
        return self._ready.is_set()

    @property
    def behind_proxy(self) -> bool:
        """Whether whoever calls this process over HTTP is our own HAProxy, whose word can be trusted."""
        return bool(self._env.get(MARK)) and self._env.get("RAY_SERVE_ENABLE_HA_PROXY") == "1"

    @property
    def stamp(self) -> tuple[int, int] | None:
        """Of the last snapshot: another one once the manager has published anything."""
        return self._stamp

    async def start(self) -> None:
        """Follow the feed and report; returns once the first snapshot was applied."""
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._tell())]
        await self._ready.wait()
        self.till.start()
        if self.books is not None:
            self.books.start()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            await self._say_last_word()
        await self.upstreams.close()
        await self.gateway.close()
        for mounted in (*self._hooks.all(), *self._hooks.leaving()):
            await close(mounted)
        await self._events_out.stop()
        await self.learning.stop()
        await self.cache.stop()
        await self.till.stop()
        if self.traces is not None:
            await asyncio.to_thread(self.traces.close)
        if self.books is not None:
            await self.books.stop()

    async def _say_last_word(self) -> None:
        """What was seen since the last report, and that report if it did not get through."""
        try:
            async with asyncio.timeout(LAST_WORD_S):
                await self._report_news()
                await self._report_news()
        except Exception as error:  # a manager that is away must not keep us from ending
            log.warning("feed.last_report_lost", extra={"why": last_line(error)})

    async def explain(self, request: Request) -> Mapping[str, object] | Failure:
        """Whom a request would go to, and why: `Gateway.explain`, with the nearest of what was asked before."""
        if self.gateway.policy.hooks is None:  # what they would take out of a text is not to be sent to be embedded
            await self.gateway.awaited(request)
        told = self.gateway.explain(request)
        return told if isinstance(told, Failure) else await self.learning.explained(request, told)

    def apply(self, snapshot: Snapshot) -> None:
        """Take over a snapshot, whole: settings if they are new, then every provider's state."""
        if snapshot.settings is not None:
            self.settings = Settings.from_document(snapshot.settings)
            self._follow_ledger_settings()
            self.learning.follow(self.settings.learning)
            self.meter.labels = Labels(self.settings)
            self._settings_version = snapshot.settings_version
        self.keys = {key.sha256: key for key in snapshot.keys}
        if (accounts := snapshot.accounts) is not None and accounts.stamp != self._accounts:
            if accounts.epoch != self._accounts[0]:
                self._greet()
            self._accounts = accounts.stamp
            self.passes.renew(accounts.revoked)
        self._build(snapshot.endpoints, anew=snapshot.settings is not None)
        if self.cache.forget(snapshot, self.gateway.policy.cache):
            self._urgent.set()
        self._events_out.follow(snapshot.watched)
        now = SENSES.clock()
        if self._stamp is None or self._stamp[0] != snapshot.incarnation:
            # A manager that has just started may know less of what is shut than we do until now.
            self._views = tuple(gate.view(name, now) for name, gate in self.upstreams.gates.items())
            self._kept = {view.provider: view for view in self._views}
            self._trusted_at = now + TRUST_S
            asyncio.get_running_loop().call_later(TRUST_S, self._trust)
            self._urgent.set()
        self._published = {one.provider: (one, now) for one in snapshot.providers}
        for name in self._published:
            self._adopt(name, now)
        measured = by_model(snapshot.measured)
        for name, upstream in self.upstreams.by_name.items():
            others = snapshot.others_in_flight.get(name, 0)
            upstream.standing.learn(measured.get(name, {}), others, now, every_s=self.settings.feed.report_every_s)
            if self.settings.providers[name].managed is not None:
                self.upstreams.limit(name, others)
        # Last: a snapshot that could not be taken is asked for again.
        self._stamp = snapshot.stamp
        self._ready.set()

    def _greet(self) -> None:
        """Tell a ledger that has just started of us, and of all leases that we have."""
        self.till.another_owner()
        greeting = asyncio.ensure_future(self._say_hello())
        self._tasks.append(greeting)
        greeting.add_done_callback(self._tasks.remove)

    async def _say_hello(self) -> None:
        try:
            await self.ledger.hello(self.writer)
        except Unreachable as error:  # it will lend all the same once earlier leases have ended
            log.warning("ledger.no_hello", extra={"why": last_line(error)})

    def _adopt(self, name: str, now: float) -> None:
        """Take over what was last published of a provider, and for a while after a manager's start what was before."""
        published, at = self._published[name]
        published = published.aged(now - at)
        if name in self._kept:
            published = strictest([published, self._kept[name].aged(now - self._trusted_at + TRUST_S)])
        if (upstream := self.upstreams.get(name)) is not None:
            upstream.standing.adopt(published, now)

    def _trust(self) -> None:
        now = SENSES.clock()
        if now < self._trusted_at - 0.01:
            return  # another manager has started meanwhile
        self._kept = {}
        for name in self._published:
            self._adopt(name, now)

    def _follow_ledger_settings(self) -> None:
        ours = self.settings.ledger
        self.till.purse.policy = PursePolicy(
            owner_dead=OwnerDead(ours.owner_lost), open_nanousd=int(ours.open_usd * NANOUSD)
        )
        if self.books is not None:
            self.books.policy = BooksPolicy(durability=ours.durability, on_error=ours.on_error)

    def _build(self, endpoints: tuple[Endpoint, ...], *, anew: bool) -> None:
        """Follow settings and endpoints, where either has changed."""
        # Calls under way end by the time limit that they began with; then their connections may go.
        longest_s = self.gateway.policy.deadline_s
        catalog = self.upstreams.follow(self.settings, endpoints, anew=anew, longest_s=longest_s)
        if catalog is None:
            return
        # A provider's actor carries out what a gateway before it has decided: hooks had their turn there.
        hooks = None if self._own else self._hooks.chain(self.settings, self._env)
        self.gateway.policy = policy_of(
            self.settings,
            self.upstreams.by_name,
            catalog,
            self.cache.follow(self.settings, self.gateway.policy.cache),
            self._workshop.ratios,
            adviser=self.learning,
            hooks=hooks,
            shared=self.cache.tier,
        )
        if not self._own:
            self.cache.understand(self.settings, self.gateway)
        for mounted in self._hooks.leaving():
            asyncio.get_running_loop().call_later(longest_s, self._end, mounted)

    def _end(self, mounted: Mounted) -> None:
        closing = asyncio.ensure_future(close(mounted))
        self._tasks.append(closing)
        closing.add_done_callback(self._tasks.remove)

    # The feed.

    async def _follow(self) -> None:
        wait_s = RETRY_S
        while True:
            try:
                snapshot = await self.manager.poll(
                    self.name,
                    stamp=self._stamp,
                    settings_version=self._settings_version,
                    wait_s=self.settings.feed.poll_s,
                )
                if snapshot is not None:
                    self.apply(snapshot)
                wait_s = RETRY_S
            except Exception as error:  # whatever it is, an edge that no longer follows goes stale
                log.warning("feed.lost", extra={"why": last_line(error), "again_in_s": wait_s})
                await asyncio.sleep(wait_s * self._rng.uniform(0.5, 1.5))
                wait_s = min(LONGEST_RETRY_S, wait_s * 2)

    async def _tell(self) -> None:
        """A report a second while there is something to say; at once on a change of state; none when idle."""
        while True:
            try:
                every_s = self.settings.feed.report_every_s
                async with asyncio.timeout(every_s * self._rng.uniform(0.75, 1.25)):
                    await self._urgent.wait()
            except TimeoutError:
                pass
            self._urgent.clear()
            try:
                await self._report_news()
            except Exception as error:  # whatever it is, an edge that no longer reports is blind to the others
                # Kept and sent again: what happens meanwhile adds up in the observations.
                log.warning("feed.report_delayed", extra={"why": last_line(error)})

    async def _report_news(self) -> None:
        """Tell what did not get through last time, else what is new. Raises whatever keeps it from being told."""
        self.cache.count(self.gateway)
        if self._unsent is None and self._has_news():
            self._unsent = (self._report(), SENSES.clock())
        if self._unsent is not None:
            report, made_at = self._unsent
            await self.manager.report(report.aged(SENSES.clock() - made_at))
            self._unsent = None
            if self._views is not None:
                # What was kept for the manager before this one has gone first.
                self._urgent.set()

    def _report(self) -> EdgeReport:
        self._sequence += 1
        now = SENSES.clock()
        self._told_in_flight = self.upstreams.in_flight()
        self._told_counters = self._counted().copy()
        gates = self.upstreams.gates
        views, self._views = self._views, None
        report = EdgeReport(
            edge=self.name,
            sequence=self._sequence,
            node=self.node,
            pid=os.getpid(),
            observed=self._workshop.observations.take(),
            in_flight=self._told_in_flight,
            through_actors=self.upstreams.through_actors(),
            waiting=self.upstreams.waiting(),
            relays=bool(self._own),
            shut={
                f"{name}/{model}" if model else name: wait_s
                for name, gate in gates.items()
                for model, wait_s in gate.own_retry_in_s(now).items()
            },
            counters={**self.counters, "actor_calls": self._actor_calls()},
            incarnation=self._stamp[0] if views is not None and self._stamp else 0,
            views=views or (),
            served=self.meter.take(),
        )
        self._sums.add(report, self.meter.labels)
        return report

    def _counted(self) -> Counter[str]:
        """The counters, with what stands in other places."""
        if (books := self.books) is not None:
            self.counters["rows_waiting"] = books.unshipped
            self.counters["rows_lost"] = books.counters["lost"]
            self.counters["rows_unwritten"] = books.counters["unwritten"]
        return self.counters

    def families(self) -> tuple[Family, ...]:
        """What this process alone has counted: for scrapes while the manager is away."""
        sums = copy.deepcopy(self._sums)
        seen = self._workshop.observations.peek()
        sums.take(self.name, self.meter.peek(), seen, self._counted(), self.meter.labels)
        now = SENSES.clock()
        shut = {name: gate.why(now, "") for name, gate in self.upstreams.gates.items()}
        return (
            *sums.families(),
            *levels([self.counters]),
            *doors(shut, dict.fromkeys(shut, 0) | self.upstreams.in_flight()),
        )

    def _has_news(self) -> bool:
        # Calls under way are news for as long as they last: what is not told again is soon taken to be over.
        in_flight, told = self.upstreams.in_flight(), (self._told_in_flight, self._told_counters)
        return (
            self._views is not None
            or bool(self._workshop.observations)
            or bool(self.meter)
            or bool(in_flight)
            or bool(self.upstreams.through_actors())
            or bool(self.upstreams.waiting())
            or told != (in_flight, self._counted())
        )

    def _actor_calls(self) -> int:
        asked = [self.manager.actor, self.learning.owner.actor, *self.upstreams.actors()]
        return sum(one.sent.total() for one in asked)
