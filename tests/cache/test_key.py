"""Who may share an answer: requests that differ in nothing which could change it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.cache.key import key_of, last_words, partition_of
from runtime.ledger.billing import Billing
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
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    ask,
    user,
)
from runtime.tracing import Trace

ASKED = ask("2+2?")
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
    "max_age_s": 1.0,
    "only_if_cached": True,
    "cache_tags": ("a",),
    "trace": Trace(trace_id="a" * 32, span_id="b" * 16),
}


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


def test_what_one_key_may_not_use_it_is_not_given_though_another_of_its_tenant_may() -> None:
    may = [replace(ASKED, billing=Billing(models=models)) for models in ((), ("a/*",), ("a/*", "b/*"), ("b/*", "a/*"))]
    keys = [key_of(one) for one in may]
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]


def test_who_could_answer_is_part_of_it() -> None:
    assert key_of(ASKED, b"a") != key_of(ASKED, b"b")


def test_what_json_cannot_say_has_no_key() -> None:
    with pytest.raises(TypeError):
        key_of(replace(ASKED, extra={"n": 2**80}))


# The law: equal keys, equal requests.

words = st.sampled_from(["", "a", "b", "a b"])
numbers = st.none() | st.sampled_from([0.0, 0.5, 1.0])
jsons = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=3,
)
objects = st.dictionaries(words, jsons, max_size=2)
parts = st.one_of(
    st.builds(TextPart, text=words, extra=objects),
    st.builds(ImagePart, url=words),
    st.builds(ToolCall, id=words, name=words, arguments=words),
)
messages = st.builds(
    Message,
    role=st.sampled_from(Role),
    parts=st.lists(parts, max_size=2).map(tuple),
    name=st.none() | words,
    tool_call_id=st.none() | words,
    extra=objects,
)
samplings = st.builds(
    Sampling,
    temperature=numbers,
    top_p=numbers,
    max_tokens=st.none() | st.integers(1, 2),
    stop=st.lists(words, max_size=2).map(tuple),
    seed=st.none() | st.integers(0, 1),
)
requests = st.builds(
    Request,
    messages=st.lists(messages, max_size=2).map(tuple),
    model=words,
    sampling=samplings,
    choices=st.integers(1, 2),
    tools=st.lists(st.builds(Tool, name=words, description=st.none() | words, parameters=objects), max_size=2).map(
        tuple
    ),
    tool_choice=st.none() | st.builds(ToolChoice, mode=st.sampled_from(["auto", "none"])),
    parallel_tool_calls=st.none() | st.booleans(),
    response_format=st.none() | st.builds(ResponseFormat, kind=st.just("json_schema"), schema=jsons),
    reasoning=st.none() | st.builds(Reasoning, effort=st.sampled_from(["low", "high"])),
    stream=st.booleans(),
    user=st.none() | words,
    metadata=objects,
    cost=st.builds(CostLimits, max_cost_nanousd=st.none() | st.integers(1, 2), session=words),
    deadline_s=numbers,
    request_id=words,
    tenant=words,
    provider_options=st.dictionaries(words, objects, max_size=1),
    extra=objects,
    dialect=words,
    max_age_s=numbers,
    cache_tags=st.lists(words, max_size=1).map(tuple),
)


def answer_changing(request: Request) -> bytes:
    """Everything that may change an answer, one by one and with its type; an oracle without the hash."""
    said = {name: getattr(request, name) for name in OTHERWISE}
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS, default=dict)


@settings(max_examples=400)
@given(requests, requests, st.sampled_from(sorted(OTHERWISE)))
def test_two_requests_that_differ_in_an_answer_changing_field_never_share_a_key(
    one: Request, other: Request, field: str
) -> None:
    # Mostly equal, so that what differs is small.
    near = replace(one, **{field: getattr(other, field)})
    for two in (other, near):
        assert (key_of(one) == key_of(two)) == (answer_changing(one) == answer_changing(two))


# What the user said last, and all else.


def test_what_the_user_said_last_stands_apart_from_all_else() -> None:
    system = Message(role=Role.SYSTEM, parts=(TextPart("be brief"),))
    one, two = (Request(messages=(system, user(text)), tenant="t") for text in ("hello", "good day"))
    assert (last_words(one), last_words(two)) == ("hello", "good day")
    assert partition_of(one) == partition_of(two) != key_of(one)
    for other in (
        replace(two, tenant="u"),
        replace(two, messages=(user("good day"),)),
        replace(two, sampling=Sampling(seed=1)),
        replace(two, tools=(Tool(name="t"),)),
    ):
        assert partition_of(one) != partition_of(other)


@pytest.mark.parametrize(
    "last",
    [
        Message(role=Role.TOOL, parts=(TextPart("1"),), tool_call_id="a"),
        Message(role=Role.ASSISTANT, parts=(TextPart("1"),)),
        Message(role=Role.USER, parts=(TextPart("what is this?"), ImagePart(url="u"))),
        Message(role=Role.USER, parts=(TextPart("a", extra={"cache_control": {}}),)),
        Message(role=Role.USER),
    ],
    ids=["tool", "assistant", "image", "extra", "nothing"],
)
def test_only_plain_words_of_a_user_have_a_meaning(last: Message) -> None:
    assert last_words(Request(messages=(user("hi"), last))) is None
    assert last_words(Request(messages=())) is None
