"""Remembered answers over HTTP: what a client may ask of them, and what he is told, in each API's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.dialects.scripted import Status, Step, Truncate
from runtime.outcome import FinishReason
from runtime.request import ToolCall
from tests.fakes.asgi import Call
from tests.fakes.providers import fails
from tests.serve.test_app import BEARER, Served, chat
from tests.serve.test_surfaces import BODIES, error_of, post, text_of

HELLO = Step(text="hello there")
PRICED = {"one": {"price": {"input": 1_000, "output": 1_000}}}
ON = {"enabled": True}


def caching(*steps: Step, **said: Any) -> Served:
    return Served(*(steps or (HELLO,)), cache={**ON, **said}, providers=PRICED, default_model="one/m")


def asks(path: str, *headers: tuple[bytes, bytes], stream: bool = False) -> Call:
    body = BODIES[path] if path == "/query" else {**BODIES[path], "stream": stream}
    return post(path, body, [*BEARER, *headers])


def said_by(path: str, sent: bytes) -> str:
    """The text of a stream, however it is cut."""
    found = []
    for line in (one.removeprefix("data:").strip() for one in sent.decode().splitlines()):
        if not line.startswith("{"):
            continue
        event = json.loads(line)
        match path:
            case "/v1/chat/completions":
                found += [choice["delta"].get("content") or "" for choice in event.get("choices", ())]
            case "/v1/completions":
                found += [choice.get("text") or "" for choice in event.get("choices", ())]
            case "/v1/responses":
                found += [event["delta"]] if event.get("type") == "response.output_text.delta" else []
            case "/v1/messages":
                found += [event["delta"].get("text", "")] if event.get("type") == "content_block_delta" else []
            case "/api/chat":
                found.append(event["message"]["content"])
            case "/api/generate":
                found.append(event["response"])
            case _:
                found.append(event.get("text", ""))
    return "".join(found)


STREAMED = [path for path in BODIES if path != "/query"]


@pytest.mark.parametrize("path", STREAMED)
async def test_a_stream_is_replayed_as_a_stream_in_each_apis_words(path: str) -> None:
    served = caching()
    first = await served(asks(path, stream=True))
    again = await served(asks(path, stream=True))
    assert served.rig.transport.calls == 1
    assert said_by(path, first.body) == said_by(path, again.body) == "hello there"
    assert (first.headers.get("x-raygate-cache"), again.headers["x-raygate-cache"]) == (None, "hit")
    assert again.headers["content-type"] == first.headers["content-type"]
    assert first.body.splitlines()[-1:] == again.body.splitlines()[-1:] or path.startswith(("/api", "/v1/r", "/v1/m"))


@pytest.mark.parametrize("path", BODIES)
async def test_each_api_shows_what_was_remembered_and_what_that_saved(path: str) -> None:
    served = caching()
    first = await served(asks(path))
    served.rig.clock.advance(7.0)
    again = await served(asks(path))
    assert served.rig.transport.calls == 1
    assert text_of(path, json.loads(again.body)) == text_of(path, json.loads(first.body)) == "hello there"
    cost = first.headers["x-raygate-cost-usd"]
    assert float(cost) > 0.0
    assert (again.headers["x-raygate-cost-usd"], again.headers["x-raygate-saved-usd"]) == ("0.000000000", cost)
    assert (again.headers["x-raygate-cache"], again.headers["age"]) == ("hit", "7")
    assert again.headers["x-raygate-attempts"] == "0"
    told = json.loads(again.body)["raygate"]
    assert told == {
        "cache": "hit",
        "cost_usd": 0.0,
        "saved_usd": float(cost),
        "age_s": 7.0,
        "key": again.headers["x-raygate-cache-key"],
    }
    assert "raygate" not in json.loads(first.body)


async def test_the_last_chunk_of_a_replayed_stream_says_what_it_saved() -> None:
    served = caching()
    first = await served(chat())
    again = await served(chat(stream=True, stream_options={"include_usage": True}))
    usage = next(
        event["usage"]
        for line in again.body.decode().splitlines()
        if line.startswith("data: {") and (event := json.loads(line[6:])).get("usage")
    )
    assert (usage["cost"], usage["saved"]) == (0.0, float(first.headers["x-raygate-cost-usd"]))
    assert again.headers["x-raygate-saved-usd"] == first.headers["x-raygate-cost-usd"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat", "/v1/responses"])
@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_are_remembered_too(path: str, stream: bool) -> None:
    call = ToolCall(id="call_1", name="look_up", arguments='{"what": "rays"}')
    served = caching(Step(tool_calls=(call,)))
    await served(asks(path))
    again = await served(asks(path, stream=stream))
    assert served.rig.transport.calls == 1
    assert again.headers["x-raygate-cache"] == "hit"
    assert b"look_up" in again.body
    assert b"rays" in again.body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "first",
    [
        fails(Status(status=400)),
        fails(Truncate(1), text="one two three"),
        Step(text="cut", finish_reason=FinishReason.LENGTH),
        Step(text="", finish_reason=FinishReason.CONTENT_FILTER),
    ],
    ids=["error", "broken", "cut", "filtered"],
)
async def test_errors_and_cut_answers_are_never_remembered(first: Step, stream: bool) -> None:
    served = Served(first, HELLO, cache=ON, retry={"max_attempts": 1})
    await served(chat(stream=stream))
    again = await served(chat())
    assert json.loads(again.body)["choices"][0]["message"]["content"] == "hello there"
    assert "x-raygate-cache" not in again.headers


# What a request may say.


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("stream", [False, True])
async def test_who_wants_a_remembered_answer_or_none_is_told_504_in_each_apis_words(path: str, stream: bool) -> None:
    for served in (caching(), Served(HELLO, default_model="one/m")):
        call = await served(asks(path, (b"cache-control", b"only-if-cached"), stream=stream))
        assert call.status == 504
        assert "no answer to this request is remembered" in error_of(call.body)
        assert call.headers["x-should-retry"] == "false"
        assert served.rig.transport.calls == 0
    served = caching()
    await served(asks(path))
    assert (await served(asks(path, (b"cache-control", b"only-if-cached"), stream=stream))).status == 200


async def test_an_error_for_want_of_a_remembered_answer_has_a_code() -> None:
    call = await caching()(chat([*BEARER, (b"cache-control", b"only-if-cached")]))
    assert call.error()["code"] == "not_cached"


async def test_no_cache_takes_none_and_leaves_one() -> None:
    served = caching(Step(text="one"), Step(text="two"))
    for word, text in ((b"", "one"), (b"no-cache", "two"), (b"", "two")):
        call = await served(chat([*BEARER, (b"cache-control", word)]))
        assert json.loads(call.body)["choices"][0]["message"]["content"] == text
    assert served.rig.transport.calls == 2


async def test_no_store_takes_none_and_leaves_none() -> None:
    served = caching(Step(text="one"), Step(text="two"), Step(text="three"))
    for word, text in ((b"no-store", "one"), (b"", "two"), (b"no-store", "three"), (b"", "two")):
        call = await served(chat([*BEARER, (b"cache-control", word)]))
        assert json.loads(call.body)["choices"][0]["message"]["content"] == text


@pytest.mark.parametrize(
    ("word", "hit"), [(b"max-age=6", True), (b"max-age=5", False), (b"max-age=0", False), (b"Max-Age=x", False)]
)
async def test_max_age_takes_a_younger_one(word: bytes, hit: bool) -> None:
    served = caching()
    await served(chat())
    served.rig.clock.advance(5.0)
    call = await served(chat([*BEARER, (b"cache-control", b"public, " + word)]))
    assert (call.headers.get("x-raygate-cache") == "hit") == hit


@pytest.mark.parametrize(
    ("said", "calls", "status"),
    [
        ({}, 1, 200),
        ({"no_store": True}, 2, 200),
        ({"no_cache": True}, 2, 200),
        ({"max_age_s": 4}, 2, 200),
        ({"max_age_s": 6}, 1, 200),
        ({"only_if_cached": True}, 1, 200),
        ({"only_if_cached": True, "max_age_s": 4}, 1, 504),
        ({"max_age_s": -1}, 1, 400),
        ({"fresh": True}, 1, 400),
    ],
    ids=str,
)
async def test_a_body_may_say_the_same(said: dict[str, Any], calls: int, status: int) -> None:
    served = caching()
    await served(chat())
    served.rig.clock.advance(5.0)
    call = await served(chat(raygate={"cache": said}))
    assert (call.status, served.rig.transport.calls) == (status, calls)


# What a route says.


async def test_chance_is_remembered_only_where_that_is_asked_for() -> None:
    for sampled, calls in ((False, 2), (True, 1)):
        served = caching(sampled=sampled)
        for _ in range(2):
            await served(chat(temperature=0.8))
        assert served.rig.transport.calls == calls
    served = caching()
    for _ in range(2):
        await served(chat(temperature=0))
    assert served.rig.transport.calls == 1


async def test_a_route_has_a_policy_of_its_own() -> None:
    routes = {
        "off": {"targets": ["one/m"], "cache": {"enabled": False}},
        "short": {"targets": ["one/m"], "cache": {"ttl_s": 5}},
        "chance": {"targets": ["one/m"], "cache": {"sampled": True}},
    }
    served = Served(HELLO, cache=ON, routes=routes)
    for name, temperature, later_s, hit in (
        ("off", None, 0.0, False),
        ("short", None, 4.0, True),
        ("short", None, 5.0, False),
        ("chance", 0.9, 0.0, True),
        ("one/m", 0.9, 0.0, False),
        ("one/m", None, 299.0, True),
    ):
        said = {"model": name, "temperature": temperature, "user": f"{name}{later_s}"}
        await served(chat(**said))
        served.rig.clock.advance(later_s)
        again = await served(chat(**said))
        assert (again.headers.get("x-raygate-cache") == "hit") == hit, name


async def test_one_route_alone_may_remember() -> None:
    served = Served(HELLO, routes={"faq": {"targets": ["one/m"], "cache": {"enabled": True}}})
    for model, hit in (("faq", True), ("one/m", False)):
        await served(chat(model=model))
        assert ((await served(chat(model=model))).headers.get("x-raygate-cache") == "hit") == hit
