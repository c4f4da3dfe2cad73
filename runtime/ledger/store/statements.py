"""The SQL that both databases understand, made from the lists of columns. Only names of ours are put into it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from runtime.ledger.periods import DAY_MS, Period
from runtime.ledger.store.base import Where
from runtime.ledger.store.columns import COLUMNS, clean
from runtime.ledger.store.tally import DIMENSIONS, MEASURES, TAG_DIMENSIONS, TOTALS, Cut

ROW = ", ".join(COLUMNS)
HOURLY = ("hour_ms", *DIMENSIONS)
HOURLY_TAG = ("hour_ms", *TAG_DIMENSIONS)
TOTAL = ("dimension", "id", "period", "start_ms")
FILTERS = ("request_id", "attempt", "key", "team", "org", "route", "provider", "model", "outcome")

Query = tuple[str, list[Any]]
"""A statement with `?` for each of its values."""


@lru_cache(maxsize=256)
def numbered(sql: str) -> str:
    """For Postgres: `?` as `$1`, `$2` and so on; no statement of ours holds another question mark."""
    first, *others = sql.split("?")
    return first + "".join(f"${place}{other}" for place, other in enumerate(others, start=1))


def places(count: int) -> str:
    return f"({', '.join('?' * count)})"


@dataclass(frozen=True, slots=True)
class Insert:
    """Rows into a table. `otherwise` says what happens to one whose key is there."""

    table: str
    columns: tuple[str, ...]
    otherwise: str

    def of(self, rows: int) -> str:
        """For so many rows, whose values come one after the other."""
        each = places(len(self.columns))
        return (
            f"insert into {self.table} ({', '.join(self.columns)}) values {', '.join([each] * rows)} {self.otherwise}"
        )


def adding(table: str, keys: tuple[str, ...], sums: tuple[str, ...]) -> Insert:
    """Add to the sums of these keys, from nothing where there are none yet."""
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in sums)
    return Insert(table, (*keys, *sums), f"on conflict ({', '.join(keys)}) do update set {added}")


ADD_HOURLY = adding("hourly", HOURLY, MEASURES)
ADD_TAGGED = adding("hourly_tag", HOURLY_TAG, MEASURES)
ADD_TOTAL = adding("total", TOTAL, TOTALS)
NEW_ROWS = Insert("attempt", COLUMNS, "on conflict do nothing")
CORRECT = f"update attempt set {', '.join(f'{name} = ?' for name in COLUMNS)} where attempt = ?"


def cells(cut: Cut) -> Query:
    """Columns: the start, the dimensions of `cut.by`, then `MEASURES`."""
    match cut.each:
        case Period.HOUR:
            start = "hour_ms"
        case Period.DAY:
            start = f"hour_ms - hour_ms % {DAY_MS}"
        case _:
            start = "0"
    # Sums of integers are wider than integers in Postgres.
    sums = ", ".join(f"cast(sum({name}) as bigint)" for name in MEASURES)
    where, values = _only(cut.only, (*TAG_DIMENSIONS, *DIMENSIONS))
    groups = ", ".join(str(place + 1) for place in range(1 + len(cut.by)))
    table = "hourly_tag" if cut.tagged else "hourly"
    return (
        f"select {', '.join((start + ' as start_ms', *cut.by))}, {sums} from {table} "
        f"where hour_ms >= ? and hour_ms < ?{where} group by {groups} order by {groups}",
        [cut.since_ms, cut.until_ms, *values],
    )


def rows(where: Where, after: tuple[int, int] | None, limit: int) -> Query:
    """Columns: `seq`, then `COLUMNS`. `after` is the (at_ms, seq) of the last row of the page before."""
    only, values = _where(where)
    since, seq = after if after else (where.since_ms, -1)
    return (
        f"select seq, {ROW} from attempt where (at_ms, seq) > (?, ?) and at_ms < ?{only} order by at_ms, seq limit ?",
        [since, seq, where.until_ms, *values, limit],
    )


def newest(where: Where, after: int, limit: int) -> Query:
    """Columns as for `rows`. Without `after` the index by time is walked backwards, with it that by number."""
    only, values = _where(where)
    if after:
        return f"select seq, {ROW} from attempt where seq > ?{only} order by seq desc limit ?", [after, *values, limit]
    return (
        f"select seq, {ROW} from attempt where at_ms >= ?{only} order by at_ms desc, seq desc limit ?",
        [where.since_ms, *values, limit],
    )


def _where(where: Where) -> Query:
    named = {name: value for name, value in where.only.items() if name != "tag"}
    only, values = _only(named, FILTERS)
    if (tag := where.only.get("tag")) is not None:
        # Tags are JSON: a tag in its quotes stands in no other. Both databases know `replace`.
        only += " and replace(tags, ?, '') != tags"
        values.append(json.dumps(clean(tag)))
    return only, values


def _only(only: Mapping[str, str], allowed: Sequence[str]) -> Query:
    if unknown := set(only).difference(allowed):
        raise ValueError(f"rows are not looked up by {', '.join(sorted(unknown))}; there are {', '.join(allowed)}")
    return "".join(f" and {name} = ?" for name in only), list(only.values())


def documents(kind: str, wanted: Mapping[str, str | None]) -> Query:
    said = {name: value for name, value in wanted.items() if value is not None}
    where, values = _only(said, ("id", "parent", "sha256"))
    return (
        f"select kind, id, parent, sha256, version, body from document where kind = ?{where} order by id",
        [kind, *values],
    )


PUT_DOCUMENT = (
    "insert into document (kind, id, parent, sha256, version, body) values (?, ?, ?, ?, 1, ?) "
    "on conflict (kind, id) do update set parent = excluded.parent, sha256 = excluded.sha256, "
    "version = document.version + 1, body = excluded.body"
)
DROP_DOCUMENT = "delete from document where kind = ? and id = ?"
PUT_AUDIT = 'insert into audit (at_ms, who, what, subject, "before", "after") values (?, ?, ?, ?, ?, ?)'
AUDIT = 'select seq, at_ms, who, what, subject, "before", "after" from audit where seq > ? order by seq limit ?'
TAKE_EPOCH = "update mark set number = number + 1, word = ? where name = 'epoch' returning number"
MARKS = "select name, number from mark"
SET_FOLDED = "update mark set number = ? where name = 'folded_ms' and number < ?"


def totals(starts: Mapping[Period, int]) -> Query:
    these = " or ".join("(period = ? and start_ms = ?)" for _ in starts)
    return (
        f"select {', '.join((*TOTAL, *TOTALS))} from total where {these}",
        [value for period, start in starts.items() for value in (period.value, start)],
    )


def coarser(before_ms: int) -> list[Query]:
    """Sums of hours before this moment as sums of their days, each in its first hour. Again, it changes nothing."""
    found: list[Query] = []
    for table, keys in (("hourly", HOURLY), ("hourly_tag", HOURLY_TAG)):
        names = ", ".join((*keys, *MEASURES))
        day = f"hour_ms - hour_ms % {DAY_MS}"
        dimensions = ", ".join(keys[1:])
        sums = ", ".join(f"cast(sum({name}) as bigint)" for name in MEASURES)
        added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in MEASURES)
        late = f"hour_ms < ? and hour_ms % {DAY_MS} != 0"
        found.append(
            (
                f"insert into {table} ({names}) select {day}, {dimensions}, {sums} from {table} where {late} "
                f"group by {day}, {dimensions} on conflict ({', '.join(keys)}) do update set {added}",
                [before_ms],
            )
        )
        found.append((f"delete from {table} where {late}", [before_ms]))
    return found


def stale_totals(starts: Mapping[Period, int]) -> list[Query]:
    """Totals of periods that no budget asks for any more; the hourly sums still hold what is in them."""
    return [
        ("delete from total where period = ? and start_ms < ?", [period.value, start])
        for period, start in starts.items()
        if period is not Period.TOTAL
    ]
