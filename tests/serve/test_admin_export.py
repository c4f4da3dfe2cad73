"""The ledger's rows as a file over HTTP: whole, or visibly not."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pyarrow.parquet
import pytest

from runtime.ledger.rows import Account
from runtime.outcome import Failure, FailureKind
from tests.ledger.rows import ALICE, row
from tests.serve.office import NOW, Office

NOW_MS = round(NOW * 1_000)
ROWS = 5_000
BOB = Account(key="bob", team="red")


async def spent(office: Office, rows: int = 3) -> None:
    found = [
        row(f"w:{n}", at_ms=NOW_MS - 60_000 + n, account=BOB if n % 5 == 0 else ALICE, cost=None if n == 1 else n)
        for n in range(rows)
    ]
    done = await office.ledger._store.append(found)
    assert done.changes  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("asked", "kind", "ending"),
    [
        ("format=csv", "text/csv; charset=utf-8", "30d.csv"),
        ("format=jsonl&last=7d", "application/x-ndjson", "7d.jsonl"),
        ("format=parquet", "application/vnd.apache.parquet", "30d.parquet"),
        ("", "text/csv; charset=utf-8", "30d.csv"),
    ],
)
async def test_a_file_says_what_it_is(office: Office, asked: str, kind: str, ending: str) -> None:
    await spent(office)
    call = await office.ask("GET", f"export?{asked}")
    assert call.status == 200
    assert call.headers["content-type"] == kind
    assert call.headers["content-disposition"] == f'attachment; filename="raygate-{ending}"'
    assert "content-length" not in call.headers
    assert call.ended


async def test_every_row_is_in_it_once_and_it_comes_in_pieces(office: Office) -> None:
    await spent(office, ROWS)
    call = await office.ask("GET", "export?format=jsonl")
    lines = [json.loads(line) for line in call.body.splitlines()]
    assert sorted(line["attempt"] for line in lines) == sorted(f"w:{n}" for n in range(ROWS))
    assert lines[1]["cost_nanousd"] is None
    assert sum(bool(message.get("body")) for message in call.sent) > 2


async def test_it_holds_only_what_was_asked_for(office: Office) -> None:
    await spent(office, 10)
    call = await office.ask("GET", "export?format=csv&team=red")
    found = list(csv.DictReader(io.StringIO(call.body.decode())))
    assert [(line["key"], line["attempt"]) for line in found] == [("bob", "w:0"), ("bob", "w:5")]


async def test_parquet_can_be_read(office: Office) -> None:
    await spent(office, 10)
    table = pyarrow.parquet.read_table(io.BytesIO((await office.ask("GET", "export?format=parquet")).body))
    assert table.num_rows == 10
    assert table["cost_nanousd"].null_count == 1


@pytest.mark.parametrize(("asked", "lines"), [("csv", 1), ("jsonl", 0)])
async def test_nothing_is_a_whole_file_too(office: Office, asked: str, lines: int) -> None:
    call = await office.ask("GET", f"export?format={asked}")
    assert (call.status, call.ended, len(call.body.splitlines())) == (200, True, lines)


async def test_only_an_admin_gets_it(office: Office) -> None:
    made = await office.got("POST", "keys", {})
    assert (await office.ask("GET", "export", key=made["key"])).status == 403


class Breaks:
    """A ledger that goes away after so many pieces of a file."""

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces

    async def export(self, to: str, last: str, only: Mapping[str, str]) -> AsyncGenerator[bytes | Failure]:
        for n in range(self.pieces):
            yield b"%d\r\n" % n
        yield Failure(kind=FailureKind.UNAVAILABLE, detail="the ledger is away; try again in a moment")


async def test_one_that_breaks_off_does_not_look_whole(office: Office) -> None:
    office.served.edge.ledger = Breaks(2)
    call = await office.ask("GET", "export")
    assert (call.status, call.body) == (200, b"0\r\n1\r\n")
    assert not call.ended


async def test_one_that_never_begins_is_an_error_like_any_other(office: Office) -> None:
    office.served.edge.ledger = Breaks(0)
    call = await office.ask("GET", "export")
    assert call.status == 503
    assert "the ledger is away" in call.error()["message"]


async def test_without_pyarrow_parquet_is_refused_with_what_to_do(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    call = await office.ask("GET", "export?format=parquet")
    error: dict[str, Any] = call.error()
    assert (call.status, error["param"]) == (400, "format")
    assert "pip install" in error["message"]
