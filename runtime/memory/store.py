"""What is remembered, durably: vectors, outcomes and what they cost, in SQLite. Indexes are rebuilt from here.

One row is one request; its outcome comes later, or never. A row belongs to a namespace (a tenant), and no answer ever
crosses from one to another. The embedder's name is kept: vectors of two embedders are never mixed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.memory.embed import Embedder

SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS memory (
    label INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    request TEXT NOT NULL,
    vector BLOB NOT NULL,
    text TEXT,
    model TEXT NOT NULL,
    propensity REAL NOT NULL,
    quality REAL,
    weight REAL NOT NULL DEFAULT 0,
    cost_nanousd INTEGER,
    latency_s REAL,
    at REAL NOT NULL,
    uses INTEGER NOT NULL DEFAULT 0,
    more TEXT NOT NULL DEFAULT '{}',
    UNIQUE (namespace, request)
);
CREATE INDEX IF NOT EXISTS memory_of ON memory (namespace, at);
"""


class OtherEmbedder(ValueError):
    """The store was filled by another embedder: embed anew (`reembed`) or open another store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One request. `at` is wall-clock time in seconds; `quality` is None until somebody judged the answer."""

    namespace: str
    request: str
    model: str
    propensity: float
    at: float
    text: str | None = None
    quality: float | None = None
    weight: float = 0.0
    cost_nanousd: int | None = None
    latency_s: float | None = None
    uses: int = 0
    label: int = 0


_COLUMNS = (
    "label, namespace, request, vector, text, model, propensity, quality, weight, cost_nanousd, latency_s, at, uses"
)


