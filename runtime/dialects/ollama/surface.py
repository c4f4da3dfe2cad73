"""Our own Ollama endpoints: the inverse of the `ollama` dialect.

/api/chat        parse_request     OllamaSurface            /api/tags      render_tags
/api/generate    parse_generate    OllamaGenerateSurface    /api/ps        render_running
/api/embed       parse_embed       render_embeddings        /api/show      parse_show, render_show
/api/embeddings  parse_older_embed render_older_embeddings  /api/version   render_version
"""

from __future__ import annotations

from runtime.dialects.ollama.embed import parse_embed, parse_older_embed, render_embeddings, render_older_embeddings
from runtime.dialects.ollama.generate import asks_to_load, parse_generate, render_loaded
from runtime.dialects.ollama.installed import (
    API_VERSION,
    capabilities_of,
    name_of,
    parse_show,
    render_running,
    render_show,
    render_tags,
    render_version,
)
from runtime.dialects.ollama.messages import NAME
from runtime.dialects.ollama.parse import parse_request
from runtime.dialects.ollama.render import CHAT, GENERATE, LineRenderer, Shape, render_answer, render_failure
from runtime.dialects.surface import ErrorReply, retry_headers
from runtime.outcome import Completion, Failure
from runtime.request import Json, Request

__all__ = [
    "API_VERSION",
    "CHAT",
    "GENERATE",
    "OllamaGenerateSurface",
    "OllamaSurface",
    "asks_to_load",
    "capabilities_of",
    "name_of",
    "parse_embed",
    "parse_generate",
    "parse_older_embed",
    "parse_request",
    "parse_show",
    "render_embeddings",
    "render_loaded",
    "render_older_embeddings",
    "render_running",
    "render_show",
    "render_tags",
    "render_version",
]


class OllamaSurface:
    """`/api/chat`, as a `Surface`; its errors are those of every path under `/api`."""

    name = NAME
    stream_type = "application/x-ndjson"
    shape: Shape = CHAT

    def render(self, completion: Completion, request: Request) -> Json:
        return render_answer(completion, self.shape)

    def renderer(self, request: Request) -> LineRenderer:
        return LineRenderer(request.model, self.shape)

    def error(self, failure: Failure) -> ErrorReply:
        return ErrorReply(failure.handling.status, retry_headers(failure), render_failure(failure))


class OllamaGenerateSurface(OllamaSurface):
    """`/api/generate`, as a `Surface`."""

    name = "ollama_generate"
    shape = GENERATE
