"""One provider, called from where the request already is: a dialect, a transport, a door and the books.

    admit (gate) ─► encode (dialect) ─► send (transport) ─► decode (dialect) ─► settle (gate, load, observations)

Settling happens whatever comes: the outcome starts as CANCELLED, which is what a client that hangs up leaves
behind, and is nobody's fault. For a stream it happens after the last chunk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from runtime.breaker import Permit, Refusal
from runtime.catalog import Catalog, ModelInfo
from runtime.dialects.base import ChunkDecoder, Dialect, HttpCall, HttpReply, Target
from runtime.faults import failure_of
from runtime.feed import Observations
from runtime.gate import AskAuthority, Ticket
from runtime.outcome import (
    Completion,
    Delta,
    Embeddings,
    Failure,
    FailureKind,
    Outcome,
    StreamEnd,
    StreamEvent,
    StreamStart,
    ToolCallDelta,
)
from runtime.price import CostEstimate, cost_of, estimate
from runtime.reports import HealthReport, ProviderStatus, UsagePeriod, UsageReport
from runtime.request import EmbedRequest, Request, Sampling
from runtime.standing import Standing, Vitals
from runtime.transport.base import Fault, HttpStream, Limits, Transport
from runtime.usage import UsageBook


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """A provider's settings as its shell needs them. `defaults` fill what a request leaves open."""

    target: Target
    limits: Limits = Limits()
    defaults: Sampling = Sampling()
    max_in_flight: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """What a shell has of the outer world: monotonic seconds, seconds since the epoch."""

    clock: Callable[[], float]
    wall: Callable[[], float]


Answer = TypeVar("Answer", Completion, Embeddings)

AskPermit = Callable[[], Awaitable[Permit | Refusal | None]]
"""Asks the provider's authority for leave to probe; None if it is out of reach."""


async def nobody_to_ask() -> None:
    """The `AskPermit` of a provider without an actor: its own breaker is all there is."""


@dataclass(slots=True)
class _Opened:
    """A stream that has shown its first content: no other provider can take over any more."""

    stream: HttpStream
    decoder: ChunkDecoder
    held: list[Delta]
    ttft_s: float


