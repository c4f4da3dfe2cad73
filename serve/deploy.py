"""The Ray Serve application: `serve run serve.deploy:app`, or in a config file (serve_config.yaml)
`import_path: serve.deploy:application` with `args`, which `Deployed` describes.

It needs nothing that `raygate up` does: a replica that finds no manager makes one.
"""

from __future__ import annotations

import asyncio
import os
from importlib import import_module
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve as ray_serve
from ray.serve.config import AutoscalingConfig

from actors import logs
from actors.connection import ensure_manager
from actors.edge import Edge
from actors.environment import environment, node_id, state_folder
from actors.launch.processes import MARK
from actors.launch.ray_hook import LOOPBACK
from actors.names import REPLICA
from runtime import vocabulary
from runtime.settings.model import AutoscaleSettings
from serve.app import GatewayApp
from serve.shortcut import Shortcut

ONGOING = 10_000
"""Admission is ours; Serve's own default of 5 would queue the sixth request."""
GRACE_S = 20.0
MEASURED_S = 1.0
"""How often replicas tell what they have under way; Serve's default of 10 s would miss a rush."""


class Deployed(BaseModel):
    """What a Serve config file may say in `args`. What is not named here is refused.

    `cpus` are reserved for each replica: where none are left, a cluster's autoscaler starts another node. `grace_s` is
    how long a replica that is to go may finish its requests.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    replicas: int = Field(default=1, ge=1)
    autoscale: AutoscaleSettings | None = None
    cpus: float = Field(default=0.0, ge=0)
    grace_s: float = Field(default=GRACE_S, ge=0)


async def open_edge() -> Edge:
    """This replica's edge, following the manager's feed."""
    env = environment()
    # Only where requests come in: it is 60 MB, and its reading holds up whatever else the process does.
    vocabulary.load_soon()
    await asyncio.to_thread(ensure_manager, state_folder(env), env)
    edge = Edge(f"{REPLICA}{node_id()[:8]}:{os.getpid()}", node=node_id(), env=env, folder=state_folder(env))
    await edge.start()
    return edge


def build() -> GatewayApp:
    """Called in each replica, before Serve opens its ports."""
    app = build_counted()
    Shortcut.way = app.way
    return app


def build_counted() -> GatewayApp:
    """The same without the shortcut: Serve counts the requests under way, and autoscales by them."""
    logs.begin("replica", environment())
    if MARK in environment():
        _keep_to_loopback()
    return GatewayApp(open_edge)


def _keep_to_loopback() -> None:
    """Bind the port on which Serve's replicas call each other to loopback.

    Serve binds it to every interface, whatever `http_options.host` says. It asks for Ray's token, but on one machine
    nobody else has any business there.
    """
    replica: Any = import_module("ray.serve._private.replica")
    bind = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: bind(server, address.replace("[::]", LOOPBACK))


def application(args: dict[str, Any]) -> ray_serve.Application:
    """The application as a Serve config file describes it. Raises `ValueError` for what `Deployed` does not know."""
    wanted = Deployed.model_validate(args)
    return deployment(replicas=wanted.replicas, autoscale=wanted.autoscale, cpus=wanted.cpus, grace_s=wanted.grace_s)


def deployment(
    *, replicas: int = 1, autoscale: AutoscaleSettings | None = None, cpus: float = 0.0, grace_s: float = GRACE_S
) -> ray_serve.Application:
    """The application with so many replicas, or with as many as `autoscale` lets the load ask for."""
    number: dict[str, Any] = {"num_replicas": replicas}
    if autoscale is not None:
        number = {"autoscaling_config": autoscaling(autoscale)}
    gateway = ray_serve.deployment(
        name="Gateway",
        **number,
        max_ongoing_requests=ONGOING,
        health_check_period_s=10,
        graceful_shutdown_timeout_s=grace_s,
        # Replicas wait for the network most of the time; on one machine they must start also where it is fully booked.
        ray_actor_options={"num_cpus": cpus},
    )(ray_serve.ingress(build if autoscale is None else build_counted)())
    return gateway.bind()


def autoscaling(wanted: AutoscaleSettings) -> AutoscalingConfig:
    """Our settings in Serve's words. A mean over a few seconds neither misses a rush nor follows each request."""
    return AutoscalingConfig(
        min_replicas=wanted.min_replicas,
        max_replicas=wanted.max_replicas,
        target_ongoing_requests=wanted.target_ongoing_requests,
        metrics_interval_s=MEASURED_S,
        look_back_period_s=max(2 * MEASURED_S, min(wanted.up_after_s, wanted.down_after_s)),
        upscale_delay_s=wanted.up_after_s,
        downscale_delay_s=wanted.down_after_s,
    )


app = deployment()
