"""What is asked of the rows: what was spent and on what, the rows themselves, what it would have cost elsewhere.

JSON in and out, as for `desk`. Money is in nano-dollars and, for people, in dollars; what has an unknown price is
counted as `unpriced` beside every sum and is in none.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence

from runtime.ledger.desk import bad, unkept
from runtime.ledger.export import FIELDS, Format, export, record
from runtime.ledger.periods import DAY_MS, HOUR_MS, WEEK_MS, Period
from runtime.ledger.report import BY, Projection, before, cut_for, known_cost, lines, project, reprice, trends
from runtime.ledger.store.base import Store, StoreFailure, Trouble, Where
from runtime.ledger.store.tally import Cell, Sums
from runtime.models import NANOUSD, Pricing
from runtime.outcome import Failure
from runtime.request import Json

Answer = Mapping[str, Json]
Prices = Callable[[str], Pricing | None]
"""The prices of a provider/model, None where they are unknown."""

Quality = Callable[[str], Awaitable[Mapping[str, float]]]
"""What was learned of models (provider/model → 0 to 1) in an organisation; "" for whoever has none."""

MOST_ROWS = 1_000
LEARNED_MS = 35 * DAY_MS
"""How far back days are read for a projection."""

UNITS = {"h": HOUR_MS, "d": DAY_MS, "w": WEEK_MS}
_SPAN = re.compile(r"(\d{1,5})([hdw])")
FILTERS = ("key", "team", "org", "tag", "route", "provider", "model")


class Enquiries:
    """Belongs to one event loop."""

    def __init__(
        self, store: Store, *, wall: Callable[[], float], prices: Prices, quality: Quality | None = None
    ) -> None:
        self._store = store
        self._wall = wall
        self._prices = prices
        self._quality = quality

    async def spend(self, by: str = "", last: str = "30d", each: str = "total", **only: str) -> Answer | Failure:
        """Sums of the last hours, days or weeks (`7d`), by dimensions (`model,key`), each hour, day, week, month or in
        all; with the change since the span before, and what the next 30 days will cost."""
        since = self._since(last, only)
        if isinstance(since, Failure):
            return since
        now_ms = self._now_ms()
        dimensions = tuple(filter(None, by.split(",")))
        if each not in set(Period):
            return bad(f"each={each!r} is no period; there are {', '.join(Period)}", param="each")
        period = Period(each)
        try:
            cut = cut_for(period, since_ms=since, until_ms=now_ms + 1, by=dimensions, only=only)
            earlier = cut_for(since_ms=before(since, now_ms)[0], until_ms=since, by=dimensions, only=only)
            daily = cut_for(Period.DAY, since_ms=now_ms - LEARNED_MS, until_ms=now_ms + 1, only=only)
        except ValueError as error:
            return bad(f"{error}; by is of {', '.join(BY)}", param="by")
        found = await self._store.cells(cut)
        then = await self._store.cells(earlier)
        days = await self._store.cells(daily)
        if isinstance(found, StoreFailure):
            return unkept(found)
        if isinstance(then, StoreFailure):
            return unkept(then)
        if isinstance(days, StoreFailure):
            return unkept(days)
        total = Sums()
        for cell in found:
            total = total.plus(cell.sums)
        changes = trends(found, then)
        return {
            "since_ms": since,
            "until_ms": now_ms,
            "each": period.value,
            "by": list(dimensions),
            "total": sums_json(total),
            "lines": [_line(cell, dimensions, period) for cell in lines(found, period)],
            "trend": [
                {
                    **dict(zip(dimensions, one.values, strict=True)),
                    "before_nanousd": one.before.cost_nanousd,
                    "change": one.change,
                    "certain": one.certain,
                }
                for one in changes
            ],
            "projection": _projection(project(days, now_ms=now_ms)),
        }

    async def rows(self, last: str = "24h", limit: int = 100, **only: str) -> Answer | Failure:
        """The first attempts of the last hours, days or weeks, each with all that is known of it."""
        since = self._since(last, only)
        if isinstance(since, Failure):
            return since
        most = max(1, min(limit, MOST_ROWS))
        async for page in self._store.rows(Where(since_ms=since, only=only), page=most):
            if isinstance(page, StoreFailure):
                return unkept(page)
            return {"rows": [dict(zip(FIELDS, record(row), strict=True)) for row in page]}
        return {"rows": []}

    async def tail(self, last: str = "24h", limit: int = 100, after: int = 0, **only: str) -> Answer | Failure:
        """The last attempts, newest first; with `after`, those alone that were written down after that `seq`. `seq` of
        the answer is what to go on after."""
        since = self._since(last, only)
        if isinstance(since, Failure):
            return since
        most = max(1, min(limit, MOST_ROWS))
        found = await self._store.newest(Where(since_ms=since, only=only), after=max(0, after), limit=most)
        if isinstance(found, StoreFailure):
            return unkept(found)
        return {
            "seq": max((one.seq for one in found), default=after),
            "rows": [dict(zip(FIELDS, record(one.row), strict=True)) for one in found],
        }

    async def elsewhere(self, models: str = "", last: str = "30d", **only: str) -> Answer | Failure:
        """What the same tokens would have cost at other models, named as provider/model with commas between them."""
        since = self._since(last, only)
        if isinstance(since, Failure):
            return since
        names = list(filter(None, models.split(",")))
        if not names:
            return bad("no models were named; say models=openai/gpt-4o-mini, several with commas", param="models")
        # By tag, sums of models are not kept: hours alone are close enough, as prices by length are anyway.
        by = () if "tag" in only else ("model",)
        try:
            cut = cut_for(Period.HOUR, since_ms=since, until_ms=self._now_ms() + 1, by=by, only=only)
        except ValueError as error:
            return bad(str(error))
        found = await self._store.cells(cut)
        if isinstance(found, StoreFailure):
            return unkept(found)
        learned = {} if self._quality is None else await self._quality(only.get("org", ""))
        return {
            "spent_nanousd": sum(cell.sums.cost_nanousd for cell in found),
            "models": [
                {
                    "model": one.name,
                    "cost_nanousd": one.cost_nanousd,
                    "cost_usd": _usd(one.cost_nanousd),
                    "unpriced": one.unpriced,
                    "about": one.about,
                    "quality": one.quality,
                }
                for one in reprice(found, {name: self._prices(name) for name in names}, learned)
            ],
        }

    async def export(self, to: str, last: str, only: Mapping[str, str]) -> AsyncGenerator[bytes | Failure]:
        """All rows as a file, a piece at a time. A failure is the last item: what came before it is not all."""
        since = self._since(last, only)
        if isinstance(since, Failure):
            yield since
        elif to not in set(Format):
            yield bad(f"there is no format {to!r}; there are {', '.join(Format)}", param="format")
        else:
            async for piece in export(self._store, Where(since_ms=since, only=only), Format(to)):
                yield _unread(piece) if isinstance(piece, StoreFailure) else piece

    def _now_ms(self) -> int:
        return round(self._wall() * 1_000)

    def _since(self, last: str, only: Iterable[str]) -> int | Failure:
        """When the span that is asked about began; or what is wrong with it, or with the filters."""
        if unknown := set(only).difference(FILTERS):
            return bad(f"rows are not kept by {', '.join(sorted(unknown))}; there are {', '.join(FILTERS)}")
        said = _SPAN.fullmatch(last)
        if said is None:
            return bad(f"last={last!r} is no span of time; write it as 24h, 7d or 4w", param="last")
        return max(0, self._now_ms() - int(said[1]) * UNITS[said[2]])


def sums_json(sums: Sums) -> dict[str, Json]:
    """All measures, and the cost in dollars: None, never 0, where nothing of it is known."""
    return {**sums._asdict(), "cost_usd": _usd(known_cost(sums))}


def _unread(failure: StoreFailure) -> Failure:
    """What is not installed, whoever asks can do without."""
    return bad(failure.detail, param="format") if failure.kind is Trouble.MISSING else unkept(failure)


def _line(cell: Cell, by: Sequence[str], each: Period) -> dict[str, Json]:
    when = {} if each is Period.TOTAL else {"start_ms": cell.start_ms}
    return {**when, **dict(zip(by, cell.values, strict=True)), **sums_json(cell.sums)}


def _projection(found: Projection | None) -> Json:
    if found is None:
        return None
    return {
        "days": found.days,
        "expected_usd": _usd(found.expected_nanousd),
        "low_usd": _usd(found.low_nanousd),
        "high_usd": _usd(found.high_nanousd),
        "learned_days": found.learned_days,
        "unpriced": found.unpriced,
    }


def _usd(nanousd: int | None) -> float | None:
    return None if nanousd is None else nanousd / NANOUSD
