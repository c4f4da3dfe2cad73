"""Feedback, sessions, search and metrics over HTTP, with RuVector's real actor behind them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.reading import Reader
from actors.ruvector_actor import RuVectorActor
from runtime.dialects.scripted import Step
from runtime.feed import KeyInfo
from runtime.hooks.chain import Chain
from runtime.hooks.redact import Redact
from runtime.ledger.accounts import sha256_of
from runtime.outcome import Failure, FailureKind, Usage
from runtime.request import EmbedRequest
from runtime.settings import EmbeddingsSettings
from tests.fakes.asgi import Call
from tests.fakes.clock import FakeClock, turns
from tests.fakes.learning import Near, actor, edge_learning
from tests.hooks.rigged import mounted
from tests.serve.test_app import BEARER, Served
from tests.serve.test_surfaces import post

HELLO = Step(text="hello", usage=Usage(input_tokens=3, output_tokens=2))
PRICES = {"one/a": {"price": {"input": 1, "output": 1}}, "one/b": {"price": {"input": 9, "output": 9}}}
ROUTES = {"pick": {"targets": ["one/a", "one/b"], "strategy": "learned"}}


class Learning(Served):
    """An application whose edge has RuVector's actor at hand."""

    def __init__(self, owner: RuVectorActor | None) -> None:
        super().__init__(HELLO, models=PRICES, routes=ROUTES, default_model="pick", learning={"least_feedback": 4})
        self.edge.learning = edge_learning(Near(owner))
        self.edge.gateway.policy = replace(self.edge.gateway.policy, adviser=self.edge.learning)

    async def ask(self, words: str, request_id: str = "req_1") -> Call:
        body = {"model": "pick", "messages": [{"role": "user", "content": words}]}
        return await self(post("/v1/chat/completions", body, [*BEARER, (b"x-request-id", request_id.encode())]))

    async def got(self, path: str) -> Any:
        call = await self(Call("GET", path, headers=BEARER))
        assert call.status == 200, call.body
        return json.loads(call.body)


@asynccontextmanager
async def learning(folder: Path, **said: Any) -> AsyncIterator[Learning]:
    owner = actor(folder, **{"warm_up": 8, "least_feedback": 4, **said})
    served = Learning(owner)
    await served.edge.learning.awake()
    yield served
    await served.edge.learning.stop()
    await owner.close()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncGenerator[Learning]:
    async with learning(tmp_path) as made:
        yield made


async def test_feedback_by_an_answers_id_is_learned_once_it_is_kept(served: Learning) -> None:
    for number in range(9):
        await served.ask(f"tell me of the sea, {number}", f"req_{number}")
    call = await served(post("/v1/feedback", {"request_id": "req_3", "score": 0.9}))
    told = json.loads(call.body)
    assert call.status == 200, call.body
    assert (told["learned"][0]["quality"], told["learned"][0]["weight"]) == (0.9, 1.0)
    metrics = await served.got("/v1/sona/metrics")
    assert (metrics["enabled"], metrics["judged"], metrics["prompts"]) == (True, 1.0, 9)
    assert set(metrics["models"]) == {"one/a", "one/b"}
    stats = await served.got("/stats")
    assert (stats["memory_nodes"], stats["router_updates"]) == (9, 1)


async def test_ruvllms_feedback_finds_the_answer_by_its_question(served: Learning) -> None:
    await served.ask("what is a ray?", "req_a")
    verdict = {"query": "what is a ray?", "response": "hello", "quality": 0.2}
    told = json.loads((await served(post("/feedback", verdict))).body)
    assert (told["request_id"], told["learned"][0]["quality"]) == ("req_a", 0.2)
    unknown = await served(post("/feedback", {**verdict, "query": "nobody asked this"}))
    assert unknown.status == 400


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"score": 1}, "request_id"),
        ({"request_id": "req_1"}, "say how good"),
        ({"request_id": "req_1", "score": "good"}, "number"),
        ({"request_id": "req_1", "label": "splendid"}, "no label"),
    ],
)
async def test_feedback_that_says_nothing_is_a_400_that_names_the_field(
    served: Learning, body: dict[str, Any], word: str
) -> None:
    await served.ask("what is a ray?")
    call = await served(post("/v1/feedback", body))
    assert call.status == 400
    assert word in call.error()["message"]


async def test_feedback_needs_a_key_and_each_key_has_a_rate(tmp_path: Path) -> None:
    async with learning(tmp_path, feedback_per_min=2) as served:
        await served.ask("what is a ray?")
        body = {"request_id": "req_1", "score": 1}
        assert (await served(post("/v1/feedback", body, []))).status == 401
        statuses = [(await served(post("/v1/feedback", body))).status for _ in range(3)]
        assert statuses == [200, 200, 429]
        other = KeyInfo(sha256=sha256_of("rg-other"), name="other", tenant="us")
        served.edge.keys = {**served.edge.keys, other.sha256: other}
        again = await served(post("/v1/feedback", body, [(b"authorization", b"Bearer rg-other")]))
        assert again.status == 200


async def test_what_was_asked_is_found_by_meaning(served: Learning) -> None:
    await served.ask("how do I cook rice?", "req_rice")
    await served.ask("who won the football match?", "req_ball")
    await served.edge.learning.flush()
    found = json.loads((await served(post("/v1/hnsw/search", {"query": "how do I cook rice?", "limit": 1}))).body)
    assert [one["id"] for one in found] == ["req_rice"]
    assert found[0]["similarity"] > 0.99
    assert found[0]["content"] is None
    assert (await served(post("/v1/hnsw/search", {"vector": [1.0, 2.0]}))).status == 400


