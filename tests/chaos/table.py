"""The table fault × dialect × (plain, stream), printed: `python -m tests.chaos.table [word of a fault …]`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence

from tests.chaos.cells import HEAD, Cell, cell, cells
from tests.chaos.faults import EVERY, stalls


async def rows(words: Sequence[str] = ()) -> AsyncGenerator[Cell]:
    """Where only a limit ends a fault its cells run side by side; else one by one, so that the times mean something."""
    for name, fault in EVERY.items():
        if not all(word in name for word in words):
            continue
        made = [cell(name, wire, streamed=streamed) for wire, streamed in cells(name)]
        if stalls(fault):
            for one in await asyncio.gather(*made):
                yield one
        else:
            for waiting in made:
                yield await waiting


async def main(words: Sequence[str]) -> None:
    print(HEAD)
    count = answered = complete = 0
    async for one in rows(words):
        print(one.row(), flush=True)
        count += 1
        answered += one.paired.looks_complete
        complete += one.paired.looks_complete and one.streamed and one.paired.shown != one.text
    print(f"\n{count} cells; {answered} answered, {count - answered} ended in an error that says so;")
    print(f"{complete} truncated answers that look complete")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
