"""What a caller is told when a request is not answered: an error in the envelope of the API that was asked."""

from __future__ import annotations

from dataclasses import replace

import orjson

from runtime.outcome import SHARED, Failure, FailureKind
from serve.http import JSON, Exchange, Headers, encoded

TEXT = (b"content-type", b"text/plain; charset=utf-8")


class Refused(Exception):  # a decision, not an error
    """Ends a request with this failure. `status` where HTTP has a more exact one than the failure's kind."""

    def __init__(
        self,
        kind: FailureKind,
        detail: str,
        *,
        status: int | None = None,
        code: str | None = None,
        headers: Headers | None = None,
    ) -> None:
        super().__init__(detail)
        self.failure = Failure(kind=kind, detail=detail, code=code)
        self.status = status
        self.headers = headers or []


async def answer_failure(
    exchange: Exchange, failure: Failure, *, status: int | None = None, headers: Headers | None = None
) -> None:
    """Answer with an error; where an answer has begun already, there is nothing left to say."""
    exchange.outcome = failure
    if exchange.started:
        return
    usual, said, body = exchange.surface.error(replace(failure, request_id=exchange.request_id))
    named = encoded(said)
    if failure.attempts:
        shared = any(one.outcome == SHARED for one in failure.attempts)
        named.append((b"x-raygate-attempts", b"%d" % (len(failure.attempts) - shared)))
        if shared:
            named.append((b"x-raygate-cache", b"shared"))
    plain = isinstance(body, str)
    content = body.encode() if isinstance(body, str) else orjson.dumps(body)
    await exchange.reply(status or usual, content, [TEXT if plain else JSON, *named, *(headers or [])])
