"""The failure window: what is remembered, for how long, and of whom."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.window import Window


def test_a_new_lap_does_not_forget_the_old_one() -> None:
    """A known breaker forgot 59 events of 59.9 s at 60.1 s, as its counters began anew with each lap."""
    window = Window(span_s=60.0, slots=60)
    window.add(59.9, good=0, bad=59, edge="a")
    assert window.tally(60.1).bad == 59


def test_what_is_too_old_is_forgotten_even_if_nothing_came_since() -> None:
    window = Window(span_s=10.0, slots=10)
    window.add(0.5, good=1, bad=1, edge="a")
    assert window.tally(9.9).total == 2
    assert window.tally(10.5).total == 0
    assert window.tally(1_000_000.0).total == 0


def test_complainants_are_distinct_edges_that_saw_failures() -> None:
    window = Window()
    for edge, bad in (("a", 1), ("a", 2), ("b", 0), ("c", 1)):
        window.add(5.0, good=3, bad=bad, edge=edge)
    assert window.tally(6.0).complainants == 2
    assert window.tally(6.0).failure_rate == 4 / 16


def test_a_cleared_window_is_empty() -> None:
    window = Window()
    window.add(5.0, good=1, bad=1, edge="a")
    window.clear()
    assert window.tally(5.0).total == 0
    assert window.tally(5.0).failure_rate == 0.0


@given(
    events=st.lists(st.tuples(st.floats(0, 20), st.integers(0, 3), st.integers(0, 3)), max_size=30),
    then_s=st.floats(0, 20),
)
def test_it_counts_the_span_give_or_take_a_slot(events: list[tuple[float, int, int]], then_s: float) -> None:
    span_s, width_s, window = 10.0, 1.0, Window(span_s=10.0, slots=10)
    now, seen = 100.0, []
    for gap_s, good, bad in events:
        now += gap_s
        window.add(now, good=good, bad=bad, edge="a")
        seen.append((now, good + bad))
    now += then_s
    young = sum(count for at, count in seen if at > now - span_s + width_s)
    not_old = sum(count for at, count in seen if at > now - span_s - width_s)
    assert young <= window.tally(now).total <= not_old


def test_what_reached_nobody_is_part_of_the_failures() -> None:
    window = Window()
    window.add(5.0, good=2, bad=6, unreached=4, edge="a")
    assert (window.tally(5.0).failure_rate, window.tally(5.0).unreached_rate) == (0.75, 0.5)
    window.add(105.0, good=0, bad=0, edge="a")
    assert window.tally(105.0).unreached == 0
