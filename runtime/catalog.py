"""Which names lead where, and what is known of each model.

    route (alias)        its targets, in order
    provider/model       that provider, also for a model that nobody listed; split at the first slash only
    model                every provider that serves it, the highest `priority` first; then OpenRouter, where it has it
    provider             that provider's default model
    ruvector-auto, …     every model that the settings name, or a provider's default; what was learned chooses
    (empty)              `default_model`, else the first provider's default model

Names are tried in this order, and last a bare one that only the price data knows.
What is known of a model: by its family, over it the price data, over it the table of the provider's kind, and over
all what the settings say.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property, lru_cache

from runtime import price_list
from runtime.model_families import family_of
from runtime.model_table import DEFAULT_MODEL, rows
from runtime.models import ASKED, FREE, Capabilities, Feature, ModelInfo, Pricing, RateLimits
from runtime.settings import ModelSettings, ProviderKind, ProviderSettings, Settings, nearest
from runtime.sona.presets import TASTES

__all__ = ["Capabilities", "Catalog", "Feature", "ModelInfo", "Pricing", "RateLimits"]

Target = tuple[str, str]
"""Provider and model, the latter in the provider's own name for it."""

_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")

MAKERS = ("openai", "anthropic", "google", "cohere", "mistralai", "meta-llama", "deepseek", "qwen", "x-ai")
"""Whose models OpenRouter sells under names that are otherwise their own."""

REMEMBERED = 4_096
"""Models that callers named, of which what is known is kept at hand."""


TOLD_OF_TASTES = "Chooses the model by what was learned."


