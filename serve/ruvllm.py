"""ruvLLM's endpoints beside `/query`. Nothing is learnt yet, and they say so."""

from __future__ import annotations

import secrets

from runtime.dialects.ruvllm.surface import (
    learning_refused,
    parse_feedback,
    parse_session,
    render_session,
    render_sona_metrics,
    render_stats,
)
from runtime.outcome import Failure
from serve.answer import json_of
from serve.asked import Asked, refuse
from serve.errors import TEXT
from serve.http import encoded


async def stats(asked: Asked) -> None:
    """Of the whole system where the manager can be asked, as far as anybody counts it."""
    report = await asked.target.usage("all")
    latency_s = report.total.average_latency_s or 0.0
    await asked.reply(render_stats(total_queries=report.requests, cache_hits=0, avg_latency_ms=latency_s * 1e3))


async def session(asked: Asked) -> None:
    body = await asked.body()
    named = parse_session(json_of(body) if body.strip() else None)
    if isinstance(named, Failure):
        refuse(named)
    await asked.reply(render_session(named or f"session_{secrets.token_hex(12)}"))


async def feedback(asked: Asked) -> None:
    """Checked like that of a server that learns, and then refused: to take it and forget it would be a lie."""
    parsed = parse_feedback(await asked.json())
    if isinstance(parsed, Failure):
        refuse(parsed)
    await _not_enabled(asked, "feedback")


async def sona_metrics(asked: Asked) -> None:
    await asked.reply(render_sona_metrics())


async def not_learning(asked: Asked) -> None:
    await _not_enabled(asked, "learning")


async def not_searching(asked: Asked) -> None:
    await _not_enabled(asked, "the memory")


async def _not_enabled(asked: Asked, what: str) -> None:
    status, headers, body = learning_refused(what)
    await asked.exchange.reply(status, str(body).encode(), [TEXT, *encoded(headers)])
