"""A Raygate over hosts of our own: a head that keeps the state, workers with a gateway each, an upstream that meters.

with Cluster.started(net, "a", numbers=(11, 12, 13)) as cluster:    head, then workers
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import yaml

from actors.keys import GIVEN
from actors.supervisor import STATE
from tests.cluster.closed import node_env
from tests.cluster.hosts import GATEWAY_PORT, GCS_PORT, OBJECTS_BYTES, ROOT, Host, Net, until_true

CPUS = 1
"""Of a worker: room for one replica, so that a node that comes back has one again, which none else has taken in."""
MANAGER, LEDGER, RUVECTOR = "ray::ManagerActor", "ray::LedgerActor", "ray::RuVectorActor"
PROVIDER, CACHE, REPLICA = "ray::ProviderActor", "ray::CacheActor", "ray::ServeReplica:raygate"


@dataclass
class Cluster:
    """One Ray cluster with a Raygate on it."""

    net: Net
    head: Host
    workers: list[Host]
    key: str

    @property
    def hosts(self) -> list[Host]:
        return [self.head, *self.workers]

    def client(self, host: Host | None = None, *, timeout: float = 30.0) -> httpx.Client:
        at = host or self.workers[0]
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=at.url, headers=headers, timeout=timeout, trust_env=False)

    def admin(self, path: str, body: Mapping[str, Any] | None = None, *, at: Host | None = None, **query: Any) -> Any:
        with self.client(at) as client:
            where = f"/admin/{path}"
            reply = client.get(where, params=query) if body is None else client.post(where, json=body, params=query)
        assert reply.status_code == 200, f"{reply.status_code} {reply.text[:500]}"
        return reply.json()

    def answers(self, host: Host, model: str) -> bool:
        """Whether this host's gateway answers now."""
        body = {"model": model, "messages": [{"role": "user", "content": "warm up"}], "max_tokens": 5}
        try:
            with self.client(host, timeout=5) as client:
                return client.post("/v1/chat/completions", json=body).status_code == 200
        except httpx.HTTPError:
            return False

    def python(self, code: str, *, within_s: float = 180.0) -> str:
        """Run this on the head, in a driver of the cluster; what it printed last."""
        begin = f"import ray; ray.init({self.address!r}, namespace='raygate', log_to_driver=False)\n"
        said = self.head.tell(str(ROOT / ".venv/bin/python"), "-c", begin + code, within_s=within_s)
        return said.strip().rpartition("\n")[2]

    @property
    def address(self) -> str:
        return f"{self.head.inner}:{GCS_PORT}"

    def deploy(self, *, within_s: float = 180.0, **args: Any) -> None:
        """What `serve deploy` does with serve_config.yaml, as `args` change it; returns once it has happened.

        By a driver: `serve deploy` needs Ray's dashboard, whose dozen processes are more than all that we look at here.
        """
        self.python(DEPLOY.format(nodes=len(self.hosts), port=GATEWAY_PORT, args=args), within_s=within_s)


DEPLOY = """
import time
from ray import serve as ray_serve
from serve.deploy import application
while sum(one['Alive'] for one in ray.nodes()) < {nodes}: time.sleep(0.5)
ray_serve.start(proxy_location='EveryNode', http_options={{'host': '0.0.0.0', 'port': {port}}})
ray_serve.run(application({args!r}), name='raygate', route_prefix='/')
"""


def environment(net: Net, key: str, token: str) -> dict[str, str]:
    """What Ray starts with on each host: deploy/node.env, as an operator would have it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY", "CLUSTER"))}
    return {
        **kept,
        **node_env((ROOT / "deploy" / "node.env").read_text()),
        "RAY_AUTH_TOKEN": token,
        "RAYGATE_STATE_DIR": str(net.here / "state"),
        "RAYGATE_CONFIG": str(net.here / "raygate.yaml"),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(ROOT / "deploy" / "haproxy"),
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "OMP_NUM_THREADS": "1",
        # A raylet that waits for longer than 15 seconds for its agents, as on a busy machine, dies.
        "RAY_agent_register_timeout_ms": "120000",
        # A start within half a minute is asked for, whatever else runs here: none of what nobody needs.
        "RAY_enable_worker_prestart": "0",
        "RAY_START_HOOK": "tests.cluster.lean.start",
        "PYTHONPATH": str(ROOT),
        GIVEN: key,
    }


def made(net: Net, name: str, numbers: tuple[int, ...], settings: Mapping[str, Any]) -> Cluster:
    """Hosts of a cluster, plugged in and not switched on."""
    key = "rg-of-the-cluster"
    env = environment(net, key, secrets.token_hex(32))
    first, *others = numbers
    common = ["--temp-dir", str(net.here / "ray"), "--object-store-memory", str(OBJECTS_BYTES)]
    common += ["--include-log-monitor", "false"]
    head_ip = net.inner(first)
    head = net.add(
        f"{name}h",
        first,
        [
            *("--head", "--port", str(GCS_PORT), "--node-ip-address", head_ip, "--num-cpus", "0"),
            *("--resources", json.dumps({STATE: 1}), "--include-dashboard=false", *common),
        ],
        # Ray keeps there what it knows: without it a head that dies takes all workers along.
        {**env, "RAY_REDIS_ADDRESS": net.redis, "RAY_external_storage_namespace": name},
    )
    (head.disk / "raygate.yaml").write_text(yaml.safe_dump(dict(settings)))
    # A model server has room on each.
    joins = ["--address", f"{head_ip}:{GCS_PORT}", "--num-cpus", str(CPUS), "--num-gpus", "1", *common]
    workers = [
        net.add(f"{name}{number}", number, [*joins, "--node-ip-address", net.inner(number)], env) for number in others
    ]
    return Cluster(net, head, workers, key)


@contextmanager
def started(
    net: Net, name: str, numbers: tuple[int, ...], settings: Mapping[str, Any], *, model: str, **args: Any
) -> Iterator[Cluster]:
    """The same, switched on and answering on every worker."""
    cluster = made(net, name, numbers, settings)
    cluster.head.start()
    # One that finds no head waits for long before it tries again.
    until_true(lambda: _listens(cluster.head.inner, GCS_PORT), "the head listens", within_s=120)
    for one in cluster.workers:
        one.start()
    for one in cluster.hosts:
        until_true(one.has_started, f"Ray has started on {one.name}", within_s=240)
    cluster.deploy(**{"replicas": len(cluster.workers), "cpus": 1, "grace_s": 20, **args})
    for one in cluster.workers:
        until_true(lambda one=one: cluster.answers(one, model), f"{one.name} answers", within_s=180)
    try:
        yield cluster
    finally:
        for one in cluster.hosts:
            one.lose_power()


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False
