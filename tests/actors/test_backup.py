"""A backup is what was there at one moment, and a restore is all of it or nothing."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import sqlite3
import tarfile
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest

from actors.backup import COMMITTED, CannotBackUp, Kept, back_up, bring_back, finish
from actors.store import Store
from runtime.feed import KeyInfo
from runtime.learning.school import School
from runtime.ledger.folder import Journal, abandoned
from runtime.ledger.rows import Row
from runtime.ledger.store.base import StoreFailure, Total, Where
from runtime.ledger.store.sqlite import SqliteStore
from tests.learning.test_school import EMBEDDER, lived, opened
from tests.ledger.rows import NOON, row

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@dataclass
class Lived:
    """A state folder in which something has happened, with all that is still open in it."""

    folder: Path
    ledger: SqliteStore
    school: School
    journal: Journal

    def close(self) -> None:
        asyncio.run(self.ledger.close())
        self.school.abandon()
        self.journal.close()


@pytest.fixture
def here(tmp_path: Path) -> Lived:
    folder = tmp_path / "state"
    kept = Store(folder)
    kept.put_settings({"default_model": "cheap/one"})
    kept.add_key(KeyInfo(sha256="a" * 64, name="first", admin=True))
    (folder / "key").write_text("rg-secret")
    (folder / "ray_token").write_text("secret")

    async def fill() -> SqliteStore:
        store = await SqliteStore.open(folder / "ledger.db")
        assert not isinstance(store, StoreFailure)
        assert isinstance(await store.acquire_epoch("one", at_ms=NOON), int)
        await store.append([row(f"w:{number}", at_ms=NOON + number) for number in range(50)])
        return store

    ledger = asyncio.run(fill())
    school = opened(folder / "learning" / EMBEDDER.name)
    lived(school, range(20))
    (folder / "journal").mkdir()
    journal = Journal(folder / "journal", "abc")
    open_ = row("w:900", at_ms=NOON + 900)
    assert journal.intend(open_.intent) is None
    assert journal.settle(open_.settlement) is None
    return Lived(folder, ledger, school, journal)


def ledger_of(folder: Path) -> tuple[list[Row], list[Total]]:
    async def read() -> tuple[list[Row], list[Total]]:
        store = await SqliteStore.open(folder / "ledger.db")
        assert not isinstance(store, StoreFailure)
        rows = [one async for page in store.rows(Where()) for one in (page if isinstance(page, tuple) else ())]
        totals = await store.totals(NOON)
        assert not isinstance(totals, StoreFailure)
        await store.close()
        return rows, list(totals)

    return asyncio.run(read())


def kept_keys(folder: Path) -> tuple[KeyInfo, ...]:
    store = Store(folder)
    return store.keys()


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_restore_has_the_same_spend_and_the_same_learned_decisions(here: Lived, tmp_path: Path) -> None:
    """While the backup is made all of it is open, as in a Raygate that runs."""
    kept = back_up(here.folder, {}, str(tmp_path / "b.tar.gz"), now=NOW)
    assert kept.ledger == "sqlite"
    lesson = here.school.lesson("default", 1)
    here.close()
    there = tmp_path / "there"
    assert bring_back(there, {}, kept.where, now=LATER) is not None
    assert ledger_of(there) == ledger_of(here.folder)
    restored = opened(there / "learning" / EMBEDDER.name)
    assert restored.lesson("default", 1) == lesson
    assert lesson.payload
    restored.abandon()
    assert Store(there).settings()[1] == {"default_model": "cheap/one"}
    assert [key.name for key in kept_keys(there)] == ["first"]
    # What the ledger had not got yet comes in as a dead process's.
    (dead,) = abandoned(there / "journal")
    assert [one.intent.attempt for page in dead.rows() for one in page] == ["w:900"]
    dead.leave()


def test_what_is_written_meanwhile_is_in_it_whole_or_not_at_all(here: Lived, tmp_path: Path) -> None:
    async def both() -> Kept:
        async def write() -> None:
            for number in range(100, 200):
                await here.ledger.append([row(f"w:{number}:{part}", at_ms=NOON + number) for part in range(3)])

        writing = asyncio.create_task(write())
        kept = await asyncio.to_thread(back_up, here.folder, {}, str(tmp_path / "b.tar.gz"), now=NOW)
        await writing
        return kept

    kept = asyncio.run(both())
    here.close()
    there = tmp_path / "there"
    bring_back(there, {}, kept.where, now=LATER)
    rows, totals = ledger_of(there)
    written = [one.intent.attempt for one in rows]
    assert (len(written) - 50) % 3 == 0
    for one in totals:
        if one.dimension == "key" and one.period == "total":
            assert one.attempts == len(written)
    assert len(ledger_of(here.folder)[0]) == 350


def test_no_secret_but_those_of_the_settings_is_in_it(here: Lived, tmp_path: Path) -> None:
    kept = back_up(here.folder, {}, str(tmp_path / "b.tar.gz"), now=NOW)
    here.close()
    path = Path(kept.where)
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as tar:
        names = tar.getnames()
        assert names[:2] == ["manifest.json", "manifest.sha256"]
        assert not {"key", "ray_token"} & set(names)
        texts = [read.read() for name in names if (read := tar.extractfile(name))]
    assert not any(b"rg-secret" in text for text in texts)
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(".")] == []
    assert [one.name for one in here.folder.iterdir() if one.name.startswith(".")] == []


@pytest.mark.parametrize("where", ["memory://backups/", "folder", "file"])
def test_a_folder_gets_a_file_of_the_moment_and_the_newest_is_restored(here: Lived, tmp_path: Path, where: str) -> None:
    to = {"folder": f"{tmp_path}/kept/", "file": f"file://{tmp_path}/kept/"}.get(where, where + uuid.uuid4().hex + "/")
    back_up(here.folder, {}, to, now=NOW)
    Store(here.folder).put_settings({"default_model": "dear/one"})
    newest = back_up(here.folder, {}, to, now=LATER)
    assert newest.where.endswith("/raygate-20261123T130000Z.tar.gz")
    here.close()
    there = tmp_path / "there"
    restored = bring_back(there, {}, to, now=LATER)
    assert restored is not None
    assert restored.where == newest.where
    assert Store(there).settings()[1] == {"default_model": "dear/one"}


def test_where_there_is_no_backup_that_is_fine_only_if_it_was_said(tmp_path: Path) -> None:
    for source in (f"{tmp_path}/none/", "memory://nothing-there/"):
        assert bring_back(tmp_path / "there", {}, source, now=NOW, if_any=True) is None
        with pytest.raises(CannotBackUp, match="no backup"):
            bring_back(tmp_path / "there", {}, source, now=NOW)
    with pytest.raises(CannotBackUp, match="nothing to back up"):
        back_up(tmp_path / "there", {}, f"{tmp_path}/b", now=NOW)


def test_addresses_that_cannot_be_written_to_are_named(here: Lived, tmp_path: Path) -> None:
    here.close()
    for to in ("nothing-known://x/y", "s3:///", f"{tmp_path}/state/state.db/x"):
        with pytest.raises(CannotBackUp):
            back_up(here.folder, {}, to, now=NOW)


Damage = Callable[[bytes], bytes]


def repacked(data: bytes, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> bytes:
    """The archive with some of its members altered, renamed or left out, as somebody might who means harm."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w:gz") as new:
        for member in old.getmembers():
            read = old.extractfile(member)
            assert read is not None
            changed = change(member.name, read.read())
            if changed is not None:
                member.name, body = changed
                member.size = len(body)
                new.addfile(member, io.BytesIO(body))
    return out.getvalue()


