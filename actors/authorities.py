"""The manager's correspondence with the providers' actors, which decide who is asked.

    edge ─ report ─► observed, remember ─► outbox ── exchange, every second or at once ──► provider's actor
                                             ▲                  │
           what did not reach it ────────────┘                  └── its state ──► adopt

A loop of its own for each: one that is slow, or broken, keeps none of the others waiting.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping

from actors.background import Background
from actors.clock import SENSES
from actors.held import Held
from actors.refs import AuthorityRef
from runtime.assemble import authority_policy
from runtime.feed import EdgeReport, Endpoint, Exchange, Observed, Published
from runtime.roster import Roster
from runtime.view import Waking

TICK_S = 1.0
"""How often batches go to the authorities, while nothing is urgent."""
HEARTBEAT_TICKS = 5
"""An authority without news is asked every so many ticks, which is how its restart is noticed."""
WAKING_S = 0.1
"""How often a manager that has just started looks whether all edges have told what they know."""
MOST_KEPT = 1_000
"""Batches of one edge that wait for an authority which is not there yet."""
SPELLS_PER_LIFE = 1_000_000


class Authorities:
    """Belongs to one event loop. `adopt` takes what an authority has said."""

    def __init__(
        self,
        incarnation: int,
        roster: Roster,
        *,
        held: Callable[[], Held],
        endpoint: Callable[[str], Endpoint | None],
        adopt: Callable[[Published], None],
    ) -> None:
        self.waking = Waking(SENSES.clock())
        self._spell_floor = incarnation * SPELLS_PER_LIFE
        self._roster = roster
        self._held = held
        self._endpoint = endpoint
        self._adopt = adopt
        self._known: dict[str, _Correspondence] = {}
        self._outbox: dict[str, dict[str, list[tuple[Observed, float]]]] = defaultdict(lambda: defaultdict(list))
        self._late: dict[str, list[Published]] = defaultdict(list)
        self._fresh: set[str] = set()

    def begin(self, provider: str, background: Background) -> None:
        """Nothing happens where it has begun."""
        if provider in self._known:
            return
        ours = self._known[provider] = _Correspondence(AuthorityRef(provider))
        ours.exchanging = background.repeat(
            f"exchange:{provider}", lambda: self._exchange(provider, ours), every_s=TICK_S, at_once=ours.urgent
        )

    def superfluous(self, wanted: set[str]) -> set[str]:
        """With whom it has begun, of those that are not wanted."""
        return self._known.keys() - wanted

    def end(self, provider: str) -> None:
        self._known.pop(provider).exchanging.cancel()
        self._outbox.pop(provider, None)
        self._fresh.discard(provider)

    def introduce(self, provider: str) -> None:
        """Its actor has (re)started and wants to know where it stood."""
        self._fresh.add(provider)
        self.hurry(provider)

    def observe(self, report: EdgeReport) -> None:
        """What may change a breaker is passed on at once."""
        for batch in report.observed:
            if not self._held().is_on(batch.provider):
                continue  # an edge that has not heard yet that it is gone; nobody would ever collect this
            self._outbox[batch.provider][report.edge].append((batch, SENSES.clock()))
            if batch.failures or batch.keys or self._roster.is_shut(batch.provider):
                self.hurry(batch.provider)

    def remember(self, report: EdgeReport) -> None:
        """What an edge takes for shut, told once to each manager: it may know more than authorities that are new."""
        now = SENSES.clock()
        if not self.waking.is_over(now):
            self.waking.told(report.edge, report.views, now)
            return
        for view in report.views:
            if self._held().is_on(view.provider) and (view.whole.is_shut or view.models or view.keys):
                self._late[view.provider].append(view)
                self.hurry(view.provider)

    def hurry(self, provider: str) -> None:
        if (known := self._known.get(provider)) is not None:
            known.urgent.set()

    def hurry_all(self) -> None:
        for known in self._known.values():
            known.urgent.set()

    async def reopen(self, provider: str) -> None:
        """What it was shut for says nothing any more: it is another one now. Raises `Unreachable`."""
        if (known := self._known.get(provider)) is not None:
            await known.authority.reopen()

    async def _exchange(self, provider: str, with_: _Correspondence) -> None:
        """Bring its authority what the edges saw of a provider; adopt the state that follows."""
        now = SENSES.clock()
        if not self.waking.is_over(now):
            asyncio.get_running_loop().call_later(WAKING_S, with_.urgent.set)
            return
        with_.tick += 1
        batches = self._outbox.pop(provider, {})
        known = self._roster.last(provider, now)
        views = tuple(self._late.pop(provider, ()))
        held = self._held()
        configured = (held.version, provider in self._fresh)
        news = batches or views or known is None or configured != (with_.configured, False)
        if not news and with_.tick % HEARTBEAT_TICKS:
            return
        exchange = Exchange(
            policy=authority_policy(held.settings),
            spell_floor=self._spell_floor,
            # What the edges remember is older than what we have published ourselves.
            last=known or self.waking.known_of(provider, now),
            batches={edge: tuple(one.aged(now - at) for one, at in seen) for edge, seen in batches.items()},
            views=views,
            settings=None if configured == (with_.configured, False) else held.document,
            endpoint=self._endpoint(provider),
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


class _Correspondence:
    """What the manager has with one provider's authority."""

    exchanging: asyncio.Task[None]

    def __init__(self, authority: AuthorityRef) -> None:
        self.authority = authority
        self.urgent = asyncio.Event()
        self.tick = -1
        self.configured = -1
