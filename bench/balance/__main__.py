"""The table and the plots of docs/balance.md: python -m bench.balance [--seeds 3] [--only NAME] [--no-write]

Every figure comes from seeds, so the same code gives the same page, on any machine.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.balance.plot import lines
from bench.balance.policies import POLICIES
from bench.balance.scenarios import BY_NAME, CHANGED, SCENARIOS, STEP_S
from bench.balance.simulate import simulate

DOCS = Path(__file__).parents[2] / "docs"
MARKS = ("<!-- figures -->", "<!-- /figures -->")
OTHERS = ("least_loaded", "round_robin", "random", "litellm", "agentgateway")
SHOWN = ("clairvoyant", "oracle, lengths unknown", "latency", "latency, lengths known", *OTHERS)
SWEPT = ("latency", "least_loaded", "random")
STALE_S = (0.0, 0.1, 0.25, 0.5)
EDGES = (1, 4, 16)
WINDOW_S = 0.5
LITTLE = 0.05


@dataclass(frozen=True)
class Job:
    scenario: str
    policy: str
    seed: int
    edges: int | None = None
    stale_s: float | None = None


@dataclass(frozen=True)
class Figures:
    """Seconds; `shares` of the changed server, in windows from two seconds before the step to eight after it.

    `herd` is the share of the most asked server among the calls of half a second, in the mean.
    """

    mean: float
    p99: float
    share: float
    shares: tuple[float, ...]
    herd: float = 0.0

    @property
    def recovered_s(self) -> float:
        """When the changed server's share fell below `LITTLE` for good; inf if it did not."""
        after = self.shares[round(2.0 / WINDOW_S) :]
        late = [at for at, share in enumerate(after) if share > LITTLE]
        return float("inf") if late and late[-1] == len(after) - 1 else (late[-1] + 1) * WINDOW_S if late else 0.0


def figures(job: Job) -> Figures:
    scenario = BY_NAME[job.scenario]
    if job.edges is not None and job.stale_s is not None:
        scenario = replace(scenario, edges=job.edges, stale_s=job.stale_s)
    result = simulate(scenario, POLICIES[job.policy](), job.seed)
    took = result.between(scenario.since_s)
    starts = np.arange(STEP_S - 2.0, STEP_S + 8.0, WINDOW_S)
    shares = tuple(result.share(CHANGED, float(at), float(at) + WINDOW_S) for at in starts)
    share = result.share(CHANGED, scenario.since_s)
    herd = herding(result.calls, scenario.since_s, len(scenario.servers))
    return Figures(float(took.mean()), float(np.quantile(took, 0.99)), share, shares, herd)


def herding(calls: Sequence[tuple[float, int]], since_s: float, servers: int) -> float:
    windows: dict[int, list[int]] = {}
    for at, server in calls:
        if at >= since_s:
            windows.setdefault(int(at / WINDOW_S), [0] * servers)[server] += 1
    return float(np.mean([max(counts) / sum(counts) for counts in windows.values()]))


def means(all_of: Sequence[Figures]) -> Figures:
    shares = np.mean([one.shares for one in all_of], axis=0)
    return Figures(
        float(np.mean([one.mean for one in all_of])),
        float(np.mean([one.p99 for one in all_of])),
        float(np.mean([one.share for one in all_of])),
        tuple(map(float, shares)),
        float(np.mean([one.herd for one in all_of])),
    )


def measure(jobs: Iterable[Job]) -> dict[tuple[str, str, int | None, float | None], Figures]:
    """All seeds of a job taken together."""
    jobs = list(jobs)
    found: dict[tuple[str, str, int | None, float | None], list[Figures]] = {}
    with ProcessPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for job, one in zip(jobs, pool.map(figures, jobs, chunksize=2), strict=True):
            found.setdefault((job.scenario, job.policy, job.edges, job.stale_s), []).append(one)
    return {key: means(all_of) for key, all_of in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=list(BY_NAME))
    parser.add_argument("--no-write", action="store_true")
    said = parser.parse_args()
    seeds = range(1, said.seeds + 1)
    scenarios = [one.name for one in SCENARIOS if said.only in (None, one.name)]
    policies = ("oracle", *SHOWN)
    found = measure(Job(name, policy, seed) for name in scenarios for policy in policies for seed in seeds)
    table = {(name, policy): found[name, policy, None, None] for name in scenarios for policy in policies}
    page = report(scenarios, table, said.seeds)
    print(page)
    if said.only or said.no_write:
        return
    swept = measure(
        Job("mixed", policy, seed, edges, stale_s)
        for policy in ("oracle", *SWEPT)
        for edges in EDGES
        for stale_s in STALE_S
        for seed in seeds
    )
    draw(scenarios, table, swept)
    path = DOCS / "balance.md"
    before, after = path.read_text().split(MARKS[0])[0], path.read_text().split(MARKS[1])[1]
    path.write_text(f"{before}{MARKS[0]}\n{page}\n{MARKS[1]}{after}")


