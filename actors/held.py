"""The settings that a manager holds, as one value: whoever reads it, in whichever thread, sees all of one version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.settings import ProviderKind, Settings


@dataclass(frozen=True, slots=True)
class Held:
    version: int
    document: Mapping[str, Any]
    """As it was given, secrets included."""
    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        """Raises `BadSettings`."""
        object.__setattr__(self, "settings", Settings.from_document(self.document))

    def is_on(self, provider: str) -> bool:
        ours = self.settings.providers.get(provider)
        return ours is not None and ours.enabled

    @property
    def enabled(self) -> tuple[str, ...]:
        """The providers that are switched on, in the settings' order."""
        return tuple(name for name, one in self.settings.providers.items() if one.enabled)

    @property
    def local_provider(self) -> str | None:
        """Whose embedded model runs in an actor of its own."""
        providers = self.settings.providers.items()
        ours = (name for name, one in providers if one.enabled and one.kind is ProviderKind.LOCAL and not one.managed)
        return next(ours, None)

    @property
    def shares_answers(self) -> bool:
        """Whether replicas remember answers together, in an actor."""
        cache = self.settings.cache
        routes = (one.cache.enabled for one in self.settings.routes.values())
        return cache.tier == "actor" and (cache.enabled or any(routes))
