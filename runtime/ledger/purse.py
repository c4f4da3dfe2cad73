"""The edge's side of budgets and limits: leases in hand, so that a request is usually let in without asking anybody.

    reserve ──► Reservation ──► settle (what it came to)  or  void (it was never sent)         exactly one of them, once
            ├─► Need        ──► the shell exchanges `claims` for grants with the owner, `take`s them, and reserves again
            └─► Failure     ──► what is used up, and when to come again

    exchange, one at a time:   claims(now) ──► owner.grant ──► take(grants, now)   or, without an answer, failed(now)

The shell calls `claims` on each Need, and every `TICK_S` besides: leases are renewed, enlarged before they are empty
and given back where they lie idle. `claims` is None while there is nothing to say or an exchange is under way.
`now` is this edge's own monotonic clock. A lease's life is counted from the sending of the claims.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from runtime.ledger.accounts import Counted, Limit, Pass
from runtime.ledger.leases import Claims, Grants
from runtime.ledger.pocket import CONCURRENT, MONEY, REQUESTS, TOKENS, Pocket, Slice
from runtime.outcome import Failure, FailureKind

TICK_S = 0.25
FORGOTTEN_S = 120.0


class OwnerDead(StrEnum):
    """What an edge does where a lease is used up and nobody answers, or an owner that has just begun and does not lend
    yet: refuse, or go on for a bounded amount."""

    FAIL_CLOSED = "fail_closed"
    BOUNDED_OPEN = "bounded_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class PursePolicy:
    """`ahead_s` seconds of an account's recent use are kept in store; 0 asks the owner for each request.

    A refusal is remembered for `remember_s`, so that a flood of refused requests does not become one of questions.
    While the owner is dead or begins, `open_nanousd` may be spent for each budget, once in `open_every_s`; a rate is
    then kept by this edge alone, and so are places.
    """

    ahead_s: float = 2.0
    idle_s: float = 2.0
    remember_s: float = 1.0
    owner_dead: OwnerDead = OwnerDead.FAIL_CLOSED
    open_nanousd: int = 0
    open_every_s: float = 600.0
    dead_retry_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Need:
    """Some lease is too small: `reserve` again with this once the claims of `seq` are answered."""

    seq: int


class Reservation:
    """What one attempt holds. `lease` is what its intent names."""

    __slots__ = ("_amounts", "_taken")

    def __init__(self, taken: tuple[tuple[Pocket, Slice], ...], amounts: tuple[int, int, int, int]) -> None:
        self._taken: tuple[tuple[Pocket, Slice], ...] | None = taken
        self._amounts = amounts

    @property
    def lease(self) -> str:
        return " ".join(s.id for pocket, s in self._taken or () if pocket.index == MONEY and s.id)


@dataclass(frozen=True, slots=True)
class _Wallet:
    limits: tuple[Limit, ...]
    pockets: tuple[Pocket, ...]
    money: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RateView:
    """What an edge can say of one rate: `remaining` is as the owner last said, with what this edge has in hand."""

    counted: Counted
    limit: int
    remaining: int
    reset_s: float


class Purse:
    """Belongs to one event loop."""

    def __init__(self, *, edge: str, policy: PursePolicy | None = None) -> None:
        self.edge = edge
        self.epoch = 0
        self.policy = policy or PursePolicy()
        self._wallets: dict[str, _Wallet] = {}
        self._pockets: dict[str, Pocket] = {}
        self._seq = 0
        self._flying = False
        self._sent_at = 0.0
        self._dead = False
        self._everything = False

    def reserve(
        self, pass_: Pass, hold: int | None, tokens: int, now: float, *, asked: Need | None = None
    ) -> Reservation | Need | Failure:
        """Take what an attempt may come to: `hold` nano-dollars (None: unknown) and `tokens`.

        `asked` is the Need that an earlier call returned for the same attempt.
        """
        limits = pass_.limits
        if not limits:
            return Reservation((), _NOTHING)
        wallet = self._wallets.get(pass_.account.key)
        if wallet is None or wallet.limits is not limits:
            wallet = self._wallet(pass_, now)
        if hold is None:
            if wallet.money:
                return _UNPRICED
            hold = 0
        amounts = (hold, 1, tokens, 1)
        taken = []
        for pocket in wallet.pockets:
            s = pocket.slice
            if s.used + amounts[pocket.index] > s.cap or now >= s.until:
                short = self._short(wallet, amounts, now, asked)
                if short is not None:
                    return short
                taken = [(pocket, pocket.slice) for pocket in wallet.pockets]
                break
            taken.append((pocket, s))
        for pocket, s in taken:
            s.used += amounts[pocket.index]
            s.open += 1
        return Reservation(tuple(taken), amounts)

    def settle(self, reservation: Reservation, cost: int | None, tokens: int, now: float) -> None:
        """The attempt came to this; an unknown cost counts as the hold. Raises `KeyError` if it was settled before."""
        taken, amounts = reservation._taken, reservation._amounts
        if taken is None:
            raise KeyError("this reservation was settled before")
        reservation._taken = None
        for pocket, s in taken:
            index = pocket.index
            s.open -= 1
            if index == MONEY:
                if cost is not None:
                    s.used += cost - amounts[MONEY]
            elif index == CONCURRENT:
                s.used -= 1
            elif index == TOKENS:
                pocket.change(s, tokens - amounts[TOKENS])

    def void(self, reservation: Reservation, now: float) -> None:
        """The attempt was never sent: it is as if it had not been reserved. Raises `KeyError` as `settle` does."""
        taken = reservation._taken or ()
        self.settle(reservation, 0, 0, now)
        for pocket, s in taken:
            if pocket.index == REQUESTS:
                pocket.change(s, -1)

    def claims(self, now: float, *, everything: bool = False) -> Claims | None:
        """What to send to the owner now. `everything`: to one that has restarted, all that is in hand, even nothing."""
        if self._flying:
            self._everything = self._everything or everything
            return None
        everything = everything or self._everything
        policy = self.policy
        found = [
            claim
            for pocket in self._pockets.values()
            for claim in pocket.claims(now, ahead_s=policy.ahead_s, idle_s=policy.idle_s, everything=everything)
        ]
        self._forget(now)
        if not found and not everything:
            return None
        self._everything = False
        self._flying, self._sent_at = True, now
        self._seq += 1
        return Claims(edge=self.edge, seq=self._seq, claims=tuple(found), all=everything)

    def take(self, grants: Grants, now: float) -> None:
        """The owner's answer. One to claims that were given up is ignored."""
        if not self._flying or grants.seq != self._seq:
            return
        self._flying = self._dead = False
        if grants.epoch != self.epoch:
            # A new owner knows nothing yet of what was not in these claims.
            self._everything = self.epoch != 0
            self.epoch = grants.epoch
        for grant in grants.grants:
            if (pocket := self._pockets.get(grant.limit)) is not None:
                pocket.take(grant, self._sent_at, now, seq=grants.seq, remember_s=self.policy.remember_s)
        for pocket in self._pockets.values():
            if pocket.spare is not None and now - pocket.spare.sent_at >= self.policy.open_every_s:
                pocket.spare = None

    def failed(self, now: float) -> None:
        """The claims under way got no answer, and one that still comes will be ignored."""
        self._flying = False
        self._dead = True
        for pocket in self._pockets.values():
            pocket.unanswered()

    def rates(self, pass_: Pass, now: float) -> tuple[RateView, ...]:
        """The tightest rate of requests and of tokens that this caller has; see `runtime.ledger.rate_headers`."""
        tightest: dict[Counted, RateView] = {}
        for limit in pass_.limits:
            pocket = self._pockets.get(limit.name)
            if pocket is None or pocket.index not in (REQUESTS, TOKENS):
                continue
            remaining, reset_s = pocket.remaining(now)
            view = RateView(
                counted=limit.counted, limit=limit.amount, remaining=min(limit.amount, remaining), reset_s=reset_s
            )
            before = tightest.get(limit.counted)
            if before is None or view.remaining < before.remaining:
                tightest[limit.counted] = view
        return tuple(tightest.values())

    def held(self) -> Iterable[Pocket]:
        """All pockets, for reports and tests."""
        return self._pockets.values()

    def _wallet(self, pass_: Pass, now: float) -> _Wallet:
        pockets = []
        for limit in pass_.limits:
            pocket = self._pockets.get(limit.name)
            if pocket is None:
                pocket = self._pockets[limit.name] = Pocket(limit, now)
            pocket.limit = limit
            pockets.append(pocket)
        money = any(pocket.index == MONEY for pocket in pockets)
        wallet = self._wallets[pass_.account.key] = _Wallet(pass_.limits, tuple(pockets), money)
        return wallet

    def _short(
        self, wallet: _Wallet, amounts: tuple[int, int, int, int], now: float, asked: Need | None
    ) -> Need | Failure | None:
        """At least one slice is too small or too old: whether the owner can help. None if there is enough after all."""
        short = [pocket for pocket in wallet.pockets if not pocket.has(amounts[pocket.index], now)]
        if not short:
            return None
        starting: Failure | None = None
        for pocket in short:
            refused = pocket.refusal(amounts[pocket.index], now, asked.seq if asked is not None else math.inf)
            if refused is not None:
                # An owner that does not lend yet is as good as dead for whoever may go on without one.
                if self.policy.owner_dead is OwnerDead.FAIL_CLOSED or not pocket.starting:
                    return refused
                starting = refused
        if self._dead or starting is not None:
            for pocket in short:
                pocket.tries(amounts[pocket.index])
            for pocket in short:
                if self.policy.owner_dead is OwnerDead.FAIL_CLOSED or not pocket.opened(
                    amounts[pocket.index], self.policy.open_nanousd, now
                ):
                    return starting or Failure(
                        kind=FailureKind.REFUSED,
                        detail=f"the ledger, which keeps the limit {pocket.limit.name}, does not answer; try again in "
                        "a moment",
                        retry_after_s=self.policy.dead_retry_s,
                        code="ledger_unavailable",
                        scope="request",
                    )
            return None
        if asked is not None and asked.seq > (self._seq - 1 if self._flying else self._seq):
            # What it needs is to be in the next claims, or in those under way.
            return asked
        for pocket in short:
            pocket.wants(amounts[pocket.index])
        return Need(self._seq + 1)

    def _forget(self, now: float) -> None:
        """Pockets that have been empty for long go, and the wallets that they are in."""
        gone = [pocket for pocket in self._pockets.values() if pocket.is_idle(now, FORGOTTEN_S)]
        for pocket in gone:
            del self._pockets[pocket.limit.name]
        if gone:
            left = set(map(id, self._pockets.values()))
            self._wallets = {
                key: wallet
                for key, wallet in self._wallets.items()
                if all(id(pocket) in left for pocket in wallet.pockets)
            }


_NOTHING = (0, 0, 0, 0)

_UNPRICED = Failure(
    kind=FailureKind.BUDGET_EXCEEDED,
    detail="the price of this model is unknown, and a hard budget stands behind this key; set the model's price, or "
    "ask for a model that has one",
    code="unknown_price",
    scope="request",
)
