"""The calls of one caller within his rates: requests and tokens a minute, requests at one time.

A request takes its tokens before they are known, and is settled with those that it used. What money it costs is
reserved where its attempts are made.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from actors.till import Till
from runtime.admitted import Calls
from runtime.ledger.accounts import Pass
from runtime.ledger.purse import Reservation
from runtime.ledger.rate_headers import rate_headers
from runtime.outcome import Embeddings, Failure, Outcome, StreamEnd, StreamEvent
from runtime.price import ASSUMED_OUTPUT_TOKENS
from runtime.request import EmbedRequest, Request
from runtime.tokens import embed_tokens, estimate_tokens
from runtime.values import replace
from serve.http import Headers, encoded


class Metered:
    """Answers as `calls` do, or with the failure of one who asks too much."""

    def __init__(self, calls: Calls, till: Till, pass_: Pass) -> None:
        self._calls = calls
        self._till = till
        self._pass = pass_

    def headers(self) -> Headers:
        """How much of his rates the caller has left."""
        return encoded(rate_headers(self._till.rates(self._pass)))

    async def complete(self, request: Request) -> Outcome:
        tokens = _expected(request)
        taken = await self._till.request(self._pass, tokens)
        if isinstance(taken, Failure):
            return _refused(taken, request)
        try:
            outcome = await self._calls.complete(request)
            tokens = _used(outcome)
        finally:
            self._settle(taken, tokens)
        return outcome

    async def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        tokens = _expected(request)
        taken = await self._till.request(self._pass, tokens)
        if isinstance(taken, Failure):
            yield StreamEnd(outcome=_refused(taken, request))
            return
        try:
            async with aclosing(self._calls.stream(request)) as events:
                async for event in events:
                    if isinstance(event, StreamEnd):
                        tokens = _used(event.outcome)
                    yield event
        finally:
            self._settle(taken, tokens)

    async def embed(self, request: EmbedRequest) -> Embeddings | Failure:
        tokens = embed_tokens(request)
        taken = await self._till.request(self._pass, tokens)
        if isinstance(taken, Failure):
            return _refused(taken, request)
        try:
            found = await self._calls.embed(request)
            tokens = _used(found)
        finally:
            self._settle(taken, tokens)
        return found

    def _settle(self, taken: Reservation | None, tokens: int) -> None:
        if taken is not None:
            self._till.settle(taken, 0, tokens)


def _expected(request: Request) -> int:
    """What a request may come to; what it came to is known at its end."""
    longest = request.sampling.max_tokens
    each = ASSUMED_OUTPUT_TOKENS if longest is None else min(longest, ASSUMED_OUTPUT_TOKENS)
    return estimate_tokens(request) + request.choices * each


def _used(outcome: Outcome | Embeddings) -> int:
    return outcome.usage.total_tokens if outcome.usage is not None else 0


def _refused(failure: Failure, request: Request | EmbedRequest) -> Failure:
    return replace(failure, model=request.model, request_id=request.request_id)
