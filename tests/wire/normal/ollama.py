"""Ollama's own chat."""

from __future__ import annotations

from typing import Any

from tests.wire.normal.common import inside, said, without_empty

Json = Any


def normal(body: dict[str, Json]) -> dict[str, Json]:
    body = without_empty(said(body, defaults={"stream": True}), ("format", "options", "tools"))
    inside(body, "messages", _message)
    inside(body, "tools", _tool)
    inside(body, "options", said)
    return body


def _message(message: dict[str, Json]) -> dict[str, Json]:
    message = without_empty(said(message), ("content", "thinking", "images", "tool_calls", "tool_name"))
    inside(message, "tool_calls", _call)
    return message


def _call(call: dict[str, Json]) -> dict[str, Json]:
    call = said(call, defaults={"type": "function"})
    inside(call, "function", said)
    return call


def _tool(tool: dict[str, Json]) -> dict[str, Json]:
    tool = said(tool, defaults={"type": "function"})
    inside(tool, "function", said)
    return tool
