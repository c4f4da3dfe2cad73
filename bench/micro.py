"""The parts of a request each by itself, under pytest-benchmark: dialects, planning, breaker, cache, journal.

    make bench                      runs it with the rest, and keeps bench/results/micro.json
    pytest bench/micro.py --benchmark-enable --benchmark-only --benchmark-compare=FILE      beside an earlier run

`bench.edge` says what a whole request costs and where; this says which part of ours became slower. `make test` runs
each part once, so that none can rot.
"""

from __future__ import annotations

import random
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.edge import ASKED, asked
from runtime.balance.turns import Turns
from runtime.breaker import Breaker, BreakerPolicy, Permit
from runtime.cache import AnswerCache, key_of
from runtime.dialects.base import HttpReply, Target
from runtime.dialects.registry import DIALECTS, PARSERS
from runtime.ledger.folder import Journal
from runtime.ledger.journal import pack, unpack
from runtime.ledger.rows import Account, Intent, Row, Settlement
from runtime.outcome import Blame, Completion, Outcome, Usage
from runtime.plan import chat_plan
from runtime.request import Request, ask
from tests.conformance.samples import SAMPLES
from tests.fakes.gateway import Rigs, text

REQUEST = asked(ASKED)
WHOLE = 1_000
"""Rows of one shipment to the ledger."""


def target(dialect: str) -> Target:
    return Target(provider=dialect, base_url="http://127.0.0.1:9", model="m", api_key="sk-bench")


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.benchmark(group="encode a request")
def test_encode(benchmark: BenchmarkFixture, name: str) -> None:
    dialect, to = DIALECTS[name], target(name)
    benchmark(lambda: dialect.encode(REQUEST, to))


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.benchmark(group="decode an answer")
def test_decode(benchmark: BenchmarkFixture, name: str) -> None:
    dialect, to = DIALECTS[name], target(name)
    reply = HttpReply(status=200, headers={"content-type": "application/json"}, body=SAMPLES[name].reply)
    assert isinstance(benchmark(lambda: dialect.decode(reply, to)), Completion)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.benchmark(group="decode a stream")
def test_decode_a_stream(benchmark: BenchmarkFixture, name: str) -> None:
    dialect, to, stream = DIALECTS[name], target(name), SAMPLES[name].stream

    def decoded() -> Outcome:
        decoder = dialect.decoder(to)
        decoder.feed(stream)
        return decoder.finish()

    assert benchmark(decoded) is not None


@pytest.mark.parametrize("name", ["openai", "anthropic"])
@pytest.mark.benchmark(group="parse a client's body")
def test_parse(benchmark: BenchmarkFixture, name: str) -> None:
    body = orjson.dumps({"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "What is a ray?"}]})
    assert isinstance(benchmark(lambda: PARSERS[name](orjson.loads(body))), Request)


@pytest.mark.parametrize("candidates", [1, 2, 8, 40])
@pytest.mark.parametrize("strategy", ["round_robin", "latency", "cost", "balanced"])
@pytest.mark.benchmark(group="plan")
def test_plan(benchmark: BenchmarkFixture, strategy: str, candidates: int) -> None:
    named: dict[str, Any] = {f"p{at}": text("hi") for at in range(candidates)}
    policy = Rigs(settings={"strategy": strategy}, **named).policy()
    request, turns, rng = ask("What is a ray?"), Turns(), random.Random(1)
    found = benchmark(lambda: chat_plan(policy, request, turns=turns, now=1.0, rng=rng))
    assert len(found.candidates) == candidates


@pytest.mark.benchmark(group="breaker")
def test_breaker(benchmark: BenchmarkFixture) -> None:
    breaker = Breaker(BreakerPolicy())

    def call() -> None:
        permit = breaker.admit(1.0)
        assert isinstance(permit, Permit)
        breaker.settle(permit, Blame.GOOD, 1.0)

    benchmark(call)


@pytest.fixture
def answer() -> Completion:
    reply = HttpReply(status=200, headers={"content-type": "application/json"}, body=SAMPLES["openai"].reply)
    found = DIALECTS["openai"].decode(reply, target("openai"))
    assert isinstance(found, Completion)
    return found


@pytest.mark.benchmark(group="cache")
def test_key_of_an_answer(benchmark: BenchmarkFixture) -> None:
    assert benchmark(lambda: key_of(REQUEST))


@pytest.mark.benchmark(group="cache")
def test_hit(benchmark: BenchmarkFixture, answer: Completion) -> None:
    cache, key = AnswerCache(max_bytes=2**24), key_of(REQUEST)
    assert cache.put(key, answer, 0.0, ttl_s=60.0)
    assert benchmark(lambda: cache.get(key, 1.0)) is not None


@pytest.mark.benchmark(group="cache")
def test_an_answer_is_remembered_and_another_forgotten(benchmark: BenchmarkFixture, answer: Completion) -> None:
    cache, keys = AnswerCache(max_bytes=2**16), count()
    assert benchmark(lambda: cache.put(next(keys).to_bytes(8, "big"), answer, 0.0, ttl_s=60.0))


def row(at: int) -> Row:
    whose = Account(key="key_4be1d68d9672", team="search", org="acme")
    intent = Intent(
        attempt=f"{at:032x}", at_ms=at, request_id="r", account=whose, provider="lab", model="m", hold_nanousd=1_000_000
    )
    usage = Usage(input_tokens=33, output_tokens=20)
    return Row(intent=intent, settlement=Settlement(attempt=intent.attempt, at_ms=at, outcome="ok", usage=usage))


@pytest.mark.benchmark(group="journal")
def test_an_attempt_is_written_down(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    journal, numbers = Journal(tmp_path, "bench"), count()

    def attempt() -> None:
        made = row(next(numbers))
        assert journal.intend(made.intent) is None
        assert journal.settle(made.settlement) is None

    benchmark(attempt)
    journal.close(remove=True)


@pytest.mark.benchmark(group="journal")
def test_a_shipment_is_packed_and_read(benchmark: BenchmarkFixture) -> None:
    rows = [row(at) for at in range(WHOLE)]
    assert len(benchmark(lambda: unpack(pack(rows)))) == WHOLE
