"""Chat completions, as an OpenAI-compatible provider words them."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.answers import USAGE, Answer, Asked, flat, halves

BEFORE_TEXT = 1
"""Events of a stream before its first piece of text."""


def asked(body: Any) -> Asked:
    parts = [
        part
        for message in body["messages"]
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
    return Asked(
        tools=tuple(tool["function"]["name"] for tool in body.get("tools") or ()),
        results=tuple(flat(one["content"]) for one in body["messages"] if one["role"] == "tool"),
        pictures=tuple(_picture(part["image_url"]["url"]) for part in parts),
    )


def _picture(url: str) -> str:
    kind, comma, data = url.partition(";base64,")
    return f"{kind.removeprefix('data:')} {len(data)}" if comma else url


def whole(body: Any, answer: Answer) -> Any:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.thought:
        message["reasoning_content"] = answer.thought
    if answer.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.calls
        ]
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": answer.reason}
        for index in range(body.get("n") or 1)
    ]
    return {**_head(body, "chat.completion"), "choices": choices, "usage": _usage()}


def events(body: Any, answer: Answer) -> list[bytes]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if answer.thought:
        deltas += [{"reasoning_content": piece} for piece in halves(answer.thought)]
    deltas += [{"content": piece} for piece in answer.pieces]
    for at, call in enumerate(answer.calls):
        first = {"index": at, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        deltas.append({"tool_calls": [first]})
        deltas += [
            {"tool_calls": [{"index": at, "function": {"arguments": piece}}]} for piece in halves(call.arguments)
        ]
    head = _head(body, "chat.completion.chunk")
    said = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    said.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": answer.reason}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        said.append({**head, "choices": [], "usage": _usage()})
    return [*map(_event, said), b"data: [DONE]\n\n"]


def error(status: int, code: str | None, message: str) -> Any:
    return {"error": {"message": message, "type": "fake_error", "param": None, "code": code}}


def error_event(message: str) -> bytes:
    return _event({"error": {"message": message, "type": "server_error", "code": None}})


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _head(body: Any, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-fake", "object": kind, "created": 1_700_000_000, "model": body["model"]}


def _usage() -> dict[str, Any]:
    return {
        "prompt_tokens": USAGE["input"],
        "completion_tokens": USAGE["output"],
        "total_tokens": USAGE["input"] + USAGE["output"],
        "prompt_tokens_details": {"cached_tokens": USAGE["cached"]},
    }
