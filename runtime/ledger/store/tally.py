"""What a batch of rows adds to the sums: pure, the same for every database.

    hourly      hour × org × team × key × route × provider × model     every report but those by tag
    hourly_tag  hour × org × team × key × tag                          a row with two tags counts in both
    total       account × period                                       what budgets are reloaded from

All are integers, so that sums are exact and a corrected row takes away exactly what it had added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from runtime.ledger.periods import HOUR_MS, Period, start_of
from runtime.ledger.rows import Flag
from runtime.ledger.store.columns import AT, COST_PARTS, TOKENS, Flat, tags_of

DIMENSIONS = ("org", "team", "key", "route", "provider", "model")
TAG_DIMENSIONS = ("org", "team", "key", "tag")
ACCOUNTS = ("org", "team", "key")

MEASURES = (
    "attempts",
    "ok",
    "cached",
    "cancelled",
    "partial",
    "hedged",
    "retried",
    "estimated",
    "lost",
    "reconciled",
    "overrun",
    "streamed",
    "unpriced",
    *TOKENS,
    "unpriced_input_tokens",
    "unpriced_output_tokens",
    "cost_nanousd",
    "input_nanousd",
    "output_nanousd",
    *COST_PARTS,
    "corrected_nanousd",
    "latency_us",
    "answered_first",
    "ttft_us",
)
"""What is summed. `unpriced` counts attempts that used something at an unknown price: no sum of money holds them.

`answered_first` counts those that had a time to first content, `ttft_us` sums it. `corrected_nanousd` is what
reconciling has added to the costs (or taken away) since they were first written.
"""

Counts = tuple[int, ...]
"""In the order of `MEASURES`."""

Hourly = tuple[int, str, str, str, str, str, str]
"""The hour, then `DIMENSIONS`."""

Tagged = tuple[int, str, str, str, str]
"""The hour, then `TAG_DIMENSIONS`."""

Account = tuple[str, str, str, int]
"""Dimension, id, period and its start."""

TOTALS = ("cost_nanousd", "unpriced", "attempts", "tokens")


class Sums(NamedTuple):
    """`MEASURES` by name."""

    attempts: int = 0
    ok: int = 0
    cached: int = 0
    cancelled: int = 0
    partial: int = 0
    hedged: int = 0
    retried: int = 0
    estimated: int = 0
    lost: int = 0
    reconciled: int = 0
    overrun: int = 0
    streamed: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    unpriced_input_tokens: int = 0
    unpriced_output_tokens: int = 0
    cost_nanousd: int = 0
    input_nanousd: int = 0
    output_nanousd: int = 0
    cached_input_nanousd: int = 0
    cache_write_nanousd: int = 0
    reasoning_nanousd: int = 0
    per_call_nanousd: int = 0
    corrected_nanousd: int = 0
    latency_us: int = 0
    answered_first: int = 0
    ttft_us: int = 0

    def plus(self, other: Sums) -> Sums:
        return Sums._make(mine + theirs for mine, theirs in zip(self, other, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which sums: of the hours that begin in [since_ms, until_ms), apart by `by` and by hour or day, or "all" as one.

    `by` is of `DIMENSIONS`, or holds "tag" and is of `TAG_DIMENSIONS`; so is what `only` names.
    """

    since_ms: int = 0
    until_ms: int = 2**62
    each: Period = Period.TOTAL
    by: tuple[str, ...] = ()
    only: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        asked = {*self.by, *self.only}
        allowed = TAG_DIMENSIONS if "tag" in asked else DIMENSIONS
        if unknown := asked.difference(allowed):
            raise ValueError(f"sums are not kept by {', '.join(sorted(unknown))}; there are {', '.join(allowed)}")
        if self.each not in (Period.HOUR, Period.DAY, Period.TOTAL):
            raise ValueError("the store sums by hour, by day or all; weeks and months are made of days")

    @property
    def tagged(self) -> bool:
        return "tag" in self.by or "tag" in self.only


class Cell(NamedTuple):
    """The sums of one value of each dimension asked for, in their order; `start_ms` is 0 for all time together."""

    start_ms: int
    values: tuple[str, ...]
    sums: Sums


class Tally(NamedTuple):
    """What is to be added, by primary key."""

    hourly: dict[Hourly, Counts]
    tagged: dict[Tagged, Counts]
    totals: dict[Account, Counts]


Group = tuple[str, str, str, str, str, str, str]
"""Key, team, organisation, tags, route, provider and model: the columns that stand side by side in a row."""

_AT_MS, _FLAGS, _GROUP = AT["at_ms"], AT["flags"], slice(AT["key"], AT["model"] + 1)
_OUTCOME, _COST, _PARTS_END = AT["outcome"], AT["cost_nanousd"], AT[COST_PARTS[-1]] + 1
_NO_MONEY = (0,) * (_PARTS_END - _COST)
_IN, _OUT, _TOKENS_END = AT["input_tokens"], AT["output_tokens"], AT["audio_output_tokens"] + 1
_LATENCY, _TTFT, _WAS = AT["latency_ms"], AT["ttft_ms"], AT["was_nanousd"]
_BILLED_IN, _BILLED_OUT, _TOOLS = AT["billed_input_tokens"], AT["billed_output_tokens"], AT["server_tool_calls"]
_UNPRICED, _LOST, _RECONCILED = int(Flag.UNPRICED), int(Flag.LOST), int(Flag.RECONCILED)

