"""Whole replies: answers, the list of models, health."""

from __future__ import annotations

import orjson

from runtime.dialects.base import HttpReply, Target
from runtime.dialects.google.answer import Answer, chunks_of
from runtime.dialects.google.errors import failure_of_error, failure_of_reply
from runtime.dialects.reading import objects, text
from runtime.dialects.status import malformed
from runtime.outcome import Delta, Failure, Outcome
from runtime.request import Json

_USABLE = frozenset(
    ("generateContent", "streamGenerateContent", "embedContent", "batchEmbedContents", "asyncBatchEmbedContent")
)
"""Methods by which this dialect can use a model."""


def decode_chat(reply: HttpReply, target: Target) -> Outcome:
    """The completion; also from the array that a stream without `alt=sse` is, come whole."""
    body = body_of(reply, target)
    if isinstance(body, Failure):
        return body
    answer = Answer(target, stream=isinstance(body, list))
    deltas: list[Delta] = []
    for chunk in chunks_of(body):
        answer.chunk(chunk, deltas)
    return answer.outcome()


def decode_models(reply: HttpReply, target: Target) -> tuple[str, ...] | Failure:
    """The names of those models that answer or embed; what else Google lists (images, videos) this API cannot ask."""
    body = body_of(reply, target)
    if isinstance(body, Failure):
        return body
    listed = body.get("models") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        return malformed(target, "the reply lists no models; check base_url", status=reply.status)
    names: list[str] = []
    for one in objects(listed):
        methods = one.get("supportedGenerationMethods")
        name = text(one.get("name")).removeprefix("models/")
        if name and (not isinstance(methods, list) or any(method in _USABLE for method in methods)):
            names.append(name)
    return tuple(names)


def decode_health(reply: HttpReply, target: Target) -> Failure | None:
    """What is wrong, if anything: any list of models will do."""
    listed = decode_models(reply, target)
    return listed if isinstance(listed, Failure) else None


def body_of(reply: HttpReply, target: Target) -> Json | Failure:
    """The object or array of a successful reply, unless it is an error in disguise."""
    if not 200 <= reply.status < 300:
        return failure_of_reply(reply, target)
    try:
        body = orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        return malformed(target, f"the reply is not JSON: {error}", status=reply.status)
    if isinstance(body, list):
        return body
    if not isinstance(body, dict):
        return malformed(target, "the reply is not a JSON object", status=reply.status)
    if body.get("error"):
        return failure_of_error(body["error"], target, status=reply.status, headers=reply.headers)
    return body
