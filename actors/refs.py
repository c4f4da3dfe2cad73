"""What callers hold instead of actor handles: beside `lifeline`, the one module that says `.remote`.

A ref finds its actor by name, and again after the actor was killed and made anew (an old handle of it stays dead
for ever). It turns a dead actor into `Failure(UNAVAILABLE)`, gives every call a time limit, and cancels in the
actor what its caller abandons: in Ray, dropping an `await` or a stream stops nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError, TaskCancelledError

from actors.clock import monotonic
from actors.lifeline import TIED, Lifeline
from actors.names import LOCAL_MODEL, MANAGER, NAMESPACE, provider_actor
from runtime.balance.pace import Timings, batch_of
from runtime.breaker import Permit, Refusal
from runtime.cache.answers import Forget
from runtime.catalog import ModelInfo
from runtime.events import Event, Wish
from runtime.feed import EdgeReport, Exchange, Published, Snapshot
from runtime.gate import Gate
from runtime.metrics.sums import Family
from runtime.outcome import Embeddings, Failure, FailureKind, Outcome, StreamEnd, StreamEvent, StreamStart
from runtime.price import CostEstimate
from runtime.reports import HealthReport, ProviderStatus, UsagePeriod, UsageReport
from runtime.request import EmbedRequest, Request
from runtime.standing import Standing, Vitals

log = logging.getLogger("raygate.refs")

CONTROL_TIMEOUT_S = 5.0
SCRAPE_S = 3.0
"""Prometheus waits ten seconds for all of a scrape, unless told otherwise."""
GRACE_S = 5.0
"""On top of a request's own deadline, which the actor keeps by itself."""
LONGEST_CALL_S = 600.0
LONGEST_RESTART_S = 15.0
RESTART_POLL_S = 0.1
STREAM_AHEAD = 64
"""How many events an actor may produce before its reader takes them."""


Timed = TypeVar("Timed", Request, EmbedRequest)
Given = TypeVar("Given")


class Unreachable(Exception):  # a state of the world, not a programming error
    """The actor is dead, restarting, or did not answer in time."""


class ActorRef:
    """Calls an actor by name. Belongs to one event loop. `sent` counts the calls, by method."""

    def __init__(self, name: str) -> None:
        self.actor_name = name
        self.sent: Counter[str] = Counter()
        self._handle: Any = None
        self._lifeline = Lifeline()
        self._resolving: asyncio.Task[Any] | None = None

    async def call(self, method: str, *args: object, timeout_s: float) -> Any:
        """The method's value. Raises `Unreachable`; an error inside the actor comes as `RayTaskError`."""
        ref: Any = None
        try:
            async with asyncio.timeout(timeout_s):
                bound = getattr(await self.resolve(), method)
                self.sent[method] += 1
                ref = bound.remote(*args, **self._as_caller(method))
                return await ref
        except RayTaskError as error:  # before the others: it is also of the type of what went wrong inside
            if isinstance(error.cause, Unreachable):
                raise error.cause from None  # who it could not reach says more than where in its code that was
            raise
        except (TimeoutError, asyncio.CancelledError) as error:
            if ref is not None:
                ray.cancel(ref)
            if isinstance(error, TimeoutError):
                raise Unreachable(f"{self.actor_name} did not answer within {timeout_s:.0f} s") from None
            raise
        except RayError as error:
            raise self._lost(error) from None

    async def stream(
        self, method: str, *args: object, timeout_s: float, ahead: int = STREAM_AHEAD
    ) -> AsyncGenerator[Any]:
        """A streaming method's values, as they come. Raises `Unreachable`; an error inside comes as `RayTaskError`."""
        until = asyncio.get_running_loop().time() + timeout_s
        items: Any = None
        ended = False
        try:
            async with asyncio.timeout_at(until):
                bound = getattr(await self.resolve(), method)
            self.sent[method] += 1
            items = bound.options(num_returns="streaming", _generator_backpressure_num_objects=ahead).remote(
                *args, **self._as_caller(method)
            )
            while True:
                try:
                    async with asyncio.timeout_at(until):
                        value = await (await anext(items))
                except StopAsyncIteration:
                    ended = True
                    return
                yield value
        except RayTaskError:
            ended = True
            raise
        except TimeoutError:
            raise Unreachable(f"{self.actor_name} did not finish within {timeout_s:.0f} s") from None
        except RayError as error:
            ended = True
            raise self._lost(error) from None
        finally:
            if items is not None and not ended:
                ray.cancel(items)

    def close(self) -> None:
        """Whatever is still under way ends, here and in the actor."""
        self._lifeline.cut()

    def _as_caller(self, method: str) -> dict[str, str]:
        return {"caller": self._lifeline.tie(self._handle)} if method in TIED else {}

    def _lost(self, error: RayError) -> Unreachable:
        """What Ray's many ways to say that a call did not reach its end come to."""
        if isinstance(error, TaskCancelledError):
            return Unreachable(f"the call to {self.actor_name} was cancelled there")
        # A handle of an actor that was killed and made anew stays dead for ever: look it up again.
        self._handle = None
        if not isinstance(error, RayActorError):
            log.warning("actor.lost", exc_info=error, extra={"actor": self.actor_name})
        return Unreachable(f"{self.actor_name} is not running at the moment")

    async def resolve(self) -> Any:
        """The handle; looked up once, in a thread, however many callers wait for it."""
        if self._handle is not None:
            return self._handle
        # One that is done is from before: whoever waited for it has gone, and what it found may no longer be so.
        if self._resolving is None or self._resolving.done():
            self._resolving = asyncio.ensure_future(asyncio.to_thread(self._look_up))
            self._resolving.add_done_callback(_heard)
        self._handle = await asyncio.shield(self._resolving)
        return self._handle

    def _look_up(self) -> Any:
        try:
            return ray.get_actor(self.actor_name, namespace=NAMESPACE)
        except (ValueError, RayError) as error:
            raise Unreachable(f"no actor named {self.actor_name} is running") from error


