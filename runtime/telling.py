"""Events about one request, in words. Called only where somebody wants them."""

from __future__ import annotations

from runtime.balance.entry import Candidate
from runtime.events import (
    PROMPTS,
    AttemptEvent,
    Bus,
    CacheEvent,
    ErrorEvent,
    FallbackEvent,
    RequestEvent,
    ResponseEvent,
)
from runtime.outcome import CACHED, SHARED, Attempt, Failure, Outcome
from runtime.request import Request

_HAD = (CACHED, SHARED)


def tell_request(bus: Bus, request: Request) -> None:
    """A chat begins, as the hooks before it left it."""
    prompt = None
    if PROMPTS in bus.wanted:
        prompt = "\n".join(f"{message.role}: {message.text}" for message in request.messages)
    bus.tell(
        RequestEvent(
            at_s=bus.now(),
            source=bus.source,
            request_id=request.request_id,
            model=request.model,
            key=request.billing.account.key if request.billing is not None else "",
            tenant=request.tenant,
            dialect=request.dialect,
            streamed=request.stream,
            messages=len(request.messages),
            prompt=prompt,
        )
    )


def tell_outcome(bus: Bus, request: Request, outcome: Outcome, took_s: float, *, begun: bool = False) -> None:
    """What came of it. `begun`: some of a stream had gone already."""
    tries = outcome.attempts
    asked = sum(one.outcome not in _HAD for one in tries)
    if isinstance(outcome, Failure):
        bus.tell(
            ErrorEvent(
                at_s=bus.now(),
                source=bus.source,
                request_id=request.request_id,
                kind=outcome.kind.value,
                code=outcome.code or "",
                provider=outcome.provider,
                model=outcome.model,
                attempts=asked,
                took_s=took_s,
                begun=begun,
            )
        )
        return
    for one in tries:
        if one.outcome in _HAD:
            bus.tell(
                CacheEvent(
                    at_s=bus.now(),
                    source=bus.source,
                    request_id=request.request_id,
                    provider=one.provider,
                    model=one.model,
                    how=one.outcome,
                )
            )
    bus.tell(
        ResponseEvent(
            at_s=bus.now(),
            source=bus.source,
            request_id=request.request_id,
            provider=outcome.provider,
            model=outcome.model,
            finish_reason=outcome.finish_reason or "",
            input_tokens=outcome.usage.input_tokens,
            output_tokens=outcome.usage.output_tokens,
            cost_nanousd=None if outcome.cost is None else outcome.cost.total_nanousd,
            attempts=asked,
            took_s=took_s,
            streamed=request.stream,
        )
    )


def tell_attempt(bus: Bus, request_id: str, made: Attempt) -> None:
    bus.tell(
        AttemptEvent(
            at_s=bus.now(),
            source=bus.source,
            request_id=request_id,
            provider=made.provider,
            model=made.model,
            outcome=made.outcome,
            elapsed_s=made.elapsed_s,
        )
    )


def tell_fallback(bus: Bus, request_id: str, before: Candidate, after: Candidate, failure: Failure) -> None:
    bus.tell(
        FallbackEvent(
            at_s=bus.now(),
            source=bus.source,
            request_id=request_id,
            before=str(before),
            after=str(after),
            why=failure.kind.value,
        )
    )
