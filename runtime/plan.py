"""Whom to ask for a request, and in which order: settings, what is known of the candidates, and the strategy.

    name ─► catalogue ─► usable ─► balance (filters, strategy) ─► fallback models, then fallbacks, behind
            └────── remembered ──┘

This is on the path of every request. So what stays the same of a name's candidates is put together once (`Known`), and
only so much of a request is looked at as its strategy goes by.

How a request is carried (attempts, limits, hedging) is its `Route`: that of the name that was asked for, if the
settings have one, else the general one.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from runtime.balance.asked import asked_of
from runtime.balance.entry import Asked, Candidate, Entry, Why
from runtime.balance.filters import sift
from runtime.balance.plan import Plan, Routing, usual_lengths
from runtime.balance.plan import plan as balance
from runtime.balance.score import tabled
from runtime.balance.turns import Turns
from runtime.cache import AnswerCache, Caching
from runtime.cache.semantic import Meanings
from runtime.cache.shared import SharedTier
from runtime.catalog import Catalog
from runtime.defaults import with_defaults
from runtime.failover import RetryPolicy
from runtime.hedge import HedgePolicy
from runtime.hooks.chain import Chain
from runtime.learning.advice import Advises, Decision
from runtime.learning.values import NOBODYS
from runtime.ledger.accounts import matches
from runtime.models import ModelInfo
from runtime.outcome import Failure, FailureKind
from runtime.price import CostEstimate, estimate
from runtime.provider import Upstream
from runtime.request import AttemptLimits, EmbedRequest, Request, Sampling
from runtime.token_ratio import Ratios
from runtime.tokens import shape_of
from runtime.values import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How requests by one name are carried.

    `timeout_s` bounds a request's own deadline, too. Without `hedge` nobody is asked beside a slow one. `larger` are
    names to ask where a request was too long. `routing` orders the candidates; None goes by the general one.
    `residency` are tags of which a provider must have all; `max_latency_s` and `min_quality` as in a request's
    `CostLimits`. `caching` is what is remembered of the answers; None for nothing.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_s: float | None = None
    limits: AttemptLimits | None = None
    hedge: HedgePolicy | None = None
    continue_streams: bool = False
    larger: tuple[str, ...] = ()
    routing: Routing | None = None
    residency: frozenset[str] = frozenset()
    max_latency_s: float | None = None
    min_quality: float | None = None
    caching: Caching | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What the settings say of a provider that matters for the choice."""

    weight: float = 1.0
    priority: int = 0
    tags: frozenset[str] = frozenset()
    local: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What of a candidate is the same for every request. `family` is its model's name without a maker's before it."""

    candidate: Candidate
    upstream: Upstream
    info: ModelInfo | None
    traits: Traits
    family: str
    quality: float | None
    typical_s: float | None
    ceiling_nanousd: int | None


@dataclass(frozen=True, slots=True)
class Field:
    """The candidates of one name, on one day, for prices change. `window` is the smallest context that is known."""

    day: date
    known: tuple[Known, ...]
    window: int | None


PLAIN = Traits()
IN_TURN = Routing(strategy="round_robin")

BY_LENGTH = frozenset(("cost", "balanced", "rules", "learned"))
"""Strategies that go by the length of the prompt."""

BY_MEMORY = frozenset(("latency", "learned", "cost", "balanced", "rules"))
"""Strategies that go by what a provider probably remembers of it."""

MOST_NAMES = 1_000
"""Names whose candidates are remembered. Names come from callers, so they must not fill the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a gateway goes by; replaced as a whole when settings change, so no request sees half of a change.

    `routes` are by the name that was asked for, empty for none; `general` is for all other names.
    `ceilings_nanousd` are the most that one request may cost at a provider, by its settings; `sampling` is what a
    provider fills in, which counts for the estimate; `fallback_models` are asked at the same provider after all that
    the request's own model resolved to, and behind them the catalogue's fallbacks of providers that are `backed`.
    `traits` are by provider, `quality` by provider/model. `times_answers`: some route wants to know how long answers
    take. `scattered`: there are more gateways than this one, and not all should take their first turn with the same
    provider. `adviser` is whoever learned. `hooks` is None where there are none. `brands` say by provider what makes it
    the same one for a remembered answer. `fields` is what `field_of` remembers, `digests` what `runtime.eligible` does.
    """

    catalog: Catalog
    upstreams: Mapping[str, Upstream]
    routing: Routing = IN_TURN
    general: Route = field(default_factory=Route)
    routes: Mapping[str, Route] = field(default_factory=dict)
    deadline_s: float = 600.0
    ceilings_nanousd: Mapping[str, int] = field(default_factory=dict)
    sampling: Mapping[str, Sampling] = field(default_factory=dict)
    fallback_models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    backed: frozenset[str] = frozenset()
    traits: Mapping[str, Traits] = field(default_factory=dict)
    quality: Mapping[str, float] = field(default_factory=dict)
    cache: AnswerCache | None = None
    shared: SharedTier | None = None
    meanings: Meanings | None = None
    single_flight: bool = True
    times_answers: bool = False
    ratios: Ratios | None = None
    scattered: bool = False
    adviser: Advises | None = None
    hooks: Chain | None = None
    brands: Mapping[str, str] = field(default_factory=dict)
    fields: dict[str, Field] = field(init=False, default_factory=dict, compare=False, repr=False)
    digests: dict[tuple[str, tuple[str, ...]], tuple[date, bytes]] = field(
        init=False, default_factory=dict, compare=False, repr=False
    )

    def route(self, name: str) -> Route:
        return self.routes.get(name, self.general)

    def caching(self, request: Request) -> Caching | None:
        """What may be remembered of this request's answer; None for nothing."""
        ours = self.route(request.model).caching
        if ours is not None and not ours.sampled and (request.sampling.temperature or 0.0) > 0.0:
            return None
        return ours

    def eligible(self, request: Request) -> bytes:
        """A digest of all who could answer the request: part of a remembered answer's key."""
        allowed = request.billing.models if request.billing is not None else ()
        known = self.digests.get((request.model, allowed))
        if known is not None and known[0] == self.catalog.today():
            return known[1]
        from runtime.eligible import digest_of  # it needs all of this module, which needs its result alone

        if len(self.digests) >= MOST_NAMES:
            self.digests.clear()
        digest = digest_of(self, request.model, allowed)
        self.digests[request.model, allowed] = (self.catalog.today(), digest)
        return digest

    def seconds(self, route: Route, asked_s: float | None) -> float:
        """How long a request may take: as long as it says itself, and by a route with a limit no longer than that."""
        if route.timeout_s is None:
            return self.deadline_s if asked_s is None else asked_s
        return route.timeout_s if asked_s is None else min(route.timeout_s, asked_s)


