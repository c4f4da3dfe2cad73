"""A provider's API in one module of yours: `providers.NAME.dialect: my_module:MyDialect`, for kind `custom`.

    class Acme(Plain):
        def encode(self, request, target): ...     a Request, as the bytes that Acme takes
        def decode(self, reply, target): ...       Acme's bytes, as a Completion or a Failure

`Plain` answers for everything else that a dialect may be asked; override what your API has. A whole reply to a request
that wanted a stream is passed on as one piece. CONTRIBUTING.md has an example that a test follows.

Settings cross between processes, code does not: each process imports the module by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from importlib import import_module
from typing import cast

import orjson

from runtime.dialects.base import ChunkDecoder, Dialect, HttpCall, HttpReply, Target
from runtime.dialects.encoding import MARK, beyond_text, get, post
from runtime.dialects.registry import DIALECTS
from runtime.dialects.status import failure_of_reply, malformed, object_of, refused
from runtime.dialects.whole import WholeReply
from runtime.outcome import Embeddings, Failure, FailureKind, Outcome
from runtime.request import EmbedRequest, Json, Request, Role, TextPart

__all__ = ["BadDialect", "Plain", "find", "get", "malformed", "object_of", "post", "refused", "text_alone"]


class BadDialect(ValueError):
    """Why there is no such dialect, for whoever wrote the settings."""


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
        return _cannot(target, "makes no embeddings; ask another provider for them")

    def decode_embed(self, reply: HttpReply, target: Target) -> Embeddings | Failure:
        return _cannot(target, "makes no embeddings; ask another provider for them")

    def list_models(self, target: Target) -> HttpCall | Failure:
        return _cannot(target, "does not list its models; name them in the settings")

    def decode_models(self, reply: HttpReply, target: Target) -> tuple[str, ...] | Failure:
        return _cannot(target, "does not list its models; name them in the settings")

    def health(self, target: Target) -> HttpCall | Failure:
        return get(target, "", {})

    def decode_health(self, reply: HttpReply, target: Target) -> Failure | None:
        """Whoever answers at all is there; what stands at the root of an API nobody knows."""
        return failure_of_reply(reply, target) if reply.status >= 500 else None


def text_alone(request: Request, target: Target, *, carries: Collection[str] = ()) -> list[str] | Failure:
    """For an API of turns of text, and the fields that it `carries`: what of this request it has no place for, by name;
    a failure where the request would mean something else without it (pictures, tools, a schema)."""
    for position, message in enumerate(request.messages):
        if message.role is Role.TOOL or any(not isinstance(part, TextPart) for part in message.parts):
            return _cannot(target, "takes text alone; ask another provider", param=f"messages[{position}].content")
    if request.tools:
        return _cannot(target, "calls no tools; leave them out, or ask another provider", param="tools[0]")
    if request.response_format is not None and request.response_format.kind == "json_schema":
        return _cannot(target, "keeps to no JSON schema; ask another provider", param="response_format")
    return [
        *(name for name in beyond_text(request) if name not in carries),
        *(path for path in request.extra if not path.startswith(MARK)),
    ]


def find(name: str) -> Dialect:
    """The dialect of this name, or at this `module:Class`. Raises `BadDialect`."""
    if name in DIALECTS:
        return DIALECTS[name]
    module, colon, part = name.partition(":")
    if not colon:
        raise BadDialect(f"there is no dialect `{name}`; there are {', '.join(DIALECTS)}, and yours as module:Class")
    try:
        made = getattr(import_module(module), part)
        made = made() if inspect.isclass(made) else made
    except ModuleNotFoundError as error:
        raise BadDialect(
            f"`{name}` cannot be imported: there is no module `{error.name}`; is its folder on PYTHONPATH where "
            "Raygate was started?"
        ) from error
    except AttributeError as error:
        raise BadDialect(f"`{name}` cannot be imported: `{module}` has no `{part}`") from error
    except Exception as error:
        raise BadDialect(f"`{name}` cannot be made: {type(error).__name__} in `{module}`") from error
    if missing := [one for one in _ASKED if not callable(getattr(made, one, None))]:
        raise BadDialect(f"`{name}` has no `{missing[0]}`; make its class one of runtime.dialects.own:Plain")
    return cast(Dialect, made)


_ASKED = tuple(name for name, one in vars(Plain).items() if callable(one) and not name.startswith("_"))


def _cannot(target: Target, what: str, *, param: str | None = None) -> Failure:
    return refused(target, FailureKind.UNSUPPORTED, f"{target.provider} {what}", param=param)
