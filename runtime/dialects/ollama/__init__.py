"""Ollama's own API: `/api/chat`, `/api/embed`, `/api/tags`.

    Request ── encode ──► HttpCall          `stream` is always said: its default on this wire is true
    HttpReply ── decode ─► Outcome          a whole reply is a stream of one line, and is read as one
    bytes ── decoder ────► Delta… Outcome   lines of JSON over any cuts; complete only with `done: true`

What this API has no words for: several choices, a tool choice, a user, metadata, prompt-caching markers. They are
named as dropped. Images go inline and beside the text: where they stood between texts cannot be said.
"""

from __future__ import annotations

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.ollama.decode import decode_chat, decode_embed, decode_health, decode_models
from runtime.dialects.ollama.encode import encode_chat, encode_embed, get_models
from runtime.dialects.ollama.messages import NAME
from runtime.dialects.ollama.parse import parse_request
from runtime.dialects.ollama.stream import OllamaStream
from runtime.outcome import Embeddings, Failure, Outcome
from runtime.request import EmbedRequest, Request

__all__ = ["Ollama", "parse_request"]


class Ollama:
    """The dialect. A provider's options may hold `keep_alive`, `truncate`, `shift` and the model's `options`."""

    name = NAME
    json_streams = True

    def encode(self, request: Request, target: Target) -> HttpCall | Failure:
        return encode_chat(request, target)

    def decode(self, reply: HttpReply, target: Target) -> Outcome:
        return decode_chat(reply, target)

    def decoder(self, target: Target) -> OllamaStream:
        return OllamaStream(target)

    def encode_embed(self, request: EmbedRequest, target: Target) -> HttpCall | Failure:
        return encode_embed(request, target)

    def decode_embed(self, reply: HttpReply, target: Target) -> Embeddings | Failure:
        return decode_embed(reply, target)

    def list_models(self, target: Target) -> HttpCall | Failure:
        return get_models(target)

    def decode_models(self, reply: HttpReply, target: Target) -> tuple[str, ...] | Failure:
        return decode_models(reply, target)

    def health(self, target: Target) -> HttpCall | Failure:
        return get_models(target)

    def decode_health(self, reply: HttpReply, target: Target) -> Failure | None:
        return decode_health(reply, target)
