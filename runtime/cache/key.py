"""Which requests may share an answer: those with the same key.

The key holds every field of a request that can change its answer, whose request it is, which models its payer may use,
and who could answer it under the settings of the moment (`runtime.eligible`). Left out are only those that say how the
answer travels: request id, deadline, limits, streaming, the words of older clients, what the provider may remember of
the prompt, what we may remember of the answer, who pays, and metadata, which providers store and models never see.
(The first system's key was messages, model, temperature and length: a request with tools got another provider's cached
text. Its hooks' key was the first 48 bytes.)
"""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Protocol, Self

import orjson

from runtime.request import Message, Request, Role, TextPart
from runtime.values import replace


class Content(Protocol):
    """A hash that is not at its end yet, as `hashlib` makes it."""

    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...
    def copy(self) -> Self: ...


_TRAVEL = frozenset(
    (
        *("request_id", "deadline_s", "limits", "stream", "stream_usage", "metadata", "cache", "legacy_functions"),
        *("no_store", "max_age_s", "only_if_cached", "cache_tags", "trace"),
    )
)
_WHOSE = frozenset(("tenant", "billing"))
_SAID = tuple(field.name for field in fields(Request) if field.name not in _TRAVEL | _WHOSE)


def key_of(request: Request, eligible: bytes = b"", content: Content | None = None) -> bytes:
    """Equal for requests that may share an answer, and for no others.

    `eligible` stands for all who could answer; `content` is the request's, for whoever knows it. Raises `TypeError` for
    a request that holds what no JSON can say.
    """
    digest = content_of(request) if content is None else content.copy()
    # What one key may not use it is not to be given, though another key of its tenant may.
    models = () if request.billing is None else request.billing.models
    digest.update(orjson.dumps((request.tenant, sorted(set(models)))))
    digest.update(eligible)
    return digest.digest()


def content_of(request: Request) -> Content:
    """What is asked, whoever asks it: the part of a key that takes the time. Raises `TypeError` as `key_of` does."""
    said = [getattr(request, name) for name in _SAID]
    return hashlib.sha256(orjson.dumps(said, default=_plain, option=orjson.OPT_SORT_KEYS))


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    return dict(value)  # type: ignore[call-overload]  # orjson knows all else that a request holds but mappings


def last_words(request: Request) -> str | None:
    """What the user said last, where the request ends with it and it is nothing but text; None for any other."""
    last = request.messages[-1] if request.messages else None
    if last is None or last.role is not Role.USER or last.extra or last.name or len(last.parts) != 1:
        return None
    (part,) = last.parts
    return part.text if isinstance(part, TextPart) and part == TextPart(part.text) else None


_UNSAID = Message(role=Role.USER)


def partition_of(request: Request, eligible: bytes = b"") -> bytes:
    """Equal for requests that differ in nothing but what the user said last."""
    return key_of(replace(request, messages=(*request.messages[:-1], _UNSAID)), b"apart" + eligible)
