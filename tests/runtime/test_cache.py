"""The exact cache: who may share an answer, for how long, and who has to go."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from runtime.cache import AnswerCache, key_of
from runtime.ledger.billing import Billing
from runtime.outcome import Choice, Completion, Cost, FinishReason
from runtime.request import (
    AttemptLimits,
    CacheHint,
    CostLimits,
    ImagePart,
    Message,
    Reasoning,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    Tool,
    ToolChoice,
    ask,
)

ASKED = ask("2+2?")
ANSWER = Completion(
    id="1",
    model="m",
    provider="p",
    choices=(Choice.of("4", finish_reason=FinishReason.STOP),),
    cost=Cost(total_nanousd=9),
    latency_s=1.0,
)

OTHERWISE: dict[str, Any] = {
    "messages": ask("Write a poem").messages,
    "model": "other",
    "sampling": Sampling(temperature=0.5),
    "choices": 2,
    "tools": (Tool(name="t"),),
    "tool_choice": ToolChoice(mode="none"),
    "parallel_tool_calls": False,
    "response_format": ResponseFormat(kind="json_object"),
    "reasoning": Reasoning(effort="low"),
    "user": "u",
    "tenant": "t",
    "cost": CostLimits(max_cost_nanousd=1),
    "provider_options": {"p": {"a": 1}},
    "extra": {"a": 1},
    "dialect": "openai",
}
TRAVEL: dict[str, Any] = {
    "request_id": "r",
    "deadline_s": 1.0,
    "limits": AttemptLimits(total_s=5.0),
    "stream": True,
    "stream_usage": True,
    "metadata": {"trace": 1},
    "cache": CacheHint(),
    "legacy_functions": True,
    "no_store": True,
    "billing": Billing(route="r"),
}


def cache(max_entries: int = 2, ttl_s: float = 10.0) -> AnswerCache:
    return AnswerCache(max_entries=max_entries, ttl_s=ttl_s)


def test_every_field_of_a_request_is_thought_of() -> None:
    assert {field.name for field in fields(Request)} == OTHERWISE.keys() | TRAVEL.keys()


@pytest.mark.parametrize("field", OTHERWISE)
def test_a_request_that_differs_has_an_answer_of_its_own(field: str) -> None:
    assert key_of(replace(ASKED, **{field: OTHERWISE[field]})) != key_of(ASKED)


@pytest.mark.parametrize("field", TRAVEL)
def test_how_an_answer_travels_does_not_matter(field: str) -> None:
    assert key_of(replace(ASKED, **{field: TRAVEL[field]})) == key_of(ASKED)


def test_the_order_of_keys_does_not_matter_and_kinds_of_parts_do() -> None:
    one, two = {"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"d": 2, "c": 1}, "a": 1}
    assert key_of(replace(ASKED, extra=one)) == key_of(replace(ASKED, extra=two))
    image = Message(role=Role.USER, parts=(ImagePart(url="2+2?"),))
    assert key_of(replace(ASKED, messages=(image,))) != key_of(ASKED)


def test_tenants_share_nothing() -> None:
    assert key_of(replace(ASKED, tenant="a")) != key_of(replace(ASKED, tenant="b"))


def test_a_remembered_answer_costs_nothing_and_says_whose_it_is() -> None:
    kept = cache()
    kept.put(b"k", ANSWER, 0.0)
    found = kept.get(b"k", 1.0)
    assert found is not None
    assert (found.text, found.provider, found.cost) == ("4", "p", Cost())
    assert [attempt.outcome for attempt in found.attempts] == ["cached"]


def test_it_is_forgotten_in_time() -> None:
    kept = cache(ttl_s=10.0)
    kept.put(b"k", ANSWER, 0.0)
    assert kept.get(b"k", 9.9)
    assert kept.get(b"k", 10.0) is None
    assert len(kept) == 0


def test_the_least_recently_used_goes_first() -> None:
    """The first system's went by age, used or not."""
    kept = cache(max_entries=2)
    kept.put(b"a", ANSWER, 0.0)
    kept.put(b"b", ANSWER, 1.0)
    kept.get(b"a", 2.0)
    kept.put(b"c", ANSWER, 3.0)
    assert [bool(kept.get(key, 4.0)) for key in (b"a", b"b", b"c")] == [True, False, True]
    assert kept.clear() == 2


@pytest.mark.parametrize("reason", [None, FinishReason.LENGTH, FinishReason.CONTENT_FILTER, FinishReason.ERROR])
def test_half_an_answer_is_not_kept(reason: FinishReason | None) -> None:
    kept = cache()
    kept.put(b"k", replace(ANSWER, choices=(Choice.of("4", finish_reason=reason),)), 0.0)
    kept.put(b"l", replace(ANSWER, choices=()), 0.0)
    assert len(kept) == 0
