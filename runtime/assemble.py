"""From settings to a provider that can be called. The one place where the parts are put together."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import orjson

from runtime import price_list
from runtime.admission import Admission, AdmissionPolicy
from runtime.balance.plan import Routing
from runtime.breaker import BreakerPolicy
from runtime.cache import AnswerCache, Caching
from runtime.cache.semantic import Meanings
from runtime.cache.shared import SharedTier
from runtime.catalog import Catalog
from runtime.dialects.base import Dialect, Target
from runtime.dialects.own import BadDialect, find
from runtime.dialects.scripted import BadScript, parse_script
from runtime.edge_provider import EdgeProvider
from runtime.entrance import AskPermit, ProviderSpec, Senses, nobody_to_ask
from runtime.failover import RetryPolicy
from runtime.feed import AuthorityPolicy, Endpoint, Observations
from runtime.gate import Gate
from runtime.hedge import HedgePolicy
from runtime.hooks.chain import Chain
from runtime.keyring import Key
from runtime.learning.advice import Advises, Learned
from runtime.ledger.books import Books, Till
from runtime.plan import Policy, Route, Traits
from runtime.provider import Upstream
from runtime.request import AttemptLimits, Sampling
from runtime.settings import (
    AdmissionSettings,
    AttemptSettings,
    BadSettings,
    CacheSettings,
    HedgeSettings,
    LearnedSettings,
    Problem,
    ProviderKind,
    ProviderSettings,
    RouteCacheSettings,
    RouteSettings,
    Settings,
    resolve_secret,
)
from runtime.sona.presets import TASTES
from runtime.standing import Standing
from runtime.token_ratio import Ratios
from runtime.transport.base import Limits, Transport
from runtime.transport.http1 import Http1Transport
from runtime.transport.scripted import ScriptedTransport
from runtime.transport.spread import Spread

NANO = 1_000_000_000

Sleep = Callable[[float], Awaitable[None]]

DIALECT_OF: dict[ProviderKind, str] = {
    **{kind: kind.value for kind in ProviderKind},
    # llama.cpp, and whoever else speaks it.
    ProviderKind.LOCAL: "openai",
    ProviderKind.CUSTOM: "openai",
}


PROVES_KEYS = frozenset(
    (
        ProviderKind.OPENAI,
        ProviderKind.OPENROUTER,
        ProviderKind.ANTHROPIC,
        ProviderKind.GOOGLE,
        ProviderKind.COHERE,
    )
)
"""Kinds whose free call is answered for a good key only. Who merely speaks OpenAI may list its models to anybody
(llama.cpp does), and so does Ollama."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What a process brings to all of its providers: clocks, chance, environment, its books."""

    senses: Senses
    rng: random.Random
    sleep: Sleep
    env: Mapping[str, str]
    observations: Observations = field(init=False)
    ratios: Ratios = field(default_factory=Ratios)
    on_change: Callable[[], None] = lambda: None
    books: Books | None = None
    till: Till | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "observations", Observations(self.senses.clock))

    def provider(
        self,
        name: str,
        settings: Settings,
        *,
        catalog: Catalog,
        endpoint: Endpoint | None = None,
        ask_permit: AskPermit = nobody_to_ask,
        standing: Standing | None = None,
    ) -> EdgeProvider:
        """The provider of this name; with `standing`, what is known of it is what was known of it before.

        Raises `BadSettings` where a secret is not to be had, or a script is wrong.
        """
        ours = settings.providers[name]
        if ours.kind in price_list.KINDS:
            price_list.load_soon()
        standing = standing or Standing(Gate(breaker_policy(settings), self.rng))
        standing.limit(places(ours, settings), self.senses.clock, self.rng)
        return EdgeProvider(
            spec=_spec(name, ours, settings, endpoint, self.env),
            dialect=_dialect(name, ours),
            transport=self._transport(name, ours, endpoint),
            catalog=catalog,
            standing=standing,
            observations=self.observations,
            senses=self.senses,
            ask_permit=ask_permit,
            on_change=self.on_change,
            books=self.books,
            till=self.till,
            ratios=self.ratios,
        )

    def _transport(self, name: str, ours: ProviderSettings, endpoint: Endpoint | None) -> Transport:
        if ours.kind is ProviderKind.SCRIPTED:
            try:
                return ScriptedTransport(parse_script(ours.script), self.sleep)
            except BadScript as error:
                raise BadSettings([Problem("", f"providers.{name}", str(error))]) from None
        if endpoint is not None and endpoint.copies:
            return Spread(Http1Transport(), endpoint.base_url, endpoint.copies, self.senses.clock)
        return Http1Transport()