class RemoteProvider:
    """Implements `Provider` over an actor that has its methods."""

    def __init__(self, name: str, actor: str) -> None:
        self.name = name
        self.actor = ActorRef(actor)

    async def initialize(self) -> None:
        await self._control("initialize")

    async def complete(self, request: Request) -> Outcome:
        try:
            outcome: Outcome = await self.actor.call("complete", request, timeout_s=_time_limit(request.deadline_s))
        except (Unreachable, RayTaskError) as error:
            return self._failed(error, request.model)
        return outcome

    async def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        started = False
        try:
            async with aclosing(
                self.actor.stream("stream", request, timeout_s=_time_limit(request.deadline_s))
            ) as events:
                async for event in events:
                    started = True
                    yield event
                    if isinstance(event, StreamEnd):
                        # Whatever becomes of the actor now, the stream has had its one end.
                        return
            failure = self._failed(Unreachable(f"{self.actor.actor_name} ended a stream without a word"), request.model)
        except (Unreachable, RayTaskError) as error:
            failure = self._failed(error, request.model)
        yield StreamEnd(outcome=replace(failure, kind=FailureKind.INTERRUPTED) if started else failure)

    async def embed(self, request: EmbedRequest) -> Embeddings | Failure:
        try:
            outcome: Embeddings | Failure = await self.actor.call(
                "embed", request, timeout_s=_time_limit(request.deadline_s)
            )
        except (Unreachable, RayTaskError) as error:
            return self._failed(error, request.model)
        return outcome

    async def health_check(self) -> HealthReport:
        try:
            report: HealthReport = await self.actor.call("health_check", timeout_s=30.0)
        except (Unreachable, RayTaskError) as error:
            return HealthReport(provider=self.name, healthy=False, latency_s=0.0, detail=_said(error), at_s=0.0)
        return report

    async def estimate_cost(self, request: Request) -> CostEstimate | Failure:
        try:
            expected: CostEstimate | Failure = await self.actor.call(
                "estimate_cost", request, timeout_s=CONTROL_TIMEOUT_S
            )
        except (Unreachable, RayTaskError) as error:
            return self._failed(error, request.model)
        return expected

    async def list_models(self) -> tuple[ModelInfo, ...]:
        models: tuple[ModelInfo, ...] = await self._control("list_models", timeout_s=30.0)
        return models

    async def model_info(self, model: str) -> ModelInfo | None:
        info: ModelInfo | None = await self._control("model_info", model)
        return info

    async def validate_model(self, model: str) -> bool:
        return bool(await self._control("validate_model", model, timeout_s=30.0))

    async def status(self) -> ProviderStatus:
        try:
            status: ProviderStatus = await self.actor.call("status", timeout_s=CONTROL_TIMEOUT_S)
        except (Unreachable, RayTaskError) as error:
            return ProviderStatus(provider=self.name, available=False, in_flight=0, detail=_said(error))
        return status

    async def usage(self, period: UsagePeriod = "day") -> UsageReport:
        report: UsageReport = await self._control("usage", period)
        return report

    async def metrics(self) -> Mapping[str, float]:
        metrics: Mapping[str, float] = await self._control("metrics")
        return metrics

    async def clear_cache(self) -> int:
        return int(await self._control("clear_cache"))

    async def close(self) -> None:
        """The actor outlives those who hold a ref: the supervisor ends it. Calls through this ref end here."""
        self.actor.close()

    async def _control(self, method: str, *args: object, timeout_s: float = CONTROL_TIMEOUT_S) -> Any:
        return await self.actor.call(method, *args, timeout_s=timeout_s)

    def _failed(self, error: Exception, model: str) -> Failure:
        if isinstance(error, Unreachable):
            return Failure(kind=FailureKind.UNAVAILABLE, provider=self.name, model=model, detail=_said(error))
        log.error("actor.call_failed", exc_info=error, extra={"actor": self.actor.actor_name})
        detail = "an error inside Raygate; its log says more"
        return Failure(kind=FailureKind.INTERNAL, provider=self.name, model=model, detail=detail)


