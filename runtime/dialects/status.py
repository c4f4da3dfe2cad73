"""From an HTTP status and an error envelope to a `Failure`, by typed fields alone.

    1. a code or type that says exactly what is wrong     insufficient_quota, context_length_exceeded, …
    2. the HTTP status                                    429, 503, …
    3. a code or type that says it broadly                only where no status does (an error inside a 200 or a stream)

A message is shown to people and never searched for a meaning. What it may hold of keys is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from runtime.dialects.base import HttpReply, Target
from runtime.dialects.waits import reset_after_s, retry_after_s
from runtime.outcome import Failure, FailureKind
from runtime.request import Json

MAX_DETAIL = 500
"""Characters of a provider's message that are kept."""

_K = FailureKind

PRECISE: Mapping[str, FailureKind] = {
    "insufficient_quota": _K.QUOTA_EXHAUSTED,
    "billing_hard_limit_reached": _K.QUOTA_EXHAUSTED,
    "billing_not_active": _K.QUOTA_EXHAUSTED,
    "billing_error": _K.QUOTA_EXHAUSTED,
    "quota_exceeded": _K.QUOTA_EXHAUSTED,
    "context_length_exceeded": _K.CONTEXT_OVERFLOW,
    "string_above_max_length": _K.CONTEXT_OVERFLOW,
    "exceed_context_size_error": _K.CONTEXT_OVERFLOW,
    "too_many_tokens": _K.CONTEXT_OVERFLOW,
    "content_filter": _K.CONTENT_FILTERED,
    "content_policy_violation": _K.CONTENT_FILTERED,
    "moderation_blocked": _K.CONTENT_FILTERED,
    "responsibleaipolicyviolation": _K.CONTENT_FILTERED,
    "invalid_api_key": _K.UNAUTHENTICATED,
    "authentication_error": _K.UNAUTHENTICATED,
    "model_not_found": _K.MODEL_NOT_FOUND,
    "deploymentnotfound": _K.MODEL_NOT_FOUND,
    "invalid_model": _K.MODEL_NOT_FOUND,
    "rate_limit_exceeded": _K.RATE_LIMITED,
    "ratelimitreached": _K.RATE_LIMITED,
    "rate_limit_error": _K.RATE_LIMITED,
    "overloaded_error": _K.OVERLOADED,
    "unsupported_parameter": _K.UNSUPPORTED,
    "unsupported_value": _K.UNSUPPORTED,
    "request_too_large": _K.TOO_LARGE,
}
"""Codes and types, in lower case, that say more than the status under which they come."""

BROAD: Mapping[str, FailureKind] = {
    "invalid_request_error": _K.BAD_REQUEST,
    "bad_request": _K.BAD_REQUEST,
    "permission_error": _K.FORBIDDEN,
    "forbidden": _K.FORBIDDEN,
    "not_found_error": _K.MODEL_NOT_FOUND,
    "timeout": _K.TIMED_OUT,
    "timeout_error": _K.TIMED_OUT,
    "requests": _K.RATE_LIMITED,
    "tokens": _K.RATE_LIMITED,
    "server_error": _K.UNAVAILABLE,
    "api_error": _K.UNAVAILABLE,
}
"""Codes and types that are believed only where no HTTP status speaks."""

STATUSES: Mapping[int, FailureKind] = {
    401: _K.UNAUTHENTICATED,
    402: _K.QUOTA_EXHAUSTED,
    403: _K.FORBIDDEN,
    404: _K.MODEL_NOT_FOUND,
    408: _K.TIMED_OUT,
    413: _K.TOO_LARGE,
    429: _K.RATE_LIMITED,
    503: _K.OVERLOADED,
    529: _K.OVERLOADED,
}

_KEY_LIKE = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|org)[-_][\w*.-]{4,}"  # sk-…, sk_…, org-…
    r"|\bAIza[\w-]{8,}|\bhf_\w{6,}"
    r"|\bBearer\s+\S+"
    r"|[\w.-]*\*{3,}[\w*.-]*",  # a key that the provider has masked itself still shows its ends
    re.IGNORECASE,
)


def kind_of(status: int | None, *, code: object = None, type_: object = None) -> FailureKind:
    """The kind of failure that a status, an error code and an error type stand for.

    `status` is None, or not an error, for errors inside a 200 and inside streams; a numeric code (OpenRouter,
    llama.cpp, Gemini) then takes its place.

    >>> kind_of(429, code="insufficient_quota").value
    'quota_exhausted'
    >>> kind_of(200, code=529).value
    'overloaded'
    """
    words = [word.lower() for word in (code, type_) if isinstance(word, str)]
    for word in words:
        if word in PRECISE:
            return PRECISE[word]
    if status is None or status < 400:
        status = _as_status(code)
    if status is not None:
        if status in STATUSES:
            return STATUSES[status]
        return _K.BAD_REQUEST if status < 500 else _K.UNAVAILABLE
    for word in words:
        if word in BROAD:
            return BROAD[word]
    return _K.UNAVAILABLE


