"""The bank of patterns: what kinds of prompts there are, and how good each model was at each kind.

Patterns are found by spherical k-means (Arthur and Vassilvitskii's k-means++ seeds), so they need no outcome; the
outcomes of the prompts that lie nearest to a pattern are its quality per model. Patterns that mean the same are
merged, by size; those that are small, bad and long unused are dropped; their number is capped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def kmeans(
    vectors: Floats, count: int, rng: np.random.Generator, *, rounds: int = 25
) -> tuple[Floats, NDArray[np.intp]]:
    """Centres of length one, and to which of them each vector belongs. At most as many centres as distinct vectors."""
    count = min(count, len(vectors))
    if count == 0:
        return np.zeros((0, vectors.shape[1] if vectors.ndim == 2 else 0)), np.zeros(0, dtype=np.intp)
    centres = np.empty((count, vectors.shape[1]))
    centres[0] = vectors[int(rng.integers(len(vectors)))]
    far = np.maximum(1.0 - vectors @ centres[0], 0.0)
    for at in range(1, count):
        total = float(far.sum())
        if total <= 1e-9:
            centres = centres[:at]
            break
        centres[at] = vectors[int(rng.choice(len(vectors), p=far / total))]
        far = np.minimum(far, np.maximum(1.0 - vectors @ centres[at], 0.0))
    nearest = np.argmax(vectors @ centres.T, axis=1)
    for _ in range(rounds):
        for at in range(len(centres)):
            mine = vectors[nearest == at]
            if len(mine):
                middle = mine.sum(axis=0)
                centres[at] = middle / max(float(np.linalg.norm(middle)), 1e-12)
        moved = np.argmax(vectors @ centres.T, axis=1)
        if np.array_equal(moved, nearest):
            break
        nearest = moved
    return centres, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """`centre` has length one. `seen` and `won` are counts and sums of quality per model; `size` is of prompts."""

    centre: tuple[float, ...]
    size: float
    seen: dict[str, float] = field(default_factory=dict)
    won: dict[str, float] = field(default_factory=dict)
    used_at: float = 0.0
    source: str = "local"

    @property
    def name(self) -> str:
        """The same as long as its centre is: until patterns are found or merged again."""
        return "p-" + blake2b(np.array(self.centre, dtype="<f4").tobytes(), digest_size=4).hexdigest()

    def quality(self, model: str, *, prior: float, weight: float = 4.0) -> float:
        """Mean quality of a model here, drawn towards `prior` as by `weight` prompts."""
        return (self.won.get(model, 0.0) + weight * prior) / (self.seen.get(model, 0.0) + weight)


def find(
    vectors: Floats, outcomes: Sequence[tuple[str, float] | None], count: int, rng: np.random.Generator, *, now: float
) -> list[Pattern]:
    """Patterns of these prompts. An outcome is (model, quality), or None where nothing came back."""
    centres, nearest = kmeans(vectors, count, rng)
    patterns = []
    for at, centre in enumerate(centres):
        seen: dict[str, float] = {}
        won: dict[str, float] = {}
        members = np.flatnonzero(nearest == at)
        for row in members:
            outcome = outcomes[int(row)]
            if outcome is not None:
                model, quality = outcome
                seen[model] = seen.get(model, 0.0) + 1.0
                won[model] = won.get(model, 0.0) + quality
        if len(members):
            patterns.append(
                Pattern(centre=tuple(map(float, centre)), size=float(len(members)), seen=seen, won=won, used_at=now)
            )
    return patterns


def _sum(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {key: one.get(key, 0.0) + other.get(key, 0.0) for key in sorted(one.keys() | other.keys())}


def merge(patterns: Sequence[Pattern], *, above: float = 0.95) -> list[Pattern]:
    """Join patterns whose centres have a cosine over `above`, the bigger one first; sizes and outcomes add up."""
    kept: list[Pattern] = []
    for pattern in sorted(patterns, key=lambda one: -one.size):
        mine = np.array(pattern.centre)
        for at, other in enumerate(kept):
            if float(mine @ np.array(other.centre)) > above:
                middle = pattern.size * mine + other.size * np.array(other.centre)
                kept[at] = replace(
                    other,
                    centre=tuple(map(float, middle / np.linalg.norm(middle))),
                    size=other.size + pattern.size,
                    seen=_sum(other.seen, pattern.seen),
                    won=_sum(other.won, pattern.won),
                    used_at=max(other.used_at, pattern.used_at),
                )
                break
        else:
            kept.append(pattern)
    return kept


def prune(
    patterns: Sequence[Pattern],
    *,
    now: float,
    cap: int,
    small: float = 5.0,
    bad: float = 0.3,
    old_s: float = 30 * 86_400.0,
) -> list[Pattern]:
    """Drop what is small, bad and old at once; then keep the `cap` biggest."""

    def useless(one: Pattern) -> bool:
        seen = sum(one.seen.values())
        mean = sum(one.won.values()) / seen if seen else 0.0
        return one.size < small and mean < bad and now - one.used_at > old_s

    return sorted((one for one in patterns if not useless(one)), key=lambda one: -one.size)[:cap]


def faded(patterns: Sequence[Pattern], *, factor: float) -> list[Pattern]:
    """The same patterns with less weight: what is old counts less than what comes next."""
    return [
        replace(
            one,
            size=one.size * factor,
            seen={model: count * factor for model, count in one.seen.items()},
            won={model: total * factor for model, total in one.won.items()},
        )
        for one in patterns
    ]
