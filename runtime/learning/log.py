"""Every event of every organisation, in order, in SQLite; and snapshots of what they taught. Durable on return.

    event      number (grows over all organisations) · organisation · uid · request · key · kind · vector · the rest
    snapshot   organisation · number of the last event in it · a pupil's bytes; the last `SNAPSHOTS` are kept
    turn       what was said in a session, the last `TURNS`

Old events go only where a snapshot holds what they taught, and never the last that a new map is fitted on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from runtime.learning.events import Event, Judged, from_plain, kind_of, to_plain
from runtime.learning.values import Trajectory

SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    uid TEXT UNIQUE,
    request TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    vector BLOB NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS event_of ON event (tenant, request, kind);
CREATE INDEX IF NOT EXISTS event_in ON event (tenant, number);
CREATE TABLE IF NOT EXISTS snapshot (
    tenant TEXT NOT NULL, number INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (tenant, number)
);
CREATE TABLE IF NOT EXISTS session (
    tenant TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL, at_s REAL NOT NULL, PRIMARY KEY (tenant, key, id)
);
CREATE TABLE IF NOT EXISTS turn (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL, role TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS turn_of ON turn (tenant, key, id, number);
"""

SNAPSHOTS = 3
TURNS = 40
SESSIONS = 1_000
"""Of one key; the oldest go."""


class Log:
    """Belongs to one thread at a time."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        self._db.close()

    def add(self, events: Sequence[tuple[str, Event]]) -> list[int | None]:
        """Keep these, each with its organisation, all or none. Their numbers; None where an event was known already."""
        numbers: list[int | None] = []
        with self._db:
            for tenant, event in events:
                uid = event.uid if isinstance(event, Trajectory) else None
                cursor = self._db.execute(
                    "INSERT OR IGNORE INTO event (tenant, uid, request, key, kind, vector, body)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        tenant,
                        uid,
                        event.request,
                        event.key,
                        kind_of(event),
                        event.vector,
                        orjson.dumps(to_plain(event)),
                    ),
                )
                numbers.append(cursor.lastrowid if cursor.rowcount else None)
        return numbers

    def after(self, tenant: str, number: int, upto: int | None = None) -> Iterator[tuple[int, Event]]:
        """The events of an organisation after this number, oldest first."""
        rows = self._db.execute(
            "SELECT number, kind, body, vector FROM event WHERE tenant = ? AND number > ? AND number <= ?"
            " ORDER BY number",
            (tenant, number, 2**62 if upto is None else upto),
        )
        for at, kind, body, vector in rows:
            yield int(at), from_plain(kind, orjson.loads(body), vector)

    def find(self, tenant: str, request: str) -> Trajectory | None:
        """The last decision about a request."""
        found = self._last(tenant, request, "decided")
        return found if isinstance(found, Trajectory) else None

    def judgement(self, tenant: str, request: str, key: str) -> Judged | None:
        """What this key said of it last."""
        found = self._last(tenant, request, "judged", key)
        return found if isinstance(found, Judged) else None

    def _last(self, tenant: str, request: str, kind: str, key: str | None = None) -> Event | None:
        row = self._db.execute(
            "SELECT body, vector FROM event WHERE tenant = ? AND request = ? AND kind = ?"
            " AND (? IS NULL OR key = ?) ORDER BY number DESC LIMIT 1",
            (tenant, request, kind, key, key),
        ).fetchone()
        return None if row is None else from_plain(kind, orjson.loads(row[0]), row[1])

    def tenants(self) -> list[str]:
        return [str(row[0]) for row in self._db.execute("SELECT DISTINCT tenant FROM event ORDER BY tenant")]

    def last(self, tenant: str) -> int:
        """The number of its last event; 0 where there is none."""
        row = self._db.execute("SELECT max(number) FROM event WHERE tenant = ?", (tenant,)).fetchone()
        return int(row[0] or 0)

    # Snapshots.

    def snapshots(self, tenant: str) -> list[tuple[int, bytes]]:
        """Number of the last event in it, and the pupil; newest first."""
        rows = self._db.execute(
            "SELECT number, payload FROM snapshot WHERE tenant = ? ORDER BY number DESC", (tenant,)
        ).fetchall()
        return [(int(number), payload) for number, payload in rows]

    def save(self, tenant: str, number: int, payload: bytes, *, keep: int) -> None:
        """Keep a snapshot, and no more than the last `keep` events of those that it holds."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?)", (tenant, number, payload))
            kept = [at for at, _ in self.snapshots(tenant)[:SNAPSHOTS]]
            self._db.execute("DELETE FROM snapshot WHERE tenant = ? AND number < ?", (tenant, kept[-1]))
            row = self._db.execute(
                "SELECT number FROM event WHERE tenant = ? AND number <= ? ORDER BY number DESC LIMIT 1 OFFSET ?",
                (tenant, kept[-1], keep),
            ).fetchone()
            if row is not None:
                self._db.execute("DELETE FROM event WHERE tenant = ? AND number <= ?", (tenant, row[0]))

    # Sessions.

    def open_session(self, tenant: str, key: str, session: str, at_s: float) -> None:
        with self._db:
            self._db.execute(
                "INSERT INTO session VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET at_s = excluded.at_s",
                (tenant, key, session, at_s),
            )
            row = self._db.execute(
                "SELECT id FROM session WHERE tenant = ? AND key = ? ORDER BY at_s DESC LIMIT 1 OFFSET ?",
                (tenant, key, SESSIONS),
            ).fetchone()
            if row is not None:
                self._db.execute("DELETE FROM turn WHERE tenant = ? AND key = ? AND id = ?", (tenant, key, row[0]))
                self._db.execute("DELETE FROM session WHERE tenant = ? AND key = ? AND id = ?", (tenant, key, row[0]))

    def said(self, tenant: str, key: str, session: str, turns: Sequence[tuple[str, str]], at_s: float) -> None:
        """Add (role, text) to a session, which is opened where it was not."""
        self.open_session(tenant, key, session, at_s)
        with self._db:
            self._db.executemany(
                "INSERT INTO turn (tenant, key, id, role, text) VALUES (?, ?, ?, ?, ?)",
                [(tenant, key, session, role, text) for role, text in turns],
            )
            self._db.execute(
                "DELETE FROM turn WHERE tenant = ? AND key = ? AND id = ? AND number NOT IN (SELECT number FROM turn"
                " WHERE tenant = ? AND key = ? AND id = ? ORDER BY number DESC LIMIT ?)",
                (tenant, key, session, tenant, key, session, TURNS),
            )

    def session(self, tenant: str, key: str, session: str) -> list[tuple[str, str]] | None:
        """What was said, oldest first; None where this key has no such session."""
        where = (tenant, key, session)
        if self._db.execute("SELECT 1 FROM session WHERE tenant = ? AND key = ? AND id = ?", where).fetchone() is None:
            return None
        rows = self._db.execute(
            "SELECT role, text FROM turn WHERE tenant = ? AND key = ? AND id = ? ORDER BY number", where
        )
        return [(str(role), str(text)) for role, text in rows]