def _dialect(name: str, ours: ProviderSettings) -> Dialect:
    try:
        return find(ours.dialect or DIALECT_OF[ours.kind])
    except BadDialect as bad:
        raise BadSettings([Problem("", f"providers.{name}.dialect", str(bad))]) from None


def breaker_policy(settings: Settings) -> BreakerPolicy:
    ours = settings.breaker
    return BreakerPolicy(
        failures=ours.failures,
        open_s=ours.open_s,
        probe_ttl_s=ours.probe_ttl_s,
        open_max_s=ours.open_max_s,
        ramp_s=ours.ramp_s,
    )


def admission_policy(
    ours: AdmissionSettings, *, most_in_flight: int | None = None, most_queued: int | None = None
) -> AdmissionPolicy:
    """How many at once, within what the process itself can carry."""
    return AdmissionPolicy(
        max_in_flight=min(ours.max_in_flight, most_in_flight or ours.max_in_flight),
        max_queued=min(ours.max_queued, most_queued or ours.max_queued),
        max_wait_s=ours.max_wait_s,
    )


class Places:
    """A process's queue for places: made for the first settings that it is asked under, then following them."""

    def __init__(
        self,
        clock: Callable[[], float],
        rng: random.Random,
        *,
        on_change: Callable[[Admission], None] = lambda _: None,
        most_in_flight: int | None = None,
        most_queued: int | None = None,
    ) -> None:
        self.queue: Admission | None = None
        self._clock, self._rng, self._on_change = clock, rng, on_change
        self._most_in_flight, self._most_queued = most_in_flight, most_queued
        self._followed: AdmissionSettings | None = None

    def under(self, ours: AdmissionSettings) -> Admission:
        """The queue, by these settings."""
        queue = self.queue
        if queue is not None and ours is self._followed:
            return queue
        self._followed = ours
        policy = admission_policy(ours, most_in_flight=self._most_in_flight, most_queued=self._most_queued)
        if queue is not None:
            queue.follow(policy)
            return queue
        self.queue = made = Admission(policy, self._clock, self._rng)
        made.on_change = lambda: self._on_change(made)
        return made


def places(
    ours: ProviderSettings, settings: Settings, endpoint: Endpoint | None = None, *, others: int = 0
) -> AdmissionPolicy | None:
    """How many calls at once one process makes to a provider, and how they wait; None for no limit.

    To servers of ours no more than they have slots, less the calls that `others` have under way there.
    """
    if ours.managed is not None:
        slots = max(len(endpoint.copies) if endpoint else 0, 1) * ours.managed.slots
        free = max(min(slots, ours.max_in_flight or slots) - others, 1)
        # What waits is what has another copy started: with somebody else to ask, nobody would.
        most = ours.managed.queue
        return replace(admission_policy(settings.admission), max_in_flight=free, max_queued=most, stays=most)
    if ours.max_in_flight is None:
        return None
    return replace(admission_policy(settings.admission), max_in_flight=ours.max_in_flight)


def retry_policy(settings: Settings) -> RetryPolicy:
    ours = settings.retry
    return RetryPolicy(
        max_attempts=ours.max_attempts,
        per_candidate=ours.per_provider,
        per_provider={name: one.retry_attempts for name, one in settings.providers.items() if one.retry_attempts},
        base_s=ours.base_s,
        cap_s=ours.cap_s,
        budget_ratio=ours.budget_ratio,
    )


