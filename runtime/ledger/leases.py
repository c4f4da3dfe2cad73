"""What edge and owner say to each other about leases: one exchange at a time for each edge, all its limits at once.

    edge                                                              owner
    Claims(seq, a Claim for each limit: what it has, what it wants) ──►
                       ◄── Grants(seq, epoch, a Grant for each claim)

A lease of money or of places is a line of credit: its owner and its edge both know how much it may come to in all
(`cap`), so that messages may be lost or come twice. Giving back means to name a lower cap. An edge takes only the
answer to its last claims; what an owner granted in an answer that never came it sees by the lease that is not named.

A slice of a rate is used up or, after its short life, given back by its `stamp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runtime.wire import crosses


class Refused(StrEnum):
    """Why an owner lends less than somebody waits for.

    `SPENT`: the period's budget is used up. `HELD`: it is not, but what is left of it is in use by requests under way.
    `BUSY`: as many requests run as may. `TOO_FAST`: a rate is used up. `NEVER`: it is more than the whole limit.
    `STARTING`: the owner does not yet know who holds what.
    """

    SPENT = "spent"
    HELD = "held"
    BUSY = "busy"
    TOO_FAST = "too_fast"
    NEVER = "never"
    STARTING = "starting"


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePolicy:
    """`lifetime_s` is counted by the edge from sending its claims, by the owner, `margin_s` longer, from answering.

    After `lost_s` of silence what an edge held counts as lost: spent, until its journal or the edge itself says more.
    """

    lifetime_s: float = 10.0
    margin_s: float = 5.0
    rate_lifetime_s: float = 2.0
    lost_s: float = 600.0
    scarce_s: float = 5.0
    held_retry_s: float = 0.5


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What an edge says of one limit.

    `lease` is what it holds, empty if nothing: of `cap` in all it has `used` so much (spent, or held by attempts under
    way), and of that the owner has `booked` so much, as it last said. `start_ms` is the lease's period.
    `closing`: nothing more will be taken from this lease; `open` attempts still run on it.
    `need` is what requests wait for, the smallest of them for `least`; `want` is that and what is likely to follow.
    `back` and `owed` are of rates: units not used, each with its stamp, and units used beyond all slices.
    """

    limit: str
    lease: str = ""
    cap: int = 0
    used: int = 0
    booked: int = 0
    start_ms: int = 0
    closing: bool = False
    open: int = 0
    need: int = 0
    least: int = 0
    want: int = 0
    back: tuple[tuple[int, int], ...] = ()
    owed: int = 0


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """`seq` rises with every exchange of this edge, whose name is never used again by another one.

    `all`: whatever it holds is in here, so an owner that has restarted knows of it all.
    """

    edge: str
    seq: int
    claims: tuple[Claim, ...] = ()
    all: bool = False


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The answer to one claim. `lease` is what the edge holds from now on: another one than it named replaces that.

    `amount` is added to its cap (a new lease begins at 0); `moved` of it is what was left of the one it replaces.
    `refused` and `detail` where `need` was not met. `scarce`: others wait; keep nothing in store.
    `gone`: there is no such limit any more. `closed` answers a claim that is `closing`.
    `stamp`, `remaining` and `full_in_s` are of rates: the slice's, and what the owner has left after it.
    """

    limit: str
    lease: str = ""
    amount: int = 0
    moved: int = 0
    lifetime_s: float = 0.0
    booked: int = 0
    start_ms: int = 0
    closed: bool = False
    scarce: bool = False
    gone: bool = False
    refused: Refused | None = None
    retry_after_s: float | None = None
    detail: str = ""
    stamp: int = 0
    remaining: int = 0
    full_in_s: float = 0.0


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """The answer to the claims of this `seq`. `epoch` rises with every new owner."""

    seq: int
    epoch: int
    grants: tuple[Grant, ...] = ()
