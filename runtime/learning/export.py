"""A decision of the log as a row of `runtime.sona.trajectory`: what is exported, and what others are judged on.

    by the policy                           chosen, with the chance that it had
    for a calibration                       a row for each model, as if each had been chosen with the same chance
    by the default order, for any reason    who answered, for certain; in shadow, too, where nobody went by the policy

The row says what came of it only where who was chosen also answered. A row in which nobody answered says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.learning.events import Judged, vector_of
from runtime.learning.values import Trajectory
from runtime.memory.memory import Found
from runtime.memory.store import Trace
from runtime.sona import trajectory

CLOSE = 6
"""Digits of a vector's numbers: more than what float32 means, at a length of about one."""


def row_of(decision: Trajectory, said: Sequence[Judged]) -> trajectory.Trajectory | None:
    """`said` is all that was said of its request, oldest first; each key's last word counts by its weight."""
    learned = decision.mode in ("learned", "calibrated") and decision.propensity is not None
    chosen = decision.chosen if learned else decision.answered
    candidates = tuple(dict.fromkeys(decision.candidates))
    if not decision.answered or chosen not in candidates:
        return None
    prices = dict(zip(decision.candidates, decision.prices, strict=False))
    came = decision.answered == chosen
    quality, weight = _judged(decision, said) if came else (None, 1.0)
    vector = vector_of(decision)
    return trajectory.Trajectory(
        request=decision.request,
        candidates=candidates,
        chosen=chosen,
        propensity=min(max(decision.propensity or 0.0, 1e-9), 1.0) if learned else 1.0,
        vector=tuple(np.round(vector.astype(float), CLOSE).tolist()) if np.any(vector) else (),
        embedder=decision.embedder,
        prices=tuple(prices[one] for one in candidates) if len(prices) == len(candidates) else (),
        quality=quality,
        weight=weight,
        cost_nanousd=decision.cost_nanousd if came else None,
        latency_s=decision.latency_s if came else None,
        key=decision.key,
        at=decision.at_s,
        mode=decision.mode,
    )


def _judged(decision: Trajectory, said: Sequence[Judged]) -> tuple[float | None, float]:
    last = {one.key: one for one in said if (one.model, one.vector) == (decision.answered, decision.vector)}
    weight = sum(one.weight for one in last.values())
    if weight <= 0.0:
        return None, 1.0
    mean = sum(one.weight * one.quality for one in last.values()) / weight
    return min(max(mean, 0.0), 1.0), weight


def told(found: Found) -> dict[str, Any]:
    """A neighbour, as searches and explanations show it."""
    trace = found.trace
    return {
        "request_id": trace.request,
        "similarity": found.cosine,
        "model": trace.model,
        "quality": trace.quality,
        "cost_nanousd": trace.cost_nanousd,
        "latency_s": trace.latency_s,
        "at": trace.at,
        **({} if trace.text is None else {"text": trace.text}),
    }


def trace_of(tenant: str, decision: Trajectory) -> Trace:
    """What memory keeps of a decision, beside its vector."""
    return Trace(
        namespace=tenant,
        request=decision.request,
        model=decision.answered or decision.chosen,
        propensity=decision.propensity or 0.0,
        at=decision.at_s,
        text=decision.text,
        cost_nanousd=decision.cost_nanousd,
        latency_s=decision.latency_s,
    )
