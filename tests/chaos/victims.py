"""Whom to kill of a Raygate that runs, and how it is seen that another one has taken its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import psutil
import ray

from actors.launch import head
from actors.launch.processes import listeners
from actors.names import LEDGER, LOCAL_MODEL, NAMESPACE, RUVECTOR
from tests.e2e.conftest import REPLICAS, Live


def manager_pid(live: Live) -> int:
    return int(live.overview()["pid"])


def provider_pid(live: Live, name: str) -> int:
    return int(live.control(live.provider(name), "whereabouts")[1])


def local_model_pid(live: Live) -> int:
    return int(live.control(ray.get_actor(LOCAL_MODEL, namespace=NAMESPACE), "whereabouts"))


def ledger_pid(live: Live) -> int:
    return int(live.control(ray.get_actor(LEDGER, namespace=NAMESPACE), "whereabouts")[1])


def ruvector_pid(live: Live) -> int:
    with live.client() as client:
        client.get("/v1/sona/metrics")  # whoever asks first has it made
    return int(live.control(ray.get_actor(RUVECTOR, namespace=NAMESPACE), "whereabouts")[1])


def replica_pid(live: Live) -> int:
    return live.replicas()[0]


def haproxy_pid(live: Live) -> int:
    port = int(live.url.rpartition(":")[2])
    return next(one.pid for one in listeners(head.processes_of(live.run())) if one.port == port)


def another(find: Callable[[Live], int]) -> Callable[[Live, int], bool]:
    """There is one again that is not the old one."""

    def back(live: Live, old: int) -> bool:
        try:
            return find(live) != old
        except (StopIteration, ray.exceptions.RayError):
            return False

    return back


def processes(live: Live) -> list[tuple[str, psutil.Process]]:
    """What runs, with what each is; workers that Ray keeps in reserve come and go."""
    found = []
    for process in head.processes_of(live.run()):
        with suppress(psutil.Error):
            first = (process.cmdline() or [""])[0]
            name = first.partition(".")[0] if first.startswith("ray::") else process.name()
            found.append((name, process))
    return [(name, process) for name, process in found if name != "ray::IDLE"]


def all_are_asked(live: Live) -> bool:
    """HAProxy sends requests to each replica: to one that has just started it does so a little later."""
    asked = {one.raddr.port for one in psutil.Process(haproxy_pid(live)).net_connections(kind="tcp") if one.raddr}
    ports = [{one.port for one in listeners([psutil.Process(pid)])} for pid in live.replicas()]
    return len(ports) == REPLICAS and all(asked & each for each in ports)


def replicas_follow(live: Live, old: int) -> bool:
    edges = [name for name in live.following() if name.startswith("edge@")]
    return len(edges) == REPLICAS and len(live.replicas()) == REPLICAS and old not in live.replicas()


def bare_environment() -> dict[str, str]:
    """Without what we told these tests: Raygate would take it for a setting."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAYGATE_")}
