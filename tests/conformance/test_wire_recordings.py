"""Recorded traffic of real OpenAI-style hosts reads the same at any cuts. The records stay outside the repository."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.openai import OpenAI
from runtime.dialects.openai_surface import ChunkRenderer, parse_chat, render_completion
from runtime.outcome import Completion, Failure, StreamEnd, StreamStart
from runtime.request import Request

RECORDINGS = Path(os.environ.get("RAYGATE_SHARED", "../shared")) / "wire" / "dev"
SEED = int(os.environ.get("RAYGATE_TEST_SEED", random.SystemRandom().randrange(2**32)))

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(),
    reason=f"no recordings at {RECORDINGS}: set RAYGATE_SHARED to the folder that holds wire/dev",
)
hosts = pytest.mark.parametrize("host", ["openai", "openrouter", "llamacpp"])
OPENAI = OpenAI()


def recorded(host: str) -> Iterator[dict[str, Any]]:
    with (RECORDINGS / f"{host}.jsonl").open("rb") as lines:
        for line in lines:
            record = orjson.loads(line)
            if record["endpoint"].endswith("/chat/completions"):
                yield record


def target(record: dict[str, Any]) -> Target:
    return Target(provider="p", base_url="https://api.openai.com/v1", model=record["model"] or "")


def body_of(record: dict[str, Any]) -> bytes:
    response = record["response"]
    return response["text"].encode() if "text" in response else orjson.dumps(response["body"])


@hosts
def test_streams_read_the_same_at_any_cuts(host: str) -> None:
    sys.stdout.write(f"RAYGATE_TEST_SEED={SEED}\n")
    rng, read = random.Random(SEED), 0
    for record in recorded(host):
        if record["stream"] != "sse" or record["status"] != 200:
            continue
        wire = body_of(record)
        uncut = OPENAI.decoder(target(record))
        deltas, outcome = uncut.feed(wire), uncut.finish()
        assert isinstance(outcome, Completion), (record["id"], outcome)
        assert uncut.ended
        assert "".join(delta.text for delta in deltas if delta.choice == 0) == outcome.text
        for pieces in (2, 20, 200):
            edges = [0, *sorted(rng.choices(range(len(wire)), k=pieces)), len(wire)]
            cut = OPENAI.decoder(target(record))
            parts = [cut.feed(wire[a:b]) for a, b in pairwise(edges)]
            assert [delta for part in parts for delta in part] == deltas, record["id"]
            assert cut.finish() == outcome, record["id"]
        read += 1
    assert read


@hosts
def test_a_recorded_stream_without_its_end_is_not_whole(host: str) -> None:
    rng = random.Random(SEED)
    sys.stdout.write(f"RAYGATE_TEST_SEED={SEED}\n")
    for record in recorded(host):
        if record["stream"] != "sse" or record["status"] != 200:
            continue
        wire = body_of(record)
        before_finish = wire.index(b'"finish_reason":"') if b'"finish_reason":"' in wire else wire.index(b"[DONE]") // 2
        decoder = OPENAI.decoder(target(record))
        decoder.feed(wire[: rng.randrange(before_finish)])
        assert isinstance(decoder.finish(), Failure), record["id"]


@hosts
def test_replies_read_whole_and_what_we_render_reads_the_same(host: str) -> None:
    for record in recorded(host):
        if record["stream"] is not None:
            continue
        response = record["response"]
        reply = HttpReply(status=response["status"], headers=response["headers"], body=body_of(record))
        outcome = OPENAI.decode(reply, target(record))
        if record["status"] != 200:
            assert isinstance(outcome, Failure)
            assert outcome.detail
            continue
        assert isinstance(outcome, Completion), (record["id"], outcome)
        rendered = orjson.dumps(render_completion(outcome))
        again = OPENAI.decode(HttpReply(status=200, headers={}, body=rendered), target(record))
        assert isinstance(again, Completion)
        assert again.choices == outcome.choices, record["id"]
        assert again.usage == outcome.usage
        assert (again.cost and again.cost.total_nanousd) == (outcome.cost and outcome.cost.total_nanousd)


@hosts
def test_streams_that_we_render_read_the_same(host: str) -> None:
    for record in recorded(host):
        if record["stream"] != "sse" or record["status"] != 200:
            continue
        decoder = OPENAI.decoder(target(record))
        deltas, outcome = decoder.feed(body_of(record)), decoder.finish()
        assert isinstance(outcome, Completion)
        renderer = ChunkRenderer(stream_usage=True)
        chunks = renderer.render(StreamStart(id=outcome.id, provider="p", model=outcome.model))
        for delta in deltas:
            chunks += renderer.render(delta)
        chunks += renderer.render(StreamEnd(outcome=outcome))
        ours = OPENAI.decoder(target(record))
        ours.feed(b"".join(chunks))
        again = ours.finish()
        assert isinstance(again, Completion), (record["id"], again)
        assert again.choices == outcome.choices, record["id"]
        assert again.usage == outcome.usage


@hosts
def test_requests_go_through_unchanged(host: str) -> None:
    """What a client sent is what the provider gets, but for normal forms that mean the same."""
    through = 0
    for record in recorded(host):
        sent = record["request"]["body"]
        request = parse_chat(sent)
        if isinstance(request, Failure):
            assert request.param
            continue
        call = OPENAI.encode(request, target(record))
        assert isinstance(call, HttpCall), (record["id"], call)
        again = parse_chat(orjson.loads(call.body))
        assert isinstance(again, Request)
        assert again.messages == request.messages, record["id"]
        assert again.extra == request.extra, record["id"]
        assert (again.tools, again.sampling) == (request.tools, request.sampling) or call.dropped, record["id"]
        through += 1
    assert through
