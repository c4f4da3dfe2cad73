r"""The scripted wire, server's side: a step as the bytes of a reply. Tiny on purpose; it is a load target, too.

POST …/chat   {"model", "request"}         a Request as plain data
  whole       {"id", "model", "choices": [{"text", …}], "usage"}
  stream      {"id", "model"}\n {"delta": {…}}\n … {"usage": {…}}\n {"end": true}\n
POST …/embed  {"model", "inputs"}          {"model", "vectors", "usage"}
GET  …/models                              {"models": [name, …]}
errors        {"error": {"message", "type", "code"}}, under any status, also inside a stream
"""

from __future__ import annotations

import hashlib
import math

import orjson

from runtime.dialects.scripted.script import ErrorEvent, Status, Step
from runtime.outcome import FinishReason, Usage
from runtime.request import Json

MODEL = "scripted"

DIMENSIONS = 64

END = b'{"end":true}\n'

GARBAGE = b"this is no JSON\n"


def prompt_words(request: Json) -> int:
    """The words in all text parts of a request in plain data."""
    return sum(
        len(part["text"].split()) for message in request["messages"] for part in message["parts"] if "text" in part
    )


def usage_of(step: Step, *, input_words: int, choices: int) -> Usage:
    """The step's usage, or words counted and marked so."""
    if step.usage is not None:
        return step.usage
    reasoning = len(step.reasoning.split())
    words = len(step.whole_text.split()) + reasoning + sum(len(call.arguments.split()) for call in step.tool_calls)
    return Usage(
        input_tokens=input_words, output_tokens=words * choices, reasoning_tokens=reasoning * choices, estimated=True
    )


def finish_of(step: Step) -> FinishReason:
    return step.finish_reason or (FinishReason.TOOL_CALLS if step.tool_calls else FinishReason.STOP)


def reply(step: Step, *, call_id: str, model: str, choices: int, usage: Usage) -> bytes:
    """A whole answer."""
    choice = {
        "text": step.whole_text,
        "reasoning": step.reasoning,
        "tool_calls": step.tool_calls,
        "finish_reason": finish_of(step),
    }
    return orjson.dumps({"id": call_id, "model": model, "choices": [choice] * choices, "usage": usage})


def opening(*, call_id: str, model: str) -> bytes:
    """A stream's first line."""
    return orjson.dumps({"id": call_id, "model": model}) + b"\n"


def deltas(step: Step, *, choices: int) -> list[bytes]:
    """A stream's answer, chunk by chunk, without its finish."""
    return [
        orjson.dumps({"delta": {**said, "choice": choice} if choice else said}) + b"\n"
        for said in _deltas(step)
        for choice in range(choices)
    ]


def closing(step: Step, *, choices: int, usage: Usage) -> bytes:
    """A stream's finish, usage and end mark."""
    finishes = [
        orjson.dumps({"delta": {"choice": choice, "finish_reason": finish_of(step)}}) + b"\n"
        for choice in range(choices)
    ]
    return b"".join(finishes) + orjson.dumps({"usage": usage}) + b"\n" + END


def error(event: ErrorEvent) -> bytes:
    return orjson.dumps({"error": {"message": event.message, "type": event.type, "code": event.code}}) + b"\n"


def refusal(status: Status) -> tuple[dict[str, str], bytes]:
    """Headers and body of another status."""
    headers = {"content-type": "application/json", **status.headers}
    if status.retry_after_s is not None:
        headers["retry-after"] = f"{status.retry_after_s:g}"
    if status.body is not None:
        return headers, status.body.encode()
    return headers, orjson.dumps({"error": {"message": f"a scripted answer with status {status.status}"}})


def embedding(texts: list[str], *, dimensions: int, model: str) -> bytes:
    """Vectors of hashed words: deterministic, of length 1, alike for texts that share words. No model is asked."""
    words = [text.split() for text in texts]
    usage = Usage(input_tokens=sum(map(len, words)), estimated=True)
    return orjson.dumps({"model": model, "vectors": [_hashed(one, dimensions) for one in words], "usage": usage})


def models() -> bytes:
    return orjson.dumps({"models": [MODEL]})


def _deltas(step: Step) -> list[dict[str, Json]]:
    found: list[dict[str, Json]] = []
    if step.reasoning:
        found.append({"reasoning": step.reasoning})
    found.extend({"text": piece} for piece in step.pieces)
    found.extend(
        {"tool_calls": [{"position": at, "id": call.id, "name": call.name, "arguments": call.arguments}]}
        for at, call in enumerate(step.tool_calls)
    )
    return found


def _hashed(words: list[str], dimensions: int) -> list[float]:
    vector = [0.0] * dimensions
    for word in words or [""]:
        digest = int.from_bytes(hashlib.blake2b(word.lower().encode(), digest_size=8).digest())
        vector[(digest >> 1) % dimensions] += 1.0 if digest & 1 else -1.0
    length = math.sqrt(sum(number * number for number in vector))
    # Words whose signs cancel out leave no direction; any will do.
    return [number / length for number in vector] if length else [1.0, *vector[1:]]
