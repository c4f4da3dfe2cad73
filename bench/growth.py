"""What a whole Raygate keeps of what went through it: memory after very many requests, connections after clients that
left in masses; and whether many slow streams at once flow.

    python -m bench.growth [--requests 1000000] [--cut 50] [--streams 512] [--seconds 20] [--json FILE]

One is started for this (HAProxy, one replica, all of Ray's processes), over an upstream of ours. Memory is what a
process does not share (USS), at the end against where the first tenth of the requests had left it: that much is caches
that fill. Every kind of request that has a memory of its own is among them: small, large, streamed, cut off by its
client, refused for its key, its model, its JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil
import uvloop

from actors.environment import environment
from actors.launch import head
from bench.edge import ASKED, CHUNKS, MODEL, stream_of
from bench.peers import BIN, KEY
from bench.wire import STREAM, WHOLE

MOST_GROWTH = 0.02
SETTLED_S = 5.0
CONNECTIONS = 32
CLIENTS, EVERY_S = 128, 0.3
INTERVAL_S = 0.05
"""Between two chunks of the slow streams."""

NOTHING = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
SAID = orjson.loads(ASKED)
SMALL = ASKED
LARGE = orjson.dumps({**SAID, "messages": [{"role": "user", "content": "a word and another one " * 350}]})
STREAMED = orjson.dumps({**SAID, "stream": True})
SLOW = orjson.dumps({**SAID, "stream": True, "user": "slow"})
HANGS = orjson.dumps({**SAID, "user": "hangs"})
MIX: dict[str, tuple[int, bytes, int]] = {
    "small": (60, SMALL, 200),
    "large": (12, LARGE, 200),
    "stream": (12, STREAMED, 200),
    "cut off": (6, SLOW, 200),
    "unknown model": (4, orjson.dumps({**SAID, "model": "nobody/knows"}), 404),
    "no JSON": (3, b'{"model": ', 400),
    "wrong key": (3, SMALL, 401),
}
"""How often of a hundred, the body, the status."""


# Who answers.


class Source(asyncio.Protocol):
    """An upstream: at once, in `CHUNKS` chunks at once, in chunks every `INTERVAL_S`, or never."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._got = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_lost(self, _: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._got += data
        top, found, rest = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        if top.startswith(b"GET "):  # somebody looks whether we are there
            self._got = b""
            self._transport.write(NOTHING)
            return
        at = top.lower().find(b"content-length:")
        if len(rest) < int(top[at + 15 :].split(b"\r\n", 1)[0]):
            return
        self._got = b""
        if b'"user":"hangs"' in rest:
            return
        if b'"stream":true' not in rest:
            self._transport.write(WHOLE)
            return
        pieces = [b"%x\r\n%b\r\n" % (len(one), one) for one in stream_of(CHUNKS)] + [b"0\r\n\r\n"]
        self._transport.write(STREAM)
        if b'"user":"slow"' in rest:
            self._say(pieces, 0)
        else:
            self._transport.writelines(pieces)

    def _say(self, pieces: list[bytes], at: int) -> None:
        self._transport.write(pieces[at])
        if at + 1 < len(pieces):
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._say, pieces, at + 1)


