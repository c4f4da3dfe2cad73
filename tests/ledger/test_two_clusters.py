"""An upgrade runs two clusters on one ledger for a while: the old owner's writes are refused, and a budget holds,
though neither cluster hears the edges of the other."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from runtime.ledger.accounts import Pass, sha256_of
from runtime.ledger.ledger import CONFIRMED_S, LEASES_END_S, Ledger
from runtime.ledger.purse import Need, Purse, Reservation
from runtime.ledger.rows import Batch, Intent, Row, Settlement
from runtime.ledger.store.base import StoreFailure, Trouble
from runtime.outcome import Cost, Failure, FailureKind
from tests.fakes.clock import FakeClock
from tests.ledger.conftest import Open

BUDGET, HOLD = 1_000_000, 10_000


@dataclass
class Side:
    """One cluster: its ledger, and one edge of it that spends what it may."""

    name: str
    open_store: Open
    clock: FakeClock
    ledger: Ledger = field(init=False)
    payer: Pass = field(init=False)
    rows: list[Row] = field(default_factory=list)
    spent: int = 0

    async def opened(self) -> Ledger:
        """Become the owner, as whoever is asked does that is not."""
        store = await self.open_store()
        ledger = await Ledger.open(
            store,
            self.name,
            wall=lambda: 1_800_000_000.0 + self.clock(),
            chance=random.Random(self.name).randbytes,
            cluster=self.name,
        )
        assert not isinstance(ledger, StoreFailure), ledger
        self.ledger = ledger
        return ledger

    def __post_init__(self) -> None:
        self.purse = Purse(edge=f"edge of {self.name}")

    def spend(self, most: int = 1_000) -> int:
        """As many attempts of `HOLD` as its purse and its owner let in, each of which costs all of it."""
        before = self.spent
        for _ in range(most):
            asked: Need | None = None
            for _ in range(4):
                now = self.clock()
                got = self.purse.reserve(self.payer, HOLD, 0, now, asked=asked)
                if not isinstance(got, Need):
                    break
                asked = got
                claims = self.purse.claims(now)
                if claims is not None:
                    self.purse.take(self.ledger.exchange(claims), now)
            if not isinstance(got, Reservation):
                assert isinstance(got, Need | Failure)
                break
            at_ms = int((1_800_000_000.0 + self.clock()) * 1_000)
            attempt = f"{self.name}-{len(self.rows)}-{self.spent}"
            intent = Intent(
                attempt=attempt, at_ms=at_ms, account=self.payer.account, hold_nanousd=HOLD, lease=got.lease
            )
            settled = Settlement(attempt=attempt, at_ms=at_ms, outcome="ok", cost=Cost(total_nanousd=HOLD))
            self.rows.append(Row(intent=intent, settlement=settled))
            self.purse.settle(got, HOLD, 0, self.clock())
            self.spent += HOLD
        return self.spent - before

    async def ship(self) -> StoreFailure | None:
        failed = await self.ledger.ship(Batch(writer=self.purse.edge, rows=tuple(self.rows)))
        if failed is None:
            self.rows.clear()
        return failed


async def both(open_store: Open) -> tuple[FakeClock, Side, Side]:
    """The old cluster lends already; the new one has just opened the ledger."""
    clock = FakeClock()
    old, new = Side("old", open_store, clock), Side("new", open_store, clock)
    await old.opened()
    made = await old.ledger.ask("create_key", {"budgets": [{"period": "total", "limit_usd": "0.001"}]}, who="test")
    assert isinstance(made, dict), made
    found = old.ledger.present(sha256_of(str(made["key"])))
    assert isinstance(found, Pass)
    old.payer = new.payer = found
    assert old.ledger.ready({old.purse.edge}) is False
    old.ledger.hello(old.purse.edge)
    assert old.ledger.ready({old.purse.edge})
    assert old.spend(most=5) == 5 * HOLD
    await new.opened()
    new.ledger.hello(new.purse.edge)
    return clock, old, new


async def test_the_old_owners_writes_are_refused(open_store: Open) -> None:
    _, old, _ = await both(open_store)
    failed = await old.ship()
    assert failed is not None
    assert failed.kind is Trouble.FENCED


async def test_a_budget_holds_while_two_clusters_spend_it(open_store: Open) -> None:
    clock, old, new = await both(open_store)
    # The old edge has a lease, of which the new owner cannot know.
    assert not new.ledger.ready({new.purse.edge})
    assert new.spend() == 0
    in_hand = old.spend(most=20)
    assert in_hand > 0
    # What it spent has to be written down, so its ledger is the owner again, for as long as nobody else writes.
    assert await old.ship() is not None
    await old.opened()
    assert await old.ship() is None
    await new.opened()
    new.ledger.hello(new.purse.edge)
    assert not new.ledger.ready({new.purse.edge})
    clock.advance(LEASES_END_S)
    assert new.ledger.ready({new.purse.edge})
    assert new.spend() > 0
    assert await new.ship() is None
    assert old.spent + new.spent == BUDGET


async def test_an_owner_of_the_same_cluster_lends_as_soon_as_all_are_heard(open_store: Open) -> None:
    _, old, _ = await both(open_store)
    await old.opened()
    again = Side("old", open_store, old.clock)
    await again.opened()
    again.ledger.hello(old.purse.edge)
    assert again.ledger.ready({old.purse.edge})


async def test_an_owner_that_nobody_asked_meanwhile_notices_that_it_was_replaced_before_it_lends(
    open_store: Open,
) -> None:
    clock, old, new = await both(open_store)
    clock.advance(LEASES_END_S)
    assert new.ledger.ready({new.purse.edge})
    # The old one goes on after all, and spends everything; the new one wrote nothing, so nobody has refused it.
    await old.opened()
    old.ledger.hello(old.purse.edge)
    clock.advance(LEASES_END_S)
    assert old.ledger.ready({old.purse.edge})
    assert not await old.ledger.is_replaced()
    old.spend()
    assert await old.ship() is None
    assert old.spent == BUDGET
    assert await new.ledger.is_replaced()
    await new.opened()
    assert not await new.ledger.is_replaced()
    new.ledger.hello(new.purse.edge)
    clock.advance(LEASES_END_S)
    assert new.ledger.ready({new.purse.edge})
    assert new.spend() == 0


async def test_an_owner_asks_its_store_once_a_second_at_most(open_store: Open) -> None:
    clock, old, new = await both(open_store)
    clock.advance(CONFIRMED_S)
    assert not await new.ledger.is_replaced()
    await old.opened()
    assert not await new.ledger.is_replaced(), "as of this second"
    clock.advance(CONFIRMED_S + 0.1)
    assert await new.ledger.is_replaced()


async def test_one_that_was_replaced_knows_whose_a_key_is_as_the_owner_has_it(open_store: Open) -> None:
    _, old, new = await both(open_store)
    made = await new.ledger.ask("put_team", "red", {}, who="admin")
    assert not isinstance(made, Failure), made
    made = await new.ledger.ask("create_key", {"name": "of today", "team": "red"}, who="admin")
    assert isinstance(made, dict)
    sha256, account = sha256_of(str(made["key"])), str(made["id"])
    assert isinstance(old.ledger.present(sha256), Failure), "it was made since"
    owners = new.ledger.present(sha256)
    assert isinstance(owners, Pass)
    assert await old.ledger.look_up(sha256) == owners
    assert await old.ledger.look_up(account) == owners
    unknown = await old.ledger.look_up(sha256_of("rg-nobody"))
    assert isinstance(unknown, Failure)
    assert unknown.kind is FailureKind.BAD_KEY
    await new.ledger.ask("revoke_key", account, who="admin")
    revoked = await old.ledger.look_up(sha256)
    assert revoked == new.ledger.present(sha256)
    assert await new.ship() is None, "nobody has taken anything from the owner"
