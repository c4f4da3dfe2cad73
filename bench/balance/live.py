"""Does a Raygate that runs choose as the simulation says? python -m bench.balance.live [--seconds 30] [--replicas 4]

The same scenario twice: on the virtual clock, and over `scripted` providers through HTTP and real replicas, whose
answers take times drawn by the same law. Each replica plays a provider's script by itself, so these servers have no
line before them, as large hosts have none. A step is a change of the settings under traffic.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from actors.names import MANAGER, NAMESPACE, provider_actor
from bench.balance.policies import POLICIES
from bench.balance.scenarios import HOSTED, SLOWED
from bench.balance.simulate import simulate
from bench.balance.world import MEAN_TOKENS, Scenario, Server
from runtime.settings import Settings

STEPS = 128
"""How many answers a script has before it begins again."""

REPORT_S = 0.25
PATHS = ("edge", "actor")
MODEL = "answers"

LIVE = Scenario(name="hosted, live", servers=HOSTED, rate=12.0, stale_s=REPORT_S, since_s=6.0)


@dataclass
class Taken:
    """One run's requests: when each began, in seconds from the start, what it took, and who answered."""

    began: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    server: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def since(self, since_s: float, until_s: float = math.inf) -> Taken:
        kept = [at for at, began in enumerate(self.began) if since_s <= began < until_s]
        return Taken([self.began[at] for at in kept], [self.took[at] for at in kept], [self.server[at] for at in kept])

    @property
    def mean(self) -> float:
        return float(np.mean(self.took))

    @property
    def p99(self) -> float:
        return float(np.quantile(self.took, 0.99))

    def shares(self, servers: int) -> list[float]:
        counted = Counter(self.server)
        return [counted[server] / max(1, len(self.server)) for server in range(servers)]


def steps(server: Server, rng: random.Random, *, slower: float = 1.0) -> list[dict[str, Any]]:
    """A script whose answers take what this server's would, by the law of `world.draw`."""
    found = []
    for _ in range(STEPS):
        tokens = max(1, round(rng.lognormvariate(-0.5, 1.0) * MEAN_TOKENS))
        luck = rng.lognormvariate(-(server.luck**2) / 2, server.luck) * slower
        found.append(
            {
                "chunks": ["one ", "two"],
                "usage": {"input_tokens": 10, "output_tokens": tokens},
                "first_chunk_delay_s": round(server.ttft_s * luck, 4),
                # Between the chunks, and before the end mark.
                "chunk_delay_s": round(tokens * server.per_token_s * luck / 2, 4),
            }
        )
    return found


def document(
    scenario: Scenario,
    *,
    strategy: str,
    path: str,
    slower: Mapping[int, float] | None = None,
    seed: int = 1,
    run: str = "",
) -> dict[str, Any]:
    """The settings of a scenario; `slower` makes some of its servers slower by so many times.

    Of the servers of another `run` nothing is known yet.
    """
    rng = random.Random(seed)
    providers = {
        f"{run}server{at}": {
            "kind": "scripted",
            "models": [MODEL],
            "script": {"steps": steps(one, rng, slower=(slower or {}).get(at, 1.0)), "loop": True},
        }
        for at, one in enumerate(scenario.servers)
    }
    return {
        "data_path": path,
        "strategy": strategy,
        "providers": providers,
        "routes": {"any": [f"{name}/{MODEL}" for name in providers]},
        "feed": {"report_every_s": REPORT_S},
        "local": {"enabled": False},
        "retry": {"max_attempts": 1},
        # The longest answers of the slowest server have pauses of 14 s, and are as good as any.
        "timeouts": {"first_byte_s": 60.0, "between_s": 60.0, "total_s": 120.0},
    }


async def traffic(
    url: str,
    headers: Mapping[str, str],
    *,
    rate: float,
    seconds: float,
    seed: int = 1,
    at: tuple[float, Callable[[], Awaitable[None]]] | None = None,
) -> Taken:
    """Streams, at random moments, for so long; `at` is something to do meanwhile, and when."""
    rng, taken = random.Random(seed), Taken()
    asked: list[asyncio.Task[None]] = []
    begun = time.monotonic()

    async def ask() -> None:
        body = {"model": "any", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
        began = time.monotonic()
        async with session.post(f"{url}/v1/chat/completions", json=body) as reply:
            said = await reply.text()
        provider = reply.headers.get("x-raygate-provider", "")
        if reply.status != 200 or "[DONE]" not in said or not provider:
            # An answer that begins after the first keep-alive comment cannot say any more whose it is.
            taken.failed.append(f"{reply.status} {said[-200:]}")
            return
        taken.began.append(began - begun)
        taken.took.append(time.monotonic() - began)
        taken.server.append(int(provider.partition("server")[2]))

    async def meanwhile() -> None:
        if at is not None:
            await asyncio.sleep(max(0.0, begun + at[0] - time.monotonic()))
            await at[1]()

    connections = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, connector=connections) as session:
        doing, due = asyncio.create_task(meanwhile()), begun
        while (due := due + rng.expovariate(rate)) < begun + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            asked.append(asyncio.create_task(ask()))
        await asyncio.gather(doing, *asked)
    return taken


