"""The HTTP surface in process: the real application and gateway over scripted providers, and a client by hand."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from actors.edge import Edge
from actors.edge_cache import EdgeCache
from actors.passes import Passes
from actors.refs import Unreachable
from actors.till import Till
from runtime.assemble import policy_of
from runtime.dialects.scripted import Status, Step
from runtime.feed import KeyInfo
from runtime.gateway import Gateway
from runtime.ledger.accounts import Pass, sha256_of
from runtime.ledger.leases import Claims, Grants
from runtime.ledger.purse import Purse
from runtime.metrics.labels import Labels
from runtime.metrics.meter import Meter
from runtime.outcome import Completion, Delta, Failure, FailureKind, StreamEnd, StreamEvent, StreamStart
from runtime.request import Request, ask
from runtime.settings import Settings
from serve import answer
from serve.app import GatewayApp
from serve.http import Exchange
from tests.fakes.asgi import Call
from tests.fakes.learning import Near, edge_learning
from tests.fakes.providers import Rig, fails, rig, settings_of

KEY = "rg-right"
BEARER = [(b"authorization", b"Bearer rg-right")]


class Manager:
    """Out of reach."""

    async def list_models(self) -> Any:
        raise Unreachable("manager is not running at the moment")


class FakeEdge:
    """What the application needs of an edge."""

    explain = Edge.explain

    def __init__(self, settings: Settings, upstreams: Mapping[str, Any], rig: Rig) -> None:
        self.settings = settings
        self.keys = {sha256_of(KEY): KeyInfo(sha256=sha256_of(KEY), name="test", tenant="us")}
        self.counters: Counter[str] = Counter()
        self.meter = Meter(Labels(settings), self.counters)
        self.traces: Any = None
        self.ready = True
        self.stamp = (1, 1)
        self.manager = Manager()
        self.gateway: Any = Gateway(policy_of(settings, upstreams), clock=rig.clock, rng=random.Random(1))
        self.behind_proxy = False
        self.ledger: Any = None
        self.passes = Passes(self._present, rig.clock, away=Unreachable)
        self.till = Till(Purse(edge="test"), self.passes, self._exchange, rig.clock, away=Unreachable)
        self.learning = edge_learning(Near())
        self.gateway.policy = replace(self.gateway.policy, adviser=self.learning)
        self.cache = EdgeCache(self.counters, random.Random(1), {})
        self.stopped = False

    async def _exchange(self, claims: Claims) -> Grants:
        raise Unreachable("no ledger is running")

    async def _present(self, sha256: str) -> Pass | Failure:
        return Failure(kind=FailureKind.BAD_KEY) if self.ledger is None else await self.ledger.present(sha256)

    async def start(self) -> None:
        self.stopped = False

    async def stop(self) -> None:
        self.stopped = True


class Served:
    """An application that has started."""

    def __init__(self, *steps: Step, sleep: Any = None, **said: Any) -> None:
        settings = settings_of("one", **said)
        self.rig = rig(*(steps or (Step(text="hello"),)), settings=settings, sleep=sleep)
        self.edge = FakeEdge(settings, {"one": self.rig.provider}, self.rig)
        self.app = GatewayApp(self._open)

    async def _open(self) -> Edge:
        return cast("Edge", self.edge)

    async def __call__(self, call: Call) -> Call:
        if self.app._edge is None:
            self.app._edge = await self._open()
        async with asyncio.timeout(10):
            await self.app(call.scope, call.receive, call.send)
        return call


def chat(headers: Any = BEARER, **more: Any) -> Call:
    body = {"model": "one/m", "messages": [{"role": "user", "content": "hi"}], **more}
    return Call("POST", "/v1/chat/completions", body=json.dumps(body).encode(), headers=headers)


# Who may call what.


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer rg-wrong")],
        [(b"authorization", b"rg-right")],
        [(b"authorization", b"Basic rg-right")],
        [(b"x-api-key", b"  ")],
        [(b"x-api-key", b"\xff\xfe")],
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/models/one/m")]
)
async def test_nothing_is_said_without_a_key(headers: Any, method: str, path: str) -> None:
    call = await Served()(Call(method, path, headers=headers))
    assert call.status == 401
    assert call.error()["code"] == "invalid_api_key"


@pytest.mark.parametrize("header", [BEARER, [(b"authorization", b"bearer rg-right")], [(b"x-api-key", KEY.encode())]])
async def test_both_ways_to_send_a_key(header: Any) -> None:
    assert (await Served()(chat(header))).status == 200


async def test_without_auth_anyone_may_call() -> None:
    assert (await Served(auth=False)(chat([]))).status == 200


@pytest.mark.parametrize(
    "path", ["/v1/v1/chat/completions", "/v1chat/completions", "//chat/completions", "/v1/nothing"]
)
async def test_no_other_spelling_leads_anywhere(path: str) -> None:
    call = await Served()(Call("POST", path, headers=BEARER))
    assert call.status == 404
    assert call.error()["code"] == "unknown_url"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("DELETE", "/health", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_names_the_right_one(method: str, path: str, allowed: str) -> None:
    call = await Served()(Call(method, path, headers=BEARER))
    assert (call.status, call.headers["allow"]) == (405, allowed)


async def test_a_prefix_of_serve_is_not_ours() -> None:
    call = Call("GET", "/llm/v1/models", headers=BEARER, root_path="/llm")
    assert (await Served()(call)).status == 200
    assert (await Served()(Call("HEAD", "/health"))).status == 200


# The body.


async def test_a_body_in_pieces() -> None:
    whole = b'{"model": "one/m", "messages": [{"role": "user", "content": "hi"}]}'
    pieces = [whole[at : at + 5] for at in range(0, len(whole), 5)]
    assert (await Served()(Call("POST", "/v1/chat/completions", body=pieces, headers=BEARER))).status == 200


async def test_too_large_in_one_piece_or_in_many() -> None:
    for body in ([b"x" * 101], [b"x" * 20] * 6, [b"x" * 20] * 1_000):
        call = await Served(max_body_bytes=100)(Call("POST", "/v1/chat/completions", body=body, headers=BEARER))
        assert (call.status, call.error()["code"]) == (413, "request_too_large")


async def test_a_client_that_leaves_in_its_body_is_no_error() -> None:
    served = Served()
    call = Call("POST", "/v1/chat/completions", body=b'{"mod', headers=BEARER, whole=False)
    call.hang_up()
    await served(call)
    assert not call.sent
    assert served.edge.counters["client_gone"] == 1


# A client that leaves.


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_stops_the_call_and_settles_it(stream: bool) -> None:
    asked = asyncio.Event()

    async def for_ever(seconds: float) -> None:
        asked.set()
        await asyncio.Event().wait()

    served = Served(Step(text="never", delay_s=1.0), sleep=for_ever)
    call = chat(stream=stream)
    serving = asyncio.ensure_future(served(call))
    await asked.wait()
    assert served.rig.in_flight == 1
    call.hang_up()
    await serving
    assert served.rig.in_flight == 0
    assert served.rig.seen().failures == {FailureKind.CANCELLED: 1}
    assert not call.sent


async def test_a_client_that_leaves_in_its_stream() -> None:
    async def for_ever(seconds: float) -> None:
        await asyncio.Event().wait()

    served = Served(Step(chunks=("one", "two"), chunk_delay_s=1.0), sleep=_first_free(for_ever))
    call = chat(stream=True)
    serving = asyncio.ensure_future(served(call))
    await call.wrote.wait()
    call.hang_up()
    await serving
    assert served.rig.in_flight == 0
    assert served.rig.seen().failures == {FailureKind.CANCELLED: 1}
    assert b"[DONE]" not in call.body


def _first_free(then: Any) -> Any:
    """The first wait takes no time, all later ones are `then`."""
    waits = iter([True])

    async def sleep(seconds: float) -> None:
        if not next(waits, False):
            await then(seconds)

    return sleep


# Streams.


async def test_a_stream_says_who_answers_and_ends() -> None:
    call = await Served(Step(chunks=("one", "two")))(chat(stream=True))
    assert call.status == 200
    assert call.headers["content-type"].startswith("text/event-stream")
    assert call.headers["x-raygate-provider"] == "one"
    assert call.body.endswith(b"data: [DONE]\n\n")
    assert call.ended


async def test_a_stream_that_fails_at_once_is_an_ordinary_error() -> None:
    call = await Served(fails(Status(status=429, retry_after_s=2.0)))(chat(stream=True))
    assert call.status == 429
    assert call.headers["content-type"] == "application/json"


class Plays:
    """A provider whose stream is what a test says."""

    def __init__(self, *events: StreamEvent | Exception) -> None:
        self._events = events
        self.policy = Gateway(policy_of(Settings(), {}), clock=lambda: 0.0, rng=random.Random(1)).policy

    async def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        assert request.deadline_s is not None, "every request has a deadline"
        for event in self._events:
            if isinstance(event, Exception):
                raise event
            yield event


START = StreamStart(id="x", provider="one", model="m", created_s=1)


@pytest.mark.parametrize("broken", [[], [ValueError("secret")]], ids=["no end", "a bug"])
async def test_a_broken_stream_says_so(broken: list[Exception]) -> None:
    served = Served()
    served.edge.gateway = Plays(START, Delta(text="half"), *broken)
    call = await served(chat(stream=True))
    assert b'"error"' in call.body
    assert b"[DONE]" not in call.body
    assert b"secret" not in call.body
    assert call.ended


async def test_a_stream_has_one_end() -> None:
    served = Served()
    lost = StreamEnd(outcome=Failure(kind=FailureKind.INTERRUPTED, detail="late"))
    served.edge.gateway = Plays(START, Delta(text="all"), StreamEnd(outcome=Completion(id="x", model="m")), lost)
    call = await served(chat(stream=True))
    assert call.body.endswith(b"data: [DONE]\n\n")
    assert b"late" not in call.body


@pytest.mark.parametrize("events", [[], [ValueError("secret")]], ids=["nothing", "a bug"])
async def test_a_stream_of_nothing_is_our_error(events: list[Exception]) -> None:
    served = Served()
    served.edge.gateway = Plays(*events)
    call = await served(chat(stream=True))
    assert call.status == 500
    assert "secret" not in call.error()["message"]


# The rest.


async def test_a_field_that_cannot_travel_is_named_in_a_harmless_header() -> None:
    call = await Served()(chat(**{'odd"\r\nx-evil: 1\x00': 1}))
    assert call.status == 200
    dropped = dict(call.sent[0]["headers"])
    assert b"x-evil" not in dropped
    for value in dropped.values():
        assert not any(byte < 32 or byte == 127 for byte in value)
    assert call.headers["warning"].startswith('299 raygate "one cannot take these fields: odd\\"')


async def test_a_manager_that_is_away_is_no_bug_of_ours() -> None:
    call = await Served(data_path="actor")(Call("GET", "/v1/models", headers=BEARER))
    assert call.status == 503
    assert "manager" in call.error()["message"]


async def test_ready_once_there_is_anyone_to_ask() -> None:
    served = Served()
    assert (await served(Call("GET", "/health/readiness"))).status == 200
    served.edge.ready = False
    assert (await served(Call("GET", "/health/readiness"))).status == 503


async def test_life_and_end() -> None:
    served = Served()
    coming: asyncio.Queue[Any] = asyncio.Queue()
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])
        coming.put_nowait({"type": "lifespan.shutdown"})

    coming.put_nowait({"type": "lifespan.startup"})
    await served.app({"type": "lifespan"}, coming.get, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert served.edge.stopped


# Embeddings.


def embed(**more: Any) -> Call:
    body = {"model": "one/m", "input": ["a", "b"], **more}
    return Call("POST", "/v1/embeddings", body=json.dumps(body).encode(), headers=BEARER)


async def test_embeddings_in_both_encodings() -> None:
    served = Served()
    plain = await served(embed())
    assert plain.status == 200
    vectors = [row["embedding"] for row in json.loads(plain.body)["data"]]
    assert [len(vector) for vector in vectors] == [64, 64]
    packed = json.loads((await served(embed(encoding_format="base64"))).body)["data"][0]["embedding"]
    assert len(base64.b64decode(packed)) == 4 * 64
    assert plain.headers["x-raygate-provider"] == "one"
    assert (await served(embed(input=[]))).error()["param"] == "input"


# A model that takes its time.


class Slow(Manager):
    """Answers once it is told to."""

    def __init__(self, end: Completion | Failure) -> None:
        self.now = asyncio.Event()
        self._end = end

    async def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        await self.now.wait()
        if isinstance(self._end, Completion):
            yield StreamStart(id="1", provider="one", model="m")
            yield Delta(text="at last")
        yield StreamEnd(outcome=self._end)


@pytest.mark.parametrize("end", [Completion(id="1", model="m"), Failure(kind=FailureKind.OVERLOADED, detail="no")])
async def test_a_stream_that_waits_says_so(end: Completion | Failure) -> None:
    slow = Slow(end)
    call = chat()
    exchange = Exchange(call.scope, call.receive, call.send)
    task = asyncio.ensure_future(answer.stream(cast("Any", slow), exchange, ask("hi", stream=True), keep_alive_s=0.001))
    async with asyncio.timeout(10):
        for _ in range(2):
            await call.wrote.wait()
            call.wrote.clear()
        slow.now.set()
        await task
    assert call.status == 200
    events = [line for line in call.body.split(b"\n\n") if line and not line.startswith(b":")]
    assert events[-1] == b"data: [DONE]" if isinstance(end, Completion) else b'"error"' in events[-1]
    assert (b"[DONE]" in call.body) is isinstance(end, Completion)
