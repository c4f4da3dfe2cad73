"""Prices that you know better than the pinned price data: of one model, of a provider, or a whole list of them.

Dollars per million tokens, as price lists are written; searches by the thousand, as they are sold; `per_request` for
each. Inside they are integers.

    models.<name>.price ─ over ─ prices (`price_file`), a full name ─ over ─ a pattern, the longest first
                        ─ over ─ providers.<name>.price ─ over ─ the price data of the provider's kind
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from runtime.models import Pricing, per_million
from runtime.settings.parts import STRICT, Count

Usd = Annotated[Decimal, Field(ge=0, decimal_places=9)]

SEARCHES_COUNTED = 1_000


class TokenPrices(BaseModel):
    """Dollars per million tokens. Input and output come together: half a price is none. What is left out of the others
    costs as any input or output, but sound and what is kept for an hour: their price is unknown then."""

    model_config = STRICT

    input: Usd
    output: Usd
    cached_input: Usd | None = None
    cache_write: Usd | None = None
    cache_write_1h: Usd | None = None
    reasoning: Usd | None = None
    audio_input: Usd | None = None
    audio_output: Usd | None = None


class Price(TokenPrices):
    """`above` are the prices of prompts of more tokens than so many, for all of their tokens. `web_search` is for a
    thousand searches, `per_request` for each request."""

    web_search: Usd | None = None
    per_request: Usd | None = None
    above: dict[Count, TokenPrices] = {}

    def priced(self, as_of: date | None) -> Pricing:
        """The same in integers."""
        edges = sorted(self.above)
        found: Pricing | None = None
        for edge, end in reversed(list(zip([0, *edges], [*edges, None], strict=True))):
            said = self.above[edge] if edge else self
            found = Pricing(
                input=per_million(said.input),
                output=per_million(said.output),
                cached_input=_nano(said.cached_input),
                cache_write=_nano(said.cache_write),
                cache_write_1h=_nano(said.cache_write_1h),
                reasoning=_nano(said.reasoning),
                audio_input=_nano(said.audio_input),
                audio_output=_nano(said.audio_output),
                web_search=None if self.web_search is None else per_million(self.web_search) // SEARCHES_COUNTED,
                per_request=_nano(self.per_request) or 0,
                applies_up_to_tokens=end,
                beyond=found,
                source="settings",
                as_of=as_of,
            )
        if found is None:
            raise AssertionError("there is always a first tier")
        return found


class PriceSettings(Price):
    """A price, and what becomes of it: `changes` are by the day (UTC) from which they hold."""

    changes: dict[date, Price] = {}

    def pricing(self, on: date | None = None, as_of: date | None = None) -> Pricing:
        """The price of this day; without one, that before any change."""
        begun = [day for day in self.changes if on is not None and day <= on]
        return (self.changes[max(begun)] if begun else self).priced(as_of)


class PriceList(BaseModel):
    """Prices by `provider/model`; a `*` in a name stands for anything. `as_of` is the day on which they were looked up,
    and is shown beside them."""

    model_config = STRICT

    as_of: date | None = None
    models: dict[str, PriceSettings] = {}

    @model_validator(mode="after")
    def _named(self) -> PriceList:
        for name in self.models:
            provider, slash, model = name.partition("/")
            if not (provider and slash and model):
                raise PydanticCustomError(
                    "name", "price `{name}` should be of a provider/model, such as openai/gpt-4o-mini", {"name": name}
                )
        return self

    def find(self, name: str, on: date) -> Pricing | None:
        """The price of a model on a day: by its full name, else by the longest pattern that fits it."""
        found = self.models.get(name)
        if found is None:
            fitting = [pattern for pattern in self.models if "*" in pattern and _fits(pattern, name)]
            found = self.models[max(fitting, key=len)] if fitting else None
        return None if found is None else found.pricing(on, self.as_of)


def _fits(pattern: str, name: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None


def _nano(usd: Decimal | None) -> int | None:
    return None if usd is None else per_million(usd)
