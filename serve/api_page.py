"""Puts the table of all paths into a page, between its marks: python -m serve.api_page docs/api.md"""

from __future__ import annotations

import sys
from pathlib import Path

from serve.openapi import told

MARKS = ("<!-- paths -->", "<!-- /paths -->")


def renewed(page: str) -> str:
    """The page with the table as it is now. Raises ValueError where it has no marks."""
    before, begin, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise ValueError(f"the page should have a line {MARKS[0]} and a line {MARKS[1]}")
    rows = "".join(f"| `{method}` | `{path}` | {what} | {needs} |\n" for method, path, what, needs in told())
    return f"{before}{begin}\n\n| method | path | | needs |\n| --- | --- | --- | --- |\n{rows}\n{end}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text()))
