"""The object `raygate` in a client's body: what our own callers may say beyond the API that they speak.

"raygate": {"max_cost_usd": 0.01, "preferred_models": […], "preferred_providers": […], "deadline_s": 20,
            "provider_options": {"anthropic": {…}}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from runtime.dialects.fields import Wrong, obj, opt_nanousd, opt_number, opt_obj, texts
from runtime.request import CostLimits, Json

_OURS = frozenset(("max_cost_usd", "preferred_models", "preferred_providers", "deadline_s", "provider_options"))


class Extension(NamedTuple):
    """What it says, as the fields of a `Request`."""

    cost: CostLimits = CostLimits()
    deadline_s: float | None = None
    provider_options: Mapping[str, Mapping[str, Json]] = {}


def extension_of(body: Mapping[str, Json]) -> Extension:
    """What the body's `raygate` says. It is ours, so a word that we do not know in it is a mistake: `Wrong`."""
    said = opt_obj(body, "raygate", "raygate")
    if not said:
        return Extension()
    for key in said.keys() - _OURS:
        raise Wrong(f"raygate.{key}", f"raygate.{key} is unknown: raygate takes {', '.join(sorted(_OURS))}.")
    deadline_s = opt_number(said, "deadline_s", "raygate.deadline_s")
    if deadline_s is not None and deadline_s <= 0:
        raise Wrong("raygate.deadline_s", f"raygate.deadline_s must be more than 0 seconds, but is {deadline_s:g}.")
    options = opt_obj(said, "provider_options", "raygate.provider_options") or {}
    return Extension(
        cost=CostLimits(
            max_cost_nanousd=opt_nanousd(said, "max_cost_usd", "raygate.max_cost_usd"),
            preferred_models=texts(said, "preferred_models", "raygate.preferred_models"),
            preferred_providers=texts(said, "preferred_providers", "raygate.preferred_providers"),
        ),
        deadline_s=deadline_s,
        provider_options={name: obj(value, f"raygate.provider_options.{name}") for name, value in options.items()},
    )