class Ordered(NamedTuple):
    """`candidates` in the order in which to ask them, never empty; what was decided by learning, if anything was."""

    candidates: list[Candidate]
    decision: Decision | None = None


def chat_plan(policy: Policy, request: Request, *, turns: Turns, now: float, rng: random.Random) -> Ordered | Failure:
    found = field_of(policy, request.model)
    if isinstance(found, Failure):
        return found
    decision: Decision | None = None
    if len(found.known) == 1 and not _is_choosy(policy, found.known[0], request):
        ordered = [found.known[0].candidate]
    else:
        made = balanced_plan(policy, request, turns=turns, now=now, rng=rng)
        if isinstance(made, Failure):
            return made
        decision = made.decision
        # Who lacks a feature refuses without a call, and says which part of the request asks for it; how long a request
        # really is, the provider knows better. All else that is against a candidate is for us to say.
        ordered = list(made.candidates) or [
            one.candidate for one in made.dropped if one.why in (Why.FEATURE, Why.CONTEXT)
        ]
        if not ordered:
            return _nobody(request, made)
    if not (policy.fallback_models or policy.backed):
        return Ordered(ordered, decision)
    # Behind everyone whom the request's own model resolved to, and in the order of the settings.
    spares = [
        Candidate(provider, model)
        for provider in dict.fromkeys(one.provider for one in ordered)
        for model in policy.fallback_models.get(provider, ())
    ]
    spares = [one for one in spares if _may_follow(policy, request, one)]
    stand_ins = _stand_ins(policy, request, ordered, now)
    return Ordered(list(dict.fromkeys([*ordered, *spares, *stand_ins])), decision)


