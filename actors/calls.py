"""The calls that an actor serves: the unified interface over an `Edge` of its own process.

Notebooks send a `Request` or the plain dict that they would send to OpenAI. Calls are admitted in bounds, wait for a
while if need be, and are refused as a value beyond that. A call names its `caller`, if that is tied to its process's
life (`actors.lifeline`): it ends with it. Everything here runs on the default concurrency group's loop.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from actors.clock import monotonic
from actors.edge import Edge
from actors.environment import node_id
from actors.lifeline import Callers
from runtime.admitted import Admitted
from runtime.assemble import Places
from runtime.catalog import ModelInfo
from runtime.dialects.openai_surface import parse_chat, parse_embed
from runtime.metrics.meter import CHAT, EMBEDDINGS
from runtime.outcome import Embeddings, Failure, Outcome, StreamEnd, StreamEvent
from runtime.price import CostEstimate
from runtime.provider import Provider
from runtime.reports import HealthReport, ProviderStatus, UsagePeriod, UsageReport
from runtime.request import EmbedRequest, Request
from runtime.request_span import request_span
from runtime.tracing import Trace

Timed = TypeVar("Timed", Request, EmbedRequest)
Came = TypeVar("Came", bound=Outcome | Embeddings)

Asked = Request | Mapping[str, Any]
"""A request, or the JSON body of an OpenAI chat completion as a dict."""

MOST_IN_FLIGHT, MOST_QUEUED = 1_500, 400
"""Whatever the settings say: Ray lets no more than 2,000 calls into an actor, and those for status are to get in."""


class ServesCalls(ABC):
    """Base of the actors that implement `Provider`. Subclasses say over which edge and which provider.

    `DOOR` is what requests are counted under that come in here; empty where they are not."""

    DOOR = ""

    def __init__(self) -> None:
        self._edge: Edge | None = None
        self._starting: asyncio.Task[Edge] | None = None
        self._places = Places(monotonic, random.Random(), most_in_flight=MOST_IN_FLIGHT, most_queued=MOST_QUEUED)
        self.received: Counter[str] = Counter()
        self._callers = Callers()

    @abstractmethod
    def _make_edge(self) -> Edge:
        """The edge over which this actor calls; made once, in the loop of the calls."""

    @abstractmethod
    def _provider_of(self, edge: Edge) -> Provider | Failure:
        """Who answers, as things stand now."""

    async def initialize(self) -> None:
        """Start the feed, so that the first call need not wait for it."""
        await self._ready_edge()

    async def complete(self, request: Asked, caller: str = "") -> Outcome:
        self.received["complete"] += 1
        with self._callers.call(caller):
            parsed = request if isinstance(request, Request) else parse_chat(request)
            if isinstance(parsed, Failure):
                return parsed
            with self._counting(parsed) as ending:
                provider = await self._provider()
                if isinstance(provider, Failure):
                    return ending.of(provider)
                return ending.of(await self._admitted(provider).complete(self._begun(ending, parsed)))

    async def stream(self, request: Asked, caller: str = "") -> AsyncGenerator[StreamEvent]:
        self.received["stream"] += 1
        with self._callers.call(caller):
            parsed = request if isinstance(request, Request) else parse_chat(request)
            if isinstance(parsed, Failure):
                yield StreamEnd(outcome=parsed)
                return
            with self._counting(parsed) as ending:
                provider = await self._provider()
                if isinstance(provider, Failure):
                    yield StreamEnd(outcome=ending.of(provider))
                    return
                async with aclosing(self._admitted(provider).stream(self._begun(ending, parsed))) as events:
                    async for event in events:
                        if isinstance(event, StreamEnd):
                            ending.of(event.outcome)
                        yield event

    async def embed(self, request: EmbedRequest | Mapping[str, Any], caller: str = "") -> Embeddings | Failure:
        self.received["embed"] += 1
        with self._callers.call(caller):
            parsed = request if isinstance(request, EmbedRequest) else _embed_request(request)
            if isinstance(parsed, Failure):
                return parsed
            with self._counting(parsed, EMBEDDINGS) as ending:
                provider = await self._provider()
                if isinstance(provider, Failure):
                    return ending.of(provider)
                return ending.of(await self._admitted(provider).embed(self._begun(ending, parsed)))

    async def lifeline(self, caller: str) -> None:
        """A call that does not return: `actors.lifeline` says what for."""
        await self._callers.lifeline(caller)

    async def tie(self, caller: str, line: list[Awaitable[object]]) -> None:
        """End this caller's calls when the owner of `line`, which stands in a list, has died."""
        await self._callers.tie(caller, line[0])

    async def health_check(self) -> HealthReport:
        return await (await self._must()).health_check()

    async def estimate_cost(self, request: Asked) -> CostEstimate | Failure:
        parsed = request if isinstance(request, Request) else parse_chat(request)
        return parsed if isinstance(parsed, Failure) else await (await self._must()).estimate_cost(parsed)

    async def list_models(self) -> tuple[ModelInfo, ...]:
        return await (await self._must()).list_models()

    async def model_info(self, model: str) -> ModelInfo | None:
        return await (await self._must()).model_info(model)

    async def validate_model(self, model: str) -> bool:
        return await (await self._must()).validate_model(model)

    async def status(self) -> ProviderStatus:
        return await (await self._must()).status()

    async def usage(self, period: UsagePeriod = "day") -> UsageReport:
        return await (await self._must()).usage(period)

    async def metrics(self) -> Mapping[str, float]:
        own = {f"calls.{method}": float(count) for method, count in self.received.items()}
        if (ours := self._places.queue) is not None:
            own |= {"admission.queued": ours.queued, "admission.waited": ours.waited, "admission.shed": ours.shed}
        return {**await (await self._must()).metrics(), **own}

    async def whereabouts(self) -> tuple[str, int]:
        """The node and the process id of this actor."""
        return node_id(), os.getpid()

    async def clear_cache(self) -> int:
        return await (await self._must()).clear_cache()

    async def close(self) -> None:
        """End the feed and all connections; the next call starts them again."""
        edge, self._edge = self._edge, None
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
        if edge is not None:
            await edge.stop()

    @contextmanager
    def _counting(self, request: Request | EmbedRequest, operation: str = "") -> Iterator[_Ending]:
        """Counts a request that came in by this actor's handle. One that has an id came in by a replica, which counts
        it; one behind the manager's handle the manager has."""
        ending = _Ending(monotonic(), operation or CHAT)
        try:
            yield ending
        finally:
            if self.DOOR and not request.request_id and self._edge is not None:
                took_s = monotonic() - ending.came
                self._edge.meter.served(self.DOOR, request.model, ending.outcome, took_s, operation=operation)
            self._traced(ending)

    def _begun(self, ending: _Ending, request: Timed) -> Timed:
        """The request as it is passed on: with a trace of its own, where there are traces and its caller has none."""
        passed = _since(ending.came, request)
        edge = self._edge
        traces = None if edge is None else edge.traces
        if traces is None or passed.trace is not None:
            return passed
        trace = traces.begin(None, ending.operation)
        ending.traced = trace, passed
        return replace(passed, trace=trace)

    def _traced(self, ending: _Ending) -> None:
        edge = self._edge
        if ending.traced is None or edge is None or edge.traces is None:
            return
        trace, request = ending.traced
        span = request_span(
            request,
            ending.outcome,
            trace=trace,
            parent_id="",
            began=ending.came,
            ended=monotonic(),
            surface=self.DOOR,
            operation=ending.operation,
            kind_of=edge.meter.labels.kind,
            content=edge.settings.traces.content,
        )
        edge.traces.tell(span)

    async def _ready_edge(self) -> Edge:
        if self._edge is not None:
            return self._edge
        # One that failed must not fail every call from then on.
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start_edge())
        return await asyncio.shield(self._starting)

    async def _start_edge(self) -> Edge:
        edge = self._make_edge()
        try:
            await edge.start()
        except BaseException:
            await edge.stop()
            raise
        self._edge = edge
        return edge

    async def _provider(self) -> Provider | Failure:
        return self._provider_of(await self._ready_edge())

    async def _must(self) -> Provider:
        provider = await self._provider()
        if isinstance(provider, Failure):
            provider.unwrap()
        return provider

    def _admitted(self, provider: Provider) -> Admitted:
        """The provider's calls, made once there is a place for them here."""
        if self._edge is None:
            raise RuntimeError("calls are admitted only after the edge has started")
        return Admitted(provider, self._places.under(self._edge.settings.admission))


@dataclass(slots=True)
class _Ending:
    """What a call came to, None if it was cancelled; and its trace with what was asked, if we began one."""

    came: float
    operation: str
    outcome: Outcome | Embeddings | None = None
    traced: tuple[Trace, Request | EmbedRequest] | None = None

    def of(self, outcome: Came) -> Came:
        self.outcome = outcome
        return outcome


def _since(came: float, request: Timed) -> Timed:
    """The request with a name, by which feedback on its answer can be given, and with what its wait for a place has
    left of its time."""
    if not request.request_id:
        request = replace(request, request_id=f"req_{secrets.token_hex(12)}")
    if request.deadline_s is None:
        return request
    return replace(request, deadline_s=max(0.0, request.deadline_s - (monotonic() - came)))


def _embed_request(body: Mapping[str, Any]) -> EmbedRequest | Failure:
    # The second value says how the vectors are to be written in JSON, which is not our business here.
    parsed = parse_embed(body)
    return parsed if isinstance(parsed, Failure) else parsed[0]
