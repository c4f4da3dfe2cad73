"""Tokens into money, in integers: nano-dollars = tokens × nano-dollars per million / 1,000,000, rounded once.

An unknown price gives no cost (None). It is never a zero, neither in an answer nor in a comparison. What the provider
itself says that it charged goes before any price list (`Entrance`); this is for all who say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import accumulate

from runtime.models import ModelInfo, Pricing
from runtime.outcome import Cost, Usage
from runtime.request import Json, Request
from runtime.token_ratio import Ratios
from runtime.tokens import expected_tokens
from runtime.values import maker
from runtime.wire import crosses

new_cost = maker(Cost)

MILLION = 1_000_000
HALF = MILLION // 2
"""Half up; nothing here is negative."""

ASSUMED_OUTPUT_TOKENS = 1_000
"""How long an answer is taken to be where the request does not limit it."""

SEARCHES = frozenset({"web_search", "googleSearch"})
"""What dialects call a search of the web that the provider itself ran; it costs by the search."""

FREE_TOOLS = frozenset({"web_fetch"})
"""What providers run without charging for it by the call."""

LIST_PRICED = frozenset((None, "", "auto", "default", "standard", "standard_only", "normal", "global", "not_available"))
"""Tiers, speeds and places of an answer at which list prices hold. OpenAI's `priority` costs twice as much and `flex`
half, Anthropic's `fast` six times, and no price data has them all."""

_TIERS = ("service_tier", "serviceTier", "speed", "inference_geo")


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """What a request may use and cost; `cost` is None where the price is unknown.

    `confidence` only orders estimates, it is no probability: 0.7 where the request limits its output, 0.4 where
    that had to be assumed, 0.0 without a price.
    `bound_nanousd` is the most that it can cost there (`hold.hold`), None where nobody knows. `prices_as_of` is the day
    on which the prices were known to hold. Of a route it is the estimate at whoever would be asked now, and `options`
    are those at all who might be.
    """

    prompt_tokens: int
    completion_tokens: int
    cost: Cost | None = None
    confidence: float = 0.0
    bound_nanousd: int | None = None
    prices_as_of: date | None = None
    provider: str = ""
    model: str = ""
    options: tuple[CostEstimate, ...] = ()

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __repr__(self) -> str:
        from runtime.display import cost_text

        return (
            f"<CostEstimate {cost_text(self.cost)} for {self.prompt_tokens} in + {self.completion_tokens} out tokens>"
        )

    def _repr_html_(self) -> str:
        from runtime.panels import estimate_html

        return estimate_html(self)


