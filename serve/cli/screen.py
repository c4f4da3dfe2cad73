"""What a person sees besides the answer: a spinner while they wait, tables, and JSON for programs."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

Say = Callable[[str], None]
"""Takes one word on what is being done."""

PIPE_WIDTH = 200
"""Who reads a table through a pipe has no right margin; 80 columns would cut names in two."""

_CONTROL = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


@contextmanager
def waiting(first: str) -> Iterator[Say]:
    """A spinner with the step under way and the seconds so far, gone afterwards; nothing where nobody watches."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(first)
        yield lambda step: progress.update(task, description=step)


def console() -> Console:
    """Standard output for tables: no guessing of numbers and names into colours."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> Any:
    """A plain table. `right` are the columns of numbers; the last column takes the space that is left."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        is_last = column == columns[-1]
        # What people copy from a table, or compare, must stay in one piece.
        drawn.add_column(column, justify="right" if column in right else "left", no_wrap=not is_last, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(harmless(cell), style=_STYLES.get(cell, "")) for cell in row))
    return drawn


_STYLES = {"closed": "green", "open": "bold red", "throttled": "yellow", "unknown": "dim", "every interface": "yellow"}


def harmless(text: str) -> str:
    """Text from outside without the control characters that could repaint or command a terminal.

    >>> harmless("red: " + chr(27) + "[31m")
    'red: [31m'
    """
    return text.translate(_CONTROL)


def as_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def aside(text: str, *, dim: bool = False) -> None:
    """A line for the person, not for the pipe."""
    before, after = ("\033[2m", "\033[0m") if dim and sys.stderr.isatty() else ("", "")
    print(f"{before}{harmless(text)}{after}", file=sys.stderr)


def program() -> str:
    """How to type this program here: its environment need not be on the PATH."""
    found, typed = shutil.which("raygate"), Path(sys.argv[0])
    if typed.name != "raygate" or (found and typed.exists() and Path(found).samefile(typed)):
        return "raygate"
    here = Path.cwd()
    return shlex.quote(str(typed.relative_to(here) if typed.is_relative_to(here) else typed))
