"""`kill -9`, while streams run: what the killed process carried breaks, and says so; the rest goes on; all comes back.

                    carries the streams of, with data_path
    victim          edge                    actor
    manager         nobody                  everybody
    provider actor  nobody                  its provider
    replica         its clients             its clients
    HAProxy         everybody               everybody
    ledger          nobody                  nobody
    RuVector        nobody                  nobody
    local model     itself                  itself
    notebook        itself                  itself

A short version runs with all tests; RAYGATE_CHAOS=full runs every victim on both data paths, with 64 streams.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import ray

from actors.launch.head import free_port
from actors.launch.processes import listeners
from tests.chaos.size import FULL, sized
from tests.chaos.streams import Patient, Streams
from tests.chaos.victims import (
    all_are_asked,
    another,
    bare_environment,
    haproxy_pid,
    ledger_pid,
    local_model_pid,
    manager_pid,
    processes,
    provider_pid,
    replica_pid,
    replicas_follow,
    ruvector_pid,
)
from tests.e2e.conftest import Live, settings, until

STREAMS = sized(16, 64)
BREAKER = {"open_s": 0.5, "open_max_s": 0.5, "probe_ttl_s": 1.0, "ramp_s": 0.0}
"""What breaks with one victim is over before the next."""
STOPPED_S = 5.0
"""Upstream calls of a process that was killed stop within so long."""
BACK_S = 30.0
"""Everything else is back within so long, on a machine that is busy; HAProxy within 5 s."""
LEFT_S = 130.0
"""Where Serve started another HAProxy at the same moment as its keeper did, the older one goes after 120 s."""
MORE_MEMORY = 64 * 1024 * 1024
NEAR, FAR = "near", "far"
"""Two providers with one upstream behind them: streams of the one must not suffer with the other."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What is known when the victim dies: the streams that run, as the upstream knows them."""

    path: str
    pid: int
    streams: frozenset[str]
    ports: dict[str, int]
    """The port from which the upstream is asked for each."""

    def of(self, *providers: str) -> set[str]:
        return {name for name in self.streams if name.startswith(providers)}


@dataclass(frozen=True, kw_only=True)
class Victim:
    """Whom to kill, which streams it carries (None: some, and it cannot be seen which), and when it is back."""

    name: str
    pid: Callable[[Live], int]
    carries: Callable[[Moment], set[str] | None]
    back: Callable[[Live, int], bool]
    back_s: float = BACK_S
    asks: str = f"{NEAR}/quick"
    extra: tuple[tuple[str, str], ...] = ()
    """Streams besides, and what they ask for."""


def _near_pid(live: Live) -> int:
    return provider_pid(live, NEAR)


def _of_replica(moment: Moment) -> set[str] | None:
    if moment.path == "actor":
        return None
    ours = {one.laddr.port for one in psutil.Process(moment.pid).net_connections(kind="tcp")}
    return {name for name in moment.streams if moment.ports[name] in ours}


VICTIMS = (
    Victim(
        name="manager",
        pid=manager_pid,
        carries=lambda at: set(at.streams) if at.path == "actor" else set(),
        back=another(manager_pid),
    ),
    Victim(
        name="provider actor",
        pid=_near_pid,
        carries=lambda at: at.of(NEAR) if at.path == "actor" else set(),
        back=another(_near_pid),
    ),
    Victim(name="ledger", pid=ledger_pid, carries=lambda at: set(), back=another(ledger_pid)),
    Victim(name="RuVector", pid=ruvector_pid, carries=lambda at: set(), back=another(ruvector_pid)),
    Victim(name="replica", pid=replica_pid, carries=_of_replica, back=replicas_follow),
    Victim(
        name="HAProxy", pid=haproxy_pid, carries=lambda at: set(at.streams), back=another(haproxy_pid), back_s=STOPPED_S
    ),
    Victim(
        name="local model",
        pid=local_model_pid,
        carries=lambda at: at.of("local"),
        back=another(local_model_pid),
        asks="local/smollm2-135m",
        extra=(("local-0", "local/smollm2-135m"), ("local-1", "local/smollm2-135m")),
    ),
)

SHORT = {
    "manager": "actor",
    "provider actor": "actor",
    "ledger": "edge",
    "RuVector": "edge",
    "replica": "edge",
    "HAProxy": "edge",
    "local model": "edge",
    "notebook": "edge",
}
PATHS = ("edge", "actor")


