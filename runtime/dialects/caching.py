"""Prompt-caching markers, in the form that Anthropic gave them and OpenRouter took over."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.request import CacheHint, Json


def marker(cache: CacheHint) -> dict[str, Json]:
    """The field `cache_control`."""
    return {"type": "ephemeral"} if cache.ttl is None else {"type": "ephemeral", "ttl": cache.ttl}


def take_cache(fields: Mapping[str, Json], extra: dict[str, Json]) -> CacheHint | None:
    """The marker in these fields; what we do not know of it stays in `extra`."""
    said = fields.get("cache_control")
    if said is None:
        return None
    ttl = said.get("ttl") if isinstance(said, dict) else None
    if not isinstance(said, dict) or said.get("type") != "ephemeral" or not isinstance(ttl, str | None):
        extra["cache_control"] = said
        return None
    for name in said.keys() - {"type", "ttl"}:
        extra[f"cache_control.{name}"] = said[name]
    return CacheHint(ttl=ttl)
