"""Who may call."""

from __future__ import annotations

from collections.abc import Mapping

from actors.keys import sha256_of
from runtime.feed import KeyInfo
from serve.http import Exchange


def presented(exchange: Exchange) -> str:
    """The caller's key, as OpenAI's (`Authorization: Bearer`) or Anthropic's (`x-api-key`) SDKs send it; or ""."""
    scheme, _, key = exchange.header(b"authorization").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return exchange.header(b"x-api-key").strip()


def holder(key: str, known: Mapping[str, KeyInfo]) -> KeyInfo | None:
    """Whose key it is. Looking up a hash tells an attacker nothing by its timing about any stored one."""
    return known.get(sha256_of(key)) if key else None
