"""Hooks and events of the running system: in every replica, over the wire, while settings change."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import ray

from runtime.alerts import is_ours
from runtime.settings import BadSettings
from tests.e2e.conftest import SCRIPTED, Live, settings, until


def chat(live: Live, words: str, **more: Any) -> httpx.Response:
    body = {"model": "alpha/say", "messages": [{"role": "user", "content": words}], **more}
    return httpx.post(f"{live.url}/v1/chat/completions", json=body, headers=live.headers, timeout=30)


def says(text: str) -> dict[str, Any]:
    return {**SCRIPTED, "script": {"steps": [{"text": text, "usage": {"input_tokens": 3, "output_tokens": 3}}]}}


@pytest.fixture(autouse=True)
def as_it_was(live: Live) -> Iterator[None]:
    yield
    live.switch()


class Stream:
    """What a client of `/admin/events` has read so far."""

    def __init__(self, reply: httpx.Response) -> None:
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue()
        self.seen: list[dict[str, Any]] = []
        threading.Thread(target=self._read, args=(reply,), daemon=True).start()

    def _read(self, reply: httpx.Response) -> None:
        try:
            for line in reply.iter_lines():
                if line.startswith("data: "):
                    self._waiting.put(json.loads(line.removeprefix("data: ")))
        except httpx.HTTPError:
            pass  # it was closed

    def all(self) -> list[dict[str, Any]]:
        while not self._waiting.empty():
            self.seen.append(self._waiting.get())
        return self.seen


@contextmanager
def events(live: Live, **query: Any) -> Iterator[Stream]:
    """Read from the moment on at which every replica knows of it."""
    with (
        live.client() as client,
        client.stream("GET", "/admin/events", params=query) as reply,
    ):
        assert reply.status_code == 200
        yield Stream(reply)


def test_a_guard_refuses_in_the_words_of_the_api_that_was_asked(live: Live) -> None:
    live.switch(hooks=[{"use": "guardrail", "with": {"words": ["project x"], "message": "not here"}}])
    for _ in range(6):
        refused = chat(live, "Tell me of Project  X.")
        assert refused.status_code == 400
        error = refused.json()["error"]
        assert (error["type"], error["code"], error["message"]) == (
            "invalid_request_error",
            "content_filter",
            "not here",
        )
    body = {"model": "alpha/say", "max_tokens": 9, "messages": [{"role": "user", "content": "project x"}]}
    said = httpx.post(f"{live.url}/v1/messages", json=body, headers=live.headers, timeout=30)
    assert (said.status_code, said.json()["type"]) == (400, "error")
    assert "not here" in said.json()["error"]["message"]
    assert chat(live, "Tell me of project Y.").status_code == 200


def test_a_redaction_holds_in_a_stream(live: Live) -> None:
    providers = {"alpha": says("I wrote to [EMAIL_1], as you wished.")}
    live.switch(providers=providers, routes={}, hooks=["redact"])
    body = {"model": "alpha/say", "stream": True, "messages": [{"role": "user", "content": "write ann@example.org"}]}
    with events(live, type="request", prompts="true") as seen, live.client() as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as reply:
            lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line.startswith("data: {")]
        until(seen.all, "the request is told")
    pieces = [choice["delta"].get("content") or "" for line in lines for choice in json.loads(line)["choices"]]
    assert "".join(pieces) == "I wrote to ann@example.org, as you wished."
    assert seen.all()[0]["prompt"] == "user: write [EMAIL_1]", "no provider, and no event, has seen the address"


def test_events_are_those_of_every_replica(live: Live) -> None:
    with events(live, type="response,attempt") as seen, ThreadPoolExecutor(12) as many:

        def sources() -> set[str]:
            # At once: one by one they might all go to the replica that does not hold our stream.
            assert {one.status_code for one in many.map(lambda _: chat(live, "hi"), range(12))} == {200}
            return {one["source"] for one in seen.all() if one["type"] == "response"}

        until(lambda: len(sources()) >= 2, "two replicas have told")
        until(lambda: {"response", "attempt"} <= {one["type"] for one in seen.all()}, "both types were told")
    assert {one["type"] for one in seen.all()} == {"response", "attempt"}
    assert all(one["provider"] == "alpha" for one in seen.all())


def test_a_slow_subscriber_sees_what_it_lost(live: Live) -> None:
    with events(live, type="response", most="1") as seen, ThreadPoolExecutor(12) as many:
        assert {one.status_code for one in many.map(lambda _: chat(live, "hi"), range(60))} == {200}
        until(lambda: any(one["type"] == "lost" for one in seen.all()), "a gap is told")
    lost = sum(one["count"] for one in seen.all() if one["type"] == "lost")
    assert lost > 0
    assert lost + sum(one["type"] == "response" for one in seen.all()) <= 60


def test_a_hook_that_cannot_be_made_changes_nothing(live: Live) -> None:
    version = live.control(live.manager, "current")[0]
    for wrong in ("no_such_module:Hook", {"use": "redact", "with": {"kind": ["email"]}}):
        with pytest.raises(ray.exceptions.RayTaskError) as raised:
            live.control(live.manager, "apply_settings", settings(hooks=[wrong]).to_document())
        assert isinstance(raised.value.cause, BadSettings) or "hooks[0]" in str(raised.value)
    assert live.control(live.manager, "current")[0] == version


def test_a_notebook_s_calls_go_through_hooks_too_and_settings_are_told(live: Live) -> None:
    with events(live, type="config") as seen:
        live.switch(hooks=[{"use": "guardrail", "with": {"words": ["project x"]}}])
        until(seen.all, "the new settings are told")
    assert seen.all()[0]["changed"] == ["hooks"]
    said = live.control(
        live.manager, "complete", {"model": "alpha/say", "messages": [{"role": "user", "content": "project x"}]}
    )
    assert said.code == "guardrail"


def test_a_budget_that_is_spent_is_told_by_event_and_by_webhook_once(live: Live) -> None:
    taken: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            ours = is_ours("s3cret", body, self.headers["x-raygate-signature"], now_s=time.time())
            taken.put((self.headers["x-raygate-delivery"], {**json.loads(body), "ours": ours}))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Takes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hook = {"url": f"http://127.0.0.1:{server.server_port}/x", "secret": "s3cret", "allow_private": True}
        live.switch(alerts={"webhooks": [hook]}, models={"alpha/say": {"price": {"input": 1_000, "output": 1_000}}})
        with live.client() as client, events(live, type="budget") as seen:
            wish = {"name": "small", "budgets": [{"period": "day", "limit_usd": 0.01, "hard": False}]}
            made = client.post("/admin/keys", json=wish).json()
            body = {"model": "alpha/say", "messages": [{"role": "user", "content": "hi"}]}
            headers = {"authorization": f"Bearer {made['key']}"}
            for _ in range(4):
                assert client.post("/v1/chat/completions", json=body, headers=headers).status_code == 200
            until(lambda: len(seen.all()) >= 2, "both shares are told", within_s=20.0)
            until(lambda: taken.qsize() >= 2, "both were sent", within_s=20.0)
        server.shutdown()
    sent = [taken.get() for _ in range(taken.qsize())]
    assert sorted(one["alert"] for _, one in sent) == ["budget.spent", "budget.warning"]
    assert len({delivery for delivery, _ in sent}) == 2
    assert all(one["ours"] and one["of"] == made["id"] for _, one in sent)
    assert {(one["scope"], one["id"], one["all"]) for one in seen.all()} == {
        ("key", made["id"], False),
        ("key", made["id"], True),
    }
