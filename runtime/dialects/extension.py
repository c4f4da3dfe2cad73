"""The object `raygate` in a client's body: what our own callers may say beyond the API that they speak.

"raygate": {"max_cost_usd": 0.01, "preferred_models": […], "preferred_providers": […], "deadline_s": 20,
            "max_latency_s": 5, "min_quality": 0.8, "residency": ["eu"], "session": "…",
            "provider_options": {"anthropic": {…}},
            "cache": {"no_store": true, "no_cache": true, "max_age_s": 60, "only_if_cached": true, "tags": ["faq"]}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from runtime.dialects.fields import Wrong, obj, opt_bool, opt_nanousd, opt_number, opt_obj, opt_text, texts
from runtime.request import CostLimits, Json

_OURS = frozenset(
    (
        *("max_cost_usd", "preferred_models", "preferred_providers", "deadline_s", "provider_options"),
        *("max_latency_s", "min_quality", "residency", "session", "cache"),
    )
)
_OF_CACHE = frozenset(("no_store", "no_cache", "max_age_s", "only_if_cached", "tags"))


class Extension(TypedDict, total=False):
    """What it says, as the fields of a `Request`; those that it does not name are left out."""

    cost: CostLimits
    deadline_s: float | None
    provider_options: Mapping[str, Mapping[str, Json]]
    no_store: bool
    max_age_s: float | None
    only_if_cached: bool
    cache_tags: tuple[str, ...]


def extension_of(body: Mapping[str, Json]) -> Extension:
    """What the body's `raygate` says. It is ours, so a word that we do not know in it is a mistake: `Wrong`."""
    said = opt_obj(body, "raygate", "raygate")
    if not said:
        return Extension()
    for key in said.keys() - _OURS:
        raise Wrong(f"raygate.{key}", f"raygate.{key} is unknown: raygate takes {', '.join(sorted(_OURS))}.")
    deadline_s, max_latency_s = _seconds(said, "deadline_s"), _seconds(said, "max_latency_s")
    min_quality = opt_number(said, "min_quality", "raygate.min_quality")
    if min_quality is not None and not 0.0 <= min_quality <= 1.0:
        raise Wrong("raygate.min_quality", f"raygate.min_quality must be from 0 to 1, but is {min_quality:g}.")
    options = opt_obj(said, "provider_options", "raygate.provider_options") or {}
    cache = opt_obj(said, "cache", "raygate.cache") or {}
    for key in cache.keys() - _OF_CACHE:
        takes = ", ".join(sorted(_OF_CACHE))
        raise Wrong(f"raygate.cache.{key}", f"raygate.cache.{key} is unknown: raygate.cache takes {takes}.")
    max_age_s = opt_number(cache, "max_age_s", "raygate.cache.max_age_s")
    if max_age_s is not None and max_age_s < 0:
        raise Wrong("raygate.cache.max_age_s", f"raygate.cache.max_age_s must not be negative, but is {max_age_s:g}.")
    if opt_bool(cache, "no_cache", "raygate.cache.no_cache"):
        max_age_s = 0.0
    return Extension(
        cost=CostLimits(
            max_cost_nanousd=opt_nanousd(said, "max_cost_usd", "raygate.max_cost_usd"),
            preferred_models=texts(said, "preferred_models", "raygate.preferred_models"),
            preferred_providers=texts(said, "preferred_providers", "raygate.preferred_providers"),
            max_latency_s=max_latency_s,
            min_quality=min_quality,
            residency=texts(said, "residency", "raygate.residency"),
            session=opt_text(said, "session", "raygate.session") or "",
        ),
        deadline_s=deadline_s,
        provider_options={name: obj(value, f"raygate.provider_options.{name}") for name, value in options.items()},
        no_store=opt_bool(cache, "no_store", "raygate.cache.no_store") or False,
        max_age_s=max_age_s,
        only_if_cached=opt_bool(cache, "only_if_cached", "raygate.cache.only_if_cached") or False,
        cache_tags=texts(cache, "tags", "raygate.cache.tags"),
    )


def _seconds(said: Mapping[str, Json], name: str) -> float | None:
    seconds = opt_number(said, name, f"raygate.{name}")
    if seconds is not None and seconds <= 0:
        raise Wrong(f"raygate.{name}", f"raygate.{name} must be more than 0 seconds, but is {seconds:g}.")
    return seconds
