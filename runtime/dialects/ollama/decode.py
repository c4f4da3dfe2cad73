"""Whole replies of Ollama: chat, embeddings, what is installed."""

from __future__ import annotations

from runtime.dialects.base import HttpReply, Target
from runtime.dialects.ollama.stream import OllamaStream
from runtime.dialects.reading import NOT_REPORTED, count, objects, text
from runtime.dialects.status import interrupted, malformed, object_of
from runtime.outcome import Embeddings, Failure, FailureKind, Outcome, Usage


def decode_chat(reply: HttpReply, target: Target) -> Outcome:
    """The completion, or the failure: by status, by an error inside a 200, or because it is no chat answer."""
    body = object_of(reply, target)
    if isinstance(body, Failure):
        # Ollama's cloud calls its streams application/json: whoever goes by that reads them whole, and comes here.
        return _lines(reply, target) or body if body.kind is FailureKind.MALFORMED else body
    if body.get("done") is not True:
        if isinstance(body.get("message"), dict) and body.get("done") is False:
            return interrupted(target, "the reply ended before the answer was finished")
        return malformed(target, "the reply is no finished chat answer; check base_url", status=reply.status)
    return OllamaStream(target).read(body)


def decode_embed(reply: HttpReply, target: Target) -> Embeddings | Failure:
    """Vectors in the order of the inputs."""
    body = object_of(reply, target)
    if isinstance(body, Failure):
        return body
    rows = body.get("embeddings")
    if not isinstance(rows, list) or not rows:
        return malformed(target, "the reply has no embeddings; check base_url", status=reply.status)
    vectors: list[tuple[float, ...]] = []
    for position, row in enumerate(rows):
        if not isinstance(row, list) or not row or not all(isinstance(number, int | float) for number in row):
            return malformed(target, f"embeddings[{position}] of the reply is no vector", status=reply.status)
        vectors.append(tuple(map(float, row)))
    counted = body.get("prompt_eval_count")
    return Embeddings(
        model=text(body.get("model")) or target.model,
        provider=target.provider,
        vectors=tuple(vectors),
        usage=NOT_REPORTED if counted is None else Usage(input_tokens=count(counted)),
    )


def decode_models(reply: HttpReply, target: Target) -> tuple[str, ...] | Failure:
    """The names of what is installed, as listed: `llama3.2:latest` may also be asked for as `llama3.2`."""
    body = object_of(reply, target)
    if isinstance(body, Failure):
        return body
    if not isinstance(body.get("models"), list):
        return malformed(target, "the reply has no list of models; check base_url", status=reply.status)
    names = (text(row.get("name")) or text(row.get("model")) for row in objects(body["models"]))
    return tuple(name for name in names if name)


def decode_health(reply: HttpReply, target: Target) -> Failure | None:
    """A server that lists its models is well, also where it has none yet."""
    listed = decode_models(reply, target)
    return listed if isinstance(listed, Failure) else None


def _lines(reply: HttpReply, target: Target) -> Outcome | None:
    """The outcome of a body that is a whole stream; None where it is no such thing."""
    if not 200 <= reply.status < 300 or b"\n" not in reply.body:
        return None
    stream = OllamaStream(target)
    stream.feed(reply.body)
    outcome = stream.finish()
    return None if isinstance(outcome, Failure) and outcome.kind is FailureKind.MALFORMED else outcome
