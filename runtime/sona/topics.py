"""A prompt's vector becomes a few numbers that say what it is about: the features that the quality head sees.

    features(x) = 1, then the leading directions of the kernel exp(beta (cos(x, c) - 1)) at the bank's centres c

That is Nyström's approximation (Williams and Seeger, 2001): near a centre the head interpolates as a kernel smoother
would, far from all of them it falls back to what holds everywhere. Fitted on prompts alone, without any outcome.
Directions keep their natural size: what varies little between prompts also counts little before there is evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.sona.bank import Floats, kmeans


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicShape:
    """How many centres and directions, how sharp the kernel is, and how many typical prompts are kept as anchors."""

    centres: int = 64
    directions: int = 24
    beta: float = 3.0
    anchors: int = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TopicMap:
    """`anchors` are features of typical prompts, `share` how common each is."""

    middle: Floats
    centres: Floats
    beta: float
    turn: Floats
    offset: Floats
    anchors: Floats
    share: Floats

    @property
    def width(self) -> int:
        return 1 + int(self.turn.shape[1])

    def features(self, vectors: NDArray[np.floating]) -> Floats:
        """One row for each vector; the first feature is 1."""
        moved = np.asarray(vectors, dtype=np.float64) - self.middle
        norms = np.sqrt(np.einsum("ij,ij->i", moved, moved))
        moved /= np.maximum(norms, 1e-9)[:, None]
        kernel = np.exp(self.beta * (moved @ self.centres.T - 1.0))
        out = np.empty((len(moved), self.width))
        out[:, 0] = 1.0
        np.matmul(kernel, self.turn, out=out[:, 1:])
        out[:, 1:] -= self.offset
        return out


def fit(vectors: NDArray[np.floating], shape: TopicShape, *, seed: int = 0) -> TopicMap:
    """A map fitted on these prompts. The same prompts and seed give the same map."""
    rng = np.random.default_rng(seed)
    units = np.array(vectors, dtype=np.float64)
    middle = units.mean(axis=0)
    units -= middle
    units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-9)
    centres, _ = kmeans(units, shape.centres, rng)
    values, basis = np.linalg.eigh(np.exp(shape.beta * (centres @ centres.T - 1.0)) + 1e-6 * np.eye(len(centres)))
    root = basis / np.sqrt(values)
    plain = np.exp(shape.beta * (units @ centres.T - 1.0)) @ root
    mean = plain.mean(axis=0)
    _, _, directions = np.linalg.svd(plain - mean, full_matrices=False)
    # A sign that depends on rounding would make two machines differ.
    directions *= np.where(directions.sum(axis=1) < 0, -1.0, 1.0)[:, None]
    kept = directions[: shape.directions].T
    spread = (plain - mean) @ kept
    scale = 1.0 / max(float(np.sqrt(np.mean(np.sum(spread**2, axis=1)))), 1e-9)
    features = np.concatenate([np.ones((len(units), 1)), spread * scale], axis=1)
    anchors, share = _anchors(features, shape.anchors, rng)
    return TopicMap(
        middle=middle,
        centres=centres,
        beta=shape.beta,
        turn=root @ kept * scale,
        offset=mean @ kept * scale,
        anchors=anchors,
        share=share,
    )


def _anchors(features: Floats, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Lloyd's k-means in feature space: means of like prompts, which need not have length one."""
    count = min(count, len(features))
    anchors = features[rng.choice(len(features), count, replace=False)].copy()
    nearest = np.zeros(len(features), dtype=np.intp)
    for _ in range(20):
        far = (anchors**2).sum(axis=1) - 2.0 * features @ anchors.T
        nearest = np.argmin(far, axis=1)
        for at in range(count):
            mine = features[nearest == at]
            if len(mine):
                anchors[at] = mine.mean(axis=0)
    return anchors, np.bincount(nearest, minlength=count) / len(features)
