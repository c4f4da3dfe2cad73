"""The three servers behind a RuVector provider, on real sockets: ruvLLM's, Ollama's, and one that speaks OpenAI.

Each answers with who it is, so that a test sees whose words it got. ruvLLM's has the paths that the real one has, and
404 for all others; Ollama's has the models that are installed, and 404 for all others.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from tests.fakes.upstream import Behaviour, Exchange, Upstream, reply, stream

JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
AT = "2026-01-01T00:00:00Z"


def said(body: Any, *, status: int = 200) -> Behaviour:
    return reply(json.dumps(body).encode(), status=status, headers=JSON)


def ruvllm(upstream: Upstream) -> None:
    """What the server answers as long as it is well."""
    for path in ("/query", "/health", "/stats", "/session", "/feedback"):
        upstream.on(path, _RUVLLM[path])


def broken(upstream: Upstream) -> None:
    """It is there, and fails as it does: 500 and plain text."""
    upstream.on("/query", reply(b"inference failed", status=500))
    upstream.on("/health", reply(b"inference failed", status=500))


_RUVLLM: dict[str, Behaviour] = {
    "/query": said(
        {
            "text": "ruvLLM speaks",
            "model_used": "ruvllm-1.2b",
            "context_size": 2048,
            "confidence": 0.7,
            "latency_ms": 12.5,
        }
    ),
    "/health": said({"status": "healthy", "version": "0.1.0"}),
    "/stats": said(
        {"total_queries": 1, "cache_hits": 0, "avg_latency_ms": 12.5, "memory_nodes": 0, "router_updates": 0}
    ),
    "/session": said({"session_id": "s"}),
    "/feedback": reply(b""),
}


def ollama(upstream: Upstream, installed: Collection[str] = ("qwen2.5:0.5b", "tinyllama")) -> None:
    """`/api/chat` and `/api/tags`."""

    async def chat(exchange: Exchange) -> None:
        body = exchange.request.json()
        model = body["model"]
        if model not in installed:
            await said({"error": f"model '{model}' not found"}, status=404)(exchange)
            return
        words = ["Ollama ", "speaks"]
        last = {
            "model": model,
            "created_at": AT,
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 3,
            "eval_count": 2,
        }
        if not body.get("stream", True):
            await said({**last, "message": {"role": "assistant", "content": "".join(words)}})(exchange)
            return
        pieces = [
            {"model": model, "created_at": AT, "done": False, "message": {"role": "assistant", "content": word}}
            for word in words
        ]
        lines = [*pieces, {**last, "message": {"role": "assistant", "content": ""}}]
        await stream([json.dumps(one).encode() + b"\n" for one in lines], headers=NDJSON)(exchange)

    upstream.on("/api/chat", chat)
    upstream.on("/api/tags", said({"models": [{"name": name, "model": name} for name in installed]}))


def embedded(upstream: Upstream) -> None:
    """llama.cpp with the small model, as `local` asks it."""

    async def chat(exchange: Exchange) -> None:
        body = exchange.request.json()
        head = {"id": "c1", "created": 1, "model": body["model"]}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        if not body.get("stream"):
            message = {"role": "assistant", "content": "SmolLM speaks"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            await said({**head, "object": "chat.completion", "choices": [choice], "usage": usage})(exchange)
            return
        chunk = {**head, "object": "chat.completion.chunk"}
        deltas = [({"role": "assistant", "content": "SmolLM "}, None), ({"content": "speaks"}, None), ({}, "stop")]
        events = [
            {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": why}]} for delta, why in deltas
        ] + [{**chunk, "choices": [], "usage": usage}]
        data = [b"data: " + json.dumps(one).encode() + b"\n\n" for one in events]
        await stream([*data, b"data: [DONE]\n\n"])(exchange)

    upstream.on("/chat/completions", chat)
    upstream.on("/models", said({"object": "list", "data": [{"id": "smollm2-135m", "object": "model"}]}))
