"""Requests go past Serve where they may, and Serve's own way where they must."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from serve.http import Exchange
from serve.shortcut import TIME_LIMIT, Shortcut, middlewares


class Taken:
    """Which way a request went."""

    def __init__(self) -> None:
        self.ways: list[str] = []
        self.open = True
        self.app = Shortcut(self._serve)
        Shortcut.way = self._way

    async def _straight(self, scope: Any, receive: Any, send: Any) -> None:
        self.ways.append("straight")

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        self.ways.append("serve")

    def _way(self) -> Any:
        return self._straight if self.open else None

    async def ask(self, path: str = "/v1/chat/completions", kind: str = "http", *headers: tuple[bytes, bytes]) -> str:
        await self.app({"type": kind, "method": "POST", "path": path, "headers": [*headers]}, None, None)
        return self.ways[-1]


@pytest.fixture
def taken() -> Iterator[Taken]:
    before = Shortcut.way
    yield Taken()
    Shortcut.way = before


async def test_requests_go_straight_once_there_is_somewhere_to_go(taken: Taken) -> None:
    taken.open = False
    assert await taken.ask() == "serve"
    taken.open = True
    assert await taken.ask() == "straight"


async def test_what_is_serves_own_stays_with_serve(taken: Taken) -> None:
    assert await taken.ask("/-/healthz") == "serve"
    assert await taken.ask("/v1/models", "websocket") == "serve"
    assert await taken.ask("/v1/models", "lifespan") == "serve"


async def test_a_time_limit_for_serve_is_kept_by_serve(taken: Taken) -> None:
    assert await taken.ask("/v1/models", "http", (TIME_LIMIT, b"3")) == "serve"


async def test_nothing_is_taken_where_no_replica_of_ours_lives(taken: Taken) -> None:
    Shortcut.way = staticmethod(lambda: None)
    assert await taken.ask() == "serve"


def test_the_http_server_of_serve_takes_it_for_an_application() -> None:
    """uvicorn tells versions of ASGI by whether the call is a coroutine."""
    (made,) = middlewares()
    config = uvicorn.Config(made.cls(lambda *_: None), log_config=None)
    config.load()
    assert config.interface == "asgi3"


@pytest.mark.parametrize("alone", [True, False])
async def test_every_answer_bears_the_requests_id_once(alone: bool) -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    exchange = Exchange({"method": "GET", "path": "/", "headers": []}, send, send)  # type: ignore[arg-type]
    exchange.request_id, exchange.alone = "req_1", alone
    await exchange.reply(200, b"", [])
    names = [name for name, value in said[0]["headers"] if value == b"req_1"]
    # Serve adds its own, where it has a part in it.
    assert names == ([b"request-id", b"x-request-id"] if alone else [b"request-id"])
