"""A client that goes away stops the upstream call within a second, whatever it asked and by whatever path.

Over a real socket at both ends: the clients leave through HAProxy, and the upstream sees its connection close.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import httpx
import pytest
import ray

from runtime.reports import UsageReport
from tests.e2e.conftest import Live, settings, until
from tests.e2e.test_http import PATHS
from tests.fakes.upstream import SSE_HEADERS, Exchange, Upstream, frame

WITHIN_S = 1.0

USER = [{"role": "user", "content": "a question of a few words"}]
CHATS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": USER},
    "/v1/completions": {"prompt": "a question"},
    "/v1/responses": {"input": "a question"},
    "/v1/messages": {"messages": USER, "max_tokens": 9},
    "/api/chat": {"messages": USER},
    "/api/generate": {"prompt": "a question"},
}
PLAIN: dict[str, dict[str, Any]] = {
    **CHATS,
    "/query": {"query": "a question"},
    "/v1/embeddings": {"input": "a text"},
    "/api/embed": {"input": "a text"},
}
CALLS = [(path, body, True) for path, body in CHATS.items()] + [(path, body, False) for path, body in PLAIN.items()]

WORD = (
    b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"four"},"finish_reason":null}]}\n\n'
)


class Endless:
    """An upstream that never comes to an end, and notes when each of its callers left."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.left_at: dict[str, float] = {}
        self.changed = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        said = exchange.request.json()
        model = said["model"]
        self.asked.add(model)
        self.changed.set()
        try:
            if said.get("stream"):
                await exchange.head(200, SSE_HEADERS)
                await exchange.send(frame(WORD))
            await asyncio.Event().wait()
        finally:
            self.left_at[model] = time.monotonic()
            self.changed.set()

    async def until_all(self, seen: Any, count: int) -> None:
        async with asyncio.timeout(30):
            while len(seen) < count:
                self.changed.clear()
                await self.changed.wait()


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_leaves_stops_its_upstream_call_within_a_second(live: Live, path: str) -> None:
    endless = Endless()
    async with Upstream() as upstream:
        upstream.on("/chat/completions", endless)
        upstream.on("/embeddings", endless)
        slow = {"kind": "custom", "base_url": upstream.url, "price": {"input": "1", "output": "1"}}
        providers = {**settings().to_document()["providers"], f"slow-{path}": slow}
        # A ruvLLM query names no model.
        query = f"slow-{path}/m{next(at for at, (url, *_) in enumerate(CALLS) if url == '/query')}"
        await asyncio.to_thread(live.switch, data_path=path, providers=providers, default_model=query)
        try:
            left_at = await _leave_all(live, endless, f"slow-{path}")
        finally:
            await asyncio.to_thread(live.switch)
    took = {name: endless.left_at[name] - left_at[name] for name in left_at}
    assert len(took) == len(CALLS)
    assert max(took.values()) < WITHIN_S, took


async def _leave_all(live: Live, endless: Endless, provider: str) -> dict[str, float]:
    """Have every call made, then every client leave. Returns when each left."""
    names = {f"m{index}": call for index, call in enumerate(CALLS)}
    async with asyncio.TaskGroup() as clients:
        left_at: dict[str, float] = {}
        leave = asyncio.Event()
        for name, (path, body, stream) in names.items():
            clients.create_task(_call(live, path, {**body, "model": f"{provider}/{name}", "stream": stream}, leave))
        try:
            await endless.until_all(endless.asked, len(names))
        finally:
            leave.set()
        for name in names:
            left_at[name] = time.monotonic()
        leave.set()
    await endless.until_all(endless.left_at, len(names))
    await asyncio.to_thread(until, lambda: _counted(live, provider) == dict.fromkeys(names, 1), "all are counted")
    return left_at


async def _call(live: Live, path: str, body: dict[str, Any], leave: asyncio.Event) -> None:
    async with httpx.AsyncClient(base_url=live.url, headers=live.headers, timeout=60) as client:
        asking = asyncio.ensure_future(client.post(path, json=body))
        await leave.wait()
        assert not asking.done(), asking.result().text
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


def _counted(live: Live, provider: str) -> Counter[str]:
    """The requests in the books that were given up but had used their question, by model."""
    # The provider's own book: the manager's has many models by now, and keeps the names of some.
    report: UsageReport = ray.get(live.provider(provider).usage.remote("all"), timeout=30)
    ours = {name.partition("/")[2]: one for name, one in report.models.items() if name.startswith(f"{provider}/")}
    return Counter(
        {
            name: one.requests
            for name, one in ours.items()
            if one.answered == one.errors == 0 and one.input_tokens > 0 and one.cost_nanousd > 0
        }
    )