class ProviderRef(RemoteProvider):
    """A provider's actor as an `Upstream`."""

    def __init__(self, provider: str, gate: Gate, *, standing: Standing | None = None) -> None:
        super().__init__(provider, provider_actor(provider))
        self.standing = standing or Standing(gate)

    def vitals(self, model: str, now: float) -> Vitals:
        return self.standing.vitals(model, now)

    async def complete(self, request: Request) -> Outcome:
        with self._counted():
            begun, beside = monotonic(), self.standing.beside(monotonic())
            outcome = await super().complete(request)
            self._measure(request, batch_of(outcome, monotonic() - begun, load=beside))
            return outcome

    async def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        with self._counted():
            begun, call = monotonic(), object()
            beside = self.standing.asks(request.model, call, begun)
            try:
                async with aclosing(super().stream(request)) as events:
                    async for event in events:
                        if isinstance(event, StreamStart):
                            self.standing.hears(request.model, call)
                            self._measure(request, Timings(begun=1, ttft_s=monotonic() - begun, load=beside))
                        elif isinstance(event, StreamEnd):
                            self._measure(request, batch_of(event.outcome, monotonic() - begun, load=beside))
                        yield event
            finally:
                self.standing.hears(request.model, call)

    async def embed(self, request: EmbedRequest) -> Embeddings | Failure:
        with self._counted():
            return await super().embed(request)

    def _measure(self, request: Request, pace: Timings) -> None:
        """For this process itself, until what the actor measures and reports comes back to it."""
        self.standing.measure(request.model, pace, monotonic())

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """In flight as long as the call lasts."""
        self.standing.load.begin()
        try:
            yield
        finally:
            self.standing.load.end(monotonic(), latency_s=None)


class AuthorityRef:
    """The control calls of a provider's actor."""

    def __init__(self, provider: str) -> None:
        self.actor = ActorRef(provider_actor(provider))

    async def exchange(self, batch: Exchange) -> Published:
        """Deliver observations; returns the authority's state. Raises `Unreachable`."""
        published: Published = await self.actor.call("exchange", batch, timeout_s=CONTROL_TIMEOUT_S)
        return published

    async def reopen(self) -> None:
        """Forget what led to the opening: it is another provider now. Raises `Unreachable`."""
        await self.actor.call("reopen", timeout_s=CONTROL_TIMEOUT_S)

    async def permit(self, model: str) -> Permit | Refusal | None:
        """Leave to probe a model; None if the authority is out of reach."""
        try:
            answer: Permit | Refusal = await self.actor.call("permit", model, timeout_s=1.0)
        except (Unreachable, RayTaskError):
            return None
        return answer


class LocalModelRef:
    """The actor that runs the embedded model."""

    def __init__(self) -> None:
        self.actor = ActorRef(LOCAL_MODEL)

    async def serve(self, *, threads: int | None, context_length: int, slots: int) -> tuple[str, str, str]:
        """Have it listen; returns (base URL, API key, node). Raises `Unreachable`."""
        endpoint: tuple[str, str, str] = await self.actor.call("serve", threads, context_length, slots, timeout_s=60.0)
        return endpoint


