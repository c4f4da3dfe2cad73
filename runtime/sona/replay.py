"""Plays a pack of outcomes to the learner, one prompt after the other, revealing only the chosen model's outcome.

    for each order (seed) and each lambda: a learner that knows prices and nothing else (`LearnerConfig.priors`: and
                                           what was published of models that go by these names)
        choose → that outcome is revealed, its bill counts → learn

The learner and its settings are those of production (`LearnerConfig`). As in the published protocol the topic map is
fitted on the pack's prompts, without outcomes. The quality columns are only read where a model was chosen, and by the
figures at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.memory.embed import Embedder
from runtime.memory.form import learner_embedder
from runtime.sona.bank import Floats
from runtime.sona.learner import Learner, LearnerConfig
from runtime.sona.pack import LAMBDAS, Figures, Ints, Pack, judge, read, recovered
from runtime.sona.topics import TopicMap, fit

Reveal = Callable[[int, int, np.random.Generator], float | None]
"""(row, model, chance) to the quality that is revealed, or None where nobody gave feedback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Means over the seeds, and the standard deviation of `gc`; `apgr` and `strong_share` of two-model packs only."""

    gc: float
    gc_sd: float
    cs90: float
    cs95: float
    cs98: float
    seeds: int
    apgr: float | None = None
    strong_share: float | None = None

    def as_json(self) -> dict[str, float | int]:
        named = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in named.items() if value is not None}


def order(rows: int, seed: int) -> Ints:
    return np.random.default_rng(seed).permutation(rows)


def play(
    learner: Learner,
    features: Floats,
    rows: Sequence[int] | Ints,
    prices: Floats,
    *,
    reveal: Reveal,
    rng: np.random.Generator,
    vectors: Floats | None = None,
    consolidate_each: int = 500,
) -> Ints:
    """One run: the model chosen for each of `rows`, in that order. `vectors` where `LearnerConfig.parts` need them."""
    chosen = np.empty(len(rows), dtype=np.intp)
    for at, row in enumerate(rows):
        x = features[row]
        vector = None if vectors is None else vectors[row]
        choice = learner.decide(x, prices, rng, vector=vector)
        learner.chose(choice)
        chosen[at] = choice.model
        quality = reveal(int(row), choice.model, rng)
        if quality is not None:
            learner.learn(x, choice.model, quality, vector=vector)
        if (at + 1) % consolidate_each == 0:
            learner.consolidate(now=float(at))
    return chosen


def warm(learner: Learner, features: Floats, quality: Floats, rows: Ints) -> None:
    """Calibrate: these prompts were put to every model, and all answers were judged."""
    for row in rows:
        for model in range(quality.shape[1]):
            learner.learn(features[row], model, float(quality[row, model]))
    learner.asked = learner.heard


def run(
    pack: Pack,
    topics: TopicMap,
    features: Floats,
    *,
    seed: int,
    config: LearnerConfig,
    lambdas: Sequence[float] = LAMBDAS,
    reveal: Reveal | None = None,
    calibrate: int = 0,
    vectors: Floats | None = None,
) -> Mapping[float, Ints]:
    """By lambda, the model chosen for each row of the pack (not by turn); -1 where a row was for calibration."""
    shown = reveal or (lambda row, model, _: float(pack.quality[row, model]))
    rows = order(len(pack.prompts), seed)
    out = {}
    for lam in lambdas:
        learner = Learner(pack.models, pack.mean_cost.tolist(), topics, config)
        warm(learner, features, pack.quality, rows[:calibrate])
        chosen = np.full(len(rows), -1, dtype=np.intp)
        later = rows[calibrate:]
        chosen[later] = play(
            learner,
            features,
            later,
            lam * pack.prices,
            reveal=shown,
            rng=np.random.default_rng((seed, 7)),
            vectors=vectors,
        )
        out[lam] = chosen
    return out


def summarise(pack: Pack, runs: Sequence[Mapping[float, Ints]]) -> Summary:
    rows = [np.flatnonzero(next(iter(one.values())) >= 0) for one in runs]
    figures: list[Figures] = [judge(pack, one, at) for one, at in zip(runs, rows, strict=True)]
    gc = np.array([one.gc for one in figures])
    two = [recovered(pack, one) for one in runs] if len(pack.models) == 2 else []
    return Summary(
        gc=float(gc.mean()),
        gc_sd=float(gc.std()),
        cs90=float(np.mean([one.cs90 for one in figures])),
        cs95=float(np.mean([one.cs95 for one in figures])),
        cs98=float(np.mean([one.cs98 for one in figures])),
        seeds=len(runs),
        apgr=float(np.mean([one[0] for one in two])) if two else None,
        strong_share=float(np.mean([one[1] for one in two])) if two else None,
    )


def embed(pack: Pack, embedder: Embedder) -> NDArray[np.float32]:
    step = 256
    parts = [embedder.embed(pack.prompts[at : at + step]) for at in range(0, len(pack.prompts), step)]
    return np.concatenate(parts)


def replay(
    path: Path,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    config: LearnerConfig | None = None,
    embedder: Embedder | None = None,
    dataset: str | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> Summary:
    """What `raygate learn replay PACK.parquet` prints; `tell` hears how many orders are done. Raises `BadPack`."""
    pack = read(path, dataset=dataset)
    settings = config or LearnerConfig()
    vectors = np.asarray(embed(pack, embedder or learner_embedder()), dtype=np.float64)
    topics = fit(vectors, settings.topics)
    features = topics.features(vectors)
    runs = []
    for done, seed in enumerate(seeds):
        tell(done)
        seen = vectors if settings.parts.any else None
        runs.append(run(pack, topics, features, seed=seed, config=settings, vectors=seen))
    return summarise(pack, runs)
