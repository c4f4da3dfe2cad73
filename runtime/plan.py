"""Whom to ask for a request, and in which order: settings, what is known of the candidates, and the strategy.

    name ─► catalogue ─► usable ─► affordable ─► strategy ─► fallback models behind

How a request is carried (attempts, limits, hedging) is its `Route`: that of the name that was asked for, if the
settings have one, else the general one.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runtime.cache import AnswerCache
from runtime.catalog import Catalog
from runtime.defaults import with_defaults
from runtime.failover import RetryPolicy
from runtime.hedge import HedgePolicy
from runtime.outcome import Failure, FailureKind
from runtime.price import estimate
from runtime.provider import Upstream
from runtime.request import AttemptLimits, EmbedRequest, Request, Sampling
from runtime.strategy import Candidate, Entry, Strategy, order, round_robin
from runtime.token_ratio import Ratios


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How requests by one name are carried.

    `timeout_s` bounds a request's own deadline, too. Without `hedge` nobody is asked beside a slow one. `larger` are
    names to ask where a request was too long.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_s: float | None = None
    limits: AttemptLimits | None = None
    hedge: HedgePolicy | None = None
    continue_streams: bool = False
    larger: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a gateway goes by; replaced as a whole when settings change, so no request sees half of a change.

    `routes` are by the name that was asked for, empty for none; `general` is for all other names.
    `ceilings_nanousd` are the most that one request may cost at a provider, by its settings; `sampling` is what a
    provider fills in, which counts for the estimate; `fallback_models` are asked at the same provider after all that
    the request's own model resolved to. `times_answers`: some route wants to know how long answers take.
    """

    catalog: Catalog
    upstreams: Mapping[str, Upstream]
    strategy: Strategy = round_robin
    general: Route = field(default_factory=Route)
    routes: Mapping[str, Route] = field(default_factory=dict)
    deadline_s: float = 600.0
    ceilings_nanousd: Mapping[str, int] = field(default_factory=dict)
    sampling: Mapping[str, Sampling] = field(default_factory=dict)
    fallback_models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    priority: Mapping[str, int] = field(default_factory=dict)
    cache: AnswerCache | None = None
    single_flight: bool = True
    times_answers: bool = False
    ratios: Ratios | None = None

    def route(self, name: str) -> Route:
        return self.routes.get(name, self.general)

    def seconds(self, route: Route, asked_s: float | None) -> float:
        """How long a request may take: as long as it says itself, and by a route with a limit no longer than that."""
        if route.timeout_s is None:
            return self.deadline_s if asked_s is None else asked_s
        return route.timeout_s if asked_s is None else min(route.timeout_s, asked_s)


def chat_plan(
    policy: Policy, request: Request, *, turn: int, now: float, rng: random.Random
) -> list[Candidate] | Failure:
    """The candidates in the order in which to ask them; never empty."""
    resolved = resolve(policy, request.model)
    if isinstance(resolved, Failure):
        return resolved
    affordable = [one for one in resolved if within_ceiling(policy, request, one)]
    if not affordable:
        return Failure(
            kind=FailureKind.BUDGET_EXCEEDED,
            model=request.model,
            code="max_cost_exceeded",
            detail="no candidate is expected to cost at most what this request may (an unknown price is "
            "no expectation); raise max_cost, lower max_tokens, or choose a cheaper model",
        )
    entries = [_entry(policy, candidate, now, request) for candidate in affordable]
    ordered = order(policy.strategy, entries, turn=turn, rng=rng)
    # Behind everyone whom the request's own model resolved to, and in the order of the settings.
    spares = [
        Candidate(provider, model)
        for provider in dict.fromkeys(one.provider for one in ordered)
        for model in policy.fallback_models.get(provider, ())
    ]
    return list(dict.fromkeys([*ordered, *(one for one in spares if within_ceiling(policy, request, one))]))


def embed_plan(
    policy: Policy, request: EmbedRequest, *, turn: int, now: float, rng: random.Random
) -> list[Candidate] | Failure:
    """Whoever has the first candidate's model: vectors of another one would be worthless beside these."""
    resolved = resolve(policy, request.model)
    if isinstance(resolved, Failure):
        return resolved
    entries = [_entry(policy, one, now) for one in resolved if one.model == resolved[0].model]
    return order(policy.strategy, entries, turn=turn, rng=rng)


def larger_of(policy: Policy, route: Route, request: Request) -> list[Candidate]:
    """Whom the route names for requests that are too long for the others."""
    found = (resolve(policy, name) for name in route.larger)
    usable = [one for candidates in found if not isinstance(candidates, Failure) for one in candidates]
    return [one for one in usable if within_ceiling(policy, request, one)]


def resolve(policy: Policy, model: str) -> list[Candidate] | Failure:
    """Who may be asked for this name; never empty."""
    catalog = policy.catalog
    known = [Candidate(*pair) for pair in catalog.resolve(model)]
    usable = [one for one in known if one.provider in policy.upstreams]
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


def within_ceiling(policy: Policy, request: Request, candidate: Candidate) -> bool:
    """Whether the request is expected to cost no more there than it may."""
    limits = (request.cost.max_cost_nanousd, policy.ceilings_nanousd.get(candidate.provider))
    ceiling = min((limit for limit in limits if limit is not None), default=None)
    if ceiling is None:
        return True
    sent = with_defaults(request, policy.sampling.get(candidate.provider, Sampling()))
    expected = estimate(sent, policy.catalog.info(candidate.provider, candidate.model), policy.ratios)
    return expected.cost is not None and expected.cost.total_nanousd <= ceiling


def _entry(policy: Policy, candidate: Candidate, now: float, request: Request | None = None) -> Entry:
    vitals = policy.upstreams[candidate.provider].vitals(candidate.model, now)
    return Entry(
        candidate=candidate,
        in_flight=vitals.in_flight,
        latency_s=vitals.latency_s,
        retry_in_s=vitals.retry_in_s,
        share=vitals.share,
        priority=policy.priority.get(candidate.provider, 0),
        preferred=request is not None and _prefers(request, candidate),
    )


def _prefers(request: Request, candidate: Candidate) -> bool:
    models, providers = request.cost.preferred_models, request.cost.preferred_providers
    full = f"{candidate.provider}/{candidate.model}"
    return candidate.model in models or full in models or candidate.provider in providers
