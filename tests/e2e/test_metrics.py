"""Figures of the running system: one scrape tells of every replica, also of one that was killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families as read

from tests.e2e.conftest import REPLICAS, Live, until

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(autouse=True)
def as_it_was(live: Live) -> Iterator[None]:
    yield
    live.switch()


def scraped(live: Live) -> Samples:
    with live.client() as client:
        reply = client.get("/metrics")
    assert reply.status_code == 200, reply.text
    return {
        (one.name, frozenset(one.labels.items())): one.value for family in read(reply.text) for one in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return sum(told for (at, said), told in found.items() if at == name and labels.items() <= dict(said).items())


def chats(live: Live, count: int, **more: Any) -> None:
    """All at once, so that every replica has its share."""
    body = {"model": "pair", "messages": [{"role": "user", "content": "hi"}], **more}

    def one(_: int) -> int:
        return httpx.post(f"{live.url}/v1/chat/completions", json=body, headers=live.headers, timeout=30).status_code

    with ThreadPoolExecutor(12) as many:
        assert set(many.map(one, range(count))) == {200}


def answered(live: Live) -> float:
    return value(scraped(live), "raygate_requests_total", route="pair", outcome="ok")


def test_one_scrape_tells_of_all_replicas(live: Live) -> None:
    before, asked_before = answered(live), value(scraped(live), "raygate_attempts_total", outcome="ok")
    chats(live, 40)
    until(lambda: answered(live) == before + 40, "every request is counted once", within_s=10.0)
    found = scraped(live)
    assert value(found, "raygate_attempts_total", outcome="ok") == asked_before + 40
    assert value(found, "raygate_replicas") == REPLICAS
    assert value(found, "raygate_up", part="manager") == value(found, "raygate_up", part="ledger") == 1
    assert value(found, "raygate_breaker_state", provider="alpha", state="closed") == 1
    name = "gen_ai_client_operation_duration_seconds_count"
    assert value(found, name, gen_ai_provider_name="scripted", gen_ai_request_model="say") >= 40


def test_a_replica_s_counts_stay_when_it_is_killed(live: Live) -> None:
    before = answered(live)
    chats(live, 40)
    until(lambda: answered(live) == before + 40, "all is counted", within_s=10.0)
    killed, *_ = live.replicas()
    os.kill(killed, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(killed), "it is dead")

    def again() -> bool:
        try:
            return len(set(live.replicas()) - {killed}) >= REPLICAS and answered(live) >= before + 40
        except (httpx.HTTPError, AssertionError):
            return False  # the proxy has not heard yet that it is gone

    until(again, "another one has come, and nothing is forgotten", within_s=60.0)
    until(lambda: len(live.following()) >= REPLICAS, "it follows the manager")


def test_a_call_by_the_manager_s_handle_is_counted_too(live: Live) -> None:
    def by_handle() -> float:
        return value(scraped(live), "raygate_requests_total", surface="handle", outcome="ok")

    before = by_handle()
    asked = {"model": "alpha/say", "messages": [{"role": "user", "content": "hi"}]}
    assert ray.get(live.manager.complete.remote(asked)).text
    until(lambda: by_handle() == before + 1, "it is counted", within_s=10.0)


def test_without_the_manager_a_replica_tells_what_it_knows(live: Live) -> None:
    chats(live, 10)
    pid = live.overview()["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        found = scraped(live)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert value(found, "raygate_up", part="manager") == 0
    assert value(found, "raygate_requests_total") > 0
    until(lambda: value(scraped(live), "raygate_up", part="manager") == 1, "the manager answers again")
