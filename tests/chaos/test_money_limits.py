"""Many callers of one key over four replicas: its budget is never passed, and its rates by no more than is lent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from ray import serve as ray_serve

from runtime.ledger.leases import LeasePolicy
from runtime.models import NANOUSD
from serve.deploy import deployment
from serve.launch import APPLICATION
from tests.chaos.meter import Meter
from tests.chaos.money import Crowd, admin, limit_of, made_key, metered, rows_of
from tests.chaos.size import FULL, sized
from tests.e2e.conftest import REPLICAS, Live, until

EDGES = 4
WELL = {"well": 1}
CALLERS, REQUESTS = sized(250, 1_000), sized(800, 3_000)
BUDGET_USD = 0.3
LONG = 1_400
"""Tokens of a question; what is held for one is 50 % more."""
GOOD_SHARE = 0.6
PER_MINUTE = 120
RUN_S = 8.0 if FULL else 4.0


@pytest.fixture(autouse=True, scope="module")
def four_replicas(live: Live) -> Iterator[None]:
    _scale(live, EDGES)
    yield
    live.switch()
    _scale(live, REPLICAS)


def _scale(live: Live, count: int) -> None:
    ray_serve.run(deployment(replicas=count), name=APPLICATION, route_prefix="/")

    def there() -> bool:
        edges = [name for name in live.following() if name.startswith("edge@")]
        return len(edges) == len(live.replicas()) == count

    until(there, f"there are {count} replicas", within_s=60)


async def test_many_at_once_never_pass_a_small_budget(live: Live, meters: dict[str, Meter]) -> None:
    await metered(live, meters, ["budget"], fates=WELL, least_tokens=LONG, hedge=None)
    text, key = await made_key(live, BUDGET_USD)
    crowd = Crowd(live, "budget", text, callers=CALLERS, most=REQUESTS, patient=True)
    await crowd.run()
    until_s = time.monotonic() + 30
    while True:
        rows = await rows_of(live, key=key)
        spent = sum(row["cost_nanousd"] for row in rows)
        limit = await limit_of(live, key)
        if limit["used"] == spent and len(rows) == sum(len(meter.served) for meter in meters.values()):
            break
        assert time.monotonic() < until_s, (limit, spent, len(rows))
        await asyncio.sleep(0.2)
    share = spent / (BUDGET_USD * NANOUSD)
    print(f"\n{len(rows)} attempts of {crowd.asked} requests, {share:.1%} of the budget; {dict(crowd.answers)}")
    assert GOOD_SHARE <= share <= 1.0
    assert limit["used"] + limit["lent"] <= limit["amount"]
    assert not [row for row in rows if row["cost_nanousd"] > row["hold_nanousd"]]
    assert not [error for error in crowd.said if error.startswith("5")], crowd.said


async def test_a_rate_holds_within_what_is_lent(live: Live, meters: dict[str, Meter]) -> None:
    await metered(live, meters, ["rate"], fates=WELL, hedge=None)
    text, _ = await made_key(live, rate={"requests_per_min": PER_MINUTE})
    crowd = Crowd(live, "rate", text, callers=40, most=1_000_000, patient=True)
    begun = time.monotonic()
    running = asyncio.create_task(crowd.run())
    await asyncio.sleep(RUN_S)
    crowd.stopped = True
    await running
    took_s = time.monotonic() - begun
    served = sum(len(meter.served) for meter in meters.values())
    exactly = PER_MINUTE * (1 + took_s / 60)
    most = exactly + PER_MINUTE * LeasePolicy().rate_lifetime_s / 60
    print(f"\n{served} of {crowd.asked} let in over {took_s:.1f} s; {exactly:.0f} by one meter, {most:.0f} at most")
    assert 0.9 * PER_MINUTE <= served <= most
    assert {error.split()[0] for error in crowd.said} == {"429"}
    assert (await admin(live, "ledger"))["keys"]
