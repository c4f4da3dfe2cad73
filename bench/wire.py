"""A request end to end over sockets: through a whole edge, through a bare pass-through, and straight to the upstream.

    this process ── 32 connections ──► gateway │ bare │ (nothing) ──► upstream          each a process of its own

The gateway is an edge as in a replica, with everything on, under the HTTP server that Serve runs (uvicorn); the bare
one passes bytes on with the same server and the same client library, and does nothing else. HAProxy and Ray's own
processes are left out: they are the same for both, and `bench.peers` has them. What counts is the processor time of
the process in the middle, by turns, and its ratio to the bare one. Run: python -m bench.wire
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import uvicorn
import uvloop

from bench.edge import ANSWER, ASKED, CHUNKS, KEY, STREAMED, Bench, stream_of
from serve.shortcut import Shortcut

CONNECTIONS = 32
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: "
WHOLE = HEAD + b"application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
STREAM = HEAD + b"text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


# Who answers.


class Upstream(asyncio.Protocol):
    """Answers at once. Of a stream each chunk is a write of its own, and others have their turn between two."""

    def __init__(self) -> None:
        self._got = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, rest = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self._got = rest[length:]
        if b'"stream":true' not in rest:
            self._transport.write(WHOLE)
            return
        self._transport.write(STREAM)
        self._say([b"%x\r\n%b\r\n" % (len(one), one) for one in stream_of(CHUNKS)], 0)

    def _say(self, pieces: list[bytes], at: int) -> None:
        if at < len(pieces):
            self._transport.write(pieces[at])
            asyncio.get_running_loop().call_soon(self._say, pieces, at + 1)
        else:
            self._transport.write(END)


async def upstream(_: str, told: Callable[[int], None]) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    told(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def served(app: Any, told: Callable[[int], None]) -> None:
    """Under uvicorn, as Serve runs it in a replica."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", access_log=False, log_config=None)
    server = uvicorn.Server(config)

    async def tell() -> None:
        while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.01)
        gc.collect()
        gc.freeze()
        told(server.servers[0].sockets[0].getsockname()[1])

    await asyncio.gather(server.serve(), tell())


async def gateway(url: str, told: Callable[[int], None], **more: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), upstream=f"{url}/v1", **more)
        bench.books.start()

        Shortcut.way = lambda: bench.app.straight
        await served(Shortcut(bench.app), told)


async def caching(url: str, told: Callable[[int], None]) -> None:
    await gateway(url, told, cache={"enabled": True, "sampled": True})


async def bare(url: str, told: Callable[[int], None]) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def app(scope: Any, receive: Any, send: Any) -> None:
            body = (await receive())["body"]
            async with session.post(f"{url}{scope['path']}", data=body) as reply:
                headers = [(b"content-type", reply.headers["content-type"].encode())]
                await send({"type": "http.response.start", "status": reply.status, "headers": headers})
                if b'"stream":true' in body:
                    async for piece in reply.content.iter_any():
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                    await send({"type": "http.response.body", "body": b""})
                else:
                    await send({"type": "http.response.body", "body": await reply.read()})

        await served(app, told)


MIDDLES = {"gateway": gateway, "caching": caching, "bare": bare}


# Who asks.


async def asks(port: int, body: bytes, connections: int, seconds: float) -> list[float]:
    """Seconds of each answer, over so many connections for so long."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    request, streamed = head.encode() + body, body is STREAMED
    ends, took = time.monotonic() + seconds, list[float]()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < ends:
            began = time.monotonic()
            writer.write(request)
            said = await reader.readuntil(b"\r\n\r\n")
            if not said.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(said.decode())
            lower = said.lower()
            if b"chunked" in lower:
                while (size := int(await reader.readline(), 16)) or await reader.readline() != b"\r\n":
                    await reader.readexactly(size + 2)
            else:
                await reader.readexactly(int(lower.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
            took.append(time.monotonic() - began)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    assert took or streamed
    return took


@dataclass(frozen=True, slots=True)
class Middle:
    """A process that is asked."""

    process: subprocess.Popen[bytes]
    port: int

    @staticmethod
    def start(what: str, url: str) -> Middle:
        command = [sys.executable, "-m", "bench.wire", "--serve", what, "--url", url]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)  # ourselves
        assert process.stdout is not None
        return Middle(process, int(process.stdout.readline()))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def cpu_s(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)


async def measured(rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """For each middle: µs of processor time by the request and by the chunk, requests/s, milliseconds of the median."""
    source = Middle.start("upstream", "")
    middles = {"direct": source, **{name: Middle.start(name, source.url) for name in MIDDLES}}
    found: dict[str, dict[str, list[float]]] = {name: {} for name in middles}
    try:
        for at in range(rounds + 1):  # the first one warms up
            for name, middle in middles.items():
                for what, body, connections in (
                    ("request", ASKED, CONNECTIONS),
                    ("chunk", STREAMED, CONNECTIONS),
                    ("alone", ASKED, 1),
                ):
                    before = middle.cpu_s
                    took = await asks(middle.port, body, connections, seconds)
                    count = len(took) * (CHUNKS if what == "chunk" else 1)
                    if at:
                        of = found[name]
                        of.setdefault(f"{what}_us", []).append((middle.cpu_s - before) / count * 1e6)
                        of.setdefault(f"{what}_per_s", []).append(count / seconds)
                        of.setdefault(f"{what}_ms", []).append(statistics.median(took) * 1e3)
    finally:
        for middle in middles.values():
            middle.process.terminate()
            middle.process.wait()
    return {name: {what: statistics.median(all_) for what, all_ in of.items()} for name, of in found.items()}


def table(found: dict[str, dict[str, float]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| | CPU µs/request | CPU µs/chunk | requests/s | added median ms, alone |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    direct = found["direct"]["alone_ms"]
    for name in ("bare", "gateway", "caching"):
        of = found[name]
        lines.append(
            f"| {name} | {of['request_us']:.0f} | {of['chunk_us']:.0f} | {of['request_per_s']:.0f} "
            f"| {of['alone_ms'] - direct:.2f} |"
        )
    bare, through, hit = found["bare"], found["gateway"], found["caching"]
    lines += [
        f"| gateway / bare | {through['request_us'] / bare['request_us']:.2f} "
        f"| {through['chunk_us'] / bare['chunk_us']:.2f} | {through['request_per_s'] / bare['request_per_s']:.2f} | |",
        f"| hit / miss | {hit['request_us'] / through['request_us']:.2f} | | | |",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", type=Path, help="keep the figures here")
    parser.add_argument("--page", type=Path, help="put the table between the marks of this page")
    parser.add_argument("--serve", choices=("upstream", *MIDDLES), help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    said = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if said.serve:
            serve = {**MIDDLES, "upstream": upstream}[said.serve]
            runner.run(serve(said.url, lambda port: print(port, flush=True)))
            return
        found = runner.run(measured(said.rounds, said.seconds))
    page = table(found)
    print(page)
    if said.json is not None:
        said.json.parent.mkdir(parents=True, exist_ok=True)
        said.json.write_text(json.dumps(found, indent=2))
    if said.page is not None:
        put(said.page, page)


MARKS = ("<!-- wire -->", "<!-- /wire -->")


def put(path: Path, page: str) -> None:
    before, _, rest = path.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    path.write_text(f"{before}{MARKS[0]}\n\n{page}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
