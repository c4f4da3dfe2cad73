"""What is measured of a model at a provider: means that rise fast, fall slowly and forget with time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.balance.pace import LEAP, Mean, Pace, Timings, batch_of
from runtime.outcome import Completion, Failure, FailureKind, Usage


def test_a_peak_rises_faster_than_it_falls() -> None:
    up, down = Mean(5.0, peak=True), Mean(5.0, peak=True)
    up.add(1.0, 0.0)
    up.add(2.0, 1.0)
    down.add(2.0, 0.0)
    down.add(1.0, 1.0)
    assert up.value is not None
    assert down.value is not None
    assert up.value - 1.0 > 2.0 * (2.0 - down.value)


def test_one_accident_is_no_slowdown() -> None:
    mean = Mean(5.0, peak=True)
    mean.add(1.0, 0.0)
    mean.add(500.0, 10.0)
    assert mean.value is not None
    assert mean.value <= LEAP


def test_a_slowdown_is_believed_within_a_few_calls() -> None:
    mean = Mean(5.0, peak=True)
    mean.add(1.0, 0.0)
    for call in range(10):
        mean.add(8.0, 1.0 + call / 10)
    assert mean.value is not None
    assert mean.value > 4.0


@given(st.lists(st.floats(0.001, 100.0), min_size=1), st.booleans())
def test_a_mean_stays_among_its_samples(samples: list[float], peak: bool) -> None:
    mean = Mean(5.0, peak=peak)
    for at, sample in enumerate(samples):
        mean.add(sample, float(at))
    assert mean.value is not None
    assert min(samples) * 0.999 <= mean.value <= max(samples) * 1.001


def test_nothing_is_known_before_the_first_batch() -> None:
    pace = Pace()
    pace.add(Timings(), 1.0)
    assert (pace.ttft_s, pace.per_token_s, pace.output_tokens, pace.failed, pace.at) == (None, None, None, 0.0, None)


def test_a_long_answer_is_no_slow_one() -> None:
    short, long = Pace(), Pace()
    short.add(Timings(begun=1, ttft_s=0.3, answered=1, token_s=0.1, tokens=10, paced=10), 0.0)
    long.add(Timings(begun=1, ttft_s=0.3, answered=1, token_s=10.0, tokens=1_000, paced=1_000), 0.0)
    assert (short.ttft_s, short.per_token_s) == pytest.approx((long.ttft_s, long.per_token_s))
    assert (short.output_tokens, long.output_tokens) == (10.0, 1_000.0)


def test_an_error_must_not_look_like_speed() -> None:
    pace = Pace()
    pace.add(Timings(begun=2, ttft_s=2.0, load=6), 0.0)
    pace.add(Timings(failed=1), 1.0)
    assert (pace.ttft_s, pace.usual_load) == (1.0, 3.0)
    assert 0.0 < pace.failed < 1.0


def test_an_answers_end_is_not_a_second_success() -> None:
    pace = Pace()
    pace.add(Timings(failed=1), 0.0)
    pace.add(Timings(answered=1, token_s=1.0, tokens=10, paced=10), 5.0)
    assert pace.failed == 1.0


def completed(tokens: int, ttft_s: float | None = None) -> Completion:
    return Completion(id="", provider="p", model="m", usage=Usage(output_tokens=tokens), ttft_s=ttft_s)


def test_a_streams_end_says_how_fast_its_tokens_came() -> None:
    assert batch_of(completed(20, ttft_s=0.5), 2.5, load=3) == Timings(answered=1, tokens=20, paced=20, token_s=2.0)


def test_of_a_whole_answer_its_tokens_are_taken_to_have_come_as_in_streams() -> None:
    known = batch_of(completed(20), 2.5, load=3, per_token_s=0.1)
    assert known == Timings(begun=1, ttft_s=0.5, load=3, answered=1, tokens=20)
    assert batch_of(completed(20), 2.5, load=3).ttft_s == 2.5
    assert batch_of(completed(900), 2.5, load=3, per_token_s=0.1).ttft_s > 0.0


def test_streams_and_whole_answers_in_one_report_keep_their_pace() -> None:
    pace = Pace()
    pace.add(batch_of(completed(20, ttft_s=0.5), 2.5, load=0) + batch_of(completed(80), 2.5, load=0), 0.0)
    assert (pace.per_token_s, pace.output_tokens) == (0.1, 50.0)


@pytest.mark.parametrize(
    ("kind", "failed"),
    [
        (FailureKind.TIMED_OUT, 1),
        (FailureKind.RATE_LIMITED, 1),
        (FailureKind.CANCELLED, 0),
        (FailureKind.BAD_REQUEST, 0),
    ],
)
def test_only_what_is_held_against_a_provider_is_a_failure_of_it(kind: FailureKind, failed: int) -> None:
    assert batch_of(Failure(kind=kind, provider="p"), 1.0, load=0) == Timings(failed=failed)
