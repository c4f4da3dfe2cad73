"""What is asking this model worth, beyond its answer? The knowledge gradient (Frazier, Powell and Dayanik, 2009).

An answer teaches something about the model on all prompts like this one. If n such answers could change which model
is best at a typical prompt, the better choices that follow are worth, for each of the n,

    share · horizon · s · psi(d / s) / n        psi(z) = pdf(z) - z · (1 - cdf(z))

summed over the typical prompts: d is the gap between the model and the best other one there, s how far n answers would
move their difference. Unlike a bonus for whatever is unknown, it is nothing where no answer could change a choice: for
a model too dear to ever win, or one known well enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from runtime.sona.bank import Floats
from runtime.sona.head import Belief, Typical


@dataclass(frozen=True, slots=True, kw_only=True)
class Curiosity:
    """`horizon` counts the requests that a lesson is expected to serve; `cap` bounds what one request may be worth."""

    horizon: float = 1_500.0
    cap: float = 0.6


_STEPS = 4.0 ** np.arange(4)
_FINE = 100
_Z = np.arange(6 * _FINE + 1) / _FINE
_PSI = np.array([math.exp(-z * z / 2) / math.sqrt(2 * math.pi) - z * 0.5 * math.erfc(z / math.sqrt(2)) for z in _Z])
_PSI[-1] = 0.0


def worth(
    belief: Belief, typical: Typical, share: Floats, prices: Floats, *, noise: float, curiosity: Curiosity
) -> Floats:
    """Worth of asking each model now, in units of quality."""
    utilities = typical.quality - prices
    count = utilities.shape[1]
    if count < 2 or curiosity.horizon <= 0:
        return np.zeros(count)
    models = np.arange(count)
    rows = np.arange(len(utilities))
    order = np.argpartition(utilities, count - 2, axis=1)
    best, second = order[:, -1], order[:, -2]
    rival = np.where(best[:, None] == models, second[:, None], best[:, None])
    gap = np.abs(utilities - utilities[rows[:, None], rival])
    # How quality(m, x) goes with every model's quality at every typical prompt.
    shared = typical.turned @ belief.along.T
    moved = shared[models, rows[:, None], models] - shared[rival, rows[:, None], models]
    moved = np.abs(moved + typical.prompts @ belief.around.T)
    root = np.sqrt(belief.variance[None, :] + noise**2 / _STEPS[:, None])
    step = moved[None] / root[:, None, :] + 1e-12
    at = np.minimum(gap[None] * (_FINE / step) + 0.5, len(_Z) - 1.0).astype(np.intp)
    gains = step * _PSI[at]
    total = np.tensordot(share, gains, axes=(0, 1)) * (curiosity.horizon / _STEPS)[:, None]
    return np.asarray(np.minimum(total.max(axis=0), curiosity.cap))
