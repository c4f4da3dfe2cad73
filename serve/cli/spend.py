"""`raygate spend`: what was spent, and on what; all of it as a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runtime.ledger.report import BY as FILTERS
from serve.cli import http, place, screen
from serve.cli.accounts import ask
from serve.cli.errors import Ended

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
"""How a file is written, by the end of its name."""


def only_of(said: Iterable[str]) -> dict[str, str]:
    """Filters as people type them. Raises `Ended`.

    >>> only_of(["team=red"])
    {'team': 'red'}
    """
    found = {}
    for one in said:
        name, equals, value = one.partition("=")
        if not (equals and value) or name not in FILTERS:
            raise Ended(f"--only {one} says nothing; write it as team=red (there are {', '.join(FILTERS)})")
        found[name] = value
    return found


def export(file: Path, *, last: str, only: Mapping[str, str], url: str, key: str, as_json: bool) -> None:
    """All attempts into a file, which is there once it is whole. Raises `Ended`."""
    form = FORMATS.get(file.suffix.lower())
    if form is None:
        raise Ended(f"{file} does not say how it is to be written; end it in {', '.join(FORMATS)}")
    target = place.target(url, key)
    query = {**only, "last": last, "format": form}
    size = http.download(target, "/admin/export", query, file, what="asking the ledger")
    if as_json:
        screen.as_json({"file": str(file), "format": form, "bytes": size})
    else:
        print(f"{file}: every attempt of the last {last}, {size:,} bytes.")


def spend(*, by: str, last: str, each: str, only: Mapping[str, str], url: str, key: str, as_json: bool) -> None:
    """A line for each value, the dearest first, then the sum and what is to be expected. Raises `Ended`."""
    found = ask("GET", "spend", url=url, key=key, query={**only, "by": by, "last": last, "each": each})
    if as_json:
        screen.as_json(found)
        return
    if not found["lines"]:
        print(f"There was nothing like it in the last {last}.")
        return
    dimensions = found["by"]
    numbers = ("cost", "attempts", "failed", "tokens in", "out", "unpriced")
    when = () if each == "total" else ("since",)
    rows = [(*_when(one, each), *(one[name] or "–" for name in dimensions), *_numbers(one)) for one in found["lines"]]
    columns = (*when, *dimensions, *numbers)
    screen.console().print(screen.table(columns, rows, right=numbers))
    total = found["total"]
    print(f"\n{_dollars(total['cost_usd'])} in the last {last}, {total['attempts']:,} attempts.")
    if total["unpriced"]:
        print(f"{total['unpriced']:,} of them used something at an unknown price: they are in no sum.")
    if (coming := found["projection"]) is not None:
        spread = (
            "" if coming["low_usd"] is None else f" ({_dollars(coming['low_usd'])} to {_dollars(coming['high_usd'])})"
        )
        print(f"The next {coming['days']} days: {_dollars(coming['expected_usd'])}{spread}, if they are like the last.")


def _when(line: Mapping[str, Any], each: str) -> tuple[str, ...]:
    if each == "total":
        return ()
    at = datetime.fromtimestamp(line["start_ms"] / 1_000, UTC)
    return (at.strftime("%Y-%m-%d %H:%M" if each == "hour" else "%Y-%m-%d"),)


def _numbers(line: Mapping[str, Any]) -> tuple[str, ...]:
    tokens_in, tokens_out = f"{line['input_tokens']:,}", f"{line['output_tokens']:,}"
    failed = line["attempts"] - line["ok"] - line["cached"]
    unpriced = f"{line['unpriced']:,}" if line["unpriced"] else ""
    return (_dollars(line["cost_usd"]), f"{line['attempts']:,}", f"{failed:,}", tokens_in, tokens_out, unpriced)


def _dollars(usd: float | None) -> str:
    """Cents, and more digits where the sum is small.

    >>> _dollars(12.5), _dollars(0.00042), _dollars(0.0)
    ('$12.50', '$0.000420', '$0.00')
    """
    if usd is None:
        return "unknown"
    return f"${usd:,.2f}" if usd >= 0.1 or usd == 0.0 else f"${usd:.6f}"
