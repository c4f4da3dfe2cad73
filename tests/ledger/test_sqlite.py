"""What only SQLite can meet: a full disk, a folder that may not be written, a broken file, another process."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtime.ledger.store import sqlite_writer
from runtime.ledger.store.base import Appended, Audit, StoreFailure, Trouble, Where
from runtime.ledger.store.sqlite import SqliteStore
from tests.ledger.rows import row
from tests.ledger.test_store import all_rows


async def opened(path: Path, *, max_pages: int | None = None) -> SqliteStore:
    store = await SqliteStore.open(path, synchronous="normal", max_pages=max_pages)
    assert isinstance(store, SqliteStore), store
    await store.acquire_epoch("test", at_ms=0)
    return store


async def refused(path: Path) -> Trouble:
    store = await SqliteStore.open(path)
    assert isinstance(store, StoreFailure)
    assert str(path) in store.detail or store.kind is Trouble.NEWER
    return store.kind


async def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    store = await opened(tmp_path / "state" / "ledger.db")
    await store.append([row()])
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "state").iterdir()} == {0o600}
    await store.close()


async def fill(store: SqliteStore) -> tuple[int, StoreFailure]:
    """Append until it says no: how many rows it took, and what it said."""
    for batch in range(10_000):
        answer = await store.append([row(f"w:{batch * 100 + n}", cost=1) for n in range(100)])
        if isinstance(answer, StoreFailure):
            return batch * 100, answer
    raise AssertionError("it was never full")


async def whole_after(path: Path, rows: int) -> None:
    """Nothing was lost or half written: all that was acknowledged is there, and the sums agree."""
    store = await opened(path)
    assert await store.check() is None
    assert len(await all_rows(store)) == rows
    totals = await store.totals(0)
    assert not isinstance(totals, StoreFailure)
    assert {total.cost_nanousd for total in totals} == {rows}
    assert isinstance(await store.append([row("after", cost=1)]), Appended)
    await store.close()


async def test_a_bounded_file_says_that_it_is_full_and_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    store = await opened(path, max_pages=100)
    rows, failure = await fill(store)
    assert failure.kind is Trouble.FULL
    # It goes on answering, also to who comes beside others.
    answers = await asyncio.gather(*(store.append([row(f"x:{n}:{m}") for m in range(100)]) for n in range(5)))
    assert {answer.kind for answer in answers if isinstance(answer, StoreFailure)} == {Trouble.FULL}
    await store.close()
    await whole_after(path, rows)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of one mebibyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a disk can only be mounted by root, where the machine allows it")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


async def test_a_full_disk_is_said_and_once_there_is_room_all_goes_on(tiny_disk: Path) -> None:
    path = tiny_disk / "ledger.db"
    store = await opened(path)
    rows, failure = await fill(store)
    assert failure.kind is Trouble.FULL, failure
    assert len(await all_rows(store)) == rows
    remount(tiny_disk, "size=16m")
    assert isinstance(await store.append([row(f"y:{n}", cost=1) for n in range(100)]), Appended)
    await store.close()
    await whole_after(path, rows + 100)


async def test_a_full_disk_from_the_beginning_is_said(tiny_disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (tiny_disk / "filler").write_bytes(b"x" * 2**21)
    assert await refused(tiny_disk / "ledger.db") is Trouble.FULL


async def test_a_disk_that_became_read_only_is_said_and_rows_are_still_read(tiny_disk: Path) -> None:
    path = tiny_disk / "ledger.db"
    store = await opened(path)
    await store.append([row()])
    # The store's own open files keep the kernel from making the whole disk read-only: the file system would be busy.
    await store.close()
    remount(tiny_disk, "ro")
    assert await refused(path) is Trouble.READ_ONLY
    remount(tiny_disk, "rw")
    again = await opened(path)
    assert len(await all_rows(again)) == 1
    await again.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; the read-only disk is tried instead")
def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert asyncio.run(refused(tmp_path / "ledger.db")) is Trouble.READ_ONLY
    tmp_path.chmod(0o700)


def test_a_file_that_is_no_ledger_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"my diary, " * 1000)
    assert asyncio.run(refused(path)) is Trouble.CORRUPT
    assert path.read_bytes() == b"my diary, " * 1000


def damage(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * (size - 4096 * 24))


async def test_a_broken_page_is_found_and_said(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    store = await opened(path)
    await store.append([row(f"w:{n}") for n in range(2000)])
    await store.close()
    damage(path)
    again = await opened(path)
    checked = await again.check()
    assert isinstance(checked, StoreFailure)
    assert checked.kind is Trouble.CORRUPT
    found = [rows async for rows in again.rows(Where())]
    assert isinstance(found[-1], StoreFailure)
    assert found[-1].kind is Trouble.CORRUPT
    await again.close()


async def test_a_ledger_that_another_process_holds_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_writer, "PATIENCE_S", 0.05)
    path = tmp_path / "ledger.db"
    store = await opened(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        answer = await store.append([row()])
        assert isinstance(answer, StoreFailure)
        assert answer.kind is Trouble.LOCKED
        other.execute("rollback")
    assert isinstance(await store.append([row()]), Appended)
    await store.close()


async def test_one_bad_call_does_not_spoil_those_beside_it(tmp_path: Path) -> None:
    store = await opened(tmp_path / "ledger.db")
    unfit = Audit(at_ms=0, who="x", what="y", subject="z", after={"a": object()})  # type: ignore[dict-item]
    answers = await asyncio.gather(
        store.append([row("w:1")]), store.change(audit=[unfit]), store.append([row("w:2")]), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [Appended, TypeError, Appended]
    assert len(await all_rows(store)) == 2
    await store.close()
    for closed in (await store.append([row("w:3")]), await store.totals(0), await store.size()):
        assert isinstance(closed, StoreFailure)
        assert closed.kind is Trouble.UNREACHABLE
    await store.close()


WRITE = """
import asyncio, sys
from pathlib import Path
from runtime.ledger.store.sqlite import SqliteStore
from tests.ledger.rows import row

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]), synchronous="normal")
    await store.acquire_epoch("writer", at_ms=0)
    print("open", flush=True)
    for batch in range(100_000):
        await store.append([row(f"w:{batch * 50 + n}", cost=1) for n in range(50)])
        print(batch, flush=True)

