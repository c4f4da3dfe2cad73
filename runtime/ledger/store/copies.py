"""A Postgres ledger as files, one a table, as they were at one moment; and back, all or nothing.

It is COPY over the connection that we have anyway: nothing of Postgres has to be installed beside. Text (CSV) goes from
any version of the server to any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.ledger.store import migrations
from runtime.ledger.store.base import StoreFailure, Trouble
from runtime.ledger.store.postgres import CONNECT_S, NOTHING_HERE, SETTINGS, _shown, failure_of

VERSION_TABLE = "schema_version"


async def dump(url: str, folder: Path, *, schema: str = "raygate") -> int | StoreFailure:
    """Write TABLE.csv of each table into `folder`; returns the ledger's version. Its owner goes on meanwhile.

    The first line names the columns: their order may differ where they were added later.
    """
    opened = await _connect(url, schema)
    if isinstance(opened, StoreFailure):
        return opened
    try:
        # One snapshot for all tables: sums and rows that belong together.
        async with opened.transaction(isolation="repeatable_read", readonly=True):
            version = await _version(opened, schema)
            for table in await _tables(opened, schema):
                with (folder / f"{table}.csv").open("wb") as file:
                    await opened.copy_from_table(table, schema_name=schema, output=file, format="csv", header=True)
    except Exception as error:  # sorted by its type; a bug is raised again
        return failure_of(error, _shown(url))
    finally:
        await opened.close()
    return version


async def load(
    url: str, folder: Path, version: int, *, aside: str = "", schema: str = "raygate"
) -> StoreFailure | None:
    """Make the ledger of these files, in one transaction. A ledger that is there already is renamed to `aside`.

    Without `aside` one that holds anything is refused (INVALID), and nothing is changed.
    """
    if version > migrations.NEWEST:
        return StoreFailure(kind=Trouble.NEWER, detail=migrations.newer(version))
    opened = await _connect(url, schema)
    if isinstance(opened, StoreFailure):
        return opened
    try:
        async with opened.transaction():
            await opened.execute("select pg_advisory_xact_lock(hashtext($1))", f"raygate {schema}")
            if await opened.fetchval("select 1 from pg_namespace where nspname = $1", schema):
                if not aside and await _holds_something(opened, schema):
                    detail = f"{_shown(url)} holds a ledger already; --replace puts it aside"
                    return StoreFailure(kind=Trouble.INVALID, detail=detail)
                moved = f'alter schema "{schema}" rename to "{aside}"' if aside else f'drop schema "{schema}" cascade'
                await opened.execute(moved)
            await opened.execute(f'create schema "{schema}"')
            await opened.execute(f"create table {VERSION_TABLE} (version bigint not null)")
            for statement in migrations.steps(migrations.POSTGRES, 0, version):
                await opened.execute(statement)
            for table in await _tables(opened, schema):
                await _fill(opened, schema, table, folder / f"{table}.csv")
            await opened.execute(f"insert into {VERSION_TABLE} values ($1)", version)
    except Exception as error:  # sorted by its type; a bug is raised again
        return failure_of(error, _shown(url))
    finally:
        await opened.close()
    return None


async def _connect(url: str, schema: str) -> Any:
    try:
        import asyncpg
    except ImportError:
        return StoreFailure(kind=Trouble.MISSING, detail=NOTHING_HERE)
    # A dump of years takes longer than any statement of the ledger's own.
    settings = {name: value for name, value in SETTINGS.items() if name != "idle_in_transaction_session_timeout"}
    try:
        return await asyncpg.connect(url, timeout=CONNECT_S, server_settings={**settings, "search_path": schema})
    except Exception as error:  # sorted by its type; a bug is raised again
        return failure_of(error, _shown(url))


async def _version(db: Any, schema: str) -> int:
    there = await db.fetchval("select to_regclass($1)", f"{schema}.{VERSION_TABLE}")
    return int(await db.fetchval(f"select max(version) from {VERSION_TABLE}") or 0) if there else 0


async def _tables(db: Any, schema: str) -> list[str]:
    found = await db.fetch("select tablename from pg_tables where schemaname = $1 order by tablename", schema)
    return [one["tablename"] for one in found if one["tablename"] != VERSION_TABLE]


async def _holds_something(db: Any, schema: str) -> bool:
    for table in ("attempt", "document", "intent"):
        there = await db.fetchval("select to_regclass($1)", f"{schema}.{table}")
        if there and await db.fetchval(f'select 1 from "{schema}"."{table}" limit 1'):
            return True
    return False


async def _fill(db: Any, schema: str, table: str, path: Path) -> None:
    with path.open("rb") as file:
        columns = file.readline().decode().strip().split(",")
        # What the steps themselves put there stands in the file, too.
        if await db.fetchval(f"select 1 from {table} limit 1"):
            await db.execute(f"delete from {table}")
        await db.copy_to_table(table, schema_name=schema, source=file, columns=columns, format="csv")
    serial = await db.fetchval(
        "select column_name from information_schema.columns "
        "where table_schema = $1 and table_name = $2 and is_identity = 'YES'",
        schema,
        table,
    )
    if serial:
        await db.execute(
            "select setval(pg_get_serial_sequence($1, $2), "
            f"coalesce((select max({serial}) from {table}), 0) + 1, false)",
            f"{schema}.{table}",
            serial,
        )
