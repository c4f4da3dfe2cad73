"""Low-rank corrections of the quality head, from the whole embedding: MicroLoRA at once, BaseLoRA in the background.

    correction(m, x) = scale · up[m] · (down @ x)                   rank r: down is r × d, up is M × r
    loss             = weight / 2 · (quality - head - correction)²  + ridge / 2 · (|up|² + |down|²)
                       + lambda / 2 · sum F (w - w*)²               the last by EWC++ only (`Keeper`)

A step goes against the true gradient of that loss in both matrices. `up` starts at zero, so that an untrained adapter
says nothing; `down` starts at random, so that the gradient of `up` is not zero too.

EWC++ (Chaudhry et al., 2018): F is a running mean of squared gradients of the loss on the parameters themselves. At a
boundary between tasks the present parameters become the anchor w*, and what mattered so far is held by its F.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.sona.bank import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """Settings of one adapter. `bound` clips a correction, in units of quality."""

    rank: int = 2
    rate: float = 0.002
    ridge: float = 1e-3
    bound: float = 0.2


class Adapter:
    """Parameters in one flat vector: `down` first, then `up`; both matrices are views of it."""

    def __init__(self, models: int, dim: int, how: Rank, rng: np.random.Generator) -> None:
        self.how = how
        self.scale = 1.0 / np.sqrt(how.rank)
        self.parameters = np.zeros(how.rank * (dim + models))
        self.down = self.parameters[: how.rank * dim].reshape(how.rank, dim)
        self.up = self.parameters[how.rank * dim :].reshape(models, how.rank)
        self.down[:] = rng.normal(0.0, 1.0, self.down.shape)

    def corrections(self, vector: Floats) -> Floats:
        """One for each model."""
        plain = self.scale * (self.up @ (self.down @ vector))
        return np.asarray(np.clip(plain, -self.how.bound, self.how.bound))

    def loss(self, vector: Floats, model: int, residual: float, *, weight: float = 1.0) -> float:
        """`residual` is quality minus what the head alone expects."""
        error = residual - self.scale * float(self.up[model] @ (self.down @ vector))
        return float(0.5 * weight * error**2) + 0.5 * self.how.ridge * float(self.parameters @ self.parameters)

    def gradient(self, vector: Floats, model: int, residual: float, *, weight: float = 1.0) -> Floats:
        """Of `loss`, by the flat parameters."""
        inner = self.down @ vector
        error = residual - self.scale * float(self.up[model] @ inner)
        out = self.how.ridge * self.parameters
        down, up = self._views(out)
        down -= weight * error * self.scale * np.multiply.outer(self.up[model], vector)
        up[model] -= weight * error * self.scale * inner
        return out

    def _views(self, flat: Floats) -> tuple[Floats, Floats]:
        return flat[: self.down.size].reshape(self.down.shape), flat[self.down.size :].reshape(self.up.shape)

    def step(self, gradient: Floats) -> None:
        self.parameters -= self.how.rate * gradient


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """EWC++. `strength` is lambda; `fade` the memory of the running mean; `tasks` raise lambda by a tenth each, as in
    the first system, up to `most`."""

    strength: float = 2_000.0
    fade: float = 0.999
    most: int = 10


class Keeper:
    """The Fisher information of one adapter's parameters, and the anchor that they are held to."""

    def __init__(self, size: int, how: Keeping) -> None:
        self.how = how
        self.running = np.zeros(size)
        self.held = np.zeros(size)
        self.anchor = np.zeros(size)
        self.tasks = 0

    def see(self, gradient: Floats) -> None:
        """A gradient of the loss without this penalty."""
        self.running *= self.how.fade
        self.running += (1.0 - self.how.fade) * gradient**2

    def boundary(self, parameters: Floats) -> None:
        """The task ends here: these parameters are to be kept, each by what it matters."""
        self.held = np.maximum(self.held, self.running)
        self.anchor = parameters.copy()
        self.running = self.running * 0.1
        self.tasks = min(self.tasks + 1, self.how.most)

    @property
    def strength(self) -> float:
        return self.how.strength * (1.0 + 0.1 * self.tasks) if self.tasks else 0.0

    def penalty(self, parameters: Floats) -> float:
        return 0.5 * self.strength * float(self.held @ (parameters - self.anchor) ** 2)

    def pull(self, parameters: Floats) -> Floats:
        """Gradient of `penalty`."""
        return self.strength * self.held * (parameters - self.anchor)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """One outcome, for training: `residual` is quality minus what the head alone expected."""

    vector: Floats
    model: int
    residual: float
    weight: float = 1.0


def train(
    adapter: Adapter,
    lessons: Sequence[Lesson],
    rng: np.random.Generator,
    *,
    passes: int = 1,
    keeper: Keeper | None = None,
) -> None:
    """Replay lessons in random order: BaseLoRA's background loop, and with one lesson MicroLoRA's instant one."""
    for _ in range(passes):
        for at in rng.permutation(len(lessons)):
            one = lessons[int(at)]
            gradient = adapter.gradient(one.vector, one.model, one.residual, weight=one.weight)
            if keeper is None:
                adapter.step(gradient)
                continue
            keeper.see(gradient)
            adapter.step(gradient)
            if keeper.tasks:
                # Implicit in the penalty: an explicit step would overshoot where strength · F · rate exceeds two.
                pull = adapter.how.rate * keeper.strength * keeper.held
                adapter.parameters -= pull / (1.0 + pull) * (adapter.parameters - keeper.anchor)
