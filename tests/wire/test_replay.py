"""Recorded exchanges through the whole gateway, on either surface: the application, routing, dialect and back.

A client of one API sends the recorded request, in that API's words; the upstream, of the other API, answers as it was
recorded to have answered; the client must read what the recorded answer said.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, cast

import orjson
import pytest

from actors.edge import Edge
from runtime.assemble import policy_of
from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.registry import DIALECTS, PARSERS
from runtime.gateway import Gateway
from runtime.outcome import Choice, Completion, FinishReason, Outcome
from runtime.request import AudioPart, Request
from runtime.transport.base import Fault, Limits
from serve.app import GatewayApp
from tests.fakes.asgi import Call
from tests.fakes.providers import rig, settings_of
from tests.serve.test_app import BEARER, FakeEdge
from tests.wire.records import ABSENT, DEV, Record, chats

pytestmark = pytest.mark.skipif(not DEV.is_dir(), reason=ABSENT)

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
SERVED = Target(provider="p", base_url="http://raygate", model="one/m")


class Replay:
    """An upstream that answers as it was recorded to have answered, and keeps what it was sent."""

    def __init__(self, record: Record) -> None:
        self.status = record.status
        self.headers = {"content-type": "text/event-stream" if record.stream else "application/json"}
        self.sent: list[HttpCall] = []
        self._wire = record.wire
        self._left = [record.wire[at : at + 997] for at in range(0, len(record.wire), 997)]

    async def send(self, call: HttpCall, limits: Limits) -> HttpReply | Fault:
        self.sent.append(call)
        return HttpReply(status=self.status, headers=self.headers, body=self._wire)

    async def open(self, call: HttpCall, limits: Limits) -> Replay:
        self.sent.append(call)
        return self

    async def read(self) -> bytes | Fault:
        return self._left.pop(0) if self._left else b""

    async def read_all(self) -> bytes | Fault:
        return self._wire

    async def close(self) -> None:
        """Nothing is open."""


def recorded(provider: str) -> Iterator[tuple[Record, Request]]:
    """Exchanges that went well, with a request that both APIs have words for is for the caller to find out."""
    for record in chats():
        if record.provider == provider and record.ok and isinstance(record.sent, dict):
            request = PARSERS[record.dialect](record.sent, model=record.model)
            assert isinstance(request, Request), record.id
            yield record, request


def as_said_on(surface: str, record: Record, request: Request) -> bytes | None:
    """The body that a client of this surface sends for this request; None where its API has no words for it."""
    if surface == record.dialect:
        return orjson.dumps({**record.sent, "model": f"one/{record.model}"})
    base_url = "http://host/v1"
    call = DIALECTS[surface].encode(request, Target(provider="p", base_url=base_url, model=f"one/{record.model}"))
    return call.body if isinstance(call, HttpCall) else None


async def through(surface: str, record: Record, body: bytes) -> tuple[Call, Replay]:
    upstream = Replay(record)
    made = rig(dialect=DIALECTS[record.dialect], transport=cast("Any", upstream))
    edge = FakeEdge(settings_of("one", retry={"max_attempts": 1}), {"one": made.provider}, made)
    edge.gateway = Gateway(policy_of(edge.settings, {"one": made.provider}), clock=made.clock, rng=random.Random(1))

    async def open_edge() -> Edge:
        return cast("Edge", edge)

    app = GatewayApp(open_edge)
    app._edge = await open_edge()
    call = Call("POST", PATHS[surface], body=body, headers=BEARER)
    await app(call.scope, call.receive, call.send)
    return call, upstream


def read(surface: str, call: Call, *, stream: bool) -> Outcome:
    dialect = DIALECTS[surface]
    if not stream:
        return dialect.decode(HttpReply(status=call.status, headers=call.headers, body=call.body), SERVED)
    decoder = dialect.decoder(SERVED)
    decoder.feed(call.body)
    return decoder.finish()


def answer_of(record: Record) -> Completion:
    dialect = DIALECTS[record.dialect]
    if record.stream:
        decoder = dialect.decoder(record.target)
        decoder.feed(record.wire)
        outcome = decoder.finish()
    else:
        outcome = dialect.decode(record.reply, record.target)
    assert isinstance(outcome, Completion), record.id
    return outcome


def meaning(choice: Choice) -> object:
    """What both APIs have words for."""
    calls = [(call.id, call.name, arguments(call.arguments)) for call in choice.tool_calls]
    finish = choice.finish_reason
    if finish is FinishReason.STOP and calls:
        finish = FinishReason.TOOL_CALLS
    elif finish in (FinishReason.OTHER, None):
        finish = FinishReason.STOP
    elif finish is FinishReason.STOP and choice.refusal:
        finish = FinishReason.CONTENT_FILTER
    sound = "".join(str(part.extra.get("transcript", "")) for part in choice.parts if isinstance(part, AudioPart))
    return choice.text + (choice.refusal or "") + sound, calls, finish


def arguments(said: str) -> object:
    try:
        value = json.loads(said or "{}")
    except ValueError:
        return said
    # A whole reply of Anthropic's has no place for broken-off arguments but an object of their own.
    return value["INVALID_JSON"] if isinstance(value, dict) and value.keys() == {"INVALID_JSON"} else value


@pytest.mark.parametrize("surface", PATHS)
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_what_was_answered_is_what_the_client_reads(provider: str, surface: str) -> None:
    asked = refused = 0
    for record, request in recorded(provider):
        body = as_said_on(surface, record, request)
        if body is None:
            refused += 1
            continue
        call, upstream = await through(surface, record, body)
        if not upstream.sent:
            # The one thing that the upstream's API lacks is named to the client, and nothing was sent.
            assert call.status == 400, (record.id, call.body)
            assert surface != record.dialect, (record.id, call.body)
            refused += 1
            continue
        asked += 1
        assert call.status == 200, (record.id, call.body)
        stream = bool(json.loads(body).get("stream"))
        outcome, whole = read(surface, call, stream=stream), answer_of(record)
        assert isinstance(outcome, Completion), (record.id, outcome)
        said = outcome.choices if surface == "openai" else outcome.choices[:1]
        meant = whole.choices if surface == "openai" else whole.choices[:1]
        assert list(map(meaning, said)) == list(map(meaning, meant)), record.id
        told = not stream or surface == "anthropic" or request.stream_usage
        if told and not whole.usage.estimated:
            counts = (outcome.usage.input_tokens, outcome.usage.output_tokens)
            assert counts == (whole.usage.input_tokens, whole.usage.output_tokens), record.id
    print(f"{provider} at {PATHS[surface]}: {asked} answered alike, {refused} have no words there")
    assert asked > 100
    assert refused < asked / 4, (refused, asked)
