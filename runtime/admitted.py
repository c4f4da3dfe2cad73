"""The calls of a provider, each made once there is a place for it. What waits there is told in the answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import NamedTuple, Protocol, TypeVar

from runtime.admission import Admission, Shed
from runtime.outcome import Completion, Embeddings, Failure, Outcome, StreamEnd, StreamEvent, StreamStart
from runtime.request import EmbedRequest, Request
from runtime.values import replace

Asked = TypeVar("Asked", Request, EmbedRequest)
Answer = TypeVar("Answer", Completion, Embeddings, StreamStart)


class Calls(Protocol):
    """What is waited for."""

    def complete(self, request: Request, /) -> Awaitable[Outcome]: ...
    def stream(self, request: Request, /) -> AsyncGenerator[StreamEvent]: ...
    def embed(self, request: EmbedRequest, /) -> Awaitable[Embeddings | Failure]: ...


class AtOnce(NamedTuple):
    """Calls that wait for nothing."""

    complete: Callable[[Request], Awaitable[Outcome]]
    stream: Callable[[Request], AsyncGenerator[StreamEvent]]
    embed: Callable[[EmbedRequest], Awaitable[Embeddings | Failure]]


class Admitted:
    """Answers as the provider does, or with the failure of one who was sent away. Tenants take turns.

    `provider` is named in such a failure where the places are its own.
    """

    def __init__(self, calls: Calls, admission: Admission, *, provider: str = "") -> None:
        self._calls = calls
        self._admission = admission
        self._provider = provider

    async def complete(self, request: Request) -> Outcome:
        entered = await self._admission.enter(request.tenant, deadline_s=request.deadline_s)
        if isinstance(entered, Shed):
            return self._sent_away(entered, request)
        try:
            outcome = await self._calls.complete(_less(request, entered.queue_s))
        finally:
            self._admission.leave(entered)
        return outcome if isinstance(outcome, Failure) else _told(outcome, entered.queue_s)

    async def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        entered = await self._admission.enter(request.tenant, deadline_s=request.deadline_s)
        if isinstance(entered, Shed):
            yield StreamEnd(outcome=self._sent_away(entered, request))
            return
        try:
            async with aclosing(self._calls.stream(_less(request, entered.queue_s))) as events:
                async for event in events:
                    if isinstance(event, StreamStart):
                        yield _told(event, entered.queue_s)
                    elif isinstance(event, StreamEnd) and isinstance(event.outcome, Completion):
                        yield StreamEnd(outcome=_told(event.outcome, entered.queue_s))
                    else:
                        yield event
        finally:
            self._admission.leave(entered)

    async def embed(self, request: EmbedRequest) -> Embeddings | Failure:
        entered = await self._admission.enter(request.tenant, deadline_s=request.deadline_s)
        if isinstance(entered, Shed):
            return self._sent_away(entered, request)
        try:
            outcome = await self._calls.embed(_less(request, entered.queue_s))
        finally:
            self._admission.leave(entered)
        return outcome if isinstance(outcome, Failure) else _told(outcome, entered.queue_s)

    def _sent_away(self, shed: Shed, request: Request | EmbedRequest) -> Failure:
        failure = shed.failure(model=request.model, provider=self._provider)
        return replace(failure, request_id=request.request_id)


def _less(request: Asked, queue_s: float) -> Asked:
    """The request with what its wait has left of its time."""
    if request.deadline_s is None or queue_s == 0.0:
        return request
    return replace(request, deadline_s=max(0.0, request.deadline_s - queue_s))


def _told(answer: Answer, queue_s: float) -> Answer:
    """Each queue on the way adds its own."""
    return replace(answer, queue_s=answer.queue_s + queue_s) if queue_s else answer
