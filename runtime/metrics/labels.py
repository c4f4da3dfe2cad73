"""Which names may be labels: those of the settings, and of models that our own tables and price data list.

Anybody may ask for any name, and each label is a series that a Prometheus keeps. So all other names are `OTHER`.
"""

from __future__ import annotations

from runtime.catalog import Catalog, sold
from runtime.settings import Settings
from runtime.sona.presets import TASTES

OTHER = "other"
DEFAULT = "default"
"""What a request asks for that names no model."""

REMEMBERED = 4_096


class Labels:
    """Of one version of the settings."""

    def __init__(self, settings: Settings) -> None:
        self.catalog = Catalog(settings)
        self._providers = settings.providers
        self._models = {name: self._named(name, settings) for name in settings.providers}
        self._routes = {"": DEFAULT, **{name: name for name in (*settings.routes, *TASTES, *settings.providers)}}
        self._known: dict[tuple[str, str], str] = {}

    def provider(self, name: str) -> str:
        """A provider's label; empty for none."""
        return name if not name or name in self._providers else OTHER

    def kind(self, provider: str) -> str:
        """What kind of provider this is; empty for none."""
        of = self._providers.get(provider)
        return of.kind.value if of is not None else ""

    def model(self, provider: str, model: str) -> str:
        """The label of a model of this provider."""
        key = (provider, model)
        found = self._known.get(key)
        if found is None:
            found = self._remember(key, model if self._is_known(provider, model) else OTHER)
        return found

    def route(self, name: str) -> str:
        """The label of what was asked for."""
        found = self._routes.get(name)
        if found is None:
            key = ("", name)
            found = self._known.get(key) or self._remember(key, self._route(name))
        return found

    def _route(self, name: str) -> str:
        provider, slash, model = name.partition("/")
        if slash and provider in self._providers:
            return f"{provider}/{self.model(provider, model)}"
        return name if any(self._is_known(one, name) for one in self._providers) else OTHER

    def _is_known(self, provider: str, model: str) -> bool:
        of = self._providers.get(provider)
        return not model or (of is not None and (model in self._models[provider] or model in sold(of.kind)))

    def _named(self, provider: str, settings: Settings) -> frozenset[str]:
        """The models that the settings name of this provider."""
        of = settings.providers[provider]
        targets = [*settings.models, *(target for route in settings.routes.values() for target in route.targets)]
        split = (name.partition("/") for name in targets)
        return frozenset((*of.models, of.default_model, *(model for name, _, model in split if name == provider)))

    def _remember(self, key: tuple[str, str], label: str) -> str:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[key] = label
        return label
