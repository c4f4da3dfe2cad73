"""Where the microseconds of a request go: CPU time of one process, with everything on that is on by default.

    python -m bench.edge [--rounds 15] [--json FILE] [--page docs/performance.md]

The real application, gateway, provider, breaker and books, over an upstream that answers at once and in memory; only
sockets, HTTP parsing and Ray are left out. The whole is measured at each of its doors, so that the difference of two
neighbours is what lies between; then its steps by themselves. Processor time, not wall time, in short turns that take
place one after another: the best turn of each is shown, which a busy machine disturbs least. On another machine other
numbers come out, in nearly the same proportions.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import platform
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import uvloop

from actors.books import ProcessBooks
from actors.clock import SENSES
from actors.edge import Edge
from runtime.balance.entry import Candidate
from runtime.balance.turns import Turns
from runtime.dialects.base import HttpCall, HttpReply
from runtime.dialects.openai import OpenAI
from runtime.dialects.openai_surface import OpenAISurface
from runtime.dialects.registry import PARSERS
from runtime.edge_provider import EdgeProvider
from runtime.events import Bus
from runtime.feed import KeyInfo, Snapshot
from runtime.gate import Ticket
from runtime.hold import hold
from runtime.ledger.accounts import sha256_of
from runtime.ledger.books import Entry, begin
from runtime.ledger.outbox import Outbox
from runtime.ledger.rows import Account, Batch, Billing
from runtime.outcome import Completion, Outcome, StreamEvent
from runtime.plan import chat_plan
from runtime.price import cost_of
from runtime.request import Request
from runtime.settings import Settings
from runtime.telling import tell_attempt, tell_outcome, tell_request
from runtime.transport.base import Fault, HttpStream, Limits
from runtime.values import replace
from serve.app import GatewayApp
from serve.auth import caller_of
from serve.http import Exchange

KEY = "rg-bench"
MODEL = "gpt-4o-mini"
CHUNKS = 100
PER_CHUNK = ", by the chunk of a stream"
MARKS = ("<!-- figures -->", "<!-- /figures -->")
TURN_S = 0.02
"""About how long one turn of one row takes."""

ASKED = orjson.dumps(
    {
        "model": f"lab/{MODEL}",
        "max_tokens": 100,
        "temperature": 0.7,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant that answers briefly."},
            {"role": "user", "content": "What is a ray, and which kinds of it live in the North Sea?"},
        ],
    }
)
STREAMED = orjson.dumps({**orjson.loads(ASKED), "stream": True})

ANSWER = orjson.dumps(
    {
        "id": "chatcmpl-9f3a21b4c8d7e6f5a4b3c2d1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Rays are flat fish. " * 4, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 33,
            "completion_tokens": 20,
            "total_tokens": 53,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_07871e2ad8",
    }
)


def event(delta: dict[str, Any], finish: str | None = None, usage: dict[str, int] | None = None) -> bytes:
    """One event as OpenAI sends it."""
    choices = [] if usage else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    said = {
        "id": "chatcmpl-9f3a21b4c8d7e6f5a4b3c2d1",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_07871e2ad8",
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + orjson.dumps(said) + b"\n\n"


def stream_of(chunks: int) -> list[bytes]:
    """A whole answer in so many chunks of content, each a read of its own."""
    return [
        event({"role": "assistant", "content": "", "refusal": None}),
        *(event({"content": f" word{at}"}) for at in range(chunks)),
        event({}, "stop"),
        event({}, usage={"prompt_tokens": 33, "completion_tokens": chunks, "total_tokens": 33 + chunks})
        + b"data: [DONE]\n\n",
    ]


class Canned:
    """A transport that has the answer already. As with a real one, others have their turn before it comes."""

    def __init__(self) -> None:
        self.pieces = stream_of(CHUNKS)
        self.reply = HttpReply(status=200, headers={"content-type": "application/json"}, body=ANSWER)

    async def send(self, call: HttpCall, limits: Limits) -> HttpReply | Fault:
        await asyncio.sleep(0)
        return self.reply

    async def open(self, call: HttpCall, limits: Limits) -> HttpStream | Fault:
        await asyncio.sleep(0)
        return Playing(self.pieces)

    async def close(self) -> None:
        pass


class Playing:
    """An open stream of it."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.status = 200
        self.headers = {"content-type": "text/event-stream; charset=utf-8"}
        self._left = iter(pieces)

    async def read(self) -> bytes | Fault:
        return next(self._left, b"")

    async def read_all(self) -> bytes | Fault:
        return b"".join(self._left)

    async def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Row:
    """`work` does it `calls` times, each of which is `per` of the unit that is shown."""

    name: str
    work: Callable[[int], Awaitable[None]]
    per: int = 1


