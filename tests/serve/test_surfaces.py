"""Every API that we speak, in process: right words, right errors, right lists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.dialects.scripted import ErrorEvent, Status, Step
from runtime.outcome import Usage
from runtime.request import ToolCall
from serve.endpoints import CHATS, ROUTES
from serve.openapi import document
from tests.fakes.asgi import Call
from tests.fakes.providers import fails
from tests.serve.test_app import BEARER, Served

USER = [{"role": "user", "content": "hi"}]
HELLO = Step(text="hello", usage=Usage(input_tokens=3, output_tokens=2))
CALLS = Step(tool_calls=(ToolCall(id="c1", name="f", arguments='{"x":1}'), ToolCall(id="c2", name="f", arguments="{}")))
ANTHROPIC = [*BEARER, (b"anthropic-version", b"2023-06-01")]

BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "one/m", "messages": USER},
    "/v1/completions": {"model": "one/m", "prompt": "hi"},
    "/v1/responses": {"model": "one/m", "input": "hi"},
    "/v1/messages": {"model": "one/m", "messages": USER, "max_tokens": 9},
    "/api/chat": {"model": "one/m", "messages": USER},
    "/api/generate": {"model": "one/m", "prompt": "hi"},
    "/query": {"query": "hi"},
}


def post(path: str, body: Any, headers: Any = BEARER) -> Call:
    return Call("POST", path, body=json.dumps(body).encode(), headers=headers)


async def asked(served: Served, path: str, **more: Any) -> Call:
    return await served(post(path, {**BODIES[path], "stream": False, **more}))


def text_of(path: str, body: Any) -> str:
    """Where each API has its answer."""
    match path:
        case "/v1/chat/completions":
            return str(body["choices"][0]["message"]["content"])
        case "/v1/completions":
            return str(body["choices"][0]["text"])
        case "/v1/responses":
            return str(body["output"][0]["content"][0]["text"])
        case "/v1/messages":
            return str(body["content"][0]["text"])
        case "/api/chat":
            return str(body["message"]["content"])
        case "/api/generate":
            return str(body["response"])
        case _:
            return str(body["text"])


def error_of(body: bytes) -> str:
    """The sentence, wherever this API has it."""
    if not body.startswith(b"{"):
        return body.decode()
    error = json.loads(body)["error"]
    return str(error["message"] if isinstance(error, dict) else error)


@pytest.mark.parametrize("path", BODIES)
async def test_each_api_answers_in_its_own_words(path: str) -> None:
    body = {name: value for name, value in BODIES[path].items() if path != "/query" or name == "query"}
    call = await Served(HELLO, default_model="one/m")(
        post(path, {**body, "stream": False} if path.startswith("/api") else body)
    )
    assert call.status == 200, call.body
    assert text_of(path, json.loads(call.body)) == "hello"
    assert call.headers["x-raygate-provider"] == "one"
    assert call.headers["request-id"]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("wrong", [b"{oops", b"[]", b"{}"])
async def test_each_api_says_what_is_wrong_in_its_own_words(path: str, wrong: bytes) -> None:
    call = await Served(HELLO)(Call("POST", path, body=wrong, headers=BEARER))
    assert call.status in (400, 404)
    assert error_of(call.body)
    refused = await Served(HELLO)(Call("POST", path, body=wrong))
    assert refused.status == 401
    assert "no key was sent" in error_of(refused.body)


@pytest.mark.parametrize("path", BODIES)
async def test_each_api_tells_a_throttle_and_when_to_come_back(path: str) -> None:
    served = Served(fails(Status(status=429, retry_after_s=7.0)), default_model="one/m", retry={"max_attempts": 1})
    body = BODIES[path] if path == "/query" else {**BODIES[path], "stream": False}
    call = await served(post(path, body))
    assert call.status == 429
    assert (call.headers["retry-after"], call.headers["retry-after-ms"]) == ("7", "7000")
    assert call.headers["x-should-retry"] == "true"


STREAM_ENDS = {
    "/v1/chat/completions": b"data: [DONE]",
    "/v1/completions": b"data: [DONE]",
    "/v1/responses": b"event: response.completed",
    "/v1/messages": b"event: message_stop",
    "/api/chat": b'"done":true',
    "/api/generate": b'"done":true',
}


@pytest.mark.parametrize("path", STREAM_ENDS)
async def test_streams_end_in_their_mark_and_broken_ones_do_not(path: str) -> None:
    whole = await Served(HELLO)(post(path, {**BODIES[path], "stream": True}))
    assert whole.status == 200
    assert STREAM_ENDS[path] in whole.body
    broken = Step(chunks=("hel", "lo"), fault=ErrorEvent(after=1, type="overloaded_error", message="too much"))
    cut = await Served(broken)(post(path, {**BODIES[path], "stream": True}))
    assert cut.status == 200
    assert b"hel" in cut.body
    assert STREAM_ENDS[path] not in cut.body
    assert b"too much" in cut.body


@pytest.mark.parametrize("path", ["/v1/messages", "/api/chat", "/v1/responses"])
async def test_parallel_calls_of_one_tool_keep_apart(path: str) -> None:
    whole = await asked(Served(CALLS), path)
    streamed = await Served(CALLS)(post(path, {**BODIES[path], "stream": True}))
    for call in (whole, streamed):
        assert call.status == 200
        assert call.body.count(b'"c1"') >= 1
        assert call.body.count(b'"c2"') >= 1


async def test_models_in_the_form_of_who_asks() -> None:
    served = Served(HELLO)
    ours = json.loads((await served(Call("GET", "/v1/models", headers=BEARER))).body)
    theirs = json.loads((await served(Call("GET", "/v1/models", headers=ANTHROPIC))).body)
    tags = json.loads((await served(Call("GET", "/api/tags", headers=BEARER))).body)
    assert ours["object"] == "list"
    assert theirs["data"][0]["type"] == "model"
    assert theirs["has_more"] is False
    assert tags["models"][0]["name"] == ours["data"][0]["id"] == theirs["data"][0]["id"]
    one = await served(Call("GET", f"/v1/models/{ours['data'][0]['id']}", headers=ANTHROPIC))
    assert json.loads(one.body)["type"] == "model"
    unknown = await served(Call("GET", "/v1/models/nobody/x", headers=ANTHROPIC))
    assert unknown.status == 404
    assert json.loads(unknown.body)["error"]["type"] == "not_found_error"


async def test_a_count_of_tokens_is_marked_as_an_estimate() -> None:
    call = await Served()(post("/v1/messages/count_tokens", {"model": "one/m", "messages": USER}))
    assert json.loads(call.body) == {"input_tokens": 1, "estimated": True}


async def test_what_ollamas_clients_look_for() -> None:
    served = Served(HELLO)
    assert (await served(Call("GET", "/"))).status == 200
    assert "version" in json.loads((await served(Call("GET", "/api/version"))).body)
    shown = await served(post("/api/show", {"model": "one/scripted"}))
    assert "capabilities" in json.loads(shown.body)
    loaded = await served(post("/api/chat", {"model": "one/scripted", "messages": []}))
    assert json.loads(loaded.body)["done_reason"] == "load"
    vectors = await served(post("/api/embed", {"model": "one/m", "input": ["a", "b"]}))
    assert [len(vector) for vector in json.loads(vectors.body)["embeddings"]] == [64, 64]
    nothing = await served(Call("GET", "/api/nothing", headers=BEARER))
    assert isinstance(json.loads(nothing.body)["error"], str)


async def test_learning_that_is_switched_off_says_so() -> None:
    served = Served(HELLO, learning={"enabled": False})
    metrics = json.loads((await served(Call("GET", "/v1/sona/metrics", headers=BEARER))).body)
    assert metrics["enabled"] is False
    verdict = {"query": "q", "response": "r", "quality": 0.5}
    said = {"/v1/sona/learn": {}, "/v1/hnsw/search": {"query": "q"}, "/feedback": verdict}
    for path, body in {**said, "/v1/feedback": {"request_id": "r", "score": 1}}.items():
        refused = await served(post(path, body))
        assert (refused.status, b"switched off" in refused.body) == (404, True)
    assert (await served(post("/feedback", {**verdict, "quality": 5}))).status == 400
    assert json.loads((await served(post("/session", {}))).body)["session_id"]
    await served(post("/query", {"query": "hi"}))
    assert json.loads((await served(Call("GET", "/stats", headers=BEARER))).body)["memory_nodes"] == 0


async def test_the_document_names_every_path_and_no_other() -> None:
    served = Served()
    told = {
        path.removeprefix("/v1").rstrip("/")
        for path in json.loads((await served(Call("GET", "/openapi.json"))).body)["paths"]
        if not path.startswith("/admin/")
    }
    aliases = {"", "/health/liveliness", "/health/liveness", "/openapi.json", "/docs", "/api/ps", "/api/embeddings"}
    assert told - {"/models/{model}", "/session/{session}"} == (CHATS.keys() | ROUTES.keys()) - aliases
    assert document("1")["openapi"].startswith("3.1")
    page = await served(Call("GET", "/docs"))
    assert page.headers["content-type"].startswith("text/html")
    assert b"/v1/messages" in page.body


async def test_a_choice_is_explained_and_nobody_is_asked() -> None:
    served = Served(HELLO)
    call = await served(post("/v1/route/explain", {"model": "one/m", "messages": USER}))
    told = json.loads(call.body)
    assert (call.status, told["candidates"][0]["provider"], told["dropped"]) == (200, "one", [])
    unknown = await served(post("/v1/route/explain", {"model": "nobody/x", "messages": USER}))
    assert unknown.status == 404
