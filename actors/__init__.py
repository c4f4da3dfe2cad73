"""Raygate on Ray: actors, their lifetimes, and the clock.

import actors
manager = actors.connect()
ray.get(manager.complete.remote({"messages": [{"role": "user", "content": "hello"}]}))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.events import Listening

__all__ = ["connect", "listen"]


def connect(config: Path | str | None = None, *, hooks: Sequence[object] | None = None) -> Any:
    """The manager's handle: `ray.get(manager.complete.remote(request))`. Its calls end if this process does.

    Adopts the Raygate that runs under this state folder, or the Ray that this process has joined already; starts
    one otherwise, which lives until `raygate down`. `config` is a settings file for one that is started; the
    environment serves without. `hooks` take the place of those of the settings, for everybody: names, mappings as in a
    file, or classes that other processes can import. Raises `BadSettings` and `StartFailed`.
    """
    # Ray takes a second to import; what needs only a path or a name of this package must not wait for it.
    from actors import connection

    return connection.connect(config, hooks=hooks)


def listen(*types: str, most: int = 1_000, prompts: bool = False) -> Listening:
    """What happens in the whole cluster, once this process is connected: all of it, or events of these types. Raises
    RuntimeError in one that is not.

    async with actors.listen("response", "error") as events:
        async for event in events:
            print(event)
    """
    import ray

    from actors.events import Listening

    if not ray.is_initialized():
        # Asked for an actor, Ray would start a second cluster by itself, and look for it there.
        raise RuntimeError("this process is in no Ray: call actors.connect() first")
    return Listening(types, most=most, prompts=prompts)
