"""`kill -9`, while money is spent: afterwards every attempt that an upstream saw is a row, once, and at its price.

A short version runs with all tests; RAYGATE_CHAOS=full kills in 20 rounds every kind of process on both data paths.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runtime.models import NANOUSD
from tests.chaos.meter import Meter
from tests.chaos.money import (
    HEAD,
    Account,
    Crowd,
    abandoned_journals,
    admin,
    held_against,
    limit_of,
    made_key,
    metered,
    rows_of,
)
from tests.chaos.size import FULL
from tests.chaos.victims import (
    another,
    bare_environment,
    haproxy_pid,
    ledger_pid,
    manager_pid,
    provider_pid,
    replica_pid,
    replicas_follow,
)
from tests.e2e.conftest import Live, until

UNTIL_KILLED, AFTER_S = 60, 1.5
"""So many requests were answered when the victim dies; so long there is load afterwards."""
BACK_S = 45.0
"""Everything is back, and every row is there, within so long."""
AMPLE_USD, TIGHT_USD = 5.0, 0.05


@dataclass(frozen=True, kw_only=True)
class Victim:
    pid: Callable[[Live], int]
    back: Callable[[Live, int], bool]


def _alpha_pid(live: Live) -> int:
    return provider_pid(live, "alpha-meter")


VICTIMS = {
    "replica": Victim(pid=replica_pid, back=replicas_follow),
    "provider actor": Victim(pid=_alpha_pid, back=another(_alpha_pid)),
    "manager": Victim(pid=manager_pid, back=another(manager_pid)),
    "ledger": Victim(pid=ledger_pid, back=another(ledger_pid)),
    "HAProxy": Victim(pid=haproxy_pid, back=another(haproxy_pid)),
}
ORDER = ("replica", "ledger", "provider actor", "manager", "HAProxy", "notebook")
ROUNDS = (
    [
        *((name, path) for path in ("edge", "actor") for name in ORDER),
        ("replica", "edge"),
        ("ledger", "edge"),
        ("provider actor", "actor"),
        ("manager", "actor"),
        ("replica", "edge"),
        ("ledger", "actor"),
        ("notebook", "edge"),
        ("replica", "actor"),
    ]
    if FULL
    else [("replica", "edge"), ("ledger", "edge")]
)
ACCOUNTS: list[Account] = []


@pytest.fixture(autouse=True, scope="module")
def as_it_was(live: Live) -> Iterator[None]:
    yield
    live.switch()
    if ACCOUNTS:
        print("\n" + "\n".join([HEAD, *map(str, ACCOUNTS)]))


@pytest.mark.parametrize(("number", "victim", "path"), [(number, *one) for number, one in enumerate(ROUNDS)], ids=str)
async def test_every_attempt_is_a_row_once_whoever_is_killed(
    live: Live, meters: dict[str, Meter], number: int, victim: str, path: str
) -> None:
    route = f"round{number}"
    limit_usd = TIGHT_USD if number % 4 == 3 else AMPLE_USD
    await metered(live, meters, [route], seed=number * 10, data_path=path)
    text, key = await made_key(live, limit_usd)
    crowd = Crowd(live, route, text, seed=number)
    async with notebook(live, route, wanted=victim == "notebook") as process:
        running = asyncio.create_task(crowd.run())
        await asyncio.to_thread(until, lambda: sum(crowd.answers.values()) >= UNTIL_KILLED, "they are answered")
        begun = time.monotonic()
        if process is not None:
            process.kill()
            await process.wait()
        else:
            pid = await asyncio.to_thread(VICTIMS[victim].pid, live)
            begun = time.monotonic()
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(AFTER_S)
        if process is None:
            back = VICTIMS[victim].back
            await asyncio.to_thread(until, lambda: back(live, pid), f"{victim} is back", within_s=BACK_S)
        back_s = time.monotonic() - begun
        crowd.stopped = True
        await running
    account, rows = await _settled(live, f"{number} {victim}, {path}", meters, crowd, key)
    took_s = time.monotonic() - begun
    ACCOUNTS.append(account)
    print(f"\n{account}\n{crowd.asked} asked {dict(crowd.answers)}; back {back_s:.1f} s, all rows {took_s:.1f} s")
    print(crowd.said)
    assert account.exact >= 10, "this has tested nothing"
    assert not account.wrong, "\n".join(account.wrong[:20])
    spent = sum(row["cost_nanousd"] for row in rows if row["key"] == key)
    assert spent <= limit_usd * NANOUSD
    limit = await limit_of(live, key)
    assert (limit["used"], limit["lost"]) == (spent, 0)
    assert limit["used"] + limit["lent"] <= limit["amount"]


async def _settled(live: Live, name: str, meters: Any, crowd: Crowd, key: str) -> tuple[Account, list[dict[str, Any]]]:
    """Wait until nothing is open any more and the journals of the dead are gone; then what it came to."""
    until_s = time.monotonic() + BACK_S
    why: object = ""
    while True:
        try:
            state = await admin(live, "ledger")
            rows = await rows_of(live, route=crowd.route)
            account = held_against(name, rows, meters, crowd.route, crowd.whole)
            used = (await limit_of(live, key))["used"]
            spent = sum(row["cost_nanousd"] or 0 for row in rows if row["key"] == key)
            left = abandoned_journals(live)
            why = (left, state["under_way"], used - spent, account.wrong[:3])
            if not left and not state["under_way"] and used == spent and not account.wrong:
                return account, rows
        except (OSError, AssertionError) as error:  # it is not back yet
            why = error
        if time.monotonic() > until_s:
            raise AssertionError(f"not settled within {BACK_S} s: {why}; {dict(crowd.answers)}")
        await asyncio.sleep(0.25)


@asynccontextmanager
async def notebook(live: Live, route: str, *, wanted: bool) -> AsyncIterator[asyncio.subprocess.Process | None]:
    """A notebook's process that asks without pause."""
    if not wanted:
        yield None
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos.money_notebook", route, "8"),
        env={**bare_environment(), "RAYGATE_STATE_DIR": str(live.folder)},
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert (await process.stdout.readline()).decode() == "under way\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
