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

SEARCHES = frozenset({"web_search", "googleSearch"})
"""What dialects call a search of the web that the provider itself ran; it costs by the search."""

FREE_TOOLS = frozenset({"web_fetch"})
"""What providers run without charging for it by the call."""


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
    """The cost of these tokens and searches, or None where a price of any of them is unknown.

    Half a nano-dollar is rounded up, in the total; the input's share is rounded too and the output's is the rest,
    so that the parts always make the total. Searches count as input.

    >>> cost_of(Usage(input_tokens=1000, output_tokens=500), Pricing(input=150_000_000, output=600_000_000))
    Cost(input_nanousd=150000, output_nanousd=300000, total_nanousd=450000, source='catalogue', currency='USD')
    """
    prices = _at(pricing, usage.input_tokens)
    if prices is None:
        return None
    came_in, went_out, searched = _input(usage, prices), _output(usage, prices), _searches(usage, prices)
    if came_in is None or went_out is None or searched is None:
        return None
    total = _rounded(came_in + searched + went_out)
    share = _rounded(came_in + searched)
    return Cost(
        input_nanousd=share,
        output_nanousd=total - share,
        total_nanousd=total,
        source=prices.source,
    )


def _at(pricing: Pricing | None, input_tokens: int) -> Pricing | None:
    """The prices of a prompt of this length."""
    while pricing is not None:
        if pricing.applies_up_to_tokens is None or input_tokens <= pricing.applies_up_to_tokens:
            return pricing
        pricing = pricing.beyond
    return None


def _input(usage: Usage, prices: Pricing) -> int | None:
    """Tokens times price, in millionths of a nano-dollar."""
    if usage.billed_input_tokens is not None:
        return usage.billed_input_tokens * prices.input
    read, written, kept = usage.cached_input_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens
    heard = usage.audio_input_tokens
    if heard and (prices.audio_input is None or read or written):
        # How much of the sound came from a cache is not said.
        return None
    cached = prices.input if prices.cached_input is None else prices.cached_input
    write = prices.input if prices.cache_write is None else prices.cache_write
    write_1h = prices.cache_write_1h if prices.cache_write is not None else write
    if kept and write_1h is None:
        return None
    # A provider that counts more cached tokens than input tokens has left them out of the latter.
    fresh = max(0, usage.input_tokens - read - written - heard)
    paid = fresh * prices.input + read * cached + max(0, written - kept) * write
    return paid + kept * (write_1h or 0) + heard * (prices.audio_input or 0)


def _output(usage: Usage, prices: Pricing) -> int | None:
    if usage.billed_output_tokens is not None:
        return usage.billed_output_tokens * prices.output
    spoken = usage.audio_output_tokens
    if spoken and prices.audio_output is None:
        return None
    return max(0, usage.output_tokens - spoken) * prices.output + spoken * (prices.audio_output or 0)


def _searches(usage: Usage, prices: Pricing) -> int | None:
    charged = usage.server_tool_calls.keys() - FREE_TOOLS
    if not charged:
        return 0
    if prices.web_search is None or charged - SEARCHES:
        return None
    return sum(usage.server_tool_calls[name] for name in charged) * prices.web_search * MILLION


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
