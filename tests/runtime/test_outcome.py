"""One table says what a failure means; a failure that was raised arrives whole."""

from __future__ import annotations

import pickle

import pytest

from runtime.faults import MEANING, SAYS, failure_of
from runtime.outcome import (
    HANDLING,
    Attempt,
    Blame,
    Completion,
    CompletionFailed,
    Delta,
    Failure,
    FailureKind,
    ToolCallDelta,
)
from runtime.transport.base import Fault, FaultKind


def test_every_kind_has_a_row() -> None:
    assert set(HANDLING) == set(FailureKind)


@pytest.mark.parametrize("kind", FailureKind)
def test_rows_agree_with_themselves(kind: FailureKind) -> None:
    row = HANDLING[kind]
    assert 400 <= row.status <= 599
    # What may be tried again here may be tried elsewhere, and the provider was not simply well.
    assert not row.try_again or (row.try_elsewhere and row.blame is not Blame.GOOD)
    # An SDK repeats what we tell it to: never what is wrong with the request itself.
    assert not row.client_retry or row.status in (429, 503)


@pytest.mark.parametrize("kind", FailureKind)
def test_a_raised_failure_survives_pickling(kind: FailureKind) -> None:
    """Exceptions lose keyword-only parts on the way through Ray: `retry_after` arrived as None."""
    failure = Failure(kind=kind, provider="p", detail="why", retry_after_s=3.0, status=429, code="c")
    with pytest.raises(CompletionFailed) as raised:
        failure.unwrap()
    again = pickle.loads(pickle.dumps(raised.value))
    assert again.failure == failure
    assert str(again) == str(failure)


def test_an_answer_unwraps_to_itself() -> None:
    answer = Completion(id="1", model="m")
    assert answer.unwrap() is answer


def test_a_failure_reads_as_a_sentence() -> None:
    failure = Failure(kind=FailureKind.RATE_LIMITED, provider="p", model="m", detail="too many", retry_after_s=2.0)
    assert str(failure) == "rate_limited from p/m: too many (try again in 2.0 s)"


@pytest.mark.parametrize("kind", FaultKind)
def test_every_fault_has_a_meaning_and_words(kind: FaultKind) -> None:
    failure = failure_of(Fault(kind, "the reason"), provider="p", model="m")
    assert failure.kind is MEANING[kind]
    assert failure.detail == f"p {SAYS[kind]} (the reason)"


@pytest.mark.parametrize(
    ("delta", "shows"),
    [
        (Delta(), False),
        (Delta(extra={"role": "assistant"}), False),
        (Delta(text="a"), True),
        (Delta(reasoning="a"), True),
        (Delta(refusal="no"), True),
        (Delta(tool_calls=(ToolCallDelta(position=0, name="f"),)), True),
    ],
)
def test_content_is_what_an_application_would_show(delta: Delta, *, shows: bool) -> None:
    assert delta.has_content is shows


def test_an_sdk_is_told_to_try_again_only_where_we_have_not() -> None:
    def tried(*outcomes: str) -> Failure:
        attempts = tuple(Attempt(provider="p", model="m", outcome=one, elapsed_s=0.1) for one in outcomes)
        return Failure(kind=FailureKind.OVERLOADED, attempts=attempts)

    assert tried().client_retry
    assert tried("overloaded").client_retry
    assert tried("refused", "throttled", "overloaded").client_retry
    assert not tried("overloaded", "overloaded").client_retry
    assert not Failure(kind=FailureKind.BAD_REQUEST).client_retry
