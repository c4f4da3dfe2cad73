"""Whole replies of OpenAI's chat completions, embeddings and model list."""

from __future__ import annotations

import base64
import struct

from runtime.dialects.base import HttpReply, Target
from runtime.dialects.encoding import invented_id
from runtime.dialects.openai.reading import (
    CHOICE,
    MESSAGE,
    TOP,
    arguments_of,
    audio_of,
    cost_of,
    finish_of,
    images_of,
    reasoning_of,
    signature_of,
    text_of,
    thought_of,
    usage_of,
)
from runtime.dialects.reading import extra_of, moment, obj, objects, text
from runtime.dialects.status import failure_of_error, malformed, object_of
from runtime.outcome import Choice, Completion, Embeddings, Failure, FinishReason, Outcome
from runtime.request import Json, Part, ReasoningPart, TextPart, ToolCall
from runtime.values import maker

new_choice = maker(Choice)

new_text_part = maker(TextPart)

new_completion = maker(Completion)


def decode_chat(reply: HttpReply, target: Target) -> Outcome:
    """The completion, or the failure: by status, by an error inside a 200, or because it is no chat completion."""
    body = object_of(reply, target)
    if isinstance(body, Failure):
        return body
    said = body.get("choices")
    if not isinstance(said, list) or not said:
        return malformed(target, "the reply has no choices; check base_url", status=reply.status)
    completion_id = body.get("id") if isinstance(body.get("id"), str) else ""
    choices: list[tuple[int, Choice]] = []
    for position, one in enumerate(said):
        if not isinstance(one, dict):
            return malformed(target, f"choices[{position}] of the reply is no object", status=reply.status)
        choice = _choice(one, f"{completion_id}_{position}" if position else str(completion_id))
        error = one.get("error")
        if choice.finish_reason is FinishReason.ERROR or isinstance(error, dict):
            return failure_of_error(error or "the answer ended in an error", target, headers=reply.headers)
        index = one.get("index")
        choices.append((index if isinstance(index, int) else position, choice))
    choices.sort(key=lambda pair: pair[0])
    usage = body.get("usage")
    model = body.get("model")
    return new_completion(
        id=str(completion_id),
        model=model if isinstance(model, str) and model else target.model,
        provider=target.provider,
        choices=tuple(choice for _, choice in choices),
        usage=usage_of(usage),
        cost=cost_of(usage),
        created_s=moment(body.get("created")),
        extra=extra_of(body, TOP),
    )


def _choice(one: dict[str, Json], completion_id: str) -> Choice:
    message = obj(one.get("message"))
    extra = {**extra_of(message, MESSAGE), **extra_of(one, CHOICE)}
    said, thinking = text_of(message.get("content"))
    parts: list[Part] = [thought_of(detail) for detail in objects(message.get("reasoning_details"))]
    thoughts = reasoning_of(message) or thinking
    if thoughts and not any(isinstance(part, ReasoningPart) and part.text for part in parts):
        parts.insert(0, ReasoningPart(text=thoughts))
    if said:
        parts.append(new_text_part(said))
    parts.extend(images_of(message.get("images")))
    sound = audio_of(message.get("audio"))
    if sound is not None:
        parts.append(sound)
    parts.extend(_tool_calls(message, completion_id, extra))
    refusal = message.get("refusal")
    return new_choice(
        parts=tuple(parts),
        finish_reason=finish_of(one.get("finish_reason"), extra),
        refusal=refusal if isinstance(refusal, str) else None,
        logprobs=one.get("logprobs"),
        extra=extra,
    )


def _tool_calls(message: dict[str, Json], completion_id: str, extra: dict[str, Json]) -> list[ToolCall]:
    said = message.get("tool_calls")
    said = list(said) if isinstance(said, list) else []
    if isinstance(message.get("function_call"), dict):
        said.append({"function": message["function_call"]})
    calls: list[ToolCall] = []
    foreign: list[Json] = []
    for call in said:
        fields = obj(call)
        custom = obj(fields.get("custom"))
        function = custom or obj(fields.get("function"))
        if not isinstance(function.get("name"), str):
            foreign.append(call)
            continue
        calls.append(
            ToolCall(
                id=text(fields.get("id")) or invented_id(completion_id, len(calls)),
                name=function["name"],
                arguments=text(custom.get("input")) if custom else arguments_of(function.get("arguments")),
                signature=signature_of(fields),
                extra={"type": "custom"} if custom else {},
            )
        )
    if foreign:
        extra["foreign_tool_calls"] = foreign
    return calls


def decode_embed(reply: HttpReply, target: Target) -> Embeddings | Failure:
    """Vectors in the order of the inputs, from numbers or from base64 of little-endian floats."""
    body = object_of(reply, target)
    if isinstance(body, Failure):
        return body
    rows = body.get("data")
    if not isinstance(rows, list) or not rows:
        return malformed(target, "the reply has no embeddings; check base_url", status=reply.status)
    vectors: dict[int, tuple[float, ...]] = {}
    for position, row in enumerate(rows):
        fields = row if isinstance(row, dict) else {}
        index = fields.get("index")
        vector = _vector(fields.get("embedding"))
        if vector is None:
            return malformed(target, f"data[{position}].embedding of the reply is no vector", status=reply.status)
        vectors[index if isinstance(index, int) else position] = vector
    if sorted(vectors) != list(range(len(rows))):
        return malformed(
            target, "the embeddings in the reply are not numbered from 0 without gaps", status=reply.status
        )
    model = body.get("model")
    return Embeddings(
        model=model if isinstance(model, str) and model else target.model,
        provider=target.provider,
        vectors=tuple(vectors[index] for index in range(len(rows))),
        usage=usage_of(_embed_usage(body.get("usage"))),
        cost=cost_of(body.get("usage")),
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


def _embed_usage(usage: Json) -> Json:
    return {"completion_tokens": 0, **usage} if isinstance(usage, dict) else usage


def _vector(said: Json) -> tuple[float, ...] | None:
    if isinstance(said, str):
        try:
            raw = base64.b64decode(said, validate=True)
            return struct.unpack(f"<{len(raw) // 4}f", raw)
        except (ValueError, struct.error):
            return None
    if not isinstance(said, list) or not all(isinstance(number, int | float) for number in said):
        return None
    return tuple(map(float, said))
