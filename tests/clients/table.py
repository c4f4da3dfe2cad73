"""What the clients found, as a table and a verdict. Decides; starts nothing.

ok 4      four things were tried and hold
FAIL 1/4  one of them does not
known     what does not hold is known, and is not ours to mend: see `known.py`
MISSING   the client said nothing about it
-         the client has no such thing
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

COLUMNS = (
    "chat",
    "stream",
    "tools",
    "schema",
    "vision",
    "embed",
    "usage",
    "models",
    "errors",
    "retries",
    "break",
    "fuzz",
)

Known = Mapping[tuple[str, str, str], str]
"""By row (without its version), column and check: why it does not hold."""


@dataclass(frozen=True, slots=True)
class Check:
    """`problem` is empty where it holds."""

    column: str
    name: str
    problem: str


@dataclass(frozen=True, slots=True)
class Row:
    """One client. `absent` says why it was not asked at all, `ended` how its script ended if not well."""

    client: str
    version: str
    columns: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    absent: str = ""
    ended: str = ""
    took_s: float = 0.0

    def of(self, column: str) -> list[Check]:
        return [one for one in self.checks if one.column == column]


def cell(row: Row, column: str, known: Known) -> str:
    if column not in row.columns:
        return "-"
    checks = row.of(column)
    if not checks:
        return "MISSING"
    wrong = [one for one in checks if one.problem]
    if not wrong:
        return f"ok {len(checks)}"
    if all((row.client, column, one.name) in known for one in wrong):
        return f"known {len(wrong)}/{len(checks)}"
    return f"FAIL {len(wrong)}/{len(checks)}"


def faults(row: Row, known: Known) -> list[str]:
    """Why this row fails; empty if it does not. What is known to fail, but holds, is a fault of the list."""
    name = f"{row.client} {row.version}"
    if row.absent:
        return [f"{name}: {row.absent}"]
    found = [f"{name}: {row.ended}"] if row.ended else []
    found += [f"{name}: {column}: nothing was tried" for column in row.columns if not row.of(column)]
    for one in row.checks:
        reason = known.get((row.client, one.column, one.name))
        if one.problem and reason is None:
            found.append(f"{name}: {one.column}: {one.name}: {one.problem}")
        elif reason is not None and not one.problem:
            found.append(f"{name}: {one.column}: {one.name} holds, but `known.py` says: {reason}")
    return found


def render(rows: Sequence[Row], known: Known) -> str:
    head = ("client", "version", *COLUMNS, "seconds")
    lines = [head]
    for row in rows:
        if row.absent:
            lines.append((row.client, row.version, "not installed", *[""] * len(COLUMNS)))
        else:
            cells = (cell(row, column, known) for column in COLUMNS)
            lines.append((row.client, row.version, *cells, f"{row.took_s:.0f}"))
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def reasons(rows: Iterable[Row], known: Known) -> list[str]:
    """What fails and is known to, each with its reason."""
    return [
        f"{row.client} {row.version}: {one.column}: {one.name}: {known[key]}"
        for row in rows
        for one in row.checks
        if one.problem and (key := (row.client, one.column, one.name)) in known
    ]
