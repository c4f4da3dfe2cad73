"""A name with one candidate needs no plan; it gets the same order as by one."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from runtime.balance.entry import Candidate
from runtime.balance.turns import Turns
from runtime.ledger.billing import Billing
from runtime.outcome import Failure, FailureKind
from runtime.plan import balanced_plan, chat_plan
from runtime.request import CostLimits, Request, Sampling, Tool, ask
from tests.fakes.gateway import Rigs, text

ONLY = [Candidate("one", "one-model")]


def planned(rigs: Rigs, request: Request) -> list[Candidate] | Failure:
    found = chat_plan(rigs.policy(), request, turns=Turns(), now=0.0, rng=random.Random(1))
    return found if isinstance(found, Failure) else found.candidates


@pytest.mark.parametrize(
    "request_",
    [
        ask("hi"),
        ask("hi " * 100_000),
        replace(ask("hi"), tools=(Tool(name="f"),)),
        replace(ask("hi"), sampling=Sampling(max_tokens=10**9)),
        replace(ask("hi"), cost=CostLimits(session="s", preferred_models=("other",))),
    ],
)
@pytest.mark.parametrize("strategy", ["latency", "cost", "round_robin", "rules"])
def test_the_only_candidate_is_whom_a_plan_would_name(request_: Request, strategy: str) -> None:
    rigs = Rigs(one=text("hi"), settings={"strategy": strategy})
    made = balanced_plan(rigs.policy(), request_, turns=Turns(), now=0.0, rng=random.Random(1))
    assert not isinstance(made, Failure)
    assert [*made.candidates, *(one.candidate for one in made.dropped)] == planned(rigs, request_) == ONLY


@pytest.mark.parametrize(
    ("demand", "kind"),
    [
        ({"cost": CostLimits(max_cost_nanousd=1)}, FailureKind.BUDGET_EXCEEDED),
        ({"cost": CostLimits(min_quality=0.99)}, FailureKind.UNSUPPORTED),
        ({"cost": CostLimits(residency=("eu",))}, FailureKind.UNSUPPORTED),
        ({"billing": Billing(models=("other/*",))}, FailureKind.NOT_ALLOWED),
    ],
)
def test_what_is_demanded_is_held_against_the_only_candidate_too(demand: dict[str, object], kind: FailureKind) -> None:
    found = planned(Rigs(one=text("hi")), replace(ask("hi"), **demand))  # type: ignore[arg-type]
    assert isinstance(found, Failure)
    assert found.kind is kind
