"""The ledger of a cluster, over its store: who may call, what may be spent, and what was.

store ─► Register (accounts) ─► passes, news of changes
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from dataclasses import asdict

from runtime import price_list
from runtime.feed import AccountsNews
from runtime.ledger.accounts import Counted, Limit, Pass, Scope, limits_of, make_pass
from runtime.ledger.book import Notice
from runtime.ledger.desk import Desk, unkept
from runtime.ledger.enquiries import Enquiries, Prices, Quality
from runtime.ledger.leases import Claims, Grants, LeasePolicy
from runtime.ledger.limits import MeterState
from runtime.ledger.owner import Owner, Standing
from runtime.ledger.register import Register
from runtime.ledger.rows import Batch, Flag
from runtime.ledger.silent import Silent
from runtime.ledger.store.base import Document, Retention, Store, StoreFailure, Total, Trouble
from runtime.outcome import Failure, FailureKind
from runtime.request import Json

log = logging.getLogger("raygate.ledger")

READS = frozenset({"keys", "key", "accounts", "audit"})
OWN = frozenset({"budgets", "state"})
ENQUIRIES = frozenset({"spend", "rows", "tail", "elsewhere"})
CHANGES = frozenset(
    {"create_key", "change_key", "revoke_key", "put_team", "put_org", "set_budget", "remove_budget", "note"}
)
"""What may be asked of the desk; changes are told who makes them."""

METERS = "meters"
CLUSTER = "cluster"
"""The document that names whose ledger opened the store last."""

CONFIRMED_S = 1.0
"""An owner that has not heard for longer that it still is the owner asks its store before it lends."""
LEASES_END_S = LeasePolicy().lifetime_s + LeasePolicy().margin_s + CONFIRMED_S

MOST_REVOKED = 10_000
"""Revocations that are pushed to edges. An older one they hear of when their passes end, within a minute."""

LAG_S, MOST_BATCHES = 60.0, 1_000
"""How far back batches are looked at for how late they came, and how many at most."""


class Ledger:
    """Belongs to one event loop. Make it with `open`."""

    def __init__(
        self,
        store: Store,
        register: Register,
        owner: Owner,
        totals: Iterable[Total],
        *,
        wall: Callable[[], float],
        chance: Callable[[int], bytes],
        prices: Prices,
        quality: Quality | None = None,
    ) -> None:
        self._store = store
        self._register = register
        self._owner = owner
        self._wall = wall
        self._limits: dict[str, Limit] = {}
        self._limits_due = False
        self._meters: Mapping[str, MeterState] = {}
        self._heard: set[str] = set()
        self._silent = Silent()
        self._lends_from = 0.0
        self._confirmed_at = wall()
        self._confirming = asyncio.Lock()
        self._shipping = asyncio.Lock()
        self._came: deque[tuple[float, float]] = deque(maxlen=MOST_BATCHES)
        self._version = 1
        self._changed = asyncio.Event()
        revoked = (key.id for key in register.keys.values() if key.revoked)
        self._revoked: deque[str] = deque(revoked, maxlen=MOST_REVOKED)
        self.desk = Desk(store, register, wall=wall, chance=chance, changed=self._accounts_changed)
        self.enquiries = Enquiries(store, wall=wall, prices=prices, quality=quality)
        self._put_limits(totals)

    @classmethod
    async def open(
        cls,
        store: Store,
        owner: str,
        *,
        wall: Callable[[], float],
        chance: Callable[[int], bytes],
        prices: Prices = lambda _: None,
        quality: Quality | None = None,
        cluster: str = "",
    ) -> Ledger | StoreFailure:
        """Become the owner of what this store holds. `owner` is the name by which a later one speaks of this one.

        Where the last owner was another `cluster`'s, its edges hold leases that nobody here can hear of: nothing is
        lent until those have ended.
        """
        epoch = await store.acquire_epoch(owner, at_ms=round(wall() * 1_000))
        if isinstance(epoch, StoreFailure):
            return epoch
        register = Register()
        for kind in Scope:
            documents = await store.documents(kind.value)
            if isinstance(documents, StoreFailure):
                return documents
            register.take(documents)
        now = wall()
        totals = await store.totals(round(now * 1_000))
        if isinstance(totals, StoreFailure):
            return totals
        # Nobody can have lent anything before the first owner.
        lends = Owner(epoch=epoch, now=now, restarted=epoch > 1)
        made = cls(store, register, lends, totals, wall=wall, chance=chance, prices=prices, quality=quality)
        former = await store.documents(CLUSTER)
        if isinstance(former, StoreFailure):
            return former
        if any(one.body.get("id") != cluster for one in former):
            log.warning("ledger.taken_from_another_cluster")
            made._lends_from = now + LEASES_END_S
        if all(one.body.get("id") != cluster for one in former):
            failed = await store.change([Document(kind=CLUSTER, id=CLUSTER, body={"id": cluster})])
            if failed is not None:
                return failed
        kept = await store.documents(METERS)
        if isinstance(kept, StoreFailure):
            return kept
        for document in kept:
            lends.restore({name: MeterState(**state) for name, state in document.body.items()}, now)
        return made

    async def is_replaced(self) -> bool:
        """Whether another owner has taken over since the last second. One that nobody asked for a while has written
        nothing, so it cannot know; what it would lend, the other one may have lent as well.

        A store that is out of reach takes nothing from its owner: what is lent meanwhile waits in journals.
        """
        async with self._confirming:
            now = self._wall()
            if 0.0 <= now - self._confirmed_at <= CONFIRMED_S:
                return False
            failed = await self._store.change()  # of nothing: refused all the same
            if failed is None:
                self._confirmed_at = now
            return failed is not None and failed.kind is Trouble.FENCED

    def present(self, shown: str) -> Pass | Failure:
        """What the holder of the key with this hash, or of this id, may do for a while; or why nothing."""
        key = self._register.key_of(shown)
        if key is None:
            return Failure(kind=FailureKind.BAD_KEY, scope="request")
        team, org = self._register.above(key)
        return make_pass(key, team=team, org=org, now=self._wall())

    async def look_up(self, shown: str) -> Pass | Failure:
        """The same, as the store has it now. One that was replaced can say so much without becoming the owner again."""
        register = Register()
        for by in ("sha256", "name"):
            if (failed := await self._take(register, Scope.KEY, **{by: shown})) is not None:
                return unkept(failed)
            if (key := register.key_of(shown)) is not None:
                break
        else:
            return Failure(kind=FailureKind.BAD_KEY, scope="request")
        for kind, name in ((Scope.TEAM, key.team), (Scope.ORG, key.org)):
            if name and (failed := await self._take(register, kind, name=name)) is not None:
                return unkept(failed)
        team, org = register.above(key)
        return make_pass(key, team=team, org=org, now=self._wall())

    async def _take(self, register: Register, kind: Scope, **by: str) -> StoreFailure | None:
        documents = await self._store.documents(kind.value, **by)
        if isinstance(documents, StoreFailure):
            return documents
        register.take(documents)
        return None

    async def news(self, known: tuple[int, int], wait_s: float) -> AccountsNews | None:
        """What edges must know at once, if it is other than what is `known`; else once it is, None where it stays."""
        if known == (self._owner.epoch, self._version):
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                return None
        return AccountsNews(epoch=self._owner.epoch, version=self._version, revoked=tuple(self._revoked))

    def exchange(self, claims: Claims) -> Grants:
        """Answer an edge's claims."""
        self._heard.add(claims.edge)
        return self._owner.grant(claims, self._wall())

    def hello(self, edge: str) -> None:
        """An edge that lives has nothing to claim, or has said so already."""
        self._heard.add(edge)

    def ready(self, living: Iterable[str]) -> bool:
        """Whether all that live have been heard, `living` being the names of the edges; then lending begins."""
        if not self._heard.issuperset(living) or self._wall() < self._lends_from:
            return False
        self._owner.ready(self._wall())
        return True

    async def ship(self, batch: Batch) -> StoreFailure | None:
        """Write down what a journal holds. None once it is kept for good; it may come again."""
        # In turn: what the owner is told must be in the order in which the store has taken it.
        async with self._shipping:
            return await self._ship(batch)

    async def _ship(self, batch: Batch) -> StoreFailure | None:
        if batch.rows:
            rows = [one if not self._owner.is_overrun(one) else one.flagged(Flag.OVERRUN) for one in batch.rows]
            done = await self._store.append(rows)
            if isinstance(done, StoreFailure):
                return done
            now = self._wall()
            self._came.append((now, now - min(row.settlement.at_ms for row in rows) / 1_000))
            for change in done.changes:
                self._owner.spent(change.row, change.cost_nanousd, now=now, new=change.new)
        if batch.open:
            failed = await self._store.put_intents(batch.open)
            if failed is not None:
                return failed
        if batch.void:
            failed = await self._store.remove_intents(batch.void)
            if failed is not None:
                return failed
        if batch.last:
            self._heard.discard(batch.writer)
            self._owner.forget(batch.writer)
        return None

    async def give_up(self, living: Collection[str]) -> StoreFailure | None:
        """Charge what is open of writers that are not among the `living` any more: every ten seconds or so."""
        opened = await self._store.open_intents()
        if isinstance(opened, StoreFailure):
            return opened
        rows = self._silent.lost(opened, living, self._wall())
        if not rows:
            return None
        log.warning("ledger.given_up", extra={"attempts": len(rows)})
        return await self.ship(Batch(writer="", rows=tuple(rows)))

    async def tick(self) -> tuple[Notice, ...]:
        """About once a second."""
        if self._limits_due:
            await self._accounts_changed()
        await self._keep_meters()
        notices = self._owner.tick(self._wall())
        for one in notices:
            said = {"limit": one.limit.name, "spent_nanousd": one.spent_nanousd, "of_nanousd": one.limit.amount}
            log.warning("budget.spent" if one.all else "budget.warning", extra=said)
        return notices

    async def _keep_meters(self) -> None:
        """Rates go on where they were, if this owner is followed by another."""
        meters = {name: state for name, state in self._owner.meters(self._wall()).items() if state.level > 0}
        if meters == self._meters:
            return
        body = {name: asdict(state) for name, state in meters.items()}
        if await self._store.change([Document(kind=METERS, id=METERS, body=body)]) is None:
            self._meters = meters

    async def fold(self, retention: Retention) -> None:
        """Let go of rows that are too old, or too many; their sums stay."""
        done = await self._store.fold(retention, now_ms=round(self._wall() * 1_000))
        if isinstance(done, StoreFailure):
            log.warning("ledger.not_folded", extra={"why": str(done)})
        elif done.rows or done.too_large:
            log.info("ledger.folded", extra={"rows": done.rows, "bytes": done.bytes, "too_large": done.too_large})

    async def budgets(self) -> Json:
        """Every limit as it stands."""
        return {"limits": [_standing(one) for one in self._owner.standings(self._wall())]}

    async def state(self) -> Json | Failure:
        """How the ledger itself is. `lag_s`: how late the latest of the last minute's rows came, None without any."""
        size, opened = await self._store.size(), await self._store.open_intents()
        if isinstance(size, StoreFailure):
            return unkept(size)
        if isinstance(opened, StoreFailure):
            return unkept(opened)
        return {
            "epoch": self._owner.epoch,
            "bytes": size,
            "under_way": len(opened),
            "keys": len(self._register.keys),
            "limits": len(self._limits),
            "lag_s": self._lag_s(),
            "prices_as_of": None if (known := price_list.as_of()) is None else known.isoformat(),
        }

    async def ask(self, what: str, *args: Json, who: str, **named: Json) -> Json | Failure:
        """What an admin asks, by the name of the desk's method."""
        if what in CHANGES:
            return await getattr(self.desk, what)(*args, who=who, **named)
        if what in READS:
            return await getattr(self.desk, what)(*args, **named)
        if what in OWN:
            return await getattr(self, what)()
        if what in ENQUIRIES:
            return await getattr(self.enquiries, what)(*args, **named)
        return Failure(kind=FailureKind.BAD_REQUEST, detail=f"the ledger knows no {what!r}", scope="request")

    def export(self, to: str, last: str, only: Mapping[str, str]) -> AsyncGenerator[bytes | Failure]:
        """All rows as a file, a piece at a time; a failure is the last item."""
        return self.enquiries.export(to, last, only)

    async def close(self) -> None:
        await self._store.close()

    def _lag_s(self) -> float | None:
        now = self._wall()
        return max((round(late_s, 3) for at, late_s in self._came if now - at <= LAG_S), default=None)

    def _has_new_budgets(self) -> bool:
        """Whether there is a budget of which the owner must be told what was spent before."""
        return any(
            limit.counted is Counted.MONEY and limit.name not in self._limits
            for holder in self._register.holders()
            for limit in limits_of(holder)
        )

    def _put_limits(self, totals: Iterable[Total]) -> None:
        """Tell the owner of all limits as they are now."""
        now = self._wall()
        spent = {(one.dimension, one.id, one.period): one.cost_nanousd for one in totals}
        limits = {limit.name: limit for holder in self._register.holders() for limit in limits_of(holder)}
        for name in self._limits.keys() - limits.keys():
            self._owner.drop(name)
        for name, limit in limits.items():
            if self._limits.get(name) != limit:
                before = spent.get((limit.scope.value, limit.of, limit.period), 0)
                self._owner.put(limit, now=now, spent_nanousd=before if limit.counted is Counted.MONEY else 0)
        self._limits = limits

    async def _accounts_changed(self) -> None:
        """Limits first: an edge that hears of one must not find an owner that does not know it."""
        # No row may come between the totals and the limits that begin with them.
        async with self._shipping:
            totals = await self._store.totals(round(self._wall() * 1_000)) if self._has_new_budgets() else ()
            self._limits_due = isinstance(totals, StoreFailure)
            if not isinstance(totals, StoreFailure):
                self._put_limits(totals)
        self._version += 1
        known = set(self._revoked)
        self._revoked.extend(key.id for key in self._register.keys.values() if key.revoked and key.id not in known)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _standing(one: Standing) -> Json:
    limit = one.limit
    return {
        "limit": limit.name,
        "scope": limit.scope.value,
        "of": limit.of,
        "counts": limit.counted.value,
        "period": limit.period.value if limit.counted is Counted.MONEY else None,
        "amount": limit.amount,
        "used": one.used,
        "lent": one.lent,
        "lost": one.lost,
        "hard": limit.hard,
        "ends_ms": one.end_ms,
    }
