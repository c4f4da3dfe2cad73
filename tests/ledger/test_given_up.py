"""What a node had open when it was lost, or cut off, is charged at its hold; its true settlement corrects it, once."""

from __future__ import annotations

from runtime.ledger.ledger import Ledger
from runtime.ledger.rows import Batch, Flag, Row
from runtime.ledger.silent import GONE_S
from runtime.ledger.store.base import Store, StoreFailure, Where
from tests.fakes.clock import FakeClock
from tests.runtime.ledger.rows_of import intent, settlement


async def opened(store: Store, clock: FakeClock) -> Ledger:
    ledger = await Ledger.open(store, "test", wall=lambda: 1_700_000_000.0 + clock(), chance=bytes)
    assert not isinstance(ledger, StoreFailure), ledger
    return ledger


async def rows_of(store: Store) -> list[Row]:
    found: list[Row] = []
    async for page in store.rows(Where()):
        assert not isinstance(page, StoreFailure)
        found += page
    return found


async def test_it_is_charged_and_corrected_when_the_node_is_heard_again(store: Store) -> None:
    clock = FakeClock()
    ledger = await opened(store, clock)
    await ledger.ship(Batch(writer="w1", open=(intent("w1-1"),)))
    await ledger.ship(Batch(writer="w2", open=(intent("w2-1"),)))
    assert await ledger.give_up({"w2"}) is None
    assert await rows_of(store) == []
    clock.advance(GONE_S)
    assert await ledger.give_up({"w2"}) is None
    (row,) = await rows_of(store)
    assert (row.intent.attempt, row.cost_nanousd) == ("w1-1", 5_000)
    assert row.settlement.flags & Flag.LOST
    # The cut heals: what really happened takes its place, and it is not open again for a late word of its beginning.
    await ledger.ship(Batch(writer="w1", rows=(Row(intent=intent("w1-1"), settlement=settlement("w1-1")),)))
    await ledger.ship(Batch(writer="w1", open=(intent("w1-1"),)))
    (row,) = await rows_of(store)
    assert row.cost_nanousd == 1_600
    assert row.settlement.flags & Flag.RECONCILED
    left = await store.open_intents()
    assert not isinstance(left, StoreFailure)
    assert [one.attempt for one in left] == ["w2-1"]
