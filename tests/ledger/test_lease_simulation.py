"""Whole fleets of edges against one owner, with late, lost and doubled messages and deaths."""

from __future__ import annotations

import pytest

from runtime.ledger.accounts import Counted
from runtime.ledger.leases import LeasePolicy
from runtime.ledger.limits import Meter
from runtime.ledger.periods import Period
from runtime.ledger.purse import PursePolicy
from runtime.outcome import Failure, FailureKind
from tests.ledger.money_world import EPOCH_S, Edge, Weather, World, money, rate

BUDGET = 1_000_000


def insist(world: World, edge: Edge, hold: int, cost: int, **said: float) -> None:
    """A client that comes again for as long as it is told to."""

    def refused(failure: Failure) -> None:
        if failure.kind is not FailureKind.BUDGET_EXCEEDED:
            world.after((failure.retry_after_s or 0.5) + world.rng.random() * 0.1, again)

    def again() -> None:
        world.request(edge, hold, cost, takes_s=world.rng.uniform(0.05, 2.0), refused=refused)

    again()


def never_above(world: World, cap: int) -> None:
    def watch() -> None:
        # What runs may still come to all of its hold.
        assert world.billed + world.running <= cap

    world.watch = watch


@pytest.mark.parametrize("edges", [1, 4, 16])
@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_concurrent_requests_never_pass_a_small_budget_and_use_nearly_all_of_it(
    edges: int, seed: int
) -> None:
    world = World((money(BUDGET),), edges=edges, seed=seed)
    never_above(world, BUDGET)
    for number in range(1_000):
        hold = world.rng.randrange(2_000, 10_000)
        insist(world, world.edges[number % edges], hold, world.rng.randrange(hold // 4, hold + 1))
    world.run(120.0)
    spent = world.total(world.limits[0])
    assert 0.95 * BUDGET <= spent <= BUDGET


@pytest.mark.parametrize("seed", range(4))
def test_lost_and_doubled_messages_cost_nobody_anything(seed: int) -> None:
    world = World((money(BUDGET),), edges=4, seed=seed, weather=Weather(most_s=0.3, lost=0.2, twice=0.3))
    never_above(world, BUDGET)
    for number in range(600):
        insist(world, world.edges[number % 4], 5_000, 3_000)
    world.run(400.0)
    assert 0.95 * BUDGET <= world.total(world.limits[0]) <= BUDGET


@pytest.mark.parametrize("seed", range(6))
def test_the_cap_holds_while_edges_and_the_owner_die(seed: int) -> None:
    world = World((money(BUDGET),), edges=4, seed=seed, weather=Weather(most_s=0.1, lost=0.05, twice=0.2))

    never_above(world, BUDGET)
    for step in range(60):
        edge = world.edges[step % 4]
        for _ in range(12):
            insist(world, edge, 4_000, world.rng.randrange(1_000, 4_001))
        if step % 9 == 5:
            world.kill_edge(edge)
            world.edges[step % 4] = world.new_edge()
        if step % 13 == 7:
            world.restart_owner(world.rng.uniform(0.1, 2.0))
        world.run(1.0)
    world.run(300.0)
    assert world.total(world.limits[0]) >= 0.9 * BUDGET


@pytest.mark.parametrize("seed", range(5))
def test_a_rate_admits_exactly_what_one_meter_would_where_slices_are_one(seed: int) -> None:
    """Every request asks the owner; what reaches it when is what one meter is asked, and it answers the same."""
    world = World((rate(120),), edges=1 + 3 * seed, seed=seed, policy=PursePolicy(ahead_s=0.0, remember_s=0.0))

    def ask() -> None:
        world.request(world.rng.choice(world.edges), 0, 0, takes_s=0.01)

    for _ in range(600):
        world.after(world.rng.uniform(0.0, 120.0), ask)
    world.run(130.0)
    one = Meter(120, now=EPOCH_S)
    central = [sum(one.take(1, at) for _ in range(need)) for at, need, _ in world.asked]
    assert [granted for _, _, granted in world.asked] == central
    assert len(world.admitted) == sum(central) < 600


@pytest.mark.parametrize("seed", range(5))
def test_larger_slices_pass_the_rate_by_no_more_than_their_bound(seed: int) -> None:
    per_min, edges, leases = 600, 1 + 4 * seed, LeasePolicy()
    world = World((rate(per_min),), edges=edges, seed=seed, leases=leases, weather=Weather(lost=0.02))
    for number in range(6_000):
        # Calm, then a storm, then calm: slices are in hand when it begins.
        at = world.rng.uniform(20.0, 60.0) if number % 4 else world.rng.uniform(0.0, 100.0)
        world.after(at, lambda: world.request(world.rng.choice(world.edges), 0, 0, takes_s=0.01))
    world.run(110.0)
    moments = [at for at, _ in world.admitted]
    extra = per_min * leases.rate_lifetime_s / 60
    for first in range(0, len(moments), 7):
        for last in range(first, len(moments), 31):
            window_s = moments[last] - moments[first]
            assert last - first + 1 <= per_min + per_min * window_s / 60 + extra + 1
    # Nor is much lost: it is a hundred seconds at ten a second, and a minute's worth at once.
    assert len(moments) > 0.85 * (per_min + per_min * 40 / 60)


def test_tokens_that_were_reserved_and_not_used_come_back() -> None:
    """Each request reserves ten times what it uses; without refunds a tenth of the rate would be used."""
    world = World((rate(60_000, Counted.TOKENS),), edges=4)
    for number in range(1_200):
        world.after(
            number / 10,
            lambda: world.request(world.rng.choice(world.edges), 0, 0, tokens=2_000, used=200, takes_s=0.3),
        )
    world.run(130.0)
    assert len(world.admitted) > 0.45 * 1_200


def test_places_are_never_more_than_allowed() -> None:
    world = World((rate(5, Counted.CONCURRENT),), edges=4, seed=3)
    served = [0]

    def watch() -> None:
        running = sum(len(edge.open) for edge in world.edges)
        served[0] = max(served[0], running)
        assert running <= 5

    world.watch = watch
    for number in range(60):
        insist(world, world.edges[number % 4], 0, 0)
    world.run(120.0)
    assert len(world.admitted) == 60
    assert served[0] == 5


def test_each_hour_has_its_own_budget() -> None:
    world = World((money(50_000, period=Period.HOUR),), edges=3)
    for _ in range(3):
        for number in range(60):
            insist(world, world.edges[number % 3], 2_000, 1_500)
        world.run(3_600.0)
    by_hour: dict[int, int] = {}
    for row in world.rows.values():
        hour = row.intent.at_ms // 3_600_000
        by_hour[hour] = by_hour.get(hour, 0) + (row.cost_nanousd or 0)
    assert len(by_hour) == 3
    assert all(47_000 <= spent <= 50_000 for spent in by_hour.values())
