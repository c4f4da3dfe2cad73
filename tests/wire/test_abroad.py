"""The comparison of a request with itself after a journey abroad: what it must notice, and journeys of our own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runtime.dialects.base import HttpCall
from runtime.request import ImagePart, Message, Reasoning, Request, ResponseFormat, Role, Sampling, TextPart, ToolCall
from tests.wire.abroad import CHAT_DIALECTS, abroad, lost
from tests.wire.everything import EVERYTHING, NOW, ROUND_TRIP, SCHEMA, TOOLS, WEATHER, said

WHOLE = replace(
    ROUND_TRIP,
    sampling=Sampling(temperature=0.5, max_tokens=9, stop=("END",)),
    response_format=ResponseFormat(kind="json_schema", name="a", schema=SCHEMA),
    reasoning=Reasoning(effort="low"),
    parallel_tool_calls=True,
    user="u",
)


def call(*dropped: str) -> HttpCall:
    return HttpCall(method="POST", url="", headers={}, dropped=dropped)


def at(position: int, **changes: Any) -> Request:
    messages = list(WHOLE.messages)
    messages[position] = replace(messages[position], **changes)
    return replace(WHOLE, messages=tuple(messages))


def without(position: int) -> Request:
    return replace(WHOLE, messages=WHOLE.messages[:position] + WHOLE.messages[position + 1 :])


CALLS = WHOLE.messages[2].parts
DAMAGED: dict[str, Request] = {
    "no system": without(0),
    "other system": at(0, parts=(TextPart("You know nothing."),)),
    "no question": without(1),
    "other question": at(1, parts=(TextPart("Compare Bonn."),)),
    "no calls": at(2, parts=CALLS[:1]),
    "calls in another order": at(2, parts=(CALLS[0], CALLS[2], CALLS[1], CALLS[3])),
    "other arguments": at(2, parts=(*CALLS[:3], ToolCall(id="call_3", name="now", arguments='{"x":1}'))),
    "other id": at(2, parts=(*CALLS[:3], ToolCall(id="call_9", name="now", arguments="{}"))),
    "no result": without(3),
    "results exchanged": replace(
        WHOLE,
        messages=(
            *WHOLE.messages[:3],
            replace(WHOLE.messages[3], tool_call_id="call_2"),
            replace(WHOLE.messages[4], tool_call_id="call_1"),
            *WHOLE.messages[5:],
        ),
    ),
    "other result": at(4, parts=(TextPart("It is dark."),)),
    "an image more": at(7, parts=(TextPart("And tomorrow?"), ImagePart(url="https://example.com/a.png"))),
    "a turn more": replace(WHOLE, messages=(*WHOLE.messages, said(TextPart("Well?"), role=Role.ASSISTANT))),
    "other side": at(7, role=Role.ASSISTANT),
    "no tool": replace(WHOLE, tools=WHOLE.tools[:2]),
    "other schema": replace(WHOLE, tools=(replace(WEATHER, parameters={"type": "object"}), *WHOLE.tools[1:])),
    "other description": replace(WHOLE, tools=(replace(WEATHER, description="?"), *WHOLE.tools[1:])),
    "other temperature": replace(WHOLE, sampling=replace(WHOLE.sampling, temperature=0.6)),
    "no limit": replace(WHOLE, sampling=replace(WHOLE.sampling, max_tokens=None)),
    "no stop": replace(WHOLE, sampling=replace(WHOLE.sampling, stop=())),
    "no schema": replace(WHOLE, response_format=None),
    "no reasoning": replace(WHOLE, reasoning=None),
    "no parallel calls": replace(WHOLE, parallel_tool_calls=None),
    "no user": replace(WHOLE, user=None),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_loss_is_noticed(name: str) -> None:
    assert list(lost(WHOLE, WHOLE, call(), "openai")) == []
    assert list(lost(WHOLE, DAMAGED[name], call(), "openai"))


def test_what_is_named_is_not_lost() -> None:
    assert list(lost(WHOLE, replace(WHOLE, user=None), call("user"), "openai")) == []


def test_an_unknown_field_must_be_named() -> None:
    request = replace(WHOLE, extra={"a": 1}, dialect="cohere")
    assert list(lost(request, WHOLE, call(), "openai"))
    assert list(lost(request, WHOLE, call("a"), "openai")) == []
    inside = replace(request, extra={}, messages=(Message(role=Role.USER, extra={"b": 1}), *WHOLE.messages))
    assert list(lost(inside, inside, call(), "openai"))


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("dialect", CHAT_DIALECTS)
def test_every_part_and_option_comes_back_or_is_named(dialect: str, name: str) -> None:
    journey = abroad(EVERYTHING[name], dialect)
    assert journey.wrong == ()


@pytest.mark.parametrize("dialect", CHAT_DIALECTS)
def test_a_tool_round_trip_with_parallel_calls_and_repeated_names(dialect: str) -> None:
    journey = abroad(ROUND_TRIP, dialect)
    assert journey.refused == ""
    assert journey.wrong == ()


@pytest.mark.parametrize("dialect", CHAT_DIALECTS)
def test_a_choice_of_one_tool_offers_that_tool(dialect: str) -> None:
    journey = abroad(replace(TOOLS, tool_choice=EVERYTHING["tool choice by name"].tool_choice), dialect)
    assert journey.wrong == ()
    assert NOW in TOOLS.tools
