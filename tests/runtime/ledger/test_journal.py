"""What a crash leaves of a journal is read up to its last whole record, and each attempt becomes one row."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.ledger import journal
from runtime.ledger.journal import MAGIC, Record, intent_frame, pack, read, recover, seed_of, settlement_frame, unpack
from runtime.ledger.rows import Account, Flag, Intent, Row, Settlement
from runtime.outcome import Cost, FailureKind, Usage
from tests.runtime.ledger.rows_of import intent, intents, row, settlement, settlements

SEED = seed_of("w1", 1)


def frame(record: Record, seed: int = SEED) -> bytes:
    return intent_frame(record, seed) if isinstance(record, Intent) else settlement_frame(record, seed)


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    """Intents and settlements of some attempts, mixed; a settlement comes after its intent."""
    written: list[Record] = []
    waiting: list[str] = []
    for number in range(draw(st.integers(0, 6))):
        written.append(replace(draw(intents), attempt=f"w1-{number}"))
        waiting.append(f"w1-{number}")
        while waiting and draw(st.booleans()):
            written.append(replace(draw(settlements), attempt=waiting.pop(draw(st.integers(0, len(waiting) - 1)))))
    return written


@given(records())
def test_what_was_written_is_read(written: list[Record]) -> None:
    found = read(MAGIC + b"".join(map(frame, written)), SEED)
    assert found.records == written
    assert found.unread == 0


@given(st.lists(st.tuples(intents, settlements), max_size=4))
def test_what_is_packed_for_the_ledger_is_unpacked_there(pairs: list[tuple[Intent, Settlement]]) -> None:
    rows = tuple(Row(intent=one, settlement=two) for one, two in pairs)
    assert unpack(pack(rows)) == rows


@pytest.mark.parametrize("packed", [b"[[1]]", b"[1]", b"[[]]", b"{", b'[[[1,"a",1],[9]]]'])
def test_what_is_no_row_is_not_swallowed(packed: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # of JSON, or of what it says
        unpack(packed)


@given(records(), st.data())
def test_a_crash_at_any_byte_leaves_every_whole_record_once(written: list[Record], data: st.DataObject) -> None:
    frames = [frame(record) for record in written]
    whole = MAGIC + b"".join(frames)
    cut = data.draw(st.integers(0, len(whole)))
    ends = [len(MAGIC) + sum(map(len, frames[: n + 1])) for n in range(len(frames))]
    kept = written[: sum(end <= cut for end in ends)]
    found = read(whole[:cut], SEED)
    assert found.records == kept
    assert found.unread == cut - max([end for end in (len(MAGIC), *ends) if end <= cut], default=0)
    assert found.torn or not found.unread
    rows = recover(found.records)
    settled = {one.attempt: one for one in kept if isinstance(one, Settlement)}
    begun = {one.attempt for one in kept if isinstance(one, Intent)}
    sent = {attempt for attempt in begun if attempt not in settled or not settled[attempt].unsent}
    assert sorted(one.intent.attempt for one in rows) == sorted(sent)
    for one in rows:
        assert one.settlement == settled.get(one.intent.attempt, one.settlement)
        assert (Flag.LOST in one.settlement.flags) >= (one.intent.attempt not in settled)


@given(records(), st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4))
def test_what_is_damaged_is_never_taken_for_a_record(written: list[Record], blows: list[tuple[int, int]]) -> None:
    whole = bytearray(MAGIC + b"".join(map(frame, written)))
    for at, blow in blows:
        whole[at % len(whole)] ^= blow
    found = read(bytes(whole), SEED)
    assert found.records == written[: len(found.records)]


@given(st.binary(max_size=300))
def test_anything_at_all_is_read_without_a_complaint(data: bytes) -> None:
    assert read(data, SEED).records == []
    assert read(MAGIC + data, SEED).records == []


def test_zeros_at_the_end_are_a_torn_tail_and_damage_in_the_middle_is_not() -> None:
    whole = MAGIC + frame(intent("w1-1")) + frame(settlement("w1-1"))
    zeros = read(whole + bytes(100), SEED)
    assert (len(zeros.records), zeros.unread, zeros.torn) == (2, 100, True)
    damaged = bytearray(whole)
    damaged[30] ^= 1
    found = read(bytes(damaged), SEED)
    assert (found.records, found.torn) == ([], False)
    assert found.unread == len(whole) - len(MAGIC)


def test_a_piece_of_another_segment_is_not_believed() -> None:
    assert read(MAGIC + frame(intent("w1-1"), seed_of("w1", 2)), SEED).records == []


def test_an_intent_without_its_settlement_costs_its_hold() -> None:
    (found,) = recover([intent("w1-1")])
    assert found.cost_nanousd == 5_000
    assert found.settlement.outcome == FailureKind.INTERRUPTED
    assert found.flags == Flag.STREAMED | Flag.LOST | Flag.ESTIMATED


def test_where_no_price_was_known_a_lost_attempt_costs_nobody_knows_what() -> None:
    (found,) = recover([intent("w1-1", hold_nanousd=None)])
    assert found.cost_nanousd is None
    assert Flag.UNPRICED in found.flags


def test_an_attempt_is_one_row_however_often_it_was_written() -> None:
    twice: list[Record] = [intent("w1-1"), intent("w1-1"), settlement("w1-1"), settlement("w1-1"), settlement("w1-2")]
    assert recover(twice) == [row("w1-1")]


def test_what_was_never_sent_is_no_row() -> None:
    assert recover([intent("w1-1"), settlement("w1-1", unsent=True)]) == []


def test_a_record_that_json_cannot_say_is_written_as_far_as_it_can() -> None:
    odd = intent("w1-1", model="\ud800", route="x" * 200_000, hold_nanousd=10**30)
    many = settlement("w1-1", usage=Usage(input_tokens=10**40), cost=Cost(total_nanousd=10**30), latency_ms=1.0)
    (found,) = recover(read(MAGIC + frame(odd) + frame(many), SEED).records)
    assert found.intent.model == "?"
    assert len(found.intent.route) == journal.LONG_TEXT
    assert found.intent.hold_nanousd == found.cost_nanousd == 2**63 - 1


# Versions.


def framed(said: object) -> bytes:
    body = orjson.dumps(said)
    total = len(body).to_bytes(4, "little") + body
    return journal.zlib.crc32(total, SEED).to_bytes(4, "little") + total


def test_an_older_writers_shorter_record_takes_defaults() -> None:
    found = read(MAGIC + framed([1, "a-1", 5, "r"]) + framed([2, "a-1", 6, "ok"]), SEED)
    assert found.records == [
        Intent(attempt="a-1", at_ms=5, request_id="r"),
        Settlement(attempt="a-1", at_ms=6, outcome="ok"),
    ]


def test_a_later_writers_longer_record_is_read_as_far_as_it_is_known() -> None:
    said = orjson.loads(frame(intent("a-1"))[8:])
    said[4].append("new")
    later = framed([*said, "new"]) + framed([9, "something", "else"]) + frame(settlement("a-1"))
    assert read(MAGIC + later, SEED).records == [intent("a-1"), settlement("a-1")]
    usage = framed([2, "a-1", 6, "ok", {"input_tokens": 4, "novel_tokens": 5}])
    assert read(MAGIC + usage, SEED).records == [
        Settlement(attempt="a-1", at_ms=6, outcome="ok", usage=Usage(input_tokens=4))
    ]


@pytest.mark.parametrize(
    ("cls", "known"),
    [
        (Intent, "attempt at_ms request_id account route provider model hold_nanousd lease flags"),
        (Settlement, "attempt at_ms outcome usage cost latency_ms ttft_ms flags unsent"),
        (Account, "key team org tags strict"),
    ],
)
def test_every_field_is_written_and_new_ones_come_at_the_end(cls: type, known: str) -> None:
    """Whoever adds a field adds it to the journal, behind the others, and here."""
    assert [field.name for field in dataclasses.fields(cls)] == known.split()


def test_reading_is_the_same_whoever_reads_and_whenever() -> None:
    rng = random.Random(7)
    written = [intent(f"w1-{n}") for n in range(20)] + [settlement(f"w1-{n}") for n in rng.sample(range(20), 12)]
    data = MAGIC + b"".join(map(frame, written))
    assert recover(read(data, SEED).records) == recover(read(data, SEED).records)
    assert {type(one) for one in recover(read(data, SEED).records)} == {Row}