def _paths(name: str) -> tuple[str, ...]:
    return PATHS if FULL else (SHORT[name],)


@pytest.fixture(autouse=True, scope="module")
def as_it_was(live: Live) -> Iterator[None]:
    yield
    live.switch()


UPSTREAM_PORT = free_port()
"""The same for all tests: an actor that was killed may not have heard yet of settings that name another one."""


@asynccontextmanager
async def patient_upstream(live: Live, path: str) -> AsyncIterator[Patient]:
    """An upstream behind two providers, and nothing that a test before this one left."""
    async with Patient(UPSTREAM_PORT) as patient:
        upstream = {"kind": "custom", "base_url": patient.upstream.url}
        providers = {**settings().to_document()["providers"], NEAR: upstream, FAR: upstream}
        timeouts = {"first_byte_s": 30.0, "between_s": 60.0, "total_s": 120.0}
        await asyncio.to_thread(live.switch, data_path=path, providers=providers, timeouts=timeouts, breaker=BREAKER)
        for name in providers:
            await asyncio.to_thread(live.control, live.provider(name), "whereabouts")
        for name in (NEAR, FAR):
            await asyncio.to_thread(until, lambda: _answers(live, f"{name}/quick"), "requests are answered")  # noqa: B023
        # The owner of what is learned is made when somebody first goes by it.
        await asyncio.to_thread(ruvector_pid, live)
        await asyncio.to_thread(until, lambda: _answers(live, f"{NEAR}/quick") and all_are_asked(live), "all are asked")
        await asyncio.to_thread(until, lambda: _proxies(live) == 1, "no HAProxy is left from a change of replicas")
        yield patient


CASES = [pytest.param(victim, path, id=f"{victim.name}-{path}") for victim in VICTIMS for path in _paths(victim.name)]


@pytest.mark.parametrize(("victim", "path"), CASES)
async def test_only_what_a_killed_process_carried_breaks_and_all_comes_back(
    live: Live, victim: Victim, path: str
) -> None:
    async with patient_upstream(live, path) as patient:
        before = await asyncio.to_thread(Census.of, live)
        async with Streams(live, _models(victim), max_tokens=400) as streams:
            await streams.all_begun()
            pid = await asyncio.to_thread(victim.pid, live)
            moment = Moment(path=path, pid=pid, streams=frozenset(streams.all), ports=dict(patient.ports))
            carried = await asyncio.to_thread(victim.carries, moment)
            os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            back = asyncio.create_task(asyncio.to_thread(_await_back, live, victim, pid))
            broken = await _until_broken(streams, carried)
            stopped_s = await _until_stopped(patient, broken, killed)
            back_s = await back
            patient.finish()
            await streams.over(set(streams.all), within_s=30)
        dishonest = {name: one for name, one in streams.all.items() if not one.honest}
        assert not dishonest, "a stream must either be whole or say that it is not"
        assert streams.broken.keys() == broken
        for name in streams.all.keys() - broken - moment.of("local"):
            assert streams.all[name].words == [f"w{index} " for index in range(patient.sent[name])], name
        how = Counter(one.error or "cut" for one in streams.broken.values())
        print(
            f"\n{victim.name}, {path}: {len(broken)} of {len(streams.all)} streams broke {dict(how)}, "
            f"their upstream calls stopped after {stopped_s:.1f} s, all was back after {back_s:.1f} s"
        )
    await asyncio.to_thread(before.await_again, live)


@pytest.mark.parametrize("path", _paths("notebook"))
async def test_the_upstream_calls_of_a_killed_notebook_stop_and_no_others(live: Live, path: str) -> None:
    async with patient_upstream(live, path) as patient:
        before = await asyncio.to_thread(Census.of, live)
        async with _notebook(live) as (notebook, theirs):
            async with Streams(live, _models(None)) as streams:
                await streams.all_begun()
                await asyncio.to_thread(until, lambda: theirs <= patient.active, "its calls are under way")
                notebook.kill()
                stopped_s = await _until_stopped(patient, theirs, time.monotonic())
                patient.finish()
                await streams.over(set(streams.all), within_s=30)
            assert not streams.broken
            assert all(one.honest for one in streams.all.values())
        print(f"\nnotebook, {path}: its {len(theirs)} upstream calls stopped after {stopped_s:.1f} s")
    await asyncio.to_thread(before.await_again, live)


