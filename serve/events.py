"""`GET /admin/events`: what happens in the whole cluster, as server-sent events.

    event: response
    data: {"type":"response","at_s":…,"request_id":"req_…",…}

A client that reads slowly loses the oldest events and is told how many (`event: lost`); nobody else notices.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from contextlib import suppress

import orjson

from actors.events import Listening
from runtime.events import MOST, TYPES, Event, said
from runtime.outcome import FailureKind
from serve.asked import Asked
from serve.errors import Refused
from serve.http import Exchange

KEEP_ALIVE_S = 10.0
PIECE = 50
"""Events of one write: more than a client can be sent at once only wait, where the newest would be lost."""
LARGEST = 100_000


async def answer(asked: Asked, said: Mapping[str, str | int]) -> None:
    """Until the client leaves. Raises `Refused` for what it cannot mean."""
    types = tuple(one.strip() for one in str(said.get("type", "")).split(",") if one.strip())
    if unknown := set(types) - set(TYPES):
        detail = f"there are no events of type {min(unknown)[:100]!r}; there are: {', '.join(TYPES)}"
        raise Refused(FailureKind.BAD_REQUEST, detail)
    most = min(max(1, int(said.get("most", MOST))), LARGEST)
    prompts = said.get("prompts") in ("1", "true", "yes")
    # It may take a moment until every replica has heard of it.
    listening = Listening(types, most=most, prompts=prompts, manager=asked.edge.manager)
    await asked.exchange.unless_gone(_tell(asked.exchange, listening))


async def _tell(exchange: Exchange, listening: Listening) -> None:
    async with listening as events:
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]
        await exchange.start(200, headers)
        await exchange.write(b": listening\n\n")
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(KEEP_ALIVE_S):
                    await events.more()
            found = events.take(PIECE)
            await exchange.write(b"".join(map(line, found)) if found else b": still here\n\n")


def line(event: Event) -> bytes:
    """One server-sent event."""
    body = {
        name: None if isinstance(one, float) and not math.isfinite(one) else one for name, one in said(event).items()
    }
    return b"event: " + event.type.encode() + b"\ndata: " + orjson.dumps(body) + b"\n\n"
