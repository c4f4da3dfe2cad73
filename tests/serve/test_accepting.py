"""Connections that wait are taken together, by the loop that Serve runs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

import pytest
import uvicorn
import uvloop

from serve.line import config_of
from serve.shortcut import Shortcut

MANY = 40
REQUEST = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def turns_of_a_burst(app: Any, host: str = "127.0.0.1") -> int:
    """How many turns of the loop it takes until all of a burst of connections have their answer."""
    listening = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128)
    config = uvicorn.Config(app, lifespan="off", access_log=False, log_config=None, http="httptools", loop="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    where = listening.getsockname()[:2]
    clients: list[socket.socket] = []
    try:
        reader, writer = await asyncio.open_connection(*where)
        writer.write(REQUEST)  # the first request finds the server
        await reader.readuntil(b"ok")
        writer.close()
        for _ in range(MANY):  # the loop stands still meanwhile, as in a long turn
            clients.append(socket.create_connection(where))
            clients[-1].sendall(REQUEST)
            clients[-1].setblocking(False)
        turns = 0
        waiting = set(clients)
        while waiting:
            turns += 1
            await asyncio.sleep(0)
            for one in [*waiting]:
                try:
                    said = one.recv(65_536)
                except BlockingIOError:
                    continue
                assert said.startswith(b"HTTP/1.1 200")
                assert said.endswith(b"ok")
                waiting.discard(one)
        return turns
    finally:
        for one in clients:
            one.close()
        server.should_exit = True
        await serving
        # It is not kept open by us: nobody may still be let in.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(where)


def on_uvloop(work: Coroutine[Any, Any, int]) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_burst_of_connections_is_heard_in_a_few_turns_of_the_loop(host: str) -> None:
    alone = on_uvloop(turns_of_a_burst(answer, host))
    taken = on_uvloop(turns_of_a_burst(Shortcut(answer), host))
    assert alone >= MANY, "the loop takes many at once by itself now: serve/accepting.py is of no use any more"
    assert taken <= MANY / 4


async def test_whose_server_is_not_known_is_left_alone() -> None:
    async def send(_: object) -> None: ...

    assert config_of(send) is None
