"""OpenAI's Responses API, as far as it goes without a store: every request brings its whole conversation.

body ── parse_request ──► Request | Failure      what refers to something stored is refused, and says what to send
Completion ── render_response ──► body           store: false
StreamEvent ── ResponsesRenderer ──► SSE bytes   response.completed or .incomplete after a completion only
"""

from __future__ import annotations

from runtime.dialects.openai_surface.render import render_error
from runtime.dialects.responses_surface.parse import parse_request
from runtime.dialects.responses_surface.render import ResponsesRenderer, render_response
from runtime.dialects.surface import ErrorReply
from runtime.outcome import Completion, Failure
from runtime.request import Json, Request

__all__ = ["ResponsesRenderer", "ResponsesSurface", "parse_request", "render_response"]


class ResponsesSurface:
    """The Responses API, as a `Surface`."""

    name = "responses"
    stream_type = "text/event-stream; charset=utf-8"

    def render(self, completion: Completion, request: Request) -> Json:
        return render_response(completion, request)

    def renderer(self, request: Request) -> ResponsesRenderer:
        return ResponsesRenderer(request)

    def error(self, failure: Failure) -> ErrorReply:
        return ErrorReply(*render_error(failure))
