"""Remembered answers over two replicas: who asks, who is given what another has left, and that all forget."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import ray

from actors.names import CACHE, NAMESPACE
from tests.e2e.conftest import REPLICAS, SCRIPTED, Live, until
from tests.e2e.test_lifecycle import Shell

SLOW = {**SCRIPTED, "script": {"steps": [{"text": "worth the wait", "delay_s": 1.5}]}}
PROVIDERS = {"alpha": SCRIPTED, "slow": SLOW}


@pytest.fixture
def cached(live: Live) -> Iterator[Live]:
    live.switch(cache={"enabled": True, "tier": "actor"}, providers=PROVIDERS)
    until(lambda: _actor() is not None, "the actor is there", within_s=60.0)
    yield live
    live.switch()
    until(lambda: _actor() is None, "nobody needs it any more", within_s=60.0)


def _actor() -> Any:
    try:
        return ray.get_actor(CACHE, namespace=NAMESPACE)
    except ValueError:
        return None


def _body(text: str, model: str = "alpha/say", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def _asked(live: Live) -> int:
    """Upstream calls of the whole cluster so far, once all edges have told of theirs."""
    seen = -1

    def still() -> bool:
        nonlocal seen
        before, seen = seen, live.control(live.manager, "usage", "all").requests
        return before == seen

    for _ in range(3):
        until(still, "it is counted")
    return seen


async def _stampede(live: Live, text: str, count: int) -> Counter[str]:
    async with httpx.AsyncClient(
        base_url=live.url, headers=live.headers, timeout=60, limits=httpx.Limits(max_connections=count)
    ) as client:
        calls = [client.post("/v1/chat/completions", json=_body(text, "slow/say")) for _ in range(count)]
        replies = await asyncio.gather(*calls)
    assert {reply.status_code for reply in replies} == {200}
    assert {reply.json()["choices"][0]["message"]["content"] for reply in replies} == {"worth the wait"}
    return Counter(reply.headers.get("x-raygate-cache", "asked") for reply in replies)


def test_a_stampede_is_one_call_of_the_cluster_and_without_a_tier_one_of_each_edge(cached: Live) -> None:
    _await_tier(cached)
    before = _asked(cached)
    words = asyncio.run(_stampede(cached, "everybody wants to know", 500))
    assert words["asked"] == 1
    assert words.total() == 500
    until(lambda: _asked(cached) == before + 1, "one upstream call")
    cached.switch(cache={"enabled": True}, providers=PROVIDERS)
    before = _asked(cached)
    words = asyncio.run(_stampede(cached, "and everybody else", 500))
    assert 1 <= words["asked"] <= REPLICAS
    until(lambda: _asked(cached) == before + words["asked"], "one of each edge")


def _await_tier(cached: Live) -> None:
    """Every replica asks the tier: it is left out for a while where it was slow, as anything is on a busy machine that
    starts up. Nothing is remembered afterwards."""
    shell = Shell(cached.folder)
    fresh = itertools.count()

    def reached() -> bool:
        shell.json("cache", "clear")
        with cached.client() as client:
            for _ in range(10):
                client.post("/v1/chat/completions", json=_body(f"warm up {next(fresh)}"))
        return bool(shell.json("cache", "stats")["shared"].get("entries", 0) == 10)

    until(reached, "the tier is asked by all")
    shell.json("cache", "clear")


def test_every_process_forgets_and_says_so(cached: Live) -> None:
    shell = Shell(cached.folder)
    with cached.client() as client:

        def told(text: str, *, tag: str = "", only: bool = False) -> httpx.Response:
            headers = {"x-raygate-cache-tags": tag, "cache-control": "only-if-cached" if only else ""}
            return client.post("/v1/chat/completions", json=_body(text), headers=headers)

        _await_tier(cached)
        for text in ("tagged", "plain"):
            for _ in range(20):  # each replica has its turn
                assert told(text, tag="faq" if text == "tagged" else "").status_code == 200
        until(lambda: shell.json("cache", "stats")["total"].get("hits", 0) >= 36, "they are counted")
        state = shell.json("cache", "stats")
        assert state["total"]["entries"] >= 2
        assert state["shared"]["entries"] == 2
        done = shell.json("cache", "clear", "--tag", "faq")
        assert (done["followed"], done["shared"]) == (done["processes"], 1)
        assert {told("tagged", only=True).status_code for _ in range(20)} == {504}
        assert {told("plain", only=True).status_code for _ in range(20)} == {200}
        assert cached.control(cached.manager, "clear_cache") >= 1
        until(lambda: {told("plain", only=True).status_code for _ in range(20)} == {504}, "all have forgotten")


def test_the_death_of_the_actor_fails_nobody(cached: Live) -> None:
    with cached.client() as client:
        ray.kill(_actor(), no_restart=False)
        for at in range(30):
            assert client.post("/v1/chat/completions", json=_body(f"number {at}")).status_code == 200
        ours = Counter(
            client.post("/v1/chat/completions", json=_body("number 7")).headers.get("x-raygate-cache")
            for _ in range(20)
        )
        assert ours["hit"] >= 20 - REPLICAS
