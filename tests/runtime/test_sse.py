from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dialects.ndjson import LineParser, LineTooLong
from runtime.dialects.sse import SseEvent, SseParser, SseTooLarge


def read(wire: bytes, *cuts: int, limit: int = 1000) -> list[SseEvent | SseTooLarge]:
    parser, edges = SseParser(max_event_bytes=limit), [0, *sorted(cuts), len(wire)]
    return [event for a, b in pairwise(edges) for event in parser.feed(wire[a:b])]


@pytest.mark.parametrize(
    ("wire", "events"),
    [
        (b"data: one\n\n", [SseEvent(b"one")]),
        (b"data:one\r\n\r\ndata: two\r\rdata: three\n\r\n", [SseEvent(b"one"), SseEvent(b"two"), SseEvent(b"three")]),
        (b"data: a\ndata: b\n\n", [SseEvent(b"a\nb")]),
        (b"data\n\ndata:\n\n", [SseEvent(b""), SseEvent(b"")]),
        (b": a comment\n\n:\ndata:  two spaces\n\n", [SseEvent(b" two spaces")]),
        (b"event: error\ndata: x\n\ndata: y\n\n", [SseEvent(b"x", "error"), SseEvent(b"y")]),
        (b"event: lost\n\ndata: y\n\n", [SseEvent(b"y")]),
        (b"\xef\xbb\xbfdata: after a BOM\n\n", [SseEvent(b"after a BOM")]),
        (b"id: 1\nretry: 5\nnonsense\ndata: z\n\n", [SseEvent(b"z")]),
        (b"data: unfinished\n", []),
    ],
)
def test_framing(wire: bytes, events: list[SseEvent]) -> None:
    assert read(wire) == events
    assert read(wire, *range(len(wire))) == events


MESSY = b"\xef\xbb\xbf: hi\r\nevent: a\r\ndata: one\r\n\r\ndata: two\rdata: lines\r\r\n\ndata:three\n\n: bye\ndata: cut"


@given(st.lists(st.integers(0, len(MESSY))))
def test_any_split_reads_the_same(cuts: list[int]) -> None:
    assert read(MESSY, *cuts) == [SseEvent(b"one", "a"), SseEvent(b"two\nlines"), SseEvent(b"three")]


@given(
    st.lists(st.sampled_from([b"\n", b"\r", b"data: x", b"data", b":c", b"event: e", b"\xef\xbb\xbf", b" "])), st.data()
)
def test_any_bytes_split_anyhow_read_the_same(pieces: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(pieces)
    cuts = data.draw(st.lists(st.integers(0, len(wire))))
    limit = data.draw(st.integers(5, 40))
    assert read(wire, *cuts, limit=limit) == read(wire, limit=limit)


@pytest.mark.parametrize("wire", [b"data: " + b"x" * 50, b":" + b"x" * 50, b"data: xxxxxxxx\n" * 9])
def test_an_event_past_the_cap_is_an_explicit_value(wire: bytes) -> None:
    whole = b"data: fine\n\n" + wire + b"\n\ndata: never read\n\n"
    expected = [SseEvent(b"fine"), SseTooLarge(40)]
    assert read(whole, limit=40) == expected
    assert read(whole, *range(len(whole)), limit=40) == expected


def test_finish_gives_what_lacks_its_blank_line() -> None:
    parser = SseParser()
    assert parser.feed(b"data: [DONE]") == []
    assert parser.pending
    assert parser.finish() == SseEvent(b"[DONE]")
    assert parser.finish() is None


def test_finish_after_a_whole_event_gives_nothing() -> None:
    parser = SseParser()
    parser.feed(b"data: x\n\n: comment")
    assert parser.finish() is None


LINES = b'{"a":1}\n\n  \r\n{"b":2}\r\n{"c"'


@given(st.lists(st.integers(0, len(LINES))))
def test_lines_split_anyhow_read_the_same(cuts: list[int]) -> None:
    parser, edges = LineParser(), [0, *sorted(cuts), len(LINES)]
    lines = [line for a, b in pairwise(edges) for line in parser.feed(LINES[a:b])]
    assert lines == [b'{"a":1}', b'{"b":2}\r']
    assert parser.finish() == b'{"c"'


def test_a_line_past_the_cap_is_an_explicit_value() -> None:
    parser = LineParser(max_line_bytes=10)
    assert parser.feed(b"short\n" + b"x" * 6) == [b"short"]
    assert parser.feed(b"x" * 6) == [LineTooLong(10)]
    assert parser.feed(b"\nshort\n") == []