def failure_of_reply(reply: HttpReply, target: Target) -> Failure:
    """The failure in a reply that is none of success: any status, any body."""
    if 300 <= reply.status < 400:
        return Failure(
            kind=_K.MALFORMED,
            provider=target.provider,
            model=target.model,
            status=reply.status,
            detail=f"answered {reply.status}, a redirect, and redirects are not followed: correct base_url",
        )
    try:
        error = envelope_of(orjson.loads(reply.body))
    except orjson.JSONDecodeError:
        error = None
    if error is None:
        what = "an empty body" if not reply.body.strip() else "a body that is no JSON error of this dialect"
        error = {"message": f"answered {reply.status} with {what}; check base_url if this does not pass"}
    return failure_of_error(error, target, status=reply.status, headers=reply.headers)


def envelope_of(body: Json) -> Json | None:
    """The error in a body, in any of the shapes seen in the wild; None where there is none.

    `{"error": {…}}`, `{"error": "…"}`, `{"message": …}` at the top, and any of them wrapped in a list.
    """
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    if isinstance(error, dict | str) and error:
        return error
    return body if isinstance(body.get("message"), str) else None


def failure_of_error(
    error: Json, target: Target, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Failure:
    """The failure that an error envelope's inner object (or bare text) describes."""
    fields = error if isinstance(error, dict) else {"message": error}
    code, type_, param = fields.get("code"), fields.get("type"), fields.get("param")
    metadata = fields.get("metadata")
    kind = kind_of(status, code=code, type_=type_)
    # OpenRouter answers 403 both for a key without rights and for flagged input; only the latter names the input.
    if kind is _K.FORBIDDEN and isinstance(metadata, dict) and "flagged_input" in metadata:
        kind = _K.CONTENT_FILTERED
    said = fields.get("message")
    # "Provider returned error" helps nobody: OpenRouter keeps what the provider said beside it.
    if isinstance(metadata, dict) and isinstance(metadata.get("raw"), str):
        said = f"{said}: {metadata['raw']}"
    shown = status if status is not None and status >= 400 else _as_status(code)
    return Failure(
        kind=kind,
        provider=target.provider,
        model=target.model,
        detail=clean(said if isinstance(said, str) else "the provider gave no reason", target),
        retry_after_s=_wait_s(kind, headers or {}, metadata),
        status=shown if shown is not None else status,
        param=param if isinstance(param, str) else None,
        code=code if isinstance(code, str) and not code.isdigit() else type_ if isinstance(type_, str) else None,
        # OpenRouter names the host that turned it down: that is a limit of this model there, not of our account.
        scope="model" if _names_a_host(metadata) and kind is _K.RATE_LIMITED else "",
    )


def _wait_s(kind: FailureKind, headers: Mapping[str, str], metadata: Json) -> float | None:
    wait_s = retry_after_s(headers)
    if wait_s is not None or kind is not _K.RATE_LIMITED:
        return wait_s
    if isinstance(metadata, dict) and isinstance(metadata.get("headers"), dict):
        # OpenRouter repeats them in the body, where the limit is its own.
        said = {name.lower(): value for name, value in metadata["headers"].items() if isinstance(value, str)}
        headers = {**said, **headers}
        wait_s = retry_after_s(headers)
    return reset_after_s(headers) if wait_s is None else wait_s


def _names_a_host(metadata: Json) -> bool:
    return isinstance(metadata, dict) and isinstance(metadata.get("provider_name"), str)


def malformed(target: Target, detail: str, *, status: int | None = None) -> Failure:
    """What came back is not the dialect."""
    return Failure(
        kind=_K.MALFORMED, provider=target.provider, model=target.model, detail=clean(detail, target), status=status
    )


def interrupted(target: Target, detail: str) -> Failure:
    """The stream ended before its end marker."""
    return Failure(kind=_K.INTERRUPTED, provider=target.provider, model=target.model, detail=detail)


def refused(target: Target, kind: FailureKind, detail: str, *, param: str | None = None) -> Failure:
    """The dialect will not send this request."""
    return Failure(kind=kind, provider=target.provider, model=target.model, detail=detail, param=param)


def clean(message: str, target: Target) -> str:
    """The message without anything that looks like a key, on one line, at most `MAX_DETAIL` characters.

    >>> clean("Incorrect API key provided: sk-abc***xyz.", Target(provider="p", base_url=""))
    'Incorrect API key provided: [key].'
    """
    # Twice the cap: enough that a key cut off by it is still whole when it is looked for.
    message = " ".join(message[: 2 * MAX_DETAIL].split())
    if target.api_key is not None and len(target.api_key) >= 4:
        message = message.replace(target.api_key, "[key]")
    message = _KEY_LIKE.sub(lambda found: "[key]" + ("." if found.group().endswith(".") else ""), message)
    return message if len(message) <= MAX_DETAIL else message[: MAX_DETAIL - 1] + "…"


def _as_status(code: object) -> int | None:
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3:
        code = int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600 else None


def object_of(reply: HttpReply, target: Target) -> dict[str, Json] | Failure:
    """The JSON object of a successful reply, unless it is an error in disguise."""
    if not 200 <= reply.status < 300:
        return failure_of_reply(reply, target)
    try:
        body = orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        return malformed(target, f"the reply is not JSON: {error}", status=reply.status)
    if not isinstance(body, dict):
        return malformed(target, "the reply is not a JSON object", status=reply.status)
    if body.get("error"):
        return failure_of_error(body["error"], target, status=reply.status, headers=reply.headers)
    return body
