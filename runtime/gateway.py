"""Drives one request from start to settlement: plan, ask, fail over, answer. The same class everywhere.

In a Serve replica it runs over `EdgeProvider`s, behind the manager's handle over actors' refs; it cannot tell.
Whom to ask is decided by `strategy` and `failover`; here they are only obeyed. A request keeps the `Policy` that it
began with, whatever the settings become meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from runtime.cache import AnswerCache
from runtime.catalog import Catalog, ModelInfo
from runtime.defaults import with_defaults
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
from runtime.request import EmbedRequest, Request, Sampling
from runtime.single_flight import SingleFlight
from runtime.strategy import Candidate, Entry, Strategy, order, round_robin

log = logging.getLogger("raygate.gateway")

Sleep = Callable[[float], Awaitable[None]]

MOST_TURNS = 1_000
"""Names whose turns are remembered. Names come from callers, so they must not fill the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a gateway goes by; replaced as a whole when settings change, so no request sees half of a change.

    `ceilings_nanousd` are the most that one request may cost at a provider, by its settings; `sampling` is what a
    provider fills in, which counts for the estimate; `fallback_models` are asked at the same provider after all that
    the request's own model resolved to.
    """

    catalog: Catalog
    upstreams: Mapping[str, Upstream]
    strategy: Strategy = round_robin
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    deadline_s: float = 600.0
    ceilings_nanousd: Mapping[str, int] = field(default_factory=dict)
    sampling: Mapping[str, Sampling] = field(default_factory=dict)
    fallback_models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    priority: Mapping[str, int] = field(default_factory=dict)
    cache: AnswerCache | None = None
    single_flight: bool = True


class _Asked(Protocol):
    """What `Request` and `EmbedRequest` have in common."""

    @property
    def deadline_s(self) -> float | None: ...
    @property
    def request_id(self) -> str: ...


T = TypeVar("T")
Answer = TypeVar("Answer", Completion, Embeddings)


@dataclass(slots=True)
class _Run:
    """One request under way: its policy, its candidates, its clock, and what was tried.

    `elsewhere_s` is the time that was not ours: providers', waits before a retry, the reader's of a stream.
    """

    policy: Policy
    failover: Failover
    candidate: Candidate
    begun: float
    ends: float
    attempts: list[Attempt] = field(default_factory=list)
    elsewhere_s: float = 0.0

    @property
    def upstream(self) -> Upstream:
        return self.policy.upstreams[self.candidate.provider]

    def left_s(self, now: float) -> float:
        return max(0.0, self.ends - now)

    def tried(self, outcome: Completion | Embeddings | Failure, started: float, now: float) -> None:
        failure = outcome if isinstance(outcome, Failure) else None
        self.elsewhere_s += now - started if isinstance(outcome, Failure) else outcome.latency_s + outcome.queue_s
        self.attempts.append(
            Attempt(
                provider=self.candidate.provider,
                model=self.candidate.model,
                outcome=failure.kind if failure else "ok",
                elapsed_s=now - started,
                detail=failure.detail if failure else "",
            )
        )


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
        self._turns: dict[str, int] = {}
        self._retries = RetryBudget(policy.retry.budget_ratio)
        self._once = SingleFlight(clock)

    async def initialize(self) -> None:
        await self._each("initialize", lambda one: one.initialize())

    async def complete(self, request: Request) -> Outcome:
        if self._once.applies(request, self.policy):
            return await self._once.complete(request, self.policy, self._complete)
        return await self._complete(request)

    def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        if self._once.applies(request, self.policy):
            return self._once.stream(request, self.policy, self._stream)
        return self._stream(request)

    async def _complete(self, request: Request) -> Outcome:
        run = self._begin(request, self._plan(request, self._turn(request.model)))
        if isinstance(run, Failure):
            return run
        while True:
            started = self._clock()
            outcome = await run.upstream.complete(self._addressed(request, run, started))
            verdict = await self._judge(outcome, run, started)
            if verdict is not None:
                return self._finished(verdict, run, request)

    async def _stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        run = self._begin(request, self._plan(request, self._turn(request.model)))
        if isinstance(run, Failure):
            yield StreamEnd(outcome=run)
            return
        while True:
            started = self._clock()
            committed = False
            outcome: Outcome = self._endless(run)
            async with aclosing(run.upstream.stream(self._addressed(request, run, started))) as events:
                async for event in events:
                    if isinstance(event, StreamEnd):
                        outcome = event.outcome
                        break
                    given = self._clock()
                    if isinstance(event, StreamStart):
                        committed = True
                        overhead_s = max(0.0, started - run.begun - run.elsewhere_s)
                        yield replace(
                            event,
                            attempts=tuple(run.attempts),
                            request_id=request.request_id,
                            overhead_s=overhead_s,
                        )
                    else:
                        yield event
                    run.elsewhere_s += self._clock() - given
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
        run = self._begin(request, self._embedders(request))
        if isinstance(run, Failure):
            return run
        while True:
            started = self._clock()
            asked = replace(request, model=run.candidate.model, deadline_s=run.left_s(started))
            outcome = await run.upstream.embed(asked)
            verdict = await self._judge(outcome, run, started)
            if isinstance(verdict, Failure):
                return replace(verdict, attempts=tuple(run.attempts), request_id=request.request_id)
            if verdict is not None:
                return verdict

    async def estimate_cost(self, request: Request) -> CostEstimate | Failure:
        """At the first candidate as things stand now."""
        plan = self._plan(request, self._turns.get(request.model, 0))
        if isinstance(plan, Failure):
            return plan
        return await self.policy.upstreams[plan[0].provider].estimate_cost(replace(request, model=plan[0].model))

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
        return not isinstance(self._resolve(model), Failure)

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
        ours = {"answers.shared": float(self._once.shared), "answers.cached": float(self._once.cached)}
        each = {f"{name}.{metric}": value for name, all_of in found.items() for metric, value in (all_of or {}).items()}
        return {**each, **ours}

    async def clear_cache(self) -> int:
        forgotten = await self._each("clear_cache", lambda one: one.clear_cache())
        ours = self.policy.cache.clear() if self.policy.cache else 0
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

    # Whom to ask.

    def _plan(self, request: Request, turn: int) -> list[Candidate] | Failure:
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
                detail="no candidate is expected to cost at most what this request may (an unknown price is "
                "no expectation); raise max_cost, lower max_tokens, or choose a cheaper model",
            )
        now = self._clock()
        entries = [self._entry(candidate, now, request) for candidate in affordable]
        ordered = order(self.policy.strategy, entries, turn=turn, rng=self._rng)
        # Behind everyone whom the request's own model resolved to, and in the order of the settings.
        spares = [
            Candidate(provider, model)
            for provider in dict.fromkeys(one.provider for one in ordered)
            for model in self.policy.fallback_models.get(provider, ())
        ]
        return list(dict.fromkeys([*ordered, *(one for one in spares if self._within_ceiling(request, one))]))

    def _embedders(self, request: EmbedRequest) -> list[Candidate] | Failure:
        """Whoever has the first candidate's model: vectors of another one would be worthless beside these."""
        resolved = self._resolve(request.model)
        if isinstance(resolved, Failure):
            return resolved
        now = self._clock()
        entries = [self._entry(one, now) for one in resolved if one.model == resolved[0].model]
        return order(self.policy.strategy, entries, turn=self._turn(request.model), rng=self._rng)

    def _turn(self, model: str) -> int:
        """How many requests for this name came before. Names take their own turns, or two would share one rhythm."""
        if len(self._turns) >= MOST_TURNS and model not in self._turns:
            self._turns.clear()
        turn = self._turns.get(model, 0)
        self._turns[model] = turn + 1
        return turn

    def _resolve(self, model: str) -> list[Candidate] | Failure:
        catalog = self.policy.catalog
        known = [Candidate(*pair) for pair in catalog.resolve(model)]
        usable = [one for one in known if one.provider in self.policy.upstreams]
        if usable:
            return usable
        if known:
            names = ", ".join(dict.fromkeys(one.provider for one in known))
            return Failure(
                kind=FailureKind.UNAVAILABLE,
                provider=known[0].provider,
                model=known[0].model,
                detail=f"{names} cannot be used at the moment: still starting, or a key or another setting is missing; "
                "the log says which",
            )
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
        sent = with_defaults(request, self.policy.sampling.get(candidate.provider, Sampling()))
        expected = estimate(sent, self.policy.catalog.info(candidate.provider, candidate.model))
        return expected.cost is not None and expected.cost.total_nanousd <= ceiling

    def _entry(self, candidate: Candidate, now: float, request: Request | None = None) -> Entry:
        vitals = self.policy.upstreams[candidate.provider].vitals(candidate.model, now)
        return Entry(
            candidate=candidate,
            in_flight=vitals.in_flight,
            latency_s=vitals.latency_s,
            retry_in_s=vitals.retry_in_s,
            priority=self.policy.priority.get(candidate.provider, 0),
            preferred=request is not None and _prefers(request, candidate),
        )

    # How a run goes.

    def _begin(self, request: _Asked, plan: list[Candidate] | Failure) -> _Run | Failure:
        if isinstance(plan, Failure):
            return replace(plan, request_id=request.request_id)
        begun = self._clock()
        policy = self.policy
        if self._retries.ratio != policy.retry.budget_ratio:
            self._retries = RetryBudget(policy.retry.budget_ratio)
        failover = Failover(plan, policy.retry, self._rng, self._retries)
        limit_s = policy.deadline_s if request.deadline_s is None else request.deadline_s
        return _Run(policy, failover, failover.first(), begun, begun + limit_s)

    def _addressed(self, request: Request, run: _Run, now: float) -> Request:
        return replace(request, model=run.candidate.model, deadline_s=run.left_s(now))

    def _endless(self, run: _Run) -> Failure:
        """What a stream comes to whose upstream broke its word and gave no end."""
        provider, model = run.candidate.provider, run.candidate.model
        detail = f"the stream from {provider} ended without an outcome"
        return Failure(kind=FailureKind.INTERRUPTED, provider=provider, model=model, detail=detail)

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
            await self._sleep(step.after_s)
            run.elsewhere_s += self._clock() - now
        return None

    def _finished(self, outcome: Outcome, run: _Run, request: Request) -> Outcome:
        attempts = tuple(run.attempts)
        if isinstance(outcome, Failure):
            return replace(outcome, attempts=attempts, request_id=request.request_id)
        overhead_s = max(0.0, self._clock() - run.begun - run.elsewhere_s)
        return replace(outcome, attempts=attempts, overhead_s=overhead_s, request_id=request.request_id)


def _prefers(request: Request, candidate: Candidate) -> bool:
    models, providers = request.cost.preferred_models, request.cost.preferred_providers
    full = f"{candidate.provider}/{candidate.model}"
    return candidate.model in models or full in models or candidate.provider in providers
