"""What counting tokens and holding money cost a request: `python -m bench.tokens`."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import psutil

from runtime import vocabulary
from runtime.hold import hold
from runtime.models import ModelInfo, Pricing
from runtime.outcome import Choice, Completion, Usage
from runtime.price import cost_of
from runtime.request import Message, Request, Role, Sampling, TextPart, Tool, ask, user
from runtime.token_ratio import Ratios
from runtime.tokens import estimate_tokens, expected_tokens, learn

PROSE = "Rays are a group of cartilaginous fish; there are some 600 species of them, in 26 families. "
INFO = ModelInfo(
    provider="p", model="m-1", pricing=Pricing(input=150_000_000, output=600_000_000), context_length=10**6
)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "Where?"}}, "required": ["city"]}


def prompt(letters: int) -> Request:
    system = Message(role=Role.SYSTEM, parts=(TextPart("You are a helpful assistant."),))
    text = (PROSE * (letters // len(PROSE) + 1))[:letters]
    return Request(messages=(system, user(text)), model="m-1", sampling=Sampling(max_tokens=100))


def micros(what: Callable[[], object], times: int) -> float:
    """The best of five rounds, in microseconds."""
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(times):
            what()
        best = min(best, (time.perf_counter() - begun) / times)
    return best * 1e6


def loading() -> None:
    process = psutil.Process()
    import tiktoken  # noqa: F401  # its own import is not the vocabulary's

    gc.collect()
    before, gaps, done = process.memory_info().rss, [0.0], threading.Event()

    def tick() -> None:
        last = time.perf_counter()
        while not done.wait(0.0005):
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    other = threading.Thread(target=tick)
    other.start()
    begun, spent = time.perf_counter(), time.process_time()
    vocabulary.use()
    took, spent = time.perf_counter() - begun, time.process_time() - spent
    done.set()
    other.join()
    gc.collect()
    grown = (process.memory_info().rss - before) / 1e6
    print(f"vocabulary: {took:.2f} s ({spent:.2f} s of CPU), {grown:.0f} MB stay")
    print(f"            other threads stood still for {max(gaps):.2f} s")


def main() -> int:
    kilobyte, megabyte = prompt(1_000), prompt(1_000_000)
    kana = ask("日本語のテキスト" * 40_000)
    print(f"bytes: 1 KB {micros(lambda: estimate_tokens(kilobyte), 2_000):.1f} µs")
    loading()
    print(f"estimate: 1 KB {micros(lambda: estimate_tokens(kilobyte), 2_000):.1f} µs")
    print(f"estimate: 1 MB {micros(lambda: estimate_tokens(megabyte), 20):.0f} µs")
    print(f"estimate: 1 MB of Japanese {micros(lambda: estimate_tokens(kana), 20):.0f} µs")
    ratios = Ratios()
    usage = Usage(input_tokens=260, output_tokens=40)
    answer = Completion(id="1", model="m-1", choices=(Choice.of(PROSE * 2),), usage=usage)
    print(f"learn, on average: {micros(lambda: learn(ratios, kilobyte, answer), 4_000):.1f} µs")
    expected = micros(lambda: expected_tokens(kilobyte, "m-1", ratios), 2_000)
    print(f"estimate as learned: 1 KB {expected:.1f} µs")
    print(f"hold: 1 KB {micros(lambda: hold(kilobyte, INFO), 5_000):.1f} µs")
    tools = replace(kilobyte, tools=(Tool(name="weather", description="There?", parameters=SCHEMA),) * 4)
    print(f"hold: 1 KB and four tools {micros(lambda: hold(tools, INFO), 5_000):.1f} µs")
    print(f"hold: 1 MB of Japanese {micros(lambda: hold(kana, INFO), 20):.0f} µs")
    print(f"cost: {micros(lambda: cost_of(usage, INFO.pricing), 5_000):.1f} µs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
