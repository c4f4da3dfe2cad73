"""What becomes of money where the disk is full, read-only, or gone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors.names import JOURNALS
from tests.chaos.meter import Meter
from tests.chaos.money import Crowd, admin, held_against, made_key, metered, metered_settings, rows_of
from tests.chaos.size import FULL
from tests.chaos.victims import replica_pid, replicas_follow
from tests.e2e.conftest import Live, until

# Each mounts a disk and starts the replicas anew, twice; tests/ledger fills disks for journal and store alone, always.
pytestmark = pytest.mark.skipif(not FULL, reason="RAYGATE_CHAOS=full, as in make chaos-money")

SMALL = "size=64k"
SHIPPED_S = 3.0
PLAIN: dict[str, Any] = {"hedge": None, "retry": {"max_attempts": 1}}


@pytest.fixture(params=["full", "read-only"] if FULL else ["full"])
def bad_disk(request: pytest.FixtureRequest, live: Live) -> Iterator[BadDisk]:
    """The journals of the replicas on a disk of their own that soon takes nothing."""
    disk = BadDisk(live.folder / JOURNALS, request.param)
    disk.folder.mkdir(mode=0o700, exist_ok=True)
    if _mount("-t", "tmpfs", "-o", f"{SMALL},{'ro' if disk.fault == 'read-only' else 'rw'}", "none", str(disk.folder)):
        pytest.skip("this machine lets nobody mount a disk")
    try:
        _anew(live)
        yield disk
    finally:
        live.switch()
        disk.mend()
        # What stands in files that are open there is in the ledger by then.
        time.sleep(SHIPPED_S)
        subprocess.run(["umount", "--lazy", str(disk.folder)], check=True)
        _anew(live)


@dataclass(frozen=True)
class BadDisk:
    folder: Path
    fault: str

    def spoil(self) -> None:
        """From now on it takes nothing. A read-only one never has."""
        if self.fault == "full":
            with (self.folder / "filler").open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(b"x" * 4_096)

    def mend(self) -> None:
        if self.fault == "full":
            (self.folder / "filler").unlink(missing_ok=True)
        else:
            _mount("-o", f"remount,rw,{SMALL}", str(self.folder))


def _mount(*args: str) -> int:
    return subprocess.run(["mount", *args], check=False, capture_output=True).returncode


def _anew(live: Live) -> None:
    """Other replicas, which begin their journals where these now belong."""
    killed = live.replicas()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: all(replicas_follow(live, pid) for pid in killed), "others are there", within_s=60)


def _ask(live: Live, route: str, name: str) -> httpx.Response:
    body = {"model": route, "messages": [{"role": "user", "content": f"{name} hello"}], "max_tokens": 60}
    with live.client() as client:
        return client.post("/v1/chat/completions", json=body, headers={"x-request-id": name})


async def _rows_again(live: Live, route: str, asked: int) -> None:
    for _ in range(150):
        if len(await rows_of(live, route=route)) == asked:
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"{len(await rows_of(live, route=route))} rows, {asked} attempts")


async def test_a_disk_that_takes_nothing(live: Live, meters: dict[str, Meter], bad_disk: BadDisk) -> None:
    route = f"disk-{bad_disk.fault}"
    await metered(live, meters, [route], fates={"well": 1}, ledger={"on_error": "serve"}, **PLAIN)

    async def ask(count: int, of: str) -> list[httpx.Response]:
        return await asyncio.to_thread(lambda: [_ask(live, route, f"{route}-{of}{number}") for number in range(count)])

    bad_disk.spoil()
    served = await ask(60, "served")
    assert {one.status_code for one in served} == {200}
    refuse = {**metered_settings(meters, [route]), **PLAIN, "ledger": {"on_error": "refuse"}}
    await asyncio.to_thread(lambda: live.switch(**refuse))
    refused = await ask(60, "refused")
    # The last page of a file has room for some records yet.
    assert {one.status_code for one in refused[-20:]} == {503}
    error = refused[-1].json()["error"]
    print(f"\n{bad_disk.fault}: {error}")
    assert "cannot be written" in error["message"]
    assert "retry-after" in refused[-1].headers
    bad_disk.mend()
    after = await ask(6, "after")
    assert {one.status_code for one in after} == {200}, after[0].text
    answered = sum(one.status_code == 200 for one in (*served, *refused, *after))
    assert answered == sum(len(meter.served) for meter in meters.values())
    await _rows_again(live, route, answered)
    account = held_against(route, await rows_of(live, route=route), meters, route, [])
    assert not account.wrong
    assert account.exact == answered
    assert not [name for name in os.listdir(bad_disk.folder) if name.endswith("damaged")]


async def test_what_the_ledger_has_acknowledged_outlives_the_journal(live: Live, meters: dict[str, Meter]) -> None:
    await metered(live, meters, ["cluster"], ledger={"durability": "cluster"})
    text, key = await made_key(live, 5.0)
    crowd = Crowd(live, "cluster", text, most=300, seed=7)
    running = asyncio.create_task(crowd.run())
    await asyncio.to_thread(until, lambda: len(crowd.whole) >= 40, "they are answered")
    pid = await asyncio.to_thread(replica_pid, live)
    writer = next(name.rpartition(":")[2] for name in await asyncio.to_thread(live.following) if f":{pid}:" in name)
    for path in (live.folder / JOURNALS).glob(f"{writer}.*"):
        path.unlink()
    os.kill(pid, signal.SIGKILL)
    await running
    await asyncio.to_thread(until, lambda: replicas_follow(live, pid), "another one is there", within_s=60)
    whole = {(one.request, one.input_tokens, one.output_tokens) for one in crowd.whole}
    kept: set[tuple[str, int, int]] = set()
    for _ in range(100):
        rows = await rows_of(live, key=key)
        kept = {(row["request_id"], row["input_tokens"], row["output_tokens"]) for row in rows}
        if whole <= kept:
            break
        await asyncio.sleep(0.2)
    account = held_against("cluster", rows, meters, "cluster", crowd.whole)
    print(f"\n{account}\n{dict(crowd.answers)}")
    assert whole <= kept, sorted(whole - kept)[:5]
    # What nobody was told of died with the journal; the ledger knows that it was begun, and charges for it in time.
    assert [one for one in account.wrong if "no row of" not in one] == []
    assert len(account.wrong) <= (await admin(live, "ledger"))["under_way"]
