"""OpenAI's chat completions, and those who speak them."""

from __future__ import annotations

from typing import Any

from tests.wire.normal.common import blocks, data_url, inside, json_text, said, without_empty

Json = Any

INVENTED = "raygate_call_"
"""Begins an id that Raygate made up where the API has none."""


def native(body: dict[str, Json]) -> dict[str, Json]:
    body = compatible(body)
    if "max_tokens" in body and body.get("max_completion_tokens", body["max_tokens"]) == body["max_tokens"]:
        body["max_completion_tokens"] = body.pop("max_tokens")
    return body


def openrouter(body: dict[str, Json]) -> dict[str, Json]:
    body = native(body)
    if isinstance(body.get("include_reasoning"), bool) and "reasoning" not in body:
        body["reasoning"] = {} if body.pop("include_reasoning") else {"exclude": True}
    if body.get("usage") == {"include": True}:
        del body["usage"]
    return body


def compatible(body: dict[str, Json]) -> dict[str, Json]:
    body = without_empty(said(_legacy(body), defaults={"stream": False, "n": 1}), ("tools", "stop"))
    if isinstance(body.get("stop"), str):
        body["stop"] = [body["stop"]]
    if isinstance(body.get("stream_options"), dict):
        options = {name: one for name, one in said(body.pop("stream_options")).items() if name != "include_usage"}
        if options:
            body["stream_options"] = options
    inside(body, "messages", _message)
    inside(body, "tools", _tool)
    inside(body, "response_format", _response_format)
    return body


def _message(message: dict[str, Json]) -> dict[str, Json]:
    message = without_empty(said(message), ("tool_calls",))
    inside(message, "reasoning_details", said)
    message["content"] = blocks(message.get("content"), _block)
    inside(message, "tool_calls", _call)
    return message


def _block(block: dict[str, Json]) -> dict[str, Json]:
    image = block.get("image_url")
    if isinstance(image, dict):
        image = said(image, defaults={"detail": "auto"})
        block = {**block, "image_url": {**image, "url": data_url(image.get("url"))}}
    file = block.get("file")
    if isinstance(file, dict) and "file_data" in file:
        block = {**block, "file": {**file, "file_data": data_url(file["file_data"])}}
    return block


def _call(call: dict[str, Json]) -> dict[str, Json]:
    call = said(call, defaults={"type": "function"})
    function = call.get("function")
    if isinstance(function, dict):
        call["function"] = {**said(function), "arguments": json_text(function.get("arguments"))}
    return call


def _tool(tool: dict[str, Json]) -> dict[str, Json]:
    tool = said(tool, defaults={"type": "function"})
    inside(tool, "function", said)
    return tool


def _response_format(wanted: dict[str, Json]) -> dict[str, Json]:
    wanted = said(wanted)
    inside(wanted, "json_schema", said)
    return wanted


def _legacy(body: dict[str, Json]) -> dict[str, Json]:
    """`functions` and what belongs to them in today's words; ids that Raygate made up as "#1", "#2", …"""
    body = dict(body)
    if body.get("functions") is not None and "tools" not in body:
        body["tools"] = [{"type": "function", "function": one} for one in body.pop("functions")]
        body["parallel_tool_calls"] = False
    if body.get("function_call") is not None and "tool_choice" not in body:
        choice = body.pop("function_call")
        body["tool_choice"] = {"type": "function", "function": choice} if isinstance(choice, dict) else choice
    if isinstance(body.get("messages"), list):
        ids: dict[str, str] = {}
        body["messages"] = [_todays(one, ids) if isinstance(one, dict) else one for one in body["messages"]]
    return body


def _todays(message: dict[str, Json], ids: dict[str, str]) -> dict[str, Json]:
    message = dict(message)
    called = message.get("function_call")
    if isinstance(called, dict) and not message.get("tool_calls"):
        del message["function_call"]
        message["tool_calls"] = [{"id": _number(f"legacy {len(ids)}", ids), "function": called}]
    elif isinstance(message.get("tool_calls"), list):
        message["tool_calls"] = [
            {**one, "id": _number(one["id"], ids)} if _invented(one) else one for one in message["tool_calls"]
        ]
    if message.get("role") == "function":
        message |= {"role": "tool", "tool_call_id": f"#{len(ids)}"}
        message.pop("name", None)
    elif message.get("tool_call_id") in ids:
        message["tool_call_id"] = ids[message["tool_call_id"]]
        message.pop("name", None)
    return message


def _invented(call: Json) -> bool:
    return isinstance(call, dict) and str(call.get("id")).startswith(INVENTED)


def _number(id_: str, ids: dict[str, str]) -> str:
    return ids.setdefault(id_, f"#{len(ids) + 1}")
