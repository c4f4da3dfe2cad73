"""`raygate events`: what happens, as it happens, until ^C."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from runtime.dialects.sse import SseEvent, SseParser
from serve.cli import http, place, screen
from serve.cli.errors import FAILED, Ended

COMMON = ("type", "at_s", "source")
UNITS = {"cost_nanousd": "cost", "spent_nanousd": "spent", "limit_nanousd": "limit"}


def tail(types: tuple[str, ...], *, prompts: bool, url: str, key: str, as_json: bool) -> None:
    """A line for each event. Raises `Ended` where there are none to be had, or the connection breaks."""
    target = place.target(url, key)
    wanted = {"type": ",".join(types), "prompts": "true" if prompts else ""}
    params = {name: said for name, said in wanted.items() if said}
    with http.client(target) as client, client.stream("GET", "/admin/events", params=params) as reply:
        if reply.status_code != 200 or "text/event-stream" not in reply.headers.get("content-type", ""):
            reply.read()
            raise http.refusal(target, reply)
        if not as_json:
            screen.aside("listening; ^C ends it", dim=True)
        parser = SseParser()
        for data in reply.iter_raw():
            for event in parser.feed(data):
                if isinstance(event, SseEvent):
                    _show(event, as_json=as_json)
    raise Ended(f"{target.url} has ended the stream", FAILED)


def _show(event: SseEvent, *, as_json: bool) -> None:
    said: Any = orjson.loads(event.data)
    print(orjson.dumps(said).decode() if as_json else screen.harmless(line(said)))
    sys.stdout.flush()


def line(event: Mapping[str, Any]) -> str:
    """One event for people.

    >>> line({"type": "lost", "at_s": 0.0, "source": "edge", "count": 3})
    '00:00:00.000 lost     count=3'
    """
    at = datetime.fromtimestamp(event["at_s"], UTC).strftime("%H:%M:%S.%f")[:-3]
    told = (
        _word(name, said) for name, said in event.items() if name not in COMMON and said not in ("", None, [], False)
    )
    return f"{at} {event['type']:<8} {' '.join(told)}"


def _word(name: str, said: Any) -> str:
    if name in UNITS:
        return f"{UNITS[name]}=${said / 1e9:.9g}"
    if isinstance(said, float):
        return f"{name}={said:.3f}"
    if isinstance(said, list):
        return f"{name}={','.join(map(str, said))}"
    text = str(said).replace("\n", " ")
    return name if said is True else f"{name}={text}"
