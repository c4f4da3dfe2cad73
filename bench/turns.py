"""Gateways side by side, asked by turns: the medians of many short turns, and their ratios.

    python -m bench.peers --by-turns [TARGET …] [--seconds 3] [--reps 5] [--cells WORD]

A machine that others use goes by turns up to twice as fast, so what is measured one target after the other differs by
as much. Here all targets of `shared/bench` that are named run at once, nothing is asked of any but one, and a round
asks each of them once, in an order that turns. `bench.peers` calls this with a copy of the harness that knows us.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PORTS_APART = 20
TOLD = ("cpu_us", "rps", "p50_ms", "p99_ms", "ttfb_p50_ms", "delay_p99_ms", "errors")

Measured = dict[str, Any]


@dataclass
class Side:
    """One target that runs, and the processes that are its own."""

    name: str
    running: Any
    roots: frozenset[int]


def cells() -> dict[str, tuple[dict[str, Any], Callable[[Any, int, Any], Measured]]]:
    """By name: how the upstream behaves, and what is asked."""

    def plain(connections: int) -> Callable[[Any, int, Any], Measured]:
        return lambda side, seconds, mock: side.plain(side.target.route, "small", connections, seconds, mock)

    def stream(streams: int) -> Callable[[Any, int, Any], Measured]:
        return lambda side, seconds, mock: side.stream(streams, seconds, mock)

    return {
        "plain 1": ({"latency_ms": 0}, plain(1)),
        "plain 32": ({"latency_ms": 0}, plain(32)),
        "plain 128": ({"latency_ms": 0}, plain(128)),
        "50 ms 32": ({"latency_ms": 50}, plain(32)),
        "50 ms 128": ({"latency_ms": 50}, plain(128)),
        "chunks at once 32": ({"chunks": 100, "interval_ms": 0}, stream(32)),
        "chunks of 10 ms 1": ({"chunks": 100, "interval_ms": 10}, stream(1)),
        "chunks of 10 ms 32": ({"chunks": 100, "interval_ms": 10}, stream(32)),
    }


def start(harness: Any, names: list[str]) -> list[Side]:
    """All of them, each at ports of its own. Raises RuntimeError if one does not come up."""
    by_name = {one.name: one for one in harness.TARGETS}
    sides = []
    for at, name in enumerate(names):
        before = frozenset(harness.target_pids())
        harness.PORT, harness.PORT2 = (harness.BASE_PORT + PORTS_APART * (at + 1) + more for more in (0, 1))
        harness.set_mock(harness.MOCK_A)
        target = by_name[name]
        running = harness.Running(target, target.start)
        time.sleep(3)
        sides.append(Side(name, running, frozenset(harness.target_pids()) - before))
        print(f"{name} is up", flush=True)
    return sides


def only(harness: Any, side: Side, others: frozenset[int], all_pids: Callable[[], list[int]]) -> None:
    """Count this target's processes from here on: those that were there when it had started, and what came since."""
    harness.target_pids = lambda: [pid for pid in all_pids() if pid in side.roots or pid not in others]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("harness", help="the folder with run.py and targets.py")
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--cells", default="", help="those whose name holds this word")
    asked = parser.parse_args()
    sys.path.insert(0, asked.harness)
    import run as harness  # type: ignore[import-not-found]  # the copy that we were told of

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(130))
    harness.become_subreaper()
    mock = harness.start_mock()
    every = harness.target_pids
    found: dict[str, dict[str, list[Measured]]] = {}
    try:
        sides = start(harness, asked.targets or ["raygate", "ray-serve-limit"])
        for name, (behaviour, measure) in cells().items():
            if asked.cells not in name:
                continue
            harness.set_mock(harness.MOCK_A, **behaviour)
            rounds = found[name] = {side.name: [] for side in sides}
            for at in range(asked.reps + 1):
                for side in (*sides[at % len(sides) :], *sides[: at % len(sides)]):
                    others = frozenset().union(*(one.roots for one in sides if one is not side))
                    only(harness, side, others, every)
                    got = measure(side.running, asked.seconds if at else 1, mock)
                    if at and "failed" not in got:  # the first round warms up
                        rounds[side.name].append(got)
            print(told(name, rounds), flush=True)
    finally:
        harness.target_pids = every
        harness.end_target()
        mock.terminate()
    print(json.dumps({name: {one: middle(runs) for one, runs in sides.items()} for name, sides in found.items()}))
    return 0


def middle(runs: list[Measured]) -> dict[str, float]:
    """The medians of what is told."""
    known = {key: [run[key] for run in runs if run.get(key) is not None] for key in TOLD}
    return {key: round(statistics.median(values), 3) for key, values in known.items() if values}


def told(name: str, rounds: dict[str, list[Measured]]) -> str:
    """A line for each target: its medians, and in brackets its share of the first one's."""
    middles = {one: middle(runs) for one, runs in rounds.items()}
    first = next(iter(middles.values()))
    lines = [
        f"{name:20s} {one:16s} "
        + "  ".join(
            f"{key}={value:g}" + (f" ({value / first[key]:.2f})" if first.get(key) else "")
            for key, value in values.items()
        )
        for one, values in middles.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
