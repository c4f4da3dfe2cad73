"""CPU microseconds of this process per request and per streamed chunk, for each transport.

    python -m bench.transport

The upstream is `tests.fakes.upstream` in a process of its own, on loopback; the loop is uvloop, as in Ray's actors.
CPU time of the client alone is counted, so a busy machine disturbs it less than it would a wall clock. The best of
`--rounds` is shown; the ratio is against the first row.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import islice

import uvloop

from runtime.dialects.base import HttpCall, HttpReply
from runtime.transport.base import Fault, Limits, Transport
from runtime.transport.http1 import Http1Transport
from runtime.transport.httpx_transport import HttpxTransport

TRANSPORTS: dict[str, Callable[[], Transport]] = {"http1": Http1Transport, "httpx": HttpxTransport}
LIMITS = Limits()
BODY = b'{"messages": "' + b"x" * 1000 + b'"}'
CHUNKS = 100


def post(url: str) -> HttpCall:
    headers = {"Authorization": "Bearer sk-bench", "Content-Type": "application/json"}
    return HttpCall(method="POST", url=url, headers=headers, body=BODY)


async def whole(transport: Transport, url: str) -> None:
    answer = await transport.send(post(url), LIMITS)
    assert isinstance(answer, HttpReply), answer
    assert answer.status == 200


async def streamed(transport: Transport, url: str) -> None:
    answer = await transport.open(post(url), LIMITS)
    assert not isinstance(answer, Fault), answer
    while data := await answer.read():
        assert isinstance(data, bytes), data
    await answer.close()


async def cpu_us(work: Callable[[], Awaitable[None]], *, calls: int, concurrency: int, rounds: int) -> float:
    """CPU per call, after one round to warm up."""
    best = float("inf")
    for turn in range(rounds + 1):
        left = iter(range(calls))

        async def worker(left: object = left) -> None:
            for _ in islice(left, None):  # type: ignore[call-overload]
                await work()

        began = time.process_time()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        if turn:
            best = min(best, (time.process_time() - began) / calls * 1e6)
    return best


async def measure(base: str, rounds: int) -> None:
    rows: dict[str, dict[str, float]] = {}
    for name, make in TRANSPORTS.items():
        transport = make()
        row = rows[name] = {}

        async def request(transport: Transport = transport) -> None:
            await whole(transport, base + "/ok")

        for concurrency in (1, 10, 100):
            row[f"request, {concurrency} at once"] = await cpu_us(
                request, calls=1000, concurrency=concurrency, rounds=rounds
            )
        paths = {"chunk in a burst": "/stream?n=100", "chunk every 2 ms": "/stream?n=100&interval=0.002"}
        for label, path in paths.items():

            async def chunks(transport: Transport = transport, url: str = base + path) -> None:
                await streamed(transport, url)

            row[label] = await cpu_us(chunks, calls=20, concurrency=10, rounds=rounds) / CHUNKS
        await transport.close()
    first = next(iter(rows.values()))
    print(f"{'CPU us per':24}" + "".join(f"{name:>18}" for name in rows))
    for label, floor in first.items():
        print(f"{label:24}" + "".join(f"{row[label]:10.1f} ({row[label] / floor:4.1f}x)" for row in rows.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    upstream = subprocess.Popen([sys.executable, "-m", "tests.fakes.upstream"], stdout=subprocess.PIPE)
    assert upstream.stdout is not None
    try:
        base = f"http://127.0.0.1:{int(upstream.stdout.readline())}"
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(measure(base, rounds))
    finally:
        upstream.terminate()
        upstream.wait()


if __name__ == "__main__":
    main()
