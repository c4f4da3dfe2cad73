"""What was spent, where it goes, and what the same traffic would have cost elsewhere. Pure: cells in, values out.

    store.cells(cut_for(...)) ─► lines     by hour, day, week, month or all; by model, key, tag and so on
                              ├► trend     this period against the one before
                              ├► project   the next 30 days, with how sure that is
                              └► reprice   the same tokens at other prices

What was used at an unknown price stands beside each sum as a count (`unpriced`) and is in none: a sum with a count is a
lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from runtime.ledger.periods import DAY_MS, Period, start_of
from runtime.ledger.rows import NO_USAGE
from runtime.ledger.store.tally import Cell, Cut, Sums, merged
from runtime.models import Pricing
from runtime.outcome import Usage
from runtime.price import cost_of, prices_at
from runtime.wire import crosses

BY = ("org", "team", "key", "tag", "route", "provider", "model")
"""What reports are cut by."""

LEARNED_DAYS = 28
"""How far back a projection looks: four of each weekday."""

HORIZON_DAYS = 30

SURE_Z = 1.2816
"""Four of five times a normal variable lies within so many standard deviations."""


def cut_for(
    each: Period = Period.TOTAL,
    *,
    since_ms: int = 0,
    until_ms: int = 2**62,
    by: tuple[str, ...] = (),
    only: Mapping[str, str] | None = None,
) -> Cut:
    """What to ask the store for. Raises `ValueError` where that is not kept (a tag together with a route, say)."""
    kept = Period.DAY if each in (Period.WEEK, Period.MONTH) else each
    return Cut(since_ms=since_ms, until_ms=until_ms, each=kept, by=by, only=only or {})


def lines(cells: Iterable[Cell], each: Period = Period.TOTAL) -> tuple[Cell, ...]:
    """The cells of each period together, in the order of time and then of cost, the dearest first."""
    grouped = merged(
        Cell(0 if each is Period.TOTAL else start_of(each, cell.start_ms), cell.values, cell.sums) for cell in cells
    )
    found = (Cell(start, values, sums) for (start, values), sums in grouped.items())
    return tuple(sorted(found, key=lambda cell: (cell.start_ms, -cell.sums.cost_nanousd, cell.values)))


def known_cost(sums: Sums) -> int | None:
    """What is known of the cost: None, rather than 0, where nothing but attempts at unknown prices cost anything."""
    return None if sums.unpriced and not sums.cost_nanousd else sums.cost_nanousd


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """`change` is the growth of the cost since the period before: 0.5 is half as much again. None where that was 0.

    `certain` is False where either side used something at an unknown price.
    """

    values: tuple[str, ...]
    now: Sums
    before: Sums
    change: float | None
    certain: bool


def before(since_ms: int, until_ms: int) -> tuple[int, int]:
    """The span of the same length that ends where this one begins."""
    return since_ms - (until_ms - since_ms), since_ms


def trends(now: Iterable[Cell], then: Iterable[Cell]) -> tuple[Trend, ...]:
    """This span against the one before, for each value that either has, the largest change of cost first."""
    this, last = ({values: sums for (_, values), sums in merged(lines(cells)).items()} for cells in (now, then))
    found = [_trend(values, this.get(values, Sums()), last.get(values, Sums())) for values in {**this, **last}]
    return tuple(sorted(found, key=lambda it: (-abs(it.now.cost_nanousd - it.before.cost_nanousd), it.values)))


def _trend(values: tuple[str, ...], now: Sums, then: Sums) -> Trend:
    change = (now.cost_nanousd - then.cost_nanousd) / then.cost_nanousd if then.cost_nanousd else None
    return Trend(values=values, now=now, before=then, change=change, certain=not (now.unpriced or then.unpriced))


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """What the next `days` will cost if they are as the last weeks were; four times of five between `low` and `high`.

    `low` and `high` are None where too few days are known to say how much they differ. `learned_days` is from how many.
    `unpriced` attempts of those days are in none of it.
    """

    days: int
    expected_nanousd: int
    low_nanousd: int | None
    high_nanousd: int | None
    learned_days: int
    unpriced: int


def project(days: Iterable[Cell], *, now_ms: int, horizon: int = HORIZON_DAYS) -> Projection | None:
    """From daily cells. None where no whole day is known.

    Each day to come is taken to be the mean of its weekday's in the last four weeks, of whole days since the first with
    any traffic; where a weekday is not among them, of all. The spread is that of the days about their weekday's mean;
    both it and the means' own uncertainty count. It knows no growth: `trends` shows that.
    """
    today = start_of(Period.DAY, now_ms)
    known = {cell.start_ms: cell.sums for cell in lines(days, Period.DAY) if cell.start_ms < today}
    recent = [start for start in known if start >= today - LEARNED_DAYS * DAY_MS]
    if not recent:
        return None
    # A ledger that began long ago had days at which nothing was asked: they count, as zeros.
    first = max(min(known), today - LEARNED_DAYS * DAY_MS)
    costs: dict[int, list[int]] = {}
    for start in range(first, today, DAY_MS):
        cost = known[start].cost_nanousd if start in known else 0
        costs.setdefault(_weekday(start), []).append(cost)
    every = [cost for group in costs.values() for cost in group]
    mean = {day: fmean(costs.get(day, every)) for day in range(7)}
    coming: dict[int, int] = {}
    for n in range(horizon):
        day = _weekday(today + n * DAY_MS)
        coming[day] = coming.get(day, 0) + 1
    expected = sum(times * mean[day] for day, times in coming.items())
    spread = _spread(costs, every)
    low = high = None
    if spread is not None:
        variance = sum(times * spread + times**2 * spread / len(costs.get(day, every)) for day, times in coming.items())
        margin = SURE_Z * math.sqrt(variance)
        low, high = max(0, round(expected - margin)), round(expected + margin)
    return Projection(
        days=horizon,
        expected_nanousd=round(expected),
        low_nanousd=low,
        high_nanousd=high,
        learned_days=len(every),
        unpriced=sum(known[start].unpriced for start in recent),
    )


def _spread(costs: Mapping[int, list[int]], every: list[int]) -> float | None:
    """The variance of a day about its weekday's mean; about the mean of all where no weekday came twice."""
    if len(every) < 2:
        return None
    free = len(every) - len(costs)
    if free < 1:
        centre = fmean(every)
        return sum((cost - centre) ** 2 for cost in every) / (len(every) - 1)
    return sum(sum((cost - fmean(group)) ** 2 for cost in group) for group in costs.values()) / free


