"""No field of the first system's types was lost, and docs/types.md tells the truth about where they went."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import re
import types
import typing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

PAGE = Path(__file__).parents[2] / "docs" / "types.md"

SAMPLING = "temperature maxTokens topP topK frequencyPenalty presencePenalty stopSequences"

ORIGINAL = {
    "LLMProvider": "anthropic openai google cohere ollama ruvector openrouter litellm custom",
    "LLMMessage": "role content name toolCallId toolCalls",
    "LLMContentPart": "type text imageUrl imageBase64 audioUrl",
    "LLMToolCall": "id type function.name function.arguments",
    "LLMTool": "type function.name function.description function.parameters",
    "LLMProviderConfig": f"provider apiKey apiUrl model {SAMPLING} providerOptions timeout retryAttempts retryDelay "
    "enableStreaming enableCaching cacheTimeout enableCostOptimization maxCostPerRequest fallbackModels headers "
    "promptCache",
    "LLMRequest": f"messages model {SAMPLING} stream tools toolChoice providerOptions costConstraints.maxCost "
    "costConstraints.preferredModels requestId metadata",
    "LLMResponse": "id model provider content toolCalls usage.promptTokens usage.completionTokens usage.totalTokens "
    "cost.promptCost cost.completionCost cost.totalCost cost.currency latency finishReason metadata",
    "LLMStreamEvent": "type delta.content delta.toolCall error usage cost",
    "ProviderCapabilities": "supportedModels maxContextLength maxOutputTokens supportsStreaming supportsToolCalling "
    "supportsSystemMessages supportsVision supportsAudio supportsFineTuning supportsEmbeddings supportsBatching "
    "rateLimit.requestsPerMinute rateLimit.tokensPerMinute rateLimit.concurrentRequests pricing.promptCostPer1k "
    "pricing.completionCostPer1k pricing.currency",
    "ModelInfo": "model name description contextLength maxOutputTokens supportedFeatures pricing deprecated "
    "recommendedReplacement",
    "HealthCheckResult": "healthy latency error timestamp details",
    "ProviderStatus": "available currentLoad queueLength activeRequests rateLimitRemaining rateLimitReset",
    "CostEstimate": "estimatedPromptTokens estimatedCompletionTokens estimatedTotalTokens estimatedCost.prompt "
    "estimatedCost.completion estimatedCost.total estimatedCost.currency confidence",
    "UsageStats": "period.start period.end requests tokens cost errors averageLatency modelBreakdown UsagePeriod",
    "ProviderManagerConfig": "providers defaultProvider loadBalancing.enabled loadBalancing.strategy fallback.enabled "
    "fallback.maxAttempts cache.enabled cache.ttl cache.maxSize costOptimization.enabled "
    "costOptimization.maxCostPerRequest",
    "Interface": "listModels getModelInfo validateModel getStatus getUsage isLLMResponse isLLMStreamEvent "
    "isLLMProviderError isRateLimitError",
    "Errors": "code statusCode retryable provider details LLMProviderError RateLimitError retryAfter "
    "AuthenticationError ModelNotFoundError ProviderUnavailableError TIMEOUT STREAMING_NOT_SUPPORTED UNKNOWN",
}


def homes() -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    of = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            of = line.removeprefix("## ")
        elif of and line.startswith("| ") and not line.startswith(("| field |", "| ---")):
            field, home, _ = (cell.strip() for cell in line.strip("|").split("|"))
            found[of, field] = re.findall(r"`([^`]+)`", home)
    return found


HOMES = homes()


def test_no_field_was_lost() -> None:
    assert set(HOMES) == {(of, field) for of, named in ORIGINAL.items() for field in named.split()}


@pytest.mark.parametrize(("of", "field"), HOMES, ids=lambda part: part)
def test_every_home_exists(of: str, field: str) -> None:
    assert HOMES[of, field]
    for home in HOMES[of, field]:
        follow(home)


def follow(home: str) -> None:
    module, _, path = home.partition(":")
    first, *rest = path.split(".")
    at: Any = getattr(importlib.import_module(module), first)
    for name in rest:
        assert at is not None, f"{home}: nothing is known below here"
        at = step(at, name, home)


def step(cls: Any, name: str, home: str) -> Any:
    """The type of an attribute (None where it is no class of ours). Fails where there is no such attribute."""
    if isinstance(cls, type) and issubclass(cls, enum.Enum):
        assert name in cls.__members__, home
        return None
    if isinstance(cls, type) and issubclass(cls, BaseModel):
        assert name in cls.model_fields, home
        return one_class(cls.model_fields[name].annotation)
    if dataclasses.is_dataclass(cls) and name in {field.name for field in dataclasses.fields(cls)}:
        return one_class(typing.get_type_hints(cls)[name])
    member = vars(cls).get(name)
    assert isinstance(member, property | types.FunctionType), home
    return None


def one_class(hint: Any) -> Any:
    """The class in a hint such as `Cost | None`."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return next((option for option in options if isinstance(option, type) and option is not type(None)), None)


@pytest.mark.parametrize("home", ["runtime.request:Request.nothing", "runtime.settings:Settings.retry.nothing"])
def test_a_home_that_does_not_exist_is_found_out(home: str) -> None:
    with pytest.raises(AssertionError):
        follow(home)
