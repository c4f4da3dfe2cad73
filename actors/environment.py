"""The environment and the place of this process, read here and nowhere else below the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def environment() -> Mapping[str, str]:
    """What secrets' references are resolved against: workers inherit it from the Ray that started them."""
    return dict(os.environ)  # noqa: TID251  # this is the one place


def node_id() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def state_folder(env: Mapping[str, str]) -> Path:
    """Where Raygate keeps what must survive it: `RAYGATE_STATE_DIR`, else the user's XDG state folder."""
    if given := env.get("RAYGATE_STATE_DIR"):
        return Path(given).expanduser().resolve()
    base = Path(env.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "raygate"