def waits(call: Callable[[], Awaitable[object]]) -> Callable[[int], Awaitable[None]]:
    async def work(calls: int) -> None:
        for _ in range(calls):
            await call()

    return work


def plain(call: Callable[[], object]) -> Callable[[int], Awaitable[None]]:
    async def work(calls: int) -> None:
        for _ in range(calls):
            call()

    return work


class Bench:
    """One edge, put together as a replica does it, whose rows go nowhere. Without an `upstream` to call, the answer is
    there already."""

    def __init__(self, folder: Path, *, upstream: str = "", **more: Any) -> None:
        self.edge = Edge("bench", node="", env={}, folder=folder)
        settings = {
            "providers": {
                "lab": {"kind": "custom", "base_url": upstream or "http://127.0.0.1:9/v1", "api_key": "sk-bench"}
            },
            "models": {f"lab/{MODEL}": {"price": {"input": "0.15", "output": "0.6"}}},
            **more,
        }
        sha256 = sha256_of(KEY)
        self.edge.apply(
            Snapshot(
                incarnation=1,
                version=1,
                settings=Settings.model_validate(settings).model_dump(mode="json"),
                keys=(KeyInfo(sha256=sha256, name="bench", tenant="us"),),
            )
        )
        provider = self.edge.gateway.policy.upstreams["lab"]
        assert isinstance(provider, EdgeProvider)
        if not upstream:
            provider.transport = Canned()
        self.provider = provider
        assert self.edge.books is not None
        self.books: ProcessBooks = self.edge.books
        self.books._ship = self._ship  # the ledger's actor is another process
        self.app = GatewayApp(self._open)
        self.app._edge = self.edge
        self.sent: list[Any] = []

    async def _open(self) -> Edge:
        return self.edge

    async def _ship(self, batch: Batch) -> None:
        pass

    async def ask(self, body: bytes) -> None:
        """One request over ASGI."""
        said = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if said:
                return said.pop()
            return await _never()

        await self.app(scope(len(body)), receive, self.hear)

    async def hear(self, message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise AssertionError(message)

    def forget(self) -> None:
        """As if the ledger had it all."""
        self.books._outbox = Outbox()


def scope(length: int) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "root_path": "",
        "query_string": b"",
        "client": ("127.0.0.1", 50_000),
        "headers": [
            (b"host", b"127.0.0.1:8000"),
            (b"user-agent", b"OpenAI/Python 1.99.0"),
            (b"accept", b"application/json"),
            (b"authorization", b"Bearer " + KEY.encode()),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % length),
            (b"x-request-id", b"8f0d2e3a-4b5c-6d7e-8f90-a1b2c3d4e5f6"),
        ],
    }


async def doors(bench: Bench) -> list[Row]:
    """A request from end to end, measured at each door on its way in."""
    edge, provider, books = bench.edge, bench.provider, bench.books
    request = asked(ASKED)
    addressed = replace(request, model=MODEL, deadline_s=600.0)

    async def alone() -> None:
        provider.books = None
        await provider.complete(addressed)
        provider.books = books

    return [
        Row("HTTP application", waits(lambda: bench.ask(ASKED))),
        Row("gateway", waits(lambda: edge.gateway.complete(request))),
        Row("provider", waits(lambda: provider.complete(addressed))),
        Row("provider without books", waits(alone)),
    ]


async def streams(bench: Bench) -> list[Row]:
    """The same of a stream, by the chunk."""
    edge, provider = bench.edge, bench.provider
    request = asked(STREAMED)
    addressed = replace(request, model=MODEL, deadline_s=600.0)
    pieces, target = stream_of(CHUNKS), provider._target(MODEL)
    dialect, surface = OpenAI(), OpenAISurface()
    events = [one async for one in edge.gateway.stream(request)]

    async def drain(source: Any) -> None:
        async for _ in source:
            pass

    def decoded() -> None:
        decoder = dialect.decoder(target)
        for piece in pieces:
            decoder.feed(piece)
        decoder.finish()

    def rendered() -> None:
        renderer = surface.renderer(request)
        for one in events:
            b"".join(renderer.render(one))

    return [
        Row("HTTP application", waits(lambda: bench.ask(STREAMED)), CHUNKS),
        Row("gateway", waits(lambda: drain(edge.gateway.stream(request))), CHUNKS),
        Row("provider", waits(lambda: drain(provider.stream(addressed))), CHUNKS),
        Row("decode a chunk, fold it", plain(decoded), CHUNKS),
        Row("render a chunk", plain(rendered), CHUNKS),
    ]


