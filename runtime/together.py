"""What a gateway answers by asking all of its providers: how they are, what they have, what they used."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from runtime.catalog import ModelInfo
from runtime.outcome import Failure
from runtime.plan import Policy, resolve
from runtime.provider import Upstream
from runtime.reports import HealthReport, ProviderStatus, UsagePeriod, UsageReport, merge_usage

log = logging.getLogger("raygate.gateway")

T = TypeVar("T")


class Together:
    """The questions of `Provider` that are not about one request."""

    name = "raygate"

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    async def initialize(self) -> None:
        await self._each("initialize", lambda one: one.initialize())

    async def health_check(self) -> HealthReport:
        reports = await self._each("health_check", lambda one: one.health_check())
        parts = [
            report or HealthReport(provider=name, healthy=False, detail="out of reach")
            for name, report in reports.items()
        ]
        return HealthReport(
            provider=self.name,
            healthy=any(part.healthy for part in parts),
            latency_s=max((part.latency_s for part in parts), default=0.0),
            at_s=max((part.at_s for part in parts), default=0.0),
            parts=tuple(parts),
        )

    async def list_models(self) -> tuple[ModelInfo, ...]:
        catalog = self.policy.catalog
        lists = await self._each("list_models", lambda one: one.list_models())
        return tuple(
            info for name, models in lists.items() for info in (catalog.models(name) if models is None else models)
        )

    async def model_info(self, model: str) -> ModelInfo | None:
        resolved = self.policy.catalog.resolve(model)
        return self.policy.catalog.info(*resolved[0]) if resolved else None

    async def validate_model(self, model: str) -> bool:
        return not isinstance(resolve(self.policy, model), Failure)

    async def status(self) -> ProviderStatus:
        found = await self._each("status", lambda one: one.status())
        parts = [
            part or ProviderStatus(provider=name, available=False, detail="out of reach")
            for name, part in found.items()
        ]
        return ProviderStatus(
            provider=self.name,
            available=any(part.available for part in parts),
            in_flight=sum(part.in_flight for part in parts),
            parts=tuple(parts),
        )

    async def usage(self, period: UsagePeriod = "day") -> UsageReport:
        reports = await self._each("usage", lambda one: one.usage(period))
        return merge_usage(period, [report for report in reports.values() if report is not None])

    async def metrics(self) -> Mapping[str, float]:
        found = await self._each("metrics", lambda one: one.metrics())
        return {f"{name}.{metric}": value for name, all_of in found.items() for metric, value in (all_of or {}).items()}

    async def clear_cache(self) -> int:
        forgotten = await self._each("clear_cache", lambda one: one.clear_cache())
        ours = 0 if self.policy.cache is None else self.policy.cache.clear()
        return ours + sum(count or 0 for count in forgotten.values())

    async def close(self) -> None:
        await self._each("close", lambda one: one.close())

    async def _each(self, what: str, ask: Callable[[Upstream], Awaitable[T]]) -> dict[str, T | None]:
        """Everyone's answer, by name; None from whom there was none: one out of reach must not hide the rest."""
        upstreams = self.policy.upstreams
        answers = await asyncio.gather(*map(ask, upstreams.values()), return_exceptions=True)
        given: dict[str, T | None] = {}
        for name, answer in zip(upstreams, answers, strict=True):
            if isinstance(answer, BaseException):
                log.warning("gateway.no_answer", extra={"provider": name, "what": what, "why": str(answer)})
                given[name] = None
            else:
                given[name] = answer
        return given
