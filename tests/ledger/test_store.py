"""What any store of the ledger must hold: each attempt once, sums that agree with the rows, one owner."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from runtime.ledger.periods import Period, start_of
from runtime.ledger.rows import Account, Flag, Row
from runtime.ledger.store.base import Appended, Audit, Document, Store, StoreFailure, Total, Trouble, Where
from runtime.ledger.store.tally import Cut
from runtime.outcome import Cost, Usage
from tests.ledger.conftest import Open
from tests.ledger.rows import ALICE, NOON, lost, row


async def appended(store: Store, *rows: Row) -> Appended:
    answer = await store.append(rows)
    assert isinstance(answer, Appended), answer
    return answer


async def all_rows(store: Store, where: Where | None = None, *, page: int = 2000) -> list[Row]:
    found: list[Row] = []
    async for rows in store.rows(where or Where(), page=page):
        assert not isinstance(rows, StoreFailure), rows
        found.extend(rows)
    return found


async def total(
    store: Store, dimension: str, of: str, period: Period = Period.TOTAL, at_ms: int = NOON
) -> Total | None:
    totals = await store.totals(at_ms)
    assert not isinstance(totals, StoreFailure), totals
    found = [each for each in totals if (each.dimension, each.id, each.period) == (dimension, of, period)]
    return found[0] if found else None


async def test_a_row_comes_back_as_it_was_written(store: Store) -> None:
    first = row(flags=Flag.STREAMED | Flag.RETRIED)
    searched = Usage(input_tokens=3, server_tool_calls={"web_search": 2}, billed_input_tokens=7, estimated=True)
    second = row("w:2", at_ms=NOON + 1, cost=None, account=Account())
    parts = Cost(
        input_nanousd=60,
        cached_input_nanousd=10,
        cache_write_nanousd=20,
        output_nanousd=30,
        reasoning_nanousd=5,
        per_call_nanousd=9,
        total_nanousd=99,
        source="provider",
    )
    first = replace(first, settlement=replace(first.settlement, cost=parts))
    second = replace(second, settlement=replace(second.settlement, usage=searched, ttft_ms=None, flags=Flag.ESTIMATED))
    await appended(store, first, second)
    assert await all_rows(store) == [first, second]


async def test_a_batch_that_comes_twice_counts_once(store: Store) -> None:
    rows = [row(f"w:{n}", cost=n) for n in range(200)]
    once = await appended(store, *rows)
    assert [change.cost_nanousd for change in once.changes] == list(range(200))
    assert all(change.new for change in once.changes)
    again = await appended(store, *rows, row("w:200", cost=7), row("w:200", cost=7))
    assert [(change.row.intent.attempt, change.cost_nanousd) for change in again.changes] == [("w:200", 7)]
    assert again.known == 201
    spent = await total(store, "key", "alice")
    assert spent is not None
    assert (spent.cost_nanousd, spent.attempts, spent.tokens) == (sum(range(200)) + 7, 201, 201 * 120)


async def test_what_was_never_sent_has_no_row(store: Store) -> None:
    unsent = row(unsent=True)
    await store.put_intents([unsent.intent])
    assert (await appended(store, unsent)).changes == ()
    assert await all_rows(store) == []
    assert await store.open_intents() == ()


async def test_a_lost_row_is_corrected_by_its_true_settlement(store: Store) -> None:
    true = row(cost=1_200)
    await appended(store, lost(true))
    better = await appended(store, true)
    assert [(change.cost_nanousd, change.tokens, change.new) for change in better.changes] == [(-3_800, 120, False)]
    (there,) = await all_rows(store)
    assert there.cost_nanousd == 1_200
    assert there.flags == Flag.RECONCILED
    assert there.was_nanousd == 5_000
    cells = await store.cells(Cut())
    assert not isinstance(cells, StoreFailure)
    sums = cells[0].sums
    assert (sums.attempts, sums.lost, sums.reconciled, sums.cost_nanousd) == (1, 0, 1, 1_200)
    assert sums.corrected_nanousd == -3_800
    # Neither comes in again.
    assert (await appended(store, true, lost(true))).changes == ()


async def test_a_settlement_is_replaced_only_by_one_that_says_so(store: Store) -> None:
    await appended(store, row(cost=1_000))
    assert (await appended(store, row(cost=9_000))).changes == ()
    better = row(cost=1_500, flags=Flag.RECONCILED)
    assert [change.cost_nanousd for change in (await appended(store, better)).changes] == [500]
    assert (await appended(store, better)).changes == ()
    again = row(cost=1_400, flags=Flag.RECONCILED)
    assert [change.cost_nanousd for change in (await appended(store, again)).changes] == [-100]
    cells = await store.cells(Cut())
    assert not isinstance(cells, StoreFailure)
    assert cells[0].sums.corrected_nanousd == 400


async def test_a_lost_row_and_its_settlement_in_one_batch_are_one_new_row(store: Store) -> None:
    true = row(cost=1_200)
    both = await appended(store, lost(true), true)
    assert [(change.cost_nanousd, change.new) for change in both.changes] == [(1_200, True)]
    assert len(await all_rows(store)) == 1


async def test_an_unknown_cost_is_counted_and_never_a_zero(store: Store) -> None:
    answer = await appended(store, row("w:1", cost=None, tokens=(7, 3)), row("w:2", cost=0), row("w:3", cost=40))
    assert [change.unpriced for change in answer.changes] == [1, 0, 0]
    assert [each.cost_nanousd for each in await all_rows(store)] == [None, 0, 40]
    cells = await store.cells(Cut())
    assert not isinstance(cells, StoreFailure)
    sums = cells[0].sums
    assert (sums.unpriced, sums.unpriced_input_tokens, sums.unpriced_output_tokens, sums.cost_nanousd) == (1, 7, 3, 40)
    spent = await total(store, "org", "acme")
    assert spent is not None
    assert spent.unpriced == 1


async def test_a_refused_attempt_that_used_nothing_is_not_unpriced(store: Store) -> None:
    answer = await appended(store, row(cost=None, tokens=(0, 0), outcome="rate_limited"))
    assert answer.changes[0].unpriced == 0


async def test_totals_roll_over_with_the_calendar(store: Store) -> None:
    # 2023-12-31 23:59:59.999 is a Sunday: every period but the whole ends with it.
    eve = 1_704_067_199_999
    await appended(store, row("w:1", at_ms=eve, cost=1), row("w:2", at_ms=eve + 1, cost=10))
    for period in (Period.HOUR, Period.DAY, Period.WEEK, Period.MONTH):
        before, after = (
            await total(store, "team", "blue", period, eve),
            await total(store, "team", "blue", period, eve + 1),
        )
        assert before is not None
        assert after is not None
        assert (before.cost_nanousd, after.cost_nanousd) == (1, 10)
        assert (before.start_ms, after.start_ms) == (start_of(period, eve), eve + 1)
    all_time = await total(store, "team", "blue", Period.TOTAL, eve)
    assert all_time is not None
    assert all_time.cost_nanousd == 11


async def test_what_another_process_reads_is_what_was_acknowledged(store: Store, open_store: Open) -> None:
    await appended(store, row())
    other = await open_store()
    assert len(await all_rows(other)) == 1
    assert await other.totals(NOON) == await store.totals(NOON)


async def test_only_the_last_owner_writes(store: Store, open_store: Open) -> None:
    other = await open_store()
    failure = await other.append([row()])
    assert isinstance(failure, StoreFailure)
    assert failure.kind is Trouble.FENCED
    first = await other.acquire_epoch("other", at_ms=1)
    refused = await store.append([row()])
    assert isinstance(refused, StoreFailure)
    assert refused.kind is Trouble.FENCED
    assert "other" in refused.detail
    assert isinstance(await other.append([row()]), Appended)
    second = await store.acquire_epoch("test", at_ms=2)
    assert isinstance(first, int)
    assert isinstance(second, int)
    assert second > first
    assert (await appended(store, row())).known == 1


async def test_an_open_intent_ends_with_its_row(store: Store) -> None:
    one, two = row("w:1", at_ms=NOON + 5), row("w:2")
    strict = replace(two.intent, account=replace(ALICE, strict=True), flags=Flag.HEDGED, hold_nanousd=None)
    await store.put_intents([one.intent, strict])
    await store.put_intents([one.intent])
    assert await store.open_intents() == (strict, one.intent)
    await appended(store, one)
    assert await store.open_intents() == (strict,)
    # Shipped late, after its row: it is not open any more.
    await store.put_intents([one.intent])
    assert await store.open_intents() == (strict,)
    await store.remove_intents(["w:2"])
    assert await store.open_intents() == ()


async def test_rows_are_read_in_time_page_by_page(store: Store) -> None:
    rows = [
        row(f"w:{n}", at_ms=NOON + n // 3, account=replace(ALICE, key="bob" if n % 2 else "alice")) for n in range(50)
    ]
    await appended(store, *reversed(rows))
    found = await all_rows(store, page=7)
    assert [each.intent.at_ms for each in found] == sorted(each.intent.at_ms for each in rows)
    assert {each.intent.attempt for each in found} == {each.intent.attempt for each in rows}
    some = await all_rows(store, Where(since_ms=NOON + 2, until_ms=NOON + 4, only={"key": "bob"}), page=2)
    assert {each.intent.attempt for each in some} == {"w:7", "w:9", "w:11"}


async def test_rows_are_found_by_a_tag_and_not_by_a_part_of_one(store: Store) -> None:
    tags = [("prod",), ("prod-2", 'a"prod"b'), ("x", "prod"), ("k\u00f6ln",), ()]
    await appended(store, *(row(f"w:{n}", account=Account(tags=each)) for n, each in enumerate(tags)))
    for tag, expected in (("prod", ["w:0", "w:2"]), ("k\u00f6ln", ["w:3"]), ('a"prod"b', ["w:1"]), ("rod", [])):
        assert [each.intent.attempt for each in await all_rows(store, Where(only={"tag": tag}))] == expected
    with pytest.raises(ValueError, match="looked up by colour"):
        await all_rows(store, Where(only={"colour": "red"}))


async def test_sums_are_cut_by_time_and_dimension(store: Store) -> None:
    hour = 3_600_000
    await appended(
        store,
        row("w:1", cost=1, model="a"),
        row("w:2", cost=2, model="b", at_ms=NOON + hour),
        row("w:3", cost=4, model="a", at_ms=NOON + 25 * hour),
        row("w:4", cost=8, model="a", account=Account(key="bob", tags=("prod", "prod"))),
    )

    async def cut(cut: Cut) -> list[tuple[int, tuple[str, ...], int]]:
        cells = await store.cells(cut)
        assert not isinstance(cells, StoreFailure)
        return [(cell.start_ms, cell.values, cell.sums.cost_nanousd) for cell in cells]

    assert await cut(Cut(by=("model",))) == [(0, ("a",), 13), (0, ("b",), 2)]
    day = start_of(Period.DAY, NOON)
    assert await cut(Cut(each=Period.DAY)) == [(day, (), 11), (day + 24 * hour, (), 4)]
    assert await cut(Cut(by=("tag",))) == [(0, ("chat",), 7), (0, ("prod",), 15)]
    assert await cut(Cut(by=("key",), only={"tag": "prod"})) == [(0, ("alice",), 7), (0, ("bob",), 8)]
    assert await cut(Cut(since_ms=NOON, until_ms=NOON + hour, only={"key": "alice"})) == [(0, (), 1)]


def test_a_cut_that_is_not_kept_is_refused() -> None:
    with pytest.raises(ValueError, match="model"):
        Cut(by=("tag", "model"))


async def test_documents_change_with_their_trail_or_not_at_all(store: Store) -> None:
    key = Document(kind="key", id="k1", parent="blue", sha256="ab" * 32, body={"name": "Köln", "expires": None})
    trail = Audit(at_ms=NOON, who="admin", what="create", subject="key:k1", after=key.body)
    assert await store.change([key], audit=[trail]) is None
    assert await store.documents("key", sha256=key.sha256) == (replace(key, version=1),)
    assert await store.change([replace(key, body={})]) is None
    assert await store.documents("key", parent="blue") == (replace(key, body={}, version=2),)
    assert await store.documents("team") == ()
    twin = replace(key, id="k2")
    refused = await store.change([twin], audit=[trail])
    assert isinstance(refused, StoreFailure)
    assert refused.kind is Trouble.INVALID
    assert await store.documents("key", name="k2") == ()
    assert await store.change(gone=[("key", "k1")]) is None
    assert await store.documents("key") == ()
    entries = await store.audit()
    assert not isinstance(entries, StoreFailure)
    assert [replace(entry, seq=0) for entry in entries] == [trail]
    assert await store.audit(after=entries[-1].seq) == ()


async def test_names_that_no_database_takes_do_not_stop_a_batch(store: Store) -> None:
    odd = row(model="a\0b\ud800", account=replace(ALICE, tags=("t\0\ud800",)), tokens=(10**30, 5), cost=10**25)
    answer = await appended(store, odd, row("w:2"))
    assert len(answer.changes) == 2
    assert (await appended(store, odd)).known == 1
    found = await all_rows(store)
    assert found[0].cost_nanousd == 10**15


async def test_many_tasks_append_at_once_and_nothing_is_counted_twice(store: Store) -> None:
    # Every attempt comes from two tasks.
    batches = [[row(f"w:{n}", cost=n) for n in range(start, start + 40)] for start in range(0, 400, 20)]
    answers = await asyncio.gather(*(store.append(batch) for batch in batches))
    counted = [change for answer in answers if isinstance(answer, Appended) for change in answer.changes]
    assert sorted(change.row.intent.attempt for change in counted) == sorted(f"w:{n}" for n in range(420))
    spent = await total(store, "key", "alice")
    assert spent is not None
    assert spent.cost_nanousd == sum(change.cost_nanousd for change in counted) == sum(range(420))


async def test_a_new_ledger_is_whole(store: Store) -> None:
    await appended(store, row())
    assert await store.check() is None
    size = await store.size()
    assert isinstance(size, int)
    assert size > 0
