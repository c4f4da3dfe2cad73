"""What another policy would have earned on logged trajectories: its choices, a model of outcomes, the estimators.

    quality     over the rows that somebody judged      cost_usd, latency_s     over those where it is known

`estimate` holds the formulas. The doubly robust one needs a guess of each candidate's outcome: a ridge regression for
each model over the prompts that it answered, made for each fifth of the rows from the other four (cross-fitting:
Chernozhukov et al., 2018), so that no row's outcome is in its own guess.

Two things no estimator mends: rows are judged only where somebody cared to, and where the logged policy never chose
what the other one would, weights say nothing. The first shows in `judged` beside `rows`, the second in `effective`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from runtime.request import Json
from runtime.sona.bank import Floats
from runtime.sona.estimate import Estimates, Logged, estimate
from runtime.sona.learner import Learner
from runtime.sona.presets import TASTES, Taste
from runtime.sona.trajectory import Trajectory

FOLDS = 5
PENALTY = 10.0
"""Of the ridge regression, in prompts."""
DRAWN = 4.0
"""As by so many prompts a model's mean is drawn to that of all."""


class Policy(Protocol):
    def odds(self, row: Trajectory) -> tuple[float, ...] | None:
        """Its chance of each of the row's candidates; None where it has no choice to make there."""
        ...


@dataclass(frozen=True, slots=True)
class Always:
    """One model, whatever is asked."""

    model: str

    def odds(self, row: Trajectory) -> tuple[float, ...] | None:
        if self.model not in row.candidates:
            return None
        return tuple(float(one == self.model) for one in row.candidates)


class Learned:
    """A learner's best guesses, without exploring. What a row does not say of prices is taken from `usual`."""

    def __init__(self, learner: Learner, usual: Mapping[str, float]) -> None:
        self._learner = learner
        self._usual = usual

    def odds(self, row: Trajectory) -> tuple[float, ...] | None:
        models = self._learner.models
        known = [one for one in row.candidates if one in models]
        features = self._features(row)
        if not known or features is None:
            return None
        prices = np.array([self._usual.get(one, 0.0) for one in models])
        for one, price in zip(row.candidates, row.prices, strict=False):
            if one in models:
                prices[models.index(one)] = price
        choice = self._learner.decide(
            features,
            prices,
            np.random.default_rng(0),
            explore=False,
            allowed=[models.index(one) for one in known],
        )
        return tuple(float(one == models[choice.model]) for one in row.candidates)

    def _features(self, row: Trajectory) -> Floats | None:
        """Of the prompt, under this learner's own map; a row's features are another map's, unless they fit."""
        topics = self._learner.topics
        if len(row.vector) == len(topics.middle):
            return np.asarray(topics.features(np.array([row.vector]))[0])
        return np.array(row.features) if not row.vector and len(row.features) == topics.width else None


def usual_prices(rows: Sequence[Trajectory], taste: Taste = TASTES["ruvector-auto"]) -> dict[str, float]:
    """Each model's price in units of quality by what its calls cost and took in the log, the dearest's being one."""
    cost = _means(rows, lambda row: None if row.cost_nanousd is None else float(row.cost_nanousd))
    wait = _means(rows, lambda row: row.latency_s)
    dearest, slowest = max(cost.values(), default=0.0), max(wait.values(), default=0.0)
    return {
        model: taste.money * (cost.get(model, 0.0) / dearest if dearest else 0.0)
        + taste.time * (wait.get(model, 0.0) / slowest if slowest else 0.0)
        for model in cost.keys() | wait.keys()
    }


