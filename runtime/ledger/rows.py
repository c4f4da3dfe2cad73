"""What is written down about money: an intent before an attempt's first byte, a settlement after its last one.

    Intent ──► … the attempt … ──► Settlement          journal of the process that makes the attempt
       └──────────────┬───────────────┘
                     Row                               the ledger, exactly one for each attempt

An intent whose settlement never came was cut off by a crash: its row costs the whole hold, estimated and flagged.
Money is integers of nano-dollars, moments are milliseconds since the epoch, durations are milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.ledger.billing import NO_FLAGS, NOBODY, Account, Billing, Flag
from runtime.outcome import Cost, Usage
from runtime.values import replace
from runtime.wire import crosses

__all__ = [
    "NOBODY",
    "NO_FLAGS",
    "NO_USAGE",
    "Account",
    "Batch",
    "Billing",
    "Flag",
    "Intent",
    "Row",
    "Settlement",
]

NO_USAGE = Usage()


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """An attempt that is about to be made. `attempt` is unique for ever: the writer's own name and a number.

    `hold_nanousd` is the most that it can cost, None where no price is known. `lease` names what it is paid from, empty
    where nothing limits its account. `route` is the name that was asked for.
    """

    attempt: str
    at_ms: int
    request_id: str = ""
    account: Account = NOBODY
    route: str = ""
    provider: str = ""
    model: str = ""
    hold_nanousd: int | None = None
    lease: str = ""
    flags: Flag = NO_FLAGS


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What an attempt came to. `outcome` is "ok", a kind of failure, or one of `CACHED`, `HEDGED`, `SHARED`.

    `unsent`: the provider never saw it, and there is no row. `ttft_ms` is the time to its first content.
    """

    attempt: str
    at_ms: int
    outcome: str
    usage: Usage = NO_USAGE
    cost: Cost | None = None
    latency_ms: float = 0.0
    ttft_ms: float | None = None
    flags: Flag = NO_FLAGS
    unsent: bool = False


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attempt in the ledger. `flags` are those of both halves.

    `was_nanousd` is what it cost first, where it was corrected; None where nothing was, or that was not known.
    """

    intent: Intent
    settlement: Settlement
    was_nanousd: int | None = None

    @property
    def flags(self) -> Flag:
        return self.intent.flags | self.settlement.flags

    def flagged(self, flags: Flag) -> Row:
        """The same with these flags besides."""
        return replace(self, settlement=replace(self.settlement, flags=self.settlement.flags | flags))

    @property
    def cost_nanousd(self) -> int | None:
        return self.settlement.cost.total_nanousd if self.settlement.cost else None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a journal's writer, or who collects it after his death, tells the ledger. May come twice.

    `open` are attempts that have been under way for a while, `void` those of them that came to nothing: no row will
    come. `last`: this writer's journal is complete, and nothing more comes of it.
    """

    writer: str
    rows: tuple[Row, ...] = ()
    open: tuple[Intent, ...] = ()
    void: tuple[str, ...] = ()
    last: bool = False
