"""`/admin/events`, in process: admins alone, server-sent events, gaps told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

from runtime.events import AttemptEvent, LostEvent, RequestEvent
from serve.events import line
from tests.actors.test_events import Manager, attempt
from tests.fakes.asgi import Call
from tests.fakes.clock import turns
from tests.serve.test_app import BEARER, Served


async def listening(served: Any, query: bytes = b"") -> tuple[Call, asyncio.Task[Any]]:
    call = Call("GET", "/admin/events", headers=BEARER)
    call.scope["query_string"] = query
    task = asyncio.create_task(served.app(call.scope, call.receive, call.send))
    async with asyncio.timeout(5.0):
        await call.wrote.wait()
    return call, task


def events_in(call: Call) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in call.body.decode().split("\n\n"):
        if block.startswith("event: "):
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def admin(served: Any) -> Manager:
    served.app._edge = served.edge
    keys = served.edge.keys
    served.edge.keys = {sha: replace(key, admin=True) for sha, key in keys.items()}
    served.edge.manager = Manager()
    made: Manager = served.edge.manager
    return made


async def until(true: Any) -> None:
    async with asyncio.timeout(5.0):
        while not true():
            await turns()


async def test_an_admin_reads_what_happens_and_only_the_types_that_he_asked_for() -> None:
    served = Served()
    manager = admin(served)
    call, task = await listening(served, b"type=attempt,%20response")
    assert call.headers["content-type"] == "text/event-stream"
    manager.listeners.tell([attempt(1), RequestEvent(), attempt(2)])
    await until(lambda: len(events_in(call)) == 2)
    assert [(name, one["request_id"]) for name, one in events_in(call)] == [("attempt", "1"), ("attempt", "2")]
    call.hang_up()
    await task
    assert manager.listeners.watched == (), "nobody listens any more"


async def test_a_slow_client_reads_how_many_it_lost() -> None:
    served = Served()
    manager = admin(served)
    call, task = await listening(served, b"type=attempt&most=5")
    manager.listeners.tell([attempt(number) for number in range(50)])
    await until(lambda: len(events_in(call)) == 6)
    (first, said), *others = events_in(call)
    assert (first, said["count"]) == ("lost", 45)
    assert [one["request_id"] for _, one in others] == ["45", "46", "47", "48", "49"]
    call.hang_up()
    await task


async def test_whoever_is_no_admin_is_refused() -> None:
    call = await Served()(Call("GET", "/admin/events", headers=BEARER))
    assert call.status == 403


async def test_an_unknown_type_is_named() -> None:
    served = Served()
    admin(served)
    call = Call("GET", "/admin/events", headers=BEARER)
    call.scope["query_string"] = b"type=requests"
    await served.app(call.scope, call.receive, call.send)
    assert call.status == 400
    assert "'requests'" in call.error()["message"]


def test_an_event_is_one_block_of_json() -> None:
    assert line(LostEvent(count=2)) == b'event: lost\ndata: {"type":"lost","at_s":0.0,"source":"","count":2}\n\n'
    assert b"\n" not in line(AttemptEvent(model="a\nb")).split(b"data: ")[1].rstrip(b"\n")
