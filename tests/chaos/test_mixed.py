"""Faults of every kind at random, many requests at once: what one healthy candidate is worth."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.chaos.cells import Told, ask, rig
from tests.chaos.faults import EVERY, Drip, Fault, Large, Refuse, Status, Wait, after_content
from tests.chaos.size import sized
from tests.chaos.upstream import ChaosUpstream
from tests.chaos.wires import WIRES

REQUESTS = sized(200, 1_000)
AT_ONCE = 24
ANY: list[Fault] = [
    fault
    for fault in EVERY.values()
    if not isinstance(fault, Refuse | Large)
    and not (isinstance(fault, Status) and (fault.status == 429 or fault.wait is not Wait.NONE))
]
# A drip shows content before its time is over, where the machine is busy.
BEFORE_CONTENT = [fault for fault in ANY if not after_content(fault) and not isinstance(fault, Drip)]


@pytest.fixture
def rng() -> random.Random:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


async def test_with_one_healthy_candidate_all_but_one_in_a_thousand_are_answered(rng: random.Random) -> None:
    told = await _many(BEFORE_CONTENT, rng)
    failed = [one for one in told if not one.looks_complete]
    assert len(failed) <= len(told) / 1_000, Counter(map(str, failed))
    assert all(_honest(one) for one in told)


async def test_whatever_breaks_nothing_truncated_looks_complete(rng: random.Random) -> None:
    told = await _many(ANY, rng)
    assert all(_honest(one) for one in told)
    # Who was shown nothing got an answer all the same.
    unserved = [one for one in told if not one.looks_complete and not one.started]
    assert len(unserved) <= len(told) / 1_000, Counter(map(str, unserved))


def _honest(one: Told) -> bool:
    whole = WIRES["openai"].text
    return not one.looks_complete or one.shown in ("", whole)


async def _many(faults: Sequence[Fault], rng: random.Random) -> list[Told]:
    """Two candidates that are ill at every other request, and a healthy one behind them."""
    first, second, healthy = rng.sample(sorted(WIRES), k=3)
    print(f"{first}, {second}, {healthy}")
    ill = {"first": ChaosUpstream(wire=WIRES[first]), "second": ChaosUpstream(wire=WIRES[second])}
    async with ill["first"], ill["second"], ChaosUpstream(wire=WIRES[healthy]) as good:
        for upstream in ill.values():
            upstream.schedule.extend(rng.choice([None, rng.choice(faults)]) for _ in range(4 * REQUESTS))
        names = {**{name: (one.wire.name, one.base_url) for name, one in ill.items()}, "good": (healthy, good.base_url)}
        # A wait now and then: it keeps the ill one, and so its faults, away. So would a breaker that opens.
        for upstream in ill.values():
            for at in range(100, len(upstream.schedule), 100):
                upstream.schedule[at] = Status(429, Wait.MILLIS)
        async with rig(names, quick=ill, brief=ill, rng=rng, breaker={"failures": 1_000_000}) as made:
            turns = asyncio.Semaphore(AT_ONCE)

            async def one(streamed: bool) -> Told:
                async with turns:
                    return await ask(made.gateway, streamed=streamed)

            begun = time.monotonic()
            told = await asyncio.gather(*(one(rng.random() < 0.6) for _ in range(REQUESTS)))
            struck = sum(call.fault is not None for upstream in ill.values() for call in upstream.calls)
            print(
                f"{len(told)} requests in {time.monotonic() - begun:.1f} s, {struck} faults, "
                f"{sum(one.looks_complete for one in told)} answered"
            )
            assert struck > REQUESTS / 8
            assert all(provider.standing.load.in_flight == 0 for provider in made.providers.values())
            return told
