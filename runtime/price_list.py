"""What the pinned price data (genai-prices) knows of a model: its name, context window and prices of a day.

The data ages with its pin, and nothing here asks the network. Reading it takes a twentieth of a second and six
megabytes once Python has compiled it, and several times that before, so it happens at the first question, or ahead of
it in a thread of its own: `load_soon`.

A name that the data does not match is unknown. Models that cost by other measures than tokens (hours of sound,
letters, pictures) are known here without a price: an answer's cost could not be told from its tokens.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from runtime.models import ModelInfo, Pricing, per_million

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo as Listed
    from genai_prices.types import ModelPrice, Provider, TieredPrices

KINDS = frozenset({"openai", "openrouter", "anthropic", "google", "cohere"})
"""The kinds of provider whose prices are known, by the data's own names for them."""

REMEMBERED = 4_096
"""Names come from callers, so what was found must not fill the memory."""

PER_TOKEN = frozenset(
    {
        "input_mtok",
        "output_mtok",
        "output_reasoning_mtok",
        "cache_read_mtok",
        "cache_write_mtok",
        "cache_write_1h_mtok",
        "input_audio_mtok",
        "output_audio_mtok",
    }
)
"""The data's words for prices per million tokens that our usage tells apart."""

IGNORED = frozenset(
    {
        "web_searches_kcount",
        "storage_searches_kcount",
        "cache_audio_read_mtok",
        "input_image_mtok",
        "input_video_mtok",
        "cache_image_read_mtok",
    }
)
"""Prices that leave the others as they are: of searches (read apart), of sound from a cache (see `price.cost_of`), and
of pictures and video that go in: only embedding and live models sell those apart, and they get text alone from us.
"""

_NANO = Decimal("1e-9")

AS_OF = {"0.2.3": date(2026, 11, 9)}
"""The newest change of a price in each version of the data that we have looked at. (It also lists changes that were
announced for later days, so its own dates cannot tell.)"""

_SEARCHES_BY_PROMPT = re.compile(r"gemini-[12]\.")
"""Models whose searches are charged once a prompt, however many there were (ai.google.dev, grounding)."""

_CHARGES_BY_THE_CALL = re.compile(r"gpt-.*-search|.*/gpt-.*-search|perplexity/sonar|.*-deep-research|.*:online$")
"""Models that search for every answer and charge for it, at a price that the data lacks: tokens alone would be too
little (platform.openai.com/docs/pricing, openrouter.ai/perplexity)."""

_loading = threading.Lock()


def find(kind: str, model: str, on: date) -> ModelInfo | None:
    """What is known of this model at prices of this day; `provider` is empty until a provider claims it."""
    return _find(kind, model, on) if kind in KINDS else None


def models(kind: str) -> tuple[str, ...]:
    """The data's own names of all models of this kind."""
    return tuple(one.id for one in _models(kind))


@cache
def as_of() -> date | None:
    """Until when the data knows of changes: its age. None for a version of the data that nobody has looked at."""
    return AS_OF.get(version("genai-prices"))


def load_soon() -> None:
    """Begin to read the data in a thread, so that the first question need not wait for it."""
    if _loading.acquire(blocking=False):
        threading.Thread(target=_providers, name="price-list").start()


@lru_cache(maxsize=REMEMBERED)
def _find(kind: str, model: str, on: date) -> ModelInfo | None:
    if kind == "openrouter" and "/" not in model:
        return None
    name = model.lower()
    listed = next((one for one in _models(kind) if one.is_match(name)), None)
    if listed is None:
        return None
    pricing = _pricing(listed.get_prices(datetime.combine(on, time(12), UTC)))
    if pricing is not None and _SEARCHES_BY_PROMPT.match(name):
        pricing = replace(pricing, web_search=None)
    if _CHARGES_BY_THE_CALL.match(name):
        pricing = None
    return ModelInfo(
        provider="",
        model=model,
        name=listed.name or model,
        description=(listed.description or "").strip(),
        context_length=listed.context_window,
        pricing=pricing,
        deprecated=bool(listed.deprecated),
    )


@cache
def _providers() -> Mapping[str, Provider]:
    from genai_prices.data import providers

    return {one.id: one for one in providers if one.id in KINDS}


@cache
def _models(kind: str) -> tuple[Listed, ...]:
    # Google's list also holds what others sell in its cloud under other interfaces.
    return tuple(one for one in _providers()[kind].models if kind != "google" or "claude" not in one.id)


def _pricing(prices: ModelPrice) -> Pricing | None:
    """None where the tokens alone do not make the price."""
    said: dict[str, Decimal | TieredPrices] = {
        name: value for name, value in vars(prices).items() if value is not None and not name.startswith("_")
    }
    if not said.keys() & {"input_mtok", "output_mtok"} or said.keys() - PER_TOKEN - IGNORED:
        return None
    edges = sorted({tier.start for value in said.values() if not isinstance(value, Decimal) for tier in value.tiers})
    pricing: Pricing | None = None
    for above, end in reversed(list(zip([0, *edges], [*edges, None], strict=True))):
        figures = {name: _figure(value, above) for name, value in said.items()}
        pricing = Pricing(
            # An embedding has no output to sell.
            input=figures.get("input_mtok", 0),
            output=figures.get("output_mtok", 0),
            cached_input=figures.get("cache_read_mtok"),
            cache_write=figures.get("cache_write_mtok"),
            cache_write_1h=figures.get("cache_write_1h_mtok"),
            audio_input=figures.get("input_audio_mtok"),
            audio_output=figures.get("output_audio_mtok"),
            web_search=figures["web_searches_kcount"] // 1_000 if "web_searches_kcount" in figures else None,
            applies_up_to_tokens=end,
            beyond=pricing,
            reasoning=figures.get("output_reasoning_mtok"),
            as_of=as_of(),
        )
    return pricing


def _figure(price: Decimal | TieredPrices, above: int) -> int:
    """The price of prompts longer than this, in nano-dollars per what the data counts by."""
    if not isinstance(price, Decimal):
        price = next((tier.price for tier in reversed(price.tiers) if tier.start <= above), price.base)
    # To the nearest nano-dollar: the data has a few quotients with more places than money has.
    return per_million(price.quantize(_NANO, ROUND_HALF_UP))
