"""OpenAI's chat completions, and those who speak them."""

from __future__ import annotations

from typing import Any

from tests.wire.oracle.answer import Answer, Call, Counts, Said, chunks_of, cost_of, count, json_of, value_of
from tests.wire.records import Record

Json = Any

FINISH = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
}


def _whole(body: Json) -> Answer:
    return Answer(
        id=body.get("id") or "",
        model=body.get("model") or "",
        choices=tuple(
            _said(one["message"], one.get("finish_reason"))
            for one in sorted(body["choices"], key=lambda one: one.get("index", 0))
        ),
        counts=_counts(body.get("usage")),
        cost_usd=cost_of(body.get("usage")),
    )


def _said(message: Json, finish: Json) -> Said:
    calls = list(message.get("tool_calls") or [])
    # A custom tool is called with plain text.
    functions = [
        call if call.get("function") else {**call, "function": {**call["custom"], "arguments": call["custom"]["input"]}}
        for call in calls
    ]
    if message.get("function_call"):
        functions.append({"id": None, "function": message["function_call"]})
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(one.get("text", "") for one in content if one.get("type") == "text")
    return Said(
        text=content or "",
        reasoning=message.get("reasoning_content") or message.get("reasoning") or "",
        refusal=message.get("refusal") or "",
        calls=tuple(
            Call(one.get("id") or None, one["function"].get("name"), value_of(one["function"].get("arguments") or ""))
            for one in functions
        ),
        finish=FINISH.get(finish, "other"),
        others=len(message.get("images") or []) + bool(message.get("audio")),
    )


def _stream(chunks: list[Json]) -> Answer:
    messages: dict[int, dict[str, Json]] = {}
    usage: Json = None
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for one in chunk.get("choices") or ():
            message = messages.setdefault(one.get("index", 0), {"tool_calls": {}, "finish": None})
            delta = one.get("delta") or {}
            for name in ("content", "refusal", "reasoning", "reasoning_content"):
                if delta.get(name):
                    message[name] = message.get(name, "") + delta[name]
            for call in delta.get("tool_calls") or ():
                _join_call(message["tool_calls"], call)
            message["finish"] = message["finish"] or one.get("finish_reason")
    first = next((chunk for chunk in chunks if chunk.get("choices")), chunks[0])
    return Answer(
        id=first.get("id") or "",
        model=first.get("model") or "",
        choices=tuple(
            _said({**message, "tool_calls": list(message["tool_calls"].values())}, message["finish"])
            for _, message in sorted(messages.items())
        ),
        counts=_counts(usage),
        cost_usd=cost_of(usage),
    )


def _join_call(calls: dict[int, Json], piece: Json) -> None:
    call = calls.setdefault(piece.get("index", 0), {"id": piece.get("id")})
    function = piece.get("function")
    if function:
        whole = call.setdefault("function", {"name": function.get("name"), "arguments": ""})
        whole["arguments"] += function.get("arguments") or ""


def _counts(usage: Json) -> Counts | None:
    if not usage:
        return None
    prompt, completion = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    return Counts(
        input=count(usage.get("prompt_tokens")),
        output=count(usage.get("completion_tokens")),
        cached=count(prompt.get("cached_tokens")),
        written=count(prompt.get("cache_write_tokens")),
        reasoning=count(completion.get("reasoning_tokens")),
    )


def answer_of(record: Record) -> Answer:
    return _stream(list(chunks_of(record))) if record.stream else _whole(json_of(record))
