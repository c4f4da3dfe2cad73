"""How many run, who waits, in what order, and who is sent away."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runtime.admission import Admission, AdmissionPolicy, Admitted, Entered, Left, Line, Place, Queued, Shed
from runtime.outcome import FailureKind
from tests.fakes.clock import FakeClock, turns

ONE = AdmissionPolicy(max_in_flight=1, max_queued=100, max_wait_s=2.0)


def line(policy: AdmissionPolicy = ONE, **said: float) -> Line:
    return Line(replace(policy, **said) if said else policy, random.Random(1))


def admitted(verdict: object) -> Place:
    assert isinstance(verdict, Admitted), verdict
    return verdict.place


def queued(verdict: object) -> Place:
    assert isinstance(verdict, Queued), verdict
    return verdict.place


def shed(verdict: object) -> Shed:
    assert isinstance(verdict, Shed), verdict
    return verdict


# Who gets in, and when.


def test_the_first_comes_first() -> None:
    ours = line()
    inside = admitted(ours.enter("a", 0.0))
    waiting = [queued(ours.enter("a", 0.0)) for _ in range(3)]
    for one in waiting:
        inside = turn(ours.leave(inside, 0.1))
        assert inside is one
    assert ours.leave(inside, 0.1) == Left()
    assert ours.in_flight == 0


def turn(left: Left) -> Place:
    assert left.admitted is not None
    return left.admitted


def test_tenants_take_turns_however_many_one_of_them_sends() -> None:
    ours = line()
    inside = admitted(ours.enter("flood", 0.0))
    for _ in range(50):
        ours.enter("flood", 0.0)
    for tenant in ("b", "c", "b"):
        ours.enter(tenant, 0.1)
    order = []
    for _ in range(7):
        inside = turn(ours.leave(inside, 0.2))
        order.append(inside.tenant)
    assert order == ["flood", "b", "c", "flood", "b", "flood", "flood"]


def test_a_full_queue_has_room_for_a_tenant_with_less_in_it() -> None:
    ours = line(max_queued=3)
    ours.enter("flood", 0.0)
    last = [queued(ours.enter("flood", 0.0)) for _ in range(3)][-1]
    assert shed(ours.enter("flood", 0.0)).why == "full"
    verdict = ours.enter("b", 0.0)
    assert isinstance(verdict, Queued)
    assert verdict.displaced is last
    assert shed(ours.enter("b", 0.0)).why == "full", "it would only change places"
    assert ours.queued == 3


def test_who_leaves_twice_is_a_mistake() -> None:
    ours = line()
    place = admitted(ours.enter("a", 0.0))
    ours.leave(place, 1.0)
    with pytest.raises(KeyError):
        ours.leave(place, 1.0)


def test_limits_may_change_while_some_wait() -> None:
    ours = line()
    ours.enter("a", 0.0)
    waiting = [queued(ours.enter("a", 0.0)) for _ in range(3)]
    assert [turn(one) for one in ours.follow(replace(ONE, max_in_flight=3), 0.1)] == waiting[:2]
    assert ours.follow(ONE, 0.1) == []
    assert (ours.in_flight, ours.queued) == (3, 1), "nobody is thrown out"
    assert ours.leave(waiting[0], 0.2) == Left(), "and nobody comes in while there are too many"


# Who is sent away, and for how long.


def test_nobody_waits_longer_than_patience_and_deadline_allow() -> None:
    ours = line()
    inside = admitted(ours.enter("a", 0.0))
    patient, hurried = queued(ours.enter("a", 0.0)), queued(ours.enter("a", 0.0, deadline=0.5))
    assert ours.expire(0.4) == ()
    assert ours.expire(0.5) == (hurried,)
    assert ours.leave(inside, 2.0) == Left(None, (patient,)), "what comes too late is no turn"


def test_whose_turn_would_come_too_late_is_sent_away_at_once() -> None:
    ours = line()
    ours.leave(admitted(ours.enter("a", 0.0)), 1.0)
    ours.enter("a", 1.0)
    assert shed(ours.enter("a", 1.0, deadline=1.4)).why == "late", "half a stay is 0.5 s"
    queued(ours.enter("a", 1.0, deadline=1.6))
    queued(ours.enter("a", 1.0))
    assert shed(ours.enter("a", 1.0)).why == "late", "two stays and a half are more than 2 s"
    queued(ours.enter("b", 1.0))


def test_while_nobody_has_left_everybody_may_wait() -> None:
    ours = line()
    ours.enter("a", 0.0)
    assert all(isinstance(ours.enter("a", 0.0), Queued) for _ in range(100))


@pytest.mark.parametrize(("stay_s", "waiting", "expected_s"), [(0.01, 0, 1.25), (4.0, 3, 16.0), (500.0, 3, 60.0)])
def test_the_wait_that_is_told_follows_the_queue(stay_s: float, waiting: int, expected_s: float) -> None:
    ours = line(max_wait_s=10_000.0)
    ours.leave(admitted(ours.enter("a", 0.0)), stay_s)
    for _ in range(1 + waiting):
        ours.enter("a", stay_s)
    told = [ours.shed(stay_s, "full").retry_after_s for _ in range(200)]
    assert all(max(1.0, 0.8 * expected_s) <= wait_s <= 1.2 * expected_s for wait_s in told)
    assert max(told) - min(told) > 0.3 * expected_s, "or all would come back together"


def test_what_a_caller_is_told() -> None:
    failure = Shed(1.5, "full", 8).failure(model="m")
    assert (failure.kind, failure.code, failure.retry_after_s) == (FailureKind.REFUSED, "overloaded", 1.5)
    assert (failure.handling.status, failure.client_retry) == (503, True)


# What always holds.


@given(st.lists(st.sampled_from("abcd"), max_size=60), st.integers(1, 4))
def test_a_tenant_waits_for_no_more_than_one_turn_of_each_other(comers: list[str], places: int) -> None:
    ours = line(max_in_flight=places, max_wait_s=1e9)
    inside = deque(admitted(ours.enter("first", 0.0)) for _ in range(places))
    expected = [queued(ours.enter(tenant, 0.0)) for tenant in comers]
    served = []
    while ours.queued:
        inside.append(turn(ours.leave(inside.popleft(), 1.0)))
        served.append(inside[-1])
    assert sorted(map(id, served)) == sorted(map(id, expected)), "nobody is lost"
    for tenant in set(comers):
        others = len(set(comers)) - 1
        own = [at for at, place in enumerate(served) if place.tenant == tenant]
        assert [served[at] for at in own] == [place for place in expected if place.tenant == tenant]
        assert all(later - earlier - 1 <= others for earlier, later in zip([-1, *own], own, strict=False))


class Visits(RuleBasedStateMachine):
    """Callers come, wait, give up, get in and leave, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.inside: list[Place] = []
        self.waiting: list[Place] = []
        self.came = self.sent_away = self.left = self.went = 0

    @initialize(places=st.integers(1, 3), seats=st.integers(0, 5))
    def open(self, places: int, seats: int) -> None:
        policy = AdmissionPolicy(max_in_flight=places, max_queued=seats, max_wait_s=2.0)
        self.line = Line(policy, random.Random(1))

    @rule(tenant=st.sampled_from("abc"), deadline_s=st.sampled_from([0.0, 0.3, 1.0, math.inf]))
    def come(self, tenant: str, deadline_s: float) -> None:
        self.came += 1
        would = self.line.refuses(tenant, self.now, self.now + deadline_s)
        verdict = self.line.enter(tenant, self.now, self.now + deadline_s)
        match verdict:
            case Admitted(place):
                assert not self.waiting, "nobody overtakes those who wait"
                self.inside.append(place)
            case Queued(place, displaced):
                self.waiting.append(place)
                if displaced is not None:
                    assert displaced.tenant != tenant
                    self.waiting.remove(displaced)
                    self.sent_away += 1
            case Shed():
                self.sent_away += 1
                assert verdict.retry_after_s >= 1.0
        assert isinstance(verdict, Shed) == (would is not None)

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from(self.inside))
        self.inside.remove(place)
        self.left += 1
        self.follow(self.line.leave(place, self.now))

    def follow(self, turn: Left) -> None:
        for late in turn.late:
            assert late.until <= self.now
            self.waiting.remove(late)
            self.sent_away += 1
        if turn.admitted is not None:
            assert turn.admitted.until > self.now
            first = next(one for one in self.waiting if one.tenant == turn.admitted.tenant)
            assert first is turn.admitted, "in order within a tenant"
            self.waiting.remove(turn.admitted)
            self.inside.append(turn.admitted)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(place)
        self.went += 1
        self.line.withdrawn(place)

    @rule(seconds=st.sampled_from([0.1, 0.5, 2.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for late in self.line.expire(self.now):
            self.waiting.remove(late)
            self.sent_away += 1

    @rule(places=st.integers(1, 4))
    def resize(self, places: int) -> None:
        for one in self.line.follow(replace(self.line.policy, max_in_flight=places), self.now):
            self.follow(one)

    @invariant()
    def counts(self) -> None:
        assert self.came == len(self.inside) + len(self.waiting) + self.sent_away + self.left + self.went
        assert (self.line.in_flight, self.line.queued) == (len(self.inside), len(self.waiting))
        assert all(self.line.holds(place) for place in self.inside)

    @invariant()
    def no_place_is_free_while_somebody_waits(self) -> None:
        assert not self.waiting or self.line.is_full


class BoundedVisits(Visits):
    """Without changes of the limits, these are never passed."""

    @precondition(lambda self: False)
    @rule()
    def resize(self) -> None: ...  # type: ignore[override]  # switched off

    @invariant()
    def never_more_than_allowed(self) -> None:
        assert len(self.inside) <= self.line.policy.max_in_flight
        assert len(self.waiting) <= self.line.policy.max_queued


TestVisits = Visits.TestCase
TestVisits.settings = settings(max_examples=60, stateful_step_count=40)
TestBoundedVisits = BoundedVisits.TestCase
TestBoundedVisits.settings = TestVisits.settings


# Those who wait in it.


class Visitors:
    """Calls that stay inside until they are let out."""

    def __init__(self, *, clock: FakeClock | None = None, **policy: float) -> None:
        limits = AdmissionPolicy(**{"max_in_flight": 1, "max_queued": 3, "max_wait_s": 60.0, **policy})  # type: ignore[arg-type]
        self.admission = Admission(limits, clock or FakeClock(), random.Random(1))
        self.inside: list[str] = []
        self.refused: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}

    def come(self, name: str, deadline_s: float | None = None) -> asyncio.Task[None]:
        self._leave[name] = asyncio.Event()
        return asyncio.create_task(self._visit(name, deadline_s))

    def leave(self, name: str) -> None:
        self._leave[name].set()

    async def _visit(self, name: str, deadline_s: float | None) -> None:
        entered = await self.admission.enter(deadline_s=deadline_s)
        if isinstance(entered, Shed):
            self.refused.append(name)
            return
        self.inside.append(name)
        try:
            await self._leave[name].wait()
        finally:
            self.inside.remove(name)
            self.admission.leave(entered)


async def test_so_many_run_so_many_wait_and_the_rest_is_refused_at_once() -> None:
    visitors = Visitors(max_in_flight=2, max_queued=1)
    tasks = [visitors.come(name) for name in "abcd"]
    await turns()
    assert visitors.inside == ["a", "b"]
    assert visitors.refused == ["d"]
    assert visitors.admission.queued == 1
    for name in "abc":
        visitors.leave(name)
    await asyncio.gather(*tasks)
    ours = visitors.admission
    assert (ours.queued, ours.in_flight, ours.waited, ours.shed) == (0, 0, 1, 1)


@pytest.mark.parametrize("who", ["running", "waiting"])
async def test_a_caller_who_goes_away_leaves_its_place(who: str) -> None:
    visitors = Visitors(max_queued=1)
    tasks = {"running": visitors.come("running"), "waiting": visitors.come("waiting")}
    await turns()
    tasks[who].cancel()
    await turns()
    replaced = visitors.come("new")
    await turns()
    assert visitors.refused == []
    for name in ("running", "waiting", "new"):
        visitors.leave(name)
    await asyncio.gather(*tasks.values(), replaced, return_exceptions=True)
    assert (visitors.admission.queued, visitors.admission.in_flight) == (0, 0)


async def test_a_caller_who_goes_away_in_the_moment_of_its_turn_passes_it_on() -> None:
    visitors = Visitors()
    tasks = [visitors.come(name) for name in "abc"]
    await turns()
    visitors.leave("a")
    while visitors.admission.queued == 2:
        await turns(1)
    tasks[1].cancel()
    await turns()
    assert visitors.inside == ["c"]
    visitors.leave("c")
    await asyncio.gather(*tasks, return_exceptions=True)
    assert visitors.admission.in_flight == 0


async def test_patience_ends_by_itself() -> None:
    visitors = Visitors(max_wait_s=0.02)
    tasks = [visitors.come(name) for name in "ab"]
    await tasks[1]
    assert visitors.refused == ["b"]
    visitors.leave("a")
    await tasks[0]
    assert (visitors.admission.queued, visitors.admission.in_flight) == (0, 0)


async def test_the_wait_is_told() -> None:
    clock = FakeClock()
    admission = Admission(ONE, clock, random.Random(1))
    first = await admission.enter()
    assert isinstance(first, Entered)
    assert first.queue_s == 0.0
    second = asyncio.create_task(admission.enter())
    await turns()
    clock.advance(0.25)
    admission.leave(first)
    entered = await second
    assert isinstance(entered, Entered)
    assert entered.queue_s == 0.25


async def test_more_room_lets_those_in_who_wait() -> None:
    visitors = Visitors()
    tasks = [visitors.come(name) for name in "abc"]
    await turns()
    visitors.admission.follow(AdmissionPolicy(max_in_flight=3))
    await turns()
    assert visitors.inside == ["a", "b", "c"]
    for name in "abc":
        visitors.leave(name)
    await asyncio.gather(*tasks)


async def test_sending_away_takes_less_than_10_ms_with_512_waiting() -> None:
    admission = Admission(
        AdmissionPolicy(max_in_flight=64, max_queued=512, max_wait_s=60.0), time.monotonic, random.Random(1)
    )
    inside = [await admission.enter(f"t{at}") for at in range(64)]
    waiting = [asyncio.create_task(admission.enter(f"t{at}")) for at in range(512)]
    await turns()
    assert admission.queued == 512
    took = []
    for _ in range(200):
        began = time.perf_counter()
        verdict = await admission.enter("t1")
        took.append(time.perf_counter() - began)
        assert isinstance(verdict, Shed)
    print(f"\nsent away with 512 waiting: median {sorted(took)[100] * 1e6:.0f} us, worst {max(took) * 1e6:.0f} us")
    assert sorted(took)[100] < 0.01
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for entered in inside:
        assert isinstance(entered, Entered)
        admission.leave(entered)
    assert (admission.queued, admission.in_flight) == (0, 0)
