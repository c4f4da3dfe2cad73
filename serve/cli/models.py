"""`raygate models`: what can be asked for.

The gateway says which models there are: it has asked the providers. What they cost and can do is in the settings
that were applied here and in the catalogue; of a Raygate elsewhere only the names are known.
"""

from __future__ import annotations

from typing import Any

from actors.environment import environment, state_folder
from runtime.catalog import Catalog
from runtime.dialects.ollama.installed import name_of
from runtime.display import as_dict
from runtime.models import NANOUSD, Feature, ModelInfo
from runtime.settings import Settings
from serve.cli import http, place, screen

UNKNOWN = "unknown"
USUAL = frozenset((Feature.STREAMING, Feature.SYSTEM_MESSAGES))
"""Nearly every model has them; the table leaves them out, --json does not."""


def models(*, url: str, key: str, as_json: bool) -> None:
    """List them. Raises `Ended`."""
    target = place.target(url, key)
    with screen.waiting("asking for the models"):
        with http.client(target) as client:
            listed = http.body_of(target, client.get("/v1/models"))
        catalog = Catalog(_settings(target))
        known = [_info(catalog, str(one["id"])) for one in listed["data"]]
    if as_json:
        screen.as_json([_plain(one) for one in known])
        return
    rows = sorted(_row(one) for one in known)
    columns = ("model", "context", "$/M in", "$/M out", "features")
    screen.console().print(screen.table(columns, rows, right=columns[1:4]))
    routes = catalog.settings.routes
    if routes:
        leads = ((alias, ", ".join(route.targets)) for alias, route in sorted(routes.items()))
        screen.console().print()
        screen.console().print(screen.table(("route", "leads to"), leads))


def _settings(target: place.Target) -> Settings:
    return Settings.from_document(place.stored(state_folder(environment())) if target.here else {})


def _info(catalog: Catalog, name: str) -> ModelInfo:
    provider, slash, model = name.partition("/")
    if not slash:
        return ModelInfo(provider="", model=name)
    return catalog.info(provider, model) or ModelInfo(provider=provider, model=model)


def _row(info: ModelInfo) -> tuple[str, ...]:
    price = info.pricing
    features = sorted(info.features - USUAL)
    return (
        name_of(info),
        UNKNOWN if info.context_length is None else f"{info.context_length:,}",
        UNKNOWN if price is None else _dollars(price.input),
        UNKNOWN if price is None else _dollars(price.output),
        (" ".join(features) or "–") if info.features else UNKNOWN,
    )


def _dollars(nanousd: int) -> str:
    """Two decimals, more where they say something.

    >>> _dollars(2_500_000_000), _dollars(37_500_000), _dollars(0)
    ('2.50', '0.0375', '0.00')
    """
    whole, rest = divmod(nanousd, NANOUSD)
    return f"{whole}.{f'{rest:09d}'.rstrip('0').ljust(2, '0')}"


def _plain(info: ModelInfo) -> dict[str, Any]:
    said: dict[str, Any] = as_dict(info)
    return {"id": name_of(info), **said}
