"""What an edge reports of a decision that is over."""

from __future__ import annotations

from runtime.learning.advice import Decision
from runtime.learning.signals import answered_by, signals_of
from runtime.learning.values import Trajectory
from runtime.outcome import Completion, Outcome
from runtime.request import Request

GONE = "gone"
"""The outcome where the caller hung up before there was one."""


def trajectory_of(
    decision: Decision, request: Request, outcome: Outcome | None, *, uid: str, at_s: float
) -> Trajectory:
    usage = outcome.usage if outcome is not None else None
    cost = outcome.cost if outcome is not None else None
    answer = outcome if isinstance(outcome, Completion) else None
    word = GONE if outcome is None else "ok" if answer is not None else str(getattr(outcome, "kind", ""))
    return Trajectory(
        uid=uid,
        request=request.request_id,
        at_s=at_s,
        embedder=decision.embedder,
        vector=decision.vector,
        candidates=decision.candidates,
        costs_nanousd=decision.costs_nanousd,
        tenant=decision.tenant,
        key=request.billing.account.key if request.billing is not None else "",
        mode=decision.mode,
        taste=decision.taste,
        policy=decision.policy,
        chosen=decision.chosen,
        propensity=decision.propensity,
        gave_up=decision.gave_up,
        prices=decision.prices,
        answered="" if answer is None else answered_by(answer),
        outcome=word,
        signals=() if outcome is None else signals_of(request, outcome),
        input_tokens=usage.input_tokens if usage is not None else 0,
        output_tokens=usage.output_tokens if usage is not None else 0,
        cost_nanousd=None if cost is None else cost.total_nanousd,
        latency_s=None if answer is None else answer.latency_s,
        text=decision.text,
    )