class ManagerRef(RemoteProvider):
    """The manager: one `Provider` over all of them, and the feed.

    There is no other manager to fail over to, so a call that finds it dead waits for its restart (about two
    seconds) and asks again, within the request's own time. A call that was under way when it died may then reach
    its provider twice; a stream that has begun is not repeated.
    """

    def __init__(self) -> None:
        super().__init__("raygate", MANAGER)

    async def explain(self, request: Request) -> Mapping[str, object] | Failure:
        """Whom the manager would ask, and why. Raises `Unreachable`."""
        told: Mapping[str, object] | Failure = await self._control("explain", request)
        return told

    async def complete(self, request: Request) -> Outcome:
        return await self._once_back(super().complete, request)

    async def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        until = monotonic() + _patience(request)
        while True:
            away = False
            asked = monotonic()
            async with aclosing(super().stream(request)) as events:
                async for event in events:
                    away = isinstance(event, StreamEnd) and self._is_away(event.outcome) and monotonic() < until
                    if not away:
                        yield event
            if not away:
                return
            await asyncio.sleep(RESTART_POLL_S)
            request = _later(request, monotonic() - asked)

    async def embed(self, request: EmbedRequest) -> Embeddings | Failure:
        return await self._once_back(super().embed, request)

    async def _once_back(self, ask: Callable[[Timed], Awaitable[Given]], request: Timed) -> Given:
        until = monotonic() + _patience(request)
        while True:
            asked = monotonic()
            outcome = await ask(request)
            if not self._is_away(outcome) or monotonic() >= until:
                return outcome
            await asyncio.sleep(RESTART_POLL_S)
            request = _later(request, monotonic() - asked)

    def _is_away(self, outcome: object) -> bool:
        """True if the manager itself could not be asked; a provider's own failure carries the provider's name."""
        if not isinstance(outcome, Failure):
            return False
        return outcome.kind is FailureKind.UNAVAILABLE and outcome.provider == self.name

    async def poll(
        self, edge: str, *, stamp: tuple[int, int] | None, settings_version: int, wait_s: float
    ) -> Snapshot | None:
        """What is newer than `stamp`; None if nothing was within `wait_s`. Raises `Unreachable`."""
        snapshot: Snapshot | None = await self.actor.call(
            "poll", edge, stamp, settings_version, wait_s, timeout_s=wait_s + CONTROL_TIMEOUT_S
        )
        return snapshot

    async def glance(self) -> Mapping[str, Any]:
        """What a live view shows. Raises `Unreachable`."""
        seen: Mapping[str, Any] = await self.actor.call("glance", timeout_s=CONTROL_TIMEOUT_S)
        return seen

    async def report(self, report: EdgeReport) -> None:
        """Raises `Unreachable`; a report may then be sent again, its sequence number makes it count once."""
        await self.actor.call("report", report, timeout_s=CONTROL_TIMEOUT_S)

    async def scrape(self) -> tuple[Family, ...]:
        """The sums of all processes. Raises `Unreachable`."""
        found: tuple[Family, ...] = await self.actor.call("scrape", timeout_s=SCRAPE_S)
        return found

    async def watch(self, wish: Wish) -> tuple[Event, ...]:
        """What happened of this since the last call, as soon as there is something. Raises `Unreachable`."""
        found: tuple[Event, ...] = await self.actor.call("watch", wish, timeout_s=wish.wait_s + CONTROL_TIMEOUT_S)
        return found

    async def unwatch(self, listener: str) -> None:
        """Nobody listens there any more. Raises `Unreachable`."""
        await self.actor.call("unwatch", listener, timeout_s=CONTROL_TIMEOUT_S)

    async def tell_events(self, events: Sequence[Event]) -> None:
        """What happened here. Raises `Unreachable`."""
        await self.actor.call("tell_events", tuple(events), timeout_s=CONTROL_TIMEOUT_S)

    async def forget(self, what: Forget) -> tuple[int, int | None]:
        """Have all replicas forget remembered answers: `ManagerActor.forget_answers`. Raises `Unreachable`."""
        told: tuple[int, int | None] = await self.actor.call("forget_answers", what, timeout_s=2 * CONTROL_TIMEOUT_S)
        return told

    async def cached(self) -> dict[str, dict[str, int]]:
        """What each edge has last told of its remembered answers. Raises `Unreachable`."""
        told: dict[str, dict[str, int]] = await self.actor.call("cached_answers", timeout_s=CONTROL_TIMEOUT_S)
        return told

    async def introduce(self, provider: str) -> None:
        """A provider's authority has just started and wants its last state. Raises `Unreachable`."""
        await self.actor.call("introduce", provider, timeout_s=CONTROL_TIMEOUT_S)

    async def announce(self, published: Published) -> None:
        """A provider's authority has changed its state by itself. Raises `Unreachable`."""
        await self.actor.call("announce", published, timeout_s=CONTROL_TIMEOUT_S)


def _patience(request: Request | EmbedRequest) -> float:
    return LONGEST_RESTART_S if request.deadline_s is None else min(request.deadline_s, LONGEST_RESTART_S)


def _later(request: Timed, elapsed_s: float) -> Timed:
    """The same request with what is left of its time."""
    if request.deadline_s is None:
        return request
    return replace(request, deadline_s=max(0.0, request.deadline_s - elapsed_s))


def _heard(looking: asyncio.Task[Any]) -> None:
    """A look-up whose callers have all gone may fail unheard."""
    if not looking.cancelled():
        looking.exception()


def _time_limit(deadline_s: float | None) -> float:
    return GRACE_S + (LONGEST_CALL_S if deadline_s is None else deadline_s)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, Unreachable) else "an error inside Raygate; its log says more"


def last_line(error: BaseException) -> str:
    """An error for the log in one line: Ray's carry a remote traceback, others no text at all."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
