"""How many run at once, how many wait for a place, in what order, and who is sent away at once.

    enter ── a place is free ──────────────────────────► Admitted ── leave ──► the next one's turn
          ── all are taken ─────────► Queued ── its turn ──► Admitted
                                             ── its patience or its deadline ends ──► Shed
                                             ── its caller goes away (`withdrawn`) ──► gone
          ── the queue is full, or its turn would come too late ──► Shed

Tenants take turns, and within one tenant the first comes first: whoever floods the queue waits behind himself. A full
queue has room all the same for a tenant with fewer in it: the last of the longest line goes in its stead.

A full house is left once in (mean time in a place / places) seconds, by Little's law. A turn with n before it is away
n + ½ to n + 1 of these intervals, as the stays are all alike or as unlike as can be; the lesser counts against the
patience of who comes. Before anybody has left nothing is known, and everybody may wait.

`Line` decides, and takes the time as an argument; `Admission` waits.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from runtime.load import Ewma
from runtime.outcome import Failure, FailureKind

OVERLOADED = "overloaded"
"""The code of a failure that means: nobody was asked, there was no room."""

SOONEST_S = 1.0
LATEST_S = 60.0
"""Bounds of what those that are sent away are told to wait."""

JITTER = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionPolicy:
    """`max_wait_s` is the longest that anybody waits for a place. So many as `stays` wait here although they could go
    elsewhere."""

    max_in_flight: int
    max_queued: int = 0
    max_wait_s: float = 2.0
    stays: int = 0


@dataclass(eq=False, slots=True)
class Place:
    """One caller, from `enter` to `leave`. `until` is when it no longer wants to wait, `since` when it got in."""

    tenant: str
    until: float
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Admitted:
    place: Place


@dataclass(frozen=True, slots=True)
class Queued:
    """`displaced` has to go, as it was the last of a longer line."""

    place: Place
    displaced: Place | None = None


Why = Literal["full", "late", "waited", "displaced"]

_WHY: dict[Why, str] = {
    "full": "there is no room left to wait",
    "late": "so many wait already that a turn would come too late",
    "waited": "no turn came in time",
    "displaced": "too many of this caller's requests wait already",
}


@dataclass(frozen=True, slots=True)
class Shed:
    """Sent away, as all these places are taken: come back in `retry_after_s` seconds."""

    retry_after_s: float
    why: Why
    places: int

    def failure(self, *, model: str = "", provider: str = "") -> Failure:
        """As its caller is told it; without a provider, the places are Raygate's own."""
        calls = "1 call" if self.places == 1 else f"{self.places} calls"
        detail = f"{provider or 'this part of Raygate'} has {calls} in flight, its limit, and {_WHY[self.why]}"
        return Failure(
            kind=FailureKind.REFUSED,
            provider=provider,
            model=model,
            detail=f"{detail}; try again in a moment",
            code=OVERLOADED,
            retry_after_s=self.retry_after_s,
        )


@dataclass(frozen=True, slots=True)
class Left:
    """Whose turn it is now, and whose turn would have been but came too late."""

    admitted: Place | None = None
    late: tuple[Place, ...] = ()


