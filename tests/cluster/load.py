"""A load on the gateways of several hosts at once, which remembers each request's fate; and the meters behind it.

Nothing is asked twice: what went wrong for a caller counts, also where an SDK would have tried again.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.chaos.meter import Meter, Served
from tests.chaos.money import INPUT_NANOUSD, MOST_TOKENS, OUTPUT_NANOUSD, Account, Whole, held_against, price
from tests.cluster.hosts import Host
from tests.cluster.world import Cluster

METERS = ("alpha-meter", "beta-meter")
WELL = {"well": 6, "slow": 1}
"""What the meters do: nobody but the cluster is to blame for what fails."""
INTERRUPTED = "ended in an explicit error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request. `at_s` is monotonic; `fault` is empty where it was answered whole, `status` 0 where nobody spoke."""

    at_s: float
    took_s: float
    host: str
    who: str
    request: str
    status: int
    fault: str


@dataclass
class Load:
    """Callers of some hosts' gateways, with some keys, in a thread of its own: a context, inside which they ask.

    `keys` by the name of who asks. Each caller asks, waits for `pause_s`, and asks again; half of them stream. Requests
    are called ROUTE-…, and no two are called alike. `balanced`: a load balancer stands before the hosts, which asks
    each of them every second how it is, as any does, and sends nobody to one that says no.
    """

    hosts: Sequence[Host]
    keys: Mapping[str, str]
    route: str
    callers: int = 2
    pause_s: float = 0.05
    within_s: float = 30.0
    balanced: bool = False
    asked: list[Asked] = field(default_factory=list)
    whole: list[Whole] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._number = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """Nobody asks any more, and all who did have their answers."""
        self._stop.set()
        self._thread.join(60)

    def of(self, who: str, *hosts: Host) -> list[Asked]:
        """What these callers asked, at these hosts or at all."""
        names = {one.name for one in hosts}
        return [one for one in list(self.asked) if one.who == who and (not names or one.host in names)]

    def answered(self, who: str, *hosts: Host) -> int:
        return sum(not one.fault for one in self.of(who, *hosts))

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self.within_s)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            self._well = set() if self.balanced else {host.name for host in self.hosts}
            looking = [asyncio.create_task(self._look(session, host)) for host in self.hosts if self.balanced]
            while not self._well and not self._stop.is_set():  # noqa: ASYNC110  # a thread sets the one
                await asyncio.sleep(0.1)
            callers = [
                self._caller(session, host, who, key, streams=bool(number % 2))
                for host in self.hosts
                for who, key in self.keys.items()
                for number in range(self.callers)
            ]
            await asyncio.gather(*callers)
            for one in looking:
                one.cancel()

    async def _look(self, session: aiohttp.ClientSession, host: Host) -> None:
        while True:
            try:
                async with asyncio.timeout(2), session.get(f"{host.url}/-/healthz") as reply:
                    well = reply.status == 200
            except (aiohttp.ClientError, ConnectionError, TimeoutError):
                well = False
            (self._well.add if well else self._well.discard)(host.name)
            await asyncio.sleep(1)

    async def _caller(self, session: aiohttp.ClientSession, host: Host, who: str, key: str, *, streams: bool) -> None:
        rng = random.Random(f"{host.name} {who} {streams}")
        while not self._stop.is_set():
            self._number += 1
            name, at_s, status, fault = f"{self.route}-{self._number}", time.monotonic(), 0, ""
            if host.name not in self._well:
                host = next((one for one in self.hosts if one.name in self._well), host)
            try:
                status, fault = await self._ask(session, host, key, name, streams=streams)
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                fault = repr(error)
            took_s = time.monotonic() - at_s
            told = Asked(at_s=at_s, took_s=took_s, host=host.name, who=who, request=name, status=status, fault=fault)
            self.asked.append(told)
            await asyncio.sleep(self.pause_s * rng.uniform(0.5, 1.5) + (0.2 if fault else 0.0))

    async def _ask(
        self, session: aiohttp.ClientSession, host: Host, key: str, name: str, *, streams: bool
    ) -> tuple[int, str]:
        body = {
            "model": self.route,
            "messages": [{"role": "user", "content": f"{name} tell me a word or two"}],
            "max_tokens": MOST_TOKENS,
            **({"stream": True, "stream_options": {"include_usage": True}} if streams else {}),
        }
        headers = {"authorization": f"Bearer {key}", "x-request-id": name}
        async with session.post(f"{host.url}/v1/chat/completions", json=body, headers=headers) as reply:
            text = await reply.text()
        if reply.status != 200:
            return reply.status, text[:300] or "no word"
        if streams and not text.endswith("data: [DONE]\n\n"):
            return 200, INTERRUPTED if '"error"' in text.rstrip().rpartition("data: ")[2] else f"cut: {text[-200:]}"
        told = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")] if streams else []
        usage = next(one["usage"] for one in told if one.get("usage")) if streams else json.loads(text)["usage"]
        self.whole.append(Whole(name, usage["prompt_tokens"], usage["completion_tokens"]))
        return 200, ""


