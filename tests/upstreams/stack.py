"""Raygate as it runs, over a real socket: settings, gateway, provider, dialect, transport. Only the far end is fake."""

from __future__ import annotations

import json
import random
import time
import urllib.request
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from runtime.assemble import Workshop, policy_of
from runtime.catalog import Catalog
from runtime.edge_provider import EdgeProvider, Senses
from runtime.gateway import Gateway
from runtime.outcome import Completion, Failure, Outcome
from runtime.provider import Upstream
from runtime.request import Message, Request, Role, TextPart, Tool, ToolCall, user
from runtime.settings import Settings
from tests.fakes.providers import streamed

PROVIDER = "up"
KEY = "sk-of-the-fake-upstream"

How = Literal["whole", "stream"]

WEATHER = Tool(
    name="get_weather",
    description="The weather in a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


@dataclass(frozen=True, slots=True)
class Row:
    """An API as a fake upstream serves it: our dialect, the provider's kind in the settings, and where it lies."""

    name: str
    dialect: str
    kind: str
    path: str
    model: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Stack:
    """`provider` asks once; `gateway` over it asks again where that may help."""

    row: Row
    provider: EdgeProvider
    gateway: Gateway

    async def once(self, request: Request, how: How = "whole") -> Outcome:
        return await outcome_of(self.provider, replace(request, model=self.row.model), how)

    async def patiently(self, request: Request, how: How = "whole") -> Outcome:
        return await outcome_of(self.gateway, replace(request, model=f"{PROVIDER}/{self.row.model}"), how)


@asynccontextmanager
async def stack(row: Row, url: str, *, headers: Mapping[str, str] | None = None) -> AsyncGenerator[Stack]:
    settings = Settings.model_validate(
        {
            "providers": {
                PROVIDER: {
                    "kind": row.kind,
                    "base_url": url + row.path,
                    "api_key": KEY,
                    "default_model": row.model,
                    "headers": dict(headers or {}),
                }
            },
            "retry": {"max_attempts": 4, "per_provider": 4, "base_s": 0.05},
            "timeouts": {"first_byte_s": 2.0, "between_s": 0.6, "total_s": 20.0},
        }
    )
    senses = Senses(clock=time.monotonic, wall=time.time)
    workshop = Workshop(senses=senses, rng=random.Random(1), sleep=_never, env={})
    catalog = Catalog(settings)
    provider = workshop.provider(PROVIDER, settings, catalog=catalog)
    assert provider.dialect.name == row.dialect
    gateway = Gateway(policy_of(settings, {PROVIDER: provider}, catalog), clock=time.monotonic, rng=random.Random(1))
    try:
        yield Stack(row, provider, gateway)
    finally:
        await gateway.close()


async def _never(seconds: float) -> None:
    raise AssertionError("only scripted providers wait by this")


async def outcome_of(upstream: Upstream | Gateway, request: Request, how: How) -> Outcome:
    """How one request went. A stream's deltas must be its answer, or the beginning of the one that never came."""
    if how == "whole":
        return await upstream.complete(request)
    stream = await streamed(upstream, request)
    if isinstance(stream.outcome, Completion):
        assert stream.text == stream.outcome.text
        assert stream.deltas[-1].finish_reason is stream.outcome.finish_reason
        assert stream.start is not None
        assert (stream.start.id, stream.start.model) == (stream.outcome.id, stream.outcome.model)
    assert stream.outcome is not None
    return stream.outcome


def asked(text: str, **said: Any) -> Request:
    return Request(messages=(user(text),), **said)


def answered(request: Request, calls: tuple[ToolCall, ...], *results: str) -> Request:
    """The request with the calls that the model made, and what each tool gave back."""
    said = Message(role=Role.ASSISTANT, parts=calls)
    back = [
        Message(role=Role.TOOL, parts=(TextPart(result),), tool_call_id=call.id, name=call.name)
        for call, result in zip(calls, results, strict=True)
    ]
    return replace(request, messages=(*request.messages, said, *back))


def completion(outcome: Outcome) -> Completion:
    assert isinstance(outcome, Completion), outcome
    return outcome


def failure(outcome: object) -> Failure:
    assert isinstance(outcome, Failure), outcome
    return outcome


def control(url: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
    """Talk to a fake upstream's own controls: GET, or POST where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    call = urllib.request.Request(url, data=data, headers={"content-type": "application/json", **(headers or {})})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(call, timeout=10) as reply:
        text = reply.read().decode()
        return json.loads(text) if "json" in reply.headers.get("content-type", "") else text
