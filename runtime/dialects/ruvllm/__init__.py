"""ruvLLM's own server: one question in, one answer out, and nothing else.

    POST query   {query, session_id?} ──► {text, model_used, context_size, confidence, latency_ms}
    errors       500 with plain text
    GET health   ──► {status: "healthy", version}

It has no messages, no stream, no usage, no list of models, no embeddings and no choice of model. A conversation is
folded into the query (`ruvllm.transcript`); what cannot be folded is refused, what can be left out is named.
"""

from __future__ import annotations

from runtime.dialects.base import HttpCall, HttpReply, Target
from runtime.dialects.encoding import get
from runtime.dialects.plain import Plain
from runtime.dialects.ruvllm.decode import completion_of, decode_health, decode_query
from runtime.dialects.ruvllm.encode import NAME, encode_query, headers_of
from runtime.dialects.ruvllm.parse import parse_request
from runtime.dialects.whole import WholeReply
from runtime.outcome import Failure, Outcome
from runtime.request import Request

__all__ = ["NAME", "RuvLLM", "parse_request"]


class RuvLLM(Plain):
    """The dialect. `Target.options["session_id"]` continues a session that the server keeps."""

    name = NAME

    def encode(self, request: Request, target: Target) -> HttpCall | Failure:
        return encode_query(request, target)

    def decode(self, reply: HttpReply, target: Target) -> Outcome:
        return decode_query(reply, target)

    def decoder(self, target: Target) -> WholeReply:
        return WholeReply(target, completion_of)

    def health(self, target: Target) -> HttpCall | Failure:
        return get(target, "health", headers_of(target))

    def decode_health(self, reply: HttpReply, target: Target) -> Failure | None:
        return decode_health(reply, target)
