"""What answers say of their models by themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runtime.learning.signals import fits, signals_of
from runtime.outcome import Attempt, Choice, Completion, Failure, FailureKind, FinishReason
from runtime.request import Request, ResponseFormat, Sampling, ask

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}}},
    "required": ["n"],
    "additionalProperties": False,
}
ASKS_JSON = replace(ask("hi"), response_format=ResponseFormat(kind="json_schema", name="x", schema=SCHEMA))


def answer(text: str = "fine", *, finish: FinishReason = FinishReason.STOP, **more: Any) -> Completion:
    tried = (Attempt(provider="p", model="m", outcome="ok", elapsed_s=0.1),)
    choice = Choice.of(text, finish_reason=finish, **more)
    return Completion(id="1", model="m-2026", provider="p", choices=(choice,), attempts=tried)


def why(request: Request, outcome: Completion | Failure) -> list[tuple[str, str]]:
    return [(one.model, one.why) for one in signals_of(request, outcome)]


@pytest.mark.parametrize(
    ("request_", "outcome", "expected"),
    [
        (ask("hi"), answer(), []),
        (ask("hi"), answer(refusal="no"), [("p/m", "refusal")]),
        (ask("hi"), answer(finish=FinishReason.CONTENT_FILTER), [("p/m", "refusal")]),
        (ask("hi"), answer(finish=FinishReason.LENGTH), [("p/m", "truncated")]),
        (ASKS_JSON, answer('{"n": 1}'), [("p/m", "good json")]),
        (ASKS_JSON, answer('{"n": "one"}'), [("p/m", "broken json")]),
        (ASKS_JSON, answer("Sure! Here it is"), [("p/m", "broken json")]),
    ],
)
def test_an_answer_says_of_its_model(request_: Request, outcome: Completion, expected: list[tuple[str, str]]) -> None:
    assert why(request_, outcome) == expected


def test_a_caller_who_wants_it_short_blames_the_model_less() -> None:
    cut = answer(finish=FinishReason.LENGTH)
    (long,) = signals_of(ask("hi"), cut)
    (short,) = signals_of(replace(ask("hi"), sampling=Sampling(max_tokens=5)), cut)
    assert short.weight < long.weight


def test_an_attempt_that_failed_speaks_against_its_own_model_and_throttling_against_none() -> None:
    tried = (
        Attempt(provider="a", model="x", outcome=FailureKind.TIMED_OUT, elapsed_s=1.0),
        Attempt(provider="b", model="x", outcome=FailureKind.RATE_LIMITED, elapsed_s=0.1),
        Attempt(provider="c", model="x", outcome=FailureKind.CONTENT_FILTERED, elapsed_s=0.1),
        Attempt(provider="p", model="m", outcome="ok", elapsed_s=0.1),
    )
    assert why(ask("hi"), replace(answer(), attempts=tried)) == [("a/x", "error"), ("c/x", "refusal")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"n": 1, "tags": ["a"]}, True),
        ({"n": 1.0}, True),
        ({"n": True}, False),
        ({"n": 1, "tags": ["c"]}, False),
        ({"tags": []}, False),
        ({"n": 1, "more": 1}, False),
        ([], False),
    ],
)
def test_a_value_fits_its_schema(value: Any, expected: bool) -> None:
    assert fits(value, SCHEMA) is expected


def test_what_is_no_schema_fits_all() -> None:
    assert fits({"a": 1}, None)
    assert fits(None, {"type": ["string", "null"]})
