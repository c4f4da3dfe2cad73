"""Google's Gemini API: `generateContent`, its stream, embeddings and the list of models, in v1beta and v1.

Request ── encode ──► HttpCall          the key in a header, the model and the method in the address
HttpReply ── decode ─► Outcome          one object, or the array that a stream without `alt=sse` is
bytes ── decoder ────► Delta… Outcome   events with CRLF, or such an array, over any cuts
body ── parse_request ► Request         camel or snake case
"""

from __future__ import annotations

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.encoding import get
from runtime.dialects.google.decode import decode_chat, decode_health, decode_models
from runtime.dialects.google.embed import decode_embed, encode_embed, parse_embed
from runtime.dialects.google.encode import encode_chat, headers_of
from runtime.dialects.google.parse import parse_request
from runtime.dialects.google.parts import NAME
from runtime.dialects.google.stream import GoogleStream
from runtime.outcome import Embeddings, Failure, Outcome
from runtime.request import EmbedRequest, Request

__all__ = ["NAME", "Google", "parse_embed", "parse_request"]


class Google:
    """The dialect. How versions of the API and families of models differ is data: `google.families`."""

    name = NAME
    json_streams = True

    def encode(self, request: Request, target: Target) -> HttpCall | Failure:
        return encode_chat(request, target)

    def decode(self, reply: HttpReply, target: Target) -> Outcome:
        return decode_chat(reply, target)

    def decoder(self, target: Target) -> GoogleStream:
        return GoogleStream(target)

    def encode_embed(self, request: EmbedRequest, target: Target) -> HttpCall | Failure:
        return encode_embed(request, target)

    def decode_embed(self, reply: HttpReply, target: Target) -> Embeddings | Failure:
        return decode_embed(reply, target)

    def list_models(self, target: Target) -> HttpCall | Failure:
        return get(target, "models?pageSize=1000", headers_of(target))

    def decode_models(self, reply: HttpReply, target: Target) -> tuple[str, ...] | Failure:
        return decode_models(reply, target)

    def health(self, target: Target) -> HttpCall | Failure:
        return get(target, "models?pageSize=1", headers_of(target))

    def decode_health(self, reply: HttpReply, target: Target) -> Failure | None:
        return decode_health(reply, target)