def flipped(data: bytes) -> bytes:
    half = len(data) // 2
    return data[:half] + bytes([data[half] ^ 0xFF]) + data[half + 1 :]


DAMAGES: dict[str, Damage] = {
    "cut short": lambda data: data[: len(data) // 2],
    "one byte": flipped,
    "no archive": lambda _: b"hello",
    "empty": lambda _: b"",
    "a part altered": lambda data: repacked(data, lambda n, b: (n, b + b"x" if n == "ledger.db" else b)),
    "a part missing": lambda data: repacked(data, lambda n, b: None if n == "ledger.db" else (n, b)),
    "a part too many": lambda data: repacked(data, lambda n, b: ("learning/more" if n == "manifest.sha256" else n, b)),
    "the manifest altered": lambda data: repacked(data, lambda n, b: (n, b + b" " if n == "manifest.json" else b)),
    "a path that leads out": lambda data: repacked(data, lambda n, b: ("../out" if n == "ledger.db" else n, b)),
    "newer, all of it": lambda data: repacked(
        data, lambda n, b: (n, b.replace(b'"format": 1', b'"format": 2') if n == "manifest.json" else b)
    ),
    "a newer ledger": lambda data: repacked(
        data, lambda n, b: (n, b.replace(b'"schema": ', b'"schema": 9') if n == "manifest.json" else b)
    ),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_what_is_damaged_or_newer_is_refused_and_changes_nothing(here: Lived, tmp_path: Path, how: str) -> None:
    kept = back_up(here.folder, {}, str(tmp_path / "b.tar.gz"), now=NOW)
    here.close()
    Path(kept.where).write_bytes(DAMAGES[how](Path(kept.where).read_bytes()))
    before = everything(here.folder)
    with pytest.raises(CannotBackUp, match="newer|install that one" if "newer" in how else "damaged|no backup"):
        bring_back(here.folder, {}, kept.where, now=LATER, replace=True)
    assert everything(here.folder).items() >= before.items()
    assert not (tmp_path / "out").exists()
    assert [one.name for one in here.folder.iterdir() if one.name.startswith(".")] == []


def test_a_raygate_that_runs_is_not_overwritten(here: Lived, tmp_path: Path) -> None:
    kept = back_up(here.folder, {}, str(tmp_path / "b.tar.gz"), now=NOW)
    with pytest.raises(CannotBackUp, match="writes its journal"):
        bring_back(here.folder, {}, kept.where, now=LATER, replace=True)
    here.close()
    with pytest.raises(CannotBackUp, match="holds a Raygate already"):
        bring_back(here.folder, {}, kept.where, now=LATER)
    assert bring_back(here.folder, {}, kept.where, now=LATER, replace=True) is not None


def test_what_was_there_is_put_aside(here: Lived, tmp_path: Path) -> None:
    kept = back_up(here.folder, {}, str(tmp_path / "b.tar.gz"), now=NOW)
    Store(here.folder).put_settings({"default_model": "other/one"})
    here.close()
    bring_back(here.folder, {}, kept.where, now=LATER, replace=True)
    assert Store(here.folder).settings()[1] == {"default_model": "cheap/one"}
    aside = here.folder / "before-restore-20261123T130000Z"
    assert Store(aside).settings()[1] == {"default_model": "other/one"}
    assert len(ledger_of(aside)[0]) == 50
    # What belongs to this machine alone stays.
    assert (here.folder / "key").read_text() == "rg-secret"


class Died(BaseException):
    """The machine goes off."""


def test_a_restore_that_dies_at_any_step_is_gone_on_with(
    here: Lived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each rename in turn. Whoever starts next finds either all that was, or after `finish` all that is restored."""
    kept = back_up(here.folder, {}, str(tmp_path / "b.tar.gz"), now=NOW)
    Store(here.folder).put_settings({"default_model": "other/one"})
    here.close()
    source = tmp_path / "source"
    here.folder.rename(source)
    rename, outcomes = Path.rename, []
    for dies_at in range(1, 30):
        folder = tmp_path / f"try{dies_at}"
        shutil.copytree(source, folder)
        steps = 0

        def counted(self: Path, target: Path, at: int = dies_at) -> Path:
            nonlocal steps
            steps += 1
            if steps == at:
                raise Died
            return rename(self, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", counted)
            try:
                bring_back(folder, {}, kept.where, now=LATER, replace=True)
                died = False
            except Died:
                died = True
        decided = (folder / COMMITTED).exists()
        finish(folder)
        assert not (folder / COMMITTED).exists()
        model = Store(folder).settings()[1]["default_model"]
        assert model == ("cheap/one" if decided or not died else "other/one")
        assert ledger_of(folder) == ledger_of(source)
        assert (folder / "learning" / EMBEDDER.name / "events.sqlite").exists()
        outcomes.append(model)
        if not died:
            break
    assert outcomes[0] == "other/one"
    assert len(outcomes) > 5


def test_the_manifest_says_what_each_part_is(here: Lived, tmp_path: Path) -> None:
    kept = back_up(here.folder, {}, str(tmp_path / "b.tar.gz"), now=NOW)
    here.close()
    with tarfile.open(kept.where) as tar:
        read = tar.extractfile("manifest.json")
        assert read is not None
        manifest = json.load(read)
    with closing(sqlite3.connect(here.folder / "ledger.db")) as db:
        version = db.execute("pragma user_version").fetchone()[0]
    assert manifest["parts"]["ledger.db"]["schema"] == version > 0
    assert manifest["made_at"] == "2026-11-23T12:00:00+00:00"
    assert not any(name.endswith((".graph", "-wal", "-shm")) for name in manifest["parts"])
    assert fsspec.__version__
