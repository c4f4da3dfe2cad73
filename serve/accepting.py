"""A connection that comes brings all in that wait with it.

The loop (libuv, beneath uvloop) takes one new connection in each of its turns. A turn that is full of requests lasts
some ten milliseconds, so the last of a burst of 128 would wait for more than a second before it is heard at all. Here
whichever it took first takes the others from the same listening socket, as many as there are.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

AT_ONCE = 256
"""How many at most are taken before what they ask is looked at."""


def take_bursts(config: Any) -> None:
    """Have connections of the HTTP server with this configuration (uvicorn's) come so from now on; once is enough."""
    kind = config.http_protocol_class
    if config.ssl or getattr(kind, "takes_bursts", False):
        return  # what comes encrypted is the loop's to begin

    class TakesBursts(kind):  # type: ignore[misc, valid-type]
        takes_bursts = True

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            if (listening := _listening(transport)) is None:
                return

            def another() -> Any:
                """As uvicorn makes one; it has been taken with others and takes none itself."""
                return kind(config=config, server_state=self.server_state, app_state=self.app_state, _loop=self.loop)

            _take(listening, another, self.loop, self.server_state.tasks)

    config.http_protocol_class = TakesBursts


def _take(
    listening: int, protocol: Callable[[], Any], loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[Any]]
) -> None:
    """Take what waits at the listening socket; `tasks` are those that the server waits for when it ends."""
    waiting = socket.socket(fileno=listening)
    try:
        for _ in range(AT_ONCE):
            taken, _ = waiting.accept()
            taken.settimeout(0)
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(_connect(loop, protocol, taken))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    except OSError:
        pass  # nobody waits any more, or it was closed, or there are no more files: the loop sees to that as ever
    finally:
        waiting.detach()  # it is the loop's


async def _connect(loop: asyncio.AbstractEventLoop, protocol: Callable[[], Any], taken: socket.socket) -> None:
    await loop.connect_accepted_socket(protocol, taken)


_found: dict[tuple[int, int], int] = {}
"""The listening sockets found: (family, port) → file."""


def _listening(transport: asyncio.Transport) -> int | None:
    """The file of the socket that a connection came in by, where this system lets us find it."""
    mine: socket.socket | None = transport.get_extra_info("socket")
    if mine is None or mine.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    key = (mine.family, mine.getsockname()[1])
    if key in _found and _listens_at(_found[key], *key):
        return _found[key]
    try:
        files = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        return None
    for file in files:
        if _listens_at(file, *key):
            _found[key] = file
            return file
    return None


def _listens_at(file: int, family: int, port: int) -> bool:
    try:
        one = socket.socket(fileno=file)
    except OSError:
        return False  # no socket
    try:
        listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        return bool(listens) and one.family == family and one.getsockname()[1] == port
    except (OSError, AttributeError, IndexError, TypeError):
        return False
    finally:
        one.detach()
