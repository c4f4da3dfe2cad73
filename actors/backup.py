"""All that Raygate must not lose, in one file, and back from it.

    state.db               settings, keys' hashes            SQLite's own online backup: whoever writes goes on
    ledger.db, ledger/     rows, sums, accounts              the same; of a Postgres, its tables as of one moment
    journal/               what the ledger has not got yet   copied first: what is not in them is in the ledger by then
    learning/              events and memory                 graphs are left out: they are built again from the memory

An archive is a tar with its manifest in front: what each part is, how long, its SHA-256 and its schema's version. Keys
are in it as hashes alone; the first key's text and Ray's token stay where they are. Settings may hold literal secrets.

A restore reads and checks everything before it touches anything:

    read into STATE/.incoming-… ──► checked ──► renamed to STATE/restore: from here on it is decided
                                                 └─► part after part takes its place ──► restore is gone: done

Whatever dies in the middle, `finish` goes on from there, and `raygate up` calls it first.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from actors.launch import head
from actors.names import JOURNALS
from actors.store import Store
from runtime.ledger.store import migrations
from runtime.ledger.store.base import StoreFailure
from runtime.settings import BadSettings, Settings, resolve_secret

FORMAT = 1
"""Of the archive. A newer one is refused: what its parts mean cannot be guessed."""
MANIFEST, CHECK = "manifest.json", "manifest.sha256"
COMMITTED = "restore"
STATE_DB, LEDGER_DB, LEDGER, LEARNING = "state.db", "ledger.db", "ledger", "learning"
SQLITE_MAGIC = b"SQLite format 3\0"
REBUILT = (".graph", ".new", ".reading")
SCHEMAS: Mapping[str, int] = {LEDGER_DB: migrations.NEWEST, LEDGER: migrations.NEWEST}
"""The newest version that we know of each part's schema; of all others 0."""
PREFIX, SUFFIX = "raygate-", ".tar.gz"


class CannotBackUp(RuntimeError):
    """It was not done, and nothing was changed. The message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An archive: where it is, how large, and when what it holds was so."""

    where: str
    bytes: int
    parts: int
    made_at: str
    ledger: str


def back_up(folder: Path, env: Mapping[str, str], to: str, *, now: datetime) -> Kept:
    """Write an archive of this state folder (and of the Postgres that its settings name) to `to`.

    `to` is a path, or an address that fsspec or Arrow knows (s3://…, gs://…, file://…). One that ends with a slash, or
    is a folder, gets a file named by the moment. Raises `CannotBackUp`.
    """
    if not (folder / STATE_DB).exists():
        raise CannotBackUp(f"there is nothing to back up in {folder}")
    with tempfile.TemporaryDirectory(prefix=".outgoing-", dir=folder) as made:
        staged = Path(made) / "parts"
        staged.mkdir()
        kind, schema = asyncio.run(_gather(folder, env, staged))
        manifest = _manifest(staged, now, kind, schema)
        archive = Path(made) / "archive"
        _pack(staged, manifest, archive)
        where = _send(archive, to, now)
        size = archive.stat().st_size
    return Kept(where=where, bytes=size, parts=len(manifest["parts"]), made_at=manifest["made_at"], ledger=kind)


