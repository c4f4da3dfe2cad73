"""Puts the table of all metrics into a page, between its marks: python -m runtime.metrics.page docs/operations.md"""

from __future__ import annotations

import sys
from pathlib import Path

from runtime.metrics.named import table

MARKS = ("<!-- metrics -->", "<!-- /metrics -->")


def renewed(page: str) -> str:
    """The page with the table as it is now. Raises ValueError where it has no marks."""
    before, begin, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise ValueError(f"the page should have a line {MARKS[0]} and a line {MARKS[1]}")
    return f"{before}{begin}\n\n{table()}\n{end}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text()))
