"""Traces of a Raygate of its own, whose environment asks for them: over actors, and out to a real upstream."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import yaml
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.conftest import until
from tests.serve.test_traces import PARENT, Receiver, attributes

ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
RAYGATE = [str(Path(sys.executable).parent / "raygate")]


@pytest.fixture
def world() -> Iterator[tuple[str, Receiver, queue.Queue[dict[str, str]]]]:
    """A collector and a provider on one socket: their address, what spans came, with which headers it was asked."""
    receiver, asked = Receiver(), queue.Queue[dict[str, str]]()

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            reply = b""
            if self.path == "/v1/traces":
                receiver.bodies.put(body)
            else:
                asked.put({name.lower(): value for name, value in self.headers.items()})
                reply = json.dumps(ANSWER).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Takes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", receiver, asked
        server.shutdown()


def test_a_trace_goes_through_actors_and_on_to_the_provider(
    tmp_path: Path, world: tuple[str, Receiver, queue.Queue[dict[str, str]]]
) -> None:
    url, receiver, asked = world
    settings = {
        "port": 0,
        "data_path": "actor",
        "local": {"enabled": False},
        "providers": {"lab": {"kind": "custom", "base_url": f"{url}/api", "api_key": "sk-lab", "models": ["m"]}},
    }
    file = tmp_path / "raygate.yaml"
    file.write_text(yaml.safe_dump(settings))
    env = {
        **os.environ,
        "RAYGATE_STATE_DIR": str(tmp_path / "state"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    try:
        up = subprocess.run(
            [*RAYGATE, "up", "--json", "-c", str(file)],
            env=env,
            capture_output=True,
            text=True,
            timeout=240,
            check=True,
        )
        said = json.loads(up.stdout)
        reply = httpx.post(
            f"{said['url']}/v1/chat/completions",
            json={"model": "lab/m", "messages": [{"role": "user", "content": "hi"}]},
            headers={"authorization": f"Bearer {said['key']}", "traceparent": PARENT, "tracestate": "theirs=1"},
            timeout=30,
        )
        assert reply.status_code == 200, reply.text
        found: list[Span] = []
        until(lambda: found.extend(receiver.spans()) or len(found) >= 2, "both spans came", within_s=20.0)
    finally:
        subprocess.run([*RAYGATE, "down"], env=env, capture_output=True, timeout=60, check=False)
    by_kind = {one.kind: one for one in found}
    request, attempt = by_kind[Span.SPAN_KIND_SERVER], by_kind[Span.SPAN_KIND_CLIENT]
    assert {one.trace_id.hex() for one in found} == {PARENT[3:35]}
    assert request.parent_span_id.hex() == PARENT[36:52]
    assert attempt.parent_span_id == request.span_id, "the manager made the attempt, in another process"
    assert attributes(attempt)["raygate.provider"] == "lab"
    sent = asked.get(timeout=1)
    assert sent["traceparent"] == f"00-{attempt.trace_id.hex()}-{attempt.span_id.hex()}-01"
    assert sent["tracestate"] == "theirs=1"