def _means(rows: Sequence[Trajectory], of: Callable[[Trajectory], float | None]) -> dict[str, float]:
    seen: dict[str, list[float]] = {}
    for row in rows:
        if (value := of(row)) is not None:
            seen.setdefault(row.chosen, []).append(value)
    return {model: sum(values) / len(values) for model, values in seen.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """`logged` is what the policy that made the log earned on the same rows, with one standard error; `estimates` is
    None where the two policies share no choice."""

    rows: int
    logged: float
    error: float
    estimates: Estimates | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """`without` are rows in which the policy has no choice to make: a candidate or a vector that it does not know."""

    rows: int
    judged: int
    without: int
    measures: Mapping[str, Measure]

    def as_json(self) -> dict[str, Json]:
        return {
            "rows": self.rows,
            "judged": self.judged,
            "without": self.without,
            **{
                name: {
                    "rows": one.rows,
                    "logged": {"value": one.logged, "error": _finite(one.error)},
                    **({} if one.estimates is None else _plain(one.estimates)),
                }
                for name, one in self.measures.items()
            },
        }


def _plain(found: Estimates) -> dict[str, Json]:
    return {name: {what: _finite(value) for what, value in one.items()} for name, one in asdict(found).items()}


def _finite(value: float) -> float | None:
    """JSON knows no infinity; the error of one row alone is one."""
    return value if np.isfinite(value) else None


MEASURES: Mapping[str, Callable[[Trajectory], float | None]] = {
    "quality": lambda row: row.quality,
    "cost_usd": lambda row: None if row.cost_nanousd is None else row.cost_nanousd / 1e9,
    "latency_s": lambda row: row.latency_s,
}


def evaluate(rows: Sequence[Trajectory], policy: Policy, *, clip: float = float("inf")) -> Evaluation:
    """`clip` bounds how much one row may weigh, which is steadier and a little wrong."""
    choices = [(row, odds) for row in rows if (odds := policy.odds(row)) is not None]
    measures = {}
    for name, of in MEASURES.items():
        known = [(row, odds, value) for row, odds in choices if (value := of(row)) is not None]
        if known:
            measures[name] = _measure(known, clip)
    return Evaluation(
        rows=len(rows),
        judged=sum(row.quality is not None for row in rows),
        without=len(rows) - len(choices),
        measures=measures,
    )


def _measure(known: Sequence[tuple[Trajectory, tuple[float, ...], float]], clip: float) -> Measure:
    rows = [row for row, _, _ in known]
    rewards = np.array([value for _, _, value in known])
    models = sorted({model for row in rows for model in row.candidates})
    guesses = guess(rows, rewards, models)
    place = {model: at for at, model in enumerate(models)}
    log = [
        Logged(
            chosen=row.candidates.index(row.chosen),
            propensity=row.propensity,
            reward=value,
            target=odds,
            predicted=tuple(float(guesses[at, place[model]]) for model in row.candidates),
        )
        for at, (row, odds, value) in enumerate(known)
    ]
    spread = float(rewards.std(ddof=1) / np.sqrt(len(rewards))) if len(rewards) > 1 else float("inf")
    return Measure(rows=len(log), logged=float(rewards.mean()), error=spread, estimates=estimate(log, clip=clip))


def guess(rows: Sequence[Trajectory], rewards: Floats, models: Sequence[str]) -> Floats:
    """What each model's outcome would be on each row, learned without that row. Rows by models."""
    inputs = _inputs(rows)
    chosen = np.array([models.index(row.chosen) for row in rows])
    fold = np.arange(len(rows)) % FOLDS
    out = np.full((len(rows), len(models)), float(rewards.mean()))
    for part in range(min(FOLDS, len(rows))):
        mine, others = fold == part, fold != part
        if not others.any():
            continue
        overall = float(rewards[others].mean())
        for at in range(len(models)):
            seen = others & (chosen == at)
            count = int(seen.sum())
            mean = (float(rewards[seen].sum()) + DRAWN * overall) / (count + DRAWN)
            out[mine, at] = mean
            if count > 1 and inputs.shape[1]:
                middle = inputs[seen].mean(axis=0)
                x = inputs[seen] - middle
                slope = np.linalg.solve(x.T @ x + PENALTY * np.eye(x.shape[1]), x.T @ (rewards[seen] - mean))
                out[mine, at] += (inputs[mine] - middle) @ slope
    return np.asarray(np.clip(out, rewards.min(), rewards.max()))


def _inputs(rows: Sequence[Trajectory]) -> Floats:
    """Features or vectors of all rows, whichever all of them have; else nothing, and means have to do."""
    for told in ([row.features for row in rows], [row.vector for row in rows]):
        widths = {len(one) for one in told}
        if len(widths) == 1 and 0 not in widths:
            return np.array(told, dtype=np.float64)
    return np.zeros((len(rows), 0))
