"""The `x-ratelimit-*` headers, as OpenAI sends them (platform.openai.com/docs/guides/rate-limits, "in headers").

x-ratelimit-limit-requests: 60         x-ratelimit-remaining-requests: 59         x-ratelimit-reset-requests: 1s
x-ratelimit-limit-tokens: 150000       x-ratelimit-remaining-tokens: 149984       x-ratelimit-reset-tokens: 6m0s
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from runtime.ledger.purse import RateView


def rate_headers(views: Iterable[RateView]) -> dict[str, str]:
    """Headers for what `Purse.rates` says; none for a caller without rates."""
    headers = {}
    for view in views:
        what = view.counted.value
        headers[f"x-ratelimit-limit-{what}"] = str(view.limit)
        headers[f"x-ratelimit-remaining-{what}"] = str(max(0, view.remaining))
        headers[f"x-ratelimit-reset-{what}"] = duration(view.reset_s)
    return headers


def duration(seconds: float) -> str:
    """As Go writes durations, to the millisecond.

    >>> [duration(s) for s in (0, 0.0125, 1, 1.5, 360, 3_725)]
    ['0s', '13ms', '1s', '1.5s', '6m0s', '1h2m5s']
    """
    ms = math.ceil(max(0.0, seconds) * 1000)
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, rest = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    said = f"{rest / 1000:g}s"
    if minutes or hours:
        said = f"{minutes}m{said}"
    return f"{hours}h{said}" if hours else said
