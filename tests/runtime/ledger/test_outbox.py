"""What waits for the ledger is sent once, kept in bounds, and gone only when it was acknowledged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.ledger.outbox import Outbox
from runtime.ledger.rows import Row
from tests.runtime.ledger.rows_of import row


def names(rows: tuple[Row, ...]) -> list[str]:
    return [one.intent.attempt for one in rows]


def test_a_segment_is_done_once_all_its_rows_are_acknowledged() -> None:
    box = Outbox()
    for n, segment in enumerate((1, 1, 2)):
        box.add(row(f"w-{n}"), segment)
    assert names(box.take(1)) == ["w-0"]
    box.sent()
    assert not box.is_done(1)
    assert names(box.take(9)) == ["w-1", "w-2"]
    assert not box.is_done(1), "under way is not acknowledged"
    box.sent()
    assert box.is_done(1)
    assert box.is_done(2)
    assert box.empty


def test_what_did_not_get_through_goes_first_next_time() -> None:
    box = Outbox()
    for n in range(4):
        box.add(row(f"w-{n}"), 1)
    box.take(2)
    box.add(row("w-4"), 1)
    box.unsent()
    assert names(box.take(9)) == [f"w-{n}" for n in range(5)]


def test_too_many_are_left_to_the_journal() -> None:
    box = Outbox(most=3)
    for n in range(4):
        box.add(row(f"w-{n}"), 1)
    assert box.is_full
    box.spill(2)
    assert (len(box), box.spilled) == (0, 1)
    assert not box.is_done(1)
    box.read_again(1)
    assert box.is_done(1)


def test_rows_that_are_nowhere_else_are_kept_and_given_up_last() -> None:
    box = Outbox(most=2)
    for n in range(3):
        box.add(row(f"w-{n}"), None)
    assert box.given_up == 1
    box.spill(9)
    assert names(box.take(9)) == ["w-1", "w-2"]


@given(st.lists(st.sampled_from(["add", "unwritten", "take", "sent", "unsent", "rotate", "reread"]), max_size=60))
def test_every_row_is_sent_at_least_once_whatever_happens(steps: list[str]) -> None:  # noqa: PLR0912  # one a step
    box = Outbox(most=5)
    segment, count, under_way = 1, 0, ()
    disk: dict[int, list[str]] = {}
    got: set[str] = set()
    for step in [*steps, "sent", "drain"]:
        match step:
            case "add":
                box.add(row(f"w-{count}"), segment)
                disk.setdefault(segment, []).append(f"w-{count}")
                count += 1
            case "unwritten" if count < 5:
                box.add(row(f"w-{count}"), None)
                count += 1
            case "take" if not under_way:
                under_way = box.take(3)
            case "sent":
                box.sent()
                got |= set(names(under_way))
                under_way = ()
            case "unsent":
                box.unsent()
                under_way = ()
            case "rotate":
                segment += 1
                box.spill(segment)
            case "reread" if box.spilled is not None:
                got |= set(disk[box.spilled])
                box.read_again(box.spilled)
            case "drain":
                while rows := box.take(3):
                    got |= set(names(rows))
                    box.sent()
                while box.spilled is not None:
                    got |= set(disk[box.spilled])
                    box.read_again(box.spilled)
        for one in range(1, segment):
            if box.is_done(one):
                assert set(disk.get(one, [])) <= got
    assert got == {f"w-{n}" for n in range(count)}
    assert box.empty
