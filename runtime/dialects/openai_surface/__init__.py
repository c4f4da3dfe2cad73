"""Our own OpenAI endpoint: the inverse of the `openai` dialect.

body ── parse_chat ──► Request | Failure        strict; the failure names the field and says what to do
Completion ── render_completion ──► body
StreamEvent ── ChunkRenderer ──► SSE bytes      [DONE] after a completion only
Failure ── render_error ──► status, headers, body
"""

from runtime.dialects.openai_surface.embed import parse_embed, render_embeddings, render_models
from runtime.dialects.openai_surface.parse import parse_chat, parse_request
from runtime.dialects.openai_surface.render import ChunkRenderer, render_completion, render_error

__all__ = [
    "ChunkRenderer",
    "parse_chat",
    "parse_embed",
    "parse_request",
    "render_completion",
    "render_embeddings",
    "render_error",
    "render_models",
]
