"""A Postgres ledger goes out as it was at one moment, and comes back all or not at all."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from runtime.ledger.store.base import Audit, Document, StoreFailure, Trouble, Where
from runtime.ledger.store.copies import dump, load
from runtime.ledger.store.migrations import NEWEST
from runtime.ledger.store.postgres import PostgresStore
from tests.ledger.conftest import DSN, NO_POSTGRES, drop
from tests.ledger.rows import NOON, row

pytestmark = NO_POSTGRES


@pytest_asyncio.fixture
async def schema() -> AsyncIterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    await drop(name)
    await drop(f"{name}_aside")


async def opened(schema: str) -> PostgresStore:
    store = await PostgresStore.open(DSN, schema=schema)
    assert not isinstance(store, StoreFailure), store
    assert isinstance(await store.acquire_epoch("one", at_ms=NOON), int)
    return store


async def all_of(store: PostgresStore) -> object:
    rows = [page async for page in store.rows(Where())]
    return rows, await store.totals(NOON), await store.documents("key"), await store.audit(), await store.open_intents()


async def test_a_ledger_comes_back_as_it_was(schema: str, tmp_path: Path) -> None:
    store = await opened(schema)
    await store.append([row(f"w:{number}", at_ms=NOON + number) for number in range(20)])
    await store.put_intents([row("w:open").intent])
    key = Document(kind="key", id="key_1", body={"name": 'a "b", c\nd', "no": None}, sha256="a" * 64)
    await store.change([key], audit=[Audit(at_ms=NOON, who="me", what="made", subject="key_1", after=key.body)])
    before = await all_of(store)
    assert await dump(DSN, tmp_path, schema=schema) == NEWEST
    await store.append([row("w:later", at_ms=NOON + 500)])

    refused = await load(DSN, tmp_path, NEWEST, schema=schema)
    assert isinstance(refused, StoreFailure)
    assert refused.kind is Trouble.INVALID
    await store.close()
    assert await load(DSN, tmp_path, NEWEST, aside=f"{schema}_aside", schema=schema) is None

    restored = await opened(schema)
    assert await all_of(restored) == before
    # Numbers that the database gives go on behind those that are there.
    assert await restored.change(audit=[Audit(at_ms=NOON, who="me", what="again", subject="key_1")]) is None
    trail = await restored.audit()
    assert not isinstance(trail, StoreFailure)
    assert [one.seq for one in trail] == sorted({one.seq for one in trail})
    await restored.close()


async def test_what_cannot_be_loaded_leaves_what_was_there(schema: str, tmp_path: Path) -> None:
    store = await opened(schema)
    await store.append([row("w:1")])
    before = await all_of(store)
    await dump(DSN, tmp_path, schema=schema)
    attempts = tmp_path / "attempt.csv"
    attempts.write_bytes(attempts.read_bytes() + b"broken\n")
    await store.close()
    assert isinstance(await load(DSN, tmp_path, NEWEST, aside=f"{schema}_aside", schema=schema), StoreFailure)
    newer = await load(DSN, tmp_path, NEWEST + 1, aside=f"{schema}_aside", schema=schema)
    assert isinstance(newer, StoreFailure)
    assert newer.kind is Trouble.NEWER
    store = await opened(schema)
    assert await all_of(store) == before
    await store.close()
