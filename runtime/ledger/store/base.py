"""What the ledger asks of its store. What fails comes back as a `StoreFailure`, and then nothing was written.

    acquire_epoch ──► this store object owns the ledger, until another one acquires it: then its writes are FENCED
    append        ──► rows, hourly sums, running totals and the end of open intents, in one transaction

A row belongs to the periods of its intent's `at_ms`, when its hold was taken, whenever it was settled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from runtime.ledger.periods import Period
from runtime.ledger.rows import Intent, Row
from runtime.ledger.store.tally import Cell, Cut
from runtime.request import Json
from runtime.wire import crosses


class Trouble(StrEnum):
    """Why the store could not do it.

    `FULL`: no room on the disk. `READ_ONLY`: it may not be written. `LOCKED`: somebody else held it for too long.
    `CORRUPT`: what lies there is no ledger any more. `UNREACHABLE`: it is not there, or its disk or server is broken.
    `FENCED`: another owner has acquired it, or none has. `NEWER`: a newer version of Raygate has written it.
    `MISSING`: a package that it needs is not installed. `INVALID`: what was to be written breaks one of its rules.
    """

    FULL = "full"
    READ_ONLY = "read_only"
    LOCKED = "locked"
    CORRUPT = "corrupt"
    UNREACHABLE = "unreachable"
    FENCED = "fenced"
    NEWER = "newer"
    MISSING = "missing"
    INVALID = "invalid"


PASSING = frozenset((Trouble.FULL, Trouble.LOCKED, Trouble.UNREACHABLE))
"""What may be over by itself: the same call may be made again."""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFailure:
    """A call to the store that changed nothing. `detail` says to people what to do."""

    kind: Trouble
    detail: str

    def __str__(self) -> str:
        return f"the ledger's store is {self.kind}: {self.detail}"


class Change(NamedTuple):
    """What one row changed: by how much its account's sums rose (or fell, where it was corrected)."""

    row: Row
    cost_nanousd: int
    tokens: int
    unpriced: int
    new: bool


class Numbered(NamedTuple):
    """A row with its number, which grows with each row that is written down."""

    seq: int
    row: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What a batch changed, each attempt once and for ever: the owner of budgets counts `changes` and nothing else.

    `known` counts rows that were there already. `too_old` came after the rows of their time were folded away: whether
    they are new cannot be told, and they are not counted.
    """

    changes: tuple[Change, ...] = ()
    known: int = 0
    too_old: tuple[Row, ...] = ()


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What an account (`dimension` is "org", "team" or "key") came to in one period.

    `unpriced` attempts used something at an unknown price: `cost_nanousd` is without them. `tokens`: in and out.
    """

    dimension: str
    id: str
    period: Period
    start_ms: int
    cost_nanousd: int
    unpriced: int
    attempts: int
    tokens: int


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """An organisation, team, key, budget or limit: `kind` and `id` name it, `body` is its own.

    `parent` is what it hangs on (a team's organisation, a key's team, a budget's account), `sha256` a key's secret as
    it is kept; both are looked up. `version` rises with every change.
    """

    kind: str
    id: str
    body: Mapping[str, Json]
    parent: str = ""
    sha256: str = ""
    version: int = 0


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Who changed what, and when. `before` and `after` are the document's body, None where there was none."""

    at_ms: int
    who: str
    what: str
    subject: str
    before: Mapping[str, Json] | None = None
    after: Mapping[str, Json] | None = None
    seq: int = 0


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which rows: those whose attempts began in [since_ms, until_ms); and of these alone, where one is named."""

    since_ms: int = 0
    until_ms: int = 2**62
    only: Mapping[str, str] = field(default_factory=dict)
    """Any of attempt, request_id, key, team, org, tag, route, provider, model, outcome, to its value.

    An attempt is looked up; for all others every row of the time is read: an index on random request ids would cost
    each row a quarter more.
    """


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Rows older than `days` go, and the oldest ones while the ledger is larger than `max_bytes`; None: no bound.

    Their sums stay: those of hours older than `hourly_days` as sums of days. Rows of the last `spare_ms` stay even
    where there is no room.
    """

    days: int | None = None
    hourly_days: int | None = None
    max_bytes: int | None = None
    spare_ms: int = 3_600_000


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """`rows` went, all of before `before_ms`; `bytes` is what the ledger needs now.

    `too_large`: that is more than was allowed, and there was nothing more that might go.
    """

    rows: int
    before_ms: int
    bytes: int
    too_large: bool = False


class Store(Protocol):
    """One ledger. Safe for many tasks at once; writes happen one after the other, in the order of the calls."""

    async def acquire_epoch(self, owner: str, *, at_ms: int) -> int | StoreFailure:
        """Become the one who writes; the number is larger than all earlier ones. Whoever was it before no longer is."""
        ...

    async def append(self, rows: Sequence[Row]) -> Appended | StoreFailure:
        """Write down what is not there yet, and end its open intents; what was `unsent` only ends its intent.

        A row that is there stays, with two exceptions: one that stands for a hold (LOST) is corrected by the attempt's
        true settlement, and any by a settlement that says RECONCILED. What it cost first is kept beside it.
        """
        ...

    async def put_intents(self, intents: Sequence[Intent]) -> StoreFailure | None:
        """Remember attempts that are under way. One that has a row already is not remembered."""
        ...

    async def remove_intents(self, attempts: Sequence[str]) -> StoreFailure | None: ...

    async def open_intents(self) -> tuple[Intent, ...] | StoreFailure:
        """The oldest first."""
        ...

    async def totals(self, now_ms: int) -> tuple[Total, ...] | StoreFailure:
        """Every account's sums of the periods in which this moment lies."""
        ...

    async def change(
        self, put: Sequence[Document] = (), *, gone: Sequence[tuple[str, str]] = (), audit: Sequence[Audit] = ()
    ) -> StoreFailure | None:
        """Store documents, remove those named by kind and id, and write the trail of it: all or nothing.

        INVALID where a key of the same hash exists under another id.
        """
        ...

    async def documents(
        self, kind: str, *, name: str | None = None, parent: str | None = None, sha256: str | None = None
    ) -> tuple[Document, ...] | StoreFailure:
        """In the order of their ids; `name` is the id of one."""
        ...

    async def audit(self, *, after: int = 0, limit: int = 1000) -> tuple[Audit, ...] | StoreFailure:
        """The trail from `seq` > `after` on, the oldest first."""
        ...

    async def cells(self, cut: Cut) -> tuple[Cell, ...] | StoreFailure:
        """Sums by time and dimensions, from the hourly sums that every append keeps."""
        ...

    def rows(self, where: Where, *, page: int = 2000) -> AsyncIterator[tuple[Row, ...] | StoreFailure]:
        """Rows in the order of their attempts' beginning, a page at a time; a failure is the last item."""
        ...

    async def newest(self, where: Where, *, after: int = 0, limit: int = 100) -> tuple[Numbered, ...] | StoreFailure:
        """The last rows, newest first. With `after`, those alone that were written down after the row of this number:
        what has come since one looked, in the order in which it came."""
        ...

    async def fold(self, retention: Retention, *, now_ms: int) -> Folded | StoreFailure: ...

    async def size(self) -> int | StoreFailure:
        """Bytes that the ledger needs, without room that deleted rows left."""
        ...

    async def check(self) -> StoreFailure | None:
        """Read everything and say whether it is whole."""
        ...

    async def close(self) -> None: ...
