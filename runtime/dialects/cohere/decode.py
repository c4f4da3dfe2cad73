"""Whole replies of Cohere's chat, embeddings and model list."""

from __future__ import annotations

from runtime.dialects.base import HttpReply, Target
from runtime.dialects.cohere.messages import NAME
from runtime.dialects.cohere.reading import (
    MESSAGE,
    TOP,
    attach,
    body_of,
    failure_of_finish,
    finish_of,
    logprobs_of,
    usage_extra,
    usage_of,
)
from runtime.dialects.encoding import invented_id
from runtime.dialects.reading import extra_of, obj, objects, text
from runtime.dialects.status import malformed
from runtime.outcome import Choice, Completion, Embeddings, Failure, Outcome
from runtime.request import Json, NativePart, Part, ReasoningPart, TextPart, ToolCall


def decode_chat(reply: HttpReply, target: Target) -> Outcome:
    """The completion, or the failure: by status, by an answer that ended in an error, or because it is no chat."""
    body = body_of(reply, target)
    if isinstance(body, Failure):
        return body
    message = body.get("message")
    if not isinstance(message, dict):
        return malformed(target, "the reply has no message; check base_url", status=reply.status)
    failure = failure_of_finish(body.get("finish_reason"), body.get("error"), target)
    if failure is not None:
        return failure
    completion_id = text(body.get("id"))
    return Completion(
        id=completion_id,
        model=target.model,
        provider=target.provider,
        choices=(_choice(message, body, completion_id),),
        usage=usage_of(body.get("usage")),
        extra={**extra_of(body, TOP), **usage_extra(body.get("usage"))},
    )


def _choice(message: dict[str, Json], body: dict[str, Json], completion_id: str) -> Choice:
    extra = extra_of(message, MESSAGE)
    blocks = [part_of(block) for block in _blocks(message.get("content"))]
    citations = message.get("citations")
    if isinstance(citations, list) and citations:
        blocks, rest = attach(blocks, citations)
        if rest:
            extra["citations"] = rest
    parts = [part for part in blocks if not _silent(part)]
    plan = text(message.get("tool_plan"))
    if plan:
        parts.append(ReasoningPart(text=plan))
    for call in objects(message.get("tool_calls")):
        parts.append(_call(call, completion_id, sum(isinstance(part, ToolCall) for part in parts)))
    return Choice(
        parts=tuple(parts),
        finish_reason=finish_of(body.get("finish_reason"), extra),
        logprobs=logprobs_of(body.get("logprobs")),
        extra=extra,
    )


def _blocks(content: Json) -> list[dict[str, Json]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else objects(content)


def part_of(block: dict[str, Json]) -> Part:
    """One content block, also a silent one: citations count them."""
    kind = text(block.get("type"))
    if kind == "thinking" or isinstance(block.get("thinking"), str):
        return ReasoningPart(text=text(block.get("thinking")))
    if kind in ("", "text"):
        return TextPart(text(block.get("text")))
    return NativePart(dialect=NAME, kind=kind, value=block)


def _silent(part: Part) -> bool:
    match part:
        case TextPart():
            return not part.text and not part.citations
        case ReasoningPart():
            return not part.text
        case _:
            return False


def _call(said: dict[str, Json], completion_id: str, position: int) -> ToolCall:
    function = obj(said.get("function"))
    return ToolCall(
        id=text(said.get("id")) or invented_id(completion_id, position),
        name=text(function.get("name")),
        arguments=text(function.get("arguments")),
    )


def decode_embed(reply: HttpReply, target: Target) -> Embeddings | Failure:
    """Vectors in the order of the inputs. What Cohere processed it does not say, only what it charges."""
    body = body_of(reply, target)
    if isinstance(body, Failure):
        return body
    said = body.get("embeddings")
    rows = said.get("float") if isinstance(said, dict) else said
    if not isinstance(rows, list) or not rows:
        return malformed(target, "the reply has no embeddings of floats; check base_url", status=reply.status)
    vectors: list[tuple[float, ...]] = []
    for position, row in enumerate(rows):
        if not isinstance(row, list) or not all(_is_number(number) for number in row):
            detail = f"embeddings.float[{position}] of the reply is no vector"
            return malformed(target, detail, status=reply.status)
        vectors.append(tuple(map(float, row)))
    return Embeddings(
        model=target.model, provider=target.provider, vectors=tuple(vectors), usage=usage_of(body.get("meta"))
    )


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def decode_models(reply: HttpReply, target: Target) -> tuple[str, ...] | Failure:
    """The names of the models, of all endpoints, in the provider's order."""
    body = body_of(reply, target)
    if isinstance(body, Failure):
        return body
    rows = body.get("models")
    if not isinstance(rows, list):
        return malformed(target, "the reply has no list of models; check base_url", status=reply.status)
    return tuple(name for row in rows if (name := text(obj(row).get("name"))))
