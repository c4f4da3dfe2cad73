"""A ledger of any older version becomes one of this version, with all that is in it; a newer one is left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from runtime.ledger.store import migrations
from runtime.ledger.store.base import StoreFailure, Trouble
from runtime.ledger.store.columns import COLUMNS, flat
from runtime.ledger.store.postgres import PostgresStore
from runtime.ledger.store.sqlite import SqliteStore
from runtime.ledger.store.sqlite_writer import connect, migrate
from runtime.ledger.store.tally import DIMENSIONS, MEASURES, TAG_DIMENSIONS
from tests.ledger.conftest import DSN, NO_POSTGRES, drop
from tests.ledger.rows import row
from tests.ledger.test_store import all_rows


def columns(db: sqlite3.Connection, table: str) -> tuple[str, ...]:
    return tuple(name for (name,) in db.execute(f"select name from pragma_table_info('{table}')"))


def shape(path: Path) -> list[tuple[str, str]]:
    with closing(connect(path)) as db:
        found: list[tuple[str, str]] = db.execute("select name, sql from sqlite_master order by name").fetchall()
        return found


@pytest.mark.parametrize("version", range(migrations.NEWEST + 1))
async def test_every_older_version_becomes_this_one(version: int, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(connect(path)) as db:
        migrate(db, upto=version)
        if version:
            there = columns(db, "attempt")
            values = dict(zip(COLUMNS, flat(row()), strict=True))
            known = [name for name in COLUMNS if name in there]
            db.execute(
                f"insert into attempt ({', '.join(known)}) values ({', '.join('?' * len(known))})",
                [values[name] for name in known],
            )
    store = await SqliteStore.open(path)
    assert isinstance(store, SqliteStore), store
    assert await all_rows(store) == ([row()] if version else [])
    await store.close()
    new = await SqliteStore.open(tmp_path / "new.db")
    assert isinstance(new, SqliteStore)
    await new.close()
    assert shape(path) == shape(tmp_path / "new.db")


async def test_the_tables_have_the_columns_that_we_name(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "ledger.db")) as db:
        migrate(db)
        assert columns(db, "attempt") == ("seq", *COLUMNS)
        assert columns(db, "hourly") == ("hour_ms", *DIMENSIONS, *MEASURES)
        assert columns(db, "hourly_tag") == ("hour_ms", *TAG_DIMENSIONS, *MEASURES)


async def test_a_step_that_fails_leaves_the_older_version_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    with closing(connect(path)) as db:
        migrate(db)
    before = shape(path)
    broken = (*migrations.STEPS, lambda words: ("create table fine (it text)", "create table attempt (again text)"))
    monkeypatch.setattr(migrations, "STEPS", broken)
    with closing(connect(path)) as db:
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            migrate(db, upto=len(broken))
        assert db.execute("pragma user_version").fetchone() == (migrations.NEWEST,)
    assert shape(path) == before


async def test_a_newer_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(connect(path)) as db:
        migrate(db)
        db.execute(f"pragma user_version = {migrations.NEWEST + 1}")
    before = shape(path)
    refused = await SqliteStore.open(path)
    assert isinstance(refused, StoreFailure)
    assert refused.kind is Trouble.NEWER
    assert "newer Raygate" in refused.detail
    assert shape(path) == before


@NO_POSTGRES
@pytest.mark.parametrize("version", range(migrations.NEWEST + 1))
async def test_every_older_version_in_postgres_becomes_this_one(version: int) -> None:
    import asyncpg

    from runtime.ledger.store.postgres import _migrate

    schema = f"test_migrations_{version}"
    await drop(schema)
    async with asyncpg.create_pool(DSN, min_size=1, server_settings={"search_path": schema}) as pool:
        await _migrate(pool, schema, upto=version)
    store = await PostgresStore.open(DSN, schema=schema)
    assert isinstance(store, PostgresStore), store
    assert isinstance(await store.acquire_epoch("test", at_ms=0), int)
    await store.append([row()])
    assert await all_rows(store) == [row()]
    await store.close()
    db = await asyncpg.connect(DSN)
    await db.execute(f"insert into {schema}.schema_version values ({migrations.NEWEST + 1})")
    await db.close()
    refused = await PostgresStore.open(DSN, schema=schema)
    assert isinstance(refused, StoreFailure)
    assert refused.kind is Trouble.NEWER
    await drop(schema)
