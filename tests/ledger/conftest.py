"""Tests of the store run on SQLite, and on the Postgres that RAYGATE_TEST_POSTGRES names (make test-postgres)."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from runtime.ledger.store.base import Store, StoreFailure
from runtime.ledger.store.postgres import PostgresStore
from runtime.ledger.store.sqlite import SqliteStore

DSN = os.environ.get("RAYGATE_TEST_POSTGRES", "")

NO_POSTGRES = pytest.mark.skipif(
    not DSN, reason="RAYGATE_TEST_POSTGRES names no server: make test-postgres starts one and runs these tests"
)

Open = Callable[[], Awaitable[Store]]
"""Opens the same ledger once more, as another process would. All are closed after the test."""


@pytest_asyncio.fixture(params=["sqlite", pytest.param("postgres", marks=NO_POSTGRES)])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    opened: list[Store] = []

    async def sqlite() -> Store:
        store = await SqliteStore.open(tmp_path / "state" / "ledger.db", synchronous="normal")
        assert not isinstance(store, StoreFailure), store
        opened.append(store)
        return store

    schema = f"test_{uuid.uuid4().hex[:12]}"

    async def postgres() -> Store:
        store = await PostgresStore.open(DSN, schema=schema)
        assert not isinstance(store, StoreFailure), store
        opened.append(store)
        return store

    yield sqlite if request.param == "sqlite" else postgres
    for store in opened:
        await store.close()
    if request.param == "postgres":
        await drop(schema)


async def drop(schema: str) -> None:
    import asyncpg

    db = await asyncpg.connect(DSN)
    await db.execute(f"set client_min_messages = warning; drop schema if exists {schema} cascade")
    await db.close()


@pytest_asyncio.fixture
async def store(open_store: Open) -> Store:
    """A new ledger of which this test is the owner."""
    store = await open_store()
    assert isinstance(await store.acquire_epoch("test", at_ms=0), int)
    return store
