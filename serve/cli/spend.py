"""`raygate spend`: what was spent, and on what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from serve.cli import screen
from serve.cli.accounts import ask


def spend(*, by: str, last: str, each: str, url: str, key: str, as_json: bool) -> None:
    """A line for each value, the dearest first, then the sum and what is to be expected. Raises `Ended`."""
    found = ask("GET", "spend", url=url, key=key, query={"by": by, "last": last, "each": each})
    if as_json:
        screen.as_json(found)
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
