"""Drives one request from start to settlement: plan, ask, fail over, answer. The same class everywhere.

In a Serve replica it runs over `EdgeProvider`s, behind the manager's handle over actors' refs; it cannot tell.
Whom to ask is decided by `strategy` and `failover`; here they are only obeyed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from runtime.catalog import Catalog, ModelInfo
from runtime.failover import Failover, GiveUp, RetryBudget, RetryPolicy
from runtime.outcome import (
    Attempt,
    Completion,
    Embeddings,
    Failure,
    FailureKind,
    Outcome,
    StreamEnd,
    StreamEvent,
    StreamStart,
)
from runtime.price import CostEstimate, estimate
from runtime.provider import Upstream
from runtime.reports import HealthReport, ProviderStatus, UsagePeriod, UsageReport, merge_usage
from runtime.request import EmbedRequest, Request
from runtime.strategy import Candidate, Entry, Strategy, order, round_robin

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a gateway goes by; replaced as a whole when settings change, so no request sees half of a change.

    `ceilings_nanousd` are the most that one request may cost at a provider, by its settings; `fallback_models` are
    asked at the same provider after all that the request's own model resolved to.
    """

    catalog: Catalog
    upstreams: Mapping[str, Upstream]
    strategy: Strategy = round_robin
    retry: RetryPolicy = RetryPolicy()
    deadline_s: float = 600.0
    ceilings_nanousd: Mapping[str, int] = field(default_factory=dict)
    fallback_models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    priority: Mapping[str, int] = field(default_factory=dict)


class _Asked(Protocol):
    """What `Request` and `EmbedRequest` have in common."""

    @property
    def model(self) -> str: ...
    @property
    def deadline_s(self) -> float | None: ...


Answer = TypeVar("Answer", Completion, Embeddings)


@dataclass(slots=True)
class _Run:
    """One request under way: its candidates, its clock, and what was tried."""

    failover: Failover
    candidate: Candidate
    begun: float
    ends: float
    attempts: list[Attempt] = field(default_factory=list)
    upstream_s: float = 0.0

    def tried(self, outcome: Completion | Embeddings | Failure, started: float, now: float) -> tuple[Attempt, ...]:
        ok = not isinstance(outcome, Failure)
        self.upstream_s += outcome.latency_s if not isinstance(outcome, Failure) else now - started
        self.attempts.append(
            Attempt(
                provider=self.candidate.provider,
                model=self.candidate.model,
                outcome="ok" if ok else outcome.kind,
                elapsed_s=now - started,
                detail="" if not isinstance(outcome, Failure) else outcome.detail,
            )
        )
        return tuple(self.attempts)