def policy_of(
    settings: Settings,
    upstreams: Mapping[str, Upstream],
    catalog: Catalog | None = None,
    cache: AnswerCache | None = None,
    ratios: Ratios | None = None,
    *,
    adviser: Advises | None = None,
    hooks: Chain | None = None,
    shared: SharedTier | None = None,
    meanings: Meanings | None = None,
) -> Policy:
    """What a gateway over these upstreams goes by. `cache` is one that already remembers answers, `meanings` by what
    they mean, `shared` where all replicas do, `ratios` what was learned of tokens, `adviser` whoever learned of models,
    `hooks` those of these settings.
    """
    ceilings = {
        name: settings.max_cost_usd if one.max_cost_usd is None else one.max_cost_usd
        for name, one in settings.providers.items()
    }
    general = Route(
        retry=retry_policy(settings),
        hedge=_hedge(settings.hedge),
        caching=_caching(settings.cache, RouteCacheSettings()),
    )
    evidence = float(settings.learning.least_feedback)
    routes = {name: _route(one, general, settings, evidence) for name, one in settings.routes.items()}
    if settings.learning.enabled:
        tastes = {name: Routing(strategy="learned", learned=Learned(taste=name, evidence=evidence)) for name in TASTES}
        routes = {**{name: replace(general, routing=one) for name, one in tastes.items()}, **routes}
    if (default := routes.get(settings.default_model)) is not None:
        routes[""] = default
    hedges = [route.hedge for route in (general, *routes.values()) if route.hedge is not None]
    return Policy(
        catalog=catalog or Catalog(settings),
        upstreams=upstreams,
        routing=Routing(strategy=settings.strategy, learned=Learned(evidence=evidence)),
        scattered=settings.replicas > 1,
        general=general,
        routes=routes,
        times_answers=any(hedge.after_s is None for hedge in hedges),
        # A provider that was given more time than the others may use it.
        deadline_s=max([settings.timeouts.total_s, *(one.timeout_s or 0.0 for one in settings.providers.values())]),
        ceilings_nanousd={name: int(usd * NANO) for name, usd in ceilings.items() if usd is not None},
        sampling={name: _sampling(one) for name, one in settings.providers.items()},
        fallback_models={name: one.fallback_models for name, one in settings.providers.items() if one.fallback_models},
        backed=frozenset(name for name, one in settings.providers.items() if one.fallbacks),
        shared=shared,
        meanings=meanings,
        cache=_cache((general, *routes.values()), settings, cache),
        brands={name: _brand(name, settings) for name in settings.providers},
        single_flight=settings.cache.single_flight,
        adviser=adviser if settings.learning.enabled else None,
        hooks=hooks,
        traits={
            name: Traits(
                weight=one.weight,
                priority=one.priority,
                tags=frozenset(one.tags),
                local=one.kind in (ProviderKind.LOCAL, ProviderKind.OLLAMA, ProviderKind.RUVLLM),
            )
            for name, one in settings.providers.items()
        },
        quality={name: one.quality for name, one in settings.models.items() if one.quality is not None},
        ratios=ratios,
    )


def _route(ours: RouteSettings, general: Route, settings: Settings, evidence: float) -> Route:
    """A route's own settings over the general ones."""
    retry = replace(
        general.retry,
        max_attempts=ours.max_attempts or general.retry.max_attempts,
        past_filters=ours.content_filter == "next",
    )
    return Route(
        retry=retry,
        timeout_s=ours.timeout_s,
        limits=None if ours.attempt == AttemptSettings() else AttemptLimits(**ours.attempt.model_dump()),
        hedge=general.hedge if ours.hedge is None else _hedge(ours.hedge),
        continue_streams=ours.continue_streams,
        larger=ours.larger,
        routing=None
        if ours.strategy is None and not (ours.rules or ours.sticky or ours.learned)
        else Routing(
            strategy=ours.strategy or ("rules" if ours.rules else "learned" if ours.learned else settings.strategy),
            mode=ours.mode,
            rules=tuple(one.rule() for one in ours.rules),
            sticky=ours.sticky,
            learned=Learned(evidence=evidence, **(ours.learned or LearnedSettings()).model_dump()),
        ),
        residency=frozenset(ours.residency),
        max_latency_s=ours.max_latency_s,
        min_quality=ours.min_quality,
        caching=_caching(settings.cache, ours.cache),
    )


