"""`/metrics` over HTTP, in process: who may see it, in which form, and what it says while actors are away."""

from __future__ import annotations

import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as read

from runtime.dialects.scripted import Reset, Step
from runtime.feed import KeyInfo
from runtime.ledger.accounts import sha256_of
from runtime.metrics.sums import Sums
from runtime.outcome import Failure, FailureKind
from tests.fakes.asgi import Call
from tests.fakes.providers import fails
from tests.serve.test_app import BEARER, Served, chat

ADMIN = [(b"authorization", b"Bearer rg-admin")]


class Ledger:
    async def ask(self, what: str, *, who: str) -> Any:
        return {"limits": []} if what == "budgets" else Failure(kind=FailureKind.INTERNAL)


class Manager:
    """Holds what the one edge has counted."""

    def __init__(self, served: Served) -> None:
        self._edge = served.edge
        self._sums = Sums()

    async def scrape(self) -> Any:
        edge = self._edge
        self._sums.take("e", edge.meter.take(), (), edge.counters, edge.meter.labels)
        return self._sums.families()


def served(*steps: Step, **said: Any) -> Served:
    made = Served(*steps, **said)
    key = sha256_of("rg-admin")
    made.edge.keys[key] = KeyInfo(sha256=key, name="admin", admin=True)
    made.edge.ledger = Ledger()
    made.edge.manager = Manager(made)  # type: ignore[assignment]  # as much of one as a scrape needs
    return made


def scrape(headers: Any = ADMIN) -> Call:
    return Call("GET", "/metrics", headers=headers)


def samples(call: Call) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    assert call.status == 200, call.body
    families = read(call.body.decode())
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def requests(call: Call) -> dict[tuple[str, ...], float]:
    found = samples(call)
    return {
        tuple(dict(labels)[name] for name in ("surface", "route", "outcome")): value
        for (name, labels), value in found.items()
        if name == "raygate_requests_total"
    }


async def test_only_admins_see_figures_unless_they_are_public() -> None:
    app = served()
    assert (await app(scrape(headers=[]))).status == 401
    assert (await app(scrape(BEARER))).status == 403
    assert (await app(scrape())).status == 200
    assert (await served(metrics={"public": True})(scrape(headers=[]))).status == 200
    assert (await served(metrics={"enabled": False, "public": True})(scrape())).status == 404


async def test_every_way_in_and_every_way_to_fail_is_counted() -> None:
    app = served(Step(text="a"), Step(text="b"), fails(Reset()), Step(text="c"))
    await app(chat())
    await app(chat(stream=True))
    await app(chat())
    await app(chat(headers=[]))
    await app(chat(messages=7))
    await app(Call("POST", "/v1/chat/completions", body=b"{", headers=BEARER))
    body = json.dumps({"model": "one/m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}).encode()
    await app(Call("POST", "/v1/messages", body=body, headers=BEARER))
    await app(Call("POST", "/v1/embeddings", body=b'{"model":"one/e","input":"x"}', headers=BEARER))
    await app(Call("GET", "/v1/models", headers=BEARER))
    found = requests(await app(scrape()))
    assert found["openai", "one/other", "ok"] >= 2
    assert found["openai", "default", "bad_key"] == 1
    assert found["openai", "default", "bad_request"] == 2
    assert found["anthropic", "one/other", "ok"] == 1
    assert sum(found.values()) == 8, "lists of models are not counted"


async def test_a_client_that_leaves_is_counted_as_one() -> None:
    app = served()
    call = chat()
    call.hang_up()
    await app(call)
    found = requests(await app(scrape()))
    assert sum(found.values()) == 1


async def test_the_form_is_the_one_that_was_asked_for() -> None:
    app = served()
    plain = await app(scrape())
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    opened = await app(scrape([*ADMIN, (b"accept", b"application/openmetrics-text; version=1.0.0")]))
    assert opened.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert opened.body.endswith(b"# EOF\n")
