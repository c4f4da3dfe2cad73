"""The calendar of money, in UTC: hours, days, weeks from Monday, months, and all time together.

>>> [start_of(period, 1_700_000_000_000) for period in Period]
[1699999200000, 1699920000000, 1699833600000, 1698796800000, 0]
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
_MONDAY_MS = 4 * DAY_MS
"""The first Monday after the epoch, which was a Thursday."""


class Period(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


def start_of(period: Period, at_ms: int) -> int:
    """The first millisecond of the period in which this moment lies; 0 for all time."""
    match period:
        case Period.HOUR:
            return at_ms - at_ms % HOUR_MS
        case Period.DAY:
            return at_ms - at_ms % DAY_MS
        case Period.WEEK:
            return at_ms - (at_ms - _MONDAY_MS) % WEEK_MS
        case Period.MONTH:
            day = _at(at_ms)
            return _ms(datetime(day.year, day.month, 1, tzinfo=UTC))
        case Period.TOTAL:
            return 0


def end_of(period: Period, at_ms: int) -> int | None:
    """The first millisecond of the next period; None for all time, which has no end."""
    start = start_of(period, at_ms)
    match period:
        case Period.HOUR:
            return start + HOUR_MS
        case Period.DAY:
            return start + DAY_MS
        case Period.WEEK:
            return start + WEEK_MS
        case Period.MONTH:
            # 31 days after the first of any month lies in the next one.
            return start_of(Period.MONTH, start + 31 * DAY_MS)
        case Period.TOTAL:
            return None


def _at(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, UTC)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000
