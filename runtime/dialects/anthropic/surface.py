"""Our own Messages endpoint: the inverse of the `anthropic` dialect.

body ── parse_request, parse_count ──► Request | Failure    strict; the failure names the field and says what to do
Completion ── render ──► message
StreamEvent ── renderer ──► SSE bytes                       message_stop after a completion only
Failure ── error ──► status, headers, body

Both versions of the API, 2023-06-01 and 2026-10-21, are answered alike: the newer one only adds fields.
"""

from __future__ import annotations

from runtime.dialects.anthropic.blocks import NAME
from runtime.dialects.anthropic.render import render_error, render_message
from runtime.dialects.anthropic.render_stream import EventRenderer
from runtime.dialects.surface import ErrorReply
from runtime.outcome import Completion, Failure
from runtime.request import Json, Request


class AnthropicSurface:
    """A `Surface`."""

    name = NAME
    stream_type = "text/event-stream; charset=utf-8"

    def render(self, completion: Completion, request: Request) -> Json:
        return render_message(completion, request)

    def renderer(self, request: Request) -> EventRenderer:
        return EventRenderer(request)

    def error(self, failure: Failure) -> ErrorReply:
        return render_error(failure)