@dataclass(slots=True)
class EdgeProvider:
    """Implements `Upstream` over a dialect and a transport. Belongs to one event loop."""

    spec: ProviderSpec
    dialect: Dialect
    transport: Transport
    catalog: Catalog
    standing: Standing
    observations: Observations
    senses: Senses
    ask_permit: AskPermit = nobody_to_ask
    on_change: Callable[[], None] = lambda: None
    _book: UsageBook = field(default_factory=UsageBook)
    _listed: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        return self.spec.target.provider

    def vitals(self, model: str, now: float) -> Vitals:
        return self.standing.vitals(model, now)

    async def initialize(self) -> None:
        """Nothing to do: connections open with the first call."""

    async def complete(self, request: Request) -> Outcome:
        begun = self.senses.clock()
        ticket = await self._admit(request.model, begun)
        if isinstance(ticket, Failure):
            return ticket
        outcome: Outcome = self._failed(FailureKind.CANCELLED, request.model, "the caller went away")
        self.standing.load.begin()
        try:
            outcome = await self._exchange(request)
        finally:
            outcome = self._settle(ticket, request.model, outcome, begun)
        return outcome

    async def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        begun = self.senses.clock()
        ticket = await self._admit(request.model, begun)
        if isinstance(ticket, Failure):
            yield StreamEnd(outcome=ticket)
            return
        outcome: Outcome = self._failed(FailureKind.CANCELLED, request.model, "the caller went away")
        ttft_s: float | None = None
        self.standing.load.begin()
        try:
            call = self._encode(replace(request, stream=True))
            opened = call if isinstance(call, Failure) else await self._open(call, request, begun)
            if isinstance(opened, _Opened):
                ttft_s = opened.ttft_s
                self._first_content(ticket, request.model)
                try:
                    yield self._start(opened.decoder, call, request)
                    for delta in opened.held:
                        yield delta
                    while True:
                        step = await self._read(opened.stream, opened.decoder, request.model)
                        if not isinstance(step, list):
                            outcome = self._named(step, request.model, call)
                            break
                        for delta in step:
                            yield delta
                finally:
                    await opened.stream.close()
            elif isinstance(opened, Completion):
                # The provider answered a stream's request in one piece.
                outcome = self._named(opened, request.model, call)
                yield self._start(opened, call, request)
                for delta in _deltas(opened):
                    yield delta
            else:
                outcome = opened
        finally:
            outcome = self._settle(ticket, request.model, outcome, begun, ttft_s=ttft_s)
        yield StreamEnd(outcome=outcome)

    async def embed(self, request: EmbedRequest) -> Embeddings | Failure:
        begun = self.senses.clock()
        ticket = await self._admit(request.model, begun)
        if isinstance(ticket, Failure):
            return ticket
        outcome: Embeddings | Failure = self._failed(FailureKind.CANCELLED, request.model, "the caller went away")
        self.standing.load.begin()
        try:
            target = self._target(request.model)
            call = self.dialect.encode_embed(request, target)
            if isinstance(call, Failure):
                outcome = call
            else:
                reply = await self.transport.send(call, self._limits(request.deadline_s))
                outcome = (
                    failure_of(reply, provider=self.name, model=request.model)
                    if isinstance(reply, Fault)
                    else self.dialect.decode_embed(reply, target)
                )
        finally:
            outcome = self._settle(ticket, request.model, outcome, begun)
        return outcome

    async def health_check(self) -> HealthReport:
        begun = self.senses.clock()
        call = self.dialect.health(self._target(""))
        reply = call if isinstance(call, Failure) else await self._ask(call)
        failure = reply if isinstance(reply, Failure) else None
        if isinstance(reply, HttpReply):
            listed = self.dialect.decode_models(reply, self._target(""))
            failure = listed if isinstance(listed, Failure) else None
        return HealthReport(
            provider=self.name,
            healthy=failure is None,
            latency_s=self.senses.clock() - begun,
            detail="" if failure is None else str(failure),
            at_s=self.senses.wall(),
        )

    async def estimate_cost(self, request: Request) -> CostEstimate | Failure:
        return estimate(self._with_defaults(request), self.catalog.info(self.name, request.model))

    async def list_models(self) -> tuple[ModelInfo, ...]:
        if self._listed is None:
            call = self.dialect.list_models(self._target(""))
            reply = call if isinstance(call, Failure) else await self._ask(call)
            listed = reply if isinstance(reply, Failure) else self.dialect.decode_models(reply, self._target(""))
            # A provider that cannot be asked now has still the models of its settings; ask again next time.
            self._listed = None if isinstance(listed, Failure) else listed
        return self.catalog.models(self.name, also=self._listed or ())

    async def model_info(self, model: str) -> ModelInfo | None:
        return self.catalog.info(self.name, model)

    async def validate_model(self, model: str) -> bool:
        return any(info.model == model for info in await self.list_models())

    async def status(self) -> ProviderStatus:
        now = self.senses.clock()
        standing = self.standing
        return ProviderStatus(
            provider=self.name,
            available=standing.gate.retry_in_s(now) <= 0.0,
            breaker=standing.gate.why(now),
            in_flight=standing.load.in_flight,
            retry_in_s=standing.gate.retry_in_s(now),
            latency_s=standing.load.latency_s.value,
        )

    async def usage(self, period: UsagePeriod = "day") -> UsageReport:
        return self._book.report(period, self.senses.wall())

    async def metrics(self) -> Mapping[str, float]:
        report = await self.usage("all")
        return {
            "requests": report.requests,
            "errors": report.errors,
            "in_flight": self.standing.load.in_flight,
            "latency_s": self.standing.load.latency_s.value or 0.0,
        }

    async def clear_cache(self) -> int:
        forgotten, self._listed = len(self._listed or ()), None
        return forgotten

    async def close(self) -> None:
        await self.transport.close()

    # How a call goes.

    async def _admit(self, model: str, now: float) -> Ticket | Failure:
        gate = self.standing.gate
        limit = self.spec.max_in_flight
        if limit is not None and self.standing.load.in_flight >= limit:
            return self._failed(FailureKind.REFUSED, model, f"{self.name} has {limit} calls in flight, its limit")
        admitted = gate.admit(now)
        if isinstance(admitted, AskAuthority):
            admitted = gate.granted(admitted, await self.ask_permit(), self.senses.clock())
        if isinstance(admitted, Refusal):
            detail = f"{self.name} is {gate.why(now)} and is not asked for {admitted.retry_in_s:.1f} s"
            failure = self._failed(FailureKind.REFUSED, model, detail)
            return replace(failure, retry_after_s=admitted.retry_in_s)
        return admitted

    async def _exchange(self, request: Request) -> Outcome:
        call = self._encode(replace(request, stream=False))
        if isinstance(call, Failure):
            return call
        reply = await self.transport.send(call, self._limits(request.deadline_s))
        if isinstance(reply, Fault):
            return failure_of(reply, provider=self.name, model=request.model)
        return self._named(self.dialect.decode(reply, self._target(request.model)), request.model, call)

    async def _open(self, call: HttpCall, request: Request, begun: float) -> _Opened | Outcome:
        """Until the first content, an error, or the whole answer. Whoever takes an `_Opened` closes it."""
        limits = self._limits(request.deadline_s)
        stream = await self.transport.open(call, limits)
        if isinstance(stream, Fault):
            return failure_of(stream, provider=self.name, model=request.model)
        opened: _Opened | None = None
        try:
            if stream.status != 200 or "json" in stream.headers.get("content-type", "").partition(";")[0].split("/"):
                body = await stream.read_all()
                if isinstance(body, Fault):
                    return failure_of(body, provider=self.name, model=request.model)
                reply = HttpReply(status=stream.status, headers=stream.headers, body=body)
                return self.dialect.decode(reply, self._target(request.model))
            decoder = self.dialect.decoder(self._target(request.model))
            held: list[Delta] = []
            # Bytes alone are no sign of life: comments and empty deltas may come for ever.
            async with asyncio.timeout(limits.first_byte_s):
                while not any(delta.has_content for delta in held):
                    step = await self._read(stream, decoder, request.model)
                    if not isinstance(step, list):
                        return step
                    held += step
            opened = _Opened(stream, decoder, held, self.senses.clock() - begun)
        except TimeoutError:
            return self._failed(FailureKind.TIMED_OUT, request.model, f"{self.name} sent no content in time")
        else:
            return opened
        finally:
            if opened is None:
                await stream.close()

    async def _read(self, stream: HttpStream, decoder: ChunkDecoder, model: str) -> list[Delta] | Outcome:
        """The next deltas, or how the stream ended."""
        if decoder.ended:
            return decoder.finish()
        data = await stream.read()
        if isinstance(data, Fault):
            # What the stream said of itself explains more than how its connection broke.
            said = decoder.finish()
            fault = failure_of(data, provider=self.name, model=model)
            return said if isinstance(said, Failure) and said.kind is not FailureKind.INTERRUPTED else fault
        return list(decoder.feed(data)) if data else decoder.finish()

    async def _ask(self, call: HttpCall) -> HttpReply | Failure:
        reply = await self.transport.send(call, self._limits(10.0))
        return failure_of(reply, provider=self.name, model="") if isinstance(reply, Fault) else reply

    def _encode(self, request: Request) -> HttpCall | Failure:
        return self.dialect.encode(self._with_defaults(request), self._target(request.model))

    def _with_defaults(self, request: Request) -> Request:
        if self.spec.defaults == Sampling():
            return request
        asked, ours = request.sampling, self.spec.defaults
        filled = {name: getattr(ours, name) for name in Sampling.__slots__ if getattr(asked, name) in (None, ())}
        return replace(request, sampling=replace(asked, **filled))

    def _target(self, model: str) -> Target:
        return replace(self.spec.target, model=model)

    def _limits(self, deadline_s: float | None) -> Limits:
        limits = self.spec.limits
        return limits if deadline_s is None or deadline_s >= limits.total_s else replace(limits, total_s=deadline_s)

    # What became of it.

    def _start(self, said: ChunkDecoder | Completion, call: HttpCall | Failure, request: Request) -> StreamStart:
        return StreamStart(
            id=said.id,
            provider=self.name,
            model=said.model or request.model,
            created_s=int(self.senses.wall()),
            dropped=call.dropped if isinstance(call, HttpCall) else (),
            request_id=request.request_id,
        )

    def _named(self, outcome: Outcome, model: str, call: HttpCall | Failure) -> Outcome:
        """The outcome with what the reply alone does not say."""
        if isinstance(outcome, Failure):
            return outcome
        dropped = call.dropped if isinstance(call, HttpCall) else ()
        return replace(outcome, model=outcome.model or model, dropped=dropped)

    def _first_content(self, ticket: Ticket, model: str) -> None:
        """A probe has succeeded at the first content; a long stream must not keep the door."""
        if ticket.probe:
            self.standing.gate.settle(ticket, None, self.senses.clock())
            self.observations.probe_succeeded(self.name, model, spell=ticket.spell)
            self.on_change()

    def _settle(
        self, ticket: Ticket, model: str, outcome: Answer | Failure, begun: float, *, ttft_s: float | None = None
    ) -> Answer | Failure:
        """Close the books on one call: gate, load, observations, usage. Returns the outcome, priced and timed."""
        now = self.senses.clock()
        latency_s = now - begun
        gate = self.standing.gate
        failure = outcome if isinstance(outcome, Failure) else None
        self.standing.load.end(now, latency_s=None if failure else latency_s)
        urgent = gate.settle(ticket, failure, now)
        settled: Answer | Failure
        if isinstance(outcome, Failure):
            wait_s = outcome.retry_after_s
            if wait_s is None and outcome.kind is FailureKind.RATE_LIMITED:
                wait_s = gate.throttled_for_s(now)
            settled = replace(outcome, provider=self.name, model=outcome.model or model, retry_after_s=wait_s)
        else:
            info = self.catalog.info(self.name, model)
            cost = outcome.cost or cost_of(outcome.usage, info.pricing if info else None)
            settled = replace(outcome, provider=self.name, cost=cost, latency_s=latency_s)
            if ttft_s is not None and isinstance(settled, Completion):
                settled = replace(settled, ttft_s=ttft_s)
        self.observations.add(self.name, model, settled, spell=ticket.spell, latency_s=latency_s)
        self._book.add(self.name, model, settled, latency_s=latency_s, at_s=self.senses.wall())
        if urgent:
            self.on_change()
        return settled

    def _failed(self, kind: FailureKind, model: str, detail: str) -> Failure:
        return Failure(kind=kind, provider=self.name, model=model, detail=detail)


def _deltas(completion: Completion) -> list[Delta]:
    """A whole answer as the deltas of a stream."""
    return [
        Delta(
            choice=index,
            text=choice.text,
            reasoning=choice.reasoning,
            refusal=choice.refusal or "",
            tool_calls=tuple(
                ToolCallDelta(position=position, id=call.id, name=call.name, arguments=call.arguments)
                for position, call in enumerate(choice.tool_calls)
            ),
            finish_reason=choice.finish_reason,
            logprobs=choice.logprobs,
            extra=choice.extra,
        )
        for index, choice in enumerate(completion.choices)
    ]
