"""Edges, an owner and the ledger's rows under a virtual clock: messages come late, twice or never, processes die.

Everything is the real `Purse` and `Owner`; the world is the shell that the actors are in production.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from runtime.ledger.accounts import Counted, Limit, Pass, Scope
from runtime.ledger.leases import Claims, LeasePolicy
from runtime.ledger.owner import Owner
from runtime.ledger.periods import start_of
from runtime.ledger.purse import TICK_S, Need, Purse, PursePolicy, Reservation
from runtime.ledger.rows import Account, Intent, Row, Settlement
from runtime.outcome import Cost, Failure

EPOCH_S = 1_800_000_000.0
ACCOUNT = Account(key="k1", team="t1", org="o1")


def money(amount: int, **said: object) -> Limit:
    return Limit(scope=Scope.KEY, of="k1", counted=Counted.MONEY, amount=amount, **said)  # type: ignore[arg-type]


def rate(amount: int, counted: Counted = Counted.REQUESTS) -> Limit:
    return Limit(scope=Scope.KEY, of="k1", counted=counted, amount=amount)


def pass_of(*limits: Limit) -> Pass:
    return Pass(account=ACCOUNT, limits=limits)


def row_of(
    attempt: str, at: float, cost: int | None, *, hold: int | None = None, lease: str = "", account: Account = ACCOUNT
) -> Row:
    at_ms = int(at * 1000)
    return Row(
        intent=Intent(attempt=attempt, at_ms=at_ms, account=account, hold_nanousd=hold, lease=lease),
        settlement=Settlement(
            attempt=attempt, at_ms=at_ms, outcome="ok", cost=None if cost is None else Cost(total_nanousd=cost)
        ),
    )


@dataclass
class Weather:
    """Seconds that a message takes, and how likely it is lost or, for rows, comes twice."""

    least_s: float = 0.001
    most_s: float = 0.02
    lost: float = 0.0
    twice: float = 0.0
    timeout_s: float = 1.0


@dataclass
class Edge:
    name: str
    purse: Purse
    waiting: list[Callable[[], None]] = field(default_factory=list)
    open: dict[str, tuple[int, str, float]] = field(default_factory=dict)
    alive: bool = True
    tells_all: bool = False
    collected: bool = False


class World:
    def __init__(
        self,
        limits: tuple[Limit, ...],
        *,
        edges: int = 1,
        seed: int = 0,
        weather: Weather | None = None,
        leases: LeasePolicy | None = None,
        policy: PursePolicy | None = None,
    ) -> None:
        self.rng = random.Random(seed)
        self.now = EPOCH_S
        self.limits = limits
        self.pass_ = pass_of(*limits)
        self.weather = weather or Weather()
        self.leases = leases or LeasePolicy()
        self.policy = policy or PursePolicy()
        self.rows: dict[str, Row] = {}
        self.billed = 0
        self.running = 0
        """Nano-dollars in rows, and those held by attempts that run."""
        self.admitted: list[tuple[float, int]] = []
        self.asked: list[tuple[float, int, int]] = []
        """When claims for something reached the owner, how much was needed, and how much was granted."""
        self.refused: list[Failure] = []
        self.exchanges = 0
        self.watch: Callable[[], None] = lambda: None
        self.every: list[Edge] = []
        """The dead ones, too."""
        self._names = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.owner_alive = True
        self._epoch = 1
        self.owner = Owner(epoch=1, now=self.now, policy=self.leases, restarted=False)
        for limit in limits:
            self.owner.put(limit, now=self.now)
        self.edges = [self.new_edge() for _ in range(edges)]
        self.after(1.0, self._owner_tick)

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), then))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, then = heapq.heappop(self._events)
            then()
            self.watch()
        self.now = end

    def new_edge(self) -> Edge:
        name = f"edge-{next(self._names)}"
        edge = Edge(name, Purse(edge=name, policy=self.policy))
        self.every.append(edge)
        self.after(self.rng.random() * TICK_S, lambda: self._edge_tick(edge))
        return edge

    def request(
        self,
        edge: Edge,
        hold: int,
        cost: int,
        *,
        takes_s: float = 0.5,
        tokens: int = 0,
        used: int = 0,
        refused: Callable[[Failure], None] | None = None,
        asked: Need | None = None,
    ) -> None:
        if not edge.alive:
            return

        def again(need: Need | None) -> None:
            self.request(edge, hold, cost, takes_s=takes_s, tokens=tokens, used=used, refused=refused, asked=need)

        got = edge.purse.reserve(self.pass_, hold, tokens, self.now, asked=asked)
        if isinstance(got, Failure):
            self.refused.append(got)
            if refused is not None:
                refused(got)
        elif isinstance(got, Need):
            need = got
            edge.waiting.append(lambda: again(need))
            self._exchange(edge)
        else:
            reserved = got
            attempt = f"{edge.name}/{next(self._names)}"
            lease, at = reserved.lease, self.now
            edge.open[attempt] = (hold, lease, at)
            self.running += hold
            self.admitted.append((at, tokens or 1))

            def end() -> None:
                if edge.alive:
                    edge.purse.settle(reserved, cost, used, self.now)
                    del edge.open[attempt]
                    self.running -= hold
                    self._ship(row_of(attempt, at, cost, hold=hold, lease=lease))

            self.after(takes_s, end)

    def kill_edge(self, edge: Edge) -> None:
        """Its attempts become rows at their holds when its journal is collected; then the owner is told."""
        edge.alive = False

        def collect() -> None:
            if not self.owner_alive:
                self.after(0.5, collect)
                return
            for attempt, (hold, lease, at) in edge.open.items():
                self.running -= hold
                self._store(row_of(attempt, at, hold, hold=hold, lease=lease))
            # Rows that were settled are in its journal, too.
            self.after(self.weather.most_s * 4, forget)

        def forget() -> None:
            if not self.owner_alive:
                self.after(0.5, forget)
                return
            edge.collected = True
            self.owner.forget(edge.name)

        self.after(self.rng.uniform(0.1, 3.0), collect)

    def restart_owner(self, down_s: float = 0.5) -> None:
        self.owner_alive = False

        def up() -> None:
            self._epoch += 1
            waits_for = [edge.name for edge in self.every if not edge.collected]
            self.owner = Owner(epoch=self._epoch, now=self.now, policy=self.leases, waits_for=waits_for)
            for limit in self.limits:
                self.owner.put(limit, now=self.now, spent_nanousd=self.total(limit))
            self.owner_alive = True
            for edge in self.every:
                # The feed tells them.
                edge.tells_all = True

        self.after(down_s, up)

    def total(self, limit: Limit) -> int:
        """What the store says of the period in which we are."""
        start = start_of(limit.period, int(self.now * 1000))
        return sum(row.cost_nanousd or 0 for row in self.rows.values() if row.intent.at_ms >= start)

    def _store(self, row: Row) -> None:
        if row.intent.attempt not in self.rows:
            self.rows[row.intent.attempt] = row
            self.billed += row.cost_nanousd or 0
            self.owner.spent(row, row.cost_nanousd, now=self.now)

    def _ship(self, row: Row) -> None:
        """As the shipper does: again and again until it is acknowledged, so at least once."""

        def arrive() -> None:
            if not self.owner_alive or self.rng.random() < self.weather.lost:
                self.after(1.0, arrive)
                return
            self._store(row)
            if self.rng.random() < self.weather.twice:
                self.after(self._delay(), arrive)

        self.after(self._delay(), arrive)

    def _delay(self) -> float:
        return self.rng.uniform(self.weather.least_s, self.weather.most_s)

    def _owner_tick(self) -> None:
        if self.owner_alive:
            self.owner.tick(self.now)
        self.after(1.0, self._owner_tick)

    def _edge_tick(self, edge: Edge) -> None:
        if edge.alive:
            self._exchange(edge)
            self.after(TICK_S, lambda: self._edge_tick(edge))

    def _exchange(self, edge: Edge) -> None:
        claims = edge.purse.claims(self.now, everything=edge.tells_all)
        edge.tells_all = False
        if claims is None:
            return
        self.exchanges += 1
        done = [False]

        def arrive() -> None:
            if not self.owner_alive or self.rng.random() < self.weather.lost:
                return
            grants = self.owner.grant(claims, self.now)
            need = sum(claim.need for claim in claims.claims)
            if need:
                self.asked.append((self.now, need, sum(grant.amount for grant in grants.grants)))

            def back() -> None:
                if edge.alive and not done[0]:
                    done[0] = True
                    edge.purse.take(grants, self.now)
                    self._wake(edge)

            if self.rng.random() >= self.weather.lost:
                self.after(self._delay(), back)

        def give_up() -> None:
            if edge.alive and not done[0]:
                done[0] = True
                edge.purse.failed(self.now)
                self._wake(edge)

        self.after(self._delay(), arrive)
        self.after(self.weather.timeout_s, give_up)

    def _wake(self, edge: Edge) -> None:
        waiting, edge.waiting = edge.waiting, []
        for again in waiting:
            again()


__all__ = ["Claims", "Reservation", "World", "money", "pass_of", "rate", "row_of"]
