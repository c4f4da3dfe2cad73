"""Every event of every organisation, in order, in SQLite; and snapshots of what they taught. Durable on return.

    event      number (grows over all organisations) · organisation · uid · request · key · kind · vector · the rest
    snapshot   organisation · number of the last event in it · a pupil's bytes; the last `SNAPSHOTS` are kept, and of
               those before them the more the closer they are
    skipped    organisation · events after this number, and up to that one, teach nothing: it was gone back behind them
    standing   organisation · since which event its learning pauses · whether it was emptied on purpose
    turn       what was said in a session, the last `TURNS`

Old events go only where a snapshot holds what they taught, and never the last that a new map is fitted on; what was
imported stays.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from runtime.learning.events import Event, Imported, Judged, from_plain, kind_of, to_plain
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
CREATE TABLE IF NOT EXISTS skipped (
    tenant TEXT NOT NULL, after INTEGER NOT NULL, upto INTEGER NOT NULL, PRIMARY KEY (tenant, upto)
);
CREATE TABLE IF NOT EXISTS standing (tenant TEXT PRIMARY KEY, paused_at INTEGER, emptied INTEGER NOT NULL DEFAULT 0);
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
"""From which a start may go on; each of them has the events after it."""
TURNS = 40
LATEST = 2**62
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
        """The events of an organisation after this number that teach something, oldest first."""
        rows = self._db.execute(
            "SELECT number, kind, body, vector FROM event WHERE tenant = ? AND number > ? AND number <= ?"
            " AND NOT EXISTS (SELECT 1 FROM skipped WHERE skipped.tenant = event.tenant"
            " AND event.number > skipped.after AND event.number <= skipped.upto) ORDER BY number",
            (tenant, number, LATEST if upto is None else upto),
        )
        for at, kind, body, vector in rows:
            yield int(at), from_plain(kind, orjson.loads(body), vector)

    def decided(self, tenant: str, number: int, most: int) -> list[tuple[int, Trajectory, list[Judged]]]:
        """The first decisions after this number, each with all that was said of its request; also what was skipped."""
        rows = self._db.execute(
            "SELECT number, body, vector FROM event WHERE tenant = ? AND number > ? AND kind = 'decided'"
            " ORDER BY number LIMIT ?",
            (tenant, number, most),
        ).fetchall()
        found = []
        for at, body, vector in rows:
            decision = from_plain("decided", orjson.loads(body), vector)
            if isinstance(decision, Trajectory):
                found.append((int(at), decision, self.judgements(tenant, decision.request)))
        return found

    def newest(self, tenant: str, most: int) -> list[Trajectory]:
        """The last decisions, newest first; also what was skipped."""
        rows = self._db.execute(
            "SELECT body, vector FROM event WHERE tenant = ? AND kind = 'decided' ORDER BY number DESC LIMIT ?",
            (tenant, most),
        )
        found = (from_plain("decided", orjson.loads(body), vector) for body, vector in rows)
        return [one for one in found if isinstance(one, Trajectory)]

    def judgements(self, tenant: str, request: str) -> list[Judged]:
        """All that was said of it, oldest first."""
        rows = self._db.execute(
            "SELECT body, vector FROM event WHERE tenant = ? AND request = ? AND kind = 'judged' ORDER BY number",
            (tenant, request),
        )
        said = (from_plain("judged", orjson.loads(body), vector) for body, vector in rows)
        return [one for one in said if isinstance(one, Judged)]

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

    def imports(self, tenant: str) -> list[tuple[Imported, bool]]:
        """What others learned and was taken in, oldest first, without the exports themselves; and whether it teaches
        something, which it does not where it was gone back behind."""
        rows = self._db.execute(
            "SELECT body, NOT EXISTS (SELECT 1 FROM skipped WHERE skipped.tenant = event.tenant"
            " AND event.number > skipped.after AND event.number <= skipped.upto)"
            " FROM event WHERE tenant = ? AND kind = 'imported' ORDER BY number",
            (tenant,),
        )
        found = ((from_plain("imported", orjson.loads(body), b""), bool(teaches)) for body, teaches in rows)
        return [(one, teaches) for one, teaches in found if isinstance(one, Imported)]

    def tenants(self) -> list[str]:
        """All of which anything is known; also those whose events are gone."""
        rows = self._db.execute(
            "SELECT tenant FROM event UNION SELECT tenant FROM snapshot UNION SELECT tenant FROM standing"
        )
        return sorted(str(row[0]) for row in rows)

    def last(self, tenant: str) -> int:
        """The number of its last event; 0 where there is none."""
        row = self._db.execute("SELECT max(number) FROM event WHERE tenant = ?", (tenant,)).fetchone()
        return int(row[0] or 0)

    # Snapshots.

    def snapshots(self, tenant: str) -> list[int]:
        """The number of the last event in each, newest first."""
        rows = self._db.execute("SELECT number FROM snapshot WHERE tenant = ? ORDER BY number DESC", (tenant,))
        return [int(row[0]) for row in rows]

    def snapshot(self, tenant: str, number: int) -> bytes | None:
        """The pupil in it."""
        where = (tenant, number)
        row = self._db.execute("SELECT payload FROM snapshot WHERE tenant = ? AND number = ?", where).fetchone()
        return None if row is None else bytes(row[0])

    def save(self, tenant: str, number: int, payload: bytes, *, keep: int) -> None:
        """Keep a snapshot, and no more than the last `keep` events of those that it holds."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?)", (tenant, number, payload))
            numbers = self.snapshots(tenant)
            gone = set(numbers) - worth_keeping(numbers)
            self._db.executemany("DELETE FROM snapshot WHERE tenant = ? AND number = ?", [(tenant, at) for at in gone])
            row = self._db.execute(
                "SELECT number FROM event WHERE tenant = ? AND number <= ? ORDER BY number DESC LIMIT 1 OFFSET ?",
                (tenant, numbers[:SNAPSHOTS][-1], keep),
            ).fetchone()
            if row is not None:
                self._db.execute(
                    "DELETE FROM event WHERE tenant = ? AND number <= ? AND kind <> 'imported'", (tenant, row[0])
                )

    def told(self, tenant: str) -> list[tuple[int, float | None]]:
        """The snapshots' numbers, newest first, each with when its last event came, where that is still known."""
        rows = self._db.execute(
            "SELECT number, (SELECT body FROM event WHERE event.tenant = snapshot.tenant"
            " AND event.number <= snapshot.number ORDER BY event.number DESC LIMIT 1)"
            " FROM snapshot WHERE tenant = ? ORDER BY number DESC",
            (tenant,),
        )
        return [(int(number), None if body is None else float(orjson.loads(body)["at_s"])) for number, body in rows]

    # Standing: what somebody decided about an organisation's learning itself.

    def standing(self, tenant: str) -> tuple[int | None, bool]:
        """Since which event its learning pauses, if it does; and whether it was emptied on purpose."""
        row = self._db.execute("SELECT paused_at, emptied FROM standing WHERE tenant = ?", (tenant,)).fetchone()
        return (None, False) if row is None else (row[0], bool(row[1]))

    def stand(self, tenant: str, paused_at: int | None, *, emptied: bool) -> None:
        with self._db:
            self._stand(tenant, paused_at, emptied=emptied)

    def _stand(self, tenant: str, paused_at: int | None, *, emptied: bool) -> None:
        self._db.execute("INSERT OR REPLACE INTO standing VALUES (?, ?, ?)", (tenant, paused_at, emptied))

    def go_back(self, tenant: str, number: int, payload: bytes, *, emptied: bool) -> int:
        """What came after this number teaches nothing from now on; the pupil is this one. Its number, which is new.

        Whatever was skipped beyond `number` was gone back behind before, and is so no more.
        """
        paused_at, _ = self.standing(tenant)
        with self._db:
            # A number that no event has or will have.
            self._db.execute(
                "INSERT INTO event (tenant, request, key, kind, vector, body) VALUES ('', '', '', '', '', '')"
            )
            now = int(self._db.execute("SELECT last_insert_rowid()").fetchone()[0])
            self._db.execute("DELETE FROM event WHERE number = ?", (now,))
            self._db.execute("DELETE FROM skipped WHERE tenant = ? AND upto > ?", (tenant, number))
            self._db.execute("INSERT INTO skipped VALUES (?, ?, ?)", (tenant, number, now))
            self._db.execute("INSERT INTO snapshot VALUES (?, ?, ?)", (tenant, now, payload))
            self._stand(tenant, None if paused_at is None else now, emptied=emptied)
        return now

    def forget(self, tenant: str, request: str | None) -> int:
        """Delete a request's events, or all that there is of an organisation, from the file too; and every snapshot,
        which knows of them. How many events are gone."""
        with self._db:
            self._db.execute("DELETE FROM snapshot WHERE tenant = ?", (tenant,))
            if request is not None:
                gone = self._db.execute(
                    "DELETE FROM event WHERE tenant = ? AND request = ?", (tenant, request)
                ).rowcount
            else:
                gone = self._db.execute("DELETE FROM event WHERE tenant = ?", (tenant,)).rowcount
                for table in ("skipped", "session", "turn"):
                    self._db.execute(f"DELETE FROM {table} WHERE tenant = ?", (tenant,))  # noqa: S608  # one of three
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

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


def worth_keeping(numbers: Sequence[int]) -> set[int]:
    """Of snapshots, newest first: the first `SNAPSHOTS`, and for each doubling of the way back from them the oldest.

    >>> sorted(worth_keeping([100, 99, 98, 97, 96, 90, 60, 50, 10]))
    [10, 50, 90, 96, 97, 98, 99, 100]
    """
    kept = set(numbers[:SNAPSHOTS])
    spans: dict[int, int] = {}
    for one in numbers[SNAPSHOTS:]:
        spans[(numbers[0] - one).bit_length()] = one
    return kept | set(spans.values())
