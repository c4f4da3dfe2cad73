"""A till over a real ledger: who waits for a lease is let in as soon as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from actors.passes import Passes
from actors.till import Till
from runtime.ledger.accounts import Pass, sha256_of
from runtime.ledger.leases import Claims, Grants
from runtime.ledger.ledger import Ledger
from runtime.ledger.purse import Purse, Reservation
from runtime.ledger.store.base import StoreFailure
from runtime.ledger.store.sqlite import SqliteStore
from runtime.outcome import Failure, FailureKind

NOW = 1_790_000_000.0


class Away(Exception):
    pass


class Edge:
    """One edge's till, and the ledger behind it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.away = False
        self.exchanges = 0
        clock = asyncio.get_running_loop().time
        self.passes = Passes(self.present, clock, away=Away)
        self.till = Till(Purse(edge="e1"), self.passes, self.exchange, clock, away=Away)
        self.till.start()

    async def present(self, shown: str) -> Pass | Failure:
        return self.ledger.present(shown)

    async def exchange(self, claims: Claims) -> Grants:
        self.exchanges += 1
        if self.away:
            raise Away
        return self.ledger.exchange(claims)

    async def key(self, **wish: object) -> Pass:
        made = await self.ledger.ask("create_key", wish, who="test")
        assert isinstance(made, dict), made
        found = await self.passes.of(sha256_of(made["key"]))
        assert isinstance(found, Pass)
        return found


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncGenerator[Edge]:
    store = await SqliteStore.open(tmp_path / "ledger.db", synchronous="normal")
    assert not isinstance(store, StoreFailure)
    count = iter(range(1, 256))
    ledger = await Ledger.open(store, "test", wall=lambda: NOW, chance=lambda size: bytes([next(count)] * size))
    assert not isinstance(ledger, StoreFailure)
    made = Edge(ledger)
    yield made
    await made.till.stop()
    await ledger.close()


async def test_money_is_lent_once_and_then_taken_from_the_purse(edge: Edge) -> None:
    payer = await edge.key(budgets=[{"period": "day", "limit_usd": 1}])
    async with asyncio.timeout(2):
        for _ in range(20):
            paid = await edge.till.money(payer.account, 1_000)
            assert isinstance(paid, Reservation)
            edge.till.settle(paid, 500, 0)
    assert edge.exchanges < 5


async def test_the_budget_holds_to_the_last_nano_dollar(edge: Edge) -> None:
    payer = await edge.key(budgets=[{"period": "day", "limit_usd": "0.000001"}])
    async with asyncio.timeout(5):
        taken = [await edge.till.money(payer.account, 400) for _ in range(4)]
    assert [isinstance(one, Reservation) for one in taken] == [True, True, False, False]
    refused = taken[-1]
    assert isinstance(refused, Failure)


async def test_who_pays_one_by_one_is_not_held_up_by_what_his_own_edge_has_left(edge: Edge) -> None:
    payer = await edge.key(budgets=[{"period": "day", "limit_usd": "0.000001"}])
    async with asyncio.timeout(5):
        for _ in range(4):
            paid = await edge.till.money(payer.account, 600)
            assert isinstance(paid, Reservation), paid
            edge.till.settle(paid, 100, 0)


async def test_an_account_without_a_budget_costs_nothing(edge: Edge) -> None:
    payer = await edge.key(rate={"requests_per_min": 1})
    assert await edge.till.money(payer.account, None) is None
    assert edge.exchanges == 0


async def test_a_rate_lets_so_many_in_and_says_when_to_come_again(edge: Edge) -> None:
    payer = await edge.key(rate={"requests_per_min": 2})
    async with asyncio.timeout(5):
        got = [await edge.till.request(payer, 10) for _ in range(3)]
    assert isinstance(got[0], Reservation)
    assert isinstance(got[1], Reservation)
    refused = got[2]
    assert isinstance(refused, Failure)
    assert refused.kind is FailureKind.THROTTLED
    assert refused.retry_after_s is not None


async def test_an_unknown_price_is_refused_where_a_hard_budget_stands(edge: Edge) -> None:
    payer = await edge.key(budgets=[{"period": "day", "limit_usd": 1}])
    refused = await edge.till.money(payer.account, None)
    assert isinstance(refused, Failure)
    assert refused.code == "unknown_price"


async def test_while_the_ledger_is_away_what_is_in_hand_is_spent_and_no_more(edge: Edge) -> None:
    payer = await edge.key(budgets=[{"period": "day", "limit_usd": 1}])
    assert isinstance(await edge.till.money(payer.account, 1_000), Reservation)
    edge.away = True
    refused = None
    async with asyncio.timeout(10):
        while not isinstance(refused, Failure):
            refused = await edge.till.money(payer.account, 100_000_000)
    assert (refused.kind, refused.code) == (FailureKind.REFUSED, "ledger_unavailable")


async def test_a_rate_goes_on_where_it_was_under_the_next_owner(edge: Edge, tmp_path: Path) -> None:
    payer = await edge.key(rate={"requests_per_min": 2})
    for _ in range(2):
        assert isinstance(await edge.till.request(payer, 0), Reservation)
    await edge.ledger.tick()
    store = await SqliteStore.open(tmp_path / "ledger.db", synchronous="normal")
    assert not isinstance(store, StoreFailure)
    after = await Ledger.open(store, "next", wall=lambda: NOW + 1.0, chance=bytes)
    assert not isinstance(after, StoreFailure)
    limits = (await after.ask("budgets", who="test"))["limits"]
    assert [one["used"] for one in limits] == [2]
    await after.close()
