"""Embeddings: `batchEmbedContents`, one request in it for each text; also `embedContent` from clients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.encoding import post, put_extra, texts_of
from runtime.dialects.fields import Wrong, opt_int, opt_text
from runtime.dialects.google.decode import body_of
from runtime.dialects.google.encode import headers_of, model_path
from runtime.dialects.google.families import NO_PURPOSE
from runtime.dialects.google.parts import NAME, part_of
from runtime.dialects.google.usage import usage_of
from runtime.dialects.google.words import fields_of, leftover_fields, many
from runtime.dialects.reading import text
from runtime.dialects.status import malformed
from runtime.outcome import Embeddings, Failure, FailureKind
from runtime.request import EmbedRequest, Json, TextPart

Purpose = Literal["query", "document", "classification", "clustering", "similarity"]

TASKS: Mapping[Purpose, str] = {
    "query": "RETRIEVAL_QUERY",
    "document": "RETRIEVAL_DOCUMENT",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
    "similarity": "SEMANTIC_SIMILARITY",
}
"""What vectors are for, in Google's words; its others have none of ours and stay in `extra`."""

_KNOWN = frozenset(("model", "content", "outputDimensionality", "taskType"))


def encode_embed(request: EmbedRequest, target: Target) -> HttpCall | Failure:
    """The embeddings call. `extra` holds fields that every text shares."""
    dropped: list[str] = []
    texts = texts_of(request, target)
    if isinstance(texts, Failure):
        return texts
    model = model_path(target.model)
    common: dict[str, Json] = {"model": model}
    if request.dimensions is not None:
        common["outputDimensionality"] = request.dimensions
    if request.purpose is not None:
        if target.model.removeprefix("models/").startswith(NO_PURPOSE):
            dropped.append("purpose")
        else:
            common["taskType"] = TASKS[request.purpose]
    if request.user is not None:
        dropped.append("user")
    put_extra(common, request.extra, ours=request.dialect == NAME, dropped=dropped)
    requests = [{**common, "content": {"parts": [{"text": one}]}} for one in texts]
    return post(target, f"{model}:batchEmbedContents", {"requests": requests}, headers_of(target), dropped)


def decode_embed(reply: HttpReply, target: Target) -> Embeddings | Failure:
    """Vectors in the order of the inputs."""
    body = body_of(reply, target)
    if isinstance(body, Failure):
        return body
    fields = body if isinstance(body, dict) else {}
    said = fields.get("embeddings", fields.get("embedding"))
    vectors: list[tuple[float, ...]] = []
    for one in many(said):
        values = one.get("values") if isinstance(one, dict) else None
        if not isinstance(values, list) or not all(_is_number(value) for value in values):
            return malformed(target, "an embedding of the reply is no list of numbers", status=reply.status)
        vectors.append(tuple(float(value) for value in values))
    if not vectors:
        return malformed(target, "the reply has no embeddings; check base_url", status=reply.status)
    return Embeddings(
        model=text(fields.get("modelVersion")) or target.model,
        provider=target.provider,
        vectors=tuple(vectors),
        usage=usage_of(fields.get("usageMetadata")),
    )


def parse_embed(body: Json, *, model: str = "") -> EmbedRequest | Failure:
    """The request in the body of `batchEmbedContents` or `embedContent`. `model` is what the address says."""
    try:
        return _embed(fields_of(body, "body"), model)
    except Wrong as wrong:
        return wrong.failure()


def _embed(body: dict[str, Json], model: str) -> EmbedRequest:
    whole = "requests" not in body
    said = [body] if whole else many(body["requests"])
    if not said:
        raise Wrong("requests", "requests must hold at least one text.")
    inputs: list[str] = []
    common: dict[str, Json] | None = None
    for at, one in enumerate(said):
        where = "body" if whole else f"requests[{at}]"
        fields = fields_of(one, where)
        inputs.append(_text(fields.pop("content", None), f"{where}.content"))
        if common is not None and fields != common:
            raise Wrong(
                where,
                f"{where} differs from the first request in more than its content: send it in a call of its own.",
                FailureKind.UNSUPPORTED,
            )
        common = fields
    shared, where = common or {}, "body" if whole else "requests[0]"
    extra: dict[str, Json] = {}
    leftover_fields(shared, _KNOWN, "", extra)
    task = opt_text(shared, "taskType", f"{where}.taskType")
    purpose = next((ours for ours, theirs in TASKS.items() if theirs == task), None)
    if purpose is None and task not in (None, "TASK_TYPE_UNSPECIFIED"):
        extra["taskType"] = task
    return EmbedRequest(
        inputs=tuple(inputs),
        model=(model or opt_text(shared, "model", f"{where}.model") or "").removeprefix("models/"),
        dimensions=opt_int(shared, "outputDimensionality", f"{where}.outputDimensionality", least=1),
        purpose=purpose,
        extra=extra,
        dialect=NAME,
    )


def _text(content: Json, where: str) -> str:
    words: list[str] = []
    for at, one in enumerate(many(fields_of(content, where).get("parts"))):
        part = part_of(one, f"{where}.parts[{at}]", lambda _: "")
        if not isinstance(part, TextPart):
            raise Wrong(f"{where}.parts[{at}]", "only text can be embedded here.", FailureKind.UNSUPPORTED)
        words.append(part.text)
    return "".join(words)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
