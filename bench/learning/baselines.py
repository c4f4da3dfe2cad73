"""Known methods, under the same rules as ours: the chosen model's outcome is revealed, exploring is billed.

Formulas and settings are those of the protocol beside the packs; where it leaves one open, ours is named here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from runtime.sona.bank import Floats, kmeans
from runtime.sona.pack import Ints, Pack


class Bandit(Protocol):
    def choose(self, row: int, prices: Floats) -> int: ...

    def learn(self, row: int, model: int, quality: float) -> None: ...


class Ucb:
    """No context: mean of one optimistic or sceptical pseudo-observation and all since, plus a / sqrt(n)."""

    def __init__(self, models: int, *, a: float, start: float) -> None:
        self._a = a
        self._n = np.ones(models)
        self._sum = np.full(models, start)

    def choose(self, row: int, prices: Floats) -> int:
        return int(np.argmax(self._sum / self._n + self._a / np.sqrt(self._n) - prices))

    def learn(self, row: int, model: int, quality: float) -> None:
        self._n[model] += 1
        self._sum[model] += quality


class LinUcb:
    """A ridge (1) per model over 32 principal components and a constant, around `start`; Li et al., 2010."""

    def __init__(self, features: Floats, models: int, *, a: float, start: float, discount: float = 1.0) -> None:
        self._x = features
        self._a = a
        self._start = start
        self._discount = discount
        self._inverse = np.stack([np.eye(features.shape[1])] * models)
        self._theta = np.zeros((models, features.shape[1]))

    def choose(self, row: int, prices: Floats) -> int:
        x = self._x[row]
        wide = np.sqrt(np.maximum((self._inverse @ x) @ x, 0.0))
        return int(np.argmax(self._start + self._theta @ x + self._a * wide - prices))

    def learn(self, row: int, model: int, quality: float) -> None:
        x = self._x[row]
        inverse = self._inverse[model]
        if self._discount < 1.0:
            inverse /= self._discount
        gain = inverse @ x
        scale = 1.0 + float(x @ gain)
        self._theta[model] += gain / scale * (quality - self._start - float(self._theta[model] @ x))
        inverse -= np.outer(gain, gain / scale)


class KnnUcb:
    """Mean quality of a model among the 100 nearest prompts that it was given, one sceptical one added, plus
    a / sqrt(n). Neighbours are each model's own: among the nearest of all, a model that was given none would look
    unknown wherever another one is good, and be tried there for ever (GC -.34 rather than -.01 on llmrouter9)."""

    def __init__(self, cosines: Floats, models: int, *, a: float, start: float, k: int = 100) -> None:
        self._cosines = cosines
        self._a = a
        self._start = start
        self._k = k
        self._rows: list[list[int]] = [[] for _ in range(models)]
        self._seen: list[list[float]] = [[] for _ in range(models)]

    def choose(self, row: int, prices: Floats) -> int:
        index = -prices
        for model, rows in enumerate(self._rows):
            seen = np.array(self._seen[model])
            if len(rows) > self._k:
                seen = seen[np.argpartition(-self._cosines[row, rows], self._k)[: self._k]]
            n = len(seen) + 1.0
            index[model] += (self._start + seen.sum()) / n + self._a / np.sqrt(n)
        return int(np.argmax(index))

    def learn(self, row: int, model: int, quality: float) -> None:
        self._rows[model].append(row)
        self._seen[model].append(quality)


class ClusterUcb:
    """32 clusters; a model's mean in one starts as `weight` prompts of its mean over all, which starts optimistic."""

    def __init__(self, cluster: Ints, models: int, *, a: float, start: float, weight: float = 5.0) -> None:
        self._cluster = cluster
        self._a = a
        self._weight = weight
        size = int(cluster.max()) + 1
        self._n = np.zeros((size, models))
        self._sum = np.zeros((size, models))
        self._all_n = np.ones(models)
        self._all = np.full(models, start)

    def choose(self, row: int, prices: Floats) -> int:
        at = self._cluster[row]
        n = self._n[at] + np.minimum(self._weight, self._all_n)
        mean = (self._sum[at] + np.minimum(self._weight, self._all_n) * self._all / self._all_n) / n
        return int(np.argmax(mean + self._a / np.sqrt(n) - prices))

    def learn(self, row: int, model: int, quality: float) -> None:
        at = self._cluster[row]
        self._n[at, model] += 1
        self._sum[at, model] += quality
        self._all_n[model] += 1
        self._all[model] += quality


class Static:
    """Always the model that is best in hindsight for this lambda: no learner, a bound for one without context."""

    def __init__(self, pack: Pack) -> None:
        self._mean = pack.quality.mean(axis=0)

    def choose(self, row: int, prices: Floats) -> int:
        return int(np.argmax(self._mean - prices))

    def learn(self, row: int, model: int, quality: float) -> None:
        pass


class Oracle:
    """Knows every outcome of this very prompt: no target, it profits from lucky guesses."""

    def __init__(self, pack: Pack) -> None:
        self._quality = pack.quality

    def choose(self, row: int, prices: Floats) -> int:
        return int(np.argmax(self._quality[row] - prices))

    def learn(self, row: int, model: int, quality: float) -> None:
        pass


def made(pack: Pack, vectors: Floats) -> dict[str, Callable[[], Bandit]]:
    """Each known method by its name in the table, fresh at each call."""
    # The meaning alone, of length one again, as in the protocol.
    rows = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    moved = rows - rows.mean(axis=0)
    _, _, directions = np.linalg.svd(moved, full_matrices=False)
    linear = np.concatenate([moved @ directions[:32].T, np.ones((len(rows), 1))], axis=1)
    _, cluster = kmeans(rows, 32, np.random.default_rng(0))
    cosines = (rows @ rows.T).astype(np.float32)
    models = len(pack.models)
    return {
        "oracle": lambda: Oracle(pack),
        "best single model, in hindsight": lambda: Static(pack),
        "UCB, no context": lambda: Ucb(models, a=0.25, start=1.0),
        "LinUCB a=.1": lambda: LinUcb(linear, models, a=0.1, start=0.5),
        "LinUCB a=.05, optimistic": lambda: LinUcb(linear, models, a=0.05, start=1.0),
        "kNN-UCB a=.25": lambda: KnnUcb(cosines, models, a=0.25, start=0.5),
        "cluster32-UCB a=.1, optimistic": lambda: ClusterUcb(cluster, models, a=0.1, start=1.0),
    }


def play(bandit: Bandit, pack: Pack, rows: Ints, prices: Floats) -> Ints:
    """By row, the model chosen."""
    chosen = np.zeros(len(pack.prompts), dtype=np.intp)
    for row in rows:
        model = bandit.choose(int(row), prices)
        bandit.learn(int(row), model, float(pack.quality[row, model]))
        chosen[row] = model
    return chosen
