"""Anthropic's Messages."""

from __future__ import annotations

from typing import Any

from tests.wire.oracle.answer import Answer, Call, Counts, Said, chunks_of, cost_of, count, json_of, value_of
from tests.wire.records import Record

Json = Any

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def _whole(body: Json) -> Answer:
    content = body["content"]
    kinds = [block["type"] for block in content]
    usage = body.get("usage")
    counts = None
    if usage:
        cached, written = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
        counts = Counts(
            input=count(usage.get("input_tokens")) + cached + written,
            output=count(usage.get("output_tokens")),
            cached=cached,
            written=written,
            written_1h=count((usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens")),
            reasoning=count((usage.get("output_tokens_details") or {}).get("thinking_tokens")),
        )
    said = Said(
        text="".join(block["text"] for block in content if block["type"] == "text"),
        reasoning="".join(block["thinking"] for block in content if block["type"] == "thinking"),
        calls=tuple(
            Call(block["id"], block["name"], block["input"]) for block in content if block["type"] == "tool_use"
        ),
        finish=FINISH.get(body["stop_reason"], "other"),
        others=sum(kind not in ("text", "thinking", "redacted_thinking", "tool_use") for kind in kinds),
    )
    return Answer(id=body["id"], model=body["model"], choices=(said,), counts=counts, cost_usd=cost_of(usage))


def _joined(record: Record) -> Json:
    """The message that a stream builds up."""
    message: dict[str, Json] = {}
    inputs: dict[int, str] = {}
    for event in chunks_of(record):
        match event["type"]:
            case "message_start":
                message = {**event["message"], "content": []}
            case "content_block_start":
                message["content"].append(dict(event["content_block"]))
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                for name in ("text", "thinking"):
                    if name in delta:
                        block[name] = block.get(name, "") + delta[name]
                if "partial_json" in delta:
                    inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
            case "message_delta":
                message["stop_reason"] = event["delta"]["stop_reason"]
                said = {name: one for name, one in (event.get("usage") or {}).items() if one is not None}
                message["usage"] = {**message["usage"], **said}
    for index, text in inputs.items():
        if text:
            message["content"][index]["input"] = value_of(text)
    return message


def answer_of(record: Record) -> Answer:
    return _whole(_joined(record) if record.stream else json_of(record))
