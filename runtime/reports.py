"""What a provider, or Raygate as a whole, says of itself. Moments are seconds since the epoch, in UTC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from typing import Any, Literal

from runtime.keyring import KeyState
from runtime.request import Json
from runtime.wire import crosses

UsagePeriod = Literal["hour", "day", "week", "month", "all"]
"""The current one of the calendar, in UTC: `day` began at midnight, `week` on Monday, `month` on the first."""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """One check by a call that costs nothing. `parts` are the providers' own, where this is about all of them."""

    provider: str
    healthy: bool
    latency_s: float = 0.0
    detail: str = ""
    at_s: float = 0.0
    parts: tuple[HealthReport, ...] = ()
    extra: Mapping[str, Json] = field(default_factory=dict)

    def __repr__(self) -> str:
        shown = ", ".join(f"{one.provider} {'healthy' if one.healthy else 'ill'}" for one in self.parts or (self,))
        return f"<HealthReport {shown}>"

    def _repr_html_(self) -> str:
        from runtime.panels import health_html

        return health_html(self)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Shut:
    """A model or a key that is not used for now. `state` is "open", "throttled", "disabled" or "exhausted"."""

    state: str
    retry_in_s: float = 0.0
    detail: str = ""


def locked_of(keys: Iterable[KeyState]) -> dict[str, Shut]:
    """Keys that are not used, by what people know them by."""
    return {
        f"{one.shown or one.key} for {one.model}" if one.model else one.shown or one.key: Shut(
            state=one.why, retry_in_s=one.retry_in_s
        )
        for one in keys
    }


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderStatus:
    """How a provider is now, without asking it.

    `in_flight` counts calls that are under way at this moment, and nothing else. `max_in_flight` is None where
    there is no limit; `queued` waits for a place. `remaining_requests` and `reset_in_s` are what the provider last
    said of its own rate limit. `models` are those that are shut while others there may be called; `keys` those that
    are not used, by the ends by which people know them. `prices_as_of` is how old the price list of its kind is.
    """

    provider: str
    available: bool
    breaker: str = ""
    in_flight: int = 0
    max_in_flight: int | None = None
    queued: int = 0
    retry_in_s: float = 0.0
    latency_s: float | None = None
    remaining_requests: int | None = None
    reset_in_s: float | None = None
    detail: str = ""
    parts: tuple[ProviderStatus, ...] = ()
    models: Mapping[str, Shut] = field(default_factory=dict)
    keys: Mapping[str, Shut] = field(default_factory=dict)
    prices_as_of: date | None = None

    @property
    def load(self) -> float | None:
        """In flight, as a share of what is allowed; None without a limit."""
        return self.in_flight / self.max_in_flight if self.max_in_flight else None

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{one.provider} {one.breaker or ('answering' if one.available else 'away')}"
            for one in self.parts or (self,)
        )
        return f"<ProviderStatus {shown}>"

    def _repr_html_(self) -> str:
        from runtime.panels import status_html

        return status_html(self)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage:
    """One model's share of a report.

    `answered` of the `requests` had an answer, `errors` failed, the rest were given up by their callers.
    What those used that were given up or cut off is in the tokens and the cost, as far as we know it.
    `unpriced_requests` used something at an unknown price: `cost_nanousd` does not hold them.
    The costs of the parts are those that were reported; where a provider named only a total, they are less. Those of
    cached and written input are part of the input's, that of thoughts is part of the output's.
    `cached_input_tokens` and `cache_write_tokens` are part of the input, `reasoning_tokens` of the output.
    `estimated_requests` have token counts that are ours in whole or in part, as the provider did not report them all.
    """

    requests: int = 0
    answered: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nanousd: int = 0
    input_cost_nanousd: int = 0
    output_cost_nanousd: int = 0
    unpriced_requests: int = 0
    estimated_requests: int = 0
    latency_sum_s: float = 0.0
    cached_input_cost_nanousd: int = 0
    cache_write_cost_nanousd: int = 0
    reasoning_cost_nanousd: int = 0
    per_call_cost_nanousd: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def average_latency_s(self) -> float | None:
        """Of answered requests; None without any."""
        return self.latency_sum_s / self.answered if self.answered else None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """What was used from `start_s` to `end_s`. `models` is by `provider/model`; `total` is their sum."""

    period: UsagePeriod
    start_s: float
    end_s: float
    total: ModelUsage = ModelUsage()
    models: Mapping[str, ModelUsage] = field(default_factory=dict)

    @property
    def start(self) -> datetime:
        return datetime.fromtimestamp(self.start_s, UTC)

    @property
    def end(self) -> datetime:
        return datetime.fromtimestamp(self.end_s, UTC)

    @property
    def requests(self) -> int:
        return self.total.requests

    @property
    def errors(self) -> int:
        return self.total.errors

    @property
    def cost_nanousd(self) -> int:
        return self.total.cost_nanousd

    @property
    def average_latency_s(self) -> float | None:
        return self.total.average_latency_s

    def __repr__(self) -> str:
        from runtime.display import usd

        return f"<UsageReport {self.period}: {self.requests:,} requests, {usd(self.cost_nanousd)}>"

    def _repr_html_(self) -> str:
        from runtime.panels import usage_html

        return usage_html(self)


def add_usage(parts: Iterable[ModelUsage]) -> ModelUsage:
    """The sum of all parts, field by field."""
    sums: dict[str, Any] = {one.name: 0 for one in fields(ModelUsage)}
    for part in parts:
        for name in sums:
            sums[name] += getattr(part, name)
    return ModelUsage(**sums)


def merge_usage(period: UsagePeriod, reports: Iterable[UsageReport]) -> UsageReport:
    """One report of many, each about other requests. Averages come from sums, never from averages."""
    reports = list(reports)
    models: dict[str, list[ModelUsage]] = {}
    for report in reports:
        for name, usage in report.models.items():
            models.setdefault(name, []).append(usage)
    return UsageReport(
        period=period,
        start_s=min((report.start_s for report in reports), default=0.0),
        end_s=max((report.end_s for report in reports), default=0.0),
        total=add_usage(report.total for report in reports),
        models={name: add_usage(parts) for name, parts in sorted(models.items())},
    )