def share(asked: Sequence[Asked]) -> float:
    """Of these, so many were answered whole."""
    return sum(not one.fault for one in asked) / max(1, len(asked))


def told(asked: Sequence[Asked], since_s: float) -> str:
    """What went wrong, for whoever reads the test's output; seconds are counted from `since_s`."""
    failed = [one for one in asked if one.fault]
    first = [
        f"{one.at_s - since_s:+.2f} s {one.request} {one.host} {one.took_s:.1f} s {one.status} {one.fault}"
        for one in failed[:4]
    ]
    return f"{len(asked)} asked, {len(failed)} failed {dict(Counter(one.status for one in failed))} {first}"


# The meters.


def meters_at(address: str) -> dict[str, Meter]:
    return {name: Meter(host=address, fates=WELL, seed=at) for at, name in enumerate(METERS)}


def providers(meters: Mapping[str, Meter]) -> dict[str, Any]:
    return {
        name: {
            "kind": "custom",
            "base_url": f"{meter.url}/v1",
            "api_key": "sk-meter-test",
            "price": {"input": INPUT_NANOUSD / 1_000, "output": OUTPUT_NANOUSD / 1_000},
        }
        for name, meter in meters.items()
    }


def routes(meters: Mapping[str, Meter], *names: str) -> dict[str, Any]:
    return {name: {"targets": [f"{meter}/{name}" for meter in meters]} for name in names}


# The ledger's rows.


def made_key(cluster: Cluster, name: str, limit_usd: float | None = None) -> tuple[str, str]:
    """A new key and its id."""
    budgets = [] if limit_usd is None else [{"period": "total", "limit_usd": limit_usd}]
    made = cluster.admin("keys", {"name": name, "budgets": budgets})
    return made["key"], made["id"]


def rows_of(cluster: Cluster, route: str, *, at: Host | None = None) -> list[dict[str, Any]]:
    """All rows of this route, in the words of `held_against`."""
    with cluster.client(at, timeout=60) as client:
        reply = client.get("/admin/export", params={"format": "jsonl", "last": "24h", "route": route})
    assert reply.status_code == 200, reply.text[:300]
    return [json.loads(line) for line in reply.text.splitlines()]


def account_of(
    cluster: Cluster, name: str, route: str, meters: Mapping[str, Meter], load: Load, *, at: Host | None = None
) -> Account:
    return held_against(name, rows_of(cluster, route, at=at), meters, route, load.whole)


def metered(meters: Mapping[str, Meter], requests: set[str]) -> int:
    """What the meters charge for these requests, in nano-dollars."""
    every: list[Served] = [one for meter in meters.values() for one in meter.served]
    return sum(price(one) for one in every if one.request in requests)
