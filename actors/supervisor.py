"""Which actors there are and how they live. All are detached, named, and restarted for ever by Ray.

    manager             made by whoever starts Raygate first
    provider:<name>     made by the manager, one for each provider that is switched on
    local-model         made by the manager where the embedded model is switched on
    model:<name>:<n>    made by the manager, one for each copy of a server that Raygate runs itself
    ledger              made by the manager
    ruvector            made by the manager when somebody first goes by what is learned
    cache               made by the manager where replicas remember answers together in an actor

None but a server's copy asks for a CPU: they wait for the network, and a full machine must not keep them from starting.
The calls here block; async callers use a thread.
"""

from __future__ import annotations

import logging
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.names import CONTROL, NAMESPACE

log = logging.getLogger("raygate.supervisor")

CALLS_AT_ONCE = 2_000
"""Above every admission limit: calls wait in `runtime.admission`, where they are counted, not in Ray's queue."""
CONTROL_CALLS_AT_ONCE = 2_000
"""Each edge holds one long poll open."""
STATE = "raygate_state"
"""A resource of the node on whose disk Raygate keeps its state (`ray start --resources='{"raygate_state": 1}'`). Where
a cluster has one, actors that need that disk run there, and come back there when it does; elsewhere they stay where
they were made."""


def state_lies_apart() -> bool:
    """True if this Ray has a node for Raygate's state."""
    return STATE in ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's


def ensure(name: str, cls: type[Any], *args: object, here: bool = False, cpus: float = 0.0, gpus: float = 0.0) -> Any:
    """The handle of this actor, made if there is none; `here` ties it to a disk, this node's or that of `STATE`."""
    where: dict[str, Any] = {"scheduling_strategy": "DEFAULT"}
    if here and state_lies_apart():
        where["resources"] = {STATE: 0.001}
    elif here:
        node = ray.get_runtime_context().get_node_id()
        where["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
    return (
        _remote(cls)
        .options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=CALLS_AT_ONCE,
            num_cpus=cpus,
            num_gpus=gpus,
            **where,
        )
        .remote(*args)
    )


_remotes: dict[type[Any], Any] = {}


def _remote(cls: type[Any]) -> Any:
    """Ray's class of it. Made once: Ray wraps every method for it, and tells its GCS of it, each time."""
    if (known := _remotes.get(cls)) is not None:
        return known
    for method in cls.CONTROL_METHODS:
        # Declared, not left to the caller: in the other group's loop such a method would wedge this one's.
        ray.method(concurrency_group=CONTROL)(getattr(cls, method))
    made = ray.remote(concurrency_groups={CONTROL: CONTROL_CALLS_AT_ONCE})(cls)  # type: ignore[call-overload]  # undeclared
    _remotes[cls] = made
    return made


def existing() -> set[str]:
    """The names of the actors that there are."""
    named = ray.util.list_named_actors(all_namespaces=True)
    return {actor["name"] for actor in named if actor["namespace"] == NAMESPACE}


def remove(name: str) -> None:
    """End this actor for good; nothing happens where there is none."""
    try:
        handle = ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return
    ray.kill(handle, no_restart=True)
    log.info("actor.removed", extra={"actor": name})
