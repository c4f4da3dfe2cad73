"""A backup of a Raygate that runs, under load: nobody notices, and what it holds is what was true at one moment."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from runtime.ledger.rows import Row
from runtime.ledger.store.base import StoreFailure, Where
from runtime.ledger.store.sqlite import SqliteStore
from tests.e2e.conftest import Live, until
from tests.e2e.load import Load

RAYGATE = str(Path(sys.executable).parent / "raygate")


def shell(folder: Path, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "RAYGATE_STATE_DIR": str(folder)}
    done = subprocess.run([RAYGATE, *args], env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done


def rows_of(folder: Path) -> dict[str, Row]:
    async def read() -> dict[str, Row]:
        store = await SqliteStore.open(folder / "ledger.db")
        assert not isinstance(store, StoreFailure), store
        found = {}
        async for page in store.rows(Where()):
            assert not isinstance(page, StoreFailure), page
            found |= {one.intent.attempt: one for one in page}
        await store.close()
        return found

    return asyncio.run(read())


def test_a_backup_under_load_holds_every_row_that_had_come(live: Live, tmp_path: Path) -> None:
    with Load(live, "pair", callers=4) as load:
        until(lambda: len(load.answers) > 40, "there is something to keep", within_s=60)
        asked = len(load.answers)
        said = json.loads(shell(live.folder, "backup", f"{tmp_path}/kept/", "--json").stdout)
        until(lambda: len(load.answers) > asked + 20, "it goes on", within_s=60)
    assert load.faults == []
    assert said["ledger"] == "sqlite"
    refused = shell(live.folder, "restore", said["where"], code=1)
    assert "Raygate runs here" in refused.stderr
    there = tmp_path / "there"
    shell(there, "restore", f"{tmp_path}/kept/")
    kept = rows_of(there)
    until(lambda: kept.keys() <= rows_of(live.folder).keys(), "the ledger has them all")
    now = rows_of(live.folder)
    assert kept
    assert all(now[attempt] == row for attempt, row in kept.items())
    assert not (there / "key").exists()
