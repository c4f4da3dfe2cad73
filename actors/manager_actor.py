"""The manager: settings, the shared view, the feed to all edges; for notebooks, one provider over all.

    group `control`   edges' polls and reports, providers' announcements, settings, supervision
    default group     complete, stream, embed, … over an `Edge` of its own that goes through the providers' actors

The two groups are two threads. What both read lies behind one lock that is held for microseconds; the calls' edge
follows the feed by polling this same actor, as every other edge does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors import logs
from actors.authorities import Authorities
from actors.background import Background
from actors.calls import ServesCalls
from actors.clock import SENSES
from actors.connection import prepare_first
from actors.edge import Edge
from actors.edge_cache import COUNTED
from actors.environment import environment, node_id
from actors.events import FOLLOW_S, Listeners
from actors.held import Held
from actors.household import Household
from actors.ledger_ref import LedgerRef
from actors.names import MANAGER, REPLICA
from actors.ray_metrics import EVERY_S, Mirror
from actors.refs import Unreachable
from actors.store import Store
from runtime.cache import Forget
from runtime.dialects.openai_surface import parse_chat
from runtime.events import Event, Wish
from runtime.feed import (
    AccountsNews,
    EdgeReport,
    KeyInfo,
    Published,
    Snapshot,
)
from runtime.hooks.build import check as check_hooks
from runtime.hooks.build import problems_of
from runtime.learning.feedback import parse_feedback, told
from runtime.metrics.labels import Labels
from runtime.metrics.meter import HANDLE
from runtime.metrics.sums import Family, Sums, doors, levels, single
from runtime.outcome import Failure
from runtime.panels import Explanation
from runtime.provider import Provider
from runtime.reports import ProviderStatus, UsagePeriod, UsageReport
from runtime.request import Request
from runtime.roster import Roster
from runtime.settings import Settings, effective
from runtime.settings.difference import references
from runtime.telling import config_event, doors_moved
from runtime.usage import UsageBook
from runtime.view import InFlight, is_news

log = logging.getLogger("raygate.manager")

TICK_S = 1.0
"""How often the models that we run are looked after."""
SUPERVISE_S = 5.0
"""How often all actors are."""
SOONEST_S = 0.05
"""What was measured is published at most so often, and less often where many edges listen."""
NOTEBOOK = "notebook"
"""Whose feedback it is that comes through the manager's handle."""
MOST_FORGETS = 100
"""Words about what is to be forgotten that are passed on. Who has missed one forgets everything."""


