"""What the quality head leaves over, learned from its residuals: five parts, each of which can be switched on alone.

    correction(m, x) = memory + micro + base + bank            calibrated: a + b · (head + correction)

    memory       residuals of the nearest remembered prompts that went to m, by a kernel; none near, no correction
    micro        MicroLoRA: one true gradient step for each feedback, at once
    base         BaseLoRA: replays what is remembered in `consolidate`, in the background; EWC++ holds what mattered
    bank         ReasoningBank: mean residual of the pattern that the prompt belongs to, drawn to nothing
    calibration  a line through what was expected and what came, drawn to "as expected"

`consolidate` is the deep loop: residuals are taken anew from the head as it is now, patterns found again, merged, faded
and pruned, and a task boundary is drawn for EWC++. Nothing here is needed for a decision; a fresh one corrects nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from runtime.sona.bank import Floats, Pattern, faded, find, merge, prune
from runtime.sona.head import QualityHead
from runtime.sona.lowrank import Adapter, Keeper, Keeping, Lesson, Rank, train
from runtime.sona.presets import PRESETS

MOST_KEPT = 2_000
"""Of a preset's buffer: what is kept to be replayed is part of every snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Which parts take part, and their settings. `near` and `sharp` are of the kernel exp(sharp (cos - 1)), `doubt`
    how many prompts' worth of "no residual" each estimate starts from; `bound` clips a correction, in quality."""

    memory: bool = False
    micro: bool = False
    base: bool = False
    ewc: bool = True
    bank: bool = False
    calibration: bool = False
    deep: bool = True
    kept: int = 2_000
    near: int = 100
    sharp: float = 8.0
    doubt: float = 10.0
    bound: float = 0.2
    micro_rank: Rank = field(default_factory=lambda: Rank(rank=2, rate=0.01))
    base_rank: Rank = field(default_factory=lambda: Rank(rank=8, rate=0.005))
    keeping: Keeping = field(default_factory=Keeping)
    patterns: int = 32
    fade: float = 0.9

    @property
    def any(self) -> bool:
        return self.memory or self.micro or self.base or self.bank or self.calibration