def utc_today() -> date:
    """List prices are of a day. Several times in a request it is asked for, so it is put together once."""
    return _day(int(time.time()) // 86_400)  # noqa: TID251  # the default of a clock that can be injected


@lru_cache(maxsize=1)
def _day(number: int) -> date:
    return date(1970, 1, 1) + timedelta(days=number)


@dataclass(frozen=True)
class Catalog:
    """Cheap to make, so a change of settings makes a new one. Equal settings make equal catalogues."""

    settings: Settings
    today: Callable[[], date] = field(default=utc_today, compare=False, repr=False)

    def info(self, provider: str, model: str) -> ModelInfo | None:
        """What is known of a model; None only where the provider itself is unknown."""
        return self._info(provider, model, self.today())

    @cached_property
    def _info(self) -> Callable[[str, str, date], ModelInfo | None]:
        return lru_cache(maxsize=REMEMBERED)(self._put_together)

    def _put_together(self, provider: str, model: str, on: date) -> ModelInfo | None:
        of = self.settings.providers.get(provider)
        if of is None:
            return None
        said = self.settings.models.get(f"{provider}/{model}", ModelSettings())
        known = _known(of.kind, model, on)
        context_length = self.settings.local.context_length if of.kind is ProviderKind.LOCAL else known.context_length
        info = replace(
            known,
            provider=provider,
            context_length=said.context_length or context_length,
            max_output_tokens=said.max_output_tokens or known.max_output_tokens,
            pricing=self._pricing(f"{provider}/{model}", said, of, on) or known.pricing,
        )
        if said.features is not None:
            has = frozenset(said.features)
            info = replace(info, features=has, lacks=ASKED - has)
        if said.unsupported_parameters is not None:
            refused = frozenset(said.unsupported_parameters)
            info = replace(
                info, unsupported_parameters=refused, unsupported_while_reasoning=frozenset(), exclusive_parameters=()
            )
        return info

    def _pricing(self, name: str, said: ModelSettings, of: ProviderSettings, on: date) -> Pricing | None:
        """What the settings say that it costs, the narrowest first."""
        if said.price is not None:
            return said.price.pricing(on)
        listed = self.settings.prices.find(name, on)
        return listed if listed is not None or of.price is None else of.price.pricing(on)

    def prices_as_of(self, provider: str) -> date | None:
        """How old the price list of this provider's kind is; None without one."""
        of = self.settings.providers.get(provider)
        return price_list.as_of() if of is not None and of.kind in price_list.KINDS else None

    def resolve(self, name: str) -> tuple[Target, ...]:
        """Where a name leads, each once; nowhere if nobody serves it. Fallback models are not among them."""
        return tuple(dict.fromkeys(self._resolve(name, frozenset())))

    def fallbacks(self, provider: str, model: str) -> tuple[Target, ...]:
        """Who is asked behind this model of a provider, by the provider's settings.

        Ollama is asked for the model that was named, where that is one: to a ruvLLM server it was but a wish.
        """
        of = self.settings.providers.get(provider)
        if of is None or not of.fallbacks:
            return ()
        own = of.kind is not ProviderKind.RUVLLM or model in rows(of.kind) or model == of.default_model

        def named(target: Target) -> Target:
            runs = self.settings.providers[target[0]].kind is ProviderKind.OLLAMA
            return (target[0], model) if runs and not own else target

        return tuple(dict.fromkeys(named(target) for name in of.fallbacks for target in self.resolve(name)))

    def default_model(self, provider: str) -> str:
        """What this provider answers with when nobody named a model; empty if that is unknown."""
        of = self.settings.providers.get(provider)
        if of is None:
            return ""
        return of.default_model or (of.models[0] if of.models else DEFAULT_MODEL.get(of.kind, ""))

    def models(self, provider: str, also: Iterable[str] = ()) -> tuple[ModelInfo, ...]:
        """The models of a provider. `also` is what the provider lists itself: truer than our table of its kind."""
        infos = (self.info(provider, name) for name in self._names(provider, also))
        return tuple(info for info in infos if info is not None)

    def tastes(self) -> tuple[ModelInfo, ...]:
        """The names by which what was learned chooses, where there is something to choose among; of no provider."""
        names = [one for one in TASTES if one not in self.settings.routes and len(self.resolve(one)) > 1]
        return tuple(ModelInfo(provider="", model=one, description=TOLD_OF_TASTES) for one in names)

    def _names(self, provider: str, also: Iterable[str] = ()) -> Iterable[str]:
        of = self.settings.providers.get(provider)
        if of is None:
            return ()
        return dict.fromkeys([*self._configured(provider, of), *(() if of.models else tuple(also) or rows(of.kind))])

    def capabilities(self, provider: str, also: Iterable[str] = ()) -> Capabilities:
        """What a provider offers through its models, as far as it is known."""
        models = self.models(provider, also)
        of = self.settings.providers.get(provider)
        return Capabilities(
            provider=provider,
            supported_models=tuple(info.model for info in models),
            max_context_length={info.model: info.context_length for info in models if info.context_length is not None},
            max_output_tokens={
                info.model: info.max_output_tokens for info in models if info.max_output_tokens is not None
            },
            features=frozenset[Feature]().union(*(info.features for info in models)),
            rate_limits=RateLimits(concurrent=of.max_in_flight if of else None),
            pricing={info.model: info.pricing for info in models if info.pricing is not None},
        )

    def nearest(self, name: str) -> tuple[str, ...]:
        """Up to three names that resolve and look like this one."""
        full = [f"{provider}/{model}" for provider in self._providers for model in self._names(provider)]
        return nearest(name, dict.fromkeys([*self.settings.routes, *self._serving, *full]), n=3)

    @cached_property
    def _providers(self) -> dict[str, ProviderSettings]:
        """Those that are switched on, the highest priority first."""
        on = [(name, of) for name, of in self.settings.providers.items() if of.enabled]
        return dict(sorted(on, key=lambda item: -item[1].priority))

    @cached_property
    def _serving(self) -> dict[str, list[str]]:
        """The providers that serve a bare name."""
        serving: dict[str, list[str]] = {}
        for provider in self._providers:
            for model in self._names(provider):
                serving.setdefault(model, []).append(provider)
        return serving

    def _configured(self, provider: str, of: ProviderSettings) -> list[str]:
        told = (name.partition("/") for name in self.settings.models)
        default = [of.default_model] if of.default_model else []
        return [*of.models, *default, *(model for name, _, model in told if name == provider)]

    def _own(self, provider: str) -> Iterable[str]:
        """The models that a provider is known to be used for."""
        default = self.default_model(provider)
        return dict.fromkeys([*self._configured(provider, self._providers[provider]), *([default] if default else ())])

    def _resolve(self, name: str, through: frozenset[str]) -> tuple[Target, ...]:
        # A route may lead to its own name: `gpt-4o: [openai/gpt-4o]` as well as `gpt-4o: [gpt-4o, local]`.
        if name not in through and (route := self.settings.routes.get(name)):
            return tuple(found for target in route.targets for found in self._resolve(target, through | {name}))
        if name in TASTES and self.settings.learning.enabled:
            return tuple(dict.fromkeys((of, model) for of in self._providers for model in self._own(of)))
        provider, slash, model = name.partition("/")
        if slash and provider in self._providers:
            return ((provider, model),) if model else ()
        if serving := self._serving.get(name) or self._serving.get(_SNAPSHOT.sub("", name)):
            return (*((provider, name) for provider in serving), *self._resold(name))
        if name in self._providers and (default := self.default_model(name)):
            return ((name, default),)
        return (*self._listed(name), *self._resold(name)) if name else self._default()

    def _resold(self, name: str) -> Iterable[Target]:
        """Where it is served under its maker's name: OpenRouter's gpt-4o is openai/gpt-4o."""
        for provider, of in self._providers.items():
            if of.kind is ProviderKind.OPENROUTER and "/" not in name:
                has = self._configured(provider, of) if of.models else sold(of.kind)
                found = (f"{maker}/{name}" for maker in MAKERS)
                yield from ((provider, full) for full in found if full in has)

    def _listed(self, name: str) -> tuple[Target, ...]:
        """Where the price data knows this name; no settings say what those providers serve."""
        on = self.today()
        return tuple(
            (provider, name)
            for provider, of in self._providers.items()
            if not of.models and price_list.find(of.kind, name, on) is not None
        )

    def _default(self) -> tuple[Target, ...]:
        if self.settings.default_model:
            return self._resolve(self.settings.default_model, frozenset())
        defaults = ((provider, self.default_model(provider)) for provider in self._providers)
        return next(((target,) for target in defaults if target[1]), ())


@lru_cache
def sold(kind: ProviderKind) -> frozenset[str]:
    """The models that our table and the price data list for a kind of provider."""
    return frozenset((*rows(kind), *(price_list.models(kind) if kind in price_list.KINDS else ())))


@lru_cache(maxsize=REMEMBERED)
def _known(kind: ProviderKind, model: str, on: date) -> ModelInfo:
    """What is known of a model of this kind without any settings."""
    family = family_of(kind, model)
    listed = price_list.find(kind, model, on) or ModelInfo(provider="", model=model)
    row = _row(kind, model) or ModelInfo(provider="", model=model)
    said_all = bool(row.features)
    return ModelInfo(
        provider="",
        model=model,
        name=row.name or listed.name or model,
        description=row.description or listed.description,
        context_length=row.context_length or listed.context_length,
        max_output_tokens=row.max_output_tokens or family.longest,
        features=row.features if said_all else family.has,
        lacks=row.lacks if said_all else family.lacks,
        unsupported_parameters=family.refuses,
        unsupported_while_reasoning=family.refuses_thinking,
        reasons_by_default=family.thinks,
        exclusive_parameters=family.one_of,
        pricing=row.pricing or listed.pricing or _unlisted(kind, model),
        deprecated=row.deprecated or listed.deprecated,
        recommended_replacement=row.recommended_replacement,
    )


def _row(kind: str, model: str) -> ModelInfo | None:
    """The table's row, also for a dated snapshot of a model that it lists without a date."""
    table = rows(kind)
    return table.get(model) or table.get(_SNAPSHOT.sub("", model))


def _unlisted(kind: ProviderKind, model: str) -> Pricing | None:
    """Whatever a local Ollama runs costs nothing; its `-cloud` models run elsewhere, at a price unknown to us.

    OpenRouter gives away what it calls `:free`.
    """
    if kind is ProviderKind.OPENROUTER:
        return FREE if model.endswith(":free") else None
    return FREE if kind is ProviderKind.OLLAMA and not model.endswith("cloud") else None