class Line:
    """Belongs to one thread; `now` is its owner's monotonic clock."""

    def __init__(self, policy: AdmissionPolicy, rng: random.Random) -> None:
        self.policy = policy
        self.queued = 0
        self._rng = rng
        self._inside: set[Place] = set()
        self._waiting: OrderedDict[str, OrderedDict[Place, None]] = OrderedDict()
        self._stay_s = Ewma()

    @property
    def in_flight(self) -> int:
        return len(self._inside)

    @property
    def is_full(self) -> bool:
        """Whether whoever comes now has to wait at least."""
        return len(self._inside) >= self.policy.max_in_flight

    def holds(self, place: Place) -> bool:
        return place in self._inside

    def enter(self, tenant: str, now: float, deadline: float = math.inf) -> Admitted | Queued | Shed:
        if not self.is_full:
            place = Place(tenant, now)
            self._admit(place, now)
            return Admitted(place)
        if (shed := self.refuses(tenant, now, deadline)) is not None:
            return shed
        displaced = self._last_of_longest(tenant) if self.queued >= self.policy.max_queued else None
        if displaced is not None:
            self.withdrawn(displaced)
        place = Place(tenant, min(deadline, now + self.policy.max_wait_s))
        self._waiting.setdefault(tenant, OrderedDict())[place] = None
        self.queued += 1
        return Queued(place, displaced)

    def refuses(self, tenant: str, now: float, deadline: float = math.inf) -> Shed | None:
        """Why somebody who came now would not even be let wait; None if he would, or needs not to."""
        if not self.is_full:
            return None
        if self.queued >= self.policy.max_queued and self._last_of_longest(tenant) is None:
            return self.shed(now, "full")
        expected_s = self._away_s(self._turns_before(tenant) + 0.5)
        if expected_s is not None and now + expected_s > min(deadline, now + self.policy.max_wait_s):
            return self.shed(now, "late")
        return self.shed(now, "late") if deadline <= now else None

    def leave(self, place: Place, now: float) -> Left:
        """A place becomes free. Raises `KeyError` for one who is not inside (any more)."""
        self._inside.remove(place)
        self._stay_s.add(now - place.since, now)
        return self._next(now)

    def withdrawn(self, place: Place) -> None:
        """Somebody waits no longer. Raises `KeyError` for one who does not wait (any more)."""
        line = self._waiting[place.tenant]
        del line[place]
        self.queued -= 1
        if not line:
            del self._waiting[place.tenant]

    def expire(self, now: float) -> tuple[Place, ...]:
        """Those whose patience or deadline has ended; they wait no longer."""
        late = tuple(place for line in self._waiting.values() for place in line if place.until <= now)
        for place in late:
            self.withdrawn(place)
        return late

    def follow(self, policy: AdmissionPolicy, now: float) -> list[Left]:
        """Other limits from now on: who gets in by them. Nobody who is inside or waits is thrown out."""
        self.policy = policy
        turns = []
        while self.queued and not self.is_full:
            turns.append(self._next(now))
        return turns

    def shed(self, now: float, why: Why) -> Shed:
        """When to come back: once those who wait now have had their turns, more or less; at least `SOONEST_S`."""
        expected_s = self._away_s(self.queued + 1) or 0.0
        usual_s = min(LATEST_S, max(SOONEST_S / (1.0 - JITTER), expected_s))
        return Shed(usual_s * self._rng.uniform(1.0 - JITTER, 1.0 + JITTER), why, self.policy.max_in_flight)

    def _next(self, now: float) -> Left:
        late: list[Place] = []
        while self._waiting and not self.is_full:
            tenant, line = self._waiting.popitem(last=False)
            place, _ = line.popitem(last=False)
            self.queued -= 1
            on_time = now < place.until
            if line:
                self._waiting[tenant] = line
                # The turn of one who came too late is his tenant's still.
                self._waiting.move_to_end(tenant, last=on_time)
            if on_time:
                self._admit(place, now)
                return Left(place, tuple(late))
            late.append(place)
        return Left(None, tuple(late))

    def _admit(self, place: Place, now: float) -> None:
        place.since = now
        self._inside.add(place)

    def _turns_before(self, tenant: str) -> int:
        own = len(self._waiting.get(tenant, ()))
        return own + sum(min(len(line), own + 1) for name, line in self._waiting.items() if name != tenant)

    def _last_of_longest(self, tenant: str) -> Place | None:
        """Who has to go for one more of this tenant: nobody, where its own line would not be shorter even then."""
        longest = max(self._waiting.values(), key=len, default=None)
        if longest is None or len(longest) <= len(self._waiting.get(tenant, ())) + 1:
            return None
        return next(reversed(longest))

    def _away_s(self, turns: float) -> float | None:
        stay_s = self._stay_s.value
        return None if stay_s is None else turns * stay_s / self.policy.max_in_flight


