"""Where the ledger is kept: SQLite on one node, Postgres on several, with one protocol and the same tests."""

from __future__ import annotations

from pathlib import Path

from runtime.ledger.store.base import Store, StoreFailure


async def open_store(where: str | Path) -> Store | StoreFailure:
    """A Postgres by its URL (postgresql://…), else the SQLite file of this name, which is made where there is none."""
    if str(where).startswith(("postgresql://", "postgres://")):
        from runtime.ledger.store.postgres import PostgresStore

        return await PostgresStore.open(str(where))
    from runtime.ledger.store.sqlite import SqliteStore

    return await SqliteStore.open(Path(where))
