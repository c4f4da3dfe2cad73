"""Makes the attempts of one request, one after another or two side by side, until one comes to something.

    begin ─► Run ─► reach ─► an answer, a stream that has begun, or the last failure
                     │  one attempt: no task of its own, the usual way
                     └─ race: two, where the route allows a hedge and the first one is slow
Whom to ask next, and when, `failover` and `hedge` decide; here they are only obeyed. A plain answer, a stream and
embeddings differ only in how one candidate is asked, so that hedging, failover and waiting exist once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from runtime.balance.entry import Candidate
from runtime.events import Bus
from runtime.failover import Failover, Fits, GiveUp, RetryBudget, anyone
from runtime.hedge import AnswerTimes, HedgeBudget
from runtime.ledger.billing import NO_FLAGS, Flag
from runtime.models import Feature
from runtime.outcome import HEDGED, UNASKED, Attempt, Completion, Embeddings, Failure, FailureKind, StreamEvent
from runtime.plan import Policy, Route, larger_of
from runtime.request import EmbedRequest, Request
from runtime.telling import tell_attempt, tell_fallback
from runtime.tracing import Span, Trace, Traces, Value
from runtime.values import maker

new_attempt = maker(Attempt)

log = logging.getLogger("raygate.gateway")

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class Live:
    """A stream that has begun: `first` is its first event. Whoever has it closes it."""

    events: AsyncGenerator[StreamEvent]
    first: StreamEvent

    async def close(self) -> None:
        await self.events.aclose()


T = TypeVar("T", Completion, Embeddings, Live)


@dataclass(slots=True)
class Run:
    """One request under way: its policy, its candidates, its clock, and what was tried. It is failover's `Windows`.

    `started` is when the attempt began that was the last to come to something. `elsewhere_s` is the time that was not
    ours: providers', waits before a retry, the reader's of a stream. `fits` says who may be asked at all.
    """

    policy: Policy
    route: Route
    request: Request | EmbedRequest
    streamed: bool
    begun: float
    ends: float
    failover: Failover = field(init=False)
    candidate: Candidate = field(init=False)
    started: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)
    elsewhere_s: float = 0.0
    fits: Fits = anyone
    events: Bus | None = None
    traces: Traces | None = None
    _spans: dict[Candidate, tuple[Trace, float]] = field(default_factory=dict)

    @property
    def flags(self) -> Flag:
        """What the next attempt's row says of it: whether anybody was asked before."""
        asked = any(attempt.outcome not in UNASKED for attempt in self.attempts)
        return Flag.RETRIED if asked else NO_FLAGS

    def left_s(self, now: float) -> float:
        return max(0.0, self.ends - now)

    def tried(self, candidate: Candidate, outcome: object, started: float, now: float) -> None:
        """Note an attempt: `outcome` is what it came to, or the word for it."""
        failure = outcome if isinstance(outcome, Failure) else None
        word = outcome if isinstance(outcome, str) else "ok"
        self.attempts.append(
            new_attempt(
                provider=candidate.provider,
                model=candidate.model,
                outcome=failure.kind if failure else word,
                elapsed_s=now - started,
                detail=failure.detail if failure else "",
            )
        )
        if (events := self.events) is not None and events.wanted:
            tell_attempt(events, self.request.request_id, self.attempts[-1])
        if self._spans:
            self._traced(
                candidate, "" if word == "ok" and failure is None else str(failure.kind if failure else word), now
            )

    def traced(self, candidate: Candidate, now: float) -> Trace | None:
        """Where the attempt that begins now is in the request's trace, if it is in one."""
        above = self.request.trace
        if above is None or self.traces is None:
            return above
        below = self.traces.child(above)
        self._spans[candidate] = below, now
        return below

    def untold(self, now: float) -> None:
        """Attempts that were under way when the request was given up."""
        for candidate in tuple(self._spans):
            self._traced(candidate, FailureKind.CANCELLED.value, now)

    def _traced(self, candidate: Candidate, error: str, now: float) -> None:
        trace, began = self._spans.pop(candidate, (None, 0.0))
        if trace is None or self.traces is None or self.request.trace is None:
            return
        operation = "chat" if isinstance(self.request, Request) else "embeddings"
        of = self.policy.catalog.settings.providers.get(candidate.provider)
        said: dict[str, Value] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": of.kind.value if of is not None else candidate.provider,
            "gen_ai.request.model": candidate.model,
            "raygate.provider": candidate.provider,
        }
        if error:
            said["error.type"] = error
        self.traces.tell(
            Span(
                name=f"{operation} {candidate.model}",
                trace=trace,
                parent_id=self.request.trace.span_id,
                began=began,
                ended=now,
                attributes=said,
                error=error,
            )
        )

    def window(self, candidate: Candidate) -> int | None:
        info = self.policy.catalog.info(candidate.provider, candidate.model)
        return info.context_length if info else None

    def larger(self) -> Sequence[Candidate]:
        return larger_of(self.policy, self.route, self.request) if isinstance(self.request, Request) else ()

    def takes_prefill(self, candidate: Candidate) -> bool:
        """Whether it is known to go on with what another one has begun to say."""
        info = self.policy.catalog.info(candidate.provider, candidate.model)
        return info is not None and info.has(Feature.PREFILL) is True and not info.reasons_by_default


