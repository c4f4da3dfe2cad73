"""How long a provider asks us to wait, in every form that its headers have for it.

    retry-after-ms                        milliseconds                       OpenAI, Azure
    retry-after                           seconds, or an HTTP date           all; Google has it in the body instead
    x-ratelimit-reset-requests, -tokens   1s, 6m0s, 120ms                    OpenAI and who follows it (Groq)
    anthropic-ratelimit-…-reset           an RFC 3339 moment                 Anthropic
    x-ratelimit-reset                     ms or s since 1970, or seconds     OpenRouter, Together

The last three stand beside every answer and say when a limit is whole again. They are a wait only on a 429 that names
none, and only of what has run out: where `…-remaining…` says that some is left, that limit is not the one that struck.
A reset that is more than an hour off is a budget by the day, often of some models alone: nobody is shut out for that.
Moments are read relative to the reply's own `date`, so that neither clock matters; without that one they say nothing.
Header names are in lower case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

_PREFIX = re.compile(r"(?:x|anthropic)-ratelimit-")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNITS_S = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
LONGEST_RESET_S = 3_600.0
_EPOCH_S = 1e9
"""Seconds since 1970 have been more than this since 2001, milliseconds more than a thousand times as many."""


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after`.

    Meant for failures: providers also send it on success, where it means nothing.

    >>> retry_after_s({"retry-after": "1.5"})
    1.5
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after")
    seconds = _number(said)
    if seconds is not None or said is None:
        return seconds
    try:
        return _until(parsedate_to_datetime(said), headers)
    except (ValueError, TypeError):
        return None


def reset_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until the last of the limits that have run out is whole again.

    >>> reset_after_s({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"})
    360.0
    """
    waits = [
        wait
        for name, said in headers.items()
        if "reset" in name
        and _PREFIX.match(name)
        and _has_run_out(headers.get(name.replace("reset", "remaining")))
        and (wait := _reset(said, headers)) is not None
        and wait <= LONGEST_RESET_S
    ]
    return max(waits, default=None)


def _has_run_out(remaining: str | None) -> bool:
    return remaining is None or _number(remaining) == 0.0


def _reset(said: str, headers: Mapping[str, str]) -> float | None:
    number = _number(said)
    if number is None:
        lengths = _DURATION.fullmatch(said.strip())
        if lengths and any(lengths.groups()):
            return sum(float(n) * unit for n, unit in zip(lengths.groups(), _UNITS_S, strict=True) if n)
        try:
            return _until(datetime.fromisoformat(said.strip()), headers)
        except (ValueError, TypeError):
            return None
    if number < _EPOCH_S:
        return number
    seconds = number / 1000 if number >= 1000 * _EPOCH_S else number
    try:
        return max(0.0, seconds - parsedate_to_datetime(headers.get("date", "")).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


def _until(then: datetime, headers: Mapping[str, str]) -> float | None:
    try:
        now = parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (then - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