def _caching(general: CacheSettings, ours: RouteCacheSettings) -> Caching | None:
    """What a route has remembered, by its own settings over the general ones."""
    if not (general.enabled if ours.enabled is None else ours.enabled):
        return None
    return Caching(
        ttl_s=general.ttl_s if ours.ttl_s is None else ours.ttl_s,
        sampled=general.sampled if ours.sampled is None else ours.sampled,
        semantic=general.semantic if ours.semantic is None else ours.semantic,
    )


def _brand(name: str, settings: Settings) -> str:
    """What makes a provider the same one for a remembered answer: where it is, and what it adds to a request."""
    ours = settings.providers[name]
    models = {of: one for of, one in settings.models.items() if of.startswith(f"{name}/")}
    known = {
        of: one.model_dump(mode="json", exclude={"price", "quality"}, exclude_none=True) for of, one in models.items()
    }
    said = {
        **ours.model_dump(mode="json", include={"kind", "options", "sampling", "script"}),
        "url": ours.url,
        "models": {of: one for of, one in known.items() if one},
    }
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _hedge(ours: HedgeSettings | None) -> HedgePolicy | None:
    if ours is None or ours.max_share == 0.0:
        return None
    usual = HedgePolicy()
    return HedgePolicy(after_s=ours.after_s, quantile=ours.quantile or usual.quantile, max_share=ours.max_share)


def _cache(routes: Iterable[Route], settings: Settings, known: AnswerCache | None) -> AnswerCache | None:
    """None where no route has anything remembered."""
    if all(route.caching is None for route in routes):
        return None
    return AnswerCache(max_bytes=settings.cache.max_mb * 1_000_000) if known is None else known


def _spec(
    name: str, ours: ProviderSettings, settings: Settings, endpoint: Endpoint | None, env: Mapping[str, str]
) -> ProviderSpec:
    headers = {header: resolve_secret(value, env) or "" for header, value in ours.headers.items()}
    found = (endpoint.api_key,) if endpoint else (resolve_secret(secret, env) for secret in ours.secrets)
    keys = tuple(Key(secret) for secret in dict.fromkeys(found) if secret)
    timeouts = settings.timeouts
    own = ours.managed is not None or ours.kind is ProviderKind.LOCAL
    starting = own and endpoint is None and (ours.managed is not None or not ours.url)
    return ProviderSpec(
        target=Target(
            provider=name,
            base_url=endpoint.base_url if endpoint else ours.url,
            api_key=keys[0].secret if keys else None,
            headers=headers,
            options=ours.options,
        ),
        limits=Limits(
            connect_s=timeouts.connect_s,
            first_byte_s=timeouts.first_byte_s,
            between_s=timeouts.between_s,
            total_s=ours.timeout_s or timeouts.total_s,
            min_tokens_per_s=timeouts.min_tokens_per_s,
        ),
        defaults=_sampling(ours),
        max_in_flight=ours.max_in_flight,
        keys=keys,
        proves_keys=ours.kind in PROVES_KEYS,
        not_yet=f"{'its server' if ours.managed else 'the embedded model'} is still starting; try again in a moment"
        if starting
        else "",
    )


def _sampling(ours: ProviderSettings) -> Sampling:
    return Sampling(**ours.sampling.model_dump())


def authority_policy(settings: Settings) -> AuthorityPolicy:
    ours = settings.breaker
    return AuthorityPolicy(
        open_s=ours.open_s,
        probe_ttl_s=ours.probe_ttl_s,
        open_max_s=ours.open_max_s,
        ramp_s=ours.ramp_s,
        health_every_s=settings.health.every_s,
    )
