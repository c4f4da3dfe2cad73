"""The one truth about each limit: what is spent, what is lent to which edge, and who gets more.

    store's totals ── put ──►  Owner  ◄── grant ── edges (`runtime.ledger.purse`)
    store's new rows ─ spent ►        ◄── forget ─ an edge died, and its journals have been collected

Money and places are lent as lines of credit (`runtime.ledger.book`), rates as slices of one meter
(`runtime.ledger.limits`): a slice is taken from the meter when it is granted, may be used for `rate_lifetime_s` from
when its edge asked, and what was not used is given back. So with S the largest slice, N edges, C = L a minute's worth
and T the slices' life, the edges let in during any w seconds at most

    C + L·w/60 + min(N·S, L·T/60)

units, and with slices of one, which are used at once, exactly what one meter would (T = 0).

After a restart the totals come from the store, and the loans from the edges, which go on using them meanwhile. Nothing
new is lent until all that it `waits_for` have been heard (edges that live, with all they hold) or forgotten (those that
died, after their journals were collected); or the shell says `ready`; or lifetime + margin have passed. Fenced by its
epoch: the shell asks the store before it answers. Meters begin empty unless `restore` knows better, so a restart may
let in one minute's worth too much.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runtime.ledger.accounts import Counted, Limit, described
from runtime.ledger.book import Book, Notice
from runtime.ledger.leases import Claim, Claims, Grant, Grants, LeasePolicy, Refused
from runtime.ledger.limits import Meter, MeterState
from runtime.ledger.rows import Account, Row
from runtime.wire import crosses

FOREVER_S = 60.0
"""For how long an edge goes by "there is no such limit"."""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One limit as it stands, for reports. `used` and `lent` are in what it counts; of a rate, `used` is what the last
    minute still weighs."""

    limit: Limit
    used: int
    lent: int = 0
    lost: int = 0
    start_ms: int = 0
    end_ms: int | None = None


@dataclass(slots=True)
class _Rate:
    limit: Limit
    meter: Meter
    edges: dict[str, float]


