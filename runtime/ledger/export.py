"""The rows of the ledger as CSV, JSON lines or Parquet: a page at a time, so that any number fits into memory.

    async for chunk in export(store, where, Format.CSV):      bytes to send or write
        if isinstance(chunk, StoreFailure): …                 the last item, if reading failed: what came is not all

An unknown cost is an empty field in CSV, null in JSON and Parquet.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from runtime.ledger.rows import Flag, Row
from runtime.ledger.store.base import Store, StoreFailure, Trouble, Where
from runtime.ledger.store.columns import COLUMNS, flat, tags_of

if TYPE_CHECKING:
    import pyarrow as pa

PAGE = 2_000

NO_PARQUET = "pyarrow is not installed; pip install 'raygate[parquet]', or take CSV or JSON lines"

FLAGS = tuple(flag for flag in Flag if flag.name)

FIELDS = tuple(name for name in COLUMNS if name != "more")
"""What is exported: the ledger's columns by their names."""

_PLACES = tuple(COLUMNS.index(name) for name in FIELDS)
_TAGS, _FLAGS, _TOOLS, _WAS = (FIELDS.index(name) for name in ("tags", "flags", "server_tool_calls", "was_nanousd"))


class Format(StrEnum):
    CSV = "csv"
    JSON = "jsonl"
    PARQUET = "parquet"


async def export(store: Store, where: Where, to: Format, *, page: int = PAGE) -> AsyncIterator[bytes | StoreFailure]:
    """In the order of time. MISSING, before anything else, where Parquet is asked for and pyarrow is not there."""
    try:
        writer = _WRITERS[to]()
    except ImportError:
        yield StoreFailure(kind=Trouble.MISSING, detail=NO_PARQUET)
        return
    yield writer.head()
    async for rows in store.rows(where, page=page):
        if isinstance(rows, StoreFailure):
            yield rows
            return
        yield writer.rows(record(row) for row in rows)
    if tail := writer.tail():
        yield tail


def record(row: Row) -> tuple[Any, ...]:
    """The values of `FIELDS`: tags and flags as lists of names, and the provider's tools with their counts."""
    values = flat(row)
    said = [values[place] for place in _PLACES]
    said[_TAGS] = list(tags_of(said[_TAGS]))
    said[_FLAGS] = [str(flag.name).lower() for flag in FLAGS if said[_FLAGS] & flag]
    said[_TOOLS] = dict(row.settlement.usage.server_tool_calls)
    said[_WAS] = row.was_nanousd
    return tuple(said)


class Csv:
    """RFC 4180, with a line of names. Lists are joined by spaces, tools are written as name=count."""

    def head(self) -> bytes:
        return self._lines([FIELDS])

    def rows(self, records: Iterable[tuple[Any, ...]]) -> bytes:
        return self._lines(map(_plain, records))

    def tail(self) -> bytes:
        return b""

    def _lines(self, values: Iterable[Iterable[Any]]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerows(values)
        return text.getvalue().encode()


def _plain(values: tuple[Any, ...]) -> list[Any]:
    said = list(values)
    said[_TAGS], said[_FLAGS] = " ".join(said[_TAGS]), " ".join(said[_FLAGS])
    said[_TOOLS] = " ".join(f"{name}={count}" for name, count in said[_TOOLS].items())
    return [_no_formula(value) if isinstance(value, str) else value for value in said]


def _no_formula(text: str) -> str:
    """Names come from callers, and a spreadsheet would run what begins like this."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


class JsonLines:
    def head(self) -> bytes:
        return b""

    def rows(self, records: Iterable[tuple[Any, ...]]) -> bytes:
        return b"".join(
            orjson.dumps(dict(zip(FIELDS, values, strict=True)), option=orjson.OPT_APPEND_NEWLINE) for values in records
        )

    def tail(self) -> bytes:
        return b""


class Parquet:
    """One row group for each page, so that a reader needs no more memory than the writer."""

    def __init__(self) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        self._arrow = pa
        self._schema = _schema(pa)
        self._out = _Drain()
        self._writer = ParquetWriter(pa.PythonFile(self._out, mode="w"), self._schema)

    def head(self) -> bytes:
        return self._out.taken()

    def rows(self, records: Iterable[tuple[Any, ...]]) -> bytes:
        columns = list(zip(*records, strict=True))
        columns[_TOOLS] = tuple(list(tools.items()) for tools in columns[_TOOLS])
        arrays = [
            self._arrow.array(values, type=field.type) for values, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_batch(self._arrow.record_batch(arrays, schema=self._schema))
        return self._out.taken()

    def tail(self) -> bytes:
        self._writer.close()
        return self._out.taken()


class _Drain(io.RawIOBase):
    """A file that only remembers what was written since it was last asked."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any, /) -> int:
        held = bytes(data)
        self._held.append(held)
        self._at += len(held)
        return len(held)

    def taken(self) -> bytes:
        held, self._held = b"".join(self._held), []
        return held


def _schema(arrow: Any) -> pa.Schema:
    text, number, real = arrow.string(), arrow.int64(), arrow.float64()
    kinds: Mapping[str, Any] = {
        **dict.fromkeys(("at_ms", "settled_ms"), arrow.timestamp("ms", tz="UTC")),
        **dict.fromkeys(("tags", "flags"), arrow.list_(text)),
        **dict.fromkeys(("latency_ms", "ttft_ms"), real),
        **dict.fromkeys(
            ("attempt", "request_id", "key", "team", "org", "route", "provider", "model", "lease", "outcome"), text
        ),
        "cost_source": text,
        "server_tool_calls": arrow.map_(text, number),
    }
    return arrow.schema([(name, kinds.get(name, number)) for name in FIELDS])


_WRITERS: Mapping[Format, Callable[[], Csv | JsonLines | Parquet]] = {
    Format.CSV: Csv,
    Format.JSON: JsonLines,
    Format.PARQUET: Parquet,
}
