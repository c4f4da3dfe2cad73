"""Every dialect by name, and its inverse. The laws in `tests/conformance` hold for each row."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.dialects.base import Dialect, Parse
from runtime.dialects.openai import OpenAI
from runtime.dialects.openai_surface import parse_request as parse_openai
from runtime.dialects.openrouter import OpenRouter
from runtime.dialects.scripted import Scripted

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        OpenAI(),
        OpenRouter(),
        Scripted(),
    )
}

PARSERS: Mapping[str, Parse] = {
    "openai": parse_openai,
    "openrouter": parse_openai,
}
"""From a client's body in that dialect to a `Request`. OpenRouter's clients speak OpenAI's, with a few more words."""
