"""What each recorded error means, by rules written from the providers' error pages and from nothing of ours.

First a typed word (code, type, reason, status word), then the HTTP status; never a message.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.dialects.registry import DIALECTS
from runtime.outcome import Failure, FailureKind
from tests.wire.records import Record

Json = Any
K = FailureKind

WORDS: Mapping[str, FailureKind] = {
    # OpenAI and Azure: platform.openai.com/docs/guides/error-codes
    "insufficient_quota": K.QUOTA_EXHAUSTED,
    "billing_hard_limit_reached": K.QUOTA_EXHAUSTED,
    "context_length_exceeded": K.CONTEXT_OVERFLOW,
    "invalid_api_key": K.UNAUTHENTICATED,
    "model_not_found": K.MODEL_NOT_FOUND,
    "deploymentnotfound": K.MODEL_NOT_FOUND,
    "unsupported_value": K.UNSUPPORTED,
    "unsupported_parameter": K.UNSUPPORTED,
    "content_filter": K.CONTENT_FILTERED,
    "content_policy_violation": K.CONTENT_FILTERED,
    "rate_limit_exceeded": K.RATE_LIMITED,
    # llama.cpp
    "exceed_context_size_error": K.CONTEXT_OVERFLOW,
    # Mistral
    "invalid_model": K.MODEL_NOT_FOUND,
    # Anthropic: docs.anthropic.com/en/api/errors
    "authentication_error": K.UNAUTHENTICATED,
    "permission_error": K.FORBIDDEN,
    "not_found_error": K.MODEL_NOT_FOUND,
    "request_too_large": K.TOO_LARGE,
    "rate_limit_error": K.RATE_LIMITED,
    "overloaded_error": K.OVERLOADED,
    "api_error": K.UNAVAILABLE,
    # Google: google.rpc.ErrorInfo reasons
    "api_key_invalid": K.UNAUTHENTICATED,
    # Cohere
    "too_many_tokens": K.CONTEXT_OVERFLOW,
    # without a status, inside streams
    "server_error": K.UNAVAILABLE,
}
STATUS: Mapping[int, FailureKind] = {
    401: K.UNAUTHENTICATED,
    402: K.QUOTA_EXHAUSTED,
    403: K.FORBIDDEN,
    404: K.MODEL_NOT_FOUND,
    408: K.TIMED_OUT,
    413: K.TOO_LARGE,
    429: K.RATE_LIMITED,
    500: K.UNAVAILABLE,
    502: K.UNAVAILABLE,
    503: K.OVERLOADED,
    504: K.UNAVAILABLE,
    529: K.OVERLOADED,
}
BROAD = frozenset(("server_error", "api_error", "permission_error", "not_found_error"))
"""Words that say no more than a status does, and give way to it."""

RETRY = frozenset((K.RATE_LIMITED, K.OVERLOADED, K.UNAVAILABLE))
"""What may pass by itself. A spent quota, a wrong key, a wrong request do not."""


@dataclass(frozen=True, slots=True)
class Expected:
    kind: FailureKind
    wait_s: float | None

    @property
    def retry(self) -> bool:
        return self.kind in RETRY


def expected(status: int | None, headers: Mapping[str, str], body: Json) -> Expected:
    """The kind and the wait that an error reply stands for."""
    return Expected(_kind(status, body), _wait(headers, body))


def _kind(status: int | None, body: Json) -> FailureKind:
    words = [word.lower() for word in _words(body)]
    for word in words:
        if word in WORDS and not (word in BROAD and status is not None and status >= 400):
            return WORDS[word]
    if status is not None and status >= 400:
        return STATUS.get(status, K.BAD_REQUEST if status < 500 else K.UNAVAILABLE)
    return next((STATUS[int(word)] for word in words if word.isdigit() and int(word) in STATUS), K.UNAVAILABLE)


def _words(body: Json) -> Iterator[str]:
    if isinstance(body, list):
        body = body[0] if body else None
    if not isinstance(body, dict):
        return
    error = body.get("error", body)
    if not isinstance(error, dict):
        return
    for name in ("code", "type", "error_type", "status"):
        if isinstance(error.get(name), str | int):
            yield str(error[name])
    for detail in _details(body):
        if isinstance(detail.get("reason"), str):
            yield detail["reason"]


def _details(body: Json) -> Iterator[dict[str, Json]]:
    if isinstance(body, list):
        body = body[0] if body else None
    error = body.get("error") if isinstance(body, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    return (one for one in details if isinstance(one, dict)) if isinstance(details, list) else iter(())


def _wait(headers: Mapping[str, str], body: Json) -> float | None:
    if "retry-after-ms" in headers:
        return float(headers["retry-after-ms"]) / 1000
    if headers.get("retry-after", "").replace(".", "", 1).isdigit():
        return float(headers["retry-after"])
    for detail in _details(body):
        if "RetryInfo" in str(detail.get("@type")) and str(detail.get("retryDelay", "")).endswith("s"):
            return float(detail["retryDelay"][:-1])
    return None


def body_of(record: Record) -> Json:
    try:
        return json.loads(record.wire)
    except ValueError:
        return None


def judged(record: Record) -> list[str]:
    """What is wrong with how a recorded error is read."""
    dialect = DIALECTS[record.dialect]
    wanted = expected(record.status, record.headers, body_of(record))
    if record.endpoint.endswith("/models"):
        got: object = dialect.decode_models(record.reply, record.target)
    else:
        got = dialect.decode(record.reply, record.target)
    if not isinstance(got, Failure):
        return [f"{record.status} was taken for success"]
    wrong = []
    if got.kind is not wanted.kind:
        wrong.append(f"{wanted.kind} was meant, {got.kind} was read")
    if got.retryable is not wanted.retry:
        wrong.append(f"retry {wanted.retry} was meant, {got.retryable} is advised")
    if got.retry_after_s != wanted.wait_s:
        wrong.append(f"a wait of {wanted.wait_s} was named, {got.retry_after_s} was read")
    advised = record.headers.get("x-should-retry")
    if advised is not None and (advised == "true") is not got.retryable:
        wrong.append(f"the provider says x-should-retry: {advised}, we advise {got.retryable}")
    if got.status != record.status or not got.detail:
        wrong.append(f"status {got.status}, detail {got.detail!r}")
    return wrong
