"""A change of plan serves no answer of a model that could no longer give it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runtime.assemble import policy_of
from runtime.ledger.billing import Billing
from runtime.request import ask
from runtime.settings import Settings
from tests.fakes.gateway import Rigs, text, tried

ON = {"cache": {"enabled": True}}
ASKED = replace(ask("hi", model="r"), tenant="us")


def rigs(**said: Any) -> Rigs:
    route = {"targets": ["a/m", "b/m"], **said.pop("route", {})}
    return Rigs(a=text("from a"), b=text("from b"), settings={**ON, "routes": {"r": route}, **said})


def follow(made: Rigs, **said: Any) -> None:
    """New settings, as an edge takes them over: what is remembered stays."""
    route = {"targets": ["a/m", "b/m"], **said.pop("route", {})}
    document = {**made.settings.to_document(), **ON, "routes": {"r": route}}
    for name, value in said.items():
        document[name] = {**document.get(name, {}), **value}
    made.settings = Settings.model_validate(document)
    upstreams = {name: one.provider for name, one in made.rigs.items()}
    made.gateway.policy = policy_of(made.settings, upstreams, cache=made.gateway.policy.cache)


@pytest.mark.parametrize(
    ("change", "hit"),
    [
        ({}, True),
        ({"route": {"strategy": "cost"}}, True),
        ({"route": {"targets": ["b/m", "a/m"]}}, True),
        ({"retry": {"max_attempts": 2}}, True),
        ({"providers": {"c": {"kind": "scripted"}}}, True),
        ({"route": {"targets": ["b/m"]}}, False),
        ({"route": {"targets": ["a/m", "b/other"]}}, False),
        ({"route": {"larger": ["b/large"]}}, False),
        ({"route": {"residency": ["eu"]}}, False),
        ({"route": {"min_quality": 0.9}}, False),
        ({"providers": {"a": {"kind": "scripted", "sampling": {"temperature": 0.1}}}}, False),
        ({"providers": {"a": {"kind": "scripted", "options": {"x": 1}}}}, False),
        ({"providers": {"a": {"kind": "scripted", "fallback_models": ["n"]}}}, False),
        ({"providers": {"a": {"kind": "scripted", "max_cost_usd": 0.1}}}, False),
        ({"providers": {"a": {"kind": "custom", "base_url": "http://elsewhere/v1"}}}, False),
        ({"models": {"a/m": {"features": ["streaming"]}}}, False),
        ({"models": {"a/m": {"price": {"input": 1, "output": 1}}}}, True),
    ],
    ids=str,
)
async def test_who_could_answer_decides_whether_it_is_found(change: dict[str, Any], hit: bool) -> None:
    made = rigs()
    first = made.gateway.policy.eligible(ASKED)
    follow(made, **change)
    assert (made.gateway.policy.eligible(ASKED) == first) == hit


async def test_a_model_that_is_no_longer_a_target_answers_no_more() -> None:
    made = rigs(route={"targets": ["a/m"]})
    assert (await made.answer(ASKED)).provider == "a"
    assert tried((await made.answer(ASKED)).attempts) == [("a", "cached")]
    follow(made, route={"targets": ["b/m"]})
    assert tried((await made.answer(ASKED)).attempts) == [("b", "ok")]
    follow(made, route={"targets": ["a/m"]})
    assert tried((await made.answer(ASKED)).attempts) == [("a", "cached")], "going back finds it again"


async def test_a_key_that_may_not_use_the_model_is_not_given_its_answer() -> None:
    made = rigs(route={"targets": ["a/m", "b/m"]})
    anyone, only_b = ASKED, replace(ASKED, billing=Billing(models=("b/*",)))
    assert (await made.answer(anyone)).provider == "a"
    assert tried((await made.answer(only_b)).attempts) == [("b", "ok")]
    assert tried((await made.answer(only_b)).attempts) == [("b", "cached")]


async def test_answers_survive_a_breaker_and_a_tenant_sees_his_own_alone() -> None:
    made = rigs()
    await made.answer(ASKED)
    made["a"].provider.standing.gate.shut(0.0)
    assert tried((await made.answer(ASKED)).attempts) == [("a", "cached")]
    assert tried((await made.answer(replace(ASKED, tenant="them"))).attempts) != [("a", "cached")]


def test_names_of_callers_do_not_fill_the_memory() -> None:
    made = rigs()
    for at in range(3_000):
        made.gateway.policy.eligible(replace(ASKED, model=f"a/{at}"))
    assert len(made.gateway.policy.digests) <= 1_000
