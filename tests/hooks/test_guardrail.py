"""What is forbidden, in prompts and answers, also over the borders of chunks."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.hooks.guardrail import CODE, Guardrail, _Hit
from runtime.outcome import Completion, Delta, Failure, FailureKind
from runtime.request import EmbedRequest, ask
from tests.fakes.gateway import text
from tests.hooks.rigged import end_of, events_of, hooked, said_in


def refused(outcome: Any) -> bool:
    return isinstance(outcome, Failure) and (outcome.kind, outcome.code) == (FailureKind.CONTENT_FILTERED, CODE)


async def test_a_prompt_with_a_forbidden_word_is_refused_and_nobody_is_asked() -> None:
    made = hooked(Guardrail(words=["project x"], message="not here"), a=text("x"))
    failure = await made.failure(ask("tell me of PROJECT\n X"))
    assert refused(failure)
    assert failure.detail == "not here"
    assert made["a"].transport.calls == 0


async def test_a_word_within_another_is_none() -> None:
    made = hooked(Guardrail(words=["cat"]), a=text("a category"))
    assert (await made.answer(ask("concatenate"))).text == "a category"


async def test_an_answer_is_refused_too_and_a_side_can_be_left_out() -> None:
    assert refused(await hooked(Guardrail(words=["secret"]), a=text("the secret")).failure())
    inward = Guardrail(words=["secret"], on=["input"])
    assert (await hooked(inward, a=text("the secret")).answer()).text == "the secret"
    outward = Guardrail(words=["hi"], on=["output"])
    assert (await hooked(outward, a=text("x")).answer()).text == "x"


async def test_texts_for_vectors_are_looked_at() -> None:
    made = hooked(Guardrail(words=["secret"]), a=text("x"))
    assert refused(await made.gateway.embed(EmbedRequest(inputs=("fine", "a secret"), model="a/m")))


async def test_a_stream_ends_in_an_error_before_any_of_it_has_gone() -> None:
    made = hooked(Guardrail(words=["launch code"]), a=text("Here you are: the launch code is 1234"))
    events = await events_of(made)
    assert refused(end_of(events))
    assert "launch" not in said_in(events)
    assert made["a"].transport.active == 0


async def test_a_stream_without_it_comes_whole() -> None:
    events = await events_of(hooked(Guardrail(words=["launch code"]), a=text("a launch, a code, and a launch")))
    outcome = end_of(events)
    assert isinstance(outcome, Completion)
    assert said_in(events) == outcome.text == "a launch, a code, and a launch"


WORDS = ["cat", "launch code", "x"]


def played(hook: Guardrail, pieces: list[str]) -> tuple[str, bool]:
    """What went on, and whether it was stopped."""
    windows = hook.for_request()._windows
    gone = ""
    try:
        for piece in pieces:
            gone += "".join(one.text for one in windows.passed(Delta(text=piece)))
        gone += "".join(one.text for one in windows.rest())
    except _Hit:
        return gone, True
    return gone, False


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(["cat", "egory", "launch", " ", "  ", "code", "con", "dog", ".", "x", "\n", "é"]), max_size=12
    ),
    st.lists(st.integers(0, 60), max_size=10),
    st.booleans(),
)
@example(words=["cat", "cat", "egory", " ", " ", "code", "  ", "cat"], cuts=[], patterns=False)
def test_however_a_stream_is_cut_it_is_judged_as_the_whole(words: list[str], cuts: list[int], patterns: bool) -> None:
    hook = Guardrail(patterns=[r"\bcat\b", r"(?i)launch\s{1,8}code"], window=24) if patterns else Guardrail(words=WORDS)
    whole = "".join(words)
    edges = [0, *sorted(min(one, len(whole)) for one in cuts), len(whole)]
    pieces = [whole[a:b] for a, b in itertools.pairwise(edges) if a < b]
    gone, stopped = played(hook, pieces)
    assert stopped == hook.finds(whole)
    assert whole.startswith(gone)
    assert stopped or gone == whole
    # "catcategory" may have been cut after "cat": no word, by what would have come next.
    assert gone == whole or not (hook.finds(gone) and hook.finds(whole[: len(gone) + 1]))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "forbidden"),
        ({"words": [" "]}, "letter"),
        ({"patterns": ["("]}, "regular"),
        ({"words": ["x"], "on": ["in"]}, "on"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Guardrail(**options)
