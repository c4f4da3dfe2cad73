"""Which path is which API."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.dialects.base import Parse
from runtime.dialects.registry import PARSERS
from runtime.dialects.surface import Surface
from serve.http import OPENAI, Exchange

CHATS: Mapping[str, Parse] = {
    "/chat/completions": PARSERS["openai"],
}
"""How the body of a chat is read, by path; a leading /v1 is left out."""

SURFACES: Mapping[str, Surface] = {}
"""Who words answers and errors, by path, wherever that is not OpenAI."""


def surface_at(path: str, exchange: Exchange) -> Surface:
    """The API that a request means by its path."""
    return SURFACES.get(path, OPENAI)
