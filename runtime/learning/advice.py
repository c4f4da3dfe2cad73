"""What a choice is told by whoever learned: an order of the candidates, or why there is none. Values only.

advise ─► Advice ─► Decision ─► began (it is carried out) ─► finished (what came of it)
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runtime.balance.entry import Asked, Entry, Term
from runtime.learning.values import NOBODYS, Mode, Stamp
from runtime.outcome import Outcome
from runtime.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """How a route goes by what was learned.

    `taste` says what a point of quality may cost (`runtime.sona.presets.TASTES`). Nobody is asked whose expected
    quality is below `floor` while somebody else's is not. `evidence` is how much feedback there must be before it
    decides at all. `explore`: whether it may ask somebody for the sake of learning, and `explore_cap` how much worse
    than the best (in quality, less its price) he may then be expected to be. `holdout` is the share of requests that go
    by the default order, to compare with; `shadow`: all do, and what the policy would have done is noted.
    """

    taste: str = "ruvector-auto"
    floor: float | None = None
    evidence: float = 20.0
    explore: bool = True
    explore_cap: float | None = None
    holdout: float = 0.0
    shadow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision under way; the fields are those of a `Trajectory`. `home` names the conversation."""

    mode: Mode
    taste: str
    embedder: str
    vector: bytes
    candidates: tuple[str, ...]
    costs_nanousd: tuple[int | None, ...]
    tenant: str = NOBODYS
    policy: Stamp = (0, 0)
    chosen: str = ""
    propensity: float | None = None
    gave_up: float = 0.0
    prices: tuple[float, ...] = ()
    home: str = ""
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """`order` are positions among the entries, best first, with `terms` by position; empty where it abstains, and `why`
    then says so. `decision` is None where there was nothing to decide by, and nothing to learn."""

    order: tuple[int, ...] = ()
    terms: Mapping[int, Mapping[str, Term]] = field(default_factory=dict)
    why: str = ""
    decision: Decision | None = None


class Advises(Protocol):
    """Whoever learned, as an edge has it. Belongs to one event loop; no other call than `before` waits for anything."""

    def before(self, request: Request) -> Awaitable[None] | None:
        """What is to be waited for before a decision about this request, None for nothing. Raises nothing, and ends in
        bounded time."""
        ...

    def advise(self, entries: Sequence[Entry], asked: Asked, how: Learned) -> Advice:
        """Changes nothing: an explanation asks as well."""
        ...

    def began(self, decision: Decision) -> None:
        """It is carried out."""
        ...

    def finished(self, decision: Decision, request: Request, outcome: Outcome | None) -> None:
        """What came of it; None where the caller hung up before anybody knew."""
        ...
