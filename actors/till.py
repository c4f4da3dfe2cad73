"""What requests pay from, at one edge: passes, a purse of leases, and the loop that talks to the ledger about them.

    attempt ── reserve ─► in the purse: at once
                        ─► not: one exchange with the ledger, however many wait for it
    every 250 ms          leases are renewed, enlarged before they are empty, given back where they lie idle

Only an account that a hard limit stands behind is looked up at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from actors.passes import Passes
from runtime.ledger.accounts import Counted, Limit, Pass
from runtime.ledger.leases import Claims, Grants
from runtime.ledger.purse import TICK_S, Need, Purse, RateView, Reservation
from runtime.ledger.rows import Account
from runtime.outcome import Failure, FailureKind

log = logging.getLogger("raygate.till")

PATIENCE_S = 3.0
"""For so long somebody waits for the ledger's word before he is sent away."""

Exchange = Callable[[Claims], Awaitable[Grants]]

MOST = 10_000
"""Accounts whose limits are kept apart."""


class Till:
    """Belongs to one event loop. `start` begins its loop. `exchange` raises `away` where the ledger is out of reach."""

    def __init__(
        self,
        purse: Purse,
        passes: Passes,
        exchange: Exchange,
        clock: Callable[[], float],
        *,
        away: type[Exception],
    ) -> None:
        self.purse = purse
        self._passes = passes
        self._exchange = exchange
        self._clock = clock
        self._away = away
        self._kicked = asyncio.Event()
        self._answered = asyncio.Event()
        self._split: dict[str, tuple[tuple[Limit, ...], Pass, Pass]] = {}
        self._task: asyncio.Task[None] | None = None
        self._everything = False

    # What requests and attempts do.

    async def money(self, account: Account, hold: int | None) -> Reservation | Failure | None:
        """The money of an attempt; None for an account without a budget. `hold` None: nobody knows its price."""
        if not account.strict:
            return None
        found = await self._passes.of(account.key)
        if isinstance(found, Failure):
            return found
        return await self._reserve(self._parts(found)[1], hold, 0)

    def has_rates(self, pass_: Pass) -> bool:
        """Whether anything limits this caller beside money."""
        return bool(pass_.limits) and bool(self._parts(pass_)[0].limits)

    async def request(self, pass_: Pass, tokens: int) -> Reservation | Failure | None:
        """Room for a request of so many tokens in its rates; None for a caller without any."""
        rates = self._parts(pass_)[0]
        return await self._reserve(rates, 0, tokens) if rates.limits else None

    def settle(self, reservation: Reservation, cost: int | None, tokens: int) -> None:
        """What it came to. An unknown cost counts as the hold."""
        self.purse.settle(reservation, cost, tokens, self._clock())

    def void(self, reservation: Reservation) -> None:
        """Nobody was asked."""
        self.purse.void(reservation, self._clock())

    def rates(self, pass_: Pass) -> tuple[RateView, ...]:
        return self.purse.rates(self._parts(pass_)[0], self._clock())

    # Its loop.

    def start(self) -> None:
        self._task = asyncio.create_task(self._loop())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def another_owner(self) -> None:
        """The ledger has restarted: it has to hear what is in hand."""
        self._everything = True
        self._kicked.set()

    async def _reserve(self, pass_: Pass, hold: int | None, tokens: int) -> Reservation | Failure:
        got = self.purse.reserve(pass_, hold, tokens, self._clock())
        until = self._clock() + PATIENCE_S
        while isinstance(got, Need):
            answered = self._answered
            self._kicked.set()
            try:
                async with asyncio.timeout(until - self._clock()):
                    await answered.wait()
            except TimeoutError:
                detail = "the ledger, which keeps the limits of this key, does not answer; try again in a moment"
                return Failure(
                    kind=FailureKind.REFUSED,
                    detail=detail,
                    retry_after_s=1.0,
                    code="ledger_unavailable",
                    scope="request",
                )
            got = self.purse.reserve(pass_, hold, tokens, self._clock(), asked=got)
        return got

    async def _loop(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TICK_S):
                    await self._kicked.wait()
            except TimeoutError:
                pass
            self._kicked.clear()
            try:
                await self._once()
            except Exception:
                log.exception("till.broken")
                await asyncio.sleep(TICK_S)

    async def _once(self) -> None:
        everything, self._everything = self._everything, False
        claims = self.purse.claims(self._clock(), everything=everything)
        if claims is None:
            return
        try:
            grants = await self._exchange(claims)
        except self._away:
            self.purse.failed(self._clock())
        else:
            self.purse.take(grants, self._clock())
        answered, self._answered = self._answered, asyncio.Event()
        answered.set()

    def _parts(self, pass_: Pass) -> tuple[Pass, Pass]:
        """The pass with its rates alone, for requests, and with its budgets alone, for attempts."""
        known = self._split.get(pass_.account.key)
        if known is None or known[0] is not pass_.limits:
            money = tuple(one for one in pass_.limits if one.counted is Counted.MONEY)
            rates = tuple(one for one in pass_.limits if one.counted is not Counted.MONEY)
            paying = replace(pass_.account, key=f"{pass_.account.key} money")
            known = (pass_.limits, replace(pass_, limits=rates), replace(pass_, limits=money, account=paying))
            if len(self._split) >= MOST:
                self._split.clear()
            self._split[pass_.account.key] = known
        return known[1], known[2]
