"""Counts requests, tokens and money by the hour, in bounded memory.

Hours of UTC make up every calendar period exactly, so a report needs no guess at a boundary. Hours that no period
but `all` can reach any more are added together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from operator import add
from typing import Any

from runtime.outcome import Completion, Cost, Embeddings, Failure, FailureKind, Usage
from runtime.reports import ModelUsage, UsagePeriod, UsageReport, add_usage

HOUR_S = 3_600

KEPT_HOURS = 32 * 24
"""A month has at most 31 days; one more lets a report be late."""

MOST_MODELS = 100
"""In one hour. Names come from callers, so they must not fill the memory; the rest counts under `OTHER`."""

OTHER = "other"

NO_USAGE, FREE = Usage(), Cost()

_FIELDS = tuple(one.name for one in fields(ModelUsage))

Tally = tuple[float, ...]
"""A `ModelUsage` as its fields in their order: each request adds one, and sums of tuples cost next to nothing."""


class UsageBook:
    """Belongs to one event loop. Moments are seconds since the epoch and come from the caller."""

    def __init__(self) -> None:
        self._hours: dict[int, dict[str, Tally]] = {}
        self._before: dict[str, Tally] = {}
        self._began_s: float | None = None

    def add(
        self,
        provider: str,
        model: str,
        outcome: Completion | Embeddings | Failure,
        *,
        latency_s: float,
        at_s: float,
    ) -> None:
        """Count one finished request."""
        self._count(provider, model, _one(outcome, latency_s), at_s)

    def count(self, provider: str, model: str, usage: ModelUsage, *, at_s: float) -> None:
        """Count what was summed up elsewhere."""
        self._count(provider, model, tuple(getattr(usage, name) for name in _FIELDS), at_s)

    def _count(self, provider: str, model: str, tally: Tally, at_s: float) -> None:
        self._began_s = at_s if self._began_s is None else min(self._began_s, at_s)
        hour = int(at_s // HOUR_S)
        if hour not in self._hours:
            self._hours[hour] = {}
            self._fold()
        # An hour that is folded away already still counts for `all`.
        _count(self._hours.get(hour, self._before), f"{provider}/{model}", tally)

    def report(self, period: UsagePeriod, now_s: float) -> UsageReport:
        """The current period up to now."""
        start_s = self._start(period, now_s)
        hours = [models for hour, models in self._hours.items() if start_s <= hour * HOUR_S <= now_s]
        if period == "all":
            hours = [*self._hours.values(), self._before]
        sums: dict[str, Tally] = {}
        for tallies in hours:
            for name, tally in tallies.items():
                sums[name] = tuple(map(add, sums[name], tally)) if name in sums else tally
        models = {name: _usage(sums[name]) for name in sorted(sums)}
        return UsageReport(period=period, start_s=start_s, end_s=now_s, total=add_usage(models.values()), models=models)

    def _start(self, period: UsagePeriod, now_s: float) -> float:
        if period == "all":
            return now_s if self._began_s is None else min(self._began_s, now_s)
        now = datetime.fromtimestamp(now_s, UTC).replace(minute=0, second=0, microsecond=0)
        if period != "hour":
            now = now.replace(hour=0)
        if period == "month":
            now = now.replace(day=1)
        days = now.weekday() if period == "week" else 0
        return now.timestamp() - days * 24 * HOUR_S

    def _fold(self) -> None:
        """Add up the hours that are too old."""
        latest = max(self._hours)
        for hour in [hour for hour in self._hours if hour <= latest - KEPT_HOURS]:
            for name, tally in self._hours.pop(hour).items():
                _count(self._before, name, tally)


def _count(models: dict[str, Tally], name: str, tally: Tally) -> None:
    if name not in models and len(models) >= MOST_MODELS:
        name = OTHER
    known = models.get(name)
    models[name] = tally if known is None else tuple(map(add, known, tally))


def _usage(tally: Tally) -> ModelUsage:
    said: Mapping[str, Any] = dict(zip(_FIELDS, tally, strict=True))
    return ModelUsage(**said)


def _one(outcome: Completion | Embeddings | Failure, latency_s: float) -> Tally:
    """One request's own usage. Nothing is split or guessed: what was not reported stays out."""
    answered = not isinstance(outcome, Failure)
    # A caller who went away is no error of the provider's.
    errors = int(isinstance(outcome, Failure) and outcome.kind is not FailureKind.CANCELLED)
    used, cost = (NO_USAGE, FREE) if outcome.usage is None else (outcome.usage, outcome.cost)
    paid = cost or FREE
    return (
        1,
        int(answered),
        errors,
        used.input_tokens,
        used.output_tokens,
        used.cached_input_tokens,
        used.cache_write_tokens,
        used.reasoning_tokens,
        paid.total_nanousd,
        paid.input_nanousd,
        paid.output_nanousd,
        int(cost is None),
        int(used.estimated),
        latency_s if answered else 0.0,
        paid.cached_input_nanousd,
        paid.cache_write_nanousd,
        paid.reasoning_nanousd,
        paid.per_call_nanousd,
    )
