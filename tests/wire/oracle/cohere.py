"""Cohere's chat, version 2."""

from __future__ import annotations

from typing import Any

from tests.wire.oracle.answer import Answer, Call, Counts, Said, chunks_of, count, json_of, value_of
from tests.wire.records import Record

Json = Any

FINISH = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}


def _whole(body: Json) -> Answer:
    message = body["message"]
    content = message.get("content") or []
    said = Said(
        text="".join(one["text"] for one in content if one["type"] == "text"),
        reasoning=(message.get("tool_plan") or "") + "".join(one["thinking"] for one in content if "thinking" in one),
        calls=tuple(
            Call(one["id"], one["function"]["name"], value_of(one["function"]["arguments"]))
            for one in message.get("tool_calls") or ()
        ),
        finish=FINISH.get(body["finish_reason"], "other"),
    )
    return Answer(id=body["id"], model=body.get("model") or "", choices=(said,), counts=_counts(body.get("usage")))


def _stream(events_: list[Json]) -> Answer:
    message: dict[str, Json] = {"content": [], "tool_calls": [], "tool_plan": ""}
    body: dict[str, Json] = {"id": "", "message": message}
    blocks: dict[int, Json] = {}
    calls: dict[int, Json] = {}
    for event in events_:
        delta = (event.get("delta") or {}).get("message") or {}
        match event["type"]:
            case "message-start":
                body["id"] = event["id"]
                message["tool_plan"] += delta.get("tool_plan") or ""
            case "tool-plan-delta":
                message["tool_plan"] += delta["tool_plan"]
            case "content-start":
                blocks[event["index"]] = dict(delta["content"])
                message["content"].append(blocks[event["index"]])
            case "content-delta":
                for name, piece in delta["content"].items():
                    if name in ("text", "thinking"):
                        block = blocks[event["index"]]
                        block[name] = block.get(name, "") + piece
            case "tool-call-start":
                call = delta["tool_calls"]
                calls[event["index"]] = {**call, "function": dict(call["function"])}
                message["tool_calls"].append(calls[event["index"]])
            case "tool-call-delta":
                calls[event["index"]]["function"]["arguments"] += delta["tool_calls"]["function"]["arguments"]
            case "message-end":
                body |= {"finish_reason": event["delta"]["finish_reason"], "usage": event["delta"].get("usage")}
    return _whole(body)


def _counts(usage: Json) -> Counts | None:
    if not usage:
        return None
    tokens = usage.get("tokens") or usage.get("billed_units") or {}
    return Counts(
        # Images are counted beside the text.
        input=count(tokens.get("input_tokens")) + count(tokens.get("image_tokens")),
        output=count(tokens.get("output_tokens")),
        cached=count(usage.get("cached_tokens")),
        reasoning=count(tokens.get("reasoning_tokens")),
    )


def answer_of(record: Record) -> Answer:
    return _stream(list(chunks_of(record))) if record.stream else _whole(json_of(record))
