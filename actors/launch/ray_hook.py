"""What `ray start` has no flag for. Ray calls `loopback` with its parameters just before it starts (RAY_START_HOOK).

`--node-ip-address=127.0.0.1` is silently replaced by the machine's address, and then every gRPC port of Ray listens
on all interfaces; set here, it stays, and all of them listen on loopback (seen on Ray 2.60).
"""

from __future__ import annotations

from typing import Any

LOOPBACK = "127.0.0.1"


def loopback(ray_params: Any, head: bool) -> None:  # noqa: FBT001  # Ray's signature
    """Bind everything to loopback; no Ray Client server (its port 10001 has no flag to switch it off)."""
    ray_params.ray_client_server_port = None
    ray_params.node_ip_address = ray_params.node_name = LOOPBACK


def loopback_without_dashboard(ray_params: Any, head: bool) -> None:  # noqa: FBT001  # Ray's signature
    """As `loopback`, and without the dashboard's process, which `--include-dashboard=false` only hollows out.

    It costs two seconds of the start and 80 MB.
    """
    from ray._private.node import Node

    loopback(ray_params, head)
    Node.start_api_server = lambda self, **_: setattr(self, "_webui_url", "")  # type: ignore[method-assign]  # on purpose
