"""What ruvLLM's server answers.

It says neither why an answer ended nor what it took. It answers only once the answer is done, and has no word for one
that was cut short: so the finish reason is STOP, and the usage is not reported.
"""

from __future__ import annotations

from dataclasses import replace

import orjson

from runtime.dialects.base import HttpReply, Target
from runtime.dialects.reading import NOT_REPORTED, extra_of, text
from runtime.dialects.status import envelope_of, failure_of_error, failure_of_reply, malformed, object_of, refused
from runtime.outcome import Choice, Completion, Failure, FailureKind, FinishReason, Outcome
from runtime.request import Json, TextPart

KNOWN = frozenset({"text", "model_used"})


def decode_query(reply: HttpReply, target: Target) -> Outcome:
    """The answer, or the failure: a status and, nearly always, plain text that says why."""
    if not 200 <= reply.status < 300:
        return _failure(reply, target)
    body = object_of(reply, target)
    return body if isinstance(body, Failure) else completion_of(body, target)


def completion_of(body: dict[str, Json], target: Target) -> Completion | Failure:
    """The answer in a JSON object; what the server says of it (confidence, latency, …) is kept beside it."""
    said = body.get("text")
    if not isinstance(said, str):
        return malformed(target, "the reply has no text; check base_url")
    choice = Choice(parts=(TextPart(said),) if said else (), finish_reason=FinishReason.STOP)
    return Completion(
        id="",
        model=text(body.get("model_used")) or target.model,
        provider=target.provider,
        choices=(choice,),
        usage=NOT_REPORTED,
        extra=extra_of(body, KNOWN),
    )


def decode_health(reply: HttpReply, target: Target) -> Failure | None:
    """None where the server calls itself healthy; anything else is a failure."""
    if not 200 <= reply.status < 300:
        return _failure(reply, target)
    body = object_of(reply, target)
    if isinstance(body, Failure):
        return body
    status = body.get("status")
    if status == "healthy":
        return None
    shown = f'"{status}"' if isinstance(status, str) else "nothing of its health"
    return refused(target, FailureKind.UNAVAILABLE, f"the server says {shown} where it should say healthy")


def _failure(reply: HttpReply, target: Target) -> Failure:
    failure = failure_of_reply(reply, target)
    if reply.status in (404, 405):
        # There is one path and no model to be found: whatever answers there is another server.
        return replace(failure, kind=FailureKind.MALFORMED)
    try:
        if envelope_of(orjson.loads(reply.body)) is not None:
            return failure
    except orjson.JSONDecodeError:
        pass
    said = reply.body.decode("utf-8", "replace").strip()
    if not said or said.startswith("<") or 300 <= reply.status < 400:
        return failure
    return failure_of_error(said, target, status=reply.status, headers=reply.headers)