def report(scenarios: Sequence[str], table: dict[tuple[str, str], Figures], seeds: int) -> str:
    rows = [
        f"Mean / p99, as multiples of the oracle's; {seeds} seeds.",
        "",
        "| scenario | oracle, s | " + " | ".join(SHOWN) + " |",
        "| --- | --- |" + " --- |" * len(SHOWN),
    ]
    for name in scenarios:
        best = table[name, "oracle"]
        cells = (f"{of.mean / best.mean:.2f} / {of.p99 / best.p99:.2f}" for of in (table[name, p] for p in SHOWN))
        rows.append(f"| {name} | {best.mean:.2f} / {best.p99:.2f} | " + " | ".join(cells) + " |")
    rows += ["", "| target of `latency` | reached | not reached |", "| --- | --- | --- |"]
    rows += [_target(words, scenarios, table, test) for words, test in TARGETS.items()]
    shown = [
        ("step up", "seconds until the slowed server's share stays below 5 %", lambda of: f"{of.recovered_s:.1f}"),
        ("breaks", "share of a server that breaks, after its first second", lambda of: f"{of.share:.1%}"),
        ("broken", "share of a server that was never well, after the first second", lambda of: f"{of.share:.1%}"),
        (
            "equal, 16 edges",
            "of eight equal servers the most asked one's share of each half second (view 0.5 s old)",
            lambda of: f"{of.herd:.1%}",
        ),
    ]
    policies = ("latency", *OTHERS)
    rows += ["", "| | " + " | ".join(policies) + " |", "| --- |" + " --- |" * len(policies)]
    for name, words, of in shown:
        if name in scenarios:
            rows.append(f"| {words} | " + " | ".join(of(table[name, policy]) for policy in policies) + " |")
    return "\n".join(rows)


TARGETS = {
    "p99 within 1.3 × the oracle's": lambda of: of["latency"].p99 <= 1.3 * of["oracle"].p99,
    "p99 within 1.3 × the oracle's, lengths unknown to both": (
        lambda of: of["latency"].p99 <= 1.3 * of["oracle, lengths unknown"].p99
    ),
    "p99 within 1.3 × the oracle's, lengths known to both": (
        lambda of: of["latency, lengths known"].p99 <= 1.3 * of["oracle"].p99
    ),
    "mean no worse than random's": lambda of: of["latency"].mean <= 1.01 * of["random"].mean,
    "p99 no worse than random's (5 % of noise)": lambda of: of["latency"].p99 <= 1.05 * of["random"].p99,
}


def _target(words: str, scenarios: Sequence[str], table: dict[tuple[str, str], Figures], test: object) -> str:
    held = {name: test({p: table[name, p] for p in ("oracle", *SHOWN)}) for name in scenarios}  # type: ignore[operator]
    missed = [name for name, good in held.items() if not good]
    return f"| {words} | {sum(held.values())} of {len(held)} | {'; '.join(missed) or '–'} |"


def draw(
    scenarios: Sequence[str],
    table: dict[tuple[str, str], Figures],
    swept: dict[tuple[str, str, int | None, float | None], Figures],
) -> None:
    folder = DOCS / "balance"
    folder.mkdir(exist_ok=True)
    shown = ("latency", "latency, lengths known", "oracle, lengths unknown", *OTHERS)
    against = {
        policy: [(float(at), table[name, policy].p99 / table[name, "oracle"].p99) for at, name in enumerate(scenarios)]
        for policy in shown
    }
    title = "p99 as a multiple of the oracle's"
    (folder / "p99.svg").write_text(
        lines(title, against, x="", y="× oracle", names=list(scenarios), log=True, joined=False)
    )
    stale = {
        f"{policy}, {edges} edges": [
            (
                1_000 * stale_s,
                swept["mixed", policy, edges, stale_s].p99 / swept["mixed", "oracle", edges, stale_s].p99,
            )
            for stale_s in STALE_S
        ]
        for policy in SWEPT[:2]
        for edges in EDGES
    }
    stale["random"] = [
        (1_000 * at, swept["mixed", "random", 4, at].p99 / swept["mixed", "oracle", 4, at].p99) for at in STALE_S
    ]
    (folder / "stale.svg").write_text(
        lines("p99 by the age of the view, five mixed servers", stale, x="view renewed every … ms", y="× oracle")
    )
    steps = {
        policy: [(WINDOW_S * at - 2.0, 100 * share) for at, share in enumerate(table["step up", policy].shares)]
        for policy in ("oracle", "latency", "least_loaded", "litellm", "agentgateway")
    }
    (folder / "step.svg").write_text(
        lines("Share of a server that becomes 8 × slower", steps, x="seconds after the step", y="% of calls")
    )


if __name__ == "__main__":
    main()
