"""What came of requests, counted in memory where they came in; with the next report it goes to the manager.

door ── served(…) ─► one cell for each way a request may go ── take() ─► Served… ─► EdgeReport

A request costs one look-up and a few additions. Nothing here knows whose it was.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.metrics.labels import OTHER, Labels
from runtime.metrics.named import SECONDS, SHORT, TOKENS
from runtime.outcome import CACHED, HEDGED, SHARED, UNASKED, Attempt, Completion, Embeddings, Failure, FailureKind
from runtime.price import cost_of
from runtime.wire import crosses

MOST_CELLS = 1_000
"""Each is one way that requests go. Names are bounded already; where there are many of all, the rest is `OTHER`."""

CHAT, EMBEDDINGS, TEXT = "chat", "embeddings", "text_completion"
OPERATIONS = {"completions": TEXT}
"""The conventions' word for what is asked by an API; others are chats."""

HANDLE = "handle"
"""The door of those that call the manager's actor."""

MEASURED: Mapping[str, tuple[float, ...]] = {
    "duration": SECONDS,
    "ttft": SECONDS,
    "overhead": SHORT,
    "queue": SHORT,
    "input": TOKENS,
    "output": TOKENS,
}
"""What is measured of a request, with the bounds of its histogram."""

_ENDS = {name: len(bounds) for name, bounds in MEASURED.items()}

Spread = tuple[int, ...]
"""How many were at most each bound and above the one before, and how many above all."""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Requests that went one way, summed. `spreads` are by the names of `MEASURED`, `sums` of the same values.

    `model` is the one that the last attempt asked for. `outcome` is `ok` or the kind of the failure.
    """

    operation: str
    surface: str
    route: str
    provider: str
    model: str
    outcome: str
    count: int = 0
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    sums: Mapping[str, float] = field(default_factory=dict)


class _Cell:
    __slots__ = ("count", "spreads", "sums")

    def __init__(self) -> None:
        self.count = 0
        self.spreads: dict[str, list[int]] = {}
        self.sums: dict[str, float] = {}

    def measure(self, name: str, bounds: tuple[float, ...], value: float) -> None:
        spread = self.spreads.get(name)
        if spread is None:
            spread = self.spreads[name] = [0] * (len(bounds) + 1)
            self.sums[name] = 0.0
        spread[bisect_left(bounds, value)] += 1
        self.sums[name] += value


Way = tuple[str, str, str, str, str, str]


class Meter:
    """One process's. Belongs to one event loop. `counters` are the process's own, which travel by themselves."""

    def __init__(self, labels: Labels, counters: Counter[str]) -> None:
        self.labels = labels
        self._counters = counters
        self._cells: dict[Way, _Cell] = {}

    def __bool__(self) -> bool:
        return bool(self._cells)

    def served(
        self,
        surface: str,
        route: str,
        outcome: Completion | Embeddings | Failure | None,
        took_s: float,
        *,
        operation: str = "",
    ) -> None:
        """A request is over. `outcome` None: its client left before there was one."""
        labels = self.labels
        provider, model, word = "", "", "ok"
        if outcome is None:
            word = FailureKind.CANCELLED.value
        else:
            provider, model = outcome.provider, outcome.model
            if isinstance(outcome, Failure):
                word = outcome.kind.value
            if not isinstance(outcome, Embeddings) and (attempts := outcome.attempts):
                model = attempts[0].model
                if len(attempts) > 1:
                    model = self._attempted(attempts)
        way = (
            operation or OPERATIONS.get(surface, CHAT),
            surface,
            labels.route(route),
            labels.provider(provider),
            labels.model(provider, model) if provider else "",
            word,
        )
        cell = self._cells.get(way)
        if cell is None:
            cell = self._cell(way)
        cell.count += 1
        cell.measure("duration", SECONDS, took_s)
        if outcome is None or isinstance(outcome, Failure):
            return
        cell.measure("queue", SHORT, outcome.queue_s)
        if isinstance(outcome, Completion):
            cell.measure("overhead", SHORT, outcome.overhead_s)
            if outcome.ttft_s is not None:
                cell.measure("ttft", SECONDS, outcome.ttft_s)
            if outcome.attempts and outcome.attempts[0].outcome in (CACHED, SHARED):
                self._given(outcome)
                return
        usage = outcome.usage
        cell.measure("input", TOKENS, usage.input_tokens)
        if usage.output_tokens:
            cell.measure("output", TOKENS, usage.output_tokens)

    def take(self) -> tuple[Served, ...]:
        """All since the last time; begins anew."""
        taken = self.peek()
        self._cells = {}
        return taken

    def peek(self) -> tuple[Served, ...]:
        """The same, and goes on."""
        return tuple(
            Served(
                operation=operation,
                surface=surface,
                route=route,
                provider=provider,
                model=model,
                outcome=outcome,
                count=cell.count,
                spreads={name: tuple(spread) for name, spread in cell.spreads.items()},
                sums=dict(cell.sums),
            )
            for (operation, surface, route, provider, model, outcome), cell in self._cells.items()
        )

    def _cell(self, way: Way) -> _Cell:
        if len(self._cells) >= MOST_CELLS:
            operation, surface, _, provider, _, outcome = way
            way = (operation, surface, OTHER, provider, OTHER, outcome)
        return self._cells.setdefault(way, _Cell())

    def _attempted(self, attempts: tuple[Attempt, ...]) -> str:
        """Counts what more than one attempt means; the model of the one that decided."""
        before: Attempt | None = None
        for one in attempts:
            if one.outcome == HEDGED:
                self._counters["hedges"] += 1
            elif one.outcome != SHARED:
                if before is not None:
                    again = (before.provider, before.model) == (one.provider, one.model)
                    self._counters["retries" if again else "failovers"] += one.outcome not in UNASKED
                before = one
        return attempts[-1].model if before is None else before.model

    def _given(self, answer: Completion) -> None:
        """Nobody was asked for it. What a remembered one saved the cache knows, of a shared one the list of prices."""
        word = answer.attempts[0].outcome
        self._counters[word] += 1
        if word == CACHED:
            return
        info = self.labels.catalog.info(answer.provider, answer.model)
        price = cost_of(answer.usage, info.pricing if info else None)
        if price is not None:
            self._counters["shared_saved_nanousd"] += price.total_nanousd
