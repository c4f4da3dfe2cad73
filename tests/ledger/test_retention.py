"""Old rows go, their sums stay, and the ledger does not outgrow its bound."""

from __future__ import annotations

from runtime.ledger.periods import DAY_MS, HOUR_MS, Period
from runtime.ledger.store.base import Appended, Folded, Retention, Store, StoreFailure
from runtime.ledger.store.tally import Cut
from tests.ledger.rows import NOON, row
from tests.ledger.test_store import all_rows, appended, total


async def folded(store: Store, retention: Retention, now_ms: int) -> Folded:
    answer = await store.fold(retention, now_ms=now_ms)
    assert isinstance(answer, Folded), answer
    return answer


async def test_rows_of_before_go_and_their_sums_stay(store: Store) -> None:
    old, new = row("w:1", cost=5), row("w:2", cost=7, at_ms=NOON + 40 * DAY_MS)
    await appended(store, old, new)
    before = await store.cells(Cut(each=Period.DAY, by=("model",)))
    answer = await folded(store, Retention(days=30), NOON + 41 * DAY_MS)
    assert answer.rows == 1
    assert await all_rows(store) == [new]
    assert await store.cells(Cut(each=Period.DAY, by=("model",))) == before
    spent = await total(store, "key", "alice")
    assert spent is not None
    assert spent.cost_nanousd == 12


async def test_a_row_from_before_the_fold_is_not_counted_again(store: Store) -> None:
    old = row("w:1", cost=5)
    await appended(store, old, row("w:2", cost=7, at_ms=NOON + 40 * DAY_MS))
    await folded(store, Retention(days=30), NOON + 41 * DAY_MS)
    again = await appended(store, old, row("w:3", cost=1, at_ms=NOON + 41 * DAY_MS))
    assert again.too_old == (old,)
    assert [change.row.intent.attempt for change in again.changes] == ["w:3"]
    spent = await total(store, "key", "alice")
    assert spent is not None
    assert spent.cost_nanousd == 13


async def test_sums_of_old_hours_become_sums_of_days(store: Store) -> None:
    hours = (0, 0, 1, 23, 24, 47, 100 * 24)
    await appended(store, *(row(f"w:{n}", cost=n, at_ms=NOON + hour * HOUR_MS) for n, hour in enumerate(hours)))
    days, tags = Cut(each=Period.DAY, by=("key",)), Cut(each=Period.DAY, by=("tag",))
    before = [await store.cells(cut) for cut in (days, tags)]
    for _ in range(2):
        # In the middle of the second day: it stays as it is.
        await folded(store, Retention(hourly_days=10), NOON + 11 * DAY_MS + 12 * HOUR_MS)
        assert [await store.cells(cut) for cut in (days, tags)] == before
    cells = await store.cells(Cut(each=Period.HOUR))
    assert not isinstance(cells, StoreFailure)
    assert [(cell.start_ms - NOON) // HOUR_MS for cell in cells] == [0, 24, 47, 100 * 24]


async def test_nothing_is_folded_where_nothing_is_bounded(store: Store) -> None:
    await appended(store, row())
    answer = await folded(store, Retention(), NOON + 1000 * DAY_MS)
    assert (answer.rows, answer.too_large) == (0, False)
    assert len(await all_rows(store)) == 1


async def test_a_ledger_that_is_too_large_loses_its_oldest_rows(store: Store) -> None:
    for start in range(0, 15_000, 5_000):
        await appended(store, *(row(f"w:{n}", at_ms=NOON + n * 100) for n in range(start, start + 5_000)))
    size = await store.size()
    assert isinstance(size, int)
    answer = await folded(store, Retention(max_bytes=size * 2 // 3), NOON + 10 * HOUR_MS)
    assert answer.bytes <= size * 2 // 3
    assert not answer.too_large
    left = await all_rows(store)
    assert 0 < len(left) == 15_000 - answer.rows
    assert left[0].intent.at_ms == answer.before_ms + 99
    assert await store.size() == answer.bytes
    cells = await store.cells(Cut())
    assert not isinstance(cells, StoreFailure)
    assert cells[0].sums.attempts == 15_000


async def test_what_is_young_stays_and_the_bound_is_said_to_be_passed(store: Store) -> None:
    await appended(store, *(row(f"w:{n}", at_ms=NOON) for n in range(100)))
    answer = await folded(store, Retention(max_bytes=1), NOON + 1000)
    assert (answer.rows, answer.too_large) == (0, True)
    assert isinstance(await store.append([row("w:new", at_ms=NOON)]), Appended)


async def test_totals_of_current_periods_outlive_the_fold_of_old_ones(store: Store) -> None:
    now = NOON + 100 * DAY_MS
    await appended(store, row("w:1", cost=5), row("w:2", cost=7, at_ms=now))
    await folded(store, Retention(days=7), now)
    for period in Period:
        spent = await total(store, "team", "blue", period, now)
        assert spent is not None
        assert spent.cost_nanousd == (12 if period is Period.TOTAL else 7)
    assert await total(store, "team", "blue", Period.DAY, NOON) is None
