"""Rows on their way from a journal to the ledger: what is sent next, and which segments may go. Decides; sends nothing.

    add ─► waiting ─ take ─► under way ─ sent ─► gone; a segment of which nothing is left may be removed
                       ▲──── unsent ───┘
    too many wait ─► the journal begins a new segment, the closed ones are forgotten here (`spill`) and read again later

So while the ledger is away the memory is bounded: what it has not acknowledged lies in the journal. Rows that the
journal could not take (a full disk) are nowhere else; of those the oldest are given up and counted, beyond `MOST`.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import islice

from runtime.ledger.journal import Written
from runtime.ledger.rows import Row

MOST = 10_000
"""Rows that wait in memory."""


_Waiting = tuple[int | None, Row, tuple[bytes, bytes] | None]


class Outbox:
    """Of one journal. A row's segment is None where it could not be written."""

    def __init__(self, most: int = MOST) -> None:
        self.given_up = 0
        self._most = most
        self._waiting: deque[_Waiting] = deque()
        self._under_way: list[_Waiting] = []
        self._left: Counter[int] = Counter()
        self._unwritten = 0
        self._spilled: deque[int] = deque()

    def __len__(self) -> int:
        """Rows in memory."""
        return len(self._waiting) + len(self._under_way)

    @property
    def empty(self) -> bool:
        return not self._waiting and not self._under_way and not self._spilled

    @property
    def is_full(self) -> bool:
        """Time for a new segment, and `spill`."""
        return len(self._waiting) - self._unwritten > self._most

    @property
    def spilled(self) -> int | None:
        """The oldest segment that is to be read again."""
        return self._spilled[0] if self._spilled else None

    def add(self, row: Row, segment: int | None, records: tuple[bytes, bytes] | None = None) -> None:
        """`records` are the row as a journal has it."""
        self._waiting.append((segment, row, records))
        if segment is not None:
            self._left[segment] += 1
            return
        self._unwritten += 1
        if self._unwritten > self._most:
            at = next(at for at, (where, *_) in enumerate(self._waiting) if where is None)
            del self._waiting[at]
            self._unwritten -= 1
            self.given_up += 1

    def take(self, limit: int) -> tuple[Row, ...]:
        """The next rows; tell whether they were `sent` or `unsent` before you take more."""
        if self._under_way:
            raise RuntimeError("the last rows are still under way")
        self._under_way = list(islice(self._waiting, limit))
        for _ in self._under_way:
            segment, *_ = self._waiting.popleft()
            self._unwritten -= segment is None
        rows = Written(row for _, row, _ in self._under_way)
        rows.records = [records for *_, records in self._under_way if records is not None]
        return rows if len(rows.records) == len(rows) else tuple(rows)

    def sent(self) -> None:
        for segment, *_ in self._under_way:
            if segment is not None and segment in self._left:
                self._left[segment] -= 1
        self._under_way = []

    def unsent(self) -> None:
        kept = [one for one in self._under_way if one[0] is None or one[0] not in self._spilled]
        self._unwritten += sum(segment is None for segment, *_ in kept)
        self._waiting.extendleft(reversed(kept))
        self._under_way = []

    def spill(self, current: int) -> None:
        """Forget what stands in segments before this one; they are to be read again."""
        closed = sorted(segment for segment, left in self._left.items() if segment < current and left > 0)
        for segment in closed:
            del self._left[segment]
        self._spilled.extend(closed)
        gone = set(closed)
        self._waiting = deque(one for one in self._waiting if one[0] not in gone)

    def read_again(self, segment: int) -> None:
        """All of a spilled segment is with the ledger."""
        self._spilled.remove(segment)

    def is_done(self, segment: int) -> bool:
        """Whether the ledger has all of it."""
        return self._left[segment] == 0 and segment not in self._spilled
