"""Outcomes as a client of this API reads them: a message, an error, a count of tokens, a list of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runtime.dialects.anthropic.answer import USAGE_BESIDE, Block, blocks_of, render_usage, stop_of
from runtime.dialects.surface import ErrorReply, retry_headers, sentence_of
from runtime.models import ModelInfo
from runtime.outcome import Choice, Completion, Failure, FailureKind
from runtime.request import Json, Request

_K = FailureKind

ERRORS: Mapping[FailureKind, tuple[int, str]] = {
    _K.BAD_REQUEST: (400, "invalid_request_error"),
    _K.UNSUPPORTED: (400, "invalid_request_error"),
    _K.CONTEXT_OVERFLOW: (400, "invalid_request_error"),
    _K.CONTENT_FILTERED: (400, "invalid_request_error"),
    _K.TOO_LARGE: (413, "request_too_large"),
    _K.BAD_KEY: (401, "authentication_error"),
    _K.NOT_ALLOWED: (403, "permission_error"),
    # The provider refused our key: the caller's own was right.
    _K.UNAUTHENTICATED: (502, "api_error"),
    _K.FORBIDDEN: (502, "api_error"),
    _K.MODEL_NOT_FOUND: (404, "not_found_error"),
    _K.RATE_LIMITED: (429, "rate_limit_error"),
    _K.THROTTLED: (429, "rate_limit_error"),
    _K.QUOTA_EXHAUSTED: (402, "billing_error"),
    # Anthropic, too, answers 429 where a limit of spending is reached.
    _K.BUDGET_EXCEEDED: (429, "rate_limit_error"),
    _K.OVERLOADED: (529, "overloaded_error"),
    _K.UNAVAILABLE: (503, "api_error"),
    _K.REFUSED: (503, "api_error"),
    _K.TIMED_OUT: (504, "timeout_error"),
    _K.DEADLINE_EXCEEDED: (504, "timeout_error"),
    _K.NOT_CACHED: (504, "api_error"),
    _K.INTERRUPTED: (502, "api_error"),
    _K.MALFORMED: (502, "api_error"),
    _K.CANCELLED: (499, "api_error"),
    _K.INTERNAL: (500, "api_error"),
}
"""Status and type of each kind of failure, in this API's words."""

OUR_OWN: Mapping[str, tuple[int, str]] = {
    "unknown_url": (404, "not_found_error"),
    "method_not_allowed": (405, "invalid_request_error"),
}
"""The same for what Raygate itself refuses, by the code of a `BAD_REQUEST`."""

UNKNOWN_DATE = "1970-01-01T00:00:00Z"
"""When a model appeared, where nobody knows: the API's own word for that."""


def render_message(completion: Completion, request: Request) -> dict[str, Json]:
    """The body of a whole reply. This API knows one answer, so it is the first choice."""
    choice = completion.choices[0] if completion.choices else None
    body: dict[str, Json] = {
        "id": message_id(completion.id, completion.request_id or request.request_id),
        "type": "message",
        "role": "assistant",
        "model": completion.model,
        "content": _content(choice) if choice is not None else [],
        **stop_of(choice, request),
        "usage": render_usage(completion.usage, completion.cost, completion.extra),
    }
    for name, value in completion.extra.items():
        if name not in USAGE_BESIDE:
            body.setdefault(name, value)
    return body


def _content(choice: Choice) -> list[Block]:
    blocks = [block for part in choice.parts for block in blocks_of(part)]
    if choice.refusal:
        # A refusal is what the model said; this API has no other place for it.
        blocks.append({"type": "text", "text": choice.refusal})
    return blocks


def message_id(completion_id: str, request_id: str) -> str:
    """The provider's own id of the answer, else one made of the request's."""
    return completion_id or f"msg_{request_id or 'raygate'}"


def render_error(failure: Failure) -> ErrorReply:
    """Status, headers and body. The headers tell the SDK whether to repeat what we may have repeated already."""
    return ErrorReply(_status_and_type(failure)[0], retry_headers(failure), error_body(failure))


def error_body(failure: Failure, request_id: str = "") -> dict[str, Json]:
    """The envelope, in a reply as in a stream. `details.error_code` is where newer SDKs look for a cause."""
    code = failure.code if failure.kind not in (_K.UNAUTHENTICATED, _K.FORBIDDEN) else None
    details: dict[str, Json] = {"error_code": code or failure.kind.value}
    if failure.param is not None:
        details["param"] = failure.param
    return {
        "type": "error",
        "error": {
            "type": _status_and_type(failure)[1],
            "message": sentence_of(failure),
            "details": details,
        },
        "request_id": failure.request_id or request_id or None,
    }


def _status_and_type(failure: Failure) -> tuple[int, str]:
    ours = OUR_OWN.get(failure.code or "") if failure.kind is _K.BAD_REQUEST else None
    return ours or ERRORS[failure.kind]


def render_count(tokens: int, *, estimated: bool = False) -> dict[str, Json]:
    """The body of POST /v1/messages/count_tokens. `estimated` where no provider counted them."""
    return {"input_tokens": tokens, "estimated": True} if estimated else {"input_tokens": tokens}


def render_model(info: ModelInfo) -> dict[str, Json]:
    """The body of GET /v1/models/{id}."""
    return {
        "type": "model",
        "id": f"{info.provider}/{info.model}" if info.provider else info.model,
        "display_name": info.name or info.model,
        "created_at": UNKNOWN_DATE,
        "lifecycle": "deprecated" if info.deprecated else "active",
        "max_input_tokens": info.context_length,
        "max_tokens": info.max_output_tokens,
    }


def render_models(
    infos: Sequence[ModelInfo], *, limit: int | None = None, after_id: str = "", before_id: str = ""
) -> dict[str, Json]:
    """The body of GET /v1/models: those after one id, or the last ones before one, at most `limit`.

    An id that is not in the list says nothing.
    """
    rows = [render_model(info) for info in infos]
    ids = [row["id"] for row in rows]
    if after_id in ids:
        rows = rows[ids.index(after_id) + 1 :]
    elif before_id in ids:
        rows = rows[: ids.index(before_id)]
    backwards = bool(before_id) and not after_id
    most = len(rows) if limit is None else max(1, limit)
    page = rows[-most:] if backwards else rows[:most]
    return {
        "data": page,
        "has_more": len(page) < len(rows),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }
