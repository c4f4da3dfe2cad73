"""Raygate on Ray: actors, their lifetimes, and the clock.

import actors
manager = actors.connect()
ray.get(manager.complete.remote({"messages": [{"role": "user", "content": "hello"}]}))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["connect"]


def connect(config: Path | str | None = None) -> Any:
    """The manager's handle: `ray.get(manager.complete.remote(request))`. Its calls end if this process does.

    Adopts the Raygate that runs under this state folder, or the Ray that this process has joined already; starts
    one otherwise, which lives until `raygate down`. `config` is a settings file for one that is started; the
    environment serves without. Raises `BadSettings` and `StartFailed`.
    """
    # Ray takes a second to import; what needs only a path or a name of this package must not wait for it.
    from actors import connection

    return connection.connect(config)
