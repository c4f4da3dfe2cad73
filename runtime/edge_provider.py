"""One provider, called from where the request already is: a dialect, a transport, a door and the books.

    fit ─► encode (dialect) ─► admit (gate) ─► send (transport) ─► decode (dialect) ─► settle (gate, load, observations)

What a model cannot take (`fit`) or a dialect refuses to encode was never sent: it takes no permit, so it can neither
open nor close a door. After admission, settling happens whatever comes, for a stream after the last chunk. A caller
that goes away leaves CANCELLED behind, which is nobody's fault, and what was used till then is counted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

from runtime.admitted import Admitted, AtOnce, Calls
from runtime.balance.pace import Timings
from runtime.catalog import ModelInfo
from runtime.dialects.base import ChunkDecoder, Dialect, HttpCall, HttpReply, Target
from runtime.dialects.reading import NOT_REPORTED
from runtime.entrance import Asked, AskPermit, Entrance, ProviderSpec, Senses, nobody_to_ask
from runtime.faults import UNREACHED, failure_of
from runtime.fit import fit
from runtime.fold import deltas_of
from runtime.hold import hold
from runtime.ledger.books import NO_ENTRY, Entry
from runtime.models import Feature
from runtime.opening import Reading, open_stream
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
    Usage,
)
from runtime.price import CostEstimate, estimate
from runtime.reports import HealthReport, ProviderStatus, Shut, UsagePeriod, UsageReport, locked_of
from runtime.request import EmbedRequest, Request
from runtime.tokens import embed_tokens, estimate_usage, learn, usage_so_far
from runtime.transport.base import Fault, FaultKind, Limits, Transport
from runtime.values import replace

__all__ = ["AskPermit", "EdgeProvider", "ProviderSpec", "Senses", "nobody_to_ask"]

FAIR_S = 5.0
"""A call that its own request's deadline cut shorter than this, or than twice the usual time of an answer where that
is known, says nothing about the provider."""

FREE_CALL_S = 5.0
"""The time limit of calls that cost nothing: health and the list of models."""

LISTED_S = 3_600.0
NOT_LISTED_S = 30.0
"""How long a provider's list of models is taken for true, and how long it is not asked again after a failure."""


