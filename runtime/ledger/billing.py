"""Who pays for a request, and what travels with it to whoever writes its attempts down. No provider ever sees it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from runtime.wire import crosses


class Flag(IntFlag):
    """What is special about an attempt. Stored as a number: values are never given another meaning.

    `ESTIMATED`: its usage is ours, not the provider's. `LOST`: the process died before it knew, and the hold stands for
    the cost. `UNPRICED`: something was used at an unknown price, and the cost is None. `OVERRUN`: it came to more than
    its hold, or after its lease was taken back. `RECONCILED`: it was corrected by what the provider reported later.
    `HEDGED`: it was asked beside a slow one. `RETRIED`: another attempt of its request had failed before.
    """

    CACHED = 1
    CANCELLED = 2
    PARTIAL = 4
    HEDGED = 8
    RETRIED = 16
    ESTIMATED = 32
    LOST = 64
    UNPRICED = 128
    OVERRUN = 256
    STREAMED = 512
    RECONCILED = 1024


NO_FLAGS = Flag(0)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who pays for a request: the key's public id, and the team and organisation above it; empty where there is none.

    `tags` are the key's and the request's own. `strict`: a hard budget stands behind it, and an unknown price
    is refused.
    """

    key: str = ""
    team: str = ""
    org: str = ""
    tags: tuple[str, ...] = ()
    strict: bool = False


NOBODY = Account()


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Billing:
    """What an attempt's intent needs to be told: the fields are those of `runtime.ledger.rows.Intent`.

    `models` are patterns of what the payer may use, as in `runtime.ledger.accounts.Key`; empty allows all.
    `hold_nanousd` None: nobody has reserved anything, and whoever makes the attempt works its bound out.
    """

    account: Account = NOBODY
    route: str = ""
    hold_nanousd: int | None = None
    lease: str = ""
    flags: Flag = NO_FLAGS
    models: tuple[str, ...] = ()
