"""What a caller is told when a request is not answered: an OpenAI error envelope, a status, headers."""

from __future__ import annotations

from runtime.dialects.openai_surface import render_error
from runtime.outcome import Failure, FailureKind
from serve.http import Exchange, Headers, encoded


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
    if exchange.started:
        return
    usual, said, body = render_error(failure)
    if failure.attempts:
        said["x-raygate-attempts"] = str(len(failure.attempts))
    await exchange.reply_json(status or usual, body, [*encoded(said), *(headers or [])])
