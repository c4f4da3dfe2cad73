"""What a request costs, as ratios of work: executed instructions of Python's interpreter, the same in each run.

Not seconds: those are the machine's. `python -m bench.edge` has the microseconds.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from bench.edge import ASKED, CHUNKS, MODEL, STREAMED, Bench, asked
from runtime.values import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Instructions of Python for each."""

    miss: int
    hit: int
    provider: int
    without_books: int
    stream: int


async def counted(call: Callable[[], Awaitable[object]]) -> int:
    """The instructions that are executed until this is done, by the third time."""
    count = 0

    def traced(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return traced

    await call()
    await call()
    before = sys.gettrace()
    sys.settrace(traced)
    try:
        await call()
    finally:
        sys.settrace(before)
    return count


async def weighed(folder: Path) -> Work:
    bench, caching = Bench(folder), Bench(folder, cache={"enabled": True, "sampled": True})
    addressed = replace(asked(ASKED), model=MODEL, deadline_s=600.0)
    provider, books = bench.provider, bench.books
    try:
        found = {
            "miss": await counted(lambda: bench.ask(ASKED)),
            "hit": await counted(lambda: caching.ask(ASKED)),
            "stream": await counted(lambda: bench.ask(STREAMED)),
            "provider": await counted(lambda: provider.complete(addressed)),
        }
        provider.books = None
        found["without_books"] = await counted(lambda: provider.complete(addressed))
        provider.books = books
    finally:
        await books.stop()
        await caching.books.stop()
    return Work(**found)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    if sys.gettrace() is not None:
        pytest.skip("something else (a debugger, coverage) traces this process already")
    with asyncio.Runner() as runner:
        yield runner.run(weighed(tmp_path_factory.mktemp("books")))


def test_a_hit_of_the_cache_is_less_than_a_third_of_the_work_of_a_miss(work: Work) -> None:
    assert work.hit <= 0.33 * work.miss, work


def test_the_books_are_a_small_part_of_a_request(work: Work) -> None:
    assert work.provider - work.without_books <= 0.15 * work.miss, work


def test_a_chunk_is_a_small_part_of_a_request(work: Work) -> None:
    assert (work.stream - work.miss) / CHUNKS <= 0.15 * work.miss, work