async def steps(bench: Bench) -> list[Row]:
    """What is done on the way, each by itself."""
    edge, provider, books = bench.edge, bench.provider, bench.books
    policy, dialect, surface = edge.gateway.policy, OpenAI(), OpenAISurface()
    parser, target, turns = PARSERS["openai"], provider._target(MODEL), Turns()
    request = asked(ASKED)
    addressed = replace(request, model=MODEL)
    reply = HttpReply(status=200, headers={"content-type": "application/json"}, body=ANSWER)
    answer = await edge.gateway.complete(request)
    assert isinstance(answer, Completion), answer
    usage, info, gate = answer.usage, provider.catalog.info("lab", MODEL), provider.standing.gate
    pricing = info.pricing if info else None
    exchange = Exchange(scope(0), _never, bench.hear)
    clock = SENSES.clock

    async def placed() -> None:
        entered = await bench.app.admission.enter("us")
        bench.app.admission.leave(entered)  # type: ignore[arg-type]  # there is room

    def passed() -> None:
        ticket = gate.admit(clock(), MODEL)
        assert isinstance(ticket, Ticket)
        gate.settle(ticket, None, clock())

    def written() -> None:
        entry = begin(books, addressed, provider="lab", hold=lambda: 1_000_000)
        assert isinstance(entry, Entry)
        entry.settle(answer, latency_s=0.5)

    return [
        Row("read the body as JSON", plain(lambda: orjson.loads(ASKED))),
        Row("parse it into a request", plain(lambda: parser(orjson.loads(ASKED)))),
        Row("know the key", waits(lambda: caller_of(exchange, edge))),
        Row("a place (admission)", waits(placed)),
        Row("plan", plain(lambda: chat_plan(policy, request, turns=turns, now=clock(), rng=edge._rng))),
        Row("fit and encode", plain(lambda: provider._encode(addressed, target))),
        Row("breaker, keys: in and out", plain(passed)),
        Row("hold", plain(lambda: hold(addressed, info))),
        Row("books: intent, settlement, row", plain(written)),
        Row("decode", plain(lambda: dialect.decode(reply, target))),
        Row("price", plain(lambda: cost_of(usage, pricing))),
        Row("count (metrics)", plain(lambda: edge.meter.served("openai", request.model, answer, 0.5))),
        Row("render", plain(lambda: orjson.dumps(surface.render(answer, request)))),
    ]


HOOKS: dict[str, list[Any]] = {
    "metrics": ["metrics"],
    "cost": [{"use": "cost", "with": {"max_usd": 1}}],
    "optimise": ["optimise"],
    "metrics, cost, optimise": ["metrics", {"use": "cost", "with": {"max_usd": 1}}, "optimise"],
    "redact": ["redact"],
    "guardrail": [{"use": "guardrail", "with": {"words": ["project x"]}}],
    "log": [{"use": "log", "with": {"path": "requests.jsonl"}}],
}


async def hooks(benches: dict[str, Bench]) -> list[Row]:
    """A request's way through each of these, with nothing behind it; and by the chunk of a stream."""
    request, streamed = asked(ASKED), asked(STREAMED)
    plain_gateway = next(iter(benches.values())).edge.gateway
    answer = await plain_gateway.complete(request)
    events = [event async for event in plain_gateway.stream(streamed)]
    bus = Bus(SENSES.wall)

    def through(bench: Bench) -> Callable[[], Awaitable[object]]:
        gateway = bench.edge.gateway
        chain, info = gateway.policy.hooks, bench.provider.catalog.info("lab", MODEL)
        assert chain is not None

        async def given(sent: Request) -> Outcome:
            chain.addressed(sent.model, sent, Candidate("lab", MODEL), info)
            return answer

        return lambda: chain.complete(request, given, estimates=gateway._estimates)

    def drained(bench: Bench) -> Callable[[], Awaitable[object]]:
        gateway = bench.edge.gateway
        chain = gateway.policy.hooks
        assert chain is not None

        async def played(sent: Request) -> AsyncGenerator[StreamEvent]:
            for event in events:
                yield event

        async def drain() -> None:
            async for _ in chain.stream(streamed, played, estimates=gateway._estimates):
                pass

        return drain

    def told() -> None:
        tell_request(bus, request)
        tell_attempt(bus, request.request_id, answer.attempts[0])
        tell_outcome(bus, request, answer, 0.5)

    bus.subscribe(most=10)
    rows = [Row(name, waits(through(bench))) for name, bench in benches.items()]
    rows.append(Row("events, where somebody listens", plain(told)))
    return rows + [
        Row(f"{name}{PER_CHUNK}", waits(drained(benches[name])), CHUNKS) for name in ("metrics", "redact", "guardrail")
    ]


