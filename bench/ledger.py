"""How many settlements per second does the ledger write down?

Rows with every column, hourly sums by all dimensions and tags, running totals, the check that an attempt is new: all in
one transaction for each batch, as the LedgerActor appends them. 100 keys in 10 teams ask 5 models, 720 rows a second of
their own time. SQLite with WAL, durable against the death of processes (normal) and of the machine (full); Postgres
where RAYGATE_TEST_POSTGRES names one (make bench-ledger starts one where it is installed).
The table goes to stderr, JSON to stdout. Run: python -m bench.ledger
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import random
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from runtime.ledger.rows import Account, Flag, Intent, Row, Settlement
from runtime.ledger.store.base import Appended, Store, StoreFailure
from runtime.ledger.store.postgres import PostgresStore
from runtime.ledger.store.sqlite import SqliteStore
from runtime.outcome import Cost, Usage

ROWS = 200_000
BATCHES = (200, 1_000, 5_000, 10_000)
GOAL = 50_000
START_MS = 1_700_006_400_000
TAGS = (("prod", "chat"), ("batch",), ())
MODELS = (
    ("openai", "gpt-5"),
    ("openai", "gpt-5-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-3-pro"),
    ("deepseek", "deepseek-chat"),
)

Figures = dict[str, str | int | float]


def settlements(count: int, seed: int = 7) -> list[Row]:
    rng = random.Random(seed)
    accounts = [
        Account(key=f"key_{n:012x}", team=f"team{n % 10}", org=f"org{n % 2}", tags=TAGS[n % 3]) for n in range(100)
    ]
    return [_settlement(n, rng, rng.choice(accounts)) for n in range(count)]


def _settlement(n: int, rng: random.Random, account: Account) -> Row:
    provider, model = rng.choice(MODELS)
    came, went = rng.randrange(1_000_000), rng.randrange(1_000_000)
    attempt, at_ms = f"edge-7f3a9c21:{n}", START_MS + n * 1000 // 720
    return Row(
        intent=Intent(
            attempt=attempt,
            at_ms=at_ms,
            request_id=f"req_{rng.getrandbits(96):024x}",
            account=account,
            route="fast",
            provider=provider,
            model=model,
            hold_nanousd=5_000_000,
            lease=f"7:{n % 40}",
            flags=rng.choice((Flag(0), Flag.STREAMED, Flag.RETRIED)),
        ),
        settlement=Settlement(
            attempt=attempt,
            at_ms=at_ms + 900,
            outcome="ok",
            usage=Usage(
                input_tokens=rng.randrange(4_000),
                output_tokens=rng.randrange(800),
                cached_input_tokens=rng.randrange(900),
            ),
            cost=Cost(input_nanousd=came, output_nanousd=went, total_nanousd=came + went),
            latency_ms=rng.random() * 3_000,
            ttft_ms=rng.random() * 800,
        ),
    )


async def measure(store: Store, rows: Sequence[Row], batch: int) -> Figures:
    await store.acquire_epoch("bench", at_ms=0)
    took, cpu = [], time.process_time()
    for begin in range(0, len(rows), batch):
        begun = time.perf_counter()
        answer = await store.append(rows[begin : begin + batch])
        took.append(time.perf_counter() - begun)
        if not isinstance(answer, Appended) or len(answer.changes) != batch:
            raise SystemExit(f"not all rows were new: {answer}")
    cpu = time.process_time() - cpu
    size = await store.size()
    if isinstance(size, StoreFailure):
        raise SystemExit(str(size))
    return {
        "batch": batch,
        "rows_per_s": round(len(rows) / sum(took)),
        "median_rows_per_s": round(batch / statistics.median(took)),
        "best_rows_per_s": round(batch / min(took)),
        # Of this process: where others use the machine too, it says more than the rest.
        "cpu_us_per_row": round(cpu * 1e6 / len(rows), 1),
        "bytes_per_row": size // len(rows),
    }


async def sqlite(rows: Sequence[Row], batch: int, *, synchronous: Literal["normal", "full"]) -> Figures:
    # On a disk: /tmp may lie in memory.
    with tempfile.TemporaryDirectory(dir=os.environ.get("RAYGATE_BENCH_DIR", str(Path.cwd()))) as folder:
        store = await SqliteStore.open(Path(folder) / "ledger.db", synchronous=synchronous)
        if isinstance(store, StoreFailure):
            raise SystemExit(str(store))
        figures = await measure(store, rows, batch)
        await store.close()
        return figures


async def postgres(rows: Sequence[Row], batch: int, *, dsn: str) -> Figures:
    import asyncpg

    schema = f"bench_{uuid.uuid4().hex[:12]}"
    store = await PostgresStore.open(dsn, schema=schema)
    if isinstance(store, StoreFailure):
        raise SystemExit(str(store))
    figures = await measure(store, rows, batch)
    await store.close()
    db = await asyncpg.connect(dsn)
    await db.execute(f"drop schema {schema} cascade")
    await db.close()
    return figures


def main() -> None:
    rows = settlements(ROWS)
    # A ledger never holds so many: the collector would walk through all of them, again and again.
    gc.freeze()
    dsn = os.environ.get("RAYGATE_TEST_POSTGRES", "")
    found: list[Figures] = []
    columns = ("batch", "rows_per_s", "median_rows_per_s", "best_rows_per_s", "cpu_us_per_row", "bytes_per_row")
    print(f"{'store':<15}" + "".join(f"{name:>19}" for name in columns), file=sys.stderr)
    modes: tuple[Literal["normal", "full"], ...] = ("normal", "full")
    runs = [(f"sqlite {mode}", partial(sqlite, rows, synchronous=mode)) for mode in modes]
    if dsn:
        runs.append(("postgres", partial(postgres, rows, dsn=dsn)))
    for name, run in runs:
        for batch in BATCHES:
            figures = asyncio.run(run(batch))
            found.append({"store": name, **figures})
            print(f"{name:<15}" + "".join(f"{figures[column]:>19,}" for column in columns), file=sys.stderr)
    if not dsn:
        print("no Postgres: RAYGATE_TEST_POSTGRES names none", file=sys.stderr)
    best = max(int(figures["rows_per_s"]) for figures in found if figures["store"] == "sqlite normal")
    print(f"SQLite in batches: {best:,} settlements/s, goal {GOAL:,}", file=sys.stderr)
    machine = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "cores": os.cpu_count()}
    load = [round(each, 2) for each in os.getloadavg()]
    print(json.dumps({"rows": ROWS, "goal_per_s": GOAL, "machine": machine, "load": load, "figures": found}, indent=2))


if __name__ == "__main__":
    main()
