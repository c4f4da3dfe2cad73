"""How much later does a stream's first chunk arrive through Raygate than without it?

An upstream in a process of its own sends a chunk every 10 ms. Streams go to it directly and through the gateway in
turns, one at a time, over raw sockets: a client library would add its own buffering. What counts is the first
content: the chunk that only names a role is held until then, because another provider may still take over.
Run: python -m bench.ttfb
"""

from __future__ import annotations

import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from runtime.settings import Settings
from serve.launch import down, up

STREAMS = 200
INTERVAL_MS = 10


def first_content_ms(url: str, key: str, model: str) -> tuple[float, float]:
    """(milliseconds to the first content, widest gap between two reads after it) of one stream."""
    address = urlsplit(url)
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "hello"}]}).encode()
    head = (
        f"POST {address.path}/chat/completions HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    with socket.create_connection((address.hostname or "", address.port or 80)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun = time.perf_counter()
        connection.sendall(head + body)
        seen = b""
        while b"word0" not in seen:
            part = connection.recv(65536)
            if not part:
                raise ConnectionError(f"no stream: {seen[:300]!r}")
            seen += part
        first, last, widest = time.perf_counter(), time.perf_counter(), 0.0
        while b"[DONE]" not in seen:
            seen += connection.recv(65536)
            now = time.perf_counter()
            last, widest = now, max(widest, now - last)
        return (first - begun) * 1e3, widest * 1e3


def main() -> None:
    upstream = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.upstream", "--interval", str(INTERVAL_MS / 1e3), "--pieces", "20"],
        stdout=subprocess.PIPE,
        text=True,
    )
    folder = Path(tempfile.mkdtemp(prefix="raygate-bench-"))
    try:
        assert upstream.stdout is not None
        port = re.findall(r"\d+", upstream.stdout.readline())[-1]
        direct = f"http://127.0.0.1:{port}/v1"
        provider = {"kind": "custom", "base_url": direct, "models": ["fake-1"]}
        settings = Settings.model_validate({"port": 0, "local": {"enabled": False}, "providers": {"fake": provider}})
        started = up(folder, {**os.environ}, settings, say=lambda _: None, sleep=time.sleep)
        key = started.key_file.read_text()
        gateway = f"{started.url}/v1"
        for _ in range(20):
            first_content_ms(gateway, key, "fake/fake-1")
        pairs = [
            (first_content_ms(direct, key, "fake-1"), first_content_ms(gateway, key, "fake/fake-1"))
            for _ in range(STREAMS)
        ]
        added = [through[0] - without[0] for without, through in pairs]
        gaps = [through[1] for _, through in pairs]
        print(f"{STREAMS} pairs, a chunk every {INTERVAL_MS} ms")
        p95 = statistics.quantiles(added, n=20)[-1]
        print(f"first content added: median {statistics.median(added):.2f} ms, p95 {p95:.2f} ms")
        print(f"widest gap within a stream: median {statistics.median(gaps):.1f} ms, max {max(gaps):.1f} ms")
    finally:
        down(folder, say=lambda _: None)
        upstream.terminate()
        upstream.wait()


if __name__ == "__main__":
    main()
