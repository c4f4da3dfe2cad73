"""Exports: every row once, nothing invented, any number of rows in little memory."""

from __future__ import annotations

import csv
import io
import json
import sys
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pyarrow.parquet
import pytest

from runtime.ledger.export import FIELDS, Format, export
from runtime.ledger.rows import Flag, Row
from runtime.ledger.store.base import Store, StoreFailure, Trouble, Where
from runtime.outcome import Usage
from tests.ledger.rows import NOON, row
from tests.ledger.test_store import appended


def searched() -> Row:
    plain = row("w:searched", at_ms=NOON + 1, cost=None, model='=HYPERLINK("x")', flags=Flag.STREAMED | Flag.UNPRICED)
    usage = Usage(input_tokens=5, server_tool_calls={"web_search": 2})
    return replace(plain, settlement=replace(plain.settlement, usage=usage, ttft_ms=None))


async def exported(store: Store, to: Format, **more: Any) -> bytes:
    parts = []
    async for chunk in export(store, Where(), to, **more):
        assert not isinstance(chunk, StoreFailure), chunk
        parts.append(chunk)
    return b"".join(parts)


async def test_csv_has_a_line_for_each_row_and_no_zero_for_the_unknown(store: Store) -> None:
    await appended(store, row(), searched())
    found = list(csv.DictReader(io.StringIO((await exported(store, Format.CSV)).decode())))
    assert tuple(found[0]) == FIELDS
    assert [line["cost_nanousd"] for line in found] == ["1000", ""]
    assert [line["tags"] for line in found] == ["prod chat", "prod chat"]
    assert [line["flags"] for line in found] == ["", "unpriced streamed"]
    assert found[1]["server_tool_calls"] == "web_search=2"


async def test_a_name_that_a_spreadsheet_would_run_is_only_text(store: Store) -> None:
    await appended(store, searched())
    (found,) = csv.DictReader(io.StringIO((await exported(store, Format.CSV)).decode()))
    assert found["model"].startswith("'=")


async def test_json_lines_hold_what_the_ledger_holds(store: Store) -> None:
    await appended(store, row(), searched())
    found = [json.loads(line) for line in (await exported(store, Format.JSON)).splitlines()]
    assert [line["cost_nanousd"] for line in found] == [1000, None]
    assert found[0]["tags"] == ["prod", "chat"]
    assert found[1]["server_tool_calls"] == {"web_search": 2}
    assert found[1]["model"] == '=HYPERLINK("x")'


async def test_parquet_is_read_by_others(store: Store) -> None:
    await appended(store, *(row(f"w:{n}", at_ms=NOON + n) for n in range(10)), searched())
    data = await exported(store, Format.PARQUET, page=4)
    table = pyarrow.parquet.read_table(io.BytesIO(data))
    assert table.num_rows == 11
    assert table.column_names == list(FIELDS)
    assert table.column("cost_nanousd").null_count == 1
    (tools,) = [dict(each) for each in table.column("server_tool_calls").to_pylist() if each]
    assert tools == {"web_search": 2}
    assert table.column("at_ms")[0].as_py().timestamp() * 1000 == NOON


@pytest.mark.parametrize("to", list(Format))
async def test_an_empty_ledger_is_an_empty_file(store: Store, to: Format) -> None:
    data = await exported(store, to)
    if to is Format.PARQUET:
        assert pyarrow.parquet.read_table(io.BytesIO(data)).num_rows == 0
    else:
        assert data.decode().splitlines() == ([",".join(FIELDS)] if to is Format.CSV else [])


async def test_without_pyarrow_it_is_said_what_to_install(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (failure,) = [chunk async for chunk in export(store, Where(), Format.PARQUET)]
    assert isinstance(failure, StoreFailure)
    assert failure.kind is Trouble.MISSING
    assert "raygate[parquet]" in failure.detail


class Endless:
    """A store with as many rows as asked for, made as they are read."""

    def __init__(self, pages: int) -> None:
        self._pages = pages

    async def rows(self, where: Where, *, page: int = 2000) -> AsyncIterator[tuple[Row, ...] | StoreFailure]:
        for n in range(self._pages):
            yield tuple(row(f"w:{n}:{m}") for m in range(page))


@pytest.mark.parametrize("to", list(Format))
async def test_ten_times_the_rows_need_no_more_memory(to: Format) -> None:
    async def peak(pages: int) -> int:
        tracemalloc.start()
        try:
            async for _ in export(cast(Store, Endless(pages)), Where(), to, page=100):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    await peak(2)
    assert await peak(30) < 1.5 * await peak(3) + 200_000


async def test_a_failure_in_the_middle_is_the_last_thing_said() -> None:
    class Breaks(Endless):
        async def rows(self, where: Where, *, page: int = 2000) -> AsyncIterator[tuple[Row, ...] | StoreFailure]:
            yield (row(),)
            yield StoreFailure(kind=Trouble.CORRUPT, detail="a page is broken")

    chunks = [chunk async for chunk in export(cast(Store, Breaks(1)), Where(), Format.JSON)]
    assert isinstance(chunks[-1], StoreFailure)
    assert isinstance(chunks[-2], bytes)
