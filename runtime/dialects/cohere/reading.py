"""Reading what Cohere answers, alike in whole replies and in streams."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import orjson

from runtime.dialects.base import HttpReply, Target
from runtime.dialects.reading import NOT_REPORTED, count, extra_of, obj, objects, opt_count, text
from runtime.dialects.status import envelope_of, failure_of_error, failure_of_reply, object_of
from runtime.outcome import Failure, FailureKind, FinishReason, Usage
from runtime.request import Json, Part, TextPart

MESSAGE = frozenset({"role", "content", "tool_plan", "tool_calls", "citations"})
TOP = frozenset({"id", "message", "finish_reason", "usage", "logprobs"})
USAGE = frozenset({"tokens", "billed_units", "cached_tokens"})
TOKENS = frozenset({"input_tokens", "output_tokens", "reasoning_tokens"})
BY_THE_CALL = ("search_units", "classifications")

FINISH: Mapping[str, FinishReason] = {
    "COMPLETE": FinishReason.STOP,
    "STOP_SEQUENCE": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "TOOL_CALL": FinishReason.TOOL_CALLS,
}
"""Why an answer ended; ERROR and TIMEOUT are no answers, but failures."""

FAILED: Mapping[str, FailureKind] = {"ERROR": FailureKind.UNAVAILABLE, "TIMEOUT": FailureKind.TIMED_OUT}

STATUSES: Mapping[int, FailureKind] = {
    # "A request or response contains a deny-listed token."
    498: FailureKind.CONTENT_FILTERED,
    # "Request cancelled", by them: we are still there to read it.
    499: FailureKind.UNAVAILABLE,
    501: FailureKind.UNSUPPORTED,
    504: FailureKind.TIMED_OUT,
}
"""Where Cohere's documentation says more of a status than HTTP does."""


def body_of(reply: HttpReply, target: Target) -> dict[str, Json] | Failure:
    """The JSON object of a successful reply, or the failure: `{id, message}` with any status."""
    if 200 <= reply.status < 300:
        body = object_of(reply, target)
        if isinstance(body, dict) and isinstance(body.get("message"), str):
            return failure_of(body, target, status=reply.status, headers=reply.headers)
        return body
    try:
        error = envelope_of(orjson.loads(reply.body))
    except orjson.JSONDecodeError:
        error = None
    if isinstance(error, dict):
        return failure_of(error, target, status=reply.status, headers=reply.headers)
    failure = failure_of_reply(reply, target)
    return replace(failure, kind=STATUSES.get(reply.status, failure.kind))


def failure_of(
    error: Mapping[str, Json], target: Target, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Failure:
    """The failure that an error object describes. Newer ones say in `error_type` what it is."""
    fields = {**error, "code": error["error_type"]} if isinstance(error.get("error_type"), str) else dict(error)
    failure = failure_of_error(fields, target, status=status, headers=headers)
    kind = STATUSES.get(status) if status is not None else None
    return failure if kind is None else replace(failure, kind=kind)


def failure_of_finish(word: Json, said: Json, target: Target) -> Failure | None:
    """The failure where an answer ended in one; `said` is what the provider says of it."""
    kind = FAILED.get(text(word))
    if kind is None and not (isinstance(said, str) and said):
        return None
    error = {"message": said if isinstance(said, str) and said else f"the answer ended with {text(word)}"}
    return replace(failure_of_error(error, target), kind=kind or FailureKind.UNAVAILABLE)


def finish_of(word: Json, extra: dict[str, Json]) -> FinishReason:
    """Why the answer ended; a word that says more than ours, or that we do not know, is kept in `extra`."""
    said = text(word)
    found = FINISH.get(said)
    if said and (found is None or said == "STOP_SEQUENCE"):
        extra["finish_reason"] = said
    return found or FinishReason.OTHER


def usage_of(said: Json) -> Usage:
    """What was processed, and what is charged. Cohere counts images beside the input, not in it."""
    usage = obj(said)
    tokens, billed = obj(usage.get("tokens")), obj(usage.get("billed_units"))
    billed_input, billed_output = opt_count(billed.get("input_tokens")), opt_count(billed.get("output_tokens"))
    read, written = opt_count(tokens.get("input_tokens")), opt_count(tokens.get("output_tokens"))
    if read is None and written is None and billed_input is None and billed_output is None:
        return NOT_REPORTED
    return Usage(
        input_tokens=count(billed_input if read is None else read) + count(tokens.get("image_tokens")),
        output_tokens=count(billed_output if written is None else written),
        cached_input_tokens=count(usage.get("cached_tokens")),
        reasoning_tokens=count(tokens.get("reasoning_tokens")),
        billed_input_tokens=billed_input,
        billed_output_tokens=billed_output,
        server_tool_calls={name: count(billed[name]) for name in BY_THE_CALL if count(billed.get(name))},
    )


def usage_extra(said: Json) -> dict[str, Json]:
    """What the usage says beyond counts that we have a field for: the share of images, and what is new."""
    usage = obj(said)
    return {**extra_of(obj(usage.get("tokens")), TOKENS), **extra_of(usage, USAGE)}


def attach(parts: Sequence[Part], citations: Sequence[Json]) -> tuple[list[Part], list[Json]]:
    """The parts with the citations of their text, and those that are not of a text: of a thought or a plan.

    `content_index` says which part it is; older answers have but one. The order of all is kept, or none is attached.
    """
    first = next((at for at, part in enumerate(parts) if isinstance(part, TextPart)), -1)
    of: dict[int, list[Json]] = {}
    rest: list[Json] = []
    for citation in citations:
        fields = obj(citation)
        at = fields.get("content_index", first)
        is_text = fields.get("type") in (None, "TEXT_CONTENT") and isinstance(at, int) and 0 <= at < len(parts)
        if is_text and isinstance(parts[at], TextPart):
            of.setdefault(at, []).append(citation)
        else:
            rest.append(citation)
    if [citation for at in sorted(of) for citation in of[at]] + rest != list(citations):
        return list(parts), list(citations)
    cited = [
        replace(part, citations=tuple(of[at])) if at in of and isinstance(part, TextPart) else part
        for at, part in enumerate(parts)
    ]
    return cited, rest


def logprobs_of(said: Json) -> Json:
    """One entry for each piece of text, as OpenAI has them; a piece may be several tokens, whose logs add up."""
    items = [said] if isinstance(said, dict) else objects(said)
    return {"content": [_logprob(item) for item in items]} if items else None


def _logprob(item: dict[str, Json]) -> dict[str, Json]:
    piece = text(item.get("text"))
    logs = item.get("logprobs")
    numbers = [log for log in logs if isinstance(log, int | float)] if isinstance(logs, list) else []
    return {
        "token": piece,
        "logprob": math.fsum(numbers),
        "bytes": list(piece.encode("utf-8", "surrogatepass")),
        "top_logprobs": [],
        **{name: value for name, value in item.items() if name != "text"},
    }