def parts_of(preset: str, names: Sequence[str]) -> Parts:
    """These parts (names of `Parts`), set as by a preset; without one as they were measured."""
    on = Parts(
        memory="memory" in names,
        micro="micro" in names,
        base="base" in names,
        bank="bank" in names,
        calibration="calibration" in names,
    )
    if not preset:
        return on
    how = PRESETS[preset]
    return replace(
        on,
        kept=min(how.buffer, MOST_KEPT),
        patterns=how.patterns,
        micro_rank=Rank(rank=how.micro_rank, rate=how.micro_rate),
        base_rank=Rank(rank=how.base_rank, rate=how.base_rate),
        keeping=Keeping(strength=how.ewc_lambda),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Consolidated:
    """What the deep loop found: how many lessons, patterns, and the mean square of residuals before and after."""

    lessons: int
    patterns: int
    before: float
    after: float


@dataclass(slots=True, eq=False)
class _Kept:
    vector: Floats
    features: Floats
    model: str
    quality: float
    residual: float
    weight: float


class Refinement:
    def __init__(self, models: Sequence[str], dim: int, parts: Parts, *, seed: int = 0) -> None:
        self.parts = parts
        self.models = list(models)
        self._rng = np.random.default_rng((seed, 13))
        self.micro = Adapter(len(models), dim, parts.micro_rank, self._rng)
        self.base = Adapter(len(models), dim, parts.base_rank, self._rng)
        self.keeper = Keeper(len(self.base.parameters), parts.keeping)
        self.patterns: list[Pattern] = []
        self._kept: list[_Kept] = []
        self._vectors = np.zeros((parts.kept, dim))
        self._table = np.zeros((parts.kept, 3))
        self._centres = np.zeros((0, dim))
        # Sums for the line of calibration: weight, x, y, x², xy; as if `doubt` answers had come as expected.
        self._line = parts.doubt * np.array([1.0, 0.5, 0.5, 0.35, 0.35])

    def correct(self, vector: Floats, expected: Floats) -> Floats:
        """Expected quality of each model, corrected."""
        out = expected + self.corrections(vector)
        return self._calibrated(out) if self.parts.calibration else out

    def corrections(self, vector: Floats) -> Floats:
        """What is added to what the head expects of each model, before calibration."""
        parts = self.parts
        extra = np.zeros(len(self.models))
        if parts.micro:
            extra += self.micro.corrections(vector)
        if parts.base:
            extra += self.base.corrections(vector)
        if parts.memory and self._kept:
            extra += self._remembered(vector)
        if parts.bank and len(self._centres):
            extra += self.said_by(self.patterns[int(np.argmax(self._centres @ vector))])
        return np.asarray(np.clip(extra, -parts.bound, parts.bound))

    def said_by(self, pattern: Pattern) -> list[float]:
        """What a pattern alone adds for each model."""
        return [pattern.quality(model, prior=0.0, weight=self.parts.doubt) for model in self.models]

    def nearest(self, vector: Floats) -> tuple[Pattern, float] | None:
        """The pattern that a prompt belongs to, and its cosine; None where patterns take no part."""
        if not self.parts.bank or not len(self._centres):
            return None
        cosines = self._centres @ vector
        at = int(np.argmax(cosines))
        return self.patterns[at], float(cosines[at])

    def _remembered(self, vector: Floats) -> Floats:
        count = len(self._kept)
        cosines = self._vectors[:count] @ vector
        near = (
            np.argpartition(-cosines, self.parts.near)[: self.parts.near]
            if count > self.parts.near
            else np.arange(count)
        )
        models, residuals, weights = self._table[near].T
        kernel = weights * np.exp(self.parts.sharp * (cosines[near] - 1.0))
        place, count = models.astype(np.intp), len(self.models) + 1
        # The last place is of models that are gone.
        total = np.bincount(place, kernel * residuals, count)[:-1]
        return np.asarray(total / (self.parts.doubt + np.bincount(place, kernel, count)[:-1]))

    def _tell(self) -> None:
        """What `_remembered` looks at, put together anew."""
        place = {model: at for at, model in enumerate(self.models)}
        gone = len(place)
        self._table = np.zeros((self.parts.kept, 3))
        for at, one in enumerate(self._kept):
            self._table[at] = place.get(one.model, gone), one.residual, one.weight

    def _calibrated(self, expected: Floats) -> Floats:
        n, x, y, xx, xy = self._line
        spread = xx / n - (x / n) ** 2
        slope = (xy / n - x * y / n**2) / spread if spread > 1e-9 else 1.0
        return np.asarray(y / n + slope * (expected - x / n))

    def learn(
        self, vector: Floats, features: Floats, model: int, quality: float, *, expected: float, weight: float = 1.0
    ) -> None:
        """`expected` is what the head alone expected before it learned this outcome."""
        residual = quality - expected
        if self.parts.micro:
            train(self.micro, [Lesson(vector=vector, model=model, residual=residual, weight=weight)], self._rng)
        self._line += weight * np.array([1.0, expected, quality, expected**2, expected * quality])
        one = _Kept(vector, features, self.models[model], quality, residual, weight)
        at = len(self._kept)
        if at < self.parts.kept:
            self._kept.append(one)
        else:
            at = int(self._rng.integers(self.parts.kept))
            self._kept[at] = one
        self._vectors[at] = vector
        self._table[at] = model, residual, weight

    def consolidate(self, head: QualityHead, *, now: float) -> Consolidated:
        """The deep loop. Not to be run where somebody waits."""
        place = {model: at for at, model in enumerate(self.models)}
        known = [one for one in self._kept if one.model in place]
        if not known or not self.parts.deep:
            return Consolidated(lessons=0, patterns=len(self.patterns), before=0.0, after=0.0)
        weights = head.weights
        for one in known:
            one.residual = one.quality - float(weights[place[one.model]] @ one.features)
        self._tell()
        lessons = [
            Lesson(vector=one.vector, model=place[one.model], residual=one.residual, weight=one.weight) for one in known
        ]
        if self.parts.base:
            train(self.base, lessons, self._rng, keeper=self.keeper if self.parts.ewc else None)
            self.keeper.boundary(self.base.parameters)
        if self.parts.bank:
            vectors = np.stack([one.vector for one in known])
            found = find(vectors, [(one.model, one.residual) for one in known], self.parts.patterns, self._rng, now=now)
            old = faded(self.patterns, factor=self.parts.fade) if len(self._kept) == self.parts.kept else []
            # Residuals may be negative: `bad` is no reason to drop a pattern here.
            self.patterns = prune(merge([*found, *old]), now=now, cap=self.parts.patterns, bad=-1.0)
            self._centres = np.array([one.centre for one in self.patterns])
        before = float(np.mean([one.residual**2 for one in lessons]))
        rest = [one.residual - float(self.corrections(one.vector)[one.model]) for one in lessons]
        return Consolidated(
            lessons=len(lessons), patterns=len(self.patterns), before=before, after=float(np.mean(np.square(rest)))
        )

    def saved(self, *, whole: bool = True) -> tuple[dict[str, object], dict[str, Floats]]:
        """All of it, as what JSON can hold and as arrays; `whole` false: what a correction needs."""
        kept = self._kept if whole or self.parts.memory else []
        header = {
            "models": self.models,
            "tasks": self.keeper.tasks,
            "patterns": [asdict(one) for one in self.patterns],
            "kept": [one.model for one in kept],
            "rng": self._rng.bit_generator.state,
        }
        arrays = {
            "micro": self.micro.parameters,
            "base": self.base.parameters,
            "keeper": np.stack([self.keeper.running, self.keeper.held, self.keeper.anchor]),
            "line": self._line,
            "vectors": self._vectors[: len(kept)],
            "features": np.array([one.features for one in kept]),
            "outcomes": np.array([(one.quality, one.residual, one.weight) for one in kept]).reshape(-1, 3),
        }
        return header, arrays

    @classmethod
    def restored(cls, header: dict[str, Any], arrays: dict[str, Floats], parts: Parts, dim: int) -> Refinement:
        one = cls(header["models"], dim, parts)
        one.micro.parameters[:] = arrays["micro"]
        one.base.parameters[:] = arrays["base"]
        one.keeper.running, one.keeper.held, one.keeper.anchor = (part.copy() for part in arrays["keeper"])
        one.keeper.tasks = header["tasks"]
        one.patterns = [Pattern(**{**said, "centre": tuple(said["centre"])}) for said in header["patterns"]]
        one._centres = np.array([pattern.centre for pattern in one.patterns]).reshape(-1, dim)
        one._line = arrays["line"].copy()
        one._vectors[: len(header["kept"])] = arrays["vectors"]
        rows = zip(header["kept"], arrays["vectors"], arrays["features"], arrays["outcomes"], strict=True)
        one._kept = [_Kept(vector, features, model, *map(float, said)) for model, vector, features, said in rows]
        one._rng.bit_generator.state = header["rng"]
        one._tell()
        return one

    def add_model(self, model: str) -> None:
        self._resize([*range(len(self.models)), None], [*self.models, model])

    def remove_model(self, model: str) -> None:
        self._resize([at for at, one in enumerate(self.models) if one != model], [m for m in self.models if m != model])

    def _resize(self, rows: Sequence[int | None], models: list[str]) -> None:
        for name in ("micro", "base"):
            old: Adapter = getattr(self, name)
            new = Adapter(len(models), old.down.shape[1], old.how, self._rng)
            new.down[:] = old.down
            for at, row in enumerate(rows):
                if row is not None:
                    new.up[at] = old.up[row]
            setattr(self, name, new)
        # What EWC held is of another number of parameters: the new ones are the anchor of the next task.
        self.keeper = Keeper(len(self.base.parameters), self.parts.keeping)
        self.models = models
        self._tell()
