"""Messages, as Anthropic words them."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.answers import USAGE, Answer, Asked, flat, halves

BEFORE_TEXT = 2
"""Events of a stream before its first piece of text."""

SIGNATURE = "c2lnbmVkIGJ5IHRoZSBmYWtl"

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def asked(body: Any) -> Asked:
    parts = [part for one in body["messages"] if isinstance(one["content"], list) for part in one["content"]]
    return Asked(
        tools=tuple(tool["name"] for tool in body.get("tools") or ()),
        results=tuple(flat(part.get("content")) for part in parts if part["type"] == "tool_result"),
        pictures=tuple(_picture(part["source"]) for part in parts if part["type"] == "image"),
    )


def _picture(source: Any) -> str:
    return f"{source['media_type']} {len(source['data'])}" if source["type"] == "base64" else source["url"]


def whole(body: Any, answer: Answer) -> Any:
    blocks: list[Any] = []
    if answer.thought:
        blocks.append({"type": "thinking", "thinking": answer.thought, "signature": SIGNATURE})
    if answer.text:
        blocks.append({"type": "text", "text": answer.text})
    blocks += [
        {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": json.loads(call.arguments)}
        for call in answer.calls
    ]
    usage = {**_input_usage(), "output_tokens": USAGE["output"]}
    return {**_head(body), "content": blocks, "stop_reason": _REASONS[answer.reason], "usage": usage}


def events(body: Any, answer: Answer) -> list[bytes]:
    blocks: list[tuple[Any, list[Any]]] = []
    if answer.thought:
        pieces = [{"type": "thinking_delta", "thinking": piece} for piece in halves(answer.thought)]
        signed = {"type": "signature_delta", "signature": SIGNATURE}
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, [*pieces, signed]))
    if answer.pieces:
        texts = [{"type": "text_delta", "text": piece} for piece in answer.pieces]
        blocks.append(({"type": "text", "text": ""}, texts))
    for call in answer.calls:
        inputs = [{"type": "input_json_delta", "partial_json": piece} for piece in halves(call.arguments)]
        blocks.append(({"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": {}}, inputs))
    usage = {**_input_usage(), "output_tokens": 1}
    message = {**_head(body), "content": [], "stop_reason": None, "usage": usage}
    said = [_event("message_start", message=message)]
    for index, (start, deltas) in enumerate(blocks):
        said.append(_event("content_block_start", index=index, content_block=start))
        said += [_event("content_block_delta", index=index, delta=delta) for delta in deltas]
        said.append(_event("content_block_stop", index=index))
    delta = {"stop_reason": _REASONS[answer.reason], "stop_sequence": None}
    said.append(_event("message_delta", delta=delta, usage={"output_tokens": USAGE["output"]}))
    return [*said, _event("message_stop")]


def error(status: int, code: str | None, message: str) -> Any:
    return {"type": "error", "error": {"type": code or _TYPES.get(status, "api_error"), "message": message}}


def error_event(message: str) -> bytes:
    return _event("error", error={"type": "api_error", "message": message})


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def _head(body: Any) -> dict[str, Any]:
    return {"id": "msg_fake", "type": "message", "role": "assistant", "model": body["model"], "stop_sequence": None}


def _input_usage() -> dict[str, int]:
    # Of Anthropic's, input_tokens are those beside the cache.
    cached = USAGE["cached"]
    return {
        "input_tokens": USAGE["input"] - cached,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 0,
    }