asyncio.run(main())
"""


def killed_in_the_middle(path: Path) -> int:
    """How many rows were acknowledged to a process that was killed while it wrote."""
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(8)]
    process.kill()
    said += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    return 50 * sum(line.endswith("\n") and line != "open\n" for line in said)


def test_what_was_acknowledged_outlives_the_death_of_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    acknowledged = killed_in_the_middle(path)

    async def there() -> None:
        store = await opened(path)
        assert await store.check() is None
        rows = len(await all_rows(store))
        # One batch may have been written, of which nobody heard any more.
        assert rows in (acknowledged, acknowledged + 50)
        totals = await store.totals(0)
        assert not isinstance(totals, StoreFailure)
        assert {total.cost_nanousd for total in totals} == {rows}
        again = await store.append([row(f"w:{n}", cost=1) for n in range(acknowledged)])
        assert isinstance(again, Appended)
        assert not again.changes
        await store.close()

    asyncio.run(there())


async def test_a_caller_who_goes_away_does_not_undo_what_it_asked_for(tmp_path: Path) -> None:
    store = await opened(tmp_path / "ledger.db")
    task = asyncio.create_task(store.append([row()]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(await store.append([row("w:2")]), Appended)
    assert len(await all_rows(store)) == 2
    await store.close()


async def test_the_trail_cannot_be_changed_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    store = await opened(path)
    await store.change(audit=[Audit(at_ms=1, who="root", what="create", subject="key:1")])
    with closing(sqlite3.connect(path)) as db:
        for statement in ("update audit set who = 'me'", "delete from audit"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(statement)
    await store.close()
