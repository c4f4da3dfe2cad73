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
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.exceptions import RayError

from actors import logs, supervisor
from actors.cache_actor import CacheActor
from actors.cache_ref import CacheRef
from actors.calls import ServesCalls
from actors.clock import SENSES
from actors.connection import prepare_first
from actors.edge import Edge
from actors.edge_cache import COUNTED
from actors.environment import environment, node_id
from actors.events import FOLLOW_S, Listeners
from actors.fleet import Fleet, managed_of
from actors.leaving import Leaving
from actors.ledger_actor import LedgerActor
from actors.ledger_ref import LedgerRef
from actors.local_model import LocalModelActor
from actors.names import CACHE, COPY, LEDGER, LOCAL_MODEL, MANAGER, REPLICA, RUVECTOR, provider_actor
from actors.provider_actor import ProviderActor
from actors.ray_metrics import EVERY_S, Mirror
from actors.refs import AuthorityRef, LocalModelRef, Unreachable, last_line
from actors.ruvector_actor import RuVectorActor
from actors.store import Store
from runtime.assemble import authority_policy
from runtime.cache import Forget
from runtime.dialects.openai_surface import parse_chat
from runtime.events import Event, Wish
from runtime.feed import (
    AccountsNews,
    DoorState,
    EdgeReport,
    Endpoint,
    Exchange,
    KeyInfo,
    Observed,
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
from runtime.provider import Provider
from runtime.reports import ProviderStatus, Shut, UsagePeriod, UsageReport, locked_of
from runtime.request import Request
from runtime.settings import ProviderKind, Settings, effective
from runtime.settings.difference import references
from runtime.telling import config_event, doors_moved
from runtime.usage import UsageBook
from runtime.view import SharedView, Told, Waking, is_news

log = logging.getLogger("raygate.manager")

TICK_S = 1.0
"""How often batches go to the authorities and the embedded model is looked after, while nothing is urgent."""
HEARTBEAT_TICKS = 5
"""An authority without news is asked every so many ticks, which is how its restart is noticed."""
SOONEST_S = 0.05
"""What was measured is published at most so often, and less often where many edges listen."""
WAKING_S = 0.1
"""How often a manager that has just started looks whether all edges have told what they know."""
NEWS_S = 0.1
"""A wait that moved by less is no news."""
MOST_KEPT = 1_000
"""Batches of one edge that wait for an authority which is not there yet."""
NOTEBOOK = "notebook"
"""Whose feedback it is that comes through the manager's handle."""
SPELLS_PER_LIFE = 1_000_000
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
        *("current", "preview", "apply_settings", "add_key", "overview", "glance", "need_learning"),
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
        self._settings_version, self._document = self._store.settings()
        self._settings = Settings.from_document(self._document)
        self._keys = self._store.keys()
        self._lock = threading.Lock()
        self._view = SharedView()
        self._waking = Waking(SENSES.clock())
        self._late: dict[str, list[Published]] = defaultdict(list)
        self._book = UsageBook()
        self._sums = Sums()
        self._labels = Labels(self._settings)
        self._mirror = Mirror()
        self._published: dict[str, tuple[Published, float]] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._told = Told()
        self._following: dict[str, int] = {}
        self._authorities: dict[str, _Correspondence] = {}
        self._leaving = Leaving()
        self._inherited = False
        self._ledger = LedgerRef()
        self._accounts: AccountsNews | None = None
        self._local_model = LocalModelRef()
        self._local_model_of: str | None = None
        self._fleet = Fleet(self._folder)
        self._outbox: dict[str, dict[str, list[tuple[Observed, float]]]] = defaultdict(lambda: defaultdict(list))
        self._fresh: set[str] = set()
        self._listeners = Listeners(SENSES.wall, SENSES.clock)
        self._watched: tuple[str, ...] = ()
        self._stamps: dict[str, int] = {}
        self._forgets: tuple[Forget, ...] = ()
        self._cache = CacheRef()
        self._cache_mb = 0
        self._control: _ControlLoop | None = None

    # Group `control`: the feed.

    async def poll(
        self, edge: str, stamp: tuple[int, int] | None, settings_version: int, wait_s: float
    ) -> Snapshot | None:
        """The state, once it is newer than `stamp`; None if it does not become so within `wait_s`."""
        control = self._controls()
        self._stamps[edge] = stamp[1] if stamp is not None and stamp[0] == self._incarnation else -1
        with self._lock:
            self._view.hear(edge, SENSES.clock())
            self._waking.heard(edge, SENSES.clock())
            if edge not in self._following:
                alive = self._view.edges(SENSES.clock())
                self._following = {name: seen for name, seen in self._following.items() if name in alive}
                self._stamps = {name: seen for name, seen in self._stamps.items() if name in alive or name == edge}
            self._following[edge] = settings_version
        if stamp == (self._incarnation, self._version):
            try:
                async with asyncio.timeout(wait_s):
                    await control.news.wait()
            except TimeoutError:
                return None
        return self._snapshot(edge, stamp, settings_version)

    async def report(self, report: EdgeReport) -> None:
        """Merge one edge's observations; those that may change a breaker are passed on at once."""
        self._controls()
        with self._lock:
            if not self._view.apply(report, SENSES.clock()):
                return
            self._sums.add(report, self._labels)
            for batch in report.observed:
                self._book.count(batch.provider, batch.model, batch.usage(), at_s=SENSES.wall())
        if report.incarnation == self._incarnation:
            self._remember(report)
        for batch in report.observed:
            if not self._is_on(batch.provider):
                continue  # an edge that has not heard yet that it is gone; nobody would ever collect this
            self._outbox[batch.provider][report.edge].append((batch, SENSES.clock()))
            if batch.failures or batch.keys or self._is_shut(batch.provider):
                self._hurry(batch.provider)
        self._publish_measured()

    async def introduce(self, provider: str) -> None:
        """A provider's actor has (re)started and wants to know where it stood."""
        self._controls()
        self._fresh.add(provider)
        self._hurry(provider)

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
        with self._lock:
            return self._settings_version, self._document

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
        control = self._controls()
        settings = Settings.from_document(document)
        # Code of others is imported here, once; what cannot be is refused before anything has changed.
        await asyncio.to_thread(check_hooks, settings, environment())
        async with control.storing:
            if expected not in (None, self._settings_version):
                return None
            version = await asyncio.to_thread(self._store.put_settings, document)
            if version != self._settings_version:
                before = self._settings
                with self._lock:
                    self._settings, self._document, self._settings_version = settings, document, version
                    self._labels = Labels(settings)
                if self._listeners.bus.wanted:
                    told = config_event(before, settings, version=version, at_s=SENSES.wall(), source=MANAGER)
                    self._listeners.bus.tell(told)
                kept = {self._local_provider(), *managed_of(settings)}
                self._endpoints = {name: one for name, one in self._endpoints.items() if name in kept}
                self._publish()
                log.info("settings.applied", extra={"version": version})
        await self._supervise()
        for name in self._authorities:
            self._hurry(name)
        control.local_model_changed.set()
        return version

    async def add_key(self, key: KeyInfo) -> None:
        async with self._controls().storing:
            await asyncio.to_thread(self._store.add_key, key)
            self._keys = await asyncio.to_thread(self._store.keys)
        self._publish()

    async def need_learning(self) -> bool:
        """Somebody goes by what is learned, or tells of it: its owner is made, unless the settings want none."""
        self._controls()
        if not self._settings.learning.enabled:
            return False
        await asyncio.to_thread(supervisor.ensure, RUVECTOR, RuVectorActor, str(self._folder), here=True)
        return True

    async def forget_answers(self, what: Forget) -> tuple[int, int | None]:
        """Have all replicas forget what fits. Returns the number of this word, which each reports once it has followed
        it, and how many answers the shared tier had; None where there is no actor for that."""
        self._controls()
        number = self._forgets[-1].number + 1 if self._forgets else 1
        # The shared tier first: what a replica has forgotten it must not find there again.
        try:
            gone = await self._cache.forget(what) if _shares(self._settings) else None
        finally:
            self._forgets = (*self._forgets, replace(what, number=number))[-MOST_FORGETS:]
            self._publish()
        return number, gone

    async def cached_answers(self) -> dict[str, dict[str, int]]:
        """What each edge that lives has last told of its remembered answers."""
        self._controls()
        with self._lock:
            edges = dict(self._view.edges(SENSES.clock()))
        counts = {edge: {} if report is None else report.counters for edge, report in edges.items()}
        return {
            edge: {name: count for name, count in of.items() if name.startswith(COUNTED)} for edge, of in counts.items()
        }

    async def overview(self) -> dict[str, Any]:
        """What `raygate status` shows: plain data."""
        self._controls()
        with self._lock:
            edges = self._view.edges(SENSES.clock())
            return {
                "pid": os.getpid(),
                "incarnation": self._incarnation,
                "version": self._version,
                "settings": self._settings.model_dump(mode="json"),
                "providers": [self._status(name) for name, one in self._settings.providers.items() if one.enabled],
                "endpoints": {name: one.base_url for name, one in self._endpoints.items()},
                "measured": {key: one.latency_s for key, one in self._told.all() if one.latency_s is not None},
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
                "providers": [self._status(name) for name, one in self._settings.providers.items() if one.enabled],
                "replicas": sum(edge.startswith(REPLICA) for edge in self._view.edges(SENSES.clock())),
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
            edges = self._view.edges(SENSES.clock())
            statuses = [self._status(name) for name, one in self._settings.providers.items() if one.enabled]
            newest = self._settings_version
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

    def _controls(self) -> _ControlLoop:
        """What belongs to the control group's loop, for a call that came in there."""
        self.received["control"] += 1
        return self._loop()

    def _loop(self) -> _ControlLoop:
        """Started with the group's first call: Ray gives no other moment to do it."""
        if self._control is None:
            self._control = _ControlLoop()
            self._control.keep(_forever("supervise", self._supervise, every_s=HEARTBEAT_TICKS * TICK_S))
            self._control.keep(_forever("models", self._look_after_copies, every_s=TICK_S))
            self._control.keep(_forever("ray_metrics", self._show_to_ray, every_s=EVERY_S))
            self._control.keep(_forever("ledger", self._follow_ledger, every_s=0.0))
            self._control.keep(
                _forever(
                    "local_model",
                    self._look_after_local_model,
                    every_s=TICK_S,
                    at_once=self._control.local_model_changed,
                )
            )
        return self._control

    async def _show_to_ray(self) -> None:
        ours = self._settings
        if ours.ray.dashboard if ours.metrics.ray is None else ours.metrics.ray:
            self._mirror.show(self._families())

    def _hurry(self, provider: str) -> None:
        if (known := self._authorities.get(provider)) is not None:
            known.urgent.set()

    async def _exchange(self, provider: str, with_: _Correspondence) -> None:
        """Bring its authority what the edges saw of a provider; adopt the state that follows."""
        if not self._waking.is_over(SENSES.clock()):
            asyncio.get_running_loop().call_later(WAKING_S, with_.urgent.set)
            return
        with_.tick += 1
        batches = self._outbox.pop(provider, {})
        known = self._published.get(provider)
        views = tuple(self._late.pop(provider, ()))
        configured = (self._settings_version, provider in self._fresh)
        news = batches or views or known is None or configured != (with_.configured, False)
        if not news and with_.tick % HEARTBEAT_TICKS:
            return
        now = SENSES.clock()
        # What the edges remember is older than what we have published ourselves.
        last = known[0].aged(now - known[1]) if known else self._waking.known_of(provider, now)
        exchange = Exchange(
            policy=authority_policy(self._settings),
            spell_floor=self._incarnation * SPELLS_PER_LIFE,
            last=last,
            batches={edge: tuple(one.aged(now - at) for one, at in seen) for edge, seen in batches.items()},
            views=views,
            settings=None if configured == (with_.configured, False) else self._document,
            endpoint=self._endpoints.get(provider),
        )
        self._fresh.discard(provider)
        try:
            published = await with_.authority.exchange(exchange)
        except Exception:
            self._fresh.add(provider)
            self._keep(provider, batches, whole=known is None)
            raise
        with_.configured = configured[0]
        self._adopt(published)

    def _keep(self, provider: str, batches: Mapping[str, list[tuple[Observed, float]]], *, whole: bool) -> None:
        """What did not reach its authority, for the next time: all of it where there is none yet, else the waits.

        What a dead one has missed besides is worth nothing later: its edges go on with their own breakers.
        """
        for edge, seen in batches.items():
            kept = seen if whole else [(waits, at) for one, at in seen if (waits := one.waits) is not None]
            self._outbox[provider][edge][:0] = kept[-MOST_KEPT:]

    async def _supervise(self) -> None:
        """Make the actors that the settings ask for, let go of those that they no longer do."""
        control = self._loop()
        self._listeners.expire()
        await self._spread_listeners(wait_s=0.0)
        # One at a time: an older round must not undo what a newer one has done.
        async with control.supervising:
            if not self._inherited:
                await self._inherit()
            wanted = {name for name, one in self._settings.providers.items() if one.enabled}
            for name in self._authorities.keys() - wanted:
                self._authorities.pop(name).exchanging.cancel()
                self._published.pop(name, None)
                self._outbox.pop(name, None)
                self._fresh.discard(name)
                self._let_go(provider_actor(name), name)
            for name in wanted:
                self._leaving.stays(provider_actor(name))
                try:
                    await asyncio.to_thread(supervisor.ensure, provider_actor(name), ProviderActor, name)
                except Exception as error:  # the others are to have theirs; this one's turn comes again
                    log.warning("supervise.failed", extra={"provider": name, "why": last_line(error)})
                if name not in self._authorities:
                    self._authorities[name] = self._correspond(name)
            await asyncio.to_thread(supervisor.ensure, LEDGER, LedgerActor, str(self._folder), here=True)
            if not self._settings.learning.enabled:
                await asyncio.to_thread(supervisor.remove, RUVECTOR)
            await self._supervise_cache()
            local = self._local_provider()
            if local is not None:
                self._leaving.stays(LOCAL_MODEL)
                await asyncio.to_thread(supervisor.ensure, LOCAL_MODEL, LocalModelActor)
            elif self._local_model_of is not None:
                self._let_go(LOCAL_MODEL, self._local_model_of)
            self._local_model_of = local
            with self._lock:
                due = self._leaving.due(SENSES.clock(), self._view.in_flight)
            for actor in due:
                await asyncio.to_thread(supervisor.remove, actor)

    async def _supervise_cache(self) -> None:
        """The actor in which all replicas remember answers, where the settings want one."""
        if not _shares(self._settings):
            await asyncio.to_thread(supervisor.remove, CACHE)
            self._cache_mb = 0
            return
        wanted_mb = self._settings.cache.shared_mb
        await asyncio.to_thread(supervisor.ensure, CACHE, CacheActor, wanted_mb * 1_000_000)
        if wanted_mb != self._cache_mb:
            # One that was there before may have another size; one that is only starting keeps nobody waiting.
            self._cache_mb = wanted_mb
            self._loop().keep(self._resize_cache(wanted_mb))

    async def _resize_cache(self, wanted_mb: int) -> None:
        try:
            await self._cache.resize(wanted_mb * 1_000_000)
        except (Unreachable, RayError) as error:
            log.warning("cache.not_resized", extra={"why": last_line(error)})
            self._cache_mb = 0  # once more, with the next round

    def _let_go(self, actor: str, provider: str) -> None:
        """End this actor, once the calls to its provider are over."""
        limits = [self._settings.timeouts.total_s, *(one.timeout_s or 0.0 for one in self._settings.providers.values())]
        self._leaving.let_go(actor, provider, SENSES.clock(), longest_s=max(limits))

    async def _inherit(self) -> None:
        """Let go of what a manager before this one had no time to end."""
        for actor in await asyncio.to_thread(supervisor.existing):
            if actor.startswith(COPY):
                self._fleet.inherit(actor)
            if actor == LOCAL_MODEL or actor.startswith(provider_actor("")):
                self._let_go(actor, actor.removeprefix(provider_actor("")))
        self._inherited = True

    def _correspond(self, provider: str) -> _Correspondence:
        """A loop of its own for each authority: one that is slow, or broken, keeps none of the others waiting."""
        ours = _Correspondence(AuthorityRef(provider))
        ours.exchanging = self._loop().keep(
            _forever(
                f"exchange:{provider}", lambda: self._exchange(provider, ours), every_s=TICK_S, at_once=ours.urgent
            )
        )
        return ours

    async def _follow_ledger(self) -> None:
        """Pass on to all edges what they must know of keys at once."""
        known = self._accounts.stamp if self._accounts else (0, 0)
        try:
            news = await self._ledger.news(known, self._settings.feed.poll_s)
        except Unreachable:
            await asyncio.sleep(TICK_S)
            return
        if news is not None and news.stamp != known:
            self._accounts = news
            self._publish()

    async def _look_after_local_model(self) -> None:
        """Tell the embedded model's actor what to serve; it may have restarted and listen elsewhere."""
        name = self._local_provider()
        if name is None:
            return
        ours = self._settings.local
        base_url, api_key, node = await self._local_model.serve(
            threads=ours.threads, context_length=ours.context_length, slots=ours.slots
        )
        endpoint = Endpoint(provider=name, base_url=base_url, api_key=api_key, node=node)
        if self._local_provider() == name and self._endpoints.get(name) != endpoint:
            moved = name in self._endpoints
            self._endpoints[name] = endpoint
            self._publish()
            if moved and (known := self._authorities.get(name)) is not None:
                # What the dead one did at its old address says nothing about this one.
                await known.authority.reopen()

    async def _look_after_copies(self) -> None:
        """Have as many copies of the servers that we run as their calls ask for; tell where those that serve listen."""
        if not self._inherited:
            return
        managed = managed_of(self._settings)
        with self._lock:
            calls = {name: self._view.in_flight(name) + self._view.waiting(name) for name in managed}
        wanted = self._fleet.wanted(managed, calls, SENSES.clock())
        for actor, name in self._fleet.superfluous(wanted):
            self._let_go(actor, name)
        found = await self._fleet.serve(managed, wanted, keep=self._leaving.stays)
        ours = {name: one for name, one in self._endpoints.items() if name not in managed}
        # Where none answers just now the last that did are told: their edges find out by themselves.
        now = {name: found.get(name, self._endpoints.get(name)) for name in managed}
        endpoints = {**ours, **{name: one for name, one in now.items() if one is not None}}
        if endpoints != self._endpoints:
            self._endpoints = endpoints
            self._publish()

    def _local_provider(self) -> str | None:
        """Whose embedded model runs in an actor of its own."""
        providers = self._settings.providers.items()
        ours = (name for name, one in providers if one.enabled and one.kind is ProviderKind.LOCAL and not one.managed)
        return next(ours, None)

    # What is published.

    def _snapshot(self, edge: str, stamp: tuple[int, int] | None, settings_version: int) -> Snapshot:
        """What this edge is told; of what was measured, that alone which it has not heard yet."""
        now = SENSES.clock()
        heard = stamp[1] if stamp is not None and stamp[0] == self._incarnation else -1
        return Snapshot(
            incarnation=self._incarnation,
            version=self._version,
            settings_version=self._settings_version,
            settings=None if settings_version == self._settings_version else self._document,
            providers=tuple(published.aged(now - at) for published, at in self._published.values()),
            measured=self._view.measured(now, self._told.since(heard)),
            endpoints=tuple(self._endpoints.values()),
            keys=self._keys,
            others_in_flight=self._view.others_in_flight(edge, now, every_s=self._settings.feed.report_every_s),
            accounts=self._accounts,
            watched=self._watched,
            forgets=self._forgets,
        )

    def _publish(self) -> None:
        self._version += 1
        self._loop().announce_news()

    def _publish_measured(self) -> None:
        """Publish what was reported: soon where it may change a choice, else as often as edges report.

        Several reports of one moment make one publication.
        """
        now = SENSES.clock()
        with self._lock:
            measured, edges = self._view.measured(now, self._view.news), len(self._view.edges(now))
        moved = any(is_news(self._told.last(one.provider, one.model), one) for one in measured)
        within_s = max(SOONEST_S, 0.005 * edges) if moved else max(self._settings.feed.report_every_s, 0.01 * edges)
        self._loop().publish_within(within_s, self._publish_now)

    def _publish_now(self) -> None:
        with self._lock:
            self._told.tell(self._view.measured(SENSES.clock(), self._view.take_news()), self._version + 1)
        self._publish()

    def _adopt(self, published: Published) -> None:
        now = SENSES.clock()
        before = self._published.get(published.provider)
        if not self._is_on(published.provider) or (before is not None and published.spell < before[0].spell):
            return  # an answer that was overtaken: by a removal, or by an announcement of what came after it
        self._published[published.provider] = (published, now)
        if before is None or _differs(before[0].aged(now - before[1]), published):
            if self._listeners.bus.wanted:
                last = before[0].aged(now - before[1]) if before else None
                self._listeners.tell(doors_moved(last, published, at_s=SENSES.wall(), source=MANAGER))
            self._publish()
            log.info("provider.state", extra={"provider": published.provider, "open": published.open})

    def _is_on(self, provider: str) -> bool:
        ours = self._settings.providers.get(provider)
        return ours is not None and ours.enabled

    def _remember(self, report: EdgeReport) -> None:
        """What an edge takes for shut, told once to each manager: it may know more than authorities that are new."""
        now = SENSES.clock()
        with self._lock:
            if not self._waking.is_over(now):
                self._waking.told(report.edge, report.views, now)
                return
        for view in report.views:
            if self._is_on(view.provider) and (view.whole.is_shut or view.models or view.keys):
                self._late[view.provider].append(view)
                self._hurry(view.provider)

    def _is_shut(self, provider: str) -> bool:
        """True if a report may hold the outcome of a probe."""
        known = self._published.get(provider)
        return known is not None and (known[0].open or bool(known[0].models) or bool(known[0].keys))

    def _status(self, name: str) -> ProviderStatus:
        now = SENSES.clock()
        published, at = self._published.get(name, (Published(provider=name), now))
        aged = published.aged(now - at)
        throttled = aged.throttled_for_s > 0.0
        # Every edge that calls it has tripped by itself: that is an open breaker too, whoever's.
        shut_s = self._view.shut_for_s(name, now)
        is_open = aged.open or (shut_s > 0.0 and not throttled)
        models = {
            model: Shut(state="open", retry_in_s=wait_s) for model, wait_s in self._view.shut_models(name, now).items()
        }
        for model, one in ((model, one) for model, one in aged.models.items() if one.is_shut):
            state = "open" if one.open else "throttled"
            models[model] = Shut(state=state, retry_in_s=one.wait_s, detail=one.why)
        keys = locked_of(aged.keys)
        why = [f"{model} is {one.state}" for model, one in models.items()]
        why += [f"key {key} is {one.state}" for key, one in keys.items()]
        known = (one.latency_s for _, one in self._told.all() if one.provider == name)
        return ProviderStatus(
            provider=name,
            available=not is_open and not throttled,
            breaker="open" if is_open else "throttled" if throttled else "closed",
            in_flight=self._view.in_flight(name),
            max_in_flight=self._settings.providers[name].max_in_flight,
            retry_in_s=max(aged.retry_in_s, aged.throttled_for_s, shut_s),
            latency_s=min((one for one in known if one is not None), default=None),
            detail="; ".join(filter(None, (aged.why, *why))),
            models=models,
            keys=keys,
        )

    # Default group: calls.

    async def status(self) -> ProviderStatus:
        """All providers as the cluster sees them, not as this process's own calls do."""
        with self._lock:
            parts = tuple(self._status(name) for name, one in self._settings.providers.items() if one.enabled)
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
        edge = await self._ready_edge()
        told = edge.gateway.explain(parsed)
        return told if isinstance(told, Failure) else await edge.learning.explained(parsed, told)

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


def _shares(settings: Settings) -> bool:
    """Whether replicas remember answers together, in an actor."""
    routes = (one.cache.enabled for one in settings.routes.values())
    return settings.cache.tier == "actor" and (settings.cache.enabled or any(routes))


class _Correspondence:
    """What the manager has with one provider's authority."""

    exchanging: asyncio.Task[None]

    def __init__(self, authority: AuthorityRef) -> None:
        self.authority = authority
        self.urgent = asyncio.Event()
        self.tick = -1
        self.configured = -1


async def _forever(
    what: str, act: Callable[[], Awaitable[None]], *, every_s: float, at_once: asyncio.Event | None = None
) -> None:
    """Act at every tick, and as soon as `at_once` is set. Whatever goes wrong, the next tick comes."""
    at_once = at_once or asyncio.Event()
    while True:
        try:
            await act()
        except Exception as error:
            # Actors that are away are an everyday matter; what else it may be, the log's reader has to see.
            expected = isinstance(error, (Unreachable, RayError))
            log.warning("control.failed", exc_info=not expected, extra={"what": what, "why": last_line(error)})
        with suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await at_once.wait()
        at_once.clear()


class _ControlLoop:
    """What belongs to the control group's loop."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.local_model_changed = asyncio.Event()
        self.storing = asyncio.Lock()
        self.supervising = asyncio.Lock()
        self._publication: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, loop: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it in the background; asyncio itself would forget it."""
        task = asyncio.create_task(loop)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def publish_within(self, seconds: float, publish: Callable[[], None]) -> None:
        """Once, however many ask for it before it happens."""
        loop = asyncio.get_running_loop()
        planned = self._publication
        if planned is not None and planned.when() > loop.time():
            if planned.when() <= loop.time() + seconds:
                return
            planned.cancel()
        self._publication = loop.call_later(seconds, publish)

    def announce_news(self) -> None:
        """Wake everyone who waits now; who comes later waits for the next."""
        old, self.news = self.news, asyncio.Event()
        old.set()


def _differs(before: Published, after: Published) -> bool:
    """True if edges must know: the passing of time alone is no news."""
    if before.spell != after.spell or before.models.keys() != after.models.keys():
        return True
    old_keys = {(one.key, one.model): one for one in before.keys}
    new_keys = {(one.key, one.model): one for one in after.keys}
    if {at: one.why for at, one in old_keys.items()} != {at: one.why for at, one in new_keys.items()}:
        return True
    doors = [(before.whole, after.whole), *((state, after.models[model]) for model, state in before.models.items())]
    return any(_moved(old, new) for old, new in doors) or any(
        abs(one.retry_in_s - new_keys[at].retry_in_s) > NEWS_S for at, one in old_keys.items()
    )


def _moved(before: DoorState, after: DoorState) -> bool:
    moved_s = abs(before.retry_in_s - after.retry_in_s) + abs(before.throttled_for_s - after.throttled_for_s)
    return before.open != after.open or moved_s > NEWS_S
