"""Anthropic's Messages: also every other host that speaks them.

Request ── encode ──► HttpCall          what no type holds goes back to where `parse_request` found it
HttpReply ── decode ─► Outcome          any status; errors inside a 200 are failures
bytes ── decoder ────► Delta… Outcome   over any cuts
body ── parse_request ► Request         the inverse of encode

`Target.options`: `auth` "bearer" sends the key as a bearer token; `version` is the API's date; `beta` names betas, as
text or a list; every flag of `quirks.Quirks` overrules what is known of the model.
"""

from __future__ import annotations

from runtime.dialects.anthropic.blocks import NAME
from runtime.dialects.anthropic.decode import decode_chat, decode_models
from runtime.dialects.anthropic.encode import encode_chat, get_models
from runtime.dialects.anthropic.parse import parse_request
from runtime.dialects.anthropic.stream import AnthropicStream
from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.status import failure_of_reply, refused
from runtime.outcome import Embeddings, Failure, FailureKind, Outcome
from runtime.request import EmbedRequest, Request

__all__ = ["NAME", "Anthropic", "AnthropicStream", "parse_request"]


class Anthropic:
    """The dialect. How models differ is data: `anthropic.quirks`."""

    name = NAME
    json_streams = False

    def encode(self, request: Request, target: Target) -> HttpCall | Failure:
        return encode_chat(request, target)

    def decode(self, reply: HttpReply, target: Target) -> Outcome:
        return decode_chat(reply, target)

    def decoder(self, target: Target) -> AnthropicStream:
        return AnthropicStream(target)

    def encode_embed(self, request: EmbedRequest, target: Target) -> HttpCall | Failure:
        return _no_embeddings(target)

    def decode_embed(self, reply: HttpReply, target: Target) -> Embeddings | Failure:
        return _no_embeddings(target) if 200 <= reply.status < 300 else failure_of_reply(reply, target)

    def list_models(self, target: Target) -> HttpCall | Failure:
        return get_models(target, "limit=1000")

    def decode_models(self, reply: HttpReply, target: Target) -> tuple[str, ...] | Failure:
        return decode_models(reply, target)

    def health(self, target: Target) -> HttpCall | Failure:
        return get_models(target, "limit=1")

    def decode_health(self, reply: HttpReply, target: Target) -> Failure | None:
        listed = decode_models(reply, target)
        return listed if isinstance(listed, Failure) else None


def _no_embeddings(target: Target) -> Failure:
    detail = "Anthropic has no embeddings: ask OpenAI, Google, Cohere or Ollama for them"
    return refused(target, FailureKind.UNSUPPORTED, detail)
