"""Embeddings against the providers' own SDKs: they would send what we send, and read what we read.

Each SDK runs for real on a transport that answers from here. No recording has embeddings.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cohere
import httpx
import ollama
import openai
import orjson
import pytest
from google import genai
from google.genai import types

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.registry import DIALECTS
from runtime.outcome import Embeddings, Failure, FailureKind
from runtime.request import EmbedRequest
from tests.wire.contracts import cohere_embed_check

Json = Any
Vectors = list[list[float]]
INPUTS = ("one", "zwei", "三")
VECTORS = [[0.25, -0.5], [1.0, 0.0], [-0.125, 0.75]]


@dataclass(frozen=True)
class Sdk:
    """One provider's SDK: where it calls, what its provider answers, and a call of three texts by it."""

    base_url: str
    model: str
    reply: Json
    call: Callable[[httpx.BaseTransport], Vectors]
    input_tokens: int | None = 6


def by_openai(transport: httpx.BaseTransport) -> Vectors:
    sdk = openai.OpenAI(
        api_key="k", base_url="https://api.openai.com/v1", http_client=httpx.Client(transport=transport)
    )
    answer = sdk.embeddings.create(model="m", input=list(INPUTS), dimensions=2, encoding_format="float", user="u")
    return [one.embedding for one in answer.data]


def by_google(transport: httpx.BaseTransport) -> Vectors:
    options = types.HttpOptions(api_version="v1beta", httpx_client=httpx.Client(transport=transport))
    sdk = genai.Client(api_key="k", http_options=options)
    config = types.EmbedContentConfig(output_dimensionality=2, task_type="RETRIEVAL_QUERY")
    answer = sdk.models.embed_content(model="gemini-embedding-001", contents=list(INPUTS), config=config)
    return [list(one.values or ()) for one in answer.embeddings or ()]


def by_cohere(transport: httpx.BaseTransport) -> Vectors:
    sdk = cohere.ClientV2(api_key="k", httpx_client=httpx.Client(transport=transport))
    answer = sdk.embed(
        model="m", texts=list(INPUTS), input_type="search_query", embedding_types=["float"], output_dimension=2
    )
    return [list(one) for one in answer.embeddings.float_ or ()]


def by_ollama(transport: httpx.BaseTransport) -> Vectors:
    sdk = ollama.Client(host="http://127.0.0.1:11434", transport=transport)
    answer = sdk.embed(model="m", input=list(INPUTS), dimensions=2)
    return [list(one) for one in answer.embeddings]


SDKS = {
    "openai": Sdk(
        base_url="https://api.openai.com/v1",
        model="m",
        reply={
            "object": "list",
            "data": [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(VECTORS)],
            "model": "m",
            "usage": {"prompt_tokens": 6, "total_tokens": 6},
        },
        call=by_openai,
    ),
    "google": Sdk(
        base_url="https://generativelanguage.googleapis.com/v1beta",
        model="gemini-embedding-001",
        reply={"embeddings": [{"values": one} for one in VECTORS]},
        call=by_google,
        input_tokens=None,
    ),
    "cohere": Sdk(
        base_url="https://api.cohere.com",
        model="m",
        reply={
            "id": "e1",
            "embeddings": {"float": VECTORS},
            "texts": list(INPUTS),
            "response_type": "embeddings_by_type",
            "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 6}},
        },
        call=by_cohere,
    ),
    "ollama": Sdk(
        base_url="http://127.0.0.1:11434",
        model="m",
        reply={"model": "m", "embeddings": VECTORS, "total_duration": 9, "load_duration": 1, "prompt_eval_count": 6},
        call=by_ollama,
    ),
}
every_sdk = pytest.mark.parametrize("name", SDKS)


def target(name: str) -> Target:
    return Target(provider="p", base_url=SDKS[name].base_url, model=SDKS[name].model, api_key="k")


def request(name: str) -> EmbedRequest:
    return EmbedRequest(inputs=INPUTS, dimensions=2, purpose="query", user="u" if name == "openai" else None)


def seen_by_sdk(name: str) -> tuple[httpx.Request, Vectors]:
    """The request that the SDK sends, and the vectors that it reads in the reply."""
    calls: list[httpx.Request] = []

    def answer(call: httpx.Request) -> httpx.Response:
        calls.append(call)
        return httpx.Response(200, json=SDKS[name].reply)

    vectors = SDKS[name].call(httpx.MockTransport(answer))
    return calls[0], vectors


def plain(body: Json) -> Json:
    """Without the role that Google's SDK adds to a text: absent means user."""
    if "requests" in body:
        for one in body["requests"]:
            assert one["content"].pop("role", "user") == "user"
    return body


@every_sdk
def test_we_send_what_the_sdk_sends(name: str) -> None:
    theirs, _ = seen_by_sdk(name)
    ours = DIALECTS[name].encode_embed(request(name), target(name))
    assert isinstance(ours, HttpCall)
    assert ours.method == theirs.method
    assert ours.url == str(theirs.url)
    assert orjson.loads(ours.body) == plain(json.loads(theirs.content))
    assert ours.dropped == (() if name in ("google", "cohere") else ("purpose",))


@every_sdk
def test_we_read_what_the_sdk_reads(name: str) -> None:
    _, theirs = seen_by_sdk(name)
    reply = HttpReply(status=200, headers={}, body=orjson.dumps(SDKS[name].reply))
    ours = DIALECTS[name].decode_embed(reply, target(name))
    assert isinstance(ours, Embeddings)
    assert [list(one) for one in ours.vectors] == theirs == VECTORS
    tokens = SDKS[name].input_tokens
    assert ours.usage.estimated is (tokens is None)
    assert ours.usage.input_tokens == (tokens or 0)


@every_sdk
@pytest.mark.parametrize("purpose", [None, "query", "document", "classification", "clustering", "similarity"])
def test_every_purpose_is_sent_or_named(name: str, purpose: Any) -> None:
    call = DIALECTS[name].encode_embed(EmbedRequest(inputs=INPUTS, purpose=purpose), target(name))
    assert isinstance(call, HttpCall)
    said = any(word in call.body for word in (b"taskType", b"input_type"))
    if purpose is not None:
        assert said is not (b"purpose" in str(call.dropped).encode()) or name == "cohere"
    if name == "cohere":
        assert cohere_embed_check()(orjson.loads(call.body)) == set()
        assert ("purpose" in call.dropped) is (purpose == "similarity")


@every_sdk
def test_a_refused_embedding_is_a_failure(name: str) -> None:
    reply = HttpReply(status=429, headers={"retry-after": "3"}, body=b'{"error":{"message":"slow down"}}')
    got = DIALECTS[name].decode_embed(reply, target(name))
    assert isinstance(got, Failure)
    assert got.kind is FailureKind.RATE_LIMITED
    assert got.retry_after_s == 3
