"""What was learned, for people: the last prompts on a map, topics among them, whom to ask in each, and for how much.

    points     the prompts' vectors in their two widest directions (principal components), with who answered
    topics     k-means over the vectors' directions; in each, what the learner expects of each model there
    curve      for each price of a point of quality: what the policy would pay and get, over these very prompts

All of it is what the learner believes, and no measurement. Pure: decisions in, plain values out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.learning.events import Judged, vector_of
from runtime.learning.values import Trajectory
from runtime.models import NANOUSD
from runtime.sona.bank import Floats, kmeans
from runtime.sona.learner import Learner

MAPPED = 600
"""How many prompts a map shows."""
LEAST = 12
"""Fewer have no topics."""
MOST_TOPICS = 7
LIKE = 0.05
"""Who is expected to be worse by no more than this is as good, for whoever looks at the price."""
STEPS = 25
EXAMPLE = 90
LATELY = 30
"""Prompts of a topic that say where it goes now."""


def mapped(learner: Learner | None, decisions: Sequence[Trajectory], judged: Sequence[float | None]) -> dict[str, Any]:
    """The map of these decisions, newest first; `judged` is what was said of each answer's quality, if anything."""
    asked = [
        (one, quality) for one, quality in zip(decisions, judged, strict=True) if one.vector and vector_of(one).any()
    ]
    made = [one for one, _ in asked]
    costs = _costs(decisions)
    vectors = np.stack([vector_of(one) for one in made]).astype(np.float64) if made else np.zeros((0, 1))
    believed = _believed(learner, vectors)
    names = [] if learner is None else [name for name in learner.models if name in costs]
    at = {name: learner.models.index(name) for name in names} if learner is not None else {}
    where = _flat(vectors)
    topic, topics = _topics(vectors, made, believed=believed, at=at, where=where, costs=costs)
    return {
        "learns": learner is not None,
        "models": [
            {"model": name, **_level(learner, name), "cost_usd": costs.get(name)}
            for name in (learner.models if learner is not None else sorted(costs))
        ],
        "points": [
            {
                "x": round(float(x), 4),
                "y": round(float(y), 4),
                "model": one.answered,
                "quality": quality,
                "topic": int(of),
            }
            for (one, quality), (x, y), of in zip(asked, where, topic, strict=True)
        ],
        "topics": topics,
        "curve": _curve(believed, at, costs),
        "traffic": _traffic(believed, at, costs, made),
        "decisions": _decisions(decisions),
    }


def decision_of(decision: Trajectory, said: Sequence[Judged]) -> dict[str, Any]:
    """One decision for people."""
    return {
        "request_id": decision.request,
        "mode": decision.mode,
        "taste": decision.taste,
        "chosen": decision.chosen,
        "answered": decision.answered,
        "outcome": decision.outcome,
        "propensity": decision.propensity,
        "gave_up": decision.gave_up,
        "candidates": [
            {"model": name, "cost_usd": None if cost is None else cost / NANOUSD}
            for name, cost in zip(decision.candidates, decision.costs_nanousd, strict=True)
        ],
        "judged": [{"quality": one.quality, "weight": one.weight, "key": one.key} for one in said],
    }


def _costs(decisions: Sequence[Trajectory]) -> dict[str, float]:
    """What a usual call of each model costs, in dollars: the mean of what was expected of it."""
    found: dict[str, list[int]] = {}
    for one in decisions:
        for name, cost in zip(one.candidates, one.costs_nanousd, strict=True):
            if cost is not None:
                found.setdefault(name, []).append(cost)
    return {name: float(np.mean(seen)) / NANOUSD for name, seen in found.items()}


def _believed(learner: Learner | None, vectors: Floats) -> Floats | None:
    """The quality expected of each model (column) for each prompt (row)."""
    if learner is None or not len(vectors) or vectors.shape[1] != len(learner.topics.middle):
        return None
    rows = [learner.head.believe(features).mean for features in learner.topics.features(vectors)]
    return np.clip(np.stack(rows), 0.0, 1.0)


def _level(learner: Learner | None, name: str) -> dict[str, float | None]:
    if learner is None:
        return {"quality": None, "doubt": None}
    quality, doubt = learner.head.level(learner.models.index(name))
    return {"quality": quality, "doubt": doubt}


def _flat(vectors: Floats) -> Floats:
    """The two widest directions, scaled into [-1, 1]; signs do not depend on rounding."""
    if len(vectors) < 2:
        return np.zeros((len(vectors), 2))
    moved = vectors - vectors.mean(axis=0)
    _, basis = np.linalg.eigh(moved.T @ moved)
    widest = basis[:, ::-1][:, :2]
    widest = widest * np.where(widest[np.argmax(np.abs(widest), axis=0), range(widest.shape[1])] < 0, -1.0, 1.0)
    flat = moved @ widest
    if flat.shape[1] < 2:
        flat = np.concatenate([flat, np.zeros((len(flat), 1))], axis=1)
    return np.asarray(flat / max(float(np.abs(flat).max()), 1e-9))


