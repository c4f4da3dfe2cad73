"""A `Request` as a query."""

from __future__ import annotations

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.encoding import beyond_text, post, put_extra, put_options
from runtime.dialects.ruvllm.transcript import fold_messages
from runtime.dialects.status import refused
from runtime.outcome import Failure, FailureKind
from runtime.request import Json, Request

NAME = "ruvllm"

DEFAULT_MODEL = "ruvector-auto"
"""The server chooses its model itself. This name says no more than that; any other is a wish that it cannot hear."""

OURS = frozenset({"query"})
"""The field that a provider's options may not overrule."""


def encode_query(request: Request, target: Target) -> HttpCall | Failure:
    """The query, or why this request cannot be put as one.

    `session_id` goes only where the caller (as a field of this dialect, or in `provider_options`) or the settings
    (`Target.options`) name a session. Requests have no session of their own: their id would tie strangers together.
    """
    failure = _refusal(request, target)
    if failure is not None:
        return failure
    folded = fold_messages(request.messages, target)
    if isinstance(folded, Failure):
        return folded
    body: dict[str, Json] = {"query": folded.query}
    session = target.options.get("session_id")
    if isinstance(session, str) and session:
        body["session_id"] = session
    dropped = [*_unsaid(request, target), *folded.dropped]
    ours = request.dialect == NAME
    if ours and "session_id" in request.extra:
        body.pop("session_id", None)
    put_extra(body, request.extra, ours=ours, dropped=dropped)
    put_options(body, request.provider_options.get(target.provider), protected=OURS, dropped=dropped)
    # An answer always comes whole, also where a stream was asked for.
    return post(target, "query", body, headers_of(target), dropped)


def headers_of(target: Target) -> dict[str, str]:
    """The server itself asks for no key; one before it may."""
    return {"authorization": f"Bearer {target.api_key}"} if target.api_key else {}


def _refusal(request: Request, target: Target) -> Failure | None:
    """Why this request means something else, or nothing, without what ruvLLM lacks."""
    if request.tools:
        detail = "ruvLLM calls no tools; leave them out, or ask another provider"
        return refused(target, FailureKind.UNSUPPORTED, detail, param="tools[0]")
    if request.response_format is not None and request.response_format.kind == "json_schema":
        detail = "ruvLLM keeps to no JSON schema; ask for text, or ask another provider"
        return refused(target, FailureKind.UNSUPPORTED, detail, param="response_format")
    return None


def _unsaid(request: Request, target: Target) -> list[str]:
    """The fields of this request for which the query has no place."""
    return [*(["model"] if target.model not in ("", DEFAULT_MODEL) else []), *beyond_text(request)]
