"""Spans, as a receiver of ours gets them: OTLP over HTTP on a socket, read by OpenTelemetry's own messages."""

from __future__ import annotations

import asyncio
import gzip
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from actors.calls import ServesCalls
from actors.edge import Edge
from actors.tracing import OpenTelemetry, opened, wanted
from runtime.assemble import policy_of
from runtime.dialects.scripted import Reset, Step
from runtime.gateway import Gateway
from runtime.metrics.meter import HANDLE
from runtime.request import ask
from runtime.tracing import LONGEST_STATE, Trace, read
from tests.fakes.chance import Steady
from tests.fakes.providers import fails
from tests.serve.test_app import BEARER, Served, chat

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Receiver:
    """Takes what an exporter sends."""

    def __init__(self) -> None:
        self.bodies: queue.Queue[bytes] = queue.Queue()

    def spans(self) -> list[Span]:
        found: list[Span] = []
        while not self.bodies.empty():
            said = ExportTraceServiceRequest.FromString(self.bodies.get())
            for resource in said.resource_spans:
                assert attributes(resource.resource)["service.name"] == "raygate"
                found += [span for scope in resource.scope_spans for span in scope.spans]
        return found


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    receiver = Receiver()

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.bodies.put(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Takes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield receiver
        server.shutdown()


def attributes(of: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in of.attributes:
        kind = one.value.WhichOneof("value")
        found[one.key] = (
            [each.string_value for each in one.value.array_value.values]
            if kind == "array_value"
            else getattr(one.value, kind)
        )
    return found


def traced(*steps: Step, **said: Any) -> Served:
    """An application that traces, by what the environment says."""
    made = Served(*steps, **said)
    tracing = OpenTelemetry({})
    made.edge.traces = tracing
    made.edge.gateway = Gateway(
        policy_of(made.edge.settings, {"one": made.rig.provider}),
        clock=made.rig.clock,
        sleep=made.rig.clock.sleep,
        rng=Steady(),
        traces=tracing,
    )
    return made


async def spans(app: Served, receiver: Receiver) -> tuple[list[Span], list[Span]]:
    """Those of requests, and those of attempts."""
    await asyncio.to_thread(app.edge.traces.close)
    found = receiver.spans()
    return [one for one in found if one.kind == Span.SPAN_KIND_SERVER], [
        one for one in found if one.kind == Span.SPAN_KIND_CLIENT
    ]


def headers_sent(app: Served) -> list[dict[str, str]]:
    return app.rig.transport.headers


async def test_a_request_and_its_attempts_are_spans_of_the_client_s_trace(receiver: Receiver) -> None:
    app = traced(fails(Reset()), Step(text="hello"))
    await app(chat([*BEARER, (b"traceparent", PARENT.encode()), (b"tracestate", b"theirs=1")], temperature=0.5))
    (request,), attempts = await spans(app, receiver)
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (PARENT[3:35], PARENT[36:52])
    assert request.name == "chat one/m"
    said = attributes(request)
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.provider.name"] == "scripted"
    assert said["gen_ai.request.temperature"] == 0.5
    assert said["raygate.attempts"] == 2
    assert said["gen_ai.response.finish_reasons"] == ["stop"]
    assert [attributes(one).get("error.type", "") for one in attempts] == ["unavailable", ""]
    assert [one.status.code for one in attempts] == [Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET]
    assert {one.parent_span_id for one in attempts} == {request.span_id}
    assert {one.trace_id for one in attempts} == {request.trace_id}
    assert {one.trace_state for one in (request, *attempts)} == {"theirs=1"}
    assert "hello" not in str(request), "what was said is nobody's business"


async def test_a_provider_is_told_of_the_attempt_s_span(receiver: Receiver) -> None:
    app = traced(Step(text="hello"))
    await app(chat([*BEARER, (b"traceparent", PARENT.encode()), (b"tracestate", b"theirs=1")], stream=True))
    _, (attempt,) = await spans(app, receiver)
    (sent,) = headers_sent(app)
    assert sent["traceparent"] == f"00-{attempt.trace_id.hex()}-{attempt.span_id.hex()}-01"
    assert sent["tracestate"] == "theirs=1"


async def test_what_its_client_does_not_sample_is_not_told_but_goes_on(receiver: Receiver) -> None:
    app = traced(Step(text="hello"))
    await app(chat([*BEARER, (b"traceparent", f"{PARENT[:-2]}00".encode())]))
    assert await spans(app, receiver) == ([], [])
    assert headers_sent(app)[0]["traceparent"].startswith(PARENT[:36])
    assert headers_sent(app)[0]["traceparent"].endswith("-00")


async def test_a_request_that_fails_and_one_that_is_left_are_told_as_such(receiver: Receiver) -> None:
    app = traced(fails(Reset()), retry={"max_attempts": 1})
    await app(chat())
    (request,), attempts = await spans(app, receiver)
    assert attributes(request)["error.type"] == "unavailable"
    assert request.status.code == Status.STATUS_CODE_ERROR
    assert len(attempts) == 1


async def test_what_was_said_is_told_where_the_settings_ask_for_it(receiver: Receiver) -> None:
    app = traced(Step(text="hello"), traces={"content": True})
    await app(chat())
    (request,), _ = await spans(app, receiver)
    said = attributes(request)
    assert said["gen_ai.input.messages"] == '[{"role":"user","parts":[{"type":"text","content":"hi"}]}]'
    assert '"content":"hello"' in said["gen_ai.output.messages"]


async def test_without_tracing_no_header_is_sent_on() -> None:
    app = Served(Step(text="hello"))
    await app(chat([*BEARER, (b"traceparent", PARENT.encode())]))
    assert "traceparent" not in headers_sent(app)[0]


@pytest.mark.parametrize(
    ("env", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
    ],
)
def test_the_standard_variables_switch_it_on(env: dict[str, str], on: bool) -> None:
    assert wanted(env) is on
    assert on or opened(env) is None


def test_off_means_not_even_imported() -> None:
    program = (
        "import sys, actors.edge, serve.app\n"
        "actors.edge.opened({})\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.exporter.otlp')])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "said",
    [
        "",
        "00-1-2-01",
        f"ff{PARENT[2:]}",
        f"{PARENT}-more",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        "x" * 10_000,
    ],
)
def test_a_context_that_cannot_be_understood_begins_a_new_trace(said: str) -> None:
    assert read(said) is None


def test_a_context_of_a_later_version_is_understood_and_a_state_is_bounded() -> None:
    found = read(f"01{PARENT[2:]}-more", "a=" + "x" * LONGEST_STATE)
    assert found == Trace(trace_id=PARENT[3:35], span_id=PARENT[36:52])
    assert read(PARENT, "a=1\r\nx: y") == Trace(trace_id=PARENT[3:35], span_id=PARENT[36:52])


class Handle(ServesCalls):
    """What a notebook calls, without Ray between."""

    DOOR = HANDLE

    def __init__(self, app: Served) -> None:
        super().__init__()
        self._app = app

    def _make_edge(self) -> Edge:
        return cast("Edge", self._app.edge)

    def _provider_of(self, edge: Edge) -> Gateway:
        return edge.gateway


async def test_a_call_from_a_notebook_is_a_span_above_its_attempts(receiver: Receiver) -> None:
    app = traced(fails(Reset()), Step(text="hello"))
    outcome = await Handle(app).complete({"model": "one/m", "messages": [{"role": "user", "content": "a secret"}]})
    (request,), attempts = await spans(app, receiver)
    said = attributes(request)
    assert said["raygate.surface"] == HANDLE
    assert said["raygate.request_id"] == outcome.request_id
    assert said["raygate.attempts"] == 2
    assert said["gen_ai.usage.output_tokens"] == outcome.unwrap().usage.output_tokens
    assert {one.parent_span_id for one in attempts} == {request.span_id}
    assert not request.parent_span_id
    assert "secret" not in str(request)


async def test_a_stream_from_a_notebook_that_fails_is_a_span_with_its_error(receiver: Receiver) -> None:
    app = traced(fails(Reset()), fails(Reset()), fails(Reset()), fails(Reset()))
    events = [one async for one in Handle(app).stream(ask("hi", model="one/m"))]
    (request,), _ = await spans(app, receiver)
    assert attributes(request)["error.type"] == events[-1].outcome.kind.value
    assert request.status.code == Status.STATUS_CODE_ERROR


async def test_a_call_that_is_in_a_trace_begins_none(receiver: Receiver) -> None:
    app = traced(Step(text="hello"))
    above = app.edge.traces.begin(None, "chat")
    await Handle(app).complete(replace(ask("hi", model="one/m"), trace=above))
    requests, (attempt,) = await spans(app, receiver)
    assert requests == []
    assert attempt.parent_span_id.hex() == above.span_id