class ManagerActor(ServesCalls):
    """Undecorated: the supervisor makes a Ray actor of it. `folder` holds the store.

    `apart`: it may come back on another machine, whose disk knows nothing or what a backup held. Then it begins with
    the settings of that machine, and numbers itself by the clock: it must never be taken for an earlier one.
    """

    DOOR = HANDLE
    CONTROL_METHODS = (
        *("poll", "report", "introduce", "announce"),
        *("watch", "unwatch", "tell_events"),
        *("current", "preview", "apply_settings", "add_key", "only_key", "overview", "glance", "need_learning"),
        "scrape",
        *("forget_answers", "cached_answers"),
    )

    def __init__(self, folder: str, apart: bool = False) -> None:  # noqa: FBT001, FBT002  # Ray passes it on
        logs.begin(MANAGER, environment())
        super().__init__()
        self._folder = Path(folder)
        if apart:
            prepare_first(self._folder, environment())
        self._store = Store(self._folder)
        self._incarnation = self._store.next_incarnation(MANAGER, least=int(SENSES.wall()) if apart else 1)
        self._version = 0
        self._counted = -1, InFlight(0.0, {}, {})
        self._held = Held(*self._store.settings())
        self._keys = self._store.keys()
        self._lock = threading.Lock()
        self._roster = Roster()
        self._book = UsageBook()
        self._sums = Sums()
        self._labels = Labels(self._held.settings)
        self._mirror = Mirror()
        self._following: dict[str, int] = {}
        self._ledger = LedgerRef()
        self._accounts: AccountsNews | None = None
        self._listeners = Listeners(SENSES.wall, SENSES.clock)
        self._watched: tuple[str, ...] = ()
        self._stamps: dict[str, int] = {}
        self._forgets: tuple[Forget, ...] = ()
        self._authorities = Authorities(
            self._incarnation,
            self._roster,
            held=lambda: self._held,
            endpoint=lambda name: self._household.endpoints.get(name),  # noqa: PLW0108  # made below
            adopt=self._adopt,
        )
        self._household = Household(
            self._folder,
            self._authorities,
            held=lambda: self._held,
            calls=self._calls_of,
            publish=self._publish,
            forget=self._roster.forget,
        )
        self._storing = asyncio.Lock()
        self._local_model_changed = asyncio.Event()
        self._background: Background | None = None

    # Group `control`: the feed.

    async def poll(
        self, edge: str, stamp: tuple[int, int] | None, settings_version: int, wait_s: float
    ) -> Snapshot | None:
        """The state, once it is newer than `stamp`; None if it does not become so within `wait_s`."""
        background = self._controls()
        self._stamps[edge] = stamp[1] if stamp is not None and stamp[0] == self._incarnation else -1
        with self._lock:
            self._roster.view.hear(edge, SENSES.clock())
            self._authorities.waking.heard(edge, SENSES.clock())
            if edge not in self._following:
                alive = self._roster.view.edges(SENSES.clock())
                self._following = {name: seen for name, seen in self._following.items() if name in alive}
                self._stamps = {name: seen for name, seen in self._stamps.items() if name in alive or name == edge}
            self._following[edge] = settings_version
        if stamp == (self._incarnation, self._version) and not await background.wait_for_news(wait_s):
            return None
        return self._snapshot(edge, stamp, settings_version)

    async def report(self, report: EdgeReport) -> None:
        """Merge one edge's observations; those that may change a breaker are passed on at once."""
        self._controls()
        with self._lock:
            if not self._roster.view.apply(report, SENSES.clock()):
                return
            self._sums.add(report, self._labels)
            for batch in report.observed:
                self._book.count(batch.provider, batch.model, batch.usage(), at_s=SENSES.wall())
        if report.incarnation == self._incarnation:
            self._authorities.remember(report)
        self._authorities.observe(report)
        self._publish_measured()

    async def introduce(self, provider: str) -> None:
        """A provider's actor has (re)started and wants to know where it stood."""
        self._controls()
        self._authorities.introduce(provider)

    async def announce(self, published: Published) -> None:
        """An authority's state has changed by itself."""
        self._controls()
        self._adopt(published)

    async def watch(self, wish: Wish) -> tuple[Event, ...]:
        """What happened since this listener's last call. Its first one returns once all edges have heard of it."""
        self._controls()
        is_new = not self._listeners.knows(wish.listener)
        reader = self._listeners.reader(wish)
        if is_new:
            await self._spread_listeners()
            return reader.take()
        with suppress(TimeoutError):
            async with asyncio.timeout(wish.wait_s):
                await reader.more()
        return reader.take()

    async def unwatch(self, listener: str) -> None:
        self._controls()
        self._listeners.leave(listener)
        await self._spread_listeners(wait_s=0.0)

    async def tell_events(self, events: tuple[Event, ...]) -> None:
        """What happened elsewhere."""
        self._controls()
        self._listeners.tell(events)

    async def _spread_listeners(self, *, wait_s: float = FOLLOW_S) -> None:
        """Tell the edges what is listened to, if that is new, and wait until all that live have heard."""
        if self._listeners.watched == self._watched:
            return
        self._watched = self._listeners.watched
        self._publish()
        version, until = self._version, SENSES.clock() + wait_s
        while SENSES.clock() < until and any(seen < version for seen in self._stamps.values()):  # noqa: ASYNC110  # polls come from other processes, and every one would have to set it
            await asyncio.sleep(0.02)

    async def current(self) -> tuple[int, Mapping[str, Any]]:
        """The version and the document of the settings that hold now, secrets included."""
        self._controls()
        return self._held.version, self._held.document

    async def preview(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """What would come of new settings here, with what this environment offers; nothing is changed.

        `unset` are variables with secrets of providers that are missing here. Raises `BadSettings`.
        """
        version, before = await self.current()
        env = environment()
        found = effective(Settings.from_document(document), env)
        unset = [name for name in references(found.settings) if not env.get(name)]
        wrong = await asyncio.to_thread(problems_of, found.settings, env)
        return {
            "version": version,
            "before": before,
            "after": found.settings.to_document(),
            "warnings": found.warnings,
            "unset": unset,
            "problems": [(one.path, one.what) for one in wrong if one.path not in unset],
        }

    async def apply_settings(self, document: Mapping[str, Any], expected: int | None = None) -> int | None:
        """Store new settings and publish them. Returns their version. Raises `BadSettings`, changing nothing.

        With `expected`: only in the place of that version; None where it is no longer the one that holds.
        """
        self._controls()
        settings = Settings.from_document(document)
        # Code of others is imported here, once; what cannot be is refused before anything has changed.
        await asyncio.to_thread(check_hooks, settings, environment())
        async with self._storing:
            if expected not in (None, self._held.version):
                return None
            version = await asyncio.to_thread(self._store.put_settings, document)
            if version != self._held.version:
                before, self._held = self._held.settings, Held(version, document)
                with self._lock:
                    self._labels = Labels(settings)
                if self._listeners.bus.wanted:
                    told = config_event(before, settings, version=version, at_s=SENSES.wall(), source=MANAGER)
                    self._listeners.bus.tell(told)
                self._household.drop_endpoints()
                self._publish()
                log.info("settings.applied", extra={"version": version})
        await self._supervise()
        self._authorities.hurry_all()
        self._local_model_changed.set()
        return version

    async def add_key(self, key: KeyInfo) -> None:
        await self._keep(self._store.add_key, key)

    async def only_key(self, key: KeyInfo) -> None:
        """All others of its name let nobody in any more."""
        await self._keep(self._store.only_key, key)

    async def _keep(self, how: Callable[[KeyInfo], None], key: KeyInfo) -> None:
        self._controls()
        async with self._storing:
            await asyncio.to_thread(how, key)
            self._keys = await asyncio.to_thread(self._store.keys)
        self._publish()

    async def need_learning(self) -> bool:
        """Somebody goes by what is learned, or tells of it: its owner is made, unless the settings want none."""
        self._controls()
        if not self._held.settings.learning.enabled:
            return False
        await self._household.make_learner()
        return True

    async def forget_answers(self, what: Forget) -> tuple[int, int | None]:
        """Have all replicas forget what fits. Returns the number of this word, which each reports once it has followed
        it, and how many answers the shared tier had; None where there is no actor for that."""
        self._controls()
        number = self._forgets[-1].number + 1 if self._forgets else 1
        # The shared tier first: what a replica has forgotten it must not find there again.
        try:
            gone = await self._household.cache.forget(what) if self._held.shares_answers else None
        finally:
            self._forgets = (*self._forgets, replace(what, number=number))[-MOST_FORGETS:]
            self._publish()
        return number, gone

    async def cached_answers(self) -> dict[str, dict[str, int]]:
        """What each edge that lives has last told of its remembered answers."""
        self._controls()
        with self._lock:
            edges = dict(self._roster.view.edges(SENSES.clock()))
        counts = {edge: {} if report is None else report.counters for edge, report in edges.items()}
        return {
            edge: {name: count for name, count in of.items() if name.startswith(COUNTED)} for edge, of in counts.items()
        }

    async def overview(self) -> dict[str, Any]:
        """What `raygate status` shows: plain data."""
        self._controls()
        with self._lock:
            edges = self._roster.view.edges(SENSES.clock())
            return {
                "pid": os.getpid(),
                "incarnation": self._incarnation,
                "version": self._version,
                "settings": self._held.settings.model_dump(mode="json"),
                "providers": self._statuses(),
                "endpoints": {name: one.base_url for name, one in self._household.endpoints.items()},
                "measured": {key: one.latency_s for key, one in self._roster.told.all() if one.latency_s is not None},
                "edges": dict(edges),
                "following": {edge: self._following[edge] for edge in edges if edge in self._following},
                "received": dict(self.received),
            }

    async def glance(self) -> dict[str, Any]:
        """What a live view asks for each second: how the providers are, and what was used in this hour by model.

        `hour_s` is when that hour began: then the sums begin with nothing.
        """
        self._controls()
        with self._lock:
            used = self._book.report("hour", SENSES.wall())
            return {
                "providers": self._statuses(),
                "replicas": sum(edge.startswith(REPLICA) for edge in self._roster.view.edges(SENSES.clock())),
                "hour_s": used.start_s,
                "incarnation": self._incarnation,
                "used": {
                    name: (one.requests, one.errors, one.cost_nanousd, one.total_tokens, one.unpriced_requests)
                    for name, one in used.models.items()
                },
            }

    async def scrape(self) -> tuple[Family, ...]:
        """What all processes have counted since this manager started, and how things stand."""
        self._controls()
        return self._families()

    def _families(self) -> tuple[Family, ...]:
        with self._lock:
            edges = self._roster.view.edges(SENSES.clock())
            statuses = self._statuses()
            newest = self._held.version
            return (
                *self._sums.families(),
                *levels(report.counters for report in edges.values() if report is not None),
                *doors(
                    {one.provider: one.breaker for one in statuses}, {one.provider: one.in_flight for one in statuses}
                ),
                *single(
                    replicas=sum(edge.startswith(REPLICA) for edge in edges),
                    edges=len(edges),
                    edges_behind=sum(self._following.get(edge) != newest for edge in edges),
                    settings_version=newest,
                ),
            )

    # Group `control`: how it is kept going.

    def _controls(self) -> Background:
        """What runs in the control group's loop, for a call that came in there."""
        self.received["control"] += 1
        return self._loop()

    def _loop(self) -> Background:
        """Started with the group's first call: Ray gives no other moment to do it."""
        if self._background is None:
            ours = self._background = Background()
            ours.repeat("supervise", self._supervise, every_s=SUPERVISE_S)
            ours.repeat("models", self._household.look_after_copies, every_s=TICK_S)
            ours.repeat("ray_metrics", self._show_to_ray, every_s=EVERY_S)
            ours.repeat("ledger", self._follow_ledger, every_s=0.0)
            local, changed = self._household.look_after_local_model, self._local_model_changed
            ours.repeat("local_model", local, every_s=TICK_S, at_once=changed)
        return self._background

    async def _supervise(self) -> None:
        self._listeners.expire()
        await self._spread_listeners(wait_s=0.0)
        await self._household.supervise(self._loop())

    def _calls_of(self, provider: str) -> tuple[int, int]:
        """Calls to a provider that are under way, and that wait, over all edges."""
        with self._lock:
            return self._roster.view.in_flight(provider), self._roster.view.waiting(provider)

    async def _show_to_ray(self) -> None:
        ours = self._held.settings
        if ours.ray.dashboard if ours.metrics.ray is None else ours.metrics.ray:
            self._mirror.show(self._families())

    async def _follow_ledger(self) -> None:
        """Pass on to all edges what they must know of keys at once."""
        known = self._accounts.stamp if self._accounts else (0, 0)
        try:
            news = await self._ledger.news(known, self._held.settings.feed.poll_s)
        except Unreachable:
            await asyncio.sleep(TICK_S)
            return
        if news is not None and news.stamp != known:
            self._accounts = news
            self._publish()

    # What is published.

    def _snapshot(self, edge: str, stamp: tuple[int, int] | None, settings_version: int) -> Snapshot:
        """What this edge is told; of what was measured, that alone which it has not heard yet."""
        now = SENSES.clock()
        heard = stamp[1] if stamp is not None and stamp[0] == self._incarnation else -1
        return Snapshot(
            incarnation=self._incarnation,
            version=self._version,
            settings_version=self._held.version,
            settings=None if settings_version == self._held.version else self._held.document,
            providers=self._roster.published(now),
            measured=self._roster.view.measured(now, self._roster.told.since(heard)),
            endpoints=tuple(self._household.endpoints.values()),
            keys=self._keys,
            others_in_flight=self._in_flight(now).others(edge),
            accounts=self._accounts,
            watched=self._watched,
            forgets=self._forgets,
        )

    def _in_flight(self, now: float) -> InFlight:
        """InFlight once for a publication: as many edges as there are ask for it at the same moment."""
        version, counted = self._counted
        if version != self._version or now - counted.at > self._report_every_s:
            counted = self._roster.view.counted(now, every_s=self._report_every_s)
            self._counted = self._version, counted
        return counted

    @property
    def _report_every_s(self) -> float:
        return self._held.settings.feed.report_every_s

    def _publish(self) -> None:
        self._version += 1
        self._loop().announce_news()

    def _publish_measured(self) -> None:
        """Publish what was reported: soon where it may change a choice, else as often as edges report.

        Several reports of one moment make one publication.
        """
        now, view = SENSES.clock(), self._roster.view
        with self._lock:
            measured, edges = view.measured(now, view.news), len(view.edges(now))
        moved = any(is_news(self._roster.told.last(one.provider, one.model), one) for one in measured)
        within_s = max(SOONEST_S, 0.005 * edges) if moved else max(self._report_every_s, 0.01 * edges)
        self._loop().publish_within(within_s, self._publish_now)

    def _publish_now(self) -> None:
        view = self._roster.view
        with self._lock:
            self._roster.told.tell(view.measured(SENSES.clock(), view.take_news()), self._version + 1)
        self._publish()

    def _adopt(self, published: Published) -> None:
        """An authority's state, as the answer to what it was told or by itself."""
        now = SENSES.clock()
        if not self._held.is_on(published.provider):
            return  # overtaken by its removal
        last = self._roster.last(published.provider, now)
        if not self._roster.adopt(published, now):
            return
        if self._listeners.bus.wanted:
            self._listeners.tell(doors_moved(last, published, at_s=SENSES.wall(), source=MANAGER))
        self._publish()
        log.info("provider.state", extra={"provider": published.provider, "open": published.open})

    def _statuses(self) -> list[ProviderStatus]:
        """Of all providers that are switched on. The lock is held."""
        providers, now = self._held.settings.providers, SENSES.clock()
        return [
            self._roster.status(name, max_in_flight=providers[name].max_in_flight, now=now)
            for name in self._held.enabled
        ]

    # Default group: calls.

    async def status(self) -> ProviderStatus:
        """All providers as the cluster sees them, not as this process's own calls do."""
        with self._lock:
            parts = tuple(self._statuses())
        return ProviderStatus(
            provider="raygate",
            available=any(part.available for part in parts),
            in_flight=sum(part.in_flight for part in parts),
            parts=parts,
        )

    async def usage(self, period: UsagePeriod = "day") -> UsageReport:
        """Over all edges, since this manager started. What was spent before that the ledger knows (`raygate spend`)."""
        with self._lock:
            return self._book.report(period, SENSES.wall())

    async def explain(self, request: Request | Mapping[str, Any]) -> Mapping[str, object] | Failure:
        """Whom a request would go to as the manager sees things now, and why: `Gateway.explain`."""
        parsed = request if isinstance(request, Request) else parse_chat(request)
        if isinstance(parsed, Failure):
            return parsed
        told = await (await self._ready_edge()).explain(parsed)
        return told if isinstance(told, Failure) else Explanation(told)

    async def clear_cache(self) -> int:
        """Forget all remembered answers, in every process. Returns how many there were here, and in the shared tier."""
        edge = await self._ready_edge()
        ours = await edge.gateway.clear_cache()
        _, shared = await edge.manager.forget(Forget())
        return ours + (shared or 0)

    async def feedback(self, request_id: str, **said: Any) -> dict[str, Any] | Failure:
        """What somebody thinks of an answer: `score=0.9` (0 to 1), `label="good"`, `better_than=` another request's id,
        or `correction=` what it should have been. `request_id` is the answer's."""
        given = parse_feedback({"request_id": request_id, **said})
        if isinstance(given, Failure):
            return given
        learning = (await self._ready_edge()).learning
        given = replace(given, key=given.key or NOTEBOOK)
        taken = await learning.feedback(given)
        return taken if isinstance(taken, Failure) else told(given, taken)

    def _make_edge(self) -> Edge:
        return Edge(f"{MANAGER}@{os.getpid()}", node=node_id(), env=environment(), via_actors=True, folder=self._folder)

    def _provider_of(self, edge: Edge) -> Provider | Failure:
        return edge.gateway
