"""The journals of a node as files: one writer a process, a lock for its life, segments that come and go.

    FOLDER/<writer>.lock              held (flock) while the writer lives; whoever can lock it has found a dead one's
    FOLDER/<writer>.<n>.journal       segments; the highest is being written, each carries on what was still open
    FOLDER/<writer>.<n>.damaged       what a collector could not read to its end, kept for people

A record is one `write`, which the death of a process does not tear. What a full disk tears is cut off again; where even
that fails, nothing more is written behind it: a reader stops at the first bad frame, and so would lose what follows.

A segment stands for itself: intents that were open when it began are written into it again. So it may go as soon as
the ledger has acknowledged what was settled in it.

Errors of the disk are values (`CannotWrite`): whoever writes goes by its policy, and the next write tries anew.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from runtime.ledger.journal import MAGIC, Pairing, Read, framed, intent_record, read, seed_of, settlement_record
from runtime.ledger.rows import Intent, Row, Settlement

SEGMENT_BYTES = 4 * 1024 * 1024
"""A segment that has grown to this is followed by the next one."""

_WRITER = re.compile(r"[a-z0-9]+")
_SEGMENT = re.compile(r"([a-z0-9]+)\.(\d{8})\.journal")


@dataclass(frozen=True, slots=True)
class CannotWrite:
    """The disk has refused. `why` is its own word."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"the journal in {self.path} cannot be written: {self.why}"


@dataclass(slots=True)
class Journal:
    """The journal of this process. `writer` is a name that nobody else has ever had: small letters and digits.

    Belongs to one thread. Files are made with the first record. `close` it, or the process's end does. `last` are the
    two records of what was settled last.
    """

    folder: Path
    writer: str
    segment_bytes: int = SEGMENT_BYTES
    segment: int = 0
    last: tuple[bytes, bytes] = (b"", b"")
    _lock: int | None = None
    _file: int | None = None
    _seed: int = 0
    _size: int = 0
    _open: dict[str, Intent] = field(default_factory=dict)
    _records: dict[str, bytes] = field(default_factory=dict)
    _unwritten: set[str] = field(default_factory=set)
    _written: bool = False
    _retired: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not _WRITER.fullmatch(self.writer):
            raise ValueError(f"a writer's name should be small letters and digits, not {self.writer!r}")

    @property
    def open(self) -> dict[str, Intent]:
        """The attempts that are under way, in their order."""
        return self._open

    def intend(self, intent: Intent) -> CannotWrite | None:
        """Write it down. Where that fails the attempt is known all the same, if only to this process: `settle` or
        `forget` it."""
        attempt, record = intent.attempt, intent_record(intent)
        failed = self._place() or self._append(framed(record, self._seed))
        self._open[attempt] = intent
        self._records[attempt] = record
        if failed is not None:
            self._unwritten.add(attempt)
        return failed

    def settle(self, settlement: Settlement) -> CannotWrite | None:
        """Write down what an open attempt came to. Where that fails it is over all the same."""
        attempt = settlement.attempt
        said = self._records.get(attempt)
        if said is None:
            return None
        record = settlement_record(settlement)
        failed = self._place()
        if failed is None:
            frame = framed(record, self._seed)
            if attempt in self._unwritten:
                frame = framed(said, self._seed) + frame
            failed = self._append(frame)
        self.last = said, record
        self.forget(attempt)
        return failed

    def enter(self, row: Row) -> CannotWrite | None:
        """Both halves at once, of what was over before it began."""
        said, record = self.last = intent_record(row.intent), settlement_record(row.settlement)
        failed = self._place()
        if failed is not None:
            return failed
        return self._append(framed(said, self._seed) + framed(record, self._seed))

    def forget(self, attempt: str) -> None:
        """It is not made after all, and nobody is to be told; only for what could not be written."""
        self._open.pop(attempt, None)
        self._records.pop(attempt, None)
        if self._unwritten:
            self._unwritten.discard(attempt)

    def rotate(self) -> CannotWrite | None:
        """Begin the next segment, unless there is nothing in this one. Where that fails this one goes on."""
        return self._begin() if self._file is None or self._size > len(MAGIC) else None

    def read_segment(self, segment: int) -> list[Row]:
        """The rows that were settled in one of our segments. Any thread may ask."""
        return Pairing().feed(read_file(self._path(segment), seed_of(self.writer, segment)).records)

    def remove(self, segment: int) -> None:
        """The ledger has all that was settled in it. The last one stays: what is open stands there alone."""
        if segment < self.segment:
            self._path(segment).unlink(missing_ok=True)

    def unsynced(self) -> list[int]:
        """Files that hold what is not on the platter yet. For `sync`, which may block and so belongs in a thread."""
        files, self._retired = self._retired, []
        if self._written and self._file is not None:
            self._written = False
            files.append(os.dup(self._file))
        return files

    def close(self, *, remove: bool = False) -> None:
        """Let go of the lock. `remove`: the ledger has everything, and nothing need be collected."""
        for file in (*self._retired, self._file):
            if file is not None:
                os.close(file)
        self._retired, self._file = [], None
        if self._lock is None:
            return
        if remove:
            _delete(self.folder, self.writer)
        os.close(self._lock)
        self._lock = None

    def _place(self) -> CannotWrite | None:
        """A segment to write to. A full one goes on for as long as there is no room for another."""
        if self._file is not None and self._size < self.segment_bytes:
            return None
        failed = self._begin()
        return failed if self._file is None else None

    def _path(self, segment: int) -> Path:
        return self.folder / f"{self.writer}.{segment:08d}.journal"

    def _append(self, frame: bytes) -> CannotWrite | None:
        file = self._file
        if file is None:
            return CannotWrite(str(self.folder), "its last segment was broken off")
        try:
            written, why = os.write(file, frame), "no room for the whole record"
        except OSError as error:
            written, why = 0, _word(error)
        if written == len(frame):
            self._size += written
            self._written = True
            return None
        if written:
            self._cut(file)
        return CannotWrite(str(self.folder), why)

    def _cut(self, file: int) -> None:
        """Take half a record away again. Where that is not possible nothing may follow it."""
        try:
            os.ftruncate(file, self._size)
        except OSError:
            self._retired.append(file)
            self._file = None

    def _begin(self) -> CannotWrite | None:
        """The next segment, with all that is open."""
        segment = self.segment + 1
        seed = seed_of(self.writer, segment)
        carried = MAGIC + b"".join(framed(record, seed) for record in self._records.values())
        path = self._path(segment)
        file: int | None = None
        try:
            self._hold()
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            written, why = os.write(file, carried), "no room for another segment"
        except OSError as error:
            written, why = 0, _word(error)
        if file is None or written != len(carried):
            if file is not None:
                os.close(file)
                with suppress(OSError):
                    path.unlink()
            return CannotWrite(str(self.folder), why)
        if self._file is not None:
            self._retired.append(self._file)
        self._file, self.segment, self._seed, self._size = file, segment, seed, len(carried)
        self._written = True
        self._unwritten.clear()
        return None

    def _hold(self) -> None:
        """The lock, from before the first segment is there until after the last one has gone."""
        while self._lock is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self.folder / f"{self.writer}.lock"
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # A collector that came across it in between holds it for a moment only, and takes it away.
                fcntl.flock(file, fcntl.LOCK_EX)
                if _is_at(file, path):
                    self._lock, file = file, -1
            finally:
                if file >= 0:
                    os.close(file)


