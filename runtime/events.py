"""What happens, as values: the types of events, and how they reach whoever listens in this process.

    Bus.tell(event) ──► each Reader that wants its type ──► async for event in reader
                                     └ full: its oldest event goes, and a `lost` event says how many did

    type       when                                                        class
    request    a chat begins, after the hooks before it                    RequestEvent
    attempt    one try at one provider is over                             AttemptEvent
    fallback   the next candidate is asked                                 FallbackEvent
    cache      an answer was there already, was not, or is remembered now    CacheEvent
    response   a chat was answered                                         ResponseEvent
    error      a chat came to nothing, or broke off                        ErrorEvent
    breaker    a provider or one of its models opens or closes             BreakerEvent
    health     a provider becomes usable, or no longer is                  HealthEvent
    budget     a budget passes its warning, or is spent                    BudgetEvent
    feedback   somebody judged an answer                                   FeedbackEvent
    config     settings took the place of others                           ConfigEvent
    lost       this reader was too slow                                    LostEvent

Nobody listens: `Bus.wanted` is empty, and whoever could tell something asks for that first, and does no more. What
people wrote is in no event; but for `prompt`, where a reader asked for it, and then as the hooks left it. Types and
fields are only ever added.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from types import TracebackType
from typing import ClassVar

from runtime.request import Json
from runtime.values import replace
from runtime.wire import crosses

MOST = 1_000
"""How many events wait for a reader, unless it says otherwise."""

PROMPTS = "prompts"
"""Not a type: a reader that wants this wants `RequestEvent.prompt`, too."""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEvent:
    """`at_s` is seconds since the epoch and `source` the process, in every event. `model` is the name that was asked
    for, `key` the caller's public id, `dialect` the API that he speaks."""

    type: ClassVar[str] = "request"
    at_s: float = 0.0
    source: str = ""
    request_id: str = ""
    model: str = ""
    key: str = ""
    tenant: str = ""
    dialect: str = ""
    streamed: bool = False
    messages: int = 0
    prompt: str | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEvent:
    """`outcome` is as in `runtime.outcome.Attempt`."""

    type: ClassVar[str] = "attempt"
    at_s: float = 0.0
    source: str = ""
    request_id: str = ""
    provider: str = ""
    model: str = ""
    outcome: str = ""
    elapsed_s: float = 0.0


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackEvent:
    """From whom to whom, each as provider/model, and for what kind of failure."""

    type: ClassVar[str] = "fallback"
    at_s: float = 0.0
    source: str = ""
    request_id: str = ""
    before: str = ""
    after: str = ""
    why: str = ""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEvent:
    """`how` is `hit` for an answer that was remembered, by its words or by its meaning (`cosine`); `shared` for one
    that an equal request got at the same time; `miss` where this process remembers none; `stored` for one that it
    remembers from now on. `key` names the remembered answer to whoever wants it forgotten."""

    type: ClassVar[str] = "cache"
    at_s: float = 0.0
    source: str = ""
    request_id: str = ""
    provider: str = ""
    model: str = ""
    how: str = ""
    key: str = ""
    age_s: float = 0.0
    cosine: float | None = None
    saved_nanousd: int = 0


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseEvent:
    """`cost_nanousd` None: at an unknown price."""

    type: ClassVar[str] = "response"
    at_s: float = 0.0
    source: str = ""
    request_id: str = ""
    provider: str = ""
    model: str = ""
    finish_reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanousd: int | None = None
    attempts: int = 0
    took_s: float = 0.0
    streamed: bool = False


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEvent:
    """`kind` is as in `runtime.outcome.FailureKind`. `begun`: some of a stream had gone already."""

    type: ClassVar[str] = "error"
    at_s: float = 0.0
    source: str = ""
    request_id: str = ""
    kind: str = ""
    code: str = ""
    provider: str = ""
    model: str = ""
    attempts: int = 0
    took_s: float = 0.0
    begun: bool = False


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerEvent:
    """Of one model where `model` says so. `state` is closed, open or throttled."""

    type: ClassVar[str] = "breaker"
    at_s: float = 0.0
    source: str = ""
    provider: str = ""
    model: str = ""
    state: str = ""
    retry_in_s: float = 0.0
    why: str = ""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class HealthEvent:
    """Whether a provider is there for the whole cluster."""

    type: ClassVar[str] = "health"
    at_s: float = 0.0
    source: str = ""
    provider: str = ""
    available: bool = True
    why: str = ""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetEvent:
    """A budget of a `scope` (key, team, org) and its `id`. `share` is what of it is spent; `all`: there is no more."""

    type: ClassVar[str] = "budget"
    at_s: float = 0.0
    source: str = ""
    scope: str = ""
    id: str = ""
    period: str = ""
    start_ms: int = 0
    spent_nanousd: int = 0
    limit_nanousd: int = 0
    share: float = 0.0
    all: bool = False


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackEvent:
    """`signal` says what kind of judgement it was."""

    type: ClassVar[str] = "feedback"
    at_s: float = 0.0
    source: str = ""
    request_id: str = ""
    key: str = ""
    signal: str = ""
    score: float | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigEvent:
    """The version that holds from now on, and the first words of the keys that differ."""

    type: ClassVar[str] = "config"
    at_s: float = 0.0
    source: str = ""
    version: int = 0
    changed: tuple[str, ...] = ()


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class LostEvent:
    """So many events of those that were asked for are missing here; None where nobody knows how many."""

    type: ClassVar[str] = "lost"
    at_s: float = 0.0
    source: str = ""
    count: int | None = None