@dataclass(slots=True, kw_only=True)
class EdgeProvider(Entrance):
    """Implements `Upstream` over a dialect and a transport. Belongs to one event loop."""

    dialect: Dialect
    transport: Transport
    _listed: tuple[str, ...] = ()
    _list_again_at: float = -math.inf
    _listing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def initialize(self) -> None:
        """Nothing to do: connections open with the first call."""

    async def complete(self, request: Request) -> Outcome:
        return await self._calls(request.model).complete(request)

    def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        return self._calls(request.model).stream(request)

    async def embed(self, request: EmbedRequest) -> Embeddings | Failure:
        return await self._calls(request.model).embed(request)

    def _calls(self, model: str) -> Calls:
        """How calls are made now: where places are limited, each once it has one."""
        at_once = AtOnce(self._complete, self._stream, self._embed)
        queue = self.standing.queue
        # Nobody need wait in order to hear that the door is shut.
        model = model or self.catalog.default_model(self.name)
        if queue is None or self.standing.gate.retry_in_s(self.senses.clock(), model) > 0.0:
            return at_once
        return Admitted(at_once, queue, provider=self.name)

    async def _complete(self, request: Request) -> Outcome:
        begun = self.senses.clock()
        request = self._named(replace(request, stream=False) if request.stream else request)
        ready = await self._ready(self._encode, self._filled(request), begun)
        if isinstance(ready, Failure):
            return ready
        call, ticket, entry = ready
        beside = self.standing.beside(begun)
        outcome: Outcome
        try:
            limits = self._limits(request, begun)
            reply = await self.transport.send(call, limits)
            if isinstance(reply, Fault):
                outcome = self._faulted(reply, request, limits, entry)
            else:
                decoded = self.dialect.decode(reply, self._target(request.model))
                outcome = self._completed(decoded, request, call)
        except Exception as error:  # a bug; the caller gets a value all the same
            outcome = self._broken(error, request.model)
        except BaseException as gone:  # the caller went away
            entry.left(gone)
            outcome = self._given_up(request)
            raise
        finally:
            settled = self._settle(ticket, entry, request.model, outcome, self.senses.clock() - begun, beside=beside)
        if entry.waits:
            await entry.acknowledged()
        return settled

    async def _stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        begun = self.senses.clock()
        request = self._named(request if request.stream else replace(request, stream=True))
        ready = await self._ready(self._encode, self._filled(request), begun)
        if isinstance(ready, Failure):
            yield StreamEnd(outcome=ready)
            return
        call, ticket, entry = ready
        outcome: Outcome
        reading: Reading | None = None
        spent_s = 0.0
        ttft_s: float | None = None
        # Tickets of one spell are equal, calls are not.
        call_id = object()
        beside = self.standing.asks(request.model, call_id, begun)
        try:
            limits = self._patient(self._limits(request, begun), request.model)
            opened = await open_stream(
                call,
                dialect=self.dialect,
                transport=self.transport,
                target=self._target(request.model),
                limits=limits,
                clock=self.senses.clock,
                faulted=lambda fault: self._faulted(fault, request, limits, entry),
            )
            spent_s = self.senses.clock() - begun
            if isinstance(opened, Reading):
                reading = opened
                async with reading:
                    ttft_s = spent_s
                    self.standing.hears(request.model, call_id)
                    self._began(ticket, request.model, Timings(begun=1, ttft_s=ttft_s, load=beside))
                    self._first_content(ticket, request.model)
                    yield self._start(reading.decoder, call, request)
                    for delta in reading.held:
                        yield delta
                    while isinstance(step := await reading.read(), list):
                        for delta in step:
                            yield delta
                    outcome = self._completed(step, request, call)
            elif isinstance(opened, Completion):
                # The provider answered a stream's request in one piece, or without any content.
                outcome = self._completed(opened, request, call)
                yield self._start(opened, call, request)
                for delta in _deltas(opened):
                    yield delta
            else:
                outcome = opened
        except Exception as error:  # a bug; the stream has an end all the same
            outcome = self._broken(error, request.model)
        except BaseException as gone:  # the caller went away
            entry.left(gone)
            outcome = self._given_up(request)
            raise
        finally:
            self.standing.hears(request.model, call_id)
            spent_s += 0.0 if reading is None else reading.waited_s
            counted = self._counted(outcome, request, reading)
            settled = self._settle(ticket, entry, request.model, counted, spent_s, ttft_s=ttft_s, beside=beside)
        if entry.waits:
            await entry.acknowledged()
        yield StreamEnd(outcome=settled)

    async def _embed(self, request: EmbedRequest) -> Embeddings | Failure:
        begun = self.senses.clock()
        request = self._named(request)
        ready = await self._ready(self.dialect.encode_embed, request, begun)
        if isinstance(ready, Failure):
            return ready
        call, ticket, entry = ready
        beside = self.standing.beside(begun)
        outcome: Embeddings | Failure
        try:
            limits = self._limits(request, begun)
            reply = await self.transport.send(call, limits)
            if isinstance(reply, Fault):
                outcome = self._faulted(reply, request, limits, entry)
            else:
                outcome = self.dialect.decode_embed(reply, self._target(request.model))
                if isinstance(outcome, Embeddings) and outcome.usage == NOT_REPORTED:
                    outcome = replace(outcome, usage=Usage(input_tokens=embed_tokens(request), estimated=True))
        except Exception as error:  # a bug; the caller gets a value all the same
            outcome = self._broken(error, request.model)
        except BaseException as gone:  # the caller went away
            entry.left(gone)
            outcome = self._given_up(request)
            raise
        finally:
            settled = self._settle(ticket, entry, request.model, outcome, self.senses.clock() - begun, beside=beside)
        if entry.waits:
            await entry.acknowledged()
        return settled

    async def health_check(self) -> HealthReport:
        begun = self.senses.clock()
        key = self.standing.gate.keys.look("", begun)
        failure = await self.free_call(key if isinstance(key, str) else "")
        return HealthReport(
            provider=self.name,
            healthy=failure is None,
            latency_s=self.senses.clock() - begun,
            detail="" if failure is None else str(failure),
            at_s=self.senses.wall(),
        )

    async def free_call(self, key: str = "") -> Failure | None:
        """What a call that costs nothing finds wrong; None if nothing. `key` is the fingerprint of the key to use."""
        target = self._target("")
        if key in self._keys:
            target = replace(target, api_key=self._keys[key].secret)
        call = self.dialect.health(target)
        reply = call if isinstance(call, Failure) else await self._ask(call)
        return reply if isinstance(reply, Failure) else self.dialect.decode_health(reply, target)

    async def estimate_cost(self, request: Request) -> CostEstimate | Failure:
        request = self._filled(self._named(request))
        info = self.catalog.info(self.name, request.model)
        return replace(estimate(request, info, self.ratios), bound_nanousd=hold(request, info))

    async def list_models(self) -> tuple[ModelInfo, ...]:
        # One asks; who comes meanwhile waits for what it learns.
        async with self._listing:
            if self.senses.clock() >= self._list_again_at:
                await self._list()
        return self.catalog.models(self.name, also=self._listed)

    async def model_info(self, model: str) -> ModelInfo | None:
        return self.catalog.info(self.name, model)

    async def validate_model(self, model: str) -> bool:
        return any(info.model == model for info in await self.list_models())

    async def status(self) -> ProviderStatus:
        now = self.senses.clock()
        standing = self.standing
        gate = standing.gate
        whole = gate.whole(now)
        retry_in_s = max(whole.wait_s, gate.keys.retry_in_s("", now))
        return ProviderStatus(
            provider=self.name,
            available=retry_in_s <= 0.0 and not self.spec.not_yet,
            breaker=whole.why,
            models={name: Shut(state=one.why, retry_in_s=one.wait_s) for name, one in gate.shut(now).items()},
            keys=locked_of(gate.keys.states(now)),
            in_flight=standing.load.in_flight,
            max_in_flight=self.spec.max_in_flight,
            queued=standing.queue.queued if standing.queue else 0,
            retry_in_s=retry_in_s,
            latency_s=standing.load.latency_s.value,
            detail=self.spec.not_yet,
            prices_as_of=self.catalog.prices_as_of(self.name),
        )

    async def usage(self, period: UsagePeriod = "day") -> UsageReport:
        return self._book.report(period, self.senses.wall())

    async def metrics(self) -> Mapping[str, float]:
        report = await self.usage("all")
        load = self.standing.load
        counted = {"requests": report.requests, "errors": report.errors, "in_flight": load.in_flight}
        latency_s = load.latency_s.value
        return counted if latency_s is None else {**counted, "latency_s": latency_s}

    async def clear_cache(self) -> int:
        forgotten = len(self._listed)
        self._listed, self._list_again_at = (), -math.inf
        return forgotten

    async def close(self) -> None:
        await self.transport.close()

    # How a call goes.

    def _named(self, request: Asked) -> Asked:
        """Without a model's name, the default of this provider is meant."""
        return request if request.model else replace(request, model=self.catalog.default_model(self.name))

    def _encode(self, request: Request, target: Target) -> HttpCall | Failure:
        """The call for as much of the request as the model takes."""
        fitted = fit(request, self.catalog.info(self.name, request.model))
        if isinstance(fitted, Failure):
            return fitted
        call = self.dialect.encode(fitted.request, target)
        if isinstance(call, Failure) or not fitted.dropped:
            return call
        return replace(call, dropped=tuple(dict.fromkeys((*fitted.dropped, *call.dropped))))

    async def _ask(self, call: HttpCall) -> HttpReply | Failure:
        limits = self.spec.limits
        reply = await self.transport.send(call, replace(limits, total_s=min(limits.total_s, FREE_CALL_S)))
        return failure_of(reply, provider=self.name, model="") if isinstance(reply, Fault) else reply

    async def _list(self) -> None:
        call = self.dialect.list_models(self._target(""))
        reply = call if isinstance(call, Failure) else await self._ask(call)
        listed = reply if isinstance(reply, Failure) else self.dialect.decode_models(reply, self._target(""))
        known = not isinstance(listed, Failure)
        # A provider that cannot be asked now has still the models of its settings, and those that it listed before.
        self._listed = self._listed if isinstance(listed, Failure) else listed
        self._list_again_at = self.senses.clock() + (LISTED_S if known else NOT_LISTED_S)

    def _patient(self, limits: Limits, model: str) -> Limits:
        """A model that cannot stream sends nothing before it has finished."""
        info = self.catalog.info(self.name, model)
        streams = info is None or info.has(Feature.STREAMING) is not False
        return limits if streams else replace(limits, first_byte_s=limits.total_s, between_s=limits.total_s)

    def _allowed(self, request: Request | EmbedRequest) -> Limits:
        """What one call may take: the provider's own limits, and in their place those of the request's route."""
        limits, said = self.spec.limits, None if isinstance(request, EmbedRequest) else request.limits
        if said is None:
            return limits
        return Limits(
            connect_s=limits.connect_s if said.connect_s is None else said.connect_s,
            first_byte_s=limits.first_byte_s if said.first_token_s is None else said.first_token_s,
            between_s=limits.between_s if said.between_tokens_s is None else said.between_tokens_s,
            total_s=limits.total_s if said.total_s is None else said.total_s,
            min_tokens_per_s=limits.min_tokens_per_s if said.min_tokens_per_s is None else said.min_tokens_per_s,
        )

    def _limits(self, request: Request | EmbedRequest, begun: float) -> Limits:
        """What it may take, cut to what is left of the request's time."""
        limits = self._allowed(request)
        if request.deadline_s is None:
            return limits
        left_s = max(0.0, request.deadline_s - (self.senses.clock() - begun))
        return limits if left_s >= limits.total_s else replace(limits, total_s=left_s)

    # What became of it.

    def _start(self, said: ChunkDecoder | Completion, call: HttpCall, request: Request) -> StreamStart:
        return StreamStart(
            id=said.id,
            provider=self.name,
            model=said.model or request.model,
            created_s=int(self.senses.wall()),
            dropped=call.dropped,
            request_id=request.request_id,
        )

    def _completed(self, outcome: Outcome, request: Request, call: HttpCall) -> Outcome:
        """The outcome with what the reply alone does not say."""
        if isinstance(outcome, Failure):
            return outcome
        usage = outcome.usage
        if usage.estimated and usage == NOT_REPORTED:
            usage = self._bounded(estimate_usage(request, outcome, self.ratios), request)
        else:
            learn(self.ratios, request, outcome)
        return replace(outcome, model=outcome.model or request.model, usage=usage, dropped=call.dropped)

    def _faulted(self, fault: Fault, request: Request | EmbedRequest, limits: Limits, entry: Entry) -> Failure:
        if (fault.kind in UNREACHED or entry.connecting) and entry is not NO_ENTRY:
            entry.unsent = True
        failure = failure_of(fault, provider=self.name, model=request.model)
        if fault.kind is not FaultKind.TOTAL_TIMEOUT or limits.total_s >= self._allowed(request).total_s:
            return failure
        usual_s = self.standing.vitals(request.model, self.senses.clock()).latency_s
        if limits.total_s >= (FAIR_S if usual_s is None else 2.0 * usual_s):
            return failure
        detail = f"the request had {limits.total_s:.1f} s left, in which {self.name} did not finish; allow more"
        return replace(failure, kind=FailureKind.DEADLINE_EXCEEDED, detail=detail)

    def _given_up(self, request: Request | EmbedRequest) -> Failure:
        """What a caller leaves that goes away before the end: the provider has had the question at least."""
        return replace(
            self._failed(FailureKind.CANCELLED, request.model, "the caller went away"), usage=self.least(request)
        )

    def _counted(self, outcome: Outcome, request: Request, reading: Reading | None) -> Outcome:
        """A stream that was given up or broke off has used all the same what it had said by then."""
        broken = isinstance(outcome, Failure) and outcome.kind is not FailureKind.INTERNAL
        if not broken or reading is None:
            return outcome
        return replace(
            outcome, usage=self._bounded(usage_so_far(request, reading.decoder.so_far(), self.ratios), request)
        )


def _deltas(completion: Completion) -> list[Delta]:
    """A whole answer as the deltas of a stream."""
    return [delta for index, choice in enumerate(completion.choices) for delta in deltas_of(index, choice)]
