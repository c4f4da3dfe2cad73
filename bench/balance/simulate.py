"""A discrete-event simulation on a virtual clock: edges with stale views choose, servers serve, reports travel.

Each edge counts its own calls exactly. Once in `stale_s` all report: what their calls came to is merged by the real
`Pace`, and everybody learns it, and how many calls the others have under way. Calls that end in between count at once
in the edge's own `Pace`. A call that fails goes to somebody else; nobody has a breaker here.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from bench.balance.world import FAILS_IN_S, Floats, Line, Scenario, Traffic, draw
from runtime.balance.entry import Candidate
from runtime.balance.pace import Pace, Timings

MOST_ATTEMPTS = 4
GIVEN_UP_S = 60.0
"""What a request took that nobody answered: as bad as a time-out."""


@dataclass
class Edge:
    """What one gateway process knows. `memory` belongs to the policy."""

    number: int
    in_flight: list[int]
    others: list[int]
    own: list[Pace]
    shared: list[Pace]
    unreported: list[list[Timings]]
    waiting: list[dict[int, float]]
    seen_at: float = 0.0
    memory: dict[object, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Asking:
    """One request at the moment of a choice; `left` are the servers that it was not sent to yet."""

    number: int
    now: float
    tokens: int
    left: tuple[int, ...]


@dataclass
class World:
    scenario: Scenario
    traffic: Traffic
    lines: list[Line]
    rng: random.Random

    def takes_s(self, server: int, asking: Asking, *, luck: bool = True) -> float:
        """How long a server needs for a request, waiting not included."""
        of = self.scenario.servers[server]
        if of.fails(asking.now):
            return FAILS_IN_S
        drawn = float(self.traffic.luck[asking.number, server]) if luck else 1.0
        return (of.ttft_s + asking.tokens * of.per_token_s) * of.slowdown(asking.now) * drawn


class Policy(Protocol):
    name: str

    def pick(self, edge: Edge, asking: Asking, world: World) -> int: ...
    def saw(self, edge: Edge, server: int, latency_s: float, tokens: int, *, ok: bool, now: float) -> None: ...


@dataclass
class Result:
    """By request: when it began and what it took. `calls` are the attempts: when, and at which server."""

    began: Floats
    took: Floats
    calls: list[tuple[float, int]]

    def between(self, since: float, until: float = float("inf")) -> Floats:
        return self.took[(self.began >= since) & (self.began < until)]

    def share(self, server: int, since: float, until: float = float("inf")) -> float:
        within = [one for at, one in self.calls if since <= at < until]
        return within.count(server) / max(1, len(within))


@dataclass(frozen=True)
class _Call:
    number: int
    began: float
    edge: Edge
    server: int
    sent: float
    tokens: int
    load: int
    left: tuple[int, ...]


class _Run:
    """One policy in one scenario. Events are (when, serial number, what to do)."""

    def __init__(self, scenario: Scenario, policy: Policy, seed: int) -> None:
        count = len(scenario.servers)
        self.scenario = scenario
        self.policy = policy
        self.traffic = draw(scenario, seed)
        self.world = World(scenario, self.traffic, [Line(one) for one in scenario.servers], random.Random(seed))
        self.shared = [Pace() for _ in range(count)]
        self.edges = [
            Edge(
                number,
                [0] * count,
                [0] * count,
                [Pace() for _ in range(count)],
                self.shared,
                [[] for _ in range(count)],
                [{} for _ in range(count)],
            )
            for number in range(scenario.edges)
        ]
        self.result = Result(self.traffic.at, np.full(len(self.traffic.at), np.nan), [])
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._serial = 0

    def run(self) -> Result:
        for number, at in enumerate(self.traffic.at):
            self._at(float(at), lambda now, number=number: self._arrive(number, now))  # type: ignore[misc]
        for tick in range(1, int(self.scenario.seconds / self.scenario.stale_s) if self.scenario.stale_s else 0):
            self._at(tick * self.scenario.stale_s, self._publish)
        while self._events:
            now, _, act = heapq.heappop(self._events)
            act(now)
        return self.result

    def _at(self, when: float, act: Callable[[float], None]) -> None:
        self._serial += 1
        heapq.heappush(self._events, (when, self._serial, act))

    def _arrive(self, number: int, now: float) -> None:
        self._send(number, now, self.edges[self.traffic.edge[number]], now, tuple(range(len(self.world.lines))))

    def _publish(self, now: float) -> None:
        for server, pace in enumerate(self.shared):
            for edge in self.edges:
                if edge.unreported[server]:
                    pace.add(sum(edge.unreported[server], Timings()), now)
                    edge.unreported[server].clear()
            total = sum(edge.in_flight[server] for edge in self.edges)
            for edge in self.edges:
                edge.others[server] = total - edge.in_flight[server]
                edge.seen_at = now

    def _send(self, number: int, began: float, edge: Edge, now: float, left: tuple[int, ...]) -> None:
        if self.scenario.stale_s == 0.0:
            self._publish(now)
        asking = Asking(number, now, int(self.traffic.tokens[number]), left)
        server = self.policy.pick(edge, asking, self.world)
        self.result.calls.append((now, server))
        of = self.scenario.servers[server]
        takes_s = self.world.takes_s(server, asking)
        ok = not of.fails(now)
        begins = self.world.lines[server].serve(now, takes_s) if ok else now
        share = of.ttft_s / (of.ttft_s + asking.tokens * of.per_token_s)
        load = edge.in_flight[server] + edge.others[server]
        edge.in_flight[server] += 1
        rest = tuple(one for one in left if one != server)
        call = _Call(number, began, edge, server, now, asking.tokens, load, rest)
        if not ok:
            self._at(now + takes_s, lambda then: self._failed(call, then))
            return
        edge.waiting[server][number] = now
        first = begins + takes_s * share
        self._at(first, lambda then: self._first(call, then))
        self._at(begins + takes_s, lambda then: self._end(call, first, then))

    def _first(self, call: _Call, now: float) -> None:
        del call.edge.waiting[call.server][call.number]
        self._hear(call, Timings(begun=1, ttft_s=now - call.sent, load=call.load), now)

    def _end(self, call: _Call, first: float, now: float) -> None:
        call.edge.in_flight[call.server] -= 1
        self._hear(call, Timings(answered=1, tokens=call.tokens, paced=call.tokens, token_s=now - first), now)
        self.policy.saw(call.edge, call.server, now - call.sent, call.tokens, ok=True, now=now)
        self.result.took[call.number] = now - call.began

    def _failed(self, call: _Call, now: float) -> None:
        call.edge.in_flight[call.server] -= 1
        self._hear(call, Timings(failed=1), now)
        self.policy.saw(call.edge, call.server, now - call.sent, 0, ok=False, now=now)
        if call.left and len(self.world.lines) - len(call.left) < MOST_ATTEMPTS:
            self._send(call.number, call.began, call.edge, now, call.left)
        else:
            self.result.took[call.number] = GIVEN_UP_S

    @staticmethod
    def _hear(call: _Call, batch: Timings, now: float) -> None:
        call.edge.unreported[call.server].append(batch)
        call.edge.own[call.server].add(batch, now)


def simulate(scenario: Scenario, policy: Policy, seed: int = 1) -> Result:
    """The same scenario and seed give the same requests to every policy."""
    return _Run(scenario, policy, seed).run()


CANDIDATES = [Candidate(f"server{number}", "model") for number in range(64)]