def _stand_ins(policy: Policy, request: Request, ordered: Sequence[Candidate], now: float) -> list[Candidate]:
    """Whom the settings put behind these providers, as far as the request may be sent there; in their order."""
    behind = [
        Candidate(*pair)
        for one in ordered
        if one.provider in policy.backed
        for pair in policy.catalog.fallbacks(one.provider, one.model)
    ]
    if not behind:
        return []
    known = [_known(policy, one) for one in dict.fromkeys(behind) if one.provider in policy.upstreams]
    kept, _ = sift(_entries(policy, known, now, request), _asked(policy, request, window=None, length_matters=False))
    return [entry.candidate for entry in kept]


def balanced_plan(policy: Policy, request: Request, *, turns: Turns, now: float, rng: random.Random) -> Plan | Failure:
    """The same with all its reasons, without the fallback models, and perhaps with nobody in it."""
    found = field_of(policy, request.model)
    if isinstance(found, Failure):
        return found
    route = policy.route(request.model)
    routing = route.routing or policy.routing
    entries = _entries(policy, found.known, now, request)
    learns = routing.strategy == "learned"
    asked = _asked(
        policy,
        request,
        window=found.window,
        length_matters=routing.strategy in BY_LENGTH,
        prefix_matters=routing.strategy in BY_MEMORY and len(entries) > 1,
        sticky=(routing.sticky and not request.cost.session) or learns,
        text_matters=routing.strategy == "rules" or learns,
    )
    if asked.input_tokens and policy.ratios is not None:
        shape = shape_of(request)
        for entry in entries:
            entry.input_tokens = policy.ratios.expected(entry.candidate.model, shape, asked.input_tokens)
    return balance(entries, asked, routing, turns=turns, key=request.model, rng=rng, adviser=policy.adviser)


def organisation(request: Request) -> str:
    """Whose experience counts for it."""
    return (request.billing.account.org if request.billing is not None else "") or NOBODYS


def _asked(
    policy: Policy,
    request: Request,
    *,
    window: int | None,
    length_matters: bool,
    prefix_matters: bool = False,
    sticky: bool = False,
    text_matters: bool = False,
) -> Asked:
    """What the request and its route demand."""
    route, cost = policy.route(request.model), request.cost
    return asked_of(
        request,
        session=cost.session,
        max_latency_s=_least(route.max_latency_s, cost.max_latency_s),
        min_quality=cost.min_quality if route.min_quality is None else max(route.min_quality, cost.min_quality or 0.0),
        residency=route.residency.union(cost.residency) if cost.residency else route.residency,
        window=window,
        length_matters=length_matters,
        prefix_matters=prefix_matters,
        sticky=sticky,
        text_matters=text_matters,
        allowed=_allowed(request),
        tenant=organisation(request),
    )


def _is_choosy(policy: Policy, known: Known, request: Request) -> bool:
    """Whether a plan might leave out the only candidate that there is, or learn from it; if not, there is nothing to
    plan."""
    route, cost = policy.route(request.model), request.cost
    return bool(
        _allowed(request)
        or (route.routing or policy.routing).strategy == "learned"
        or route.residency
        or cost.residency
        or (known.ceiling_nanousd, cost.max_cost_nanousd) != (None, None)
        or (route.max_latency_s, cost.max_latency_s) != (None, None)
        or (route.min_quality, cost.min_quality) != (None, None)
    )


