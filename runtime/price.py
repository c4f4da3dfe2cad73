"""Tokens into money, in integers: nano-dollars = tokens × nano-dollars per million / 1,000,000, rounded once.

An unknown price gives no cost (None). It is never a zero, neither in an answer nor in a comparison.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.models import ModelInfo, Pricing
from runtime.outcome import Cost, Usage
from runtime.request import Request
from runtime.tokens import estimate_tokens
from runtime.wire import crosses

MILLION = 1_000_000

ASSUMED_OUTPUT_TOKENS = 1_000
"""How long an answer is taken to be where the request does not limit it."""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """What a request may use and cost; `cost` is None where the price is unknown.

    `confidence` only orders estimates, it is no probability: 0.7 where the request limits its output, 0.4 where
    that had to be assumed, 0.0 without a price.
    """

    prompt_tokens: int
    completion_tokens: int
    cost: Cost | None = None
    confidence: float = 0.0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


def cost_of(usage: Usage, pricing: Pricing | None) -> Cost | None:
    """The cost of these tokens, or None where their price is unknown: no list price, audio, or a prompt longer
    than the list price holds for.

    Half a nano-dollar is rounded up, in the total; the input's share is rounded too and the output's is the rest,
    so that the parts always make the total.

    >>> cost_of(Usage(input_tokens=1000, output_tokens=500), Pricing(input=150_000_000, output=600_000_000))
    Cost(input_nanousd=150000, output_nanousd=300000, total_nanousd=450000, source='catalogue', currency='USD')
    """
    if pricing is None or usage.audio_input_tokens or usage.audio_output_tokens:
        return None
    if pricing.applies_up_to_tokens is not None and usage.input_tokens > pricing.applies_up_to_tokens:
        return None
    # A provider that counts more cached tokens than input tokens has left them out of the latter.
    fresh = max(0, usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens)
    cached = pricing.input if pricing.cached_input is None else pricing.cached_input
    written = pricing.input if pricing.cache_write is None else pricing.cache_write
    came_in = fresh * pricing.input + usage.cached_input_tokens * cached + usage.cache_write_tokens * written
    went_out = usage.output_tokens * pricing.output
    total = _rounded(came_in + went_out)
    share = _rounded(came_in)
    return Cost(
        input_nanousd=share,
        output_nanousd=total - share,
        total_nanousd=total,
        source=pricing.source,
    )


def estimate(request: Request, info: ModelInfo | None) -> CostEstimate:
    """What a request may cost at a model, before it is sent. Every alternative answer is paid for."""
    limit = request.sampling.max_tokens
    longest = info.max_output_tokens if info else None
    each = limit if limit is not None else ASSUMED_OUTPUT_TOKENS
    usage = Usage(
        input_tokens=estimate_tokens(request),
        output_tokens=request.choices * (each if longest is None else min(each, longest)),
        estimated=True,
    )
    cost = cost_of(usage, info.pricing if info else None)
    known = 0.4 if limit is None else 0.7
    return CostEstimate(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        cost=cost,
        confidence=known if cost else 0.0,
    )


def _rounded(millionths: int) -> int:
    """Half up; nothing here is negative."""
    return (millionths + MILLION // 2) // MILLION
