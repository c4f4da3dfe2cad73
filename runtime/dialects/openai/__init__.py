"""OpenAI's chat completions: also OpenRouter, llama.cpp, vLLM and every other host that speaks it.

Request ── encode ──► HttpCall          Request.extra goes back to where the surface found it
HttpReply ── decode ─► Outcome          any status; errors inside a 200 are failures
bytes ── decoder ────► Delta… Outcome   over any cuts
"""

from __future__ import annotations

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.openai.decode import decode_chat, decode_embed, decode_models
from runtime.dialects.openai.encode import NAME, encode_chat, encode_embed, get_models
from runtime.dialects.openai.stream import OpenAIStream
from runtime.outcome import Embeddings, Failure, Outcome
from runtime.request import EmbedRequest, Request


class OpenAI:
    """The dialect. How hosts and models differ is data: `openai.quirks`."""

    name = NAME
    json_streams = False

    def encode(self, request: Request, target: Target) -> HttpCall | Failure:
        return encode_chat(request, target)

    def decode(self, reply: HttpReply, target: Target) -> Outcome:
        return decode_chat(reply, target)

    def decoder(self, target: Target) -> OpenAIStream:
        return OpenAIStream(target)

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
        listed = decode_models(reply, target)
        return listed if isinstance(listed, Failure) else None
