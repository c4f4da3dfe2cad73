"""Which path is which API. A leading `/v1` is left out here: every path works with and without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from runtime.dialects.anthropic.surface import AnthropicSurface
from runtime.dialects.base import Parse
from runtime.dialects.completions_surface import CompletionsSurface
from runtime.dialects.completions_surface import parse_request as parse_completions
from runtime.dialects.ollama.generate import parse_generate
from runtime.dialects.ollama.render import CHAT, GENERATE, Shape
from runtime.dialects.ollama.surface import OllamaGenerateSurface, OllamaSurface
from runtime.dialects.registry import PARSERS
from runtime.dialects.responses_surface import ResponsesSurface
from runtime.dialects.responses_surface import parse_request as parse_responses
from runtime.dialects.ruvllm.surface import RuvLLMSurface
from runtime.dialects.surface import Surface
from runtime.metrics.meter import EMBEDDINGS
from runtime.request import Json
from serve import explain, learning, listings, metrics, ruvllm, vectors
from serve.asked import Asked
from serve.http import OPENAI, Exchange

ANTHROPIC = AnthropicSurface()
OLLAMA = OllamaSurface()
RUVLLM = RuvLLMSurface()


class Chat(NamedTuple):
    """A path at which models answer. `loads`: a request without words asks to load a model (Ollama)."""

    parse: Parse
    surface: Surface
    loads: Shape | None = None


CHATS: Mapping[str, Chat] = {
    "/chat/completions": Chat(PARSERS["openai"], OPENAI),
    "/completions": Chat(parse_completions, CompletionsSurface()),
    "/responses": Chat(parse_responses, ResponsesSurface()),
    "/messages": Chat(PARSERS["anthropic"], ANTHROPIC),
    "/api/chat": Chat(PARSERS["ollama"], OLLAMA, CHAT),
    "/api/generate": Chat(parse_generate, OllamaGenerateSurface(), GENERATE),
    "/query": Chat(PARSERS["ruvllm"], RUVLLM),
}


@dataclass(frozen=True, slots=True)
class Route:
    """Any other path. `key`: only for callers with a key. `operation`: requests that are counted, as what."""

    method: str
    handle: Callable[[Asked], Awaitable[None]]
    surface: Surface = OPENAI
    key: bool = True
    operation: str = ""


ROUTES: Mapping[str, Route] = {
    "": Route("GET", listings.greet, key=False),
    "/health": Route("GET", listings.alive, key=False),
    "/health/liveliness": Route("GET", listings.alive, key=False),
    "/health/liveness": Route("GET", listings.alive, key=False),
    "/health/readiness": Route("GET", listings.readiness, key=False),
    "/version": Route("GET", listings.version, key=False),
    "/openapi.json": Route("GET", listings.openapi_document, key=False),
    "/docs": Route("GET", listings.docs, key=False),
    "/metrics": Route("GET", metrics.answer, key=False),
    "/models": Route("GET", listings.models),
    "/embeddings": Route("POST", vectors.embeddings, operation=EMBEDDINGS),
    "/route/explain": Route("POST", explain.explain),
    "/messages/count_tokens": Route("POST", listings.count_tokens, ANTHROPIC),
    "/api/version": Route("GET", listings.ollama_version, OLLAMA, key=False),
    "/api/tags": Route("GET", listings.tags, OLLAMA),
    "/api/ps": Route("GET", listings.running, OLLAMA),
    "/api/show": Route("POST", listings.show, OLLAMA),
    "/api/embed": Route("POST", vectors.embed, OLLAMA, operation=EMBEDDINGS),
    "/api/embeddings": Route("POST", vectors.older_embed, OLLAMA, operation=EMBEDDINGS),
    "/stats": Route("GET", ruvllm.stats, RUVLLM),
    "/session": Route("POST", ruvllm.session, RUVLLM),
    "/feedback": Route("POST", ruvllm.feedback, RUVLLM),
    "/sona/metrics": Route("GET", ruvllm.sona_metrics, RUVLLM),
    "/sona/learn": Route("POST", ruvllm.learn, RUVLLM),
    "/hnsw/search": Route("POST", ruvllm.search, RUVLLM),
}

FEEDBACK = Route("POST", learning.feedback)
"""With `/v1` before it, feedback is ours; without, it is ruvLLM's."""

HISTORY = Route("GET", ruvllm.history, RUVLLM)
"""`/session/{id}`."""

MODEL = Route("GET", listings.model)
"""`/models/{id}`; an id may have slashes."""


NAMING = {"/models/": MODEL, "/session/": HISTORY}


def route_of(path: str, exchange: Exchange) -> Route | None:
    """Who answers at a path that is no chat. Lists of models are Anthropic's for Anthropic's clients."""
    if path == "/feedback" and exchange.path.startswith("/v1/"):
        return FEEDBACK
    route = ROUTES.get(path) or next((one for start, one in NAMING.items() if path.startswith(start)), None)
    if route is not None and path.startswith("/models") and exchange.header(b"anthropic-version"):
        return Route(route.method, route.handle, ANTHROPIC, route.key)
    return route


def surface_of(path: str, exchange: Exchange) -> Surface:
    """Who words an error at a path that leads nowhere."""
    if path.startswith("/messages") or exchange.header(b"anthropic-version"):
        return ANTHROPIC
    return OLLAMA if path.startswith("/api/") else OPENAI


def with_betas(body: Json, exchange: Exchange) -> Json:
    """The body with the betas that an Anthropic client asks for in a header: they go on to Anthropic alone."""
    said = exchange.header(b"anthropic-beta")
    if not said or not isinstance(body, dict) or exchange.surface is not ANTHROPIC or "betas" in body:
        return body
    return {**body, "betas": [beta.strip() for beta in said.split(",") if beta.strip()]}
