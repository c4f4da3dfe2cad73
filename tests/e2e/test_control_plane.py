"""Actors own the truth, replicas carry the bytes: neither is decoration, and the first may die."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import ray

from actors.leaving import HEARD_S
from runtime.feed import EdgeReport, Observed
from tests.chaos.streams import Patient, Streams
from tests.chaos.victims import processes
from tests.e2e.conftest import SCRIPTED, Live, settings, until
from tests.e2e.load import INTERRUPTED, Load

PROVIDERS = ("alpha", "beta", "local")


@pytest.fixture(autouse=True)
def as_it_was(live: Live) -> Iterator[None]:
    yield
    for name in ("alpha", "beta"):
        live.control(live.provider(name), "reopen")
    live.switch()
    # For a while after a manager's start edges do not believe it that what they know to be shut is not.
    with live.client() as client:
        for name in ("alpha", "beta"):
            until(lambda: all(_answers(client, name) for _ in range(8)), f"{name} is open everywhere")  # noqa: B023


def _answers(client: httpx.Client, provider: str) -> bool:
    return client.post("/v1/chat/completions", json=_body(f"{provider}/say")).status_code == 200


def test_no_actor_call_per_request_and_none_per_token(live: Live) -> None:
    with live.client() as client:
        for _ in range(4):
            client.post("/v1/chat/completions", json=_body("alpha/say"))
        before = _actor_calls(live)
        for _ in range(200):
            assert client.post("/v1/chat/completions", json=_body("pair")).status_code == 200
        for _ in range(20):
            reply = client.post("/v1/chat/completions", json=_body("pair", stream=True))
            assert reply.text.endswith("[DONE]\n\n")
        after = _actor_calls(live)
    calls = {name: after[name] - before[name] for name in after}
    served = {name: count for name, count in calls.items() if name != "feed"}
    assert not any(served.values()), served
    # The feed: a poll and a report a second for each edge, whatever the traffic. 220 requests are no reason.
    assert calls["feed"] < 110, calls


def test_breaker_opened_by_its_authority_reaches_every_replica(live: Live) -> None:
    with Load(live, "pair", callers=4) as load:
        until(lambda: {answer.provider for answer in load.answers} >= {"alpha", "beta"}, "both are asked")
        live.control(live.provider("alpha"), "trip", 60.0)
        tripped = time.monotonic()
        until(lambda: sum(answer.begun > tripped + 1.0 for answer in load.answers) > 50, "traffic goes on")
    late = [answer.begun - tripped for answer in load.answers if answer.provider == "alpha" and answer.begun > tripped]
    print(f"\nthe last request to the opened provider began {max(late, default=0.0) * 1e3:.0f} ms after the opening")
    assert max(late, default=0.0) < 1.0
    assert not load.faults


def test_latency_in_the_managers_view_changes_the_choices(live: Live) -> None:
    live.switch(strategy="latency")
    for slow, fast in (("alpha", "beta"), ("beta", "alpha")):
        with Load(live, "pair", callers=4, streams=False) as load:
            _report_latency(live, {slow: 30.0, fast: 0.001})
            changed = time.monotonic() + 0.2
            until(lambda: sum(one.begun > changed for one in load.answers) > 200, "traffic goes on")  # noqa: B023
        after = [one for one in load.answers if one.begun > changed]
        # One in twenty is sent elsewhere to look how the others are.
        share = sum(one.provider == slow for one in after) / len(after)
        print(f"\nshare of the slow provider from 0.2 s after the report on: {share:.1%} of {len(after)}")
        assert share < 0.15
        assert not load.faults


@pytest.mark.parametrize("path", ["edge", "actor"])
def test_manager_may_be_killed_under_load(live: Live, path: str) -> None:
    live.switch(data_path=path)
    before = live.overview()
    with Load(live, "pair") as load:
        until(lambda: len(load.answers) > 20, "traffic runs")
        os.kill(before["pid"], signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: _is_back(live, before["pid"]), "the manager is back by itself")
        until(lambda: sum(one.begun > killed + 1.0 for one in load.answers) > 20, "traffic goes on")
    _none_failed(load, path)
    after = live.overview()
    assert after["incarnation"] > before["incarnation"]
    assert after["settings"] == before["settings"]


@pytest.mark.parametrize("path", ["edge", "actor"])
def test_provider_actor_may_be_killed_under_load(live: Live, path: str) -> None:
    live.switch(data_path=path)
    alpha = live.provider("alpha")
    pid = ray.get(alpha.whereabouts.remote())[1]
    with Load(live, "pair") as load:
        until(lambda: len(load.answers) > 20, "traffic runs")
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        until(
            lambda: ray.get(live.provider("alpha").whereabouts.options(max_task_retries=-1).remote())[1] != pid, "back"
        )
        until(lambda: sum(one.begun > killed + 1.0 for one in load.answers) > 20, "traffic goes on")
        until(
            lambda: any(one.provider == "alpha" and one.begun > killed + 2.0 for one in load.answers),
            "the restarted provider is asked again",
        )
    _none_failed(load, path)


@pytest.mark.parametrize("path", ["edge", "actor"])
async def test_a_provider_that_is_switched_off_lets_its_calls_end(live: Live, path: str) -> None:
    providers = settings().to_document()["providers"]
    async with Patient() as patient:
        slow = {"kind": "custom", "base_url": patient.upstream.url}
        await asyncio.to_thread(live.switch, data_path=path, providers={**providers, "slow": slow})
        async with Streams(live, {f"m{index}": f"slow/m{index}" for index in range(4)}) as streams:
            await streams.all_begun()
            await asyncio.to_thread(live.switch, data_path=path, providers=providers)
            # Past the moment at which an actor that carries nothing is ended.
            await asyncio.sleep(HEARD_S + 6.0)
            assert live.provider("slow") is not None
            patient.finish()
            await streams.over(set(streams.all), within_s=10)
        assert all(one.end_mark and not one.broken for one in streams.all.values()), streams.broken
    await asyncio.to_thread(until, lambda: not _exists(live, "slow"), "its actor ends")


def _exists(live: Live, provider: str) -> bool:
    try:
        return live.provider(provider) is not None
    except ValueError:
        return False


def test_neither_a_trip_nor_a_wait_is_forgotten_when_manager_and_authority_die_together(live: Live) -> None:
    """Each alone is told by the other; of both only the replicas still know."""
    waiting = {**SCRIPTED, "script": {"steps": [{"fault": {"status": 429, "retry_after_s": 60}}]}}
    local = {"kind": "local", "reach": "node"}
    live.switch(providers={"local": local, "alpha": SCRIPTED, "beta": SCRIPTED, "gamma": waiting})
    with live.client() as client:
        until(lambda: client.post("/v1/chat/completions", json=_body("gamma/say")).status_code == 429, "gamma waits")
    live.control(live.provider("alpha"), "trip", 60.0)
    with Load(live, "pair", callers=4) as load:
        until(lambda: _shut(live) == {"alpha", "gamma"}, "both are shut for everybody")
        time.sleep(1.0)  # until every replica has heard it, which is what it is to remember
        before = live.overview()["pid"]
        doomed = [before, *(ray.get(live.provider(name).whereabouts.remote())[1] for name in ("alpha", "gamma"))]
        shut = time.monotonic()
        for pid in doomed:
            os.kill(pid, signal.SIGKILL)
        until(lambda: _is_back(live, before), "the manager is back by itself")
        until(lambda: _shut(live) == {"alpha", "gamma"}, "both are shut again", within_s=15.0)
        told = time.monotonic() - shut
        until(lambda: sum(one.begun > shut + told for one in load.answers) > 50, "traffic goes on")
        states = {one.provider: one.retry_in_s for one in live.overview()["providers"]}
    print(f"\nshut again {told:.1f} s after the kill; for {states['alpha']:.0f} and {states['gamma']:.0f} s more")
    assert {one.provider for one in load.answers if one.begun > shut} == {"beta"}
    assert not load.faults
    for wait_s in (states["alpha"], states["gamma"]):
        assert 20.0 < wait_s < 61.0 - told


def _shut(live: Live) -> set[str]:
    try:
        return {one.provider for one in live.overview()["providers"] if one.retry_in_s > 5.0}
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        return set()


def _none_failed(load: Load, path: str) -> None:
    """Through the actors, a stream that the killed process itself carried may break, and must say so."""
    allowed = {INTERRUPTED} if path == "actor" else set()
    unexpected = [fault for fault in load.faults if fault not in allowed]
    assert not unexpected, unexpected[:3]
    assert len(load.faults) < 10, "no more than were under way"


def _body(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}


def _actor_calls(live: Live) -> dict[str, float]:
    """Calls that each actor itself has received: served requests by actor, and all of the feed."""
    overview = live.overview()
    served = {"manager": sum(count for method, count in overview["received"].items() if method != "control")}
    for name in PROVIDERS:
        metrics = ray.get(live.provider(name).metrics.remote())
        served[name] = sum(count for metric, count in metrics.items() if metric.startswith("calls."))
    return {**served, "feed": overview["received"]["control"]}


def _report_latency(live: Live, seconds: dict[str, float]) -> None:
    """As an edge would report what it measured."""
    observed = tuple(
        Observed(provider=name, model="say", spell=0, good=9, answered=9, latency_sum_s=9 * latency)
        for name, latency in seconds.items()
    )
    sequence = int(time.monotonic() * 1e6)
    # The mean forgets with time; so many reports outweigh what the traffic itself has measured.
    for step in range(200):
        report = EdgeReport(edge="a test", sequence=sequence + step, observed=observed)
        live.control(live.manager, "report", report)


def _is_back(live: Live, old_pid: int) -> bool:
    try:
        return bool(live.overview()["pid"] != old_pid)
    except ray.exceptions.RayActorError:
        return False


def test_no_other_program_goes_before_the_gateway(live: Live) -> None:
    """Ray would run its workers at 15."""
    ours = {name: process.nice() for name, process in processes(live) if name.startswith("ray::")}
    assert {"ray::ManagerActor", "ray::LedgerActor"} <= ours.keys()
    assert set(ours.values()) == {0}
