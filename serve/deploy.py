"""The Ray Serve application: `serve run serve.deploy:app`, or `import_path: serve.deploy:app` in a config file.

It needs nothing that `raygate up` does: a replica that finds no manager makes one.
"""

from __future__ import annotations

import asyncio
import os
from importlib import import_module
from typing import Any

from ray import serve as ray_serve

from actors.connection import ensure_manager
from actors.edge import Edge
from actors.environment import environment, node_id, state_folder
from actors.launch.processes import MARK
from actors.launch.ray_hook import LOOPBACK
from runtime import vocabulary
from serve.app import GatewayApp
from serve.shortcut import Shortcut

ONGOING = 10_000
"""Admission is ours; Serve's own default of 5 would queue the sixth request."""


async def open_edge() -> Edge:
    """This replica's edge, following the manager's feed."""
    env = environment()
    # Only where requests come in: it is 60 MB, and its reading holds up whatever else the process does.
    vocabulary.load_soon()
    await asyncio.to_thread(ensure_manager, state_folder(env), env)
    edge = Edge(f"edge@{node_id()[:8]}:{os.getpid()}", node=node_id(), env=env, folder=state_folder(env))
    await edge.start()
    return edge


def build() -> GatewayApp:
    """Called in each replica, before Serve opens its ports."""
    if MARK in environment():
        _keep_to_loopback()
    app = GatewayApp(open_edge)
    Shortcut.way = app.way
    return app


def _keep_to_loopback() -> None:
    """Bind the port on which Serve's replicas call each other to loopback.

    Serve binds it to every interface, whatever `http_options.host` says. It asks for Ray's token, but on one machine
    nobody else has any business there.
    """
    replica: Any = import_module("ray.serve._private.replica")
    bind = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: bind(server, address.replace("[::]", LOOPBACK))


def deployment(*, replicas: int = 1) -> ray_serve.Application:
    """The application with so many replicas."""
    gateway = ray_serve.deployment(
        name="Gateway",
        num_replicas=replicas,
        max_ongoing_requests=ONGOING,
        health_check_period_s=10,
        graceful_shutdown_timeout_s=20,
        # Replicas wait for the network most of the time; they must start on a machine that is fully booked.
        ray_actor_options={"num_cpus": 0},
    )(ray_serve.ingress(build)())
    return gateway.bind()


app = deployment()
