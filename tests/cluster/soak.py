"""A mixed load for a long time: does anything grow that should not?

    python -m tests.cluster.soak --seconds 1800        (make soak SECONDS=1800)

A Raygate of its own (Ray, HAProxy, two replicas) over meters that answer, fail, break off and dawdle; callers of plain
and streamed answers who give up now and then, of Anthropic's API, of remembered answers, of the learner, who judge;
admins who make keys and revoke them, ask for sums and scrape metrics; a notebook; new settings every half minute.

Every five seconds memory, open files, sockets and threads of each kind of process are noted, and which actors there
are. The first third is left out: caches fill, allocators settle. What follows is judged by the slope of the least
squares: over that time nothing may rise by more than `ALLOWED` says. Prints a table and ends with 1 where something
does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import ray

from actors import supervisor
from runtime.request import Json
from tests.chaos.meter import FATES, Meter
from tests.chaos.money import Crowd, made_key, metered_settings, running_meters
from tests.chaos.victims import processes
from tests.e2e.conftest import Live, running

EVERY_S = 5.0
SETTINGS_S = 30.0
STEADY = {**FATES, "well": 12}
"""Of the usual fates so many fail that by chance half of all calls do for ten seconds: then the breakers of all meters
are open, and half a minute passes without load."""
ROUTES = ("soak", "kept", "learn")
THINGS = ("the sea", "a cat", "old trees", "the moon", "rain", "winter", "a boat", "bread")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """By how much a measure may rise over the time that is judged: by this share of its median, or by so much."""

    share: float
    least: float


ALLOWED = {
    "MB": Allowed(share=0.05, least=10.0),
    "files": Allowed(share=0.05, least=8.0),
    "sockets": Allowed(share=0.05, least=8.0),
    "threads": Allowed(share=0.05, least=4.0),
    "processes": Allowed(share=0.0, least=0.5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One measure of one kind of process: `rise` is the slope times the time that was judged."""

    kind: str
    measure: str
    median: float
    rise: float
    allowed: float

    @property
    def holds(self) -> bool:
        return self.rise <= self.allowed


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line through these with the least squares; 0.0 where they lie at one time."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def judge(kind: str, measure: str, points: Sequence[tuple[float, float]]) -> Verdict:
    """Points are (seconds, value), by time; those of the first third are left out."""
    begun, ended = points[0][0], points[-1][0]
    later = [one for one in points if one[0] >= begun + (ended - begun) / 3]
    values = sorted(value for _, value in later)
    median, allowed = values[len(values) // 2], ALLOWED[measure]
    rise = slope(later) * (later[-1][0] - later[0][0])
    return Verdict(
        kind=kind,
        measure=measure,
        median=median,
        rise=rise,
        allowed=max(allowed.least, allowed.share * median),
    )


def look(live: Live) -> dict[tuple[str, str], float]:
    """Each measure, summed over the processes of a kind."""
    found: dict[tuple[str, str], float] = defaultdict(float)
    for kind, process in processes(live):
        with contextlib.suppress(psutil.Error):
            with process.oneshot():
                said = {
                    "MB": process.memory_info().rss / 2**20,
                    "files": float(process.num_fds()),
                    "threads": float(process.num_threads()),
                    "sockets": float(len(process.net_connections("all"))),
                    "processes": 1.0,
                }
            for measure, value in said.items():
                found[kind, measure] += value
    return found


@dataclass
class Callers:
    """Everybody but the crowd. Whatever goes wrong for them is counted, and they go on."""

    live: Live
    key: str
    done: dict[str, int]
    failed: dict[str, int]
    stopped: bool = False

    async def run(self, crowd: Crowd) -> None:
        headers = {"authorization": f"Bearer {self.key}"}
        limits = httpx.Limits(max_connections=40)
        async with httpx.AsyncClient(
            base_url=self.live.url, headers=headers, timeout=30, limits=limits, trust_env=False
        ) as client:
            others = [
                self._forever("anthropic", lambda n: self._anthropic(client, n), every_s=0.1),
                self._forever("cached", lambda n: self._cached(client, n), every_s=0.1),
                self._forever("learned", lambda n: self._learned(client, n), every_s=0.2),
                self._forever("admin", lambda n: self._admin(client, n), every_s=2.0),
                self._forever("notebook", self._notebook, every_s=0.5),
                self._forever("settings", self._settings, every_s=SETTINGS_S),
            ]
            await asyncio.gather(crowd.run(), *others)

    async def _forever(self, name: str, act: Callable[[int], Awaitable[None]], *, every_s: float) -> None:
        number = 0
        while not self.stopped:
            number += 1
            try:
                await act(number)
                self.done[name] += 1
            except (httpx.HTTPError, AssertionError, ray.exceptions.RayError):
                self.failed[name] += 1
            for _ in range(max(1, round(every_s / 0.5))):
                await asyncio.sleep(min(every_s, 0.5))
                if self.stopped:
                    return

    async def _post(self, client: httpx.AsyncClient, path: str, body: Json, **headers: str) -> httpx.Response:
        reply = await client.post(path, json=body, headers=headers)
        # An upstream that fails whoever asks is part of it; what is wrong with us is not.
        assert reply.status_code < 500 or "meter" in reply.text, reply.text[:300]
        return reply

    async def _anthropic(self, client: httpx.AsyncClient, number: int) -> None:
        said = [{"role": "user", "content": f"anthropic-{number} tell me a word"}]
        await self._post(client, "/v1/messages", {"model": "soak", "messages": said, "max_tokens": 40})

    async def _cached(self, client: httpx.AsyncClient, number: int) -> None:
        said: Json = [{"role": "user", "content": f"kept-{number % 200} tell me of {THINGS[number % len(THINGS)]}"}]
        await self._post(client, "/v1/chat/completions", {"model": "kept", "messages": said, "temperature": 0})

    async def _learned(self, client: httpx.AsyncClient, number: int) -> None:
        said: Json = [{"role": "user", "content": f"learn-{number} a poem of {THINGS[number % len(THINGS)]}"}]
        reply = await self._post(client, "/v1/chat/completions", {"model": "learn", "messages": said})
        if reply.status_code == 200:
            judged = {"request_id": reply.headers["x-request-id"], "score": (number % 10) / 10}
            await self._post(client, "/v1/feedback", judged)

    async def _admin(self, client: httpx.AsyncClient, number: int) -> None:
        admin = self.live.headers
        made = await client.post("/admin/keys", json={"name": f"soak {number}"}, headers=admin)
        assert made.status_code == 200, made.text
        (await client.delete(f"/admin/keys/{made.json()['id']}", headers=admin)).raise_for_status()
        for path in ("/admin/spend?by=model&last=1d", "/admin/budgets", "/metrics", "/v1/models"):
            (await client.get(path, headers=admin)).raise_for_status()

    async def _notebook(self, number: int) -> None:
        asked = {"model": "soak", "messages": [{"role": "user", "content": f"notebook-{number} hello"}]}
        await asyncio.wrap_future(self.live.manager.complete.remote(asked).future())

    async def _settings(self, number: int) -> None:
        await asyncio.to_thread(self.live.switch, **_settings(self._meters, number))

    _meters: dict[str, Meter] = None  # type: ignore[assignment]  # set before it runs


def _settings(meters: dict[str, Meter], number: int) -> dict[str, Json]:
    found = metered_settings(meters, ROUTES)
    # Before anything is judged the memory is to be full, and the last map of topics drawn (at 64 times the warm-up):
    # until then they grow as they should.
    found["learning"] = {"keep": 1_000, "warm_up": 10}
    found["routes"]["learn"]["strategy"] = "learned"
    found["routes"]["kept"]["cache"] = {"enabled": True, "ttl_s": 60}
    # So that there is something to follow.
    found["default_model"] = ROUTES[number % 2]
    return found


async def soak(live: Live, meters: dict[str, Meter], seconds: float) -> int:
    for meter in meters.values():
        meter.fates = STEADY
    await asyncio.to_thread(live.switch, **_settings(meters, 0))
    key, _ = await made_key(live, 10_000.0)
    crowd = Crowd(live, "soak", key, callers=8, most=10**9)
    callers = Callers(live, key, defaultdict(int), defaultdict(int))
    callers._meters = meters
    points: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    actors: list[frozenset[str]] = []
    begun = time.monotonic()
    load = asyncio.create_task(callers.run(crowd))
    while (at_s := time.monotonic() - begun) < seconds and not load.done():
        await asyncio.sleep(EVERY_S)
        for at, value in (await asyncio.to_thread(look, live)).items():
            points[at].append((at_s, value))
        actors.append(frozenset(await asyncio.to_thread(supervisor.existing)))
        # A list of all that was ever asked would be what grows here.
        del crowd.whole[:]
        for meter in meters.values():
            del meter.served[:-1_000]
    crowd.stopped = callers.stopped = True
    await load
    print(f"{seconds:.0f} s; the crowd asked {crowd.asked}: {dict(crowd.answers)}")
    for error, text in crowd.said.items():
        print(f"  the first {error}: {text}")
    print(f"others: {dict(callers.done)}; failed: {dict(callers.failed)}")
    return told(points, actors)


def told(points: dict[tuple[str, str], list[tuple[float, float]]], actors: Sequence[frozenset[str]]) -> int:
    most = max(len(one) for one in points.values())
    # What was there for a part of the time alone is no process that grows.
    verdicts = [judge(kind, measure, one) for (kind, measure), one in sorted(points.items()) if len(one) > most * 0.8]
    print(f"{'process':28} {'measure':10} {'median':>9} {'rise':>8} {'allowed':>8}")
    for one in verdicts:
        mark = "" if one.holds else f"   <-- grows: {_course(points[one.kind, one.measure])}"
        print(f"{one.kind:28} {one.measure:10} {one.median:9.1f} {one.rise:8.1f} {one.allowed:8.1f}{mark}")
    settled = actors[len(actors) // 3 :]
    new = settled[-1] - settled[0]
    print(f"actors: {len(settled[0])} … {len(settled[-1])}{f', new: {sorted(new)}' if new else ''}")
    return int(bool(new) or not all(one.holds for one in verdicts))


def _course(points: Sequence[tuple[float, float]]) -> str:
    """Ten of these, from the first to the last."""
    return " ".join(f"{points[(len(points) - 1) * at // 9][1]:.0f}" for at in range(10))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1_800.0)
    seconds = parser.parse_args().seconds
    with (
        tempfile.TemporaryDirectory(prefix="rgs", dir="/tmp") as folder,
        running_meters() as meters,
        running(Path(folder)) as live,
    ):
        failed = asyncio.run(soak(live, meters, seconds))
    sys.exit(failed)


if __name__ == "__main__":
    main()
