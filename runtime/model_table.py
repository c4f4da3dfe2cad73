"""The models we vouch for by name, by kind of provider: limits, features, what replaces them. Data only.

They are what is listed where a provider's own list is not known. Prices are those of the pinned price data
(`price_list`), but for what a row names itself, and so are context windows where a row has none.

A row's features are all that the model has: what they do not name it lacks. A `?` behind a word leaves that open.
No features at all: nobody knows. What a model takes of parameters stands in `model_families`, by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from runtime.models import ASKED, FREE, Feature, ModelInfo

_CHAT = "streaming system_messages"
_TOOLS = f"{_CHAT} tools"
_SEES = f"{_TOOLS} vision"
_FULL = f"{_SEES} files json_schema"
_THINKS = f"{_FULL} reasoning"
_HEARS = f"{_FULL} audio video"

Row = tuple[str, str, int | None, int | None, str, str]
"""model, price (`free`, or nothing), context length, longest output, features, notes (`deprecated`, `-> other`)"""

TABLE: dict[str, tuple[Row, ...]] = {
    "openai": (
        ("gpt-4o", "", 128_000, 16_384, f"{_FULL} batching fine_tuning", ""),
        ("gpt-4o-2024-05-13", "", 128_000, 4_096, f"{_SEES} files? batching", "-> gpt-4o"),
        ("gpt-4o-mini", "", 128_000, 16_384, f"{_FULL} batching fine_tuning", ""),
        ("gpt-4-turbo", "", 128_000, 4_096, f"{_SEES} files? batching", "-> gpt-4o"),
        ("gpt-4", "", 8_192, 8_192, f"{_TOOLS} batching fine_tuning", "-> gpt-4o"),
        ("gpt-3.5-turbo", "", 16_385, 4_096, f"{_TOOLS} batching fine_tuning", "-> gpt-4o-mini"),
        ("o1-preview", "", 128_000, 32_768, "streaming reasoning", "deprecated -> o3-mini"),
        ("o1-mini", "", 128_000, 65_536, "streaming reasoning", "deprecated -> o3-mini"),
        ("o3-mini", "", 200_000, 100_000, f"{_TOOLS} json_schema reasoning batching", ""),
        ("gpt-5.4-mini", "", 400_000, 128_000, f"{_THINKS} batching", ""),
        ("gpt-5.4-nano", "", 400_000, 128_000, f"{_THINKS} batching", ""),
        ("text-embedding-3-small", "", 8_192, None, "embeddings batching", ""),
        ("text-embedding-3-large", "", 8_192, None, "embeddings batching", ""),
        ("text-embedding-ada-002", "", 8_192, None, "embeddings batching", "-> text-embedding-3-small"),
    ),
    "openrouter": (
        ("openai/gpt-4o-mini", "", 128_000, 16_384, _FULL, ""),
        (
            "anthropic/claude-3-haiku",
            "",
            200_000,
            4_096,
            f"{_SEES} files json_schema?",
            "-> anthropic/claude-haiku-4.5",
        ),
    ),
    "anthropic": (
        ("claude-3-5-sonnet-20241022", "", 200_000, 8_192, f"{_SEES} files prefill", "deprecated -> claude-sonnet-5-5"),
        ("claude-3-5-sonnet-latest", "", 200_000, 8_192, f"{_SEES} files prefill", "deprecated -> claude-sonnet-5-5"),
        ("claude-3-opus-20240229", "", 200_000, 4_096, f"{_SEES} files? prefill", "deprecated -> claude-opus-5-5"),
        ("claude-3-sonnet-20240229", "", 200_000, 4_096, f"{_SEES} files? prefill", "deprecated -> claude-sonnet-5-5"),
        ("claude-3-haiku-20240307", "", 200_000, 4_096, f"{_SEES} files? prefill", "deprecated -> claude-haiku-4-5"),
        ("claude-haiku-4-5", "", 200_000, 64_000, f"{_THINKS} prefill", ""),
        ("claude-sonnet-5-5", "", 1_000_000, 128_000, _THINKS, ""),
        ("claude-opus-5-5", "", 1_000_000, 128_000, _THINKS, ""),
    ),
    "google": (
        ("gemini-2.0-flash", "", 1_000_000, 8_192, _HEARS, "deprecated -> gemini-2.5-flash"),
        ("gemini-1.5-pro", "", 2_000_000, 8_192, _HEARS, "deprecated -> gemini-2.5-pro"),
        ("gemini-1.5-flash", "", 1_000_000, 8_192, _HEARS, "deprecated -> gemini-2.5-flash"),
        ("gemini-pro", "", 32_768, 2_048, "streaming tools", "deprecated -> gemini-2.5-flash"),
        ("gemini-2.5-flash", "", 1_048_576, 65_536, f"{_HEARS} reasoning", ""),
        ("gemini-2.5-pro", "", 1_048_576, 65_536, f"{_HEARS} reasoning", ""),
        ("gemini-3.5-flash-lite", "", 1_000_000, 65_536, f"{_HEARS} reasoning", ""),
        ("gemini-embedding-001", "", 2_048, None, "embeddings", ""),
    ),
    "cohere": (
        ("command-r-plus", "", 128_000, 4_096, f"{_TOOLS} json_schema files?", "deprecated -> command-a-03-2025"),
        ("command-r", "", 128_000, 4_096, f"{_TOOLS} json_schema files?", "deprecated -> command-r7b-12-2024"),
        ("command-light", "", 4_096, 4_096, f"{_CHAT} files?", "deprecated -> command-r7b-12-2024"),
        ("command", "", 4_096, 4_096, f"{_CHAT} files?", "deprecated -> command-a-03-2025"),
        ("command-a-03-2025", "", 256_000, 8_192, f"{_TOOLS} json_schema files?", ""),
        ("command-r7b-12-2024", "", 128_000, 4_096, f"{_TOOLS} json_schema files?", ""),
        ("embed-v4.0", "", 128_000, None, "embeddings", ""),
    ),
    # Ollama itself keeps any model to a schema. Whether one thinks, hears, reads files or goes on
    # with what the assistant has begun its template says.
    "ollama": tuple(
        (model, "free", context, None, f"{features} json_schema prefill?", note)
        for model, context, features, note in (
            ("llama3.2", 131_072, _TOOLS, ""),
            ("mistral", 32_768, _TOOLS, ""),
            ("codellama", 16_384, _CHAT, ""),
            ("phi4", 16_384, _CHAT, ""),
            # The seed document's spelling; Ollama's library has it without the dash.
            ("phi-4", 16_384, _CHAT, "-> phi4"),
            ("qwen2.5", 32_768, _TOOLS, ""),
            ("qwen2.5:0.5b", 32_768, _TOOLS, ""),
            ("qwen2.5:1.5b", 32_768, _TOOLS, ""),
            ("deepseek-coder", 16_384, _CHAT, ""),
            ("smollm:135m", 2_048, _CHAT, ""),
            ("smollm:360m", 2_048, _CHAT, ""),
            ("tinyllama", 2_048, _CHAT, ""),
        )
    ),
    # Its server takes one question, and says nothing before the whole answer is there.
    "ruvllm": (
        ("ruvector-auto", "free", 128_000, 8_192, "system_messages", ""),
        ("ruvector-fast", "free", 32_000, 4_096, "system_messages", ""),
        ("ruvector-quality", "free", 128_000, 8_192, "system_messages", ""),
        ("ruvector-balanced", "free", 64_000, 8_192, "system_messages", ""),
    ),
    # llama.cpp keeps it to a schema, and goes on with what the assistant has begun (ggml-org/llama.cpp#13174); what it
    # makes of tools is its chat template's affair.
    "local": (("smollm2-135m", "free", None, None, f"{_CHAT} json_schema tools? prefill", ""),),
}

DEFAULT_MODEL = {
    "openai": "gpt-4o-mini",
    "openrouter": "openai/gpt-4o-mini",
    "anthropic": "claude-haiku-4-5",
    "google": "gemini-2.5-flash",
    "cohere": "command-r7b-12-2024",
    "ollama": "llama3.2",
    "ruvllm": "ruvector-auto",
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
    for model, price, context, longest, features, notes in TABLE.get(kind, ()):
        name, description = NAMES.get(model, ("", ""))
        kept, _, replacement = notes.partition("-> ")
        has = frozenset(Feature(word) for word in features.split() if word[-1] != "?")
        unsure = frozenset(Feature(word[:-1]) for word in features.split() if word[-1] == "?")
        yield ModelInfo(
            provider="",
            model=model,
            name=name,
            description=description,
            context_length=context,
            max_output_tokens=longest,
            features=has,
            lacks=ASKED - has - unsure if features else frozenset(),
            pricing=FREE if price == "free" else None,
            deprecated="deprecated" in kept.split(),
            recommended_replacement=replacement or None,
        )