def _topics(
    vectors: Floats,
    made: Sequence[Trajectory],
    *,
    believed: Floats | None,
    at: Mapping[str, int],
    where: Floats,
    costs: Mapping[str, float],
) -> tuple[Sequence[int], list[dict[str, Any]]]:
    if len(vectors) < LEAST:
        return [0] * len(vectors), []
    moved = vectors - vectors.mean(axis=0)
    units = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)
    centres, of = _cut(units)
    found = []
    sizes = Counter(of.tolist())
    # The largest come first, and are numbered so.
    order = [topic for topic, _ in sizes.most_common()]
    for topic in order:
        mine = np.flatnonzero(of == topic)
        near = mine[np.argsort(-(units[mine] @ centres[topic]))]
        example = next((made[int(row)].text for row in near if made[int(row)].text), None)
        expected = {} if believed is None else {name: float(believed[mine, col].mean()) for name, col in at.items()}
        best = max(expected, key=lambda name: (expected[name], -costs[name]), default=None)
        alike = [name for name in expected if best is not None and expected[name] >= expected[best] - LIKE]
        middle = where[mine].mean(axis=0)
        found.append(
            {
                "x": round(float(middle[0]), 4),
                "y": round(float(middle[1]), 4),
                "prompts": len(mine),
                "example": None if example is None else " ".join(example.split())[:EXAMPLE],
                "best": best,
                "cheap": min(alike, key=lambda name: costs[name], default=None),
                "goes": _shares(made[int(row)].answered for row in mine[:LATELY]),
                "models": [
                    {
                        "model": name,
                        "quality": expected[name],
                        "doubt": None if believed is None else float(believed[mine, at[name]].std()),
                    }
                    for name in sorted(expected, key=lambda name: -expected[name])
                ],
            }
        )
    numbers = {topic: number for number, topic in enumerate(order)}
    return [numbers[int(one)] for one in of], found


def _shares(answered: Iterable[str]) -> dict[str, float]:
    """By how often, the most frequent first."""
    found = Counter(filter(None, answered))
    return {name: n / found.total() for name, n in found.most_common()}


def _cut(units: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Into so many topics that each prompt is much nearer to its own than to the next (Rousseeuw's silhouette, 1987,
    with distances to centres); never into so many that one has less than half a dozen on average."""
    best: tuple[float, Floats, NDArray[np.intp]] | None = None
    for count in range(2, min(MOST_TOPICS, max(2, len(units) // (LEAST // 2))) + 1):
        centres, of = kmeans(units, count, np.random.default_rng(0))
        if len(centres) < 2:
            return centres, of
        far = np.sort(1.0 - units @ centres.T, axis=1)
        good = float(np.mean((far[:, 1] - far[:, 0]) / np.maximum(far[:, 1], 1e-9)))
        # One topic more must be worth it.
        if best is None or good > best[0] + 0.01:
            best = good, centres, of
    assert best is not None  # noqa: S101  # there are at least two counts' worth of prompts
    return best[1], best[2]


def _curve(believed: Floats | None, at: Mapping[str, int], costs: Mapping[str, float]) -> list[dict[str, Any]]:
    """From the best at any price to the cheapest: each point is a price of quality, and what it would choose."""
    if believed is None or not at:
        return []
    names = list(at)
    quality = believed[:, [at[name] for name in names]]
    cost = np.array([costs[name] for name in names])
    dearest = max(float(cost.max()), 1e-12)
    found: list[dict[str, Any]] = []
    for price in (0.0, *np.geomspace(1e-3, 10.0, STEPS)):
        chosen = np.argmax(quality - price * cost / dearest, axis=1)
        usd, good = float(cost[chosen].mean()), float(quality[np.arange(len(chosen)), chosen].mean())
        if found and (found[-1]["cost_usd"], found[-1]["quality"]) == (usd, good):
            continue
        share = np.bincount(chosen, minlength=len(names)) / len(chosen)
        shares = {name: float(part) for name, part in zip(names, share, strict=True) if part > 0.0}
        found.append({"cost_usd": usd, "quality": good, "shares": shares})
    return found


def _traffic(
    believed: Floats | None, at: Mapping[str, int], costs: Mapping[str, float], made: Sequence[Trajectory]
) -> dict[str, Any] | None:
    """Where the traffic itself lies, by the same measures."""
    rows = [(row, one.answered) for row, one in enumerate(made) if one.answered in at]
    if believed is None or not rows:
        return None
    return {
        "cost_usd": float(np.mean([costs[name] for _, name in rows])),
        "quality": float(np.mean([believed[row, at[name]] for row, name in rows])),
        "prompts": len(rows),
    }


def _decisions(decisions: Sequence[Trajectory]) -> dict[str, Any]:
    """How often somebody was asked who was not expected to be the best, and what that gave up on average."""
    return {
        "of": len(decisions),
        "explored": sum(one.mode == "learned" and one.gave_up > 0.0 for one in decisions),
        "modes": dict(Counter(one.mode for one in decisions)),
        "gave_up": float(np.mean([one.gave_up for one in decisions])) if decisions else 0.0,
    }