def _least(one: float | None, other: float | None) -> float | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)


def field_of(policy: Policy, name: str) -> Field | Failure:
    """The candidates for this name, each once; never empty."""
    today = policy.catalog.today()
    remembered = policy.fields.get(name)
    if remembered is not None and remembered.day == today:
        return remembered
    resolved = resolve(policy, name)
    if isinstance(resolved, Failure):
        return resolved
    if len(policy.fields) >= MOST_NAMES:
        policy.fields.clear()
    known = tuple(_known(policy, one) for one in dict.fromkeys(resolved))
    windows = (one.info.context_length for one in known if one.info is not None)
    window = min((length for length in windows if length is not None), default=None)
    made = policy.fields[name] = Field(today, known, window)
    return made


def _known(policy: Policy, candidate: Candidate) -> Known:
    quality, typical_s = tabled(candidate.model)
    return Known(
        candidate=candidate,
        upstream=policy.upstreams[candidate.provider],
        info=policy.catalog.info(candidate.provider, candidate.model),
        traits=policy.traits.get(candidate.provider, PLAIN),
        family=candidate.model.rpartition("/")[2],
        quality=policy.quality.get(str(candidate), quality),
        typical_s=typical_s,
        ceiling_nanousd=policy.ceilings_nanousd.get(candidate.provider),
    )


def _nobody(request: Request, made: Plan) -> Failure:
    """Why there is nobody to ask, where somebody would be there for a request that demands less."""
    reasons = {one.why for one in made.dropped}
    if Why.COST in reasons:
        return Failure(
            kind=FailureKind.BUDGET_EXCEEDED,
            model=request.model,
            code="max_cost_exceeded",
            detail="no candidate is expected to cost at most what this request may (an unknown price is "
            "no expectation); raise max_cost, lower max_tokens, or choose a cheaper model",
        )
    if reasons == {Why.NOT_ALLOWED}:
        return Failure(
            kind=FailureKind.NOT_ALLOWED,
            model=request.model,
            code="model_not_allowed",
            detail=f"this key may not use {request.model or 'the default model'}: {made.dropped[0].detail}; ask for "
            "what it may, or have an admin add this one",
        )
    told = "; ".join(f"{one.candidate}: {one.detail}" for one in made.dropped)
    return Failure(
        kind=FailureKind.UNSUPPORTED,
        model=request.model,
        code="no_candidate",
        detail=f"nobody fits what is demanded of a provider ({told}); demand less, or add a provider",
    )


def embed_plan(
    policy: Policy, request: EmbedRequest, *, turns: Turns, now: float, rng: random.Random
) -> list[Candidate] | Failure:
    """Whoever has the first candidate's model: vectors of another one would be worthless beside these."""
    found = field_of(policy, request.model)
    if isinstance(found, Failure):
        return found
    route, model = policy.route(request.model), found.known[0].candidate.model
    entries = _entries(policy, [one for one in found.known if one.candidate.model == model], now)
    asked = Asked(residency=route.residency, allowed=_allowed(request))
    made = balance(entries, asked, route.routing or policy.routing, turns=turns, key=request.model, rng=rng)
    return list(made.candidates) or _nobody(Request(messages=(), model=request.model), made)


def larger_of(policy: Policy, route: Route, request: Request) -> list[Candidate]:
    """Whom the route names for requests that are too long for the others."""
    found = (resolve(policy, name) for name in route.larger)
    usable = [one for candidates in found if not isinstance(candidates, Failure) for one in candidates]
    return [one for one in usable if _may_follow(policy, request, one)]


def _may_follow(policy: Policy, request: Request, candidate: Candidate) -> bool:
    """Whether somebody may be asked whom the request did not name."""
    allowed = _allowed(request)
    return (not allowed or matches(str(candidate), allowed)) and within_ceiling(policy, request, candidate)