async def answer() -> None:
    server = await asyncio.get_running_loop().create_server(Source, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# What is asked.


class Raygate:
    """The one that was started for this."""

    def __init__(self, run: head.Run, source: int) -> None:
        self._run = run
        self.port = int(run.url.rsplit(":", 1)[1])
        self._source = source

    def memory(self) -> dict[str, int]:
        """Bytes of each process, by its name and number."""
        found = {}
        for process in head.processes_of(self._run):
            try:
                said = process.cmdline()[0]
                name = said.split("(")[0].split(".")[0].strip() if said.startswith("ray::") else process.name()
                found[f"{name} {process.pid}"] = process.memory_full_info().uss
            except (psutil.Error, IndexError):  # it has ended meanwhile
                continue
        return found

    def upstream_connections(self) -> int:
        """How many connections to the upstream are open."""
        return sum(
            bool(one.raddr) and one.raddr.port == self._source and one.status == psutil.CONN_ESTABLISHED
            for process in head.processes_of(self._run)
            for one in process.net_connections("tcp")
        )


@contextmanager
def raygate() -> Iterator[Raygate]:
    with tempfile.TemporaryDirectory() as name:
        source = subprocess.Popen([sys.executable, "-m", "bench.growth", "--answer"], stdout=subprocess.PIPE)
        assert source.stdout is not None
        port = int(source.stdout.readline())
        folder = Path(name) / "state"
        folder.mkdir(mode=0o700)
        (folder / "key").write_text(KEY)
        (folder / "key").chmod(0o600)
        one = {"kind": "custom", "base_url": f"http://127.0.0.1:{port}/v1", "api_key": "sk", "models": [MODEL]}
        said = {
            "port": 0,
            "local": {"enabled": False},
            "providers": {"lab": {**one, "price": {"input": 0.15, "output": 0.6}}},
        }
        config = Path(name) / "raygate.yaml"
        config.write_text(json.dumps(said))  # JSON is YAML
        env = {**environment(), "RAYGATE_STATE_DIR": str(folder)}
        try:
            subprocess.run([BIN, "up", "-c", config], env=env, check=True, stdout=subprocess.DEVNULL)
            run = head.running(folder)
            assert run is not None
            yield Raygate(run, port)
        finally:
            subprocess.run([BIN, "down"], env=env, check=False, stdout=subprocess.DEVNULL)
            source.terminate()
            source.wait()


class Client:
    """One connection, made again where it was cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, body: bytes, *, key: str = KEY, cut: bool = False, came: Callable[[], None] | None = None
    ) -> int:
        """The status. `cut`: leave after the head; `came` is called at every chunk."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (key.encode(), len(body), body)
        )
        top = (await reader.readuntil(b"\r\n\r\n")).lower()
        if cut:
            self.leave()
        elif b"chunked" in top:
            while (size := int(await reader.readline(), 16)) or await reader.readline() != b"\r\n":
                await reader.readexactly(size + 2)
                if came is not None:
                    came()
        else:
            await reader.readexactly(int(top.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
            if b"\r\nconnection: close" in top:
                self.leave()
        return int(top[9:12])

    def leave(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def mixed(port: int, requests: int, rng: random.Random) -> Counter[str]:
    """So many requests of the mix. Returns how many of each kind there were, and `wrong` ones."""
    kinds, told = list(MIX), Counter[str]()
    weights = [MIX[kind][0] for kind in kinds]
    left = requests

    async def worker() -> None:
        nonlocal left
        client = Client(port)
        while left > 0:
            left -= 1
            (kind,) = rng.choices(kinds, weights)
            _, body, status = MIX[kind]
            key = "rg-nobody" if kind == "wrong key" else KEY
            got = await client.ask(body, key=key, cut=kind == "cut off")
            told[kind] += 1
            told["wrong"] += got != status
        client.leave()

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    return told


async def grown(live: Raygate, requests: int) -> dict[str, Any]:
    rng = random.Random(1)
    first = max(1, requests // 10)
    began = time.monotonic()
    told = await mixed(live.port, first, rng)
    await asyncio.sleep(SETTLED_S)
    before = live.memory()
    told += await mixed(live.port, requests - first, rng)
    took = time.monotonic() - began
    await asyncio.sleep(SETTLED_S)
    after = live.memory()
    print(f"{requests:,} requests in {took:,.0f} s: {dict(told)}\n\n| process | MiB before | after | growth |")
    print("| --- | ---: | ---: | ---: |")
    for name, size in sorted(before.items(), key=lambda pair: -pair[1]):
        if (now := after.get(name)) is not None:
            print(f"| {name} | {size / 2**20:.1f} | {now / 2**20:.1f} | {(now / size - 1) * 100:+.1f} % |")
    whole = sum(after[name] for name in before if name in after) / sum(before[name] for name in before if name in after)
    print(f"| together | | | {(whole - 1) * 100:+.1f} % (goal: < {MOST_GROWTH * 100:.0f} %) |\n")
    return {"requests": told, "before": before, "after": after, "growth": whole - 1, "seconds": took}


async def cut_off(live: Raygate, rounds: int) -> dict[str, Any]:
    """Clients that leave in masses, in the middle of streams and of silence."""
    rng = random.Random(2)
    for _ in range(rounds):
        clients = [Client(live.port) for _ in range(CLIENTS)]
        asked = [asyncio.create_task(one.ask(rng.choice((SLOW, SLOW, HANGS, LARGE)))) for one in clients]
        await asyncio.sleep(EVERY_S)
        for task, one in zip(asked, clients, strict=True):
            task.cancel()
            one.leave()
        await asyncio.gather(*asked, return_exceptions=True)
    client = Client(live.port)
    began = time.monotonic()
    status = await client.ask(SMALL)
    next_ms = (time.monotonic() - began) * 1e3
    client.leave()
    await asyncio.sleep(SETTLED_S)
    kept = live.upstream_connections()
    print(
        f"{rounds} × {CLIENTS} clients cut off: the next request got {status} in {next_ms:.0f} ms; "
        f"{kept} connections to the upstream are kept for later ones"
    )
    # The kept ones close after half a minute; what was cut may not be among them, or they would stay.
    await asyncio.sleep(40.0)
    left = live.upstream_connections()
    print(f"40 s later {left} are left\n")
    return {"status": status, "next_ms": next_ms, "kept": kept, "left": left}


async def flowing(live: Raygate, streams: int, seconds: float) -> dict[str, Any]:
    """Many slow streams. A stall is by how much a chunk came later than its interval after the one before."""
    late: list[float] = []
    ends = time.monotonic() + seconds

    async def one() -> None:
        client = Client(live.port)
        while time.monotonic() < ends:
            last = 0.0

            def came() -> None:
                nonlocal last
                now = time.monotonic()
                if last:
                    late.append(max(0.0, now - last - INTERVAL_S))
                last = now

            await client.ask(SLOW, came=came)
        client.leave()

    await asyncio.gather(*(one() for _ in range(streams)))
    cuts = statistics.quantiles(late, n=1000)
    p50, p99, worst = statistics.median(late) * 1e3, cuts[989] * 1e3, max(late) * 1e3
    print(
        f"{streams} streams at {1 / INTERVAL_S:.0f} chunks/s, {len(late):,} chunks: "
        f"late by {p50:.1f} ms (median), {p99:.0f} (p99), {worst:.0f} (most; goal: 250)\n"
    )
    return {"streams": streams, "p50_ms": p50, "p99_ms": p99, "most_ms": worst}


async def measured(live: Raygate, said: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if said.streams:
        found["streams"] = await flowing(live, said.streams, said.seconds)
    if said.requests:
        found["growth"] = await grown(live, said.requests)
    if said.cut:
        found["cut"] = await cut_off(live, said.cut)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--cut", type=int, default=50, help="rounds of clients that leave in masses")
    parser.add_argument("--streams", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long streams are begun")
    parser.add_argument("--json", type=Path, help="keep the figures here")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    said = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if said.answer:
            runner.run(answer())
            return 0
        with raygate() as live:
            found = runner.run(measured(live, said))
    if said.json is not None:
        said.json.parent.mkdir(parents=True, exist_ok=True)
        said.json.write_text(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