def bring_back(
    folder: Path, env: Mapping[str, str], source: str, *, now: datetime, replace: bool = False, if_any: bool = False
) -> Kept | None:
    """Make this state folder (and Postgres) what the archive holds. A `source` that ends with a slash or is a folder
    means its newest archive.

    None where there is none and `if_any` says that this is fine. With `replace`, what is there is put aside, not
    deleted. Raises `CannotBackUp`, having changed nothing: if Raygate runs here, if something is here already, if the
    archive is damaged or was made by a newer version.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with head.alone(folder):
        finish(folder)
        _refuse_running(folder)
        if not replace and (folder / STATE_DB).exists():
            raise CannotBackUp(f"{folder} holds a Raygate already; --replace puts it aside, or set RAYGATE_STATE_DIR")
        found = _newest(source) if _is_folder(source) else source
        if found is None:
            if if_any:
                return None
            raise CannotBackUp(f"there is no backup in {source}")
        for left in folder.glob(".incoming-*"):
            shutil.rmtree(left, ignore_errors=True)
        incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=folder))
        try:
            manifest = _receive(found, incoming)
            aside = f"before-restore-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
            if manifest["ledger"] == "postgres":
                _load_postgres(incoming, env, manifest, aside.replace("-", "_").lower() if replace else "")
            manifest["aside"] = aside
            _write(incoming / MANIFEST, json.dumps(manifest).encode())
            incoming.rename(folder / COMMITTED)
        except BaseException:
            shutil.rmtree(incoming, ignore_errors=True)
            raise
        size = sum(one["bytes"] for one in manifest["parts"].values())
        finish(folder)
    return Kept(
        where=found, bytes=size, parts=len(manifest["parts"]), made_at=manifest["made_at"], ledger=manifest["ledger"]
    )


def finish(folder: Path) -> bool:
    """Go on with a restore that was decided and not done; False where there is none. May be called any number of
    times: what has its place already is not touched again."""
    committed = folder / COMMITTED
    if not (committed / MANIFEST).exists():
        shutil.rmtree(committed, ignore_errors=True)
        return False
    manifest = json.loads((committed / MANIFEST).read_text())
    aside = folder / manifest["aside"]
    for name in (STATE_DB, LEDGER_DB, LEARNING, JOURNALS):
        mine = committed / name
        if mine.exists() or name not in _tops(manifest):
            # What it replaces must go with its write-ahead log, or that log would be played into the new file.
            for old in (folder / f"{name}-wal", folder / f"{name}-shm", folder / name):
                _put_aside(old, aside)
        if mine.exists():
            mine.rename(folder / name)
    (committed / MANIFEST).unlink()
    shutil.rmtree(committed)
    return True


def _tops(manifest: Mapping[str, Any]) -> set[str]:
    return {name.partition("/")[0] for name in manifest["parts"]}


def _put_aside(old: Path, aside: Path) -> None:
    """Also where no Raygate was: a journal that is left may hold what nobody has counted yet."""
    if old.exists():
        aside.mkdir(mode=0o700, exist_ok=True)
        old.rename(aside / old.name)


# Out.


async def _gather(folder: Path, env: Mapping[str, str], staged: Path) -> tuple[str, int]:
    """Copy every part. Returns where the ledger lies ("sqlite", "postgres" or "none"), and its schema's version."""
    _copy_journals(folder / JOURNALS, staged / JOURNALS)
    _copy_sqlite(folder / STATE_DB, staged / STATE_DB)
    _copy_learning(folder / LEARNING, staged / LEARNING)
    url = _ledger_url(Store(folder).settings()[1], env)
    if url:
        from runtime.ledger.store.copies import dump

        (staged / LEDGER).mkdir()
        schema = await dump(url, staged / LEDGER)
        if isinstance(schema, StoreFailure):
            raise CannotBackUp(str(schema))
        return "postgres", schema
    if (folder / LEDGER_DB).exists():
        _copy_sqlite(folder / LEDGER_DB, staged / LEDGER_DB)
        return "sqlite", _schema_of(staged / LEDGER_DB)
    return "none", 0


def _ledger_url(document: Mapping[str, Any], env: Mapping[str, str]) -> str | None:
    try:
        return resolve_secret(Settings.from_document(document).ledger.url, env)
    except BadSettings as error:
        raise CannotBackUp(f"where the ledger is cannot be told: {error}") from None


def _copy_sqlite(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=10.0)) as db,
            closing(sqlite3.connect(target)) as copy,
        ):
            db.backup(copy)
            copy.execute("pragma journal_mode = delete")
    except sqlite3.Error as error:
        raise CannotBackUp(f"{source} cannot be read: {error}") from None


