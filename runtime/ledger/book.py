"""One limit of money or of places, as its owner keeps it: what is spent, and what is lent to whom.

    limit = spent + lent + lost + room            always; lent is the sum over all loans of what is left of them

    a loan        its edge                              becomes
    ----------------------------------------------------------------------------------------------------------
    current       takes from it                         draining when the edge closes it or another replaces it
    draining      has attempts on it, or rows under way  gone once all is booked
    lost          has been silent for `lost_s`           gone once its journal was collected; current if it speaks again

Room is lent only while there is some, and rows cost no more than their holds: so spent + lent never passes the limit.
Where that was broken from outside (the limit was lowered, a row cost more than its hold), nothing is lent until there
is room again.

A loan of money is never taken back by time alone, as a hold may still be under way on it; silent places are.
A loan belongs to the period in which it was lent, and so does what is spent of it, whenever it is settled; what is
spent without one belongs to the period of its intent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runtime.ledger.accounts import Counted, Limit, described
from runtime.ledger.leases import Claim, Grant, LeasePolicy, Refused
from runtime.ledger.periods import Period, end_of, start_of

MOST_GONE = 1_024
"""Loans that are gone, remembered so that a claim that comes twice does not revive them."""


@dataclass(slots=True)
class Loan:
    """`cap` is all that it may come to, `booked` what rows have come to. `adopted`: rows may have been booked by an
    earlier owner; it keeps too much rather than too little."""

    id: str
    edge: str
    cap: int = 0
    booked: int = 0
    heard: float = 0.0
    until: float = 0.0
    draining: bool = False
    open: int = 0
    adopted: bool = False
    lost: bool = False

    @property
    def left(self) -> int:
        return max(0, self.cap - self.booked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A budget has passed the share at which it warns, or all of it: said once for each period."""

    limit: Limit
    spent_nanousd: int
    all: bool
    start_ms: int