def _allowed(request: Request | EmbedRequest) -> tuple[str, ...]:
    """Patterns of what its payer may use; empty for all."""
    return request.billing.models if request.billing is not None else ()


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
    bound = _bound_nanousd(policy, request, candidate)
    return bound is not None and bound <= ceiling


def _bound_nanousd(policy: Policy, request: Request, candidate: Candidate) -> int | None:
    sent = with_defaults(request, policy.sampling.get(candidate.provider, Sampling()))
    expected = estimate(sent, policy.catalog.info(candidate.provider, candidate.model), policy.ratios)
    return expected.cost.total_nanousd if expected.cost else None


def estimates(policy: Policy, request: Request) -> tuple[CostEstimate, ...]:
    """What the request is expected to cost at each of its candidates, and then at whoever may be asked after them;
    empty where there is none."""
    found = field_of(policy, request.model)
    if isinstance(found, Failure):
        return ()
    asked = [(one.candidate, one.info) for one in found.known]
    route = policy.route(request.model)
    if policy.fallback_models or policy.backed or route.larger:
        behind = [
            Candidate(*pair)
            for one in found.known
            for pair in (
                *((one.candidate.provider, name) for name in policy.fallback_models.get(one.candidate.provider, ())),
                *(
                    policy.catalog.fallbacks(one.candidate.provider, one.candidate.model)
                    if one.candidate.provider in policy.backed
                    else ()
                ),
            )
        ]
        behind += larger_of(policy, route, request)
        known = {candidate for candidate, _ in asked}
        fresh = (one for one in dict.fromkeys(behind) if one not in known)
        asked += [(one, policy.catalog.info(one.provider, one.model)) for one in fresh]
    return tuple(_estimated(policy, request, one, info) for one, info in asked)


def _estimated(policy: Policy, request: Request, one: Candidate, info: ModelInfo | None) -> CostEstimate:
    if one.provider in policy.sampling:
        request = with_defaults(request, policy.sampling[one.provider])
    found = estimate(request, info, policy.ratios)
    return found if info is not None else replace(found, provider=one.provider, model=one.model)


def _entries(policy: Policy, known: Sequence[Known], now: float, request: Request | None = None) -> list[Entry]:
    vitals = [one.upstream.vitals(one.candidate.model, now) for one in known]
    lengths = usual_lengths([(one.family, of.output_tokens) for one, of in zip(known, vitals, strict=True)])
    capped = request is not None and request.cost.max_cost_nanousd is not None
    prefers = request is not None and (request.cost.preferred_models or request.cost.preferred_providers)
    entries = []
    for one, of in zip(known, vitals, strict=True):
        traits = one.traits
        entry = Entry(
            candidate=one.candidate,
            in_flight=of.in_flight,
            others_in_flight=of.others_in_flight,
            ttft_s=of.ttft_s,
            per_token_s=of.per_token_s,
            usual_load=of.usual_load,
            silent_s=of.silent_s,
            failed=of.failed,
            measured_ago_s=of.measured_ago_s,
            retry_in_s=of.retry_in_s,
            ramp=of.share,
            weight=traits.weight,
            priority=traits.priority,
            output_tokens=lengths.get(one.family),
            info=one.info,
            quality=one.quality,
            typical_s=one.typical_s if of.latency_s is None else of.latency_s,
            local=traits.local,
            tags=traits.tags,
        )
        if request is not None:
            if prefers:
                entry.preferred_provider, entry.preferred_model = _preferred(request, one.candidate)
            if capped or one.ceiling_nanousd is not None:
                entry.ceiling_nanousd = one.ceiling_nanousd
                entry.bound_nanousd = _bound_nanousd(policy, request, one.candidate)
        entries.append(entry)
    return entries


def _preferred(request: Request, candidate: Candidate) -> tuple[bool, bool]:
    """Whether the request prefers the provider, and whether the model."""
    models, providers = request.cost.preferred_models, request.cost.preferred_providers
    return candidate.provider in providers, candidate.model in models or str(candidate) in models
