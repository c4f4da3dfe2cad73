"""What a model is and what it costs: the vocabulary that settings, catalogue and prices share.

Money is integers: nano-dollars per million tokens. $0.15 per million tokens is 150_000_000. A price that
nobody named is None, all the way to the answer; nothing here turns it into a zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from runtime.wire import crosses

NANOUSD = 1_000_000_000
"""Nano-dollars in a dollar."""


class Feature(StrEnum):
    """What a model can do. `BATCHING` and `FINE_TUNING` are told, not offered by Raygate itself."""

    STREAMING = "streaming"
    TOOLS = "tools"
    SYSTEM_MESSAGES = "system_messages"
    VISION = "vision"
    AUDIO = "audio"
    JSON_SCHEMA = "json_schema"
    FINE_TUNING = "fine_tuning"
    EMBEDDINGS = "embeddings"
    BATCHING = "batching"
    REASONING = "reasoning"


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """List prices in nano-dollars per million tokens.

    `cached_input` and `cache_write` are None where the provider sells both at the price of any other input.
    `applies_up_to_tokens`: some providers charge more for long prompts; past this many input tokens the price is
    unknown here, rather than wrong.
    """

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    applies_up_to_tokens: int | None = None
    source: Literal["catalogue", "settings"] = "catalogue"


FREE = Pricing(input=0, output=0)
"""What runs on the user's own machines: zero because we know, not because we do not."""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """What a provider allows. None is unknown. `concurrent` is also what Raygate itself keeps to."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """One model at one provider. Lengths are tokens; None is unknown. An empty `features` is unknown too."""

    provider: str
    model: str
    name: str = ""
    description: str = ""
    context_length: int | None = None
    max_output_tokens: int | None = None
    features: frozenset[Feature] = frozenset()
    pricing: Pricing | None = None
    deprecated: bool = False
    recommended_replacement: str | None = None

    def has(self, feature: Feature) -> bool | None:
        """Whether the model can do this; None where nobody knows."""
        return feature in self.features if self.features else None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a provider offers through its known models. The maps are by model name."""

    provider: str
    supported_models: tuple[str, ...] = ()
    max_context_length: Mapping[str, int] = field(default_factory=dict)
    max_output_tokens: Mapping[str, int] = field(default_factory=dict)
    features: frozenset[Feature] = frozenset()
    rate_limits: RateLimits = RateLimits()
    pricing: Mapping[str, Pricing] = field(default_factory=dict)


def per_million(usd: Decimal | str) -> int:
    """Dollars per million tokens, as people write prices, in nano-dollars.

    >>> per_million("0.15")
    150000000
    """
    nano = Decimal(usd) * NANOUSD
    whole = int(nano)
    if nano != whole or whole < 0:
        raise ValueError("a price is zero or more, with at most nine decimal places")
    return whole
