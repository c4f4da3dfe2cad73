"""From the attempt to the ledger: acknowledged, or still on disk; and the dead are brought in."""

from __future__ import annotations

import asyncio
import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from actors import books as module
from actors.books import BooksPolicy, ProcessBooks
from runtime.entrance import Senses
from runtime.ledger.rows import Batch, Flag, Row, Settlement
from tests.fakes.clock import FakeClock, turns
from tests.runtime.ledger.rows_of import intent, settlement


class FakeLedger:
    """Keeps each row once. `away`: it does not answer; `deaf`: it takes the batch, and its word gets lost."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.open: set[str] = set()
        self.complete: set[str] = set()
        self.away = False
        self.deaf = False
        self.batches = 0

    async def __call__(self, batch: Batch) -> None:
        self.batches += 1
        if self.away:
            raise ConnectionError("the ledger is away")
        for row in batch.rows:
            self.rows.setdefault(row.intent.attempt, row)
        told = {one.attempt for one in batch.open}
        self.open = (self.open | told) - set(batch.void) - self.rows.keys()
        if batch.last:
            self.complete.add(batch.writer)
        if self.deaf:
            raise TimeoutError


class Rig:
    def __init__(self, folder: Path, **said: Any) -> None:
        self.ledger = FakeLedger()
        self.clock = FakeClock()
        self.folder = folder
        self.books = self.another("w1", **said)

    def another(self, writer: str, **said: Any) -> ProcessBooks:
        senses = Senses(clock=self.clock, wall=self.clock)
        return ProcessBooks(
            self.folder, self.ledger, senses=senses, rng=random.Random(1), sleep=self.clock.sleep, writer=writer, **said
        )

    def attempt(self, *, settle: bool = True, unsent: bool = False) -> str:
        name = self.books.new_attempt()
        assert self.books.open(intent(name, at_ms=self.books.now_ms())) == ""
        if settle:
            self.books.settle(settlement(name, unsent=unsent))
        return name

    @property
    def segments(self) -> int:
        return len(list(self.folder.glob("*.journal")))


@pytest.fixture
def made(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_what_was_settled_reaches_the_ledger_and_the_journal_goes(made: Rig) -> None:
    names = [made.attempt() for _ in range(5)]
    await made.books.ship_all()
    assert list(made.ledger.rows) == names
    await made.books.stop()
    assert made.ledger.complete == {"w1"}
    assert list(made.folder.iterdir()) == []


async def test_what_was_never_sent_is_told_to_nobody(made: Rig) -> None:
    made.attempt(unsent=True)
    await made.books.ship_all()
    assert made.ledger.batches == 0


async def test_while_the_ledger_is_away_nothing_is_lost_and_memory_is_bounded(tmp_path: Path) -> None:
    made = Rig(tmp_path, most_kept=20)
    made.ledger.away = True
    names = [made.attempt() for _ in range(100)]
    with pytest.raises(ConnectionError):
        await made.books.ship_all()
    names += [made.attempt() for _ in range(100)]
    assert made.books.unshipped <= 21
    assert made.segments > 1
    made.ledger.away = False
    await made.books.ship_all()
    assert sorted(made.ledger.rows) == sorted(names)
    assert made.segments == 1


async def test_a_word_that_was_lost_makes_no_second_row(made: Rig) -> None:
    name = made.attempt()
    made.ledger.deaf = True
    with pytest.raises(TimeoutError):
        await made.books.ship_all()
    made.ledger.deaf = False
    await made.books.ship_all()
    assert list(made.ledger.rows) == [name]


async def test_an_attempt_that_takes_long_is_told_of_and_settled_later(made: Rig) -> None:
    name = made.attempt(settle=False)
    await made.books.ship_all()
    assert made.ledger.batches == 0
    made.clock.advance(1.5)
    await made.books.ship_all()
    await made.books.ship_all()
    assert made.ledger.open == {name}
    assert made.ledger.batches == 1
    made.books.settle(settlement(name))
    await made.books.ship_all()
    assert made.ledger.open == set()
    assert list(made.ledger.rows) == [name]


async def test_a_long_attempt_of_which_nothing_was_sent_is_taken_back(made: Rig) -> None:
    name = made.attempt(settle=False)
    made.clock.advance(1.5)
    await made.books.ship_all()
    made.books.settle(settlement(name, unsent=True))
    await made.books.ship_all()
    assert made.ledger.open == set()
    assert made.ledger.rows == {}


async def test_the_dead_are_brought_in_and_said_to_be_complete(made: Rig) -> None:
    died = made.another("dead")
    for number in range(3):
        died.open(intent(f"dead-{number}"))
    died.settle(settlement("dead-0"))
    died._journal.close()  # what the death of its process does
    made.attempt(settle=False)
    made.ledger.away = True
    with pytest.raises(ConnectionError):
        await made.books.collect()
    made.ledger.away = False
    await made.books.collect()
    await made.books.collect()
    lost = {name for name, row in made.ledger.rows.items() if Flag.LOST in row.flags}
    assert (set(made.ledger.rows), lost) == ({"dead-0", "dead-1", "dead-2"}, {"dead-1", "dead-2"})
    assert made.ledger.complete == {"dead"}
    assert made.books.counters["collected"] == 3
    assert made.segments == 1


async def test_who_stops_while_the_ledger_is_away_leaves_his_journal_to_others(made: Rig) -> None:
    name = made.attempt()
    made.ledger.away = True
    await made.books.stop()
    made.ledger.away = False
    await made.another("w2").collect()
    assert list(made.ledger.rows) == [name]


async def test_the_loops_ship_and_end(tmp_path: Path) -> None:
    made = Rig(tmp_path, policy=BooksPolicy(durability="cluster"))
    made.books.start()
    name = made.attempt()
    assert await made.books.acknowledged(name) == ""
    assert list(made.ledger.rows) == [name]
    await made.books.stop()
    assert list(made.folder.iterdir()) == []


# durability: cluster


async def test_an_attempt_waits_for_the_ledgers_word(tmp_path: Path) -> None:
    made = Rig(tmp_path, policy=BooksPolicy(durability="cluster"))
    assert made.books.waits
    name = made.attempt(settle=False)
    waiting = asyncio.create_task(made.books.acknowledged(name))
    await turns()
    assert not waiting.done()
    await made.books.ship_all()
    assert await waiting == ""
    assert made.ledger.open == {name}
    made.books.settle(settlement(name))
    waiting = asyncio.create_task(made.books.acknowledged(name))
    await turns()
    assert not waiting.done()
    await made.books.ship_all()
    assert await waiting == ""
    assert await made.books.acknowledged(name) == ""


@pytest.mark.parametrize(("on_error", "said"), [("refuse", "did not acknowledge"), ("serve", "")])
async def test_who_waits_in_vain_goes_by_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_error: Any, said: str
) -> None:
    monkeypatch.setattr(module, "ACKNOWLEDGED_S", 0.01)
    made = Rig(tmp_path, policy=BooksPolicy(durability="cluster", on_error=on_error))
    made.ledger.away = True
    assert said in await made.books.acknowledged(made.attempt(settle=False))
    assert made.books.counters["unacknowledged"] == 1


# The disk.


@contextmanager
def no_room() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_on_a_full_disk_new_attempts_are_refused_and_those_under_way_still_reach_the_ledger(made: Rig) -> None:
    under_way = made.attempt(settle=False)
    refused = made.books.new_attempt()
    with no_room():
        why = made.books.open(intent(refused))
        made.books.settle(settlement(under_way))
    assert "cannot be written" in why
    assert "ledger.on_error: serve" in why
    later = made.attempt()
    await made.books.ship_all()
    assert sorted(made.ledger.rows) == sorted([under_way, later])
    assert made.books.counters["unwritten"] == 2
    assert made.books.under_way == 0


async def test_where_service_goes_first_a_full_disk_is_counted(tmp_path: Path) -> None:
    made = Rig(tmp_path, policy=BooksPolicy(on_error="serve"))
    with no_room():
        names = [made.attempt() for _ in range(3)]
    assert made.books.counters["unwritten"] == 6
    await made.books.ship_all()
    assert sorted(made.ledger.rows) == sorted(names)


async def test_settling_what_is_not_open_is_nothing(made: Rig) -> None:
    made.books.settle(Settlement(attempt="w1-9", at_ms=0, outcome="ok"))
    await made.books.ship_all()
    assert made.ledger.batches == 0