async def _never() -> Any:
    await asyncio.get_running_loop().create_future()


def asked(body: bytes) -> Request:
    request = PARSERS["openai"](orjson.loads(body))
    assert isinstance(request, Request)
    billing = Billing(account=Account(key="key_4be1d68d9672", team="search", org="acme", tags=("prod",)))
    return replace(request, request_id="8f0d2e3a-4b5c-6d7e-8f90-a1b2c3d4e5f6", tenant="us", billing=billing)


async def measure(rows: list[Row], rounds: int, forget: Callable[[], None]) -> dict[str, float]:
    """Microseconds of each row, by its best turn."""
    calls: dict[str, int] = {}
    for row in rows:
        await row.work(20)
        began = time.process_time()
        await row.work(20)
        calls[row.name] = max(3, int(TURN_S / max(1e-7, (time.process_time() - began) / 20)))
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for row in rows:
            forget()
            count = calls[row.name]
            began = time.process_time()
            await row.work(count)
            best[row.name] = min(best[row.name], (time.process_time() - began) / count / row.per * 1e6)
    return best


def _beside(hook: Any, folder: Path) -> Any:
    """A log writes into the folder of the measurement."""
    if isinstance(hook, dict) and "path" in hook["with"]:
        return {**hook, "with": {"path": str(folder / hook["with"]["path"])}}
    return hook


async def report(rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        caching = Bench(Path(folder), cache={"enabled": True, "sampled": True})
        at = Path(folder)
        hooked = {name: Bench(at, hooks=[_beside(one, at) for one in wanted]) for name, wanted in HOOKS.items()}
        gc.collect()
        gc.freeze()

        def forget_hooked() -> None:
            for one in hooked.values():
                one.forget()

        found = {
            "request": await measure(await doors(bench), rounds, bench.forget),
            "chunk": await measure(await streams(bench), rounds, bench.forget),
            "step": await measure(await steps(bench), rounds, bench.forget),
            "cached": await measure([Row("hit", waits(lambda: caching.ask(ASKED)))], rounds, caching.forget),
            "hooks": await measure(await hooks(hooked), rounds, forget_hooked),
        }
        for one in hooked.values():
            await one.edge.stop()
        await bench.books.stop()
        await caching.books.stop()
    return {"python": platform.python_version(), "machine": platform.processor() or platform.machine(), "us": found}


def tables(found: dict[str, Any]) -> str:
    """The figures as Markdown. The books' share is a difference: of the same call with and without them."""
    us, cached = found["us"], found["us"]["cached"]["hit"]
    whole, gateway, provider, without = us["request"].values()
    budget = {
        "HTTP: key, place, parse, render, headers": whole - gateway,
        "gateway: plan, attempts": gateway - provider,
        "provider: encode, breaker, decode, price, counts": without,
        "books: hold, intent, settlement, row (goal: 30)": provider - without,
    }
    lines = ["| a small request | µs | |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {cost:.0f} | {cost / whole:.0%} |" for name, cost in budget.items()]
    lines += [
        f"| **together** | **{whole:.0f}** | |",
        f"| the same, remembered (a hit of the cache) | {cached:.0f} | |",
    ]
    lines += ["", "| a step by itself | µs |", "| --- | ---: |"]
    lines += [f"| {name} | {cost:.1f} |" for name, cost in us["step"].items()]
    lines += ["", "| a chunk of a stream | µs |", "| --- | ---: |"]
    lines += [f"| {name} | {cost:.1f} |" for name, cost in us["chunk"].items()]
    lines += ["", "| hooks, where there are any | µs |", "| --- | ---: |"]
    lines += [f"| {name} | {cost:.1f} |" for name, cost in us["hooks"].items()]
    lines += ["", f"Python {found['python']}, {found['machine']}; `python -m bench.edge` on your machine says its own."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="keep the figures here")
    parser.add_argument("--page", type=Path, help="put the tables between the marks of this page")
    said = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(report(said.rounds))
    page = tables(found)
    print(page)
    if said.json is not None:
        said.json.parent.mkdir(parents=True, exist_ok=True)
        said.json.write_text(json.dumps(found, indent=2))
    if said.page is not None:
        before, _, rest = said.page.read_text().partition(MARKS[0])
        _, _, after = rest.partition(MARKS[1])
        said.page.write_text(f"{before}{MARKS[0]}\n\n{page}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
