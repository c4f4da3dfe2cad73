"""Google's errors: `google.rpc.Status` with typed details, as a `Failure`.

    details: ErrorInfo.reason       the most exact word                   API_KEY_INVALID under a 400
             QuotaFailure           what ran out, and for which model     a quota by the day is exhausted, not throttled
             RetryInfo.retryDelay   how long to wait                      no retry-after header says it
             BadRequest             the field at fault
    status: a word                  UNAVAILABLE, RESOURCE_EXHAUSTED, …
    the HTTP status                 for all else

A daily quota is told by the typed `quotaId` of a violation, which names its period. Its retryDelay is kept as Google
says it, although it is often short.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import orjson

from runtime.dialects import status as http
from runtime.dialects.base import HttpReply, Target
from runtime.dialects.reading import objects, text
from runtime.dialects.status import envelope_of
from runtime.outcome import Failure, FailureKind
from runtime.request import Json

_K = FailureKind

REASONS: Mapping[str, FailureKind] = {
    "API_KEY_INVALID": _K.UNAUTHENTICATED,
    "API_KEY_EXPIRED": _K.UNAUTHENTICATED,
    "ACCESS_TOKEN_EXPIRED": _K.UNAUTHENTICATED,
    "CREDENTIALS_MISSING": _K.UNAUTHENTICATED,
    "BILLING_DISABLED": _K.QUOTA_EXHAUSTED,
    "RATE_LIMIT_EXCEEDED": _K.RATE_LIMITED,
    "RESOURCE_QUOTA_EXCEEDED": _K.QUOTA_EXHAUSTED,
    "SERVICE_DISABLED": _K.FORBIDDEN,
    "CONSUMER_SUSPENDED": _K.FORBIDDEN,
    "CONSUMER_INVALID": _K.FORBIDDEN,
    "API_KEY_SERVICE_BLOCKED": _K.FORBIDDEN,
    "API_KEY_HTTP_REFERRER_BLOCKED": _K.FORBIDDEN,
    "API_KEY_IP_ADDRESS_BLOCKED": _K.FORBIDDEN,
}
"""`google.rpc.ErrorInfo.reason`, of the domain googleapis.com."""

WORDS: Mapping[str, FailureKind] = {
    "INVALID_ARGUMENT": _K.BAD_REQUEST,
    "OUT_OF_RANGE": _K.BAD_REQUEST,
    # The account's country or billing, or a file that is not ready: the body itself is not wrong.
    "FAILED_PRECONDITION": _K.FORBIDDEN,
    "UNAUTHENTICATED": _K.UNAUTHENTICATED,
    "PERMISSION_DENIED": _K.FORBIDDEN,
    "NOT_FOUND": _K.MODEL_NOT_FOUND,
    "RESOURCE_EXHAUSTED": _K.RATE_LIMITED,
    "UNIMPLEMENTED": _K.UNSUPPORTED,
    "UNAVAILABLE": _K.OVERLOADED,
    "DEADLINE_EXCEEDED": _K.TIMED_OUT,
    "INTERNAL": _K.UNAVAILABLE,
    "UNKNOWN": _K.UNAVAILABLE,
    "ABORTED": _K.UNAVAILABLE,
    "DATA_LOSS": _K.UNAVAILABLE,
    "CANCELLED": _K.UNAVAILABLE,
}
"""`google.rpc.Code` by name."""


def failure_of_reply(reply: HttpReply, target: Target) -> Failure:
    """The failure in a reply that is none of success; the streaming method wraps its error in a list."""
    try:
        error = envelope_of(orjson.loads(reply.body))
    except orjson.JSONDecodeError:
        error = None
    if error is None or 300 <= reply.status < 400:
        return http.failure_of_reply(reply, target)
    return failure_of_error(error, target, status=reply.status, headers=reply.headers)


def failure_of_error(
    error: Json, target: Target, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Failure:
    """The failure that an error's inner object describes."""
    plain = http.failure_of_error(error, target, status=status, headers=headers)
    if not isinstance(error, dict):
        return plain
    details = objects(error.get("details"))
    word = text(error.get("status"))
    reason = next((text(one["reason"]) for one in details if isinstance(one.get("reason"), str)), "")
    # A body that is too large has no word of its own: it comes under RESOURCE_EXHAUSTED.
    kind = plain.kind if plain.kind is _K.TOO_LARGE else REASONS.get(reason) or WORDS.get(word) or plain.kind
    if kind is _K.RATE_LIMITED and any(_by_the_day(one) for one in details):
        kind = _K.QUOTA_EXHAUSTED
    delays = [delay for one in details if (delay := _seconds(one.get("retryDelay"))) is not None]
    fields = [text(one.get("field")) for detail in details for one in objects(detail.get("fieldViolations"))]
    return replace(
        plain,
        kind=kind,
        retry_after_s=max(delays) if delays else plain.retry_after_s,
        param=next((one for one in fields if one), plain.param),
        code=reason or word or plain.code,
        scope=_scope(kind, word, reason, details),
    )


def _scope(
    kind: FailureKind, word: str, reason: str, details: list[dict[str, Json]]
) -> Literal["", "model", "request"]:
    """What it speaks of, as far as typed fields say so."""
    if word == "FAILED_PRECONDITION" and reason not in REASONS:
        # A file that is not ready, say: the key is not at fault.
        return "request"
    violations = [one for detail in details for one in objects(detail.get("violations"))]
    dimensions = [one.get("quotaDimensions") for one in violations]
    named = bool(dimensions) and all(isinstance(one, dict) and "model" in one for one in dimensions)
    return "model" if named and kind in (_K.RATE_LIMITED, _K.QUOTA_EXHAUSTED) else ""


def _by_the_day(detail: dict[str, Json]) -> bool:
    return any("PerDay" in text(one.get("quotaId")) for one in objects(detail.get("violations")))


def _seconds(said: Json) -> float | None:
    """A duration as proto JSON writes it ("1.5s"), or as its parts."""
    if isinstance(said, dict):
        whole, nanos = said.get("seconds"), said.get("nanos")
        try:
            seconds = float(whole or 0) + float(nanos or 0) / 1e9
        except (TypeError, ValueError):
            return None
    elif isinstance(said, str) and said.endswith("s"):
        try:
            seconds = float(said[:-1])
        except ValueError:
            return None
    else:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