_M_COST, _M_UNPRICED, _M_ATTEMPTS = (MEASURES.index(name) for name in ("cost_nanousd", "unpriced", "attempts"))
_M_IN, _M_OUT = MEASURES.index("input_tokens"), MEASURES.index("output_tokens")


def is_unpriced(values: Flat) -> bool:
    """Whether something was used, or may have been, at a price that nobody knows."""
    if values[_COST] is not None:
        return False
    used = values[_IN] or values[_OUT] or values[_BILLED_IN] or values[_BILLED_OUT] or values[_TOOLS]
    return bool(values[_FLAGS] & (_UNPRICED | _LOST) or used)


@lru_cache(maxsize=4096)
def _said_by(flags: int, ok: bool, unpriced: bool) -> Counts:  # noqa: FBT001  # remembered by position
    """The measures from `attempts` to `unpriced`."""
    flagged = (
        int(bool(flags & flag))
        for flag in (
            Flag.CACHED,
            Flag.CANCELLED,
            Flag.PARTIAL,
            Flag.HEDGED,
            Flag.RETRIED,
            Flag.ESTIMATED,
            Flag.LOST,
            Flag.RECONCILED,
            Flag.OVERRUN,
            Flag.STREAMED,
        )
    )
    return (1, int(ok), *flagged, int(unpriced))


def counts_of(values: Flat) -> Counts:
    """What one row adds to every sum."""
    flags, cost, ttft = values[_FLAGS], values[_COST], values[_TTFT]
    unpriced = cost is None and is_unpriced(values)
    return (
        _said_by(flags, values[_OUTCOME] == "ok", unpriced)
        + values[_IN:_TOKENS_END]
        + (
            values[_IN] if unpriced else 0,
            values[_OUT] if unpriced else 0,
        )
        + (_NO_MONEY if cost is None else values[_COST:_PARTS_END])
        + (
            (cost or 0) - (values[_WAS] or 0) if flags & _RECONCILED else 0,
            int(values[_LATENCY] * 1000),
            0 if ttft is None else 1,
            0 if ttft is None else int(ttft * 1000),
        )
    )


def minus(counts: Counts) -> Counts:
    return tuple(-count for count in counts)


def tally(added: Iterable[Flat], taken: Iterable[Flat] = ()) -> Tally:
    """The change of all sums when these rows come and those go."""
    groups: dict[int, dict[Group, list[Counts]]] = {}
    for sign, rows in ((1, added), (-1, taken)):
        for values in rows:
            at = values[_AT_MS]
            hour = at - at % HOUR_MS
            if (of_hour := groups.get(hour)) is None:
                of_hour = groups[hour] = {}
            group = values[_GROUP]
            counts = counts_of(values) if sign > 0 else minus(counts_of(values))
            if (there := of_hour.get(group)) is None:
                of_hour[group] = [counts]
            else:
                there.append(counts)
    hourly: dict[Hourly, list[Counts]] = {}
    tagged: dict[Tagged, list[Counts]] = {}
    for hour, of_hour in groups.items():
        for (key, team, org, tags, route, provider, model), each in of_hour.items():
            counts = _sum(each)
            hourly.setdefault((hour, org, team, key, route, provider, model), []).append(counts)
            for tag in dict.fromkeys(tags_of(tags)):
                tagged.setdefault((hour, org, team, key, tag), []).append(counts)
    summed = {cell: _sum(counts) for cell, counts in hourly.items()}
    return Tally(summed, {cell: _sum(counts) for cell, counts in tagged.items()}, _totals(summed))


def _sum(counts: Sequence[Counts]) -> Counts:
    return counts[0] if len(counts) == 1 else tuple(map(sum, zip(*counts, strict=True)))


def _totals(hourly: Mapping[Hourly, Counts]) -> dict[Account, Counts]:
    # First all models and routes of a key together: each account has sums for five periods.
    keys: dict[tuple[int, str, str, str], list[Counts]] = {}
    for (hour, org, team, key, *_), counts in hourly.items():
        short = (counts[_M_COST], counts[_M_UNPRICED], counts[_M_ATTEMPTS], counts[_M_IN] + counts[_M_OUT])
        keys.setdefault((hour, org, team, key), []).append(short)
    totals: dict[Account, list[Counts]] = {}
    for (hour, *accounts), each in keys.items():
        counts = _sum(each)
        for dimension, of in zip(ACCOUNTS, accounts, strict=True):
            if of:
                for period, start in _starts(hour):
                    totals.setdefault((dimension, of, period, start), []).append(counts)
    return {account: _sum(counts) for account, counts in totals.items()}


@lru_cache(maxsize=64)
def _starts(hour: int) -> tuple[tuple[str, int], ...]:
    return tuple((period.value, start_of(period, hour)) for period in Period)


def merged(cells: Iterable[Cell]) -> dict[tuple[int, tuple[str, ...]], Sums]:
    """Cells of the same time and values added together."""
    groups: dict[tuple[int, tuple[str, ...]], list[Sums]] = {}
    for start, values, sums in cells:
        groups.setdefault((start, values), []).append(sums)
    return {place: Sums(*map(sum, zip(*sums, strict=True))) for place, sums in groups.items()}
