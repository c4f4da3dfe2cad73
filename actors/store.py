"""What must survive the death of every actor: settings, keys, incarnation numbers. SQLite in the state directory.

A restarted Ray actor gets its original constructor's arguments and nothing else, so whatever can change lies
here. The folder is 0700, the database 0600: settings may hold literal secrets.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from runtime.feed import KeyInfo

SCHEMA = """
create table if not exists document (name text primary key, version integer not null, body text not null);
create table if not exists incarnation (name text primary key, number integer not null);
create table if not exists key (
  sha256 text primary key, name text not null, tenant text not null, admin integer not null
);
"""


class Store:
    """Blocks for milliseconds at most; async callers use a thread. Safe for several processes at once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / "state.db"
        self._path.touch(mode=0o600, exist_ok=True)
        with self._open() as db:
            db.executescript(SCHEMA)

    def settings(self) -> tuple[int, Mapping[str, Any]]:
        """(version, document); version 0 before anyone stored any."""
        with self._open() as db:
            row = db.execute("select version, body from document where name = 'settings'").fetchone()
        return (row[0], json.loads(row[1])) if row else (0, {})

    def put_settings(self, document: Mapping[str, Any]) -> int:
        """Store a new document; returns its version, which is unchanged where the document is."""
        # In its own order: providers are asked in that of the settings, also after a restart.
        body = json.dumps(document)
        with self._open() as db:
            db.execute(
                "insert into document values ('settings', 1, ?) on conflict (name) do update "
                "set version = version + 1, body = excluded.body where body != excluded.body",
                (body,),
            )
            version: int = db.execute("select version from document where name = 'settings'").fetchone()[0]
        return version

    def next_incarnation(self, name: str, *, least: int = 1) -> int:
        """A number that this actor never had before: larger than all its earlier ones, and `least` or more."""
        with self._open() as db:
            row = db.execute(
                "insert into incarnation values (?, ?) on conflict (name) "
                "do update set number = max(number + 1, excluded.number) returning number",
                (name, least),
            ).fetchone()
        number: int = row[0]
        return number

    def keys(self) -> tuple[KeyInfo, ...]:
        with self._open() as db:
            rows = db.execute("select sha256, name, tenant, admin from key order by name").fetchall()
        return tuple(
            KeyInfo(sha256=sha, name=name, tenant=tenant, admin=bool(admin)) for sha, name, tenant, admin in rows
        )

    def add_key(self, key: KeyInfo) -> None:
        """Add a key, or replace the one of the same hash."""
        with self._open() as db:
            db.execute(
                "insert or replace into key values (?, ?, ?, ?)", (key.sha256, key.name, key.tenant, int(key.admin))
            )

    def only_key(self, key: KeyInfo) -> None:
        """Add a key in the place of all others of its name."""
        with self._open() as db:
            db.execute("delete from key where name = ?", (key.name,))
            db.execute(
                "insert or replace into key values (?, ?, ?, ?)", (key.sha256, key.name, key.tenant, int(key.admin))
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=10.0)) as db:
            db.execute("pragma journal_mode = wal")
            with db:
                yield db
