"""Costs and token counts on the recorded traffic: `python -m tests.wire.money` (RAYGATE_SHARED names the recordings).

Three questions. Does our price of what OpenRouter reported come to what it says that it charged? How far are our token
counts from those that providers reported, before and after learning? Did anything use more than its hold allows for?

What is learned is judged as it is used: each exchange is estimated by what those before it taught, in a random order.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from random import Random
from statistics import median

from runtime import vocabulary
from runtime.catalog import Catalog
from runtime.dialects.registry import DIALECTS
from runtime.hold import bounds_of, hold
from runtime.models import ModelInfo
from runtime.outcome import Completion, Failure
from runtime.price import cost_of
from runtime.request import Request
from runtime.settings import Settings
from runtime.token_ratio import Ratios, families_of
from runtime.tokens import estimate_tokens, expected_tokens, is_plain_text, learn
from tests.wire import seed
from tests.wire.proof import parse
from tests.wire.records import ABSENT, DEV, Record, chats

DAY = date(2026, 11, 20)

KIND = {"gemini": "google", "ollama /v1": "ollama", "llamacpp": "custom"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that was answered, and its usage reported."""

    record: Record
    request: Request
    answer: Completion
    info: ModelInfo


@lru_cache(maxsize=1)
def exchanges() -> tuple[Exchange, ...]:
    return tuple(_read())


def _read() -> Iterator[Exchange]:
    names = sorted({KIND.get(record.provider, record.provider) for record in chats()})
    hosts = {name: {"kind": name, **({"base_url": "http://h/v1"} if name == "custom" else {})} for name in names}
    catalog = Catalog(Settings.model_validate({"providers": hosts}), today=lambda: DAY)
    for record in chats():
        request = parse(record) if record.ok else None
        if not isinstance(request, Request):
            continue
        dialect = DIALECTS[record.dialect]
        if record.stream:
            decoder = dialect.decoder(record.target)
            decoder.feed(record.wire)
            answer = decoder.finish()
        else:
            answer = dialect.decode(record.reply, record.target)
        if isinstance(answer, Failure) or not answer.usage.input_tokens or answer.usage.estimated:
            continue
        model = record.model or request.model
        info = catalog.info(KIND.get(record.provider, record.provider), model)
        if info is not None:
            yield Exchange(record, replace(request, model=model), answer, info)


@dataclass(frozen=True, slots=True)
class Charged:
    """What a provider says that it charged, in nano-dollars, beside our price of the usage that it reports."""

    exchange: Exchange
    theirs: int
    ours: int | None

    @property
    def agrees(self) -> bool:
        return self.ours == self.theirs


def charged() -> list[Charged]:
    found = []
    for one in exchanges():
        if one.record.provider == "openrouter" and one.answer.cost is not None:
            ours = cost_of(one.answer.usage, one.info.pricing)
            found.append(Charged(one, one.answer.cost.total_nanousd, ours.total_nanousd if ours else None))
    return found


def beyond_bounds() -> tuple[int, list[Exchange]]:
    """How many exchanges have a bound, and which of them used more."""
    bounded = [(one, bounds) for one in exchanges() if (bounds := bounds_of(one.request, one.info)) is not None]
    return len(bounded), [one for one, bounds in bounded if not bounds.contain(one.answer.usage)]


def beyond_holds() -> list[Charged]:
    """What a provider charged beyond the hold."""
    holds = [(one, hold(one.exchange.request, one.exchange.info)) for one in charged()]
    return [one for one, most in holds if most is not None and one.theirs > most]


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors of token counts: half are within `median`, 19 of 20 within `p95`."""

    count: int
    median: float
    p95: float

    @classmethod
    def of(cls, errors: Sequence[float]) -> Errors:
        ordered = sorted(errors)
        return cls(len(ordered), median(ordered), ordered[int(0.95 * len(ordered))])

    def __str__(self) -> str:
        return f"{self.median:.0%} / {self.p95:.0%}"


def token_errors(rng: Random) -> dict[str, tuple[Errors, Errors]]:
    """By the relatives of the model: of what was counted, and of what was expected after learning. `` is all."""
    texts = [one for one in exchanges() if is_plain_text(one.request)]
    rng.shuffle(texts)
    ratios = Ratios()
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for one in texts:
        reported, model = one.answer.usage.input_tokens, one.request.model
        counted, expected = estimate_tokens(one.request), expected_tokens(one.request, model, ratios)
        errors = abs(counted - reported) / reported, abs(expected - reported) / reported
        for family in ("", families_of(model)[0]):
            found[family].append(errors)
        learn(ratios, one.request, one.answer)
    return {
        family: (Errors.of([before for before, _ in errors]), Errors.of([after for _, after in errors]))
        for family, errors in sorted(found.items(), key=lambda item: -len(item[1]))
    }


def main() -> int:
    if not DEV.is_dir():
        print(ABSENT)
        return 1
    vocabulary.use()
    costs = charged()
    print(f"OpenRouter's own costs: {sum(one.agrees for one in costs)} of {len(costs)} agree to the nano-dollar")
    for one in costs:
        if not one.agrees:
            print(f"   {one.exchange.record.id} {one.exchange.info.model}: charged {one.theirs}, priced {one.ours}")
    count, over = beyond_bounds()
    print(f"\nbounds: {count} of {len(exchanges())} have one; {len(over)} used more")
    for exchange in over:
        print(f"   {exchange.record.id} {exchange.info.model}: {exchange.answer.usage}")
    print(f"charged beyond the hold: {len(beyond_holds())}")
    print("\ninput tokens, median / 95th percentile of the error: counted, expected")
    for family, (before, after) in token_errors(Random(seed())).items():
        print(f"   {family or 'all':12} {before.count:5}   {before!s:>12}   {after!s:>12}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