class Owner:
    """`now` is seconds since the epoch, from a clock that does not jump back."""

    def __init__(
        self,
        *,
        epoch: int,
        now: float,
        policy: LeasePolicy | None = None,
        restarted: bool = True,
        waits_for: Iterable[str] | None = None,
    ) -> None:
        """`waits_for` names the edges that may hold something of an earlier owner's, where they are known."""
        self.epoch = epoch
        self._waits = set(waits_for or ())
        self._policy = policy or LeasePolicy()
        self._lends_from = now + self._policy.lifetime_s + self._policy.margin_s if restarted else now
        self._books: dict[str, Book] = {}
        self._money: dict[tuple[str, str], dict[str, Book]] = {}
        self._rates: dict[str, _Rate] = {}
        self._seen: dict[str, int] = {}
        self._lent = 0
        if waits_for is not None and not self._waits:
            self._lends_from = now

    def ready(self, now: float) -> None:
        """All edges that live have been heard, and the journals of those that do not have been collected."""
        self._waits.clear()
        self._lends_from = min(self._lends_from, now)

    def put(self, limit: Limit, *, now: float, spent_nanousd: int = 0) -> None:
        """A limit, new or changed. `spent_nanousd` is the store's total of this period, without rows that are still to
        come to `spent`; of a limit that is known already it is ignored."""
        if limit.counted in (Counted.REQUESTS, Counted.TOKENS):
            if (rate := self._rates.get(limit.name)) is None:
                self._rates[limit.name] = _Rate(limit, Meter(limit.amount, now=now), {})
            else:
                rate.limit = limit
                rate.meter.change(limit.amount, now)
        elif (book := self._books.get(limit.name)) is not None:
            book.change(limit, now)
        else:
            book = self._books[limit.name] = Book(limit, self._policy, spent=spent_nanousd, now=now)
            if limit.counted is Counted.MONEY:
                self._money.setdefault((limit.scope.value, limit.of), {})[limit.name] = book

    def drop(self, name: str) -> None:
        """There is no such limit any more."""
        self._rates.pop(name, None)
        if (book := self._books.pop(name, None)) is not None:
            self._money.get((book.limit.scope.value, book.limit.of), {}).pop(name, None)

    def unknown(self, claims: Claims) -> tuple[str, ...]:
        """Limits that these claims name and that were never put: the shell looks them up before it calls `grant`."""
        names = (claim.limit for claim in claims.claims)
        return tuple(name for name in names if name not in self._books and name not in self._rates)

    def grant(self, claims: Claims, now: float) -> Grants:
        """Answer an edge. Claims that were overtaken by later ones get nothing; their edge no longer waits for it."""
        if claims.seq <= self._seen.get(claims.edge, 0):
            return Grants(seq=claims.seq, epoch=self.epoch)
        self._seen[claims.edge] = claims.seq
        if claims.all and claims.edge in self._waits:
            adopted = tuple(self._answer(claim, claims.edge, now, lends=False) for claim in claims.claims)
            self._heard(claims.edge)
            return Grants(seq=claims.seq, epoch=self.epoch, grants=adopted)
        lends = now >= self._lends_from
        # What is given back comes first, so that it can be lent to the same edge at once.
        order = sorted(claims.claims, key=lambda claim: not claim.closing)
        grants = tuple(self._answer(claim, claims.edge, now, lends=lends) for claim in order)
        return Grants(seq=claims.seq, epoch=self.epoch, grants=grants)

    def spent(self, row: Row, cost_nanousd: int | None, *, now: float, new: bool = True) -> None:
        """A row that the store has written down just now; the store has seen to it that it is told once.

        `cost_nanousd` is by how much it raised the sums, for a row that is not `new` by how much that was corrected.
        What was used at an unknown price counts as its hold, if it was reserved.
        """
        leases = tuple(row.intent.lease.split())
        cost = cost_nanousd or 0
        if new and row.cost_nanousd is None and leases:
            cost = row.intent.hold_nanousd or 0
        for book in self._books_of(row.intent.account):
            if new:
                book.spend(cost, leases, row.intent.at_ms, now)
            else:
                book.correct(cost, leases, row.intent.at_ms, now)

    def is_overrun(self, row: Row) -> bool:
        """Whether this row, before it is told to `spent`, is to be flagged so: it cost more than its hold, or its lease
        had been given up for lost."""
        intent, cost = row.intent, row.cost_nanousd
        if intent.lease and intent.hold_nanousd is not None and cost is not None and cost > intent.hold_nanousd:
            return True
        leases = intent.lease.split()
        return any(book.is_lost(lease) for book in self._books_of(intent.account) for lease in leases)

    def forget(self, edge: str) -> None:
        """This edge is dead, and every journal that may speak of its attempts has been collected."""
        self._seen.pop(edge, None)
        self._heard(edge)
        for book in self._books.values():
            book.forget(edge)
        for rate in self._rates.values():
            rate.edges.pop(edge, None)

    def tick(self, now: float) -> tuple[Notice, ...]:
        """About once a second: periods roll over, the silent are lost, warnings are given."""
        for book in self._books.values():
            book.tick(now)
        return tuple(notice for book in self._books.values() for notice in book.notices())

    def standings(self, now: float, names: Iterable[str] | None = None) -> tuple[Standing, ...]:
        """All limits as they stand, or those of these names that exist."""
        wanted = (*self._books, *self._rates) if names is None else tuple(names)
        found = []
        for name in wanted:
            if (book := self._books.get(name)) is not None:
                book.roll(now)
                start, end = book.start_ms, book.end_ms
                found.append(
                    Standing(
                        limit=book.limit, used=book.spent, lent=book.lent, lost=book.lost, start_ms=start, end_ms=end
                    )
                )
            elif (rate := self._rates.get(name)) is not None:
                found.append(Standing(limit=rate.limit, used=rate.limit.amount - rate.meter.room(now)))
        return tuple(found)

    def meters(self, now: float) -> dict[str, MeterState]:
        """What `restore` takes."""
        return {name: rate.meter.state(now) for name, rate in self._rates.items()}

    def restore(self, meters: Mapping[str, MeterState], now: float) -> None:
        """Go on with an earlier owner's meters, of limits that have been put."""
        for name, state in meters.items():
            if (rate := self._rates.get(name)) is not None:
                rate.meter = Meter(rate.limit.amount, now=now, state=state)

    def _answer(self, claim: Claim, edge: str, now: float, *, lends: bool) -> Grant:
        if (book := self._books.get(claim.limit)) is not None:
            return book.answer(claim, edge, now, lends=lends, new_id=self._new_id)
        if (rate := self._rates.get(claim.limit)) is not None:
            return self._slice(rate, claim, edge, now)
        return Grant(limit=claim.limit, gone=True, lifetime_s=FOREVER_S, closed=claim.closing, lease=claim.lease)

    def _slice(self, rate: _Rate, claim: Claim, edge: str, now: float) -> Grant:
        meter, life_s = rate.meter, self._policy.rate_lifetime_s
        for units, stamp in claim.back:
            meter.give_back(units, stamp, now)
        if claim.owed:
            meter.charge(claim.owed, now)
        rate.edges[edge] = now
        rate.edges = {name: at for name, at in rate.edges.items() if now - at <= 2 * life_s}
        room = meter.room(now)
        amount = max(0, min(room, max(claim.need, min(claim.want, room // (2 * len(rate.edges))))))
        if amount < max(1, claim.least):
            amount = 0
        stamp = meter.charge(amount, now) if amount else 0
        refused, wait_s, detail = None, 0.0, ""
        if amount < claim.need:
            wait_s = meter.wait_s(claim.least, now)
            refused = Refused.NEVER if math.isinf(wait_s) else Refused.TOO_FAST
            advice = "send less in one request" if math.isinf(wait_s) else "slow down, or have an admin raise it"
            detail = f"this is over {described(rate.limit, now=now)}; {advice}"
        return Grant(
            limit=claim.limit,
            amount=amount,
            lifetime_s=life_s,
            refused=refused,
            retry_after_s=wait_s if refused is Refused.TOO_FAST else None,
            detail=detail,
            stamp=stamp,
            remaining=max(0, room - amount),
            full_in_s=meter.full_in_s(now),
        )

    def _heard(self, edge: str) -> None:
        if edge in self._waits:
            self._waits.discard(edge)
            if not self._waits:
                self._lends_from = -math.inf

    def _books_of(self, account: Account) -> list[Book]:
        whose = (("org", account.org), ("team", account.team), ("key", account.key))
        return [book for at in whose if at[1] for book in self._money.get(at, {}).values()]

    def _new_id(self) -> str:
        self._lent += 1
        return f"{self.epoch}.{self._lent}"