@dataclass(frozen=True, slots=True)
class Entered:
    """A place, and how long its holder has waited for it. To be given back by `leave`, once."""

    place: Place
    queue_s: float = 0.0


@dataclass(slots=True)
class Admission:
    """A `Line` with callers who wait in it. Belongs to one event loop.

    `counted` holds how many ever had to wait and how many were sent away; `on_change` is called after each change of
    those or of the number who wait.
    """

    policy: AdmissionPolicy
    clock: Callable[[], float]
    rng: random.Random
    on_change: Callable[[], None] = lambda: None
    waited: int = 0
    shed: int = 0
    _line: Line = field(init=False)
    _turns: dict[Place, asyncio.Future[Shed | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._line = Line(self.policy, self.rng)

    @property
    def queued(self) -> int:
        return self._line.queued

    @property
    def in_flight(self) -> int:
        return self._line.in_flight

    @property
    def is_full(self) -> bool:
        return self._line.is_full

    @property
    def spills(self) -> bool:
        """Whether who can go elsewhere should."""
        return self.is_full and self.queued >= self._line.policy.stays

    def refuses(self, tenant: str = "") -> Shed | None:
        """Whether there is no room even to wait, as far as can be said before the request is read."""
        shed = self._line.refuses(tenant, self.clock())
        if shed is not None:
            self._sent_away(shed)
        return shed

    async def enter(self, tenant: str = "", *, deadline_s: float | None = None) -> Entered | Shed:
        """A place, as soon as there is one. `deadline_s` is how long its request has. `leave` it in any case."""
        came = self.clock()
        verdict = self._line.enter(tenant, came, math.inf if deadline_s is None else came + deadline_s)
        if isinstance(verdict, Admitted):
            return Entered(verdict.place)
        if isinstance(verdict, Shed):
            return self._sent_away(verdict)
        if verdict.displaced is not None:
            self._tell(verdict.displaced, self._line.shed(came, "displaced"))
        return await self._turn(verdict.place, came)

    def leave(self, entered: Entered) -> None:
        """Give a place back. Raises `KeyError` where that was done before."""
        self._follow(self._line.leave(entered.place, self.clock()))

    def follow(self, policy: AdmissionPolicy) -> None:
        """Other limits from now on; nobody is thrown out by them."""
        self.policy = policy
        for turn in self._line.follow(policy, self.clock()):
            self._follow(turn)

    async def _turn(self, place: Place, came: float) -> Entered | Shed:
        turn: asyncio.Future[Shed | None] = asyncio.get_running_loop().create_future()
        self._turns[place] = turn
        self.waited += 1
        self.on_change()
        try:
            await asyncio.wait((turn,), timeout=max(0.0, place.until - came))
        except BaseException:
            # Its caller went away; the turn may have come all the same, in this very moment.
            self._give_up(place)
            raise
        if not turn.done():
            self._give_up(place)
            return self._sent_away(self._line.shed(self.clock(), "waited"))
        verdict = turn.result()
        return Entered(place, self.clock() - came) if verdict is None else self._sent_away(verdict)

    def _give_up(self, place: Place) -> None:
        turn = self._turns.pop(place, None)
        if turn is not None:
            self._line.withdrawn(place)
            self.on_change()
        elif self._line.holds(place):
            self._follow(self._line.leave(place, self.clock()))

    def _follow(self, left: Left) -> None:
        if left.late:
            shed = self._line.shed(self.clock(), "waited")
            for place in left.late:
                self._tell(place, shed)
        if left.admitted is not None:
            self._tell(left.admitted, None)

    def _tell(self, place: Place, verdict: Shed | None) -> None:
        self._turns.pop(place).set_result(verdict)
        self.on_change()

    def _sent_away(self, shed: Shed) -> Shed:
        self.shed += 1
        self.on_change()
        return shed
