"""When a stream that has begun is given up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.outcome import Delta, ToolCallDelta
from runtime.pace import WINDOW_S, Pace, content_bytes
from runtime.request import AudioPart

WORD = Delta(text="1234")
EMPTY = Delta(extra={"obfuscation": "xx"})


def steadily(pace: Pace, deltas: list[Delta], *, every_s: float, until_s: float) -> tuple[float, str] | None:
    """The moment at which it is given up, and why."""
    turn = 1
    while (now := turn * every_s) <= until_s:
        if (why := pace.late(deltas, now)) is not None:
            return now, why
        turn += 1
    return None


def test_comments_and_empty_deltas_are_no_content() -> None:
    for said in ([], [EMPTY]):
        given_up = steadily(Pace(gap_s=30.0), said, every_s=1.0, until_s=100.0)
        assert given_up is not None
        assert given_up[0] == 31.0
        assert "no content" in given_up[1]


def test_content_starts_the_gap_anew() -> None:
    pace = Pace(gap_s=30.0)
    assert steadily(pace, [], every_s=1.0, until_s=29.0) is None
    assert pace.late([WORD], 30.0) is None
    assert pace.late([], 60.0) is None
    assert pace.late([], 60.1) is not None


def test_content_that_comes_late_is_content() -> None:
    assert Pace(gap_s=30.0).late([WORD], 45.0) is None


def test_without_a_floor_a_stream_may_be_as_slow_as_it_likes() -> None:
    assert steadily(Pace(gap_s=30.0), [WORD], every_s=29.0, until_s=3_000.0) is None


def test_a_stream_below_the_floor_is_given_up_after_a_whole_window() -> None:
    given_up = steadily(Pace(gap_s=30.0, min_tokens_per_s=2.0), [WORD], every_s=1.0, until_s=100.0)
    assert given_up is not None
    assert given_up[0] == WINDOW_S + 1
    assert "1.0 tokens a second" in given_up[1]


def test_a_stream_at_the_floor_goes_on() -> None:
    assert steadily(Pace(gap_s=30.0, min_tokens_per_s=2.0), [WORD], every_s=0.5, until_s=100.0) is None


def test_a_fast_beginning_does_not_pay_for_a_slow_middle() -> None:
    pace = Pace(gap_s=30.0, min_tokens_per_s=2.0)
    assert pace.late([Delta(text="x" * 100_000)], 0.5) is None
    given_up = steadily(pace, [WORD], every_s=1.0, until_s=100.0)
    assert given_up is not None
    assert WINDOW_S < given_up[0] <= WINDOW_S + 2


def test_a_pause_is_weighed_with_its_window() -> None:
    """Twenty tokens a second, then nine seconds of silence: still two a second."""
    pace = Pace(gap_s=30.0, min_tokens_per_s=2.0)
    assert steadily(pace, [Delta(text="x" * 80)], every_s=1.0, until_s=20.0) is None
    assert pace.late([WORD], 29.5) is None


def test_all_that_is_shown_counts() -> None:
    call = ToolCallDelta(position=0, name="fn", arguments="{}")
    said = Delta(text="é", reasoning="abc", refusal="no", tool_calls=(call,), audio=AudioPart(data="QUJD"))
    assert content_bytes(said) == 2 + 3 + 2 + 4 + 4


@given(
    st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 200)), max_size=200),
    st.floats(0.1, 50.0),
)
def test_only_a_window_below_the_floor_ends_a_stream(steps: list[tuple[float, int]], floor: float) -> None:
    pace, now, said = Pace(gap_s=1e9, min_tokens_per_s=floor), 0.0, list[tuple[float, int]]()
    for gap, size in steps:
        now += gap
        late = pace.late([Delta(text="x" * size)], now)
        if late is not None:
            second = int(now)
            in_window = sum(n for at, n in said if second - WINDOW_S <= int(at) < second)
            assert second > WINDOW_S
            assert in_window / 4 / WINDOW_S < floor
            return
        said.append((now, size))
