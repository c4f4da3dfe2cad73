"""What a surface is: the other side of a dialect, where clients speak to us as if we were that provider.

body ── Parse (`registry.PARSERS`) ──► Request | Failure
Completion ── render ──► body of a whole reply
StreamEvent ── renderer ──► bytes              an end mark after a completion only
Failure ── error ──► status, headers, body     in the envelope of this API

Without I/O, like dialects; `serve` does the HTTP.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from runtime.outcome import Completion, Failure, StreamEvent
from runtime.request import Json, Request


class ErrorReply(NamedTuple):
    """An error as HTTP carries it. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: Json


class StreamRenderer(Protocol):
    """One stream's events as bytes, in order. Use one for each stream."""

    def render(self, event: StreamEvent) -> list[bytes]:
        """The bytes of this event; each item is whole by itself. A `Failure` at the end is this API's error event,
        and no end mark follows: a client must not take a broken answer for a whole one."""
        ...

    def keep_alive(self) -> bytes:
        """Bytes that say nothing, for the time before the first token; empty where the API has no such thing."""
        ...


class Surface(Protocol):
    """One API as clients know it. Stateless; one instance serves everyone."""

    name: str
    stream_type: str
    """The content type of streams."""

    def render(self, completion: Completion, request: Request) -> Json:
        """The body of a whole reply."""
        ...

    def renderer(self, request: Request) -> StreamRenderer: ...

    def error(self, failure: Failure) -> ErrorReply: ...


def retry_headers(failure: Failure) -> dict[str, str]:
    """What an error's headers say of trying again, which we may have done already: so SDKs must not guess."""
    headers = {"x-should-retry": "true" if failure.client_retry else "false"}
    wait = failure.retry_after_s
    if wait is not None and math.isfinite(wait):
        wait = max(0.0, wait)
        headers["retry-after"] = str(math.ceil(wait))
        headers["retry-after-ms"] = str(math.ceil(wait * 1000))
    return headers


def sentence_of(failure: Failure) -> str:
    """What went wrong and whose words these are, for people."""
    named = not failure.provider or failure.detail.startswith(failure.provider)
    where = "" if named else f"{failure.provider}: "
    return f"{where}{failure.detail or f'the request failed ({failure.kind})'}"
