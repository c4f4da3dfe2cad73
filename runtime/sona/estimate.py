"""What would another policy have earned on what was logged? Three off-policy estimators.

    IPS     mean of w · r                       w = pi(chosen | x) / propensity, clipped at `clip`
    SNIPS   sum of w · r / sum of w             biased a little, much steadier (Swaminathan and Joachims, 2015)
    DR      mean of q(x, pi) + w · (r - q(x, chosen))   right if either the propensities or q are (Dudik et al., 2011)

Where the logged policy never did what the other one would do (w is 0 everywhere) nothing can be said, and nothing is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """One decision: `target` is the other policy's chance of each model, `predicted` a model of quality for each."""

    chosen: int
    propensity: float
    reward: float
    target: tuple[float, ...]
    predicted: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """`error` is one standard error; `effective` how many equally weighted decisions these are worth (Kish)."""

    value: float
    error: float
    effective: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    ips: Estimate
    snips: Estimate
    dr: Estimate


def estimate(log: Sequence[Logged], *, clip: float = float("inf")) -> Estimates | None:
    """None where the log is empty or shares no choice with the target."""
    if not log or any(one.propensity <= 0 for one in log):
        return None
    weight = np.minimum([one.target[one.chosen] / one.propensity for one in log], clip)
    reward = np.array([one.reward for one in log])
    total = float(weight.sum())
    if total <= 0:
        return None
    effective = total**2 / float((weight**2).sum())
    guessed = np.array([one.predicted[one.chosen] for one in log])
    direct = np.array([float(np.dot(one.target, one.predicted)) for one in log])

    def mean(parts: np.ndarray) -> Estimate:
        error = float(parts.std(ddof=1) / np.sqrt(len(parts))) if len(parts) > 1 else float("inf")
        return Estimate(value=float(parts.mean()), error=error, effective=effective)

    normal = float((weight * reward).sum() / total)
    spread = float(np.sqrt((weight**2 * (reward - normal) ** 2).sum()) / total)
    return Estimates(
        ips=mean(weight * reward),
        snips=Estimate(value=normal, error=spread, effective=effective),
        dr=mean(direct + weight * (reward - guessed)),
    )
