"""Cohere's chat and embeddings, version 2.

Request ── encode ──► HttpCall          thoughts, plans, documents and citations go back to where Cohere has them
HttpReply ── decode ─► Outcome          any status; errors are `{id, message}` at the top
bytes ── decoder ────► Delta… Outcome   over any cuts; only `message-end` makes a stream complete
"""

from __future__ import annotations

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.cohere.decode import decode_chat, decode_embed, decode_models
from runtime.dialects.cohere.encode import encode_chat, encode_embed, get_models
from runtime.dialects.cohere.messages import NAME
from runtime.dialects.cohere.parse import parse_request
from runtime.dialects.cohere.stream import CohereStream
from runtime.outcome import Embeddings, Failure, Outcome
from runtime.request import EmbedRequest, Request

__all__ = ["NAME", "Cohere", "parse_request"]

MOST_MODELS = 1000
"""The longest page of the model list; there are far fewer models."""


class Cohere:
    """The dialect. `Target.base_url` is the host alone: the paths say which version they are."""

    name = NAME
    json_streams = False

    def encode(self, request: Request, target: Target) -> HttpCall | Failure:
        return encode_chat(request, target)

    def decode(self, reply: HttpReply, target: Target) -> Outcome:
        return decode_chat(reply, target)

    def decoder(self, target: Target) -> CohereStream:
        return CohereStream(target)

    def encode_embed(self, request: EmbedRequest, target: Target) -> HttpCall | Failure:
        return encode_embed(request, target)

    def decode_embed(self, reply: HttpReply, target: Target) -> Embeddings | Failure:
        return decode_embed(reply, target)

    def list_models(self, target: Target) -> HttpCall | Failure:
        return get_models(target, page_size=MOST_MODELS)

    def decode_models(self, reply: HttpReply, target: Target) -> tuple[str, ...] | Failure:
        return decode_models(reply, target)

    def health(self, target: Target) -> HttpCall | Failure:
        # The list is only shown to a good key, and costs nothing.
        return get_models(target, page_size=1)

    def decode_health(self, reply: HttpReply, target: Target) -> Failure | None:
        listed = decode_models(reply, target)
        return listed if isinstance(listed, Failure) else None
