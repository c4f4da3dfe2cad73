"""An upstream that takes every request and answers none, with 32 connections on it.

Once its breaker is open, at most one probe an interval reaches it from all replicas together; while its actor, who
grants the probes, is dead, at most one from each replica. Who asks for something else notices nothing.

A short version runs with all tests; RAYGATE_CHAOS=full takes 4 replicas and looks on for longer.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from math import ceil
from typing import Any

import aiohttp
import ray
from ray import serve as ray_serve

from serve.deploy import deployment
from serve.launch import APPLICATION
from tests.chaos.size import FULL
from tests.chaos.streams import Patient
from tests.e2e.conftest import REPLICAS, Live, settings, until
from tests.fakes.upstream import Exchange, Upstream

CONNECTIONS = 32
OTHERS = 4
WATCHED_S = 5.0
OPEN_S = 2.0
EARLIEST = 0.75
"""Intervals are jittered; none is shorter than this share."""
FIRST_BYTE_S = 1.0


class Dead:
    """Takes requests and says nothing. `asked_at` is monotonic."""

    def __init__(self) -> None:
        self.asked_at: list[float] = []

    async def __call__(self, exchange: Exchange) -> None:
        self.asked_at.append(time.monotonic())
        await exchange.gone.wait()

    def since(self, moment: float) -> list[float]:
        """When it was asked after that moment, in seconds from it."""
        return [at - moment for at in self.asked_at if at > moment]


class Callers:
    """A context: so many keep asking for one model. `took_s` is how long each answer of 200 took."""

    def __init__(self, live: Live, model: str, *, count: int, pause_s: float) -> None:
        self._body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        self._live, self._count, self._pause_s = live, count, pause_s
        self.took_s: list[tuple[float, float]] = []
        self.statuses: set[int] = set()

    async def __aenter__(self) -> Callers:
        self._session = aiohttp.ClientSession(
            self._live.url, headers=self._live.headers, connector=aiohttp.TCPConnector(limit=0)
        )
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    def p99_s(self, begin: float, end: float) -> float:
        ours = sorted(took for at, took in self.took_s if begin <= at < end)
        assert len(ours) > 50, "too few to say"
        return ours[ceil(len(ours) * 0.99) - 1]

    async def _ask(self) -> None:
        while True:
            begun = time.monotonic()
            async with self._session.post("/v1/chat/completions", json=self._body) as reply:
                await reply.read()
            self.statuses.add(reply.status)
            self.took_s.append((begun, time.monotonic() - begun))
            await asyncio.sleep(self._pause_s)


async def test_a_dead_upstream_is_probed_by_one_and_harms_nobody(live: Live) -> None:
    dead = Dead()
    async with _replicas(live) as replicas, Patient() as patient, Upstream() as upstream:
        upstream.on("/chat/completions", dead)
        await asyncio.to_thread(_switch, live, dead=upstream.url, alive=patient.upstream.url)
        try:
            async with Callers(live, "alive/quick", count=OTHERS, pause_s=0.02) as others:
                await asyncio.sleep(1.5)
                begun = time.monotonic()
                async with Callers(live, "dead/m", count=CONNECTIONS, pause_s=0.2) as callers:
                    await asyncio.to_thread(until, lambda: _is_open(live), "the breaker opens")
                    opened = time.monotonic()
                    await asyncio.sleep(1.0 + WATCHED_S)
                    probes = dead.since(opened + 1.0)
                    killed = time.monotonic()
                    await _keep_killing(live)
                    lonely = dead.since(killed)
            # Without the last part: making an actor anew again and again takes what a small machine has.
            before_s, during_s = others.p99_s(0.0, begun), others.p99_s(begun, killed)
            assert 200 not in callers.statuses
        finally:
            await asyncio.to_thread(live.switch)
    intervals = WATCHED_S / (EARLIEST * OPEN_S)
    print(
        f"\n{len(dead.asked_at)} requests reached it until its breaker opened after {opened - begun:.1f} s and beyond; "
        f"then {len(probes)} probes in {WATCHED_S:.0f} s from {replicas} replicas, {len(lonely)} with its actor dead; "
        f"p99 of the others {before_s * 1e3:.0f} ms before, {during_s * 1e3:.0f} ms meanwhile"
    )
    assert len(probes) <= intervals + 1
    assert all(later - sooner > EARLIEST * OPEN_S for sooner, later in pairwise(probes)), probes
    assert len(lonely) <= replicas * (intervals + 1)
    assert others.statuses == {200}
    assert during_s < max(3 * before_s, before_s + 0.25)


def _switch(live: Live, *, dead: str, alive: str) -> None:
    providers = {
        **settings().to_document()["providers"],
        "dead": {"kind": "custom", "base_url": dead},
        "alive": {"kind": "custom", "base_url": alive},
    }
    live.switch(
        providers=providers,
        timeouts={"first_byte_s": FIRST_BYTE_S, "between_s": 5.0, "total_s": 60.0},
        breaker={"open_s": OPEN_S, "probe_ttl_s": 5.0},
    )
    for name in ("dead", "alive"):  # what edges report before its authority is there counts for their own breaker only
        live.control(live.provider(name), "whereabouts")


def _is_open(live: Live) -> bool:
    return next(one.breaker == "open" for one in live.overview()["providers"] if one.provider == "dead")


async def _keep_killing(live: Live) -> None:
    """Kill the dead upstream's actor, and again as soon as Ray has made it anew."""
    until_s = time.monotonic() + WATCHED_S
    while time.monotonic() < until_s:
        with suppress(ray.exceptions.RayError, ValueError, ProcessLookupError):
            pid = await asyncio.to_thread(_pid, live)
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.1)


def _pid(live: Live) -> int:
    said: Any = ray.get(live.provider("dead").whereabouts.remote(), timeout=1.0)
    return int(said[1])


@asynccontextmanager
async def _replicas(live: Live) -> AsyncIterator[int]:
    """With so many replicas as this version of the test wants; afterwards there are as many as before."""
    if not FULL:
        yield REPLICAS
        return
    await asyncio.to_thread(_deploy, live, 2 * REPLICAS)
    try:
        yield 2 * REPLICAS
    finally:
        await asyncio.to_thread(_deploy, live, REPLICAS)


def _deploy(live: Live, count: int) -> None:
    ray_serve.run(deployment(replicas=count), name=APPLICATION, route_prefix="/")
    until(lambda: sum(name.startswith("edge@") for name in live.following()) == count, f"there are {count} replicas")
