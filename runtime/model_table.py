"""The models we know and their list prices, by kind of provider. Data only.

Prices are dollars per million tokens: input, output, cached input, cache write. They were checked against
genai-prices 0.2.3 (November 2026), which corrects the seed document's source in five places: gemini-2.0-flash
is not free, o1-mini, gemini-pro, command-r and command-r-plus have other list prices. A model that is not
listed has no price, which is not the same as costing nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from runtime.models import FREE, Feature, ModelInfo, Pricing, per_million

_CHAT = "streaming system_messages"
_TOOLS = f"{_CHAT} tools"
_SEES = f"{_TOOLS} vision"
_FULL = f"{_SEES} json_schema"
_THINKS = f"{_FULL} reasoning"

Row = tuple[str, str, int | None, int | None, str, str]
"""model, prices, context length, longest output, features, notes (`up to N`, `deprecated`, `-> replacement`)"""

TABLE: dict[str, tuple[Row, ...]] = {
    "openai": (
        ("gpt-4o", "2.5 10 1.25", 128_000, 16_384, f"{_FULL} batching fine_tuning", ""),
        # The one dated snapshot whose price differs from its family's.
        ("gpt-4o-2024-05-13", "5 15", 128_000, 4_096, f"{_SEES} batching", "-> gpt-4o"),
        ("gpt-4o-mini", "0.15 0.6 0.075", 128_000, 16_384, f"{_FULL} batching fine_tuning", ""),
        ("gpt-4-turbo", "10 30", 128_000, 4_096, f"{_SEES} batching", "-> gpt-4o"),
        ("gpt-4", "30 60", 8_192, 8_192, f"{_TOOLS} batching fine_tuning", "-> gpt-4o"),
        ("gpt-3.5-turbo", "0.5 1.5", 16_385, 4_096, f"{_TOOLS} batching fine_tuning", "-> gpt-4o-mini"),
        ("o1-preview", "15 60 7.5", 128_000, 32_768, "streaming reasoning", "deprecated -> o3-mini"),
        ("o1-mini", "1.1 4.4 0.55", 128_000, 65_536, "streaming reasoning", "deprecated -> o3-mini"),
        ("o3-mini", "1.1 4.4 0.55", 200_000, 100_000, f"{_TOOLS} json_schema reasoning batching", ""),
        ("gpt-5.4-mini", "0.75 4.5 0.075", 400_000, None, f"{_THINKS} batching", ""),
        ("gpt-5.4-nano", "0.2 1.25 0.02", 400_000, None, f"{_THINKS} batching", ""),
        ("text-embedding-3-small", "0.02 0", 8_192, None, "embeddings batching", ""),
        ("text-embedding-3-large", "0.13 0", 8_192, None, "embeddings batching", ""),
        ("text-embedding-ada-002", "0.1 0", 8_192, None, "embeddings batching", "-> text-embedding-3-small"),
    ),
    "openrouter": (
        ("openai/gpt-4o-mini", "0.15 0.6 0.075", 128_000, 16_384, _FULL, ""),
        ("anthropic/claude-3-haiku", "0.25 1.25", 200_000, 4_096, _SEES, "-> anthropic/claude-haiku-4.5"),
    ),
    "anthropic": (
        ("claude-3-5-sonnet-20241022", "3 15 0.3 3.75", 200_000, 8_192, _SEES, "deprecated -> claude-sonnet-5-5"),
        ("claude-3-5-sonnet-latest", "3 15 0.3 3.75", 200_000, 8_192, _SEES, "deprecated -> claude-sonnet-5-5"),
        ("claude-3-opus-20240229", "15 75 1.5 18.75", 200_000, 4_096, _SEES, "deprecated -> claude-opus-5-5"),
        ("claude-3-sonnet-20240229", "3 15 0.3 3.75", 200_000, 4_096, _SEES, "deprecated -> claude-sonnet-5-5"),
        ("claude-3-haiku-20240307", "0.25 1.25 0.03 0.3", 200_000, 4_096, _SEES, "deprecated -> claude-haiku-4-5"),
        ("claude-haiku-4-5", "1 5 0.1 1.25", 200_000, None, _THINKS, ""),
        ("claude-sonnet-5-5", "2 10 0.1 2.5", 1_000_000, None, _THINKS, ""),
        ("claude-opus-5-5", "4 20 0.2 5", 1_000_000, None, _THINKS, ""),
    ),
    "google": (
        ("gemini-2.0-flash", "0.1 0.4 0.025", 1_000_000, 8_192, f"{_FULL} audio", "deprecated -> gemini-2.5-flash"),
        ("gemini-1.5-pro", "1.25 5", 2_000_000, 8_192, f"{_FULL} audio", "up to 128000 deprecated -> gemini-2.5-pro"),
        (
            "gemini-1.5-flash",
            "0.075 0.3 0.01875",
            1_000_000,
            8_192,
            f"{_FULL} audio",
            "up to 128000 deprecated -> gemini-2.5-flash",
        ),
        ("gemini-pro", "0.125 0.375", 32_768, 2_048, _CHAT, "deprecated -> gemini-2.5-flash"),
        ("gemini-2.5-flash", "0.3 2.5 0.03", 1_048_576, 65_536, f"{_THINKS} audio", ""),
        ("gemini-2.5-pro", "1.25 10 0.125", 1_048_576, 65_536, f"{_THINKS} audio", "up to 200000"),
        ("gemini-3.5-flash-lite", "0.3 2.5 0.03", 1_000_000, None, f"{_THINKS} audio", ""),
        ("gemini-embedding-001", "0.15 0", 2_048, None, "embeddings", ""),
    ),
    "cohere": (
        ("command-r-plus", "2.5 10", 128_000, 4_096, _TOOLS, "deprecated -> command-a-03-2025"),
        ("command-r", "0.15 0.6", 128_000, 4_096, _TOOLS, "deprecated -> command-r7b-12-2024"),
        ("command-light", "0.3 0.6", 4_096, 4_096, _CHAT, "deprecated -> command-r7b-12-2024"),
        ("command", "1 2", 4_096, 4_096, _CHAT, "deprecated -> command-a-03-2025"),
        ("command-a-03-2025", "2.5 10", 256_000, 8_192, f"{_TOOLS} json_schema", ""),
        ("command-r7b-12-2024", "0.0375 0.15", 128_000, 4_096, f"{_TOOLS} json_schema", ""),
        ("embed-v4.0", "0.12 0", 128_000, None, "embeddings", ""),
    ),
    "ollama": (
        ("llama3.2", "free", 131_072, None, _TOOLS, ""),
        ("mistral", "free", 32_768, None, _TOOLS, ""),
        ("codellama", "free", 16_384, None, _CHAT, ""),
        ("phi4", "free", 16_384, None, _CHAT, ""),
        # The seed document's spelling; Ollama's library has it without the dash.
        ("phi-4", "free", 16_384, None, _CHAT, "-> phi4"),
        ("qwen2.5", "free", 32_768, None, _TOOLS, ""),
        ("qwen2.5:0.5b", "free", 32_768, None, _TOOLS, ""),
        ("qwen2.5:1.5b", "free", 32_768, None, _TOOLS, ""),
        ("deepseek-coder", "free", 16_384, None, _CHAT, ""),
        ("smollm:135m", "free", 2_048, None, _CHAT, ""),
        ("smollm:360m", "free", 2_048, None, _CHAT, ""),
        ("tinyllama", "free", 2_048, None, _CHAT, ""),
    ),
    "ruvllm": (
        ("ruvector-auto", "free", 128_000, 8_192, "", ""),
        ("ruvector-fast", "free", 32_000, 4_096, "", ""),
        ("ruvector-quality", "free", 128_000, 8_192, "", ""),
        ("ruvector-balanced", "free", 64_000, 8_192, "", ""),
    ),
    "local": (("smollm2-135m", "free", None, None, _CHAT, ""),),
}

DEFAULT_MODEL = {
    "openai": "gpt-4o-mini",
    "openrouter": "openai/gpt-4o-mini",
    "anthropic": "claude-haiku-4-5",
    "google": "gemini-2.5-flash",
    "cohere": "command-r7b-12-2024",
    "ollama": "llama3.2",
    "local": "smollm2-135m",
    "scripted": "scripted",
}
"""What a provider answers with when nobody named a model: the cheapest one that is worth talking to."""

NAMES = {
    "smollm2-135m": ("SmolLM2 135M Instruct", "The embedded model: small, offline, always there."),
    "ruvector-auto": ("RuVector auto", "Chooses the model by what was learned."),
    "ruvector-fast": ("RuVector fast", "Chooses for latency."),
    "ruvector-quality": ("RuVector quality", "Chooses for quality."),
    "ruvector-balanced": ("RuVector balanced", "Chooses between latency, cost and quality."),
}


@cache
def rows(kind: str) -> dict[str, ModelInfo]:
    """The models of one kind of provider, by name; `provider` is empty until a provider claims them."""
    return {info.model: info for info in _parsed(kind)}


def _parsed(kind: str) -> Iterator[ModelInfo]:
    for model, prices, context, longest, features, notes in TABLE.get(kind, ()):
        name, description = NAMES.get(model, (model, ""))
        kept, _, replacement = notes.partition("-> ")
        words = kept.split()
        limit = int(words[2]) if words[:2] == ["up", "to"] else None
        yield ModelInfo(
            provider="",
            model=model,
            name=name,
            description=description,
            context_length=context,
            max_output_tokens=longest,
            features=frozenset(Feature(word) for word in features.split()),
            pricing=_pricing(prices, limit),
            deprecated="deprecated" in words,
            recommended_replacement=replacement or None,
        )


def _pricing(prices: str, limit: int | None) -> Pricing:
    if prices == "free":
        return FREE
    listed = [per_million(price) for price in prices.split()]
    return Pricing(
        input=listed[0],
        output=listed[1],
        cached_input=listed[2] if len(listed) > 2 else None,
        cache_write=listed[3] if len(listed) > 3 else None,
        applies_up_to_tokens=limit,
    )
