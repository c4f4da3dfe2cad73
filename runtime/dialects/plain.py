"""A dialect that has words for text alone; those that say little more are made of it (`own`, `ruvllm`)."""

from __future__ import annotations

import orjson

from runtime.dialects.base import ChunkDecoder, HttpCall, HttpReply, Target
from runtime.dialects.encoding import get
from runtime.dialects.status import failure_of_reply, refused
from runtime.dialects.whole import WholeReply
from runtime.outcome import Embeddings, Failure, FailureKind, Outcome
from runtime.request import EmbedRequest, Json, Request


class Plain:
    """What answers text with text, and has nothing else: no embeddings, no list of models, no word for its health."""

    name = ""
    json_streams = False

    def encode(self, request: Request, target: Target) -> HttpCall | Failure:
        """The call for this request. What the API cannot say is refused, or named in `HttpCall.dropped`."""
        raise NotImplementedError

    def decode(self, reply: HttpReply, target: Target) -> Outcome:
        """The completion in a reply of any status, or why there is none."""
        raise NotImplementedError

    def decoder(self, target: Target) -> ChunkDecoder:
        return WholeReply(target, self._read)

    def _read(self, body: dict[str, Json], target: Target) -> Outcome:
        return self.decode(HttpReply(status=200, headers={}, body=orjson.dumps(body)), target)

    def encode_embed(self, request: EmbedRequest, target: Target) -> HttpCall | Failure:
        return cannot(target, "makes no embeddings; ask another provider for them")

    def decode_embed(self, reply: HttpReply, target: Target) -> Embeddings | Failure:
        return cannot(target, "makes no embeddings; ask another provider for them")

    def list_models(self, target: Target) -> HttpCall | Failure:
        return cannot(target, "does not list its models; name them in the settings")

    def decode_models(self, reply: HttpReply, target: Target) -> tuple[str, ...] | Failure:
        return cannot(target, "does not list its models; name them in the settings")

    def health(self, target: Target) -> HttpCall | Failure:
        return get(target, "", {})

    def decode_health(self, reply: HttpReply, target: Target) -> Failure | None:
        """Whoever answers at all is there; what stands at the root of an API nobody knows."""
        return failure_of_reply(reply, target) if reply.status >= 500 else None


def cannot(target: Target, what: str, *, param: str | None = None) -> Failure:
    return refused(target, FailureKind.UNSUPPORTED, f"{target.provider} {what}", param=param)
