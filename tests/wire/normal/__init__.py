"""The normal forms by API: see `tests.wire.equivalence`, which lists and justifies them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.wire.normal import anthropic, cohere, google, ollama, openai

Json = Any

FORMS: Mapping[str, Callable[[dict[str, Json]], dict[str, Json]]] = {
    "openai": openai.native,
    "compatible": openai.compatible,
    "openrouter": openai.openrouter,
    "anthropic": anthropic.normal,
    "google": google.normal,
    "cohere": cohere.normal,
    "ollama": ollama.normal,
}


def normal(api: str, body: Json) -> Json:
    """The body in its API's normal form; what is no object stays as it is."""
    return FORMS[api](body) if isinstance(body, dict) else body