def _weekday(day_ms: int) -> int:
    return day_ms // DAY_MS % 7


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """What the same tokens would have cost at a model, or through a route.

    `cost_nanousd` leaves out `unpriced` attempts, whose price there is not known; None where none is.
    `about`: a price that depends on the prompt's length was looked up for the mean length of an hour's prompts.
    `quality` is what was learned of it, None where nothing was.
    """

    name: str
    cost_nanousd: int | None
    unpriced: int
    about: bool
    quality: float | None = None


def reprice(
    cells: Iterable[Cell], prices: Mapping[str, Pricing | None], quality: Mapping[str, float] | None = None
) -> tuple[Alternative, ...]:
    """The cheapest first, unknown ones last. `prices` are by the name of whatever the traffic might have gone to.

    Ask for cells by hour, and by model and key, where prices depend on the prompt's length. The tokens are those that
    were counted: another model's tokenizer counts others. Searches and other calls of a provider's tools are left out.
    """
    used = [cell.sums for cell in cells if _usage(cell.sums) != NO_USAGE]
    learned = quality or {}
    found = [_alternative(name, used, pricing, learned.get(name)) for name, pricing in prices.items()]
    return tuple(sorted(found, key=lambda it: (it.cost_nanousd is None, it.cost_nanousd or 0, it.name)))


def _alternative(name: str, used: Iterable[Sums], pricing: Pricing | None, quality: float | None) -> Alternative:
    total, unpriced, about, known = 0, 0, False, False
    for sums in used:
        # Attempts that failed used nothing, as a rule.
        asked = max(sums.ok, 1)
        tier = prices_at(pricing, sums.input_tokens // asked)
        if tier is not None:
            # Already looked up: all the tokens together are no one prompt.
            tier = replace(tier, applies_up_to_tokens=None, beyond=None)
        cost = cost_of(_usage(sums), tier)
        if cost is None:
            unpriced += sums.attempts
            continue
        known = True
        about = about or (pricing is not None and pricing.applies_up_to_tokens is not None)
        total += cost.total_nanousd + (asked - 1) * (tier.per_request if tier else 0)
    nothing_used = not unpriced
    return Alternative(
        name=name,
        cost_nanousd=total if known or (nothing_used and pricing is not None) else None,
        unpriced=unpriced,
        about=about,
        quality=quality,
    )


def _usage(sums: Sums) -> Usage:
    return Usage(
        input_tokens=sums.input_tokens,
        output_tokens=sums.output_tokens,
        cached_input_tokens=sums.cached_input_tokens,
        cache_write_tokens=sums.cache_write_tokens,
        cache_write_1h_tokens=sums.cache_write_1h_tokens,
        reasoning_tokens=sums.reasoning_tokens,
        audio_input_tokens=sums.audio_input_tokens,
        audio_output_tokens=sums.audio_output_tokens,
    )