def cost_of(usage: Usage, pricing: Pricing | None) -> Cost | None:
    """The cost of these tokens and searches, or None where a price of any of them is unknown.

    Half a nano-dollar is rounded up, in the total. The parts are rounded as they add up, so they always make the total.

    >>> cost = cost_of(Usage(input_tokens=1000, output_tokens=500), Pricing(input=150_000_000, output=600_000_000))
    >>> cost.input_nanousd, cost.output_nanousd, cost.total_nanousd
    (150000, 300000, 450000)
    """
    prices = prices_at(pricing, usage.input_tokens)
    if prices is None:
        return None
    came_in, went_out, called = _input(usage, prices), _output(usage, prices), _calls(usage, prices)
    if came_in is None or went_out is None or called is None:
        return None
    fresh, read, written = came_in
    spoken, thought = went_out
    ends = [(exact + HALF) // MILLION for exact in accumulate((fresh, read, written, called, spoken, thought))]
    return new_cost(
        input_nanousd=ends[2],
        output_nanousd=ends[5] - ends[3],
        total_nanousd=ends[5],
        source=prices.source,
        cached_input_nanousd=ends[1] - ends[0],
        cache_write_nanousd=ends[2] - ends[1],
        reasoning_nanousd=ends[5] - ends[4],
        per_call_nanousd=ends[3] - ends[2],
    )


def plain_total(pricing: Pricing | None, *, input_tokens: int, cached: int = 0, output_tokens: int = 0) -> int | None:
    """The total of `cost_of` for text alone, in nano-dollars: asked for each candidate of each request."""
    prices = prices_at(pricing, input_tokens)
    if prices is None:
        return None
    read = prices.input if prices.cached_input is None else prices.cached_input
    exact = max(0, input_tokens - cached) * prices.input + cached * read + max(0, output_tokens) * prices.output
    return (exact + prices.per_request * MILLION + HALF) // MILLION


def is_list_priced(said: Mapping[str, Json]) -> bool:
    """Whether an answer was given at list price, by what its provider says beside it: else its cost is unknown."""
    return all(said.get(name) in LIST_PRICED for name in _TIERS)


def prices_at(pricing: Pricing | None, input_tokens: int) -> Pricing | None:
    """The prices of a prompt of this length."""
    while pricing is not None:
        if pricing.applies_up_to_tokens is None or input_tokens <= pricing.applies_up_to_tokens:
            return pricing
        pricing = pricing.beyond
    return None


def _input(usage: Usage, prices: Pricing) -> tuple[int, int, int] | None:
    """Tokens times price, in millionths of a nano-dollar: what was new, read from a cache, written to one."""
    if usage.billed_input_tokens is not None:
        return usage.billed_input_tokens * prices.input, 0, 0
    read, written, kept = usage.cached_input_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens
    heard = usage.audio_input_tokens
    if heard and (prices.audio_input is None or ((read or written) and prices.audio_input)):
        # How much of the sound came from a cache is not said.
        return None
    cached = prices.input if prices.cached_input is None else prices.cached_input
    write = prices.input if prices.cache_write is None else prices.cache_write
    write_1h = prices.cache_write_1h if prices.cache_write is not None else write
    if kept and write_1h is None:
        return None
    # A provider that counts more cached tokens than input tokens has left them out of the latter.
    fresh = max(0, usage.input_tokens - read - written - heard)
    return (
        fresh * prices.input + heard * (prices.audio_input or 0),
        read * cached,
        max(0, written - kept) * write + kept * (write_1h or 0),
    )


def _output(usage: Usage, prices: Pricing) -> tuple[int, int] | None:
    """The same of what was said and what was thought."""
    thought = usage.reasoning_tokens
    per_thought = prices.output if prices.reasoning is None else prices.reasoning
    if (billed := usage.billed_output_tokens) is not None:
        # Thoughts are charged, or left out of what is charged.
        thought = min(thought, billed)
        return (billed - thought) * prices.output, thought * per_thought
    spoken = usage.audio_output_tokens
    if spoken and prices.audio_output is None:
        return None
    said = max(0, usage.output_tokens - spoken - thought)
    return said * prices.output + spoken * (prices.audio_output or 0), min(thought, usage.output_tokens) * per_thought


def _calls(usage: Usage, prices: Pricing) -> int | None:
    """The same of what is charged by the call."""
    called = prices.per_request * MILLION
    if not usage.server_tool_calls or not (charged := usage.server_tool_calls.keys() - FREE_TOOLS):
        return called
    if prices.web_search is None or charged - SEARCHES:
        return None
    return called + sum(usage.server_tool_calls[name] for name in charged) * prices.web_search * MILLION


def estimate(request: Request, info: ModelInfo | None, ratios: Ratios | None = None) -> CostEstimate:
    """What a request may cost at a model, before it is sent. Every alternative answer is paid for."""
    limit = request.sampling.max_tokens
    longest = info.max_output_tokens if info else None
    each = limit if limit is not None else ASSUMED_OUTPUT_TOKENS
    usage = Usage(
        input_tokens=expected_tokens(request, info.model if info else request.model, ratios),
        output_tokens=request.choices * (each if longest is None else min(each, longest)),
        estimated=True,
    )
    pricing = info.pricing if info else None
    cost = cost_of(usage, pricing)
    known = 0.4 if limit is None else 0.7
    return CostEstimate(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        cost=cost,
        confidence=known if cost else 0.0,
        prices_as_of=pricing.as_of if pricing else None,
        provider=info.provider if info else "",
        model=info.model if info else "",
    )