async def test_a_session_is_kept_and_answers_know_what_was_said(served: Learning) -> None:
    name = json.loads((await served(post("/session", {}))).body)["session_id"]
    for query in ("my name is Ada", "what is my name?"):
        assert (await served(post("/query", {"query": query, "session_id": name}))).status == 200
    kept = await served.got(f"/session/{name}")
    assert [(one["role"], one["content"]) for one in kept["turns"]] == [
        ("user", "my name is Ada"),
        ("assistant", "hello"),
        ("user", "what is my name?"),
        ("assistant", "hello"),
    ]
    sent = served.rig.transport.sent[-1]
    assert "my name is Ada" in str(sent)
    other = KeyInfo(sha256=sha256_of("rg-other"), name="other", tenant="us")
    served.edge.keys = {**served.edge.keys, other.sha256: other}
    assert (await served(Call("GET", f"/session/{name}", headers=[(b"x-api-key", b"rg-other")]))).status == 404


async def test_an_owner_that_is_away_keeps_no_answer_back() -> None:
    served = Learning(None)
    await served.edge.learning.awake()
    assert (await served.ask("what is a ray?")).status == 200
    assert (await served(post("/query", {"query": "hi", "session_id": "s"}))).status == 200
    refused = await served(post("/v1/feedback", {"request_id": "req_1", "score": 1}))
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    await served.edge.learning.stop()


async def test_learning_is_saved_when_asked_for(served: Learning) -> None:
    await served.ask("what is a ray?")
    await served.edge.learning.flush()
    call = await served(post("/v1/sona/learn", {}))
    assert (call.status, json.loads(call.body)["saved"]) == (200, True)


async def test_feedback_waits_for_a_decision_that_another_edge_has_not_told_of_yet(served: Learning) -> None:
    judging = asyncio.create_task(served(post("/v1/feedback", {"request_id": "req_late", "score": 1})))
    await asyncio.sleep(0)
    await served.ask("what is a ray?", "req_late")
    assert (await judging).status == 200


async def explained(served: Learning, words: str) -> Any:
    body = {"model": "pick", "messages": [{"role": "user", "content": words}]}
    call = await served(post("/v1/route/explain", body))
    assert call.status == 200, call.body
    return json.loads(call.body)


@pytest.mark.parametrize("keep_text", [False, True])
async def test_an_explanation_shows_what_a_choice_rests_on(tmp_path: Path, keep_text: bool) -> None:
    async with learning(tmp_path, keep_text=keep_text) as served:
        adviser = served.edge.learning.adviser
        assert adviser is not None
        adviser.keep_text = keep_text
        for number in range(9):
            await served.ask(f"tell me of the sea, {number}", f"req_{number}")
            assert (await served(post("/v1/feedback", {"request_id": f"req_{number}", "score": 0.9}))).status == 200
        lessons = await served.edge.learning.owner.poll({"default": (0, -1)}, 1.0)
        assert lessons is not None
        await served.edge.learning._adopt(lessons)
        told = await explained(served, "tell me of the sea, 3")
        for _ in range(20):  # on a machine that is busy the owner may be late
            if "neighbours" not in told:
                told = await explained(served, "tell me of the sea, 3")
        terms = told["candidates"][0]["terms"]
        assert {"quality", "doubt", "worth", "propensity", "expected_nanousd"} <= terms.keys()
        assert terms["evidence"] == 9.0
        first = told["neighbours"][0]
        assert (first["request_id"], first["quality"], len(told["neighbours"])) == ("req_3", 0.9, 5)
        assert first.get("text") == ("tell me of the sea, 3" if keep_text else None)


async def test_an_explanation_without_its_owner_is_one_without_neighbours() -> None:
    served = Learning(None)
    await served.edge.learning.awake()
    assert "neighbours" not in await explained(served, "what is a ray?")
    await served.edge.learning.stop()


async def test_a_text_that_hooks_would_change_is_not_sent_to_be_embedded_for_an_explanation() -> None:
    served, sent = Learning(None), list[str]()
    learning = served.edge.learning
    await learning.awake()

    async def vectors(request: EmbedRequest) -> Failure:
        sent.extend(request.inputs)
        return Failure(kind=FailureKind.UNAVAILABLE)

    learning._reader = Reader(EmbeddingsSettings(model="lab/embed", dimension=16), vectors, clock=lambda: 0.0)
    policy = served.edge.gateway.policy
    served.edge.gateway.policy = replace(policy, hooks=Chain([mounted(Redact(), FakeClock())], kinds={}))
    await explained(served, "mail ann@example.org")
    await turns()
    assert sent == []
    served.edge.gateway.policy = policy
    await explained(served, "mail ann@example.org")
    await turns()
    assert sent == ["mail ann@example.org"]
    await learning.stop()


async def test_names_by_which_it_chooses_are_listed_where_there_is_a_choice(served: Learning) -> None:
    listed = await served.got("/v1/models")
    names = [one["id"] for one in listed["data"]]
    assert {"one/a", "one/b"} <= set(names)
    assert names[-4:] == [f"ruvector-{taste}" for taste in ("auto", "fast", "quality", "balanced")]
    assert listed["data"][-1]["owned_by"] == "raygate"
    assert (await served.got("/v1/models/ruvector-fast"))["id"] == "ruvector-fast"
    tags = await served.got("/api/tags")
    assert [one["name"] for one in tags["models"]] == names
    ours = await served(Call("GET", "/v1/models", headers=[*BEARER, (b"anthropic-version", b"2023-06-01")]))
    assert [one["id"] for one in json.loads(ours.body)["data"]] == names
    alone = Served(HELLO)
    told = await alone(Call("GET", "/v1/models", headers=BEARER))
    assert b"ruvector" not in told.body
