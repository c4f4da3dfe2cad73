"""A journal on disk: locked while its writer lives, whole after its death, and never the worse for a full disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.ledger.folder import Abandoned, CannotWrite, Journal, abandoned, sync
from runtime.ledger.rows import Flag, Row
from tests.runtime.ledger.rows_of import intent, row, settlement


def made(folder: Path, writer: str = "w1", **said: int) -> Journal:
    return Journal(folder, writer, **said)


def fill(journal: Journal, *numbers: int, settle: bool = True) -> None:
    for number in numbers:
        attempt = f"{journal.writer}-{number}"
        assert journal.intend(intent(attempt)) is None
        if settle:
            assert journal.settle(settlement(attempt)) is None


def rows(found: Abandoned) -> list[Row]:
    return [one for some in found.rows() for one in some]


def collected(folder: Path) -> list[Row]:
    """All that the dead have left; it is then gone."""
    got: list[Row] = []
    for found in abandoned(folder):
        got += rows(found)
        found.done()
    return got


def attempts(found: list[Row]) -> list[str]:
    return [one.intent.attempt for one in found]


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file may grow beyond this: what a full disk looks like, half a write included."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_journal_of_the_living_is_nobody_elses(tmp_path: Path) -> None:
    journal = made(tmp_path)
    fill(journal, 1)
    assert list(abandoned(tmp_path)) == []
    journal.close()
    assert collected(tmp_path) == [row("w1-1")]
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_wrote_is_collected_once(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from runtime.ledger.folder import Journal
from tests.runtime.ledger.rows_of import intent, settlement
journal = Journal(Path({str(tmp_path)!r}), "child")
for number in range(50):
    journal.intend(intent(f"child-{{number}}"))
    if number % 2:
        journal.settle(settlement(f"child-{{number}}"))
print("written", flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    assert list(abandoned(tmp_path)) == []
    child.send_signal(signal.SIGKILL)
    child.communicate()
    found = collected(tmp_path)
    assert sorted(attempts(found)) == sorted(f"child-{number}" for number in range(50))
    assert sum(Flag.LOST in one.flags for one in found) == 25
    assert collected(tmp_path) == []


def test_two_collectors_never_have_the_same_journal(tmp_path: Path) -> None:
    for number in range(8):
        journal = made(tmp_path, f"w{number}")
        fill(journal, *range(5))
        journal.close()
    barrier = threading.Barrier(4)
    got: list[list[str]] = [[] for _ in range(4)]

    def collect(mine: list[str]) -> None:
        barrier.wait()
        mine += attempts(collected(tmp_path))

    threads = [threading.Thread(target=collect, args=(mine,)) for mine in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [attempt for mine in got for attempt in mine]
    assert sorted(everything) == sorted(f"w{w}-{n}" for w in range(8) for n in range(5))


def test_a_journal_that_is_being_made_is_never_taken(tmp_path: Path) -> None:
    """A collector that comes between the making of the lock and the locking takes away an empty lock, no more."""
    stop = threading.Event()
    taken: list[str] = []

    def collect() -> None:
        while not stop.is_set():
            taken.extend(attempts(collected(tmp_path)))

    thread = threading.Thread(target=collect)
    thread.start()
    journals = [made(tmp_path, f"w{number}") for number in range(60)]
    try:
        for journal in journals:
            fill(journal, 1)
    finally:
        stop.set()
        thread.join()
    assert taken == []
    for journal in journals:
        journal.close()
    assert len(collected(tmp_path)) == 60


def test_one_who_gives_a_journal_back_leaves_it_to_the_next(tmp_path: Path) -> None:
    journal = made(tmp_path)
    fill(journal, 1)
    journal.close()
    for found in abandoned(tmp_path):
        assert attempts(rows(found)) == ["w1-1"]
        found.leave()
    assert attempts(collected(tmp_path)) == ["w1-1"]


def test_a_segment_goes_once_all_in_it_is_acknowledged(tmp_path: Path) -> None:
    journal = made(tmp_path, segment_bytes=2_000)
    fill(journal, 0, settle=False)
    fill(journal, *range(1, 30))
    assert journal.segment > 3
    settled = [one for segment in range(1, journal.segment + 1) for one in journal.read_segment(segment)]
    assert attempts(settled) == [f"w1-{n}" for n in range(1, 30)]
    for segment in range(1, journal.segment + 1):
        journal.remove(segment)
    assert len(list(tmp_path.glob("*.journal"))) == 1
    journal.close()
    left = collected(tmp_path)
    assert "w1-0" in attempts(left), "what is open was carried over into each new segment"
    assert [Flag.LOST in one.flags for one in left if one.intent.attempt == "w1-0"] == [True]


def test_an_attempt_that_spans_segments_is_one_row(tmp_path: Path) -> None:
    journal = made(tmp_path)
    fill(journal, 1, settle=False)
    assert journal.rotate() is None
    assert journal.rotate() is None
    assert journal.settle(settlement("w1-1")) is None
    journal.close()
    assert collected(tmp_path) == [row("w1-1")]


def test_who_has_shipped_everything_leaves_nothing(tmp_path: Path) -> None:
    journal = made(tmp_path)
    fill(journal, 1)
    journal.close(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_what_is_damaged_is_kept_for_people(tmp_path: Path) -> None:
    journal = made(tmp_path)
    fill(journal, 1, 2, 3)
    journal.close()
    (path,) = tmp_path.glob("*.journal")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    (found,) = abandoned(tmp_path)
    # Asking for the next one gave it back; take it again, as a collector would.
    (got,) = [(rows(one), one.unread, one.done()) for one in abandoned(tmp_path)]
    assert attempts(got[0])[0] == "w1-1"
    assert got[1] > 0
    assert [one.suffix for one in tmp_path.iterdir()] == [".damaged"]
    assert found.writer == "w1"


# The disk.


def test_a_full_disk_is_an_error_and_what_was_written_stays_whole(tmp_path: Path) -> None:
    journal = made(tmp_path)
    fill(journal, 1)
    with room(sum(path.stat().st_size for path in tmp_path.glob("*.journal")) + 20):
        failed = journal.intend(intent("w1-2"))
        assert isinstance(failed, CannotWrite)
        assert "cannot be written" in str(failed)
        journal.forget("w1-2")
        assert journal.intend(intent("w1-3")) is not None, (
            "half a record was taken away again, and there is no more room"
        )
    fill(journal, 4)
    # An attempt whose intent found no room is written whole when it is settled.
    assert journal.settle(settlement("w1-3")) is None
    journal.close()
    assert attempts(collected(tmp_path)) == ["w1-1", "w1-4", "w1-3"]


def test_without_room_for_another_segment_the_old_one_goes_on(tmp_path: Path) -> None:
    journal = made(tmp_path, segment_bytes=300)
    fill(journal, 1)
    blocked = tmp_path / "w1.00000002.journal"
    blocked.mkdir()
    fill(journal, 2, 3)
    assert journal.segment == 1
    blocked.rmdir()
    fill(journal, 4)
    assert journal.segment == 2
    journal.close()
    assert attempts(collected(tmp_path)) == ["w1-1", "w1-2", "w1-3", "w1-4"]


def test_a_folder_that_cannot_be_made_is_an_error_until_it_can(tmp_path: Path) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("a file in its place")
    journal = made(blocked / "journal")
    failed = journal.intend(intent("w1-1"))
    assert isinstance(failed, CannotWrite)
    blocked.unlink()
    assert journal.settle(settlement("w1-1")) is None
    journal.close()
    assert collected(blocked / "journal") == [row("w1-1")]


@pytest.mark.skipif(not os.path.ismount("/proc"), reason="needs a file system that cannot be written")
def test_a_disk_that_cannot_be_written_is_an_error() -> None:
    journal = made(Path("/proc/raygate"))
    assert isinstance(journal.intend(intent("w1-1")), CannotWrite)
    assert isinstance(journal.rotate(), CannotWrite)
    journal.close()


def test_what_is_written_can_be_synced_from_another_thread(tmp_path: Path) -> None:
    journal = made(tmp_path)
    fill(journal, 1)
    journal.rotate()
    files = journal.unsynced()
    assert len(files) == 2
    assert sync(files) is None
    assert journal.unsynced() == []
    fill(journal, 2)
    assert sync(journal.unsynced()) is None
    journal.close()


@pytest.mark.parametrize("name", ["", "a.b", "A", "../x"])
def test_a_writers_name_is_fit_for_a_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="small letters"):
        made(tmp_path, name)