def _copy_learning(source: Path, target: Path) -> None:
    # The memory before the events that it is made of: as after a crash, it may lack the last, never have more.
    for path in sorted(_files(source), key=lambda path: path.name == "events.sqlite"):
        name = path.relative_to(source)
        if path.suffix in REBUILT or path.name.endswith(("-wal", "-shm", "-journal")):
            continue
        if _is_sqlite(path):
            _copy_sqlite(path, target / name)
        else:
            _copy(path, target / name)


def _copy_journals(source: Path, target: Path) -> None:
    """Segments that go meanwhile are in the ledger, which is copied after them."""
    for path in _files(source):
        with suppress(FileNotFoundError):
            _copy(path, target / path.relative_to(source))


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC


def _schema_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        number: int = db.execute("pragma user_version").fetchone()[0]
    return number


def _manifest(staged: Path, now: datetime, ledger: str, schema: int) -> dict[str, Any]:
    parts = {}
    for path in _files(staged):
        name = path.relative_to(staged).as_posix()
        sqlite = path.stat().st_size > 0 and _is_sqlite(path)
        parts[name] = {
            "bytes": path.stat().st_size,
            "sha256": _digest(path),
            "schema": schema if name.startswith(f"{LEDGER}/") else _schema_of(path) if sqlite else 0,
        }
    made_at = now.astimezone(UTC).isoformat(timespec="seconds")
    return {"format": FORMAT, "raygate": version("raygate"), "made_at": made_at, "ledger": ledger, "parts": parts}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pack(staged: Path, manifest: Mapping[str, Any], archive: Path) -> None:
    said = json.dumps(manifest, indent=1).encode()
    _write(staged / MANIFEST, said)
    _write(staged / CHECK, hashlib.sha256(said).hexdigest().encode())
    with archive.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=3) as tar:
            for name in (MANIFEST, CHECK, *manifest["parts"]):
                tar.add(staged / name, arcname=name, recursive=False)
        file.flush()
        os.fsync(file.fileno())


def _send(archive: Path, to: str, now: datetime) -> str:
    if _is_folder(to):
        to = f"{to}{'' if to.endswith('/') else '/'}{PREFIX}{now.astimezone(UTC):%Y%m%dT%H%M%SZ}{SUFFIX}"
    try:
        if "://" in to:
            files, path = _place(to)
            files.makedirs(path.rpartition("/")[0], exist_ok=True)
            # Under another name until it is whole: whoever looks for the newest must not find half of one.
            files.put_file(str(archive), f"{path}.part")
            files.mv(f"{path}.part", path)
        else:
            target = Path(to).expanduser()
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = target.with_name(f".{target.name}.part")
            shutil.copyfile(archive, beside)
            beside.chmod(0o600)
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            beside.replace(target)
    except OSError as error:
        raise CannotBackUp(f"{to} cannot be written: {error}") from None
    return to


# In.


def _refuse_running(folder: Path) -> None:
    if head.running(folder) or head.remains(folder):
        raise CannotBackUp("Raygate runs here; `raygate down` first")
    for path in (folder / JOURNALS).glob("*.lock"):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotBackUp("a process of Raygate writes its journal here; end it first") from None


