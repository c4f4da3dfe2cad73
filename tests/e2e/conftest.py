"""A real Raygate: Ray, HAProxy, two replicas, the embedded model, scripted and HTTP providers; one for the whole run.

Tests that change its settings put them back; those that kill its processes wait until they are there again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import ray

from actors.launch import head
from actors.names import NAMESPACE, provider_actor
from runtime.settings import Settings
from serve.launch import down, up

REPLICAS = 2

SCRIPTED = {
    "kind": "scripted",
    "models": ["say"],
    "script": {"steps": [{"text": "one two three", "usage": {"input_tokens": 3, "output_tokens": 3}}]},
}


def settings(**changes: Any) -> Settings:
    """What the running system is given; `changes` replace top-level keys."""
    document = {
        "port": 0,
        "replicas": REPLICAS,
        "providers": {
            "local": {"kind": "local", "reach": "node"},
            "alpha": SCRIPTED,
            "beta": SCRIPTED,
        },
        "routes": {"pair": ["alpha/say", "beta/say"]},
        "timeouts": {"first_byte_s": 5.0, "between_s": 5.0, "total_s": 60.0},
        **changes,
    }
    return Settings.model_validate(document)


@dataclass
class Live:
    """The running system, as a test sees it."""

    url: str
    key: str
    folder: Path
    manager: Any

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=60, **options)

    def control(self, actor: Any, method: str, *args: Any, **named: Any) -> Any:
        return ray.get(getattr(actor, method).remote(*args, **named), timeout=60)

    def overview(self) -> dict[str, Any]:
        said: dict[str, Any] = self.control(self.manager, "overview")
        return said

    def provider(self, name: str) -> Any:
        return ray.get_actor(provider_actor(name), namespace=NAMESPACE)

    def switch(self, **changes: Any) -> None:
        """Hand over settings, and wait until every replica and the manager's own edge follow them."""
        version = self.control(self.manager, "apply_settings", settings(**changes).to_document())
        until(lambda: self._all_follow(version), "all edges follow")

    def _all_follow(self, version: int) -> bool:
        """A manager that has just started does not know of all yet."""
        following = self.following()
        known = {_pid_of(edge) for edge in following}
        return set(self.replicas()) <= known and all(seen == version for seen in following.values())

    def replicas(self) -> list[int]:
        """The process ids of the replicas, also of those that are just starting."""
        found = []
        for process in head.processes_of(self.run()):
            with suppress(psutil.Error):
                if (process.cmdline() or [""])[0].startswith("ray::ServeReplica"):
                    found.append(process.pid)
        return found

    def following(self) -> dict[str, int]:
        """The settings' version that each living edge follows: one whose process was killed is kept for a while."""
        said: dict[str, int] = self.overview()["following"]
        return {edge: version for edge, version in said.items() if psutil.pid_exists(_pid_of(edge))}

    def in_flight(self, provider: str) -> int:
        """Calls under way at a provider, over all edges, as they report them."""
        return next(one.in_flight for one in self.overview()["providers"] if one.provider == provider)

    def run(self) -> head.Run:
        run = head.running(self.folder)
        assert run is not None
        return run


def until(true: Callable[[], Any], what: str, *, within_s: float = 30.0) -> float:
    """Poll the outer world, which has no event to wait for. Returns how long it took, in seconds.

    No more than half of the time goes into asking: what is waited for needs the processor, too.
    """
    begun = time.monotonic()
    while (asked := time.monotonic()) - begun < within_s:
        if true():
            return time.monotonic() - begun
        time.sleep(max(0.01, time.monotonic() - asked))
    raise AssertionError(f"not within {within_s} s: {what}")


def _pid_of(edge: str) -> int:
    """Edges are called edge@NODE:PID:LIFE, manager@PID:LIFE and provider:NAME@PID:LIFE."""
    return int(edge.rpartition(":")[0].rpartition("@")[2].rpartition(":")[2])


@contextmanager
def running(folder: Path) -> Iterator[Live]:
    """A Raygate of its own, with its state in this folder."""
    env = {**os.environ, "RAYGATE_STATE_DIR": str(folder)}
    started = up(folder, env, settings(), say=lambda _: None, sleep=time.sleep)
    try:
        assert started.key is not None
        manager = ray.get_actor("manager", namespace=NAMESPACE)
        yield Live(url=started.url, key=started.key, folder=folder, manager=manager)
    finally:
        down(folder, say=lambda _: None)
