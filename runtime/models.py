"""What a model is and what it costs: the vocabulary that settings, catalogue and prices share.

Money is integers: nano-dollars per million tokens. $0.15 per million tokens is 150_000_000. A price that
nobody named is None, all the way to the answer; nothing here turns it into a zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from runtime.wire import crosses

NANOUSD = 1_000_000_000
"""Nano-dollars in a dollar."""


class Feature(StrEnum):
    """What a model can do. `BATCHING` and `FINE_TUNING` are told, not offered by Raygate itself.

    `VISION`, `AUDIO`, `VIDEO` and `FILES` are what it takes, besides text. `PREFILL`: a last message of the assistant's
    is the beginning of its answer, which it goes on with; others begin anew, or refuse.
    """

    STREAMING = "streaming"
    TOOLS = "tools"
    SYSTEM_MESSAGES = "system_messages"
    VISION = "vision"
    AUDIO = "audio"
    VIDEO = "video"
    FILES = "files"
    JSON_SCHEMA = "json_schema"
    FINE_TUNING = "fine_tuning"
    EMBEDDINGS = "embeddings"
    BATCHING = "batching"
    REASONING = "reasoning"
    PREFILL = "prefill"


ASKED = frozenset(Feature) - {Feature.BATCHING, Feature.FINE_TUNING}
"""The features that a request can need."""

Parameter = Literal[
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "seed",
    "choices",
    "parallel_tool_calls",
    "reasoning",
    "user",
    "metadata",
]
"""A field of `Sampling` or `Request` that a model may not take, and that an answer can do without."""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """List prices in nano-dollars per million tokens; `web_search` in nano-dollars for each search, `per_request` for
    each call besides its tokens.

    `cached_input` and `cache_write` are None where the provider sells both at the price of any other input, `reasoning`
    where it sells thoughts as any other output.
    `cache_write_1h` is what it costs to keep input for an hour, `audio_*` what tokens of sound cost: None is unknown.
    `applies_up_to_tokens`: some providers charge more for long prompts. Past this many input tokens all tokens cost
    what `beyond` says; where that is None, the price is unknown here, rather than wrong.
    `as_of` is the day on which these prices were known to hold; None where nobody said.
    """

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    web_search: int | None = None
    applies_up_to_tokens: int | None = None
    beyond: Pricing | None = None
    source: Literal["catalogue", "settings"] = "catalogue"
    reasoning: int | None = None
    per_request: int = 0
    as_of: date | None = None


FREE = Pricing(input=0, output=0, audio_input=0, audio_output=0, web_search=0)
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
    """One model at one provider. Lengths are tokens; None is unknown.

    `features` is what it is known to have, `lacks` what it is known not to have; of the rest nobody knows.
    `unsupported_parameters` are fields that it does not take, `unsupported_while_reasoning` those besides that it does
    not take while it thinks; `reasons_by_default` says whether it does so unasked. Of each group in
    `exclusive_parameters` it takes one.
    """

    provider: str
    model: str
    name: str = ""
    description: str = ""
    context_length: int | None = None
    max_output_tokens: int | None = None
    features: frozenset[Feature] = frozenset()
    lacks: frozenset[Feature] = frozenset()
    unsupported_parameters: frozenset[Parameter] = frozenset()
    unsupported_while_reasoning: frozenset[Parameter] = frozenset()
    reasons_by_default: bool = False
    exclusive_parameters: tuple[tuple[Parameter, ...], ...] = ()
    pricing: Pricing | None = None
    deprecated: bool = False
    recommended_replacement: str | None = None

    def has(self, feature: Feature) -> bool | None:
        """Whether the model can do this; None where nobody knows."""
        return True if feature in self.features else False if feature in self.lacks else None

    @property
    def only_embeds(self) -> bool:
        """Whether the model is known to make vectors and no answers."""
        return Feature.EMBEDDINGS in self.features and Feature.STREAMING in self.lacks


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
