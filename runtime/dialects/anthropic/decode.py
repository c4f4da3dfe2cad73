"""Whole replies of the Messages API, and its list of models."""

from __future__ import annotations

from runtime.dialects.anthropic.reading import MESSAGE, USAGE, finish_of, part_of_block, usage_of
from runtime.dialects.base import HttpReply, Target
from runtime.dialects.openai.reading import cost_of
from runtime.dialects.reading import extra_of, obj, text
from runtime.dialects.status import malformed, object_of
from runtime.outcome import Choice, Completion, Failure, Outcome
from runtime.request import Json, Part, ToolCall


def decode_chat(reply: HttpReply, target: Target) -> Outcome:
    """The completion, or the failure: by status, by an error inside a 200, or because it is no message."""
    body = object_of(reply, target)
    if isinstance(body, Failure):
        return body
    content = body.get("content")
    if not isinstance(content, list):
        return malformed(target, "the reply has no content; check base_url", status=reply.status)
    completion_id = text(body.get("id"))
    parts: list[Part] = []
    for position, block in enumerate(content):
        if not isinstance(block, dict):
            return malformed(target, f"content[{position}] of the reply is no object", status=reply.status)
        part = part_of_block(block, completion_id, sum(isinstance(one, ToolCall) for one in parts))
        if part is not None:
            parts.append(part)
    extra: dict[str, Json] = {}
    finish = finish_of(body, extra)
    return completion(
        body, target, choices=(Choice(parts=tuple(parts), finish_reason=finish, extra=extra),), usage=body.get("usage")
    )


def completion(message: dict[str, Json], target: Target, *, choices: tuple[Choice, ...], usage: Json) -> Completion:
    """What a message says beside its content, and the choices made of that."""
    return Completion(
        id=text(message.get("id")),
        model=text(message.get("model")) or target.model,
        provider=target.provider,
        choices=choices,
        usage=usage_of(usage),
        # OpenRouter serves this API, too, and says there what it charged.
        cost=cost_of(usage),
        extra={**extra_of(obj(usage), USAGE), **extra_of(message, MESSAGE)},
    )


def decode_models(reply: HttpReply, target: Target) -> tuple[str, ...] | Failure:
    """The ids of the models, in the provider's order."""
    body = object_of(reply, target)
    if isinstance(body, Failure):
        return body
    rows = body.get("data")
    if not isinstance(rows, list):
        return malformed(target, "the reply has no list of models; check base_url", status=reply.status)
    return tuple(row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str))