class Gateway:
    """Implements `Provider` over many of them. Belongs to one event loop."""

    name = "raygate"

    def __init__(
        self,
        policy: Policy,
        *,
        clock: Callable[[], float],
        sleep: Sleep = asyncio.sleep,
        rng: random.Random,
    ) -> None:
        self.policy = policy
        self._clock = clock
        self._sleep = sleep
        self._rng = rng
        self._turn = 0
        self._retries = RetryBudget(policy.retry.budget_ratio)

    async def initialize(self) -> None:
        for upstream in self.policy.upstreams.values():
            await upstream.initialize()

    async def complete(self, request: Request) -> Outcome:
        run = self._begin(request, self._plan(request))
        if isinstance(run, Failure):
            return run
        while True:
            started = self._clock()
            asked = self._addressed(request, run, started)
            outcome = await self.policy.upstreams[run.candidate.provider].complete(asked)
            verdict = await self._judge(outcome, run, started)
            if verdict is not None:
                return self._finished(verdict, run, request)

    async def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        run = self._begin(request, self._plan(request))
        if isinstance(run, Failure):
            yield StreamEnd(outcome=run)
            return
        while True:
            started = self._clock()
            asked = self._addressed(request, run, started)
            committed = False
            outcome: Outcome = Failure(kind=FailureKind.INTERRUPTED, detail="the stream ended without an outcome")
            async with aclosing(self.policy.upstreams[run.candidate.provider].stream(asked)) as events:
                async for event in events:
                    if isinstance(event, StreamEnd):
                        outcome = event.outcome
                        break
                    if isinstance(event, StreamStart):
                        committed = True
                        event = replace(event, attempts=tuple(run.attempts), request_id=request.request_id)
                    yield event
            if committed:
                # Nobody can take over from here: whatever came is the stream's last word.
                run.tried(outcome, started, self._clock())
                yield StreamEnd(outcome=self._finished(outcome, run, request))
                return
            verdict = await self._judge(outcome, run, started)
            if verdict is not None:
                yield StreamEnd(outcome=self._finished(verdict, run, request))
                return

    async def embed(self, request: EmbedRequest) -> Embeddings | Failure:
        run = self._begin(request, self._resolve(request.model))
        if isinstance(run, Failure):
            return run
        while True:
            started = self._clock()
            asked = replace(request, model=run.candidate.model, deadline_s=run.ends - started)
            outcome = await self.policy.upstreams[run.candidate.provider].embed(asked)
            verdict = await self._judge(outcome, run, started)
            if verdict is not None:
                return verdict

    async def estimate_cost(self, request: Request) -> CostEstimate | Failure:
        """At the first candidate as things stand now."""
        plan = self._plan(request)
        if isinstance(plan, Failure):
            return plan
        return await self.policy.upstreams[plan[0].provider].estimate_cost(replace(request, model=plan[0].model))

    async def health_check(self) -> HealthReport:
        reports = await asyncio.gather(*(one.health_check() for one in self.policy.upstreams.values()))
        return HealthReport(
            provider=self.name,
            healthy=any(report.healthy for report in reports),
            latency_s=max((report.latency_s for report in reports), default=0.0),
            at_s=max((report.at_s for report in reports), default=0.0),
            parts=tuple(reports),
        )

    async def list_models(self) -> tuple[ModelInfo, ...]:
        lists = await asyncio.gather(*(one.list_models() for one in self.policy.upstreams.values()))
        return tuple(info for models in lists for info in models)

    async def model_info(self, model: str) -> ModelInfo | None:
        resolved = self.policy.catalog.resolve(model)
        return self.policy.catalog.info(*resolved[0]) if resolved else None

    async def validate_model(self, model: str) -> bool:
        return not isinstance(self._resolve(model), Failure)

    async def status(self) -> ProviderStatus:
        parts = await asyncio.gather(*(one.status() for one in self.policy.upstreams.values()))
        return ProviderStatus(
            provider=self.name,
            available=any(part.available for part in parts),
            in_flight=sum(part.in_flight for part in parts),
            parts=tuple(parts),
        )

    async def usage(self, period: UsagePeriod = "day") -> UsageReport:
        reports = await asyncio.gather(*(one.usage(period) for one in self.policy.upstreams.values()))
        return merge_usage(period, reports)

    async def metrics(self) -> Mapping[str, float]:
        merged: dict[str, float] = {}
        for name, upstream in self.policy.upstreams.items():
            merged |= {f"{name}.{metric}": value for metric, value in (await upstream.metrics()).items()}
        return merged

    async def clear_cache(self) -> int:
        return sum([await one.clear_cache() for one in self.policy.upstreams.values()])

    async def close(self) -> None:
        for upstream in self.policy.upstreams.values():
            await upstream.close()

    # Whom to ask.

    def _plan(self, request: Request) -> list[Candidate] | Failure:
        """The candidates in the order in which to ask them; never empty."""
        resolved = self._resolve(request.model)
        if isinstance(resolved, Failure):
            return resolved
        affordable = [one for one in resolved if self._within_ceiling(request, one)]
        if not affordable:
            return Failure(
                kind=FailureKind.BUDGET_EXCEEDED,
                model=request.model,
                code="max_cost_exceeded",
                detail="no candidate is certain to cost no more than the limit of this request (an unknown price is "
                "not); raise max_cost, lower max_tokens, or choose a cheaper model",
            )
        now = self._clock()
        entries = [self._entry(candidate, now) for candidate in affordable]
        ordered = order(self.policy.strategy, entries, turn=self._turn, rng=self._rng)
        self._turn += 1
        wanted = request.cost
        if wanted.preferred_models or wanted.preferred_providers:
            ordered.sort(
                key=lambda one: one.model not in wanted.preferred_models
                and one.provider not in wanted.preferred_providers
            )
        spares = [
            Candidate(one.provider, model)
            for one in ordered
            for model in self.policy.fallback_models.get(one.provider, ())
        ]
        return list(dict.fromkeys([*ordered, *(one for one in spares if self._within_ceiling(request, one))]))

    def _resolve(self, model: str) -> list[Candidate] | Failure:
        catalog = self.policy.catalog
        found = [Candidate(*pair) for pair in catalog.resolve(model) if pair[0] in self.policy.upstreams]
        if found:
            return found
        near = catalog.nearest(model)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        return Failure(
            kind=FailureKind.MODEL_NOT_FOUND,
            model=model,
            param="model",
            code="model_not_found",
            detail=f"no provider serves a model named {model!r}{hint} (GET /v1/models lists them; "
            "provider/model asks a provider for a model that the list lacks)"
            if model
            else "the request names no model and no default_model is set; name one (GET /v1/models lists them)",
        )

    def _within_ceiling(self, request: Request, candidate: Candidate) -> bool:
        limits = (request.cost.max_cost_nanousd, self.policy.ceilings_nanousd.get(candidate.provider))
        ceiling = min((limit for limit in limits if limit is not None), default=None)
        if ceiling is None:
            return True
        expected = estimate(request, self.policy.catalog.info(candidate.provider, candidate.model))
        return expected.cost is not None and expected.cost.total_nanousd <= ceiling

    def _entry(self, candidate: Candidate, now: float) -> Entry:
        vitals = self.policy.upstreams[candidate.provider].vitals(candidate.model, now)
        return Entry(
            candidate=candidate,
            in_flight=vitals.in_flight,
            latency_s=vitals.latency_s,
            retry_in_s=vitals.retry_in_s,
            priority=self.policy.priority.get(candidate.provider, 0),
        )

    # How a run goes.

    def _begin(self, request: _Asked, plan: list[Candidate] | Failure) -> _Run | Failure:
        if isinstance(plan, Failure):
            return plan
        begun = self._clock()
        failover = Failover(plan, self.policy.retry, self._rng, self._retries)
        limit_s = self.policy.deadline_s if request.deadline_s is None else request.deadline_s
        return _Run(failover, failover.first(), begun, begun + limit_s)

    def _addressed(self, request: Request, run: _Run, now: float) -> Request:
        return replace(request, model=run.candidate.model, deadline_s=max(0.0, run.ends - now))

    async def _judge(self, outcome: Answer | Failure, run: _Run, started: float) -> Answer | Failure | None:
        """The answer or the final failure; None once the next candidate's turn has come."""
        now = self._clock()
        run.tried(outcome, started, now)
        if not isinstance(outcome, Failure):
            return outcome
        step = run.failover.after(outcome, remaining_s=run.ends - now)
        if isinstance(step, GiveUp):
            return step.failure
        run.candidate = step.candidate
        if step.after_s > 0.0:
            run.upstream_s += step.after_s
            await self._sleep(step.after_s)
        return None

    def _finished(self, outcome: Outcome, run: _Run, request: Request) -> Outcome:
        attempts = tuple(run.attempts)
        if isinstance(outcome, Failure):
            return replace(outcome, attempts=attempts, request_id=request.request_id)
        overhead_s = max(0.0, self._clock() - run.begun - run.upstream_s)
        return replace(outcome, attempts=attempts, overhead_s=overhead_s, request_id=request.request_id)

