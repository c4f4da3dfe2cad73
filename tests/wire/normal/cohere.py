"""Cohere's chat, version 2."""

from __future__ import annotations

from typing import Any

from tests.wire.normal.common import blocks, data_url, each, inside, json_text, said, without_empty

Json = Any


def normal(body: dict[str, Json]) -> dict[str, Json]:
    body = without_empty(said(body, defaults={"stream": False}), ("documents", "tools", "stop_sequences"))
    inside(body, "messages", _message)
    inside(body, "tools", _tool)
    if isinstance(body.get("documents"), list):
        body["documents"] = [
            {"data": {"text": one}} if isinstance(one, str) else said(one) if isinstance(one, dict) else one
            for one in body["documents"]
        ]
    inside(body, "response_format", said)
    inside(body, "thinking", said)
    return body


def _message(message: dict[str, Json]) -> dict[str, Json]:
    message = without_empty(said(message), ("citations", "tool_calls", "tool_plan"))
    message["content"] = blocks(message.get("content"), _block)
    if "tool_calls" in message:
        message["tool_calls"] = each(message["tool_calls"], _call)
    return message


def _block(block: dict[str, Json]) -> dict[str, Json]:
    image = block.get("image_url")
    if isinstance(image, dict):
        block = {**block, "image_url": {**said(image, defaults={"detail": "auto"}), "url": data_url(image.get("url"))}}
    inside(block, "document", said)
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
