"""What a client's script says: one line of JSON for each thing that it tried.

    with check("stream", "text in pieces"):
        assert ...

Run in the client's own environment, so it needs the standard library alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

URL = os.environ["RAYGATE_URL"]
KEY = os.environ["RAYGATE_KEY"]
FAKE_URL = os.environ["FAKE_URL"]
TAG = os.environ["CLIENT_TAG"]
SLOT = os.environ["CLIENT_SLOT"]

TEXT = "Hello from the fake."
PERSON = {"name": "Ada", "age": 36}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE = f"[image/png {len(PNG)}]"
WEATHER = "Paris: 21 degrees; Zürich: 17 degrees"
COST = (5 * 1.0 + 2 * 0.5 + 5 * 2.0) / 1e6
"""Dollars for one answer: 7 tokens in, 2 of them cached, and 5 out, at the prices in `tests.clients.stack`."""

_STDOUT = sys.stdout
# What libraries print is no line of ours.
sys.stdout = sys.stderr


def named(what: str, provider: str = "fake") -> str:
    """A model that no other client asks for. Providers: see `tests.clients.stack`."""
    if provider in ("busy", "hasty"):
        provider = f"{provider}-{SLOT}"
    return f"{provider}/{what}.{TAG}"


def rest() -> None:
    """Let a throttle pass: the fake asks for 0.3 s, and the news of it take a moment."""
    time.sleep(0.7)


THROTTLES = ("fail-429", "full")


def provider_for(what: str) -> str:
    """Who is to fail like this. A throttle shuts a provider for a while: it is one of our own, and the last is over."""
    if what not in THROTTLES:
        return "fake"
    rest()
    return "busy"


def seen(model: str) -> Any:
    """What came for a model: {"count", "listening", "bodies", "headers"}."""
    query = urllib.parse.urlencode({"model": model.partition("/")[2]})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{FAKE_URL}/_seen?{query}", timeout=10) as reply:
        return json.load(reply)


def left_alone(model: str, within_s: float = 1.0) -> None:
    """Nobody listens any more to what the fake says under this name."""
    until = time.monotonic() + within_s
    while (told := seen(model))["listening"] and time.monotonic() < until:
        time.sleep(0.02)
    assert told["count"] >= 1, "it was never asked"
    assert told["listening"] == 0, f"the call upstream goes on {within_s} s after its client has gone"


@contextmanager
def check(column: str, name: str) -> Iterator[None]:
    """One thing that must hold; the script goes on whether it does or not."""
    try:
        yield
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in line if frame.filename.startswith(os.path.dirname(__file__))]
        where = f"{os.path.basename(own[-1].filename)}:{own[-1].lineno}" if own else ""
        _say(column, name, f"{type(error).__name__}: {error} ({where}: {own[-1].line if own else ''})"[:600])
    else:
        _say(column, name, "")


def same(found: object, wanted: object) -> None:
    assert found == wanted, f"{found!r} is not {wanted!r}"


def near(found: float | None, wanted: float) -> None:
    assert found is not None, f"None is not {wanted!r}"
    assert abs(found - wanted) < 1e-12, f"{found!r} is not {wanted!r}"


class Caught:
    """`error` is set once it was raised."""

    error: Any = None


@contextmanager
def raises(*kinds: type[BaseException]) -> Iterator[Caught]:
    """The block must end with one of these exceptions; it is there to be looked at afterwards."""
    caught = Caught()
    try:
        yield caught
    except kinds as error:
        caught.error = error
    else:
        raise AssertionError(f"nothing was raised; {' or '.join(kind.__name__ for kind in kinds)} was due")


def _say(column: str, name: str, problem: str) -> None:
    _STDOUT.write(json.dumps({"column": column, "check": name, "problem": problem}) + "\n")
    _STDOUT.flush()
