"""Whatever upstreams, callers and hedges do: every attempt that an upstream saw is a row, once, and at its price."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from actors.books import ProcessBooks
from runtime.assemble import Workshop, policy_of
from runtime.catalog import Catalog
from runtime.entrance import Senses
from runtime.gateway import Gateway
from runtime.ledger.rows import Account, Batch, Billing, Flag, Row
from runtime.outcome import HEDGED
from runtime.request import Request, Sampling, ask
from runtime.settings import Settings
from tests.chaos.meter import Meter
from tests.chaos.size import FULL

REQUESTS = 600 if FULL else 120
SEEDS = range(5) if FULL else range(2)
PRICE = {"input": "1", "output": "2"}


def settings_of(meters: dict[str, Meter]) -> Settings:
    kinds = {"alpha": ("custom", "/v1"), "beta": ("custom", "/v1"), "gamma": ("anthropic", "/v1")}
    return Settings.model_validate(
        {
            "providers": {
                name: {
                    "kind": kinds[name][0],
                    "base_url": meter.url + kinds[name][1],
                    "api_key": "sk-meter-test",
                    "price": PRICE,
                }
                for name, meter in meters.items()
            },
            "routes": {"smart": {"targets": [f"{name}/m" for name in meters]}},
            "hedge": {"after_s": 0.05, "max_share": 0.5},
            "retry": {"base_s": 0.01, "cap_s": 0.02, "budget_ratio": 1.0},
            "breaker": {"failures": 1000},
            "local": {"enabled": False},
        }
    )


async def one_request(gateway: Gateway, number: int, rng: random.Random) -> None:
    request = replace(
        ask(f"req-{number} tell me a word or two", model="smart"),
        request_id=f"req-{number}",
        sampling=Sampling(max_tokens=400),
        billing=Billing(account=Account(key=f"k_{number % 7}")),
    )
    patience_s = rng.choice([None, None, 0.02, 0.06, 0.1])
    try:
        async with asyncio.timeout(patience_s):
            if rng.random() < 0.5:
                await gateway.complete(request)
            else:
                await _read(gateway, request, rng.choice([None, None, 2, 4]))
    except TimeoutError:
        pass  # the caller went away


async def _read(gateway: Gateway, request: Request, events: int | None) -> None:
    seen = 0
    async with aclosing(gateway.stream(request)) as stream:
        async for _ in stream:
            seen += 1
            if seen == events:
                return


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_attempt_that_an_upstream_saw_is_a_row_once(tmp_path: Path, seed: int) -> None:
    rows: list[Row] = []

    async def ship(batch: Batch) -> None:
        rows.extend(batch.rows)

    rng = random.Random(seed)
    senses = Senses(clock=time.monotonic, wall=time.time)
    books = ProcessBooks(tmp_path, ship, collects=False, senses=senses)
    async with Meter(seed=seed) as alpha, Meter(seed=seed + 100) as beta, Meter(seed=seed + 200) as gamma:
        meters = {"alpha": alpha, "beta": beta, "gamma": gamma}
        settings = settings_of(meters)
        workshop = Workshop(senses=senses, rng=rng, sleep=asyncio.sleep, env={}, books=books)
        catalog = Catalog(settings)
        upstreams = {name: workshop.provider(name, settings, catalog=catalog) for name in meters}
        gateway = Gateway(policy_of(settings, upstreams, catalog), clock=time.monotonic, rng=rng, books=books)
        books.start()
        room = asyncio.Semaphore(20)

        async def limited(number: int) -> None:
            async with room:
                await one_request(gateway, number, rng)

        await asyncio.gather(*(limited(number) for number in range(REQUESTS)))
        await gateway.close()
        await books.stop()
    assert os.listdir(tmp_path) == [], "the ledger has acknowledged everything"

    for name, meter in meters.items():
        ours = [row for row in rows if row.intent.provider == name]
        # Exactly once: as many rows of a request as its upstream saw attempts of it. What was cancelled before a byte
        # had left is a row that no upstream saw.
        saw = Counter(one.request for one in meter.served)
        noted = Counter(row.intent.request_id for row in ours)
        unseen = noted - saw
        missing = [one for one in meter.served if one.request in saw - noted]
        assert not missing, f"seed {seed}: {name} saw attempts that are no rows: {missing}"
        early = Counter(row.intent.request_id for row in ours if Flag.CANCELLED in row.flags)
        assert not unseen - early, f"seed {seed}: rows that {name} never saw"
        told = {(one.request, one.input_tokens, one.output_tokens) for one in meter.served if one.reported}
        for row in ours:
            settlement, hold = row.settlement, row.intent.hold_nanousd
            assert row.intent.route == "smart"
            assert hold is not None
            assert row.cost_nanousd is not None
            assert row.cost_nanousd <= hold
            used = (row.intent.request_id, settlement.usage.input_tokens, settlement.usage.output_tokens)
            if Flag.ESTIMATED in row.flags:
                assert row.cost_nanousd > 0
            elif settlement.usage.total_tokens:
                assert used in told, f"seed {seed}: {used} is not what {name} reported"
                told.remove(used)
                assert row.cost_nanousd == used[1] * 1_000 + used[2] * 2_000
            else:
                assert row.cost_nanousd == 0
                assert settlement.outcome in ("unavailable", "overloaded")
        errors = sum(one.fate in ("error", "busy") for one in meter.served)
        assert sum(row.cost_nanousd == 0 for row in ours) <= errors
    flags = Counter(flag for row in rows for flag in row.flags)
    for flag in (Flag.STREAMED, Flag.RETRIED, Flag.HEDGED, Flag.CANCELLED, Flag.PARTIAL, Flag.ESTIMATED):
        assert flags[flag], f"seed {seed}: nothing was ever {flag.name}"
    assert any(row.settlement.outcome == HEDGED for row in rows)
