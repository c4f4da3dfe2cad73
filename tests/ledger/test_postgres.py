"""What only Postgres can meet: a server that is not there, or says no, or drops the line."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from runtime.ledger.store import postgres
from runtime.ledger.store.base import PASSING, Appended, Audit, StoreFailure, Trouble
from runtime.ledger.store.postgres import PostgresStore
from tests.ledger.conftest import DSN, NO_POSTGRES, drop
from tests.ledger.rows import row
from tests.ledger.test_store import all_rows


@pytest_asyncio.fixture
async def schema() -> AsyncIterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    await drop(name)


async def opened(schema: str) -> PostgresStore:
    store = await PostgresStore.open(DSN, schema=schema)
    assert isinstance(store, PostgresStore), store
    assert isinstance(await store.acquire_epoch("test", at_ms=0), int)
    return store


async def test_a_server_that_is_not_there_is_unreachable_and_its_password_is_not_said() -> None:
    store = await PostgresStore.open("postgresql://me:secret@127.0.0.1:9/books")
    assert isinstance(store, StoreFailure)
    assert store.kind is Trouble.UNREACHABLE
    assert store.kind in PASSING
    assert "127.0.0.1:9/books" in store.detail
    assert "secret" not in store.detail


@NO_POSTGRES
async def test_a_database_that_is_read_only_is_said(schema: str) -> None:
    separator = "&" if "?" in DSN else "?"
    store = await PostgresStore.open(f"{DSN}{separator}default_transaction_read_only=on", schema=schema)
    assert isinstance(store, StoreFailure)
    assert store.kind is Trouble.READ_ONLY


@NO_POSTGRES
async def test_a_role_or_database_that_is_not_there_is_unreachable() -> None:
    store = await PostgresStore.open(DSN.replace("/postgres", "/nowhere", 1))
    assert isinstance(store, StoreFailure)
    assert store.kind is Trouble.UNREACHABLE


@NO_POSTGRES
async def test_a_ledger_that_somebody_holds_is_locked(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncpg

    monkeypatch.setitem(postgres.SETTINGS, "lock_timeout", "50ms")
    store = await opened(schema)
    other = await asyncpg.connect(DSN)
    async with other.transaction():
        await other.execute(f"select * from {schema}.mark for update")
        answer = await store.append([row()])
        assert isinstance(answer, StoreFailure)
        assert answer.kind is Trouble.LOCKED
    await other.close()
    assert isinstance(await store.append([row()]), Appended)
    await store.close()


@NO_POSTGRES
async def test_a_ledger_whose_tables_are_gone_is_corrupt(schema: str) -> None:
    store = await opened(schema)
    await drop(schema)
    for answer in (await store.append([row()]), await store.totals(0)):
        assert isinstance(answer, StoreFailure)
        assert answer.kind is Trouble.CORRUPT
    await store.close()


@NO_POSTGRES
async def test_lines_that_drop_cost_a_call_and_nothing_more(schema: str) -> None:
    import asyncpg

    store = await opened(schema)
    assert isinstance(await store.append([row("w:1", cost=1)]), Appended)
    other = await asyncpg.connect(DSN)
    for n in range(5):
        await other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'raygate-ledger' and pid != pg_backend_pid()"
        )
        # The end of a line may be heard of late. Whether it went in or not: told again, it is there once.
        answers = [await store.append([row(f"x:{n}", cost=1)]) for _ in range(3)]
        assert {answer.kind for answer in answers if isinstance(answer, StoreFailure)} <= {Trouble.UNREACHABLE}
        assert isinstance(answers[-1], Appended)
    await other.close()
    assert len(await all_rows(store)) == 6
    totals = await store.totals(0)
    assert not isinstance(totals, StoreFailure)
    assert {total.cost_nanousd for total in totals} == {6}
    await store.close()


@NO_POSTGRES
async def test_an_owner_who_is_replaced_in_the_middle_of_its_writes_loses_none_and_adds_none(schema: str) -> None:
    first, second = await opened(schema), await PostgresStore.open(DSN, schema=schema)
    assert isinstance(second, PostgresStore)
    writes = [asyncio.create_task(first.append([row(f"w:{n}", cost=1)])) for n in range(30)]
    await asyncio.sleep(0)
    assert isinstance(await second.acquire_epoch("second", at_ms=1), int)
    there = len(await all_rows(second))
    answers = await asyncio.gather(*writes)
    acknowledged = [answer for answer in answers if isinstance(answer, Appended)]
    assert {answer.kind for answer in answers if isinstance(answer, StoreFailure)} <= {Trouble.FENCED}
    assert len(await all_rows(second)) == there == len(acknowledged)
    await first.close()
    await second.close()


@NO_POSTGRES
async def test_the_trail_cannot_be_changed_by_hand(schema: str) -> None:
    import asyncpg

    store = await opened(schema)
    await store.change(audit=[Audit(at_ms=1, who="root", what="create", subject="key:1")])
    db = await asyncpg.connect(DSN, server_settings={"search_path": schema})
    for statement in ("update audit set who = 'me'", "delete from audit", "truncate audit"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await db.execute(statement)
    await db.close()
    await store.close()
