"""A Raygate that runs chooses as the simulation does, and says why; bench/balance/live.py measures it for longer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bench.balance.live import LIVE, PATHS, document, simulated, traffic
from tests.e2e.conftest import REPLICAS, Live, settings, until

SECONDS = 30.0
"""Runs of 9 s differ by more than the bounds below once in 25 by chance alone, of 30 s once in 400 (simulated)."""
WARM_S = 3.0
BUSY = replace(LIVE, rate=16.0)
SLOW = (2, 3)
"""The servers that take several times as long as the other two."""


@pytest.fixture(autouse=True, scope="module")
def as_it_was(live: Live) -> Iterator[None]:
    yield
    live.switch()


def switch(live: Live, *, strategy: str, path: str) -> None:
    said = document(BUSY, strategy=strategy, path=path)
    said.pop("local")
    # Those that are there already stay: an actor that ends has to be started again.
    said["providers"] |= settings().to_document()["providers"]
    live.switch(**said)
    for name in said["providers"]:
        live.control(live.provider(name), "whereabouts")


@pytest.mark.parametrize("path", PATHS)
async def test_the_gateway_chooses_as_the_simulation_does(live: Live, path: str) -> None:
    await asyncio.to_thread(switch, live, strategy="latency", path=path)
    taken = await traffic(live.url, live.headers, rate=BUSY.rate, seconds=SECONDS)
    assert not taken.failed, taken.failed[:3]
    found = taken.since(WARM_S)
    expected = simulated(BUSY, strategy="latency", path=path, replicas=REPLICAS, seconds=SECONDS).since(WARM_S)
    shares, foreseen = found.shares(len(BUSY.servers)), expected.shares(len(BUSY.servers))
    print(f"\n{path}: {len(found.took)} requests; mean {found.mean:.2f} s, foreseen {expected.mean:.2f} s; shares")
    print(", ".join(f"{one:.0%} (foreseen {other:.0%})" for one, other in zip(shares, foreseen, strict=True)))
    assert sum(shares[at] for at in SLOW) < 0.12
    assert all(abs(one - other) < 0.25 for one, other in zip(shares, foreseen, strict=True))
    assert found.mean < 1.6 * expected.mean


@pytest.mark.parametrize("path", PATHS)
def test_round_robin_is_even_over_all_replicas(live: Live, path: str) -> None:
    live.switch(data_path=path)
    with live.client() as client:
        replies = [client.post("/v1/chat/completions", json={**_body(), "model": "pair"}) for _ in range(40)]
    asked = Counter(reply.headers["x-raygate-provider"] for reply in replies)
    # Whoever begins where in the round: none is ahead of the other by more than a turn of each replica.
    assert abs(asked["alpha"] - asked["beta"]) <= REPLICAS, asked


@pytest.mark.parametrize("path", PATHS)
def test_a_choice_is_explained_over_http_and_by_the_manager(live: Live, path: str) -> None:
    live.switch(data_path=path, routes={"pair": {"targets": ["alpha/say", "beta/say"], "residency": ["eu"]}})
    with live.client() as client:
        told = client.post("/v1/route/explain", json={**_body(), "model": "pair"})
        nobody = client.post("/v1/chat/completions", json={**_body(), "model": "pair"})
    assert told.status_code == 200
    assert [one["why"] for one in told.json()["dropped"]] == ["residency", "residency"]
    assert nobody.status_code == 400
    assert "not tagged eu" in nobody.json()["error"]["message"]
    live.switch(data_path=path, strategy="latency")
    with live.client() as client:
        for _ in range(4):
            client.post("/v1/chat/completions", json={**_body(), "model": "pair"})

    def by_manager() -> Any:
        return live.control(live.manager, "explain", {**_body(), "model": "pair"})

    until(lambda: all(one["terms"]["base_s"] < 5.0 for one in by_manager()["candidates"]), "what edges saw is known")
    said = by_manager()
    assert said["strategy"] == "latency"
    assert {one["provider"] for one in said["candidates"]} == {"alpha", "beta"}
    assert {"expected_s", "load", "penalty"} <= said["candidates"][0]["terms"].keys()


def _body(*, stream: bool = False) -> dict[str, Any]:
    return {"model": "any", "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
