"""Several Ray nodes on this machine: the state stays on its node, replicas are on the others, one of which is killed.

`make test-cluster` runs it: it takes minutes, and needs the machine for itself.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
from ray import serve as ray_serve
from ray.util.state import list_actors

from actors.keys import GIVEN
from actors.names import LEDGER, MANAGER, NAMESPACE
from actors.supervisor import STATE
from tests.e2e.conftest import SCRIPTED, until

pytestmark = pytest.mark.skipif(
    os.environ.get("CLUSTER_TESTS") != "1", reason="several Ray nodes on one machine: make test-cluster"
)

KEY = "rg-of-the-cluster"
SETTINGS = f"""
local: {{enabled: false}}
providers:
  alpha: {SCRIPTED}
"""


@dataclass
class Nodes:
    """The cluster, and the callers of its gateway."""

    cluster: Any
    workers: list[Any]
    url: str
    answers: list[tuple[float, str]] = field(default_factory=list)
    """When each was asked for, and what went wrong ("" if nothing)."""

    def ask(self, client: httpx.Client) -> str:
        """What went wrong. A connection that dies with its node is made anew, once: that caller was of that node."""
        body = {"model": "alpha/say", "messages": [{"role": "user", "content": "hello"}]}
        for again in (True, False):
            try:
                reply = client.post("/v1/chat/completions", json=body)
            except httpx.TransportError as error:
                if again:
                    continue
                return repr(error)
            return "" if reply.status_code == 200 else f"{reply.status_code} {reply.text[:200]}"
        return "never"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {KEY}"}, timeout=20)


def node_of(actor: str) -> str:
    found = list_actors(filters=[("name", "=", actor), ("state", "=", "ALIVE")])
    return str(found[0].node_id) if found else ""


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    from ray.cluster_utils import Cluster

    config = tmp_path / "raygate.yaml"
    config.write_text(SETTINGS)
    env = {
        "RAYGATE_STATE_DIR": str(tmp_path / "state"),
        "RAYGATE_CONFIG": str(config),
        GIVEN: KEY,
        "RAY_SERVE_ENABLE_HA_PROXY": "0",
        "RAY_worker_niceness": "0",
    }
    before = {name: os.environ.get(name) for name in env}
    os.environ.update(env)
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "resources": {STATE: 1}, "include_dashboard": True}
    )
    try:
        workers = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, namespace=NAMESPACE, log_to_driver=False)
        from actors.launch.head import free_port
        from serve.deploy import application

        port = free_port()
        ray_serve.start(proxy_location="EveryNode", http_options={"host": "127.0.0.1", "port": port})
        ray_serve.run(application({"replicas": 2, "cpus": 1}), name="raygate", route_prefix="/")
        made = Nodes(cluster, workers, f"http://127.0.0.1:{port}")
        with made.client() as client:
            until(lambda: made.ask(client) == "", "the gateway answers", within_s=120)
        yield made
    finally:
        ray.shutdown()
        cluster.shutdown()
        for name, was in before.items():
            if was is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = was


def test_a_worker_dies_under_load_and_the_state_stays_where_it_is(nodes: Nodes) -> None:
    head = nodes.cluster.head_node.node_id
    assert node_of(MANAGER) == head
    until(lambda: node_of(LEDGER) == head, "the ledger is on the state's node")
    replicas = [
        one.node_id
        for one in list_actors(filters=[("state", "=", "ALIVE")], limit=1000)
        if one.class_name.startswith("ServeReplica:raygate")
    ]
    assert sorted(replicas) == sorted(one.node_id for one in nodes.workers)

    stop = threading.Event()

    def call() -> None:
        with nodes.client() as client:
            while not stop.is_set():
                asked = time.monotonic()
                nodes.answers.append((asked, nodes.ask(client)))

    callers = [threading.Thread(target=call) for _ in range(6)]
    for one in callers:
        one.start()
    try:
        until(lambda: len(nodes.answers) > 200, "there is load", within_s=120)
        killed_at, killed_s = len(nodes.answers), time.monotonic()
        nodes.cluster.remove_node(nodes.workers[0], allow_graceful=False)
        until(
            lambda: time.monotonic() - killed_s > 15 and len(nodes.answers) > killed_at + 500,
            "on it goes",
            within_s=120,
        )
    finally:
        stop.set()
        for one in callers:
            one.join()
    failed = [(asked - killed_s, why) for asked, why in nodes.answers if why]
    print(f"{len(nodes.answers)} requests, {len(failed)} failed: {failed[:3]}")
    # What a replica had in hand when it died was its own node's; each caller has one such request at most.
    survivors = [one for one in failed if not -1.0 < one[0] < 0.5]
    assert len(failed) <= len(callers)
    assert len(survivors) <= 0.001 * len(nodes.answers)
    assert node_of(MANAGER) == head
