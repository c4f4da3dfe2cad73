"""No body, whatever it holds, ends in an error of ours."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.test_dialects import JSON, mutate
from tests.fakes.asgi import Call
from tests.serve.test_app import BEARER, Served
from tests.serve.test_surfaces import BODIES, HELLO

RICH: dict[str, dict[str, Any]] = {
    **BODIES,
    "/v1/chat/completions": {
        **BODIES["/v1/chat/completions"],
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "a", "content": "1"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        "reasoning_effort": "low",
    },
    "/v1/messages": {
        **BODIES["/v1/messages"],
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "1"}]},
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    },
    "/api/chat": {
        **BODIES["/api/chat"],
        "options": {"temperature": 0.5, "num_predict": 5, "stop": ["x"]},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "format": {"type": "object"},
        "think": True,
    },
    "/v1/messages/count_tokens": {"model": "one/m", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/embeddings": {"model": "one/m", "input": ["a", "b"], "dimensions": 3},
    "/api/embed": {"model": "one/m", "input": ["a"]},
    "/api/embeddings": {"model": "one/m", "prompt": "a"},
    "/api/show": {"model": "one/scripted"},
    "/feedback": {"query": "q", "response": "r", "quality": 0.5},
    "/v1/feedback": {"request_id": "r", "score": 0.5, "label": "good"},
    "/v1/hnsw/search": {"query": "q", "limit": 3, "vector": [0.5]},
    "/session": {"session_id": "s"},
}


@pytest.mark.parametrize("path", RICH)
@settings(max_examples=60)
@given(path_in=st.lists(st.integers(0, 9), max_size=6), new=JSON, stream=st.booleans())
def test_no_body_breaks_us(path: str, path_in: list[int], new: object, stream: bool) -> None:
    body = mutate({**RICH[path], "stream": stream}, path_in, new)
    call = asyncio.run(Served(HELLO)(Call("POST", path, body=orjson.dumps(body), headers=BEARER)))
    assert call.status in (200, 400, 404, 413, 422, 503), (call.status, call.body)
    assert call.body or call.status == 200


@pytest.mark.parametrize("path", RICH)
@given(body=st.binary(max_size=50))
def test_no_bytes_break_us(path: str, body: bytes) -> None:
    call = asyncio.run(Served(HELLO)(Call("POST", path, body=body, headers=BEARER)))
    assert call.status in (200, 400, 404, 503), (call.status, call.body, json.dumps(body.decode("latin-1")))
