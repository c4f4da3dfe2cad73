"""What a client sees over HTTP, on both data paths."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.e2e.conftest import Live

PATHS = ("edge", "actor")


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, live: Live) -> Iterator[str]:
    """Each test once with requests served by the replica itself, once through the manager's and providers' actors."""
    wanted: str = request.param
    live.switch(data_path=wanted)
    yield wanted
    live.switch()


def ask(model: str, text: str = "hello", **more: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def test_scripted_answer(live: Live, path: str) -> None:
    with live.client() as client:
        reply = client.post("/v1/chat/completions", json=ask("alpha/say"))
    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["message"]["content"] == "one two three"
    assert reply.json()["usage"]["total_tokens"] == 6
    assert reply.headers["x-raygate-provider"] == "alpha"
    assert len(reply.headers.get_list("x-request-id")) == 1


def test_embedded_model_gives_real_tokens(live: Live, path: str) -> None:
    with live.client() as client:
        reply = client.post("/v1/chat/completions", json=ask("local/smollm2-135m", max_tokens=8))
    body = reply.json()
    assert reply.status_code == 200, reply.text
    assert body["choices"][0]["message"]["content"].strip()
    assert 0 < body["usage"]["completion_tokens"] <= 8
    assert body["usage"]["cost"] == 0


def test_openai_sdk_streams(live: Live, path: str) -> None:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.key) as client:
        stream = client.chat.completions.create(
            model="local/smollm2-135m",
            messages=[{"role": "user", "content": "Say hello."}],
            max_tokens=12,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).strip()
    assert chunks[-1].usage is not None
    assert 0 < chunks[-1].usage.completion_tokens <= 12


def test_openai_sdk_sees_typed_errors(live: Live, path: str) -> None:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.key, max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="no provider serves"):
            client.chat.completions.create(model="gpt-77", messages=[{"role": "user", "content": "x"}])
        with pytest.raises(openai.BadRequestError, match="temperature"):
            client.chat.completions.create(
                model="alpha/say",
                messages=[{"role": "user", "content": "x"}],
                temperature="hot",  # type: ignore[call-overload]  # the mistake under test
            )
    with (
        openai.OpenAI(base_url=f"{live.url}/v1", api_key="rg-wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="not known"),
    ):
        client.models.list()


def test_unknown_field_travels_or_is_named(live: Live, path: str) -> None:
    with live.client() as client:
        kept = client.post("/v1/chat/completions", json=ask("local/smollm2-135m", max_tokens=2, logit_bias={"5": 1}))
        named = client.post("/v1/chat/completions", json=ask("alpha/say", logit_bias={"5": 1}))
    assert "x-raygate-dropped" not in kept.headers
    assert named.headers["x-raygate-dropped"] == "logit_bias"
    assert "logit_bias" in named.headers["warning"]


def test_round_robin_over_a_route(live: Live, path: str) -> None:
    with live.client() as client:
        seen = [client.post("/v1/chat/completions", json=ask("pair")).headers["x-raygate-provider"] for _ in range(12)]
    assert set(seen) == {"alpha", "beta"}


def test_model_list(live: Live, path: str) -> None:
    with live.client() as client:
        listed = {model["id"] for model in client.get("/v1/models").json()["data"]}
        one = client.get("/v1/models/alpha/say")
        none = client.get("/v1/models/gpt-77")
    assert {"alpha/say", "beta/say", "local/smollm2-135m"} <= listed
    assert one.json()["id"] == "alpha/say"
    assert none.status_code == 404


BAD = {
    "not JSON": (b'{"model": ', 400, "not JSON"),
    "no object": (b"[1]", 400, "object"),
    "no messages": (b'{"model": "alpha/say"}', 400, "messages"),
    "wrong type": (b'{"model": "alpha/say", "messages": "hi"}', 400, "messages"),
    "wrong role": (b'{"model": "alpha/say", "messages": [{"role": "king", "content": "x"}]}', 400, "role"),
    "unknown model": (json.dumps(ask("gpt-77")).encode(), 404, "GET /v1/models"),
    "empty": (b"", 400, "not JSON"),
    "not UTF-8": (b"\xff\xfe{}", 400, "not JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_body_gets_an_envelope(live: Live, name: str) -> None:
    body, status, word = BAD[name]
    with live.client() as client:
        reply = client.post("/v1/chat/completions", content=body)
    _envelope(reply, status, word)


def test_oversized_body(live: Live) -> None:
    with live.client() as client:
        reply = client.post("/v1/chat/completions", content=b"x" * 50 * 1024 * 1024)
        chunked = client.post("/v1/chat/completions", content=iter([b"x" * 1024 * 1024] * 50))
    _envelope(reply, 413, "max_body_bytes")
    _envelope(chunked, 413, "max_body_bytes")


def test_keys(live: Live) -> None:
    with httpx.Client(base_url=live.url) as stranger:
        _envelope(stranger.get("/v1/models"), 401, "no key")
        _envelope(stranger.get("/v1/models", headers={"authorization": "Bearer rg-x"}), 401, "not known")
        assert stranger.get("/v1/models", headers={"x-api-key": live.key}).status_code == 200
        for free in ("/health/liveliness", "/health/liveness", "/health/readiness", "/version"):
            assert stranger.get(free).status_code == 200


def test_wrong_path_and_method(live: Live) -> None:
    with live.client() as client:
        _envelope(client.get("/v1/nothing"), 404, "GET /docs")
        _envelope(client.get("/v1/chat/completions"), 405, "POST")


def _envelope(reply: httpx.Response, status: int, word: str) -> None:
    error = reply.json()["error"]
    assert reply.status_code == status, reply.text
    assert set(error) == {"message", "type", "param", "code"}
    assert word in error["message"]
    assert "Traceback" not in reply.text