Asking = Callable[[Run, Candidate, float, Flag], Coroutine[Any, Any, T | Failure]]
"""(run, whom, when, which attempt it is) → what came of it. Cancelling it ends the attempt, and it is settled."""


class Attempts:
    """One gateway's. Belongs to one event loop."""

    def __init__(self, *, clock: Callable[[], float], sleep: Sleep, rng: random.Random, events: Bus) -> None:
        self.traces: Traces | None = None
        self._clock = clock
        self._events = events
        self._sleep = sleep
        self._rng = rng
        self._retries = RetryBudget(0.0)
        self._hedges = HedgeBudget()
        self._times = AnswerTimes()
        # Losers on their way out: a task that nobody holds may vanish before it has closed its connection.
        self._leaving: set[asyncio.Task[None]] = set()

    def begin(
        self, policy: Policy, request: Request | EmbedRequest, plan: Sequence[Candidate], *, streamed: bool = False
    ) -> Run:
        route = policy.route(request.model)
        if self._retries.ratio != route.retry.budget_ratio:
            self._retries = RetryBudget(route.retry.budget_ratio)
        if route.hedge is not None and isinstance(request, Request):
            self._hedges.pay_in(route.hedge.max_share)
        begun = self._clock()
        run = Run(policy, route, request, streamed, begun, begun + policy.seconds(route, request.deadline_s))
        run.failover = Failover(plan, route.retry, self._rng, self._retries, run)
        run.candidate = run.failover.first()
        run.events = self._events
        run.traces = self.traces
        return run

    async def reach(self, run: Run, ask: Asking[T]) -> T | Failure:
        """The first attempt that came to something, else the failure to tell of."""
        while True:
            run.started = self._clock()
            wait_s = None if run.route.hedge is None else self._patience_s(run)
            if wait_s is None:
                got = await ask(run, run.candidate, run.started, run.flags)
                now = self._clock()
                self._note(run, got, now)
                run.elsewhere_s += spent_s(got, now - run.started)
            else:
                got = await self._race(run, ask, wait_s)
            if not isinstance(got, Failure):
                return got
            if (failure := await self.next(run, got)) is not None:
                return failure

    async def next(self, run: Run, failure: Failure) -> Failure | None:
        """Once it is the next candidate's turn, None; the failure to tell of where there is none."""
        now = self._clock()
        step = run.failover.after(failure, remaining_s=run.ends - now, of=run.candidate, fits=run.fits)
        if isinstance(step, GiveUp):
            return step.failure
        if self._events.wanted and step.candidate != run.candidate:
            tell_fallback(self._events, run.request.request_id, run.candidate, step.candidate, failure)
        run.candidate = step.candidate
        if step.after_s > 0.0:
            await self._sleep(step.after_s)
            run.elsewhere_s += self._clock() - now
        return None

    async def settled(self) -> None:
        """Once every loser of a race has gone."""
        if self._leaving:
            await asyncio.wait(self._leaving)

    def _note(self, run: Run, got: Completion | Embeddings | Live | Failure, now: float) -> None:
        """Note what the run's candidate came to. A stream is noted at its end."""
        if not isinstance(got, Live):
            run.tried(run.candidate, got, run.started, now)
        if run.policy.times_answers and isinstance(got, Completion | Live):
            self._times.add(run.candidate, now - run.started, now, streamed=run.streamed)

    # Two at once.

    def _patience_s(self, run: Run) -> float | None:
        """How long the candidate may take before a second one is asked; None where none will be."""
        hedge = run.route.hedge
        if (
            hedge is None
            or not (self._hedges.covers and run.failover.may_hedge)
            or not isinstance(run.request, Request)
        ):
            return None
        wait_s = self._times.wait_s(hedge, run.candidate, streamed=run.streamed)
        return wait_s if wait_s is not None and wait_s < run.left_s(run.started) else None

    async def _race(self, run: Run, ask: Asking[T], wait_s: float) -> T | Failure:
        """What the first of two came to that came to something; the last failure where both failed."""
        begun = run.started
        under_way: dict[asyncio.Future[T | Failure], tuple[Candidate, float]] = {}
        under_way[asyncio.ensure_future(ask(run, run.candidate, begun, run.flags))] = run.candidate, begun
        timer = asyncio.ensure_future(self._sleep(wait_s))
        waited: list[asyncio.Future[Any]] = [*under_way, timer]
        last: T | Failure | None = None
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not any(task.done() for task in under_way) and (second := self._second(run)) is not None:
                now = self._clock()
                under_way[asyncio.ensure_future(ask(run, second, now, run.flags | Flag.HEDGED))] = second, now
            while under_way and (last is None or isinstance(last, Failure)):
                done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                # If both have come to something at once, the one that was asked first counts.
                task = next(task for task in under_way if task in done)
                run.candidate, run.started = under_way.pop(task)
                last = task.result()
                now = self._clock()
                self._note(run, last, now)
                if isinstance(last, Failure) and under_way:
                    run.failover.failed(run.candidate, last, remaining_s=run.ends - now)
            if last is None:
                raise RuntimeError("a race had no runner")
            # Times that ran side by side are not added up.
            run.elsewhere_s += run.started - begun + spent_s(last, self._clock() - run.started)
        except asyncio.CancelledError:
            leaving = [self._dismiss(task, None) for task in under_way]
            under_way.clear()
            if leaving:
                # As with a single attempt: when this is over, all is settled.
                await asyncio.wait(leaving)
            raise
        finally:
            timer.cancel()
            now = self._clock()
            for task, (candidate, started) in under_way.items():
                run.tried(candidate, HEDGED, started, now)
                if run.policy.times_answers:
                    self._times.add(candidate, now - started, now, streamed=run.streamed)
                self._dismiss(task, HEDGED)
        return last

    def _second(self, run: Run) -> Candidate | None:
        """Whom to ask beside the one that is slow."""
        now = self._clock()

        def is_open(one: Candidate) -> bool:
            return run.fits(one) and run.policy.upstreams[one.provider].vitals(one.model, now).retry_in_s <= 0.0

        if not self._hedges.covers or (second := run.failover.hedge(is_open)) is None:
            return None
        self._hedges.spend()
        return second

    def _dismiss(self, task: asyncio.Future[T | Failure], why: str | None) -> asyncio.Task[None]:
        """End an attempt that is not wanted any more; its provider settles it with what it used."""
        task.cancel(why)
        leaving = asyncio.create_task(_seen_off(task))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        return leaving


def spent_s(got: Completion | Embeddings | Live | Failure, elapsed_s: float) -> float:
    """How much of an attempt's time was not ours. A stream says at its end."""
    match got:
        case Completion() | Embeddings():
            return got.latency_s + got.queue_s
        case Failure():
            return elapsed_s
        case Live():
            return 0.0


async def _seen_off(task: asyncio.Future[T | Failure]) -> None:
    await asyncio.wait((task,))
    if task.cancelled():
        return
    if (error := task.exception()) is not None:
        log.error("attempt.broken", exc_info=error)
    elif isinstance(got := task.result(), Live):
        await got.close()
