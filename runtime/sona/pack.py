"""A pack of outcomes: one row a prompt, every model's quality and bill; and the figures that judge a router.

    q:<model>   quality in [0, 1]        c:<model>   US dollars of that call

CSx is the share of the always-strong bill that is saved at x % of the strong model's quality, read from the concave
hull of (mean bill, mean quality). GC, gap closed, sums over lambda (utility - best single model in hindsight) over
(oracle - best single model). APGR is the area under recovered quality gap over share of strong calls (Ong et al.,
RouteLLM, 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.sona.bank import Floats

LAMBDAS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 50.0)
GC_LAMBDAS = tuple(one for one in LAMBDAS if 0.05 <= one <= 1.0)

Ints = NDArray[np.intp]


class BadPack(ValueError):
    """The file is no pack; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pack:
    prompts: tuple[str, ...]
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    quality: Floats
    cost: Floats

    @property
    def mean_cost(self) -> Floats:
        """The price list, in US dollars of a usual call."""
        return np.asarray(self.cost.mean(axis=0))

    @property
    def strong(self) -> int:
        return int(self.quality.mean(axis=0).argmax())

    @property
    def prices(self) -> Floats:
        """Mean cost of each model in units of the strong model's: what lambda is multiplied with."""
        return np.asarray(self.mean_cost / self.mean_cost[self.strong])

    def take(self, rows: NDArray[np.bool_] | Ints) -> Pack:
        at = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Pack(
            prompts=tuple(self.prompts[int(row)] for row in at),
            tasks=tuple(self.tasks[int(row)] for row in at),
            models=self.models,
            quality=self.quality[at],
            cost=self.cost[at],
        )


def read(path: Path, *, dataset: str | None = None) -> Pack:
    """Read a parquet file, without rows marked `contaminated`; `dataset` keeps one of several. Raises `BadPack`."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise BadPack("reading parquet needs pyarrow: pip install 'raygate[parquet]'") from error
    try:
        table = parquet.read_table(path)
    except (OSError, ArrowException) as error:
        raise BadPack(f"{path} is no parquet file that can be read: {error}") from error
    names = table.column_names
    models = tuple(name[2:] for name in names if name.startswith("q:"))
    wanted = ["prompt", *(f"c:{model}" for model in models), *(["dataset"] if dataset is not None else [])]
    lacking = [name for name in wanted if name not in names]
    if len(models) < 2:
        lacking.append("q:MODEL and c:MODEL of " + ("another model" if models else "two models or more"))
    if lacking:
        raise BadPack(
            f"{path} lacks {', '.join(lacking)}; a pack needs prompt, and q:MODEL (quality) and c:MODEL (US dollars) "
            "of two models or more"
        )
    keep = np.ones(len(table), dtype=bool)
    if "contaminated" in names:
        keep &= ~np.array(table["contaminated"].to_pylist(), dtype=bool)
    if dataset is not None:
        keep &= np.array([dataset == one for one in table["dataset"].to_pylist()], dtype=bool)
    quality = np.stack([np.asarray(table[f"q:{model}"], dtype=np.float64) for model in models], axis=1)
    cost = np.stack([np.asarray(table[f"c:{model}"], dtype=np.float64) for model in models], axis=1)
    keep &= np.isfinite(quality).all(axis=1) & np.isfinite(cost).all(axis=1)
    if not keep.any():
        raise BadPack(f"{path} has no row that can be used")
    tasks = [str(one) for one in table["task"].to_pylist()] if "task" in names else [""] * len(table)
    whole = Pack(
        prompts=tuple(str(one) for one in table["prompt"].to_pylist()),
        tasks=tuple(tasks),
        models=models,
        quality=np.clip(quality, 0.0, 1.0),
        cost=cost,
    )
    return whole.take(keep)


def hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The concave, rising hull of (bill, quality)."""
    rising: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda one: (one[0], -one[1])):
        if not rising or point[1] > rising[-1][1]:
            rising.append(point)
    kept: list[tuple[float, float]] = []
    for point in rising:
        while len(kept) >= 2 and (kept[-1][1] - kept[-2][1]) * (point[0] - kept[-2][0]) <= (point[1] - kept[-2][1]) * (
            kept[-1][0] - kept[-2][0]
        ):
            kept.pop()
        kept.append(point)
    return kept


def bill_at(curve: Sequence[tuple[float, float]], quality: float) -> float:
    """The least bill on a hull for this quality; nan where it is out of reach."""
    if quality <= curve[0][1]:
        return curve[0][0]
    for (bill, low), (dearer, high) in pairwise(curve):
        if quality <= high:
            return bill + (dearer - bill) * (quality - low) / (high - low)
    return float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    gc: float
    cs90: float
    cs95: float
    cs98: float
    gained: dict[float, float]
    """Utility over the best single model's, by lambda."""
    curve: tuple[tuple[float, float], ...]


def judge(pack: Pack, choices: Mapping[float, Ints], rows: Ints | None = None) -> Figures:
    """Figures of one run: `choices` gives, by lambda, the model chosen for each row of the pack."""
    at = np.arange(len(pack.prompts)) if rows is None else rows
    quality, cost = pack.quality[at], pack.cost[at]
    strong = int(quality.mean(axis=0).argmax())
    cheap = int(cost.mean(axis=0).argmin())
    points = [(float(cost[:, one].mean()), float(quality[:, one].mean())) for one in (cheap, strong)]
    over = span = 0.0
    gained = {}
    for lam, chosen in choices.items():
        mine = (np.arange(len(at)), chosen[at])
        points.append((float(cost[mine].mean()), float(quality[mine].mean())))
        if lam in GC_LAMBDAS:
            utility = quality - lam * pack.prices
            best = float(utility.mean(axis=0).max())
            gained[lam] = float(utility[mine].mean()) - best
            over += gained[lam]
            span += float(utility.max(axis=1).mean()) - best
    curve = hull(points)
    level, bill = float(quality[:, strong].mean()), float(cost[:, strong].mean())
    saved = {share: 1.0 - bill_at(curve, share * level) / bill for share in (0.9, 0.95, 0.98)}
    return Figures(
        gc=over / span if span > 0 else 0.0,
        cs90=saved[0.9],
        cs95=saved[0.95],
        cs98=saved[0.98],
        gained=gained,
        curve=tuple(curve),
    )


def recovered(pack: Pack, choices: Mapping[float, Ints]) -> tuple[float, float]:
    """(APGR, least share of strong calls for 95 % of the strong model's quality) of a two-model pack."""
    strong = pack.strong
    means = pack.quality.mean(axis=0)
    weak_q, strong_q = float(means[1 - strong]), float(means[strong])
    rows = np.arange(len(pack.prompts))
    points = [(0.0, weak_q), (1.0, strong_q)]
    points += [
        (float((chosen == strong).mean()), float(pack.quality[rows, chosen].mean())) for chosen in choices.values()
    ]
    curve = hull(points)
    shares = np.array([one[0] for one in curve])
    gaps = (np.array([one[1] for one in curve]) - weak_q) / (strong_q - weak_q)
    # What the hull reaches before all calls are strong it keeps: nobody must pay more for less.
    if shares[-1] < 1.0:
        shares, gaps = np.append(shares, 1.0), np.append(gaps, gaps[-1])
    return float(np.trapezoid(gaps, shares)), bill_at(curve, 0.95 * strong_q)