def _models(victim: Victim | None) -> dict[str, str]:
    extra = dict(victim.extra if victim else ())
    each = range((STREAMS - len(extra)) // 2)
    return {**{f"{name}-{index}": f"{name}/{name}-{index}" for name in (NEAR, FAR) for index in each}, **extra}


@asynccontextmanager
async def _notebook(live: Live) -> AsyncIterator[tuple[asyncio.subprocess.Process, set[str]]]:
    """A notebook's process with calls under way, and what the upstream knows these by."""
    count = 12
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos.notebook", FAR, str(count)),
        env={**bare_environment(), "RAYGATE_STATE_DIR": str(live.folder)},
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert (await process.stdout.readline()).decode() == "under way\n"
        yield process, {f"{('plain', 'stream', 'quiet')[index % 3]}-notebook-{index}" for index in range(count)}
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _until_broken(streams: Streams, carried: set[str] | None) -> set[str]:
    """The streams that broke: those that the victim carried, or, where that is not known, some but not all."""
    if carried is None:
        names = set(streams.all)
        async with asyncio.timeout(STOPPED_S):
            await asyncio.wait([asyncio.create_task(streams.all[name].over.wait()) for name in names], timeout=2.0)
        broken = set(streams.broken)
        assert broken
        assert broken < names
        return broken
    await streams.over(carried, within_s=STOPPED_S)
    assert streams.broken.keys() == carried
    return carried


async def _until_stopped(patient: Patient, names: set[str], killed: float) -> float:
    """Wait until the upstream is rid of these; the seconds since the kill until then."""
    await asyncio.to_thread(until, lambda: not names & patient.active, "upstream calls stop", within_s=STOPPED_S)
    return max((patient.left_at[name] - killed for name in names & patient.left_at.keys()), default=0.0)


def _await_back(live: Live, victim: Victim, old: int) -> float:
    """Wait until the victim is back and what needs it is answered; the seconds that it took."""
    return until(
        lambda: _answers(live, victim.asks) and victim.back(live, old), f"{victim.name} is back", within_s=victim.back_s
    )


def _answers(live: Live, model: str) -> bool:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    try:
        with live.client() as client:
            return client.post("/v1/chat/completions", json=body).status_code == 200
    except httpx.TransportError:
        return False


def _proxies(live: Live) -> int:
    return [name for name, _ in processes(live)].count("haproxy")


@dataclass(frozen=True)
class Census:
    """What there is of everything that might leak."""

    processes: Counter[str]
    ports: Counter[str]
    actors: Counter[str]
    memory: dict[int, int]
    """Bytes that each replica holds."""

    @classmethod
    def of(cls, live: Live) -> Census:
        found = processes(live)
        memory = {}
        for name, process in found:
            if name.startswith("ray::ServeReplica"):
                with suppress(psutil.Error):
                    memory[process.pid] = process.memory_info().rss
        names = [one["name"].rpartition("#")[0] or one["name"] for one in ray.util.list_named_actors(True)]
        return cls(
            processes=Counter(name for name, _ in found),
            # HAProxies hand their sockets on: for a while two may be bound to one port.
            ports=Counter(
                name
                for name, _ in {
                    (one.process.partition(".")[0], one.port) for one in listeners(each for _, each in found)
                }
            ),
            actors=Counter(names),
            memory=memory,
        )

    def await_again(self, live: Live) -> None:
        """Wait until it is so again."""
        differs: list[str] = []

        def same() -> bool:
            now = Census.of(live)
            differs[:] = [
                f"{what}: {dict(new - old)} too many, {dict(old - new)} too few"
                for what, old, new in (
                    ("processes", self.processes, now.processes),
                    ("ports", self.ports, now.ports),
                    ("actors", self.actors, now.actors),
                )
                if old != new
            ]
            grown = {pid: now.memory[pid] - held for pid, held in self.memory.items() if pid in now.memory}
            if max(grown.values(), default=0) > MORE_MEMORY:
                differs.append(f"replicas hold more memory: {grown}")
            return not differs

        try:
            until(same, "nothing is left over", within_s=LEFT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}: {differs}") from None