class Book:
    """`now` is seconds since the epoch, from a clock that does not jump back."""

    def __init__(self, limit: Limit, policy: LeasePolicy, *, spent: int, now: float) -> None:
        self.limit = limit
        self.spent = spent
        self.lent = 0
        self.lost = 0
        self._policy = policy
        self._money = limit.counted is Counted.MONEY
        self._loans: dict[str, Loan] = {}
        self._current: dict[str, Loan] = {}
        self._gone: dict[str, None] = {}
        self._earlier: frozenset[str] = frozenset()
        self._scarce_until = 0.0
        self.start_ms, self.end_ms = self._span(now)
        self._warned = self._past(limit.warn_at)
        self._said_all = self._past(1.0)

    @property
    def room(self) -> int:
        return self.limit.amount - self.spent - self.lent - self.lost

    def change(self, limit: Limit, now: float) -> None:
        """Another amount from now on. What is lent stays lent until its edges give it back."""
        self.limit = limit
        self._warned = self._warned and self._past(limit.warn_at)
        self._said_all = self._said_all and self._past(1.0)

    def answer(self, claim: Claim, edge: str, now: float, *, lends: bool, new_id: Callable[[], str]) -> Grant:
        """What this edge gets. `lends` is False while the owner does not know yet who holds what."""
        self.roll(now)
        if claim.closing:
            self._close(claim, edge, now)
            return Grant(limit=claim.limit, lease=claim.lease, closed=True)
        loan = self._current.get(edge)
        if loan is not None and loan.id != claim.lease:
            # The answer that lent it never came, and its edge will not take it any more.
            self._remove(loan)
            loan = None
        moved = 0
        if loan is not None:
            self._alter(loan, cap=min(loan.cap, claim.cap), lost=False)
        elif self._is_ours(claim):
            moved = self._adopt(claim, edge, now)
        amount, refused = self._lend(claim, edge, now, lends=lends)
        if loan is None and amount + moved > 0:
            loan = Loan(new_id(), edge)
            self._current[edge] = self._loans[loan.id] = loan
        if loan is not None:
            self._alter(loan, cap=loan.cap + amount + moved)
            loan.heard, loan.until = now, now + self._policy.lifetime_s + self._policy.margin_s
        return Grant(
            limit=claim.limit,
            lease=loan.id if loan else "",
            amount=amount + moved,
            moved=moved,
            lifetime_s=self._lifetime_s(now),
            booked=loan.booked if loan else 0,
            start_ms=self.start_ms,
            scarce=now < self._scarce_until or self.room < 0,
            refused=refused,
            retry_after_s=self._retry_after_s(refused, now),
            detail=self._sentence(refused, now),
        )

    def spend(self, cost: int, leases: tuple[str, ...], at_ms: int, now: float) -> None:
        """A new row: what it cost, the leases that its intent names, and when it began."""
        self.roll(now)
        loan = next((self._loans[lease] for lease in leases if lease in self._loans), None)
        if loan is not None:
            self._alter(loan, booked=loan.booked + cost)
            if loan.draining and not loan.open and not loan.left:
                self._remove(loan)
        elif at_ms < self.start_ms or any(lease in self._earlier for lease in leases):
            return
        self.spent += cost

    def correct(self, change: int, leases: tuple[str, ...], at_ms: int, now: float) -> None:
        """A row of before came to more, or less. Its loan has been through with it."""
        self.roll(now)
        if at_ms >= self.start_ms and not any(lease in self._earlier for lease in leases):
            self.spent += change

    def is_lost(self, lease: str) -> bool:
        return (loan := self._loans.get(lease)) is not None and loan.lost

    def forget(self, edge: str) -> None:
        """This edge is dead and all its rows are here: nobody holds anything of its loans any more."""
        for loan in [loan for loan in self._loans.values() if loan.edge == edge]:
            self._remove(loan)

    def tick(self, now: float) -> None:
        self.roll(now)
        for loan in list(self._loans.values()):
            if not self._money:
                if now > loan.until:
                    self._remove(loan)
            elif now > loan.heard + self._policy.lost_s:
                if loan.draining and loan.adopted:
                    # What the last owner had booked of it will not be booked again.
                    self._remove(loan)
                elif loan.left:
                    self._alter(loan, lost=True)
                else:
                    self._remove(loan)

    def notices(self) -> Iterator[Notice]:
        """What has not been said yet in this period."""
        if not self._money:
            return
        if not self._warned and self._past(self.limit.warn_at):
            self._warned = True
            yield Notice(limit=self.limit, spent_nanousd=self.spent, all=False, start_ms=self.start_ms)
        if not self._said_all and self._past(1.0):
            self._said_all = True
            yield Notice(limit=self.limit, spent_nanousd=self.spent, all=True, start_ms=self.start_ms)

    def loans(self) -> tuple[Loan, ...]:
        return tuple(self._loans.values())

    def roll(self, now: float) -> None:
        """Begin the next period if it is time: nothing spent, nothing lent."""
        if self.end_ms is None or now * 1000 < self.end_ms:
            return
        self.start_ms, self.end_ms = self._span(now)
        self._earlier = frozenset(self._loans)
        self._loans.clear()
        self._current.clear()
        self.spent = self.lent = self.lost = 0
        self._warned = self._said_all = False

    def _lend(self, claim: Claim, edge: str, now: float, *, lends: bool) -> tuple[int, Refused | None]:
        """What waits is served first come, first served; beyond that an edge gets a share of half of the room, which
        shrinks towards the limit."""
        if claim.want <= 0:
            return 0, None
        if not lends:
            return 0, Refused.STARTING if claim.need else None
        room = self.room
        edges = len(self._current) + (edge not in self._current)
        amount = min(room, max(claim.need, min(claim.want, room // (2 * edges))))
        if amount < max(1, claim.least):
            amount = 0
        if amount >= claim.need:
            return amount, None
        self._scarce_until = now + self._policy.scarce_s
        if claim.least > self.limit.amount:
            return amount, Refused.NEVER
        if not self._money:
            return amount, Refused.BUSY
        return amount, Refused.SPENT if self.spent + claim.least > self.limit.amount else Refused.HELD

    def _is_ours(self, claim: Claim) -> bool:
        """Whether it names a loan of this period that we have forgotten: an earlier owner's."""
        return bool(claim.lease) and claim.start_ms == self.start_ms and claim.lease not in self._gone

    def _adopt(self, claim: Claim, edge: str, now: float) -> int:
        """Take over an earlier owner's loan: what is in use drains, what is free moves to a new one within the room."""
        self._close(claim, edge, now)
        return max(0, min(claim.cap - claim.used, self.room))

    def _close(self, claim: Claim, edge: str, now: float) -> None:
        loan = self._loans.get(claim.lease)
        if loan is None:
            if not self._is_ours(claim):
                return
            loan = self._loans[claim.lease] = Loan(claim.lease, edge, booked=claim.booked, adopted=True)
            self._alter(loan, cap=claim.used)
        if self._current.get(edge) is loan:
            del self._current[edge]
        loan.draining, loan.open, loan.heard = True, claim.open, now
        loan.until = now + self._policy.lifetime_s + self._policy.margin_s
        self._alter(loan, cap=claim.used if loan.adopted else min(loan.cap, claim.used), lost=False)
        if not loan.open and not loan.left:
            self._remove(loan)

    def _remove(self, loan: Loan) -> None:
        self._alter(loan, cap=loan.booked)
        del self._loans[loan.id]
        if self._current.get(loan.edge) is loan:
            del self._current[loan.edge]
        self._gone[loan.id] = None
        if len(self._gone) > MOST_GONE:
            del self._gone[next(iter(self._gone))]

    def _alter(
        self, loan: Loan, *, cap: int | None = None, booked: int | None = None, lost: bool | None = None
    ) -> None:
        """The one place that changes what is left of a loan, and the sums with it."""
        self._count(loan, -loan.left)
        loan.cap = loan.cap if cap is None else cap
        loan.booked = loan.booked if booked is None else booked
        loan.lost = loan.lost if lost is None else lost
        self._count(loan, loan.left)

    def _count(self, loan: Loan, left: int) -> None:
        if loan.lost:
            self.lost += left
        else:
            self.lent += left

    def _past(self, share: float) -> bool:
        return self._money and self.spent >= share * self.limit.amount

    def _span(self, now: float) -> tuple[int, int | None]:
        period = self.limit.period if self._money else Period.TOTAL
        return start_of(period, int(now * 1000)), end_of(period, int(now * 1000))

    def _lifetime_s(self, now: float) -> float:
        life_s = self._policy.lifetime_s
        return life_s if self.end_ms is None else min(life_s, self.end_ms / 1000 - now)

    def _retry_after_s(self, refused: Refused | None, now: float) -> float | None:
        match refused:
            case None | Refused.NEVER | Refused.TOO_FAST:
                return None
            case Refused.SPENT:
                return None if self.end_ms is None else self.end_ms / 1000 - now
            case Refused.HELD | Refused.BUSY | Refused.STARTING:
                return self._policy.held_retry_s

    def _sentence(self, refused: Refused | None, now: float) -> str:
        what = described(self.limit, now=now)
        match refused:
            case Refused.SPENT:
                return f"{what} is used up; wait for that, or have an admin raise it"
            case Refused.HELD:
                return f"what is left of {what} is held by requests under way; try again when they have ended"
            case Refused.BUSY:
                return f"{what} is reached; try again when one has ended"
            case Refused.NEVER:
                return f"one request may cost more than {what}; ask for fewer output tokens, or have an admin raise it"
            case Refused.STARTING:
                return "the ledger has just begun and is counting what is lent; try again in a moment"
            case None | Refused.TOO_FAST:
                return ""