class Store:
    """Not for several threads at once. A write is durable when the call returns."""

    def __init__(self, path: Path | str, embedder: Embedder, *, rebuildable: bool = False) -> None:
        """`rebuildable`: somebody else can fill it anew after a loss of power, so no write waits for the disk."""
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA synchronous = {'NORMAL' if rebuildable else 'FULL'}")
        self._db.executescript(SCHEMA)
        self._dim = embedder.dim
        found = self._about("embedder")
        if found is None:
            self._say("embedder", json.dumps([embedder.name, embedder.dim]))
        elif found != json.dumps([embedder.name, embedder.dim]):
            name = json.loads(found)[0]
            self._db.close()
            raise OtherEmbedder(
                f"this memory was filled by {name}, not by {embedder.name}; re-embed it, or name another folder"
            )

    def _about(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _say(self, name: str, value: str) -> None:
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))

    def close(self) -> None:
        self._db.close()

    def add(self, trace: Trace, vector: NDArray[np.float32]) -> int:
        """Remember a request; the same request of the same namespace again replaces it. Answers its label."""
        with self._db:
            row = self._db.execute(
                "INSERT OR REPLACE INTO memory (namespace, request, vector, text, model, propensity, quality, weight,"
                " cost_nanousd, latency_s, at, uses) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    trace.namespace,
                    trace.request,
                    np.asarray(vector, dtype="<f4").tobytes(),
                    trace.text,
                    trace.model,
                    trace.propensity,
                    trace.quality,
                    trace.weight,
                    trace.cost_nanousd,
                    trace.latency_s,
                    trace.at,
                    trace.uses,
                ),
            )
        return int(row.lastrowid or 0)

    def judge(self, namespace: str, request: str, quality: float, *, weight: float = 1.0) -> Trace | None:
        """An outcome came; None where nobody knows the request."""
        with self._db:
            self._db.execute(
                "UPDATE memory SET quality = ?, weight = ? WHERE namespace = ? AND request = ?",
                (quality, weight, namespace, request),
            )
        return next((trace for trace, _ in self._rows("namespace = ? AND request = ?", (namespace, request))), None)

    def used(self, labels: Sequence[int]) -> None:
        """These were of use to a decision: they are kept longer."""
        with self._db:
            self._db.executemany("UPDATE memory SET uses = uses + 1 WHERE label = ?", [(one,) for one in labels])

    def traces(self, namespace: str | None = None) -> Iterator[tuple[Trace, NDArray[np.float32]]]:
        """All of a namespace (or of all), oldest first."""
        if namespace is None:
            return self._rows("1", ())
        return self._rows("namespace = ?", (namespace,))

    def _rows(self, where: str, values: tuple[object, ...]) -> Iterator[tuple[Trace, NDArray[np.float32]]]:
        # `where` is one of the constants above, never a caller's text.
        for row in self._db.execute(f"SELECT {_COLUMNS} FROM memory WHERE {where} ORDER BY label", values):  # noqa: S608
            label, namespace, request, vector, text, model, propensity, quality, weight, cost, latency, at, uses = row
            yield (
                Trace(
                    label=label,
                    namespace=namespace,
                    request=request,
                    text=text,
                    model=model,
                    propensity=propensity,
                    quality=quality,
                    weight=weight,
                    cost_nanousd=cost,
                    latency_s=latency,
                    at=at,
                    uses=uses,
                ),
                np.frombuffer(vector, dtype="<f4").astype(np.float32),
            )

    def namespaces(self) -> list[str]:
        return [str(row[0]) for row in self._db.execute("SELECT DISTINCT namespace FROM memory ORDER BY namespace")]

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM memory").fetchone()[0])

    def forget(self, namespace: str, request: str | None = None) -> list[int]:
        """Delete a tenant's memory, or one request of it, from the file too. Answers the labels that are gone."""
        where, values = ("namespace = ?", (namespace,))
        if request is not None:
            where, values = ("namespace = ? AND request = ?", (namespace, request))  # type: ignore[assignment]
        gone = [int(row[0]) for row in self._db.execute(f"SELECT label FROM memory WHERE {where}", values)]  # noqa: S608
        with self._db:
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.executemany("DELETE FROM memory WHERE label = ?", [(one,) for one in gone])
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def retain(self, namespace: str, most: int, *, now: float, half_life_s: float = 30 * 86_400.0) -> list[int]:
        """Keep the `most` most useful: judged before unjudged, then by uses, which fade with age. Answers the rest."""
        rows = self._db.execute(
            "SELECT label, quality, uses, at FROM memory WHERE namespace = ?", (namespace,)
        ).fetchall()
        if len(rows) <= most:
            return []

        def useful(row: tuple[int, float | None, int, float]) -> tuple[float, int]:
            fresh = 0.5 ** (max(now - row[3], 0.0) / half_life_s)
            return ((0.5 if row[1] is None else 1.0) * (1.0 + row[2]) * fresh, row[0])

        rows.sort(key=useful)
        gone = [int(row[0]) for row in rows[: len(rows) - most]]
        with self._db:
            self._db.executemany("DELETE FROM memory WHERE label = ?", [(one,) for one in gone])
        return gone


def reembed(path: Path | str, embedder: Embedder) -> int:
    """Embed every trace anew that kept its text, and drop the others: a vector without its text cannot be carried over.

    Answers how many were dropped. All or nothing: a crash leaves the store as it was.
    """
    db = sqlite3.connect(path)
    try:
        with db:
            texts = db.execute("SELECT label, text FROM memory WHERE text IS NOT NULL ORDER BY label").fetchall()
            dropped = db.execute("DELETE FROM memory WHERE text IS NULL").rowcount
            for at in range(0, len(texts), 256):
                part = texts[at : at + 256]
                vectors = embedder.embed([str(text) for _, text in part])
                db.executemany(
                    "UPDATE memory SET vector = ? WHERE label = ?",
                    [
                        (np.asarray(vector, dtype="<f4").tobytes(), label)
                        for vector, (label, _) in zip(vectors, part, strict=True)
                    ],
                )
            db.execute(
                "INSERT OR REPLACE INTO about VALUES ('embedder', ?)", (json.dumps([embedder.name, embedder.dim]),)
            )
        return int(dropped)
    finally:
        db.close()
