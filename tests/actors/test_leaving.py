"""An actor that nobody wants any more ends, but not under its calls."""

from __future__ import annotations

from actors.leaving import HEARD_S, Leaving

SOON = HEARD_S + 0.1


def leaving(*, longest_s: float = 60.0) -> Leaving:
    ours = Leaving()
    ours.let_go("provider:alpha", "alpha", 0.0, longest_s=longest_s)
    return ours


def calls(count: int) -> dict[str, int]:
    return {"alpha": count}


def test_it_ends_once_its_last_call_is_over() -> None:
    ours = leaving()
    assert ours.due(SOON, calls(1).__getitem__) == []
    assert ours.due(SOON + 1.0, calls(0).__getitem__) == ["provider:alpha"]
    assert ours.due(SOON + 2.0, calls(0).__getitem__) == []


def test_it_does_not_end_before_every_edge_has_heard_of_it() -> None:
    assert leaving().due(HEARD_S - 0.1, calls(0).__getitem__) == []


def test_calls_longer_than_calls_may_last_do_not_hold_it() -> None:
    ours = leaving(longest_s=10.0)
    assert ours.due(HEARD_S + 9.9, calls(1).__getitem__) == []
    assert ours.due(HEARD_S + 10.0, calls(1).__getitem__) == ["provider:alpha"]


def test_it_stays_if_it_is_wanted_again() -> None:
    ours = leaving()
    ours.stays("provider:alpha")
    assert ours.due(1e9, calls(0).__getitem__) == []


def test_to_be_let_go_again_does_not_lengthen_its_time() -> None:
    ours = leaving(longest_s=10.0)
    ours.let_go("provider:alpha", "alpha", 9.0, longest_s=10.0)
    assert ours.due(HEARD_S + 10.0, calls(1).__getitem__) == ["provider:alpha"]
