"""A query as a `Request`: one message of a user. A session stays in `extra`, as does what we do not know."""

from __future__ import annotations

from runtime.dialects.fields import Wrong, obj, opt_text, text
from runtime.dialects.paths import leftovers
from runtime.dialects.ruvllm.encode import NAME
from runtime.outcome import Failure
from runtime.request import Json, Message, Request, Role, TextPart


def parse_request(body: Json, *, model: str = "", stream: bool = False) -> Request | Failure:
    """The request in a parsed JSON body, or a `BAD_REQUEST` whose `param` names the field at fault."""
    try:
        return _request(obj(body, "body"), model, stream=stream)
    except Wrong as wrong:
        return wrong.failure()


def _request(body: dict[str, Json], model: str, *, stream: bool) -> Request:
    if "query" not in body:
        raise Wrong("query", "query is missing: send the question as text.")
    message = Message(role=Role.USER, parts=(TextPart(text(body["query"], "query")),))
    opt_text(body, "session_id", "session_id")
    extra: dict[str, Json] = {}
    leftovers(body, ("query",), "", extra)
    return Request(messages=(message,), model=model, stream=stream, extra=extra, dialect=NAME)
