"""What Ray calls before it starts on our hosts (RAY_START_HOOK): nothing that nobody asks here.

`--include-dashboard=false` only hollows out the dashboard's process, and the Ray Client server has no switch.
"""

from __future__ import annotations

from typing import Any


def start(ray_params: Any, head: bool) -> None:
    from ray._private.node import Node

    ray_params.ray_client_server_port = None
    Node.start_api_server = lambda self, **_: setattr(self, "_webui_url", "")  # type: ignore[method-assign]  # on purpose
