"""Anthropic's Messages."""

from __future__ import annotations

from typing import Any

from tests.wire.normal.common import blocks, inside, merged, said, without_empty

Json = Any

NONE = ("stop_sequences", "mcp_servers", "system", "tools", "output_config", "metadata")


def normal(body: dict[str, Json]) -> dict[str, Json]:
    body = without_empty(said(body, defaults={"stream": False}), NONE)
    if "output_format" in body:
        moved = body.pop("output_format")
        body["output_config"] = {"format": moved, **body.get("output_config", {})}
    if "system" in body:
        body["system"] = blocks(body["system"], _block)
    inside(body, "messages", _message)
    if isinstance(body.get("messages"), list):
        body["messages"] = merged(body["messages"], "content")
    inside(body, "tools", _tool)
    inside(body, "tool_choice", lambda one: said(one, defaults={"disable_parallel_tool_use": False}))
    inside(body, "output_config", said)
    inside(body, "thinking", said)
    inside(body, "metadata", said)
    _cache(body)
    return body


def _message(message: dict[str, Json]) -> dict[str, Json]:
    message = said(message)
    message["content"] = blocks(message.get("content"), _block)
    return message


def _block(block: dict[str, Json]) -> dict[str, Json]:
    block = without_empty(said(block), ("citations",))
    if block.get("type") == "tool_result":
        block = said(block, defaults={"is_error": False})
        block["content"] = blocks(block.get("content"), _block)
    inside(block, "source", _source)
    _cache(block)
    return block


def _source(source: dict[str, Json]) -> dict[str, Json]:
    source = said(source)
    if source.get("type") == "content":
        source["content"] = blocks(source.get("content"), _block)
    return source


def _tool(tool: dict[str, Json]) -> dict[str, Json]:
    tool = said(tool, defaults={"type": "custom"})
    _cache(tool)
    return tool


def _cache(value: dict[str, Json]) -> None:
    inside(value, "cache_control", lambda one: said(one, defaults={"ttl": "5m"}))
