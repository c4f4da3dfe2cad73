"""Every dialect by name, and its inverse. The laws in `tests/conformance` hold for each row."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.dialects.anthropic import Anthropic
from runtime.dialects.anthropic import parse_request as parse_anthropic
from runtime.dialects.base import Dialect, Parse
from runtime.dialects.cohere import Cohere
from runtime.dialects.cohere import parse_request as parse_cohere
from runtime.dialects.google import Google
from runtime.dialects.google import parse_request as parse_google
from runtime.dialects.ollama import Ollama
from runtime.dialects.ollama import parse_request as parse_ollama
from runtime.dialects.openai import OpenAI
from runtime.dialects.openai_surface import parse_request as parse_openai
from runtime.dialects.openrouter import OpenRouter
from runtime.dialects.ruvllm import RuvLLM
from runtime.dialects.ruvllm import parse_request as parse_ruvllm
from runtime.dialects.scripted import Scripted

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Anthropic(),
        Cohere(),
        Google(),
        Ollama(),
        OpenAI(),
        OpenRouter(),
        RuvLLM(),
        Scripted(),
    )
}

PARSERS: Mapping[str, Parse] = {
    "anthropic": parse_anthropic,
    "cohere": parse_cohere,
    "google": parse_google,
    "ollama": parse_ollama,
    "openai": parse_openai,
    "openrouter": parse_openai,
    "ruvllm": parse_ruvllm,
}
"""From a client's body in that dialect to a `Request`. OpenRouter's clients speak OpenAI's, with a few more words."""
