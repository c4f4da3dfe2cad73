"""Our own OpenAI endpoint: the inverse of the `openai` dialect.

body ── parse_chat ──► Request | Failure        strict; the failure names the field and says what to do
Completion ── render_completion ──► body
StreamEvent ── ChunkRenderer ──► SSE bytes      [DONE] after a completion only
Failure ── render_error ──► status, headers, body
"""

from __future__ import annotations

from runtime.dialects.openai_surface.embed import parse_embed, render_embeddings, render_models
from runtime.dialects.openai_surface.parse import parse_chat, parse_request
from runtime.dialects.openai_surface.render import ChunkRenderer, render_completion, render_error
from runtime.dialects.surface import ErrorReply
from runtime.outcome import Completion, Failure
from runtime.request import Json, Request

__all__ = [
    "ChunkRenderer",
    "OpenAISurface",
    "parse_chat",
    "parse_embed",
    "parse_request",
    "render_completion",
    "render_embeddings",
    "render_error",
    "render_models",
]


class OpenAISurface:
    """Chat completions, as a `Surface`."""

    name = "openai"
    stream_type = "text/event-stream; charset=utf-8"

    def render(self, completion: Completion, request: Request) -> Json:
        return render_completion(completion, legacy=request.legacy_functions)

    def renderer(self, request: Request) -> ChunkRenderer:
        return ChunkRenderer(stream_usage=request.stream_usage, legacy=request.legacy_functions)

    def error(self, failure: Failure) -> ErrorReply:
        return ErrorReply(*render_error(failure))