def simulated(scenario: Scenario, *, strategy: str, path: str, replicas: int, seconds: float, seeds: int = 8) -> Taken:
    """The same on the virtual clock: through the actors one process chooses, the manager."""
    edges = replicas if path == "edge" else 1
    one = replace(scenario, edges=edges, seconds=seconds)
    taken = Taken()
    for seed in range(1, seeds + 1):
        result = simulate(one, POLICIES[strategy](), seed)
        taken.began += map(float, result.began)
        taken.took += map(float, result.took)
        # Nobody fails here: each request is one call, in the order in which they began.
        taken.server += [server for _, server in result.calls]
    return taken


def main() -> None:
    from serve.launch import down, hand_over, up

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--path", choices=PATHS, action="append", help="one data path alone")
    said = parser.parse_args()
    slowed = 0
    step_s = said.seconds / 2
    folder = Path(tempfile.mkdtemp(prefix="raygate-bench-"))

    def settings(**how: Any) -> Settings:
        return Settings.model_validate({"port": 0, "replicas": said.replicas, **document(LIVE, **how)})

    env = {**os.environ}
    print(f"{said.replicas} replicas, {LIVE.rate:g} requests a second, {said.seconds:g} s; live / simulated\n")
    print("| scenario | path | mean, s | p99, s | shares of the servers |\n| --- | --- | --- | --- | --- |")
    try:
        first = settings(strategy="latency", path="edge")
        started = up(folder, env, first, say=lambda _: None, sleep=time.sleep)
        headers = {"authorization": f"Bearer {started.key_file.read_text()}"}

        import ray

        manager = ray.get_actor(MANAGER, namespace=NAMESPACE)

        def switch(**how: Any) -> None:
            now = settings(**how)
            hand_over(manager, now)
            for name in now.providers:
                ray.get(ray.get_actor(provider_actor(name), namespace=NAMESPACE).whereabouts.remote())
            time.sleep(3.0)

        for path in said.path or PATHS:
            for strategy in ("latency", "round_robin"):
                switch(strategy=strategy, path=path, run=f"{path}-{strategy}-")
                live = asyncio.run(traffic(started.url, headers, rate=LIVE.rate, seconds=said.seconds))
                _row(f"hosted, {strategy}", path, live, _same(LIVE, strategy, path, said))
            switch(strategy="latency", path=path, run=f"{path}-step-")

            async def slow(path: str = path) -> None:
                how = {"strategy": "latency", "path": path, "slower": {slowed: SLOWED}}
                await asyncio.to_thread(hand_over, manager, settings(**how, run=f"{path}-step-"))

            live = asyncio.run(traffic(started.url, headers, rate=LIVE.rate, seconds=said.seconds, at=(step_s, slow)))
            servers = list(LIVE.servers)
            servers[slowed] = replace(servers[slowed], slowdown=lambda at: SLOWED if at >= step_s else 1.0)
            stepped = replace(LIVE, servers=tuple(servers))
            since_s = step_s + 2.0
            _row("hosted, first one slows down; 2 s later", path, live, _same(stepped, "latency", path, said), since_s)
    finally:
        with suppress(Exception):
            down(folder, say=lambda _: None)


def _same(scenario: Scenario, strategy: str, path: str, said: argparse.Namespace) -> Taken:
    return simulated(scenario, strategy=strategy, path=path, replicas=said.replicas, seconds=said.seconds)


def _row(name: str, path: str, live: Taken, virtual: Taken, since_s: float = LIVE.since_s) -> None:
    one, other = live.since(since_s), virtual.since(since_s)
    pairs = zip(one.shares(len(LIVE.servers)), other.shares(len(LIVE.servers)), strict=True)
    shares = ", ".join(f"{a:.0%} / {b:.0%}" for a, b in pairs)
    failed = f" ({len(live.failed)} failed: {live.failed[0]})" if live.failed else ""
    print(
        f"| {name} | {path} | {one.mean:.2f} / {other.mean:.2f} | {one.p99:.2f} / {other.p99:.2f} | {shares} |{failed}",
        flush=True,
    )


if __name__ == "__main__":
    main()