def sync(files: Iterable[int]) -> CannotWrite | None:
    """Wait until the disk has what these files hold, and close them. Blocks."""
    failed: CannotWrite | None = None
    for file in files:
        try:
            os.fdatasync(file)
        except OSError as error:
            failed = CannotWrite("its folder", _word(error))
        finally:
            os.close(file)
    return failed


# Those that are left of the dead.


@dataclass(slots=True, kw_only=True)
class Abandoned:
    """The journal of a process that has died. Nobody else has it until `done` or `leave`. Blocks, like all files."""

    folder: Path
    writer: str
    _lock: int
    unread: int = 0
    _damaged: set[Path] = field(default_factory=set)

    def rows(self) -> Iterator[list[Row]]:
        """Its attempts, a segment at a time; last those that nobody has settled. Raises `OSError`."""
        pairing = Pairing()
        for segment, path in _segments(self.folder, self.writer):
            found = read_file(path, seed_of(self.writer, segment))
            if found.unread and not found.torn:
                self._damaged.add(path)
            self.unread += found.unread
            yield pairing.feed(found.records)
        yield pairing.lost()

    def done(self) -> None:
        """The ledger has them all. Raises `OSError`."""
        for path in self._damaged:
            path.rename(path.with_suffix(".damaged"))
        _delete(self.folder, self.writer)
        self.leave()

    def leave(self) -> None:
        """Somebody else may take it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def abandoned(folder: Path) -> Generator[Abandoned]:
    """The journals of the dead, each once, and one at a time: finish with one before you ask for the next. Raises
    `OSError`. Those of the living, and those that another collector has, are left alone."""
    for path in sorted(folder.glob("*.lock")):
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = _is_at(file, path)
        except BlockingIOError:
            ours = False
        if not ours:
            os.close(file)
            continue
        found = Abandoned(folder=folder, writer=path.stem, _lock=file)
        try:
            if _segments(folder, path.stem):
                yield found
            else:  # it died before it wrote anything, or is about to begin: then it makes its lock anew
                found.done()
        finally:
            found.leave()


def writers(folder: Path) -> set[str]:
    """All that have a journal here, dead or alive."""
    return {path.stem for path in folder.glob("*.lock")}


def read_file(path: Path, seed: int) -> Read:
    """What a segment holds; nothing where there is none. Raises `OSError`."""
    try:
        return read(path.read_bytes(), seed)
    except FileNotFoundError:
        return Read([])


def _segments(folder: Path, writer: str) -> list[tuple[int, Path]]:
    named = ((_SEGMENT.fullmatch(path.name), path) for path in folder.glob(f"{writer}.*.journal"))
    return sorted((int(name[2]), path) for name, path in named if name is not None)


def _delete(folder: Path, writer: str) -> None:
    """The lock goes last: segments without one would be nobody's."""
    for _, path in _segments(folder, writer):
        path.unlink(missing_ok=True)
    (folder / f"{writer}.lock").unlink(missing_ok=True)


def _is_at(file: int, path: Path) -> bool:
    """Whether this is still the file of that name."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _word(error: OSError) -> str:
    return error.strerror or type(error).__name__