def _receive(source: str, incoming: Path) -> dict[str, Any]:
    """Unpack and check; the manifest. Raises `CannotBackUp`."""
    archive = incoming / "archive"
    try:
        if "://" in source:
            files, path = _place(source)
            files.get_file(path, str(archive))
        else:
            shutil.copyfile(Path(source).expanduser(), archive)
    except OSError as error:
        raise CannotBackUp(f"{source} cannot be read: {error}") from None
    try:
        with tarfile.open(archive) as tar:
            first = tar.next()
            said = tar.extractfile(first) if first is not None and first.name == MANIFEST else None
            if said is None:
                raise CannotBackUp(f"{source} is no backup of Raygate")
            text = said.read()
            manifest: dict[str, Any] = json.loads(text)
            _refuse_newer(manifest)
            # Names outside of the folder, links and devices are refused by this filter.
            tar.extractall(incoming, filter="data")
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, KeyError, TypeError) as error:
        raise CannotBackUp(f"{source} is damaged: {error}") from None
    archive.unlink()
    there = {path.relative_to(incoming).as_posix() for path in _files(incoming)} - {MANIFEST, CHECK}
    check = incoming / CHECK
    if not check.is_file() or check.read_bytes() != hashlib.sha256(text).hexdigest().encode():
        raise CannotBackUp(f"{source} is damaged: its manifest is not what was written")
    if there != manifest["parts"].keys():
        raise CannotBackUp(f"{source} is damaged: its parts are not those of its manifest")
    for name, part in manifest["parts"].items():
        if _digest(incoming / name) != part["sha256"]:
            raise CannotBackUp(f"{source} is damaged: {name} is not what was written")
        (incoming / name).chmod(0o600)
    return manifest


def _refuse_newer(manifest: Mapping[str, Any]) -> None:
    if manifest["format"] > FORMAT:
        raise CannotBackUp(f"the backup was made by Raygate {manifest['raygate']}, which is newer; install that one")
    for name, part in manifest["parts"].items():
        known = SCHEMAS.get(name.partition("/")[0], 0)
        if part["schema"] > known:
            raise CannotBackUp(
                f"{name} was written by Raygate {manifest['raygate']} (its version is {part['schema']}, this one knows "
                f"up to {known}); install that one"
            )


def _load_postgres(incoming: Path, env: Mapping[str, str], manifest: Mapping[str, Any], aside: str) -> None:
    from runtime.ledger.store.copies import load

    url = _ledger_url(Store(incoming).settings()[1], env)
    if not url:
        raise CannotBackUp("the backup's ledger is a Postgres, and its settings name none")
    schema = max((one["schema"] for name, one in manifest["parts"].items() if name.startswith(f"{LEDGER}/")), default=0)
    failed = asyncio.run(load(url, incoming / LEDGER, schema, aside=aside))
    if failed is not None:
        raise CannotBackUp(str(failed))
    # Opening it to read the settings has left SQLite's files beside it.
    for name in ("-wal", "-shm"):
        (incoming / f"{STATE_DB}{name}").unlink(missing_ok=True)


def _newest(folder: str) -> str | None:
    """The newest archive in a folder, by its name."""
    if "://" not in folder:
        found = sorted(Path(folder).expanduser().glob(f"{PREFIX}*{SUFFIX}"))
        return str(found[-1]) if found else None
    files, path = _place(folder)
    try:
        listed = files.ls(path.rstrip("/"), detail=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotBackUp(f"{folder} cannot be read: {error}") from None
    names = sorted(name.rpartition("/")[2] for name in listed)
    ours = [name for name in names if name.startswith(PREFIX) and name.endswith(SUFFIX)]
    return f"{folder}{ours[-1]}" if ours else None


def _is_folder(where: str) -> bool:
    return where.endswith("/") or ("://" not in where and Path(where).expanduser().is_dir())


def _place(url: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it. Where fsspec needs a package that is not here, Arrow's own
    (s3, gs, abfs, hdfs) serves, if it is here. Raises `CannotBackUp`."""
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(url)
    except ValueError as error:
        raise CannotBackUp(f"{url} is no address that can be written to: {error}") from None
    except ImportError as missing:
        try:
            from fsspec.implementations.arrow import ArrowFSWrapper
            from pyarrow import fs

            found, path = fs.FileSystem.from_uri(url)
            return ArrowFSWrapper(found), path
        except (ImportError, ValueError, OSError):
            raise CannotBackUp(str(missing)) from None
    return files, path


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
