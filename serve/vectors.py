"""Embeddings, in OpenAI's and in Ollama's words."""

from __future__ import annotations

from dataclasses import replace

from runtime.dialects.ollama.embed import parse_embed as parse_ollama
from runtime.dialects.ollama.embed import parse_older_embed, render_older_embeddings
from runtime.dialects.ollama.embed import render_embeddings as render_ollama
from runtime.dialects.openai_surface import parse_embed, render_embeddings
from runtime.outcome import Embeddings, Failure
from runtime.request import EmbedRequest, Json
from serve import traced
from serve.answer import cost_headers, queue_header, source_headers
from serve.asked import Asked, refuse
from serve.auth import may_ask


async def embeddings(asked: Asked) -> None:
    parsed = parse_embed(await asked.json_if_room())
    if isinstance(parsed, Failure):
        refuse(parsed)
    request, encoding = parsed
    vectors = await _embedded(asked, request)
    await _answer(asked, vectors, render_embeddings(vectors, encoding=encoding))


async def embed(asked: Asked) -> None:
    vectors = await _embedded(asked, parse_ollama(await asked.json_if_room()))
    await _answer(asked, vectors, render_ollama(vectors))


async def older_embed(asked: Asked) -> None:
    vectors = await _embedded(asked, parse_older_embed(await asked.json_if_room()))
    await _answer(asked, vectors, render_older_embeddings(vectors))


async def _embedded(asked: Asked, request: EmbedRequest | Failure) -> Embeddings:
    """The vectors. Raises `Refused` where there are none."""
    if isinstance(request, Failure):
        refuse(request)
    if (refused := may_ask(asked.caller, request.model)) is not None:
        refuse(refused)
    asked.edge.counters["requests"] += 1
    asked.exchange.model = request.model
    deadline_s = asked.edge.gateway.policy.deadline_s
    request = replace(
        request,
        request_id=asked.request_id,
        tenant=asked.caller.tenant,
        billing=asked.caller.billing,
        deadline_s=deadline_s,
    )
    request = traced.begun(asked.exchange, asked.edge, request)
    found = await asked.exchange.unless_gone(asked.calls.embed(request))
    if isinstance(found, Failure):
        refuse(found)
    asked.exchange.outcome = found
    return found


async def _answer(asked: Asked, vectors: Embeddings, body: Json) -> None:
    headers = source_headers(vectors.provider, vectors.model) + queue_header(vectors.queue_s)
    headers += cost_headers(vectors.cost)
    await asked.exchange.reply_json(200, body, headers)