Event = (
    RequestEvent
    | AttemptEvent
    | FallbackEvent
    | CacheEvent
    | ResponseEvent
    | ErrorEvent
    | BreakerEvent
    | HealthEvent
    | BudgetEvent
    | FeedbackEvent
    | ConfigEvent
    | LostEvent
)

KINDS: Mapping[str, type[Event]] = {
    one.type: one
    for one in (
        *(RequestEvent, AttemptEvent, FallbackEvent, CacheEvent, ResponseEvent, ErrorEvent),
        *(BreakerEvent, HealthEvent, BudgetEvent, FeedbackEvent, ConfigEvent, LostEvent),
    )
}

TYPES: tuple[str, ...] = tuple(name for name in KINDS if name != LostEvent.type)
"""What a reader may ask for. `lost` comes unasked."""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a listener asks the manager for. `known`: it has asked before; where that was another manager, nobody knows
    what it has missed. `most` is how many events may wait for it there."""

    listener: str
    types: tuple[str, ...]
    known: bool = False
    most: int = MOST
    prompts: bool = False
    wait_s: float = 0.0


def said(event: Event) -> dict[str, Json]:
    """The event as JSON has it. A `prompt` that nobody asked for is left out.

    >>> said(LostEvent(at_s=1.5, source="edge", count=3))
    {'type': 'lost', 'at_s': 1.5, 'source': 'edge', 'count': 3}
    """
    found = {one.name: getattr(event, one.name) for one in fields(event)}
    if found.get("prompt", "") is None:
        del found["prompt"]
    return {"type": event.type, **found}


class Reader:
    """What one subscriber has not read yet. `for` it by `async for`, or `take` what is there."""

    def __init__(self, bus: Bus, types: Iterable[str], *, most: int = MOST, prompts: bool = False) -> None:
        self.types = frozenset(types) or frozenset(TYPES)
        self.prompts = prompts
        self._bus = bus
        self._waiting: deque[Event] = deque()
        self._most = max(1, most)
        self._lost = 0
        self._unknown = False
        self._something = asyncio.Event()
        self._closed = False

    def put(self, event: Event) -> None:
        """Never waits. The oldest gives way."""
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(event)
        self._something.set()

    def lose(self, count: int | None) -> None:
        """Events were lost on the way here; None: nobody knows how many."""
        self._unknown = self._unknown or count is None
        self._lost += count or 0
        self._something.set()

    def take(self, most: int = MOST) -> tuple[Event, ...]:
        """What waits, the oldest first; before it, how many are missing."""
        found: list[Event] = []
        if self._lost or self._unknown:
            count = None if self._unknown else self._lost
            found.append(LostEvent(at_s=self._bus.now(), source=self._bus.source, count=count))
            self._lost, self._unknown = 0, False
        while self._waiting and len(found) < most:
            found.append(self._waiting.popleft())
        if not self._waiting:
            self._something.clear()
        return tuple(found)

    async def more(self) -> None:
        """Return once there is something to take, or this reader was closed."""
        if not self._closed:
            await self._something.wait()

    def close(self) -> None:
        self._closed = True
        self._something.set()
        self._bus.leave(self)

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> Event:
        while not self._closed:
            if found := self.take(1):
                return found[0]
            await self.more()
        raise StopAsyncIteration

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Bus:
    """One process's events. Belongs to one event loop.

    `wanted` are the types that anybody here wants, and perhaps `PROMPTS`; it is empty where nobody listens.
    """

    def __init__(self, wall: Callable[[], float], source: str = "") -> None:
        self.source = source
        self.wanted: frozenset[str] = frozenset()
        self._wall = wall
        self._readers: tuple[Reader, ...] = ()

    def now(self) -> float:
        """Seconds since the epoch, for `at_s`."""
        return self._wall()

    def subscribe(self, types: Iterable[str] = (), *, most: int = MOST, prompts: bool = False) -> Reader:
        """A reader of these types, of all without any. Use it in a `with`, or close it."""
        reader = Reader(self, types, most=most, prompts=prompts)
        self._readers = (*self._readers, reader)
        self._count()
        return reader

    def leave(self, reader: Reader) -> None:
        self._readers = tuple(one for one in self._readers if one is not reader)
        self._count()

    def tell(self, event: Event) -> None:
        """Everybody who wants it is given it; nobody is waited for."""
        bare: Event | None = None
        for reader in self._readers:
            if event.type not in reader.types:
                continue
            if isinstance(event, RequestEvent) and event.prompt is not None and not reader.prompts:
                bare = bare or replace(event, prompt=None)
                reader.put(bare)
            else:
                reader.put(event)

    def _count(self) -> None:
        wanted = {name for reader in self._readers for name in reader.types}
        if any(reader.prompts for reader in self._readers):
            wanted.add(PROMPTS)
        self.wanted = frozenset(wanted)
