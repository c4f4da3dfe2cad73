"""Counts requests, tokens and money by the hour, in bounded memory.

Hours of UTC make up every calendar period exactly, so a report needs no guess at a boundary. Hours that no period
but `all` can reach any more are added together.
"""

from __future__ import annotations

from datetime import UTC, datetime

from runtime.outcome import Completion, Embeddings, Failure, FailureKind
from runtime.reports import ModelUsage, UsagePeriod, UsageReport, add_usage
from runtime.values import replace

HOUR_S = 3_600

KEPT_HOURS = 32 * 24
"""A month has at most 31 days; one more lets a report be late."""

MOST_MODELS = 100
"""In one hour. Names come from callers, so they must not fill the memory; the rest counts under `OTHER`."""

OTHER = "other"


class UsageBook:
    """Belongs to one event loop. Moments are seconds since the epoch and come from the caller."""

    def __init__(self) -> None:
        self._hours: dict[int, dict[str, ModelUsage]] = {}
        self._before: dict[str, ModelUsage] = {}
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
        self.count(provider, model, _one(outcome, latency_s), at_s=at_s)

    def count(self, provider: str, model: str, usage: ModelUsage, *, at_s: float) -> None:
        """Count what was summed up elsewhere."""
        self._began_s = at_s if self._began_s is None else min(self._began_s, at_s)
        hour = int(at_s // HOUR_S)
        if hour not in self._hours:
            self._hours[hour] = {}
            self._fold()
        # An hour that is folded away already still counts for `all`.
        _count(self._hours.get(hour, self._before), f"{provider}/{model}", usage)

    def report(self, period: UsagePeriod, now_s: float) -> UsageReport:
        """The current period up to now."""
        start_s = self._start(period, now_s)
        hours = [models for hour, models in self._hours.items() if start_s <= hour * HOUR_S <= now_s]
        if period == "all":
            hours = [*self._hours.values(), self._before]
        parts: dict[str, list[ModelUsage]] = {}
        for models in hours:
            for name, usage in models.items():
                parts.setdefault(name, []).append(usage)
        models = {name: add_usage(parts[name]) for name in sorted(parts)}
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
            for name, usage in self._hours.pop(hour).items():
                _count(self._before, name, usage)


def _count(models: dict[str, ModelUsage], name: str, usage: ModelUsage) -> None:
    if name not in models and len(models) >= MOST_MODELS:
        name = OTHER
    models[name] = add_usage((models[name], usage)) if name in models else usage


def _one(outcome: Completion | Embeddings | Failure, latency_s: float) -> ModelUsage:
    """One request's own usage. Nothing is split or guessed: what was not reported stays out."""
    answered = not isinstance(outcome, Failure)
    # A caller who went away is no error of the provider's.
    errors = int(isinstance(outcome, Failure) and outcome.kind is not FailureKind.CANCELLED)
    if outcome.usage is None:
        return ModelUsage(requests=1, errors=errors)
    used = ModelUsage(
        requests=1,
        answered=int(answered),
        errors=errors,
        input_tokens=outcome.usage.input_tokens,
        output_tokens=outcome.usage.output_tokens,
        cached_input_tokens=outcome.usage.cached_input_tokens,
        cache_write_tokens=outcome.usage.cache_write_tokens,
        reasoning_tokens=outcome.usage.reasoning_tokens,
        estimated_requests=int(outcome.usage.estimated),
        latency_sum_s=latency_s if answered else 0.0,
    )
    if outcome.cost is None:
        return replace(used, unpriced_requests=1)
    return replace(
        used,
        cost_nanousd=outcome.cost.total_nanousd,
        input_cost_nanousd=outcome.cost.input_nanousd,
        output_cost_nanousd=outcome.cost.output_nanousd,
        cached_input_cost_nanousd=outcome.cost.cached_input_nanousd,
        cache_write_cost_nanousd=outcome.cost.cache_write_nanousd,
        reasoning_cost_nanousd=outcome.cost.reasoning_nanousd,
        per_call_cost_nanousd=outcome.cost.per_call_nanousd,
    )
