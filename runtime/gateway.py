"""Drives one request from start to settlement: plan, ask, fail over, answer. The same class everywhere.

In a Serve replica it runs over `EdgeProvider`s, behind the manager's handle over actors' refs; it cannot tell.
Whom to ask `plan` says, how it is asked `attempts` does, what holds for all providers together is in `together`.
A request keeps the `Policy` that it began with, whatever the settings become meanwhile.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from runtime.attempts import Attempts, Live, Run, Sleep, spent_s
from runtime.balance.entry import Candidate
from runtime.balance.turns import Turns
from runtime.cache.answers import Read
from runtime.continuation import Continuation, continuable
from runtime.events import Bus
from runtime.ledger.billing import Flag
from runtime.ledger.books import Books, given_away, routed
from runtime.outcome import (
    Completion,
    Delta,
    Embeddings,
    Failure,
    FailureKind,
    FinishReason,
    Outcome,
    StreamEnd,
    StreamEvent,
    StreamStart,
)
from runtime.plan import Ordered, Policy, Route, balanced_plan, chat_plan, embed_plan, estimates
from runtime.price import CostEstimate
from runtime.request import EmbedRequest, Request
from runtime.single_flight import SingleFlight
from runtime.telling import tell_outcome, tell_request
from runtime.together import Together
from runtime.tracing import Traces
from runtime.values import replace

__all__ = ["Gateway", "Policy", "Route", "Sleep"]

MOST_TURNS = 1_000
"""Names whose turns are remembered. Names come from callers, so they must not fill the memory."""


class Gateway(Together):
    """Implements `Provider` over many of them. Belongs to one event loop."""

    def __init__(
        self,
        policy: Policy,
        *,
        clock: Callable[[], float],
        sleep: Sleep = asyncio.sleep,
        rng: random.Random,
        books: Books | None = None,
        events: Bus | None = None,
        traces: Traces | None = None,
    ) -> None:
        super().__init__(policy)
        self.events = events or Bus(_no_time)
        self.books = books
        self._clock = clock
        self._rng = rng
        self._turns = Turns()
        self._attempts = Attempts(clock=clock, sleep=sleep, rng=rng, events=self.events)
        self._attempts.traces = traces
        self._once = SingleFlight(clock, self._gave, self.events)

    async def complete(self, request: Request) -> Outcome:
        hooks = self.policy.hooks
        if hooks is None and not self.events.wanted:
            return await self._answer(request)
        began = self._clock()
        if hooks is None:
            outcome = await self._announced(request)
        else:
            outcome = await hooks.complete(request, self._announced, estimates=self._estimates)
        if self.events.wanted:
            tell_outcome(self.events, request, outcome, self._clock() - began)
        return outcome

    def again(self, request: Request, read: Read) -> Completion | None:
        """The remembered answer to a request that was `read` before, at once; None where there is more to do for it."""
        if self.policy.hooks is not None or self.events.wanted:
            return None
        return self._once.again(request, read.content, self.policy)

    def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        if self.policy.hooks is None and not self.events.wanted:
            return self._answer_stream(request)
        return self._watched(request)

    async def embed(self, request: EmbedRequest) -> Embeddings | Failure:
        hooks = self.policy.hooks
        return await (self._embed(request) if hooks is None else hooks.embed(request, self._embed))

    def _estimates(self, request: Request) -> tuple[CostEstimate, ...]:
        return estimates(self.policy, request)

    async def _announced(self, request: Request) -> Outcome:
        if self.events.wanted:
            tell_request(self.events, request)
        return await self._answer(request)

    def _announced_stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        if self.events.wanted:
            tell_request(self.events, request)
        return self._answer_stream(request)

    async def _watched(self, request: Request) -> AsyncGenerator[StreamEvent]:
        """A stream past hooks, before the eyes of whoever listens; also one that its reader leaves is told of."""
        hooks, began, begun = self.policy.hooks, self._clock(), False
        source = (
            self._announced_stream(request)
            if hooks is None
            else hooks.stream(request, self._announced_stream, estimates=self._estimates)
        )
        outcome: Outcome = Failure(kind=FailureKind.CANCELLED, model=request.model, detail="its reader has left")
        try:
            async with aclosing(source) as events:
                async for event in events:
                    if isinstance(event, StreamEnd):
                        outcome = event.outcome
                    yield event
                    begun = True
        finally:
            if self.events.wanted:
                tell_outcome(self.events, request, outcome, self._clock() - began, begun=begun)

    async def _answer(self, request: Request) -> Outcome:
        if self._once.applies(request, self.policy):
            return await self._once.complete(request, self.policy, self._complete)
        return await self._complete(request)

    def _answer_stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        if self._once.applies(request, self.policy):
            return self._once.stream(request, self.policy, self._stream)
        return self._stream(request)

    async def _complete(self, request: Request) -> Outcome:
        await self.awaited(request)
        plan = self._plan(request)
        if isinstance(plan, Failure):
            return replace(plan, request_id=request.request_id)
        run = self._attempts.begin(self.policy, request, plan.candidates)
        self._began(plan)
        outcome: Outcome | None = None
        try:
            outcome = self._finished(await self._attempts.reach(run, _ask_whole), run)
            return outcome
        finally:
            run.untold(self._clock())
            self._learn(plan, request, outcome)

    async def _stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        await self.awaited(request)
        plan = self._plan(request)
        if isinstance(plan, Failure):
            yield StreamEnd(outcome=replace(plan, request_id=request.request_id))
            return
        run = self._attempts.begin(self.policy, request, plan.candidates, streamed=True)
        self._began(plan)
        came_to: Outcome | None = None
        try:
            told = Continuation(request) if run.route.continue_streams and continuable(request) else None
            live: Live | Failure | None = await self._attempts.reach(run, _open)
            outcome: Outcome | None = live if isinstance(live, Failure) else None
            while isinstance(live, Live):
                outcome = None
                try:
                    start = live.first
                    given = self._clock()
                    if isinstance(start, StreamStart) and (told is None or told.began(start, given - run.begun)):
                        overhead_s = max(0.0, run.started - run.begun - run.elsewhere_s)
                        attempts = tuple(run.attempts)
                        yield replace(start, attempts=attempts, request_id=request.request_id, overhead_s=overhead_s)
                        run.elsewhere_s += self._clock() - given
                    elif isinstance(start, StreamEnd):
                        outcome = start.outcome
                    async for event in live.events:
                        if isinstance(event, StreamEnd):
                            outcome = event.outcome
                            break
                        given = self._clock()
                        if told is None or isinstance(event, StreamStart):
                            yield event
                        else:
                            for delta in told.relay(event):
                                yield delta
                        run.elsewhere_s += self._clock() - given
                finally:
                    await live.close()
                outcome = outcome or _endless(run)
                now = self._clock()
                run.elsewhere_s += spent_s(outcome, now - run.started)
                run.tried(run.candidate, outcome, run.started, now)
                live = None if told is None else await self._taken_up(run, told, outcome, now - run.started)
                for delta in told.flush() if told is not None and live is None else ():
                    yield delta
            ended = outcome or _endless(run)
            came_to = self._finished(ended if told is None else told.joined(ended), run)
            yield StreamEnd(outcome=came_to)
        finally:
            run.untold(self._clock())
            self._learn(plan, request, came_to)

    async def _taken_up(self, run: Run, told: Continuation, outcome: Outcome, spent_s: float) -> Live | None:
        """The stream in which somebody goes on with the answer; None where that is not wanted or not possible."""
        if not isinstance(outcome, Failure):
            return None
        rest = told.taken_up(outcome, spent_s=spent_s)
        if rest is None:
            return None
        run.request, run.fits = rest, run.takes_prefill
        if await self._attempts.next(run, outcome) is not None:
            return None
        live = await self._attempts.reach(run, _open)
        return live if isinstance(live, Live) else None

    async def _embed(self, request: EmbedRequest) -> Embeddings | Failure:
        plan = embed_plan(self.policy, request, turns=self._turns_now(), now=self._clock(), rng=self._rng)
        if isinstance(plan, Failure):
            return replace(plan, request_id=request.request_id)
        run = self._attempts.begin(self.policy, request, plan)
        outcome = await self._attempts.reach(run, _ask_vectors)
        if isinstance(outcome, Failure):
            return replace(outcome, attempts=tuple(run.attempts), request_id=request.request_id)
        return outcome

    async def estimate_cost(self, request: Request) -> CostEstimate | Failure:
        """At the first candidate as things stand now; beside it, at all that might be asked."""
        plan = self._plan(request, turns=self._turns_now().copy())
        if isinstance(plan, Failure):
            return plan
        found = await asyncio.gather(
            *(
                self.policy.upstreams[one.provider].estimate_cost(replace(request, model=one.model))
                for one in plan.candidates
            )
        )
        options = tuple(one for one in found if not isinstance(one, Failure))
        return found[0] if isinstance(found[0], Failure) else replace(found[0], options=options)

    def explain(self, request: Request) -> Mapping[str, object] | Failure:
        """In which order the request's candidates would be asked now, with every term of every score, and who was left
        out for what. Nobody is called, and no turn is taken.
        """
        turns = self._turns_now().copy()
        made = balanced_plan(self.policy, request, turns=turns, now=self._clock(), rng=self._rng)
        return made if isinstance(made, Failure) else {"model": request.model, **made.told()}

    async def metrics(self) -> Mapping[str, float]:
        ours = {"answers.shared": float(self._once.shared), "answers.cached": float(self._once.cached)}
        if (cache := self.policy.cache) is not None:
            ours |= {"cache.entries": float(len(cache)), "cache.bytes": float(cache.bytes)}
            ours |= {f"cache.{name}": float(getattr(cache.counts, name)) for name in cache.counts.__slots__}
        if (meanings := self.policy.meanings) is not None:
            counts = meanings.counts
            ours |= {f"cache.semantic_{name}": float(getattr(counts, name)) for name in counts.__slots__}
            ours |= {f"cache.semantic_doubted_{why}": float(count) for why, count in meanings.doubted.items()}
        hooks = self.policy.hooks
        return {**await super().metrics(), **ours, **(hooks.metrics() if hooks is not None else {})}

    async def close(self) -> None:
        await self._attempts.settled()
        await super().close()

    def _gave(self, request: Request, given: Completion, word: str) -> None:
        if self.books is not None:
            given_away(self.books, request, given, word)

    async def awaited(self, request: Request) -> None:
        """Returns once whoever learned can decide, where it is for him to decide."""
        policy = self.policy
        if policy.adviser is None or (policy.route(request.model).routing or policy.routing).strategy != "learned":
            return
        if (before := policy.adviser.before(request)) is not None:
            await before

    def _began(self, plan: Ordered) -> None:
        if plan.decision is not None and self.policy.adviser is not None:
            self.policy.adviser.began(plan.decision)

    def _learn(self, plan: Ordered, request: Request, outcome: Outcome | None) -> None:
        """Tell whoever learned what came of the decision, if it was one; None if the caller hung up before the end."""
        if plan.decision is not None and self.policy.adviser is not None:
            self.policy.adviser.finished(plan.decision, request, outcome)

    def _plan(self, request: Request, *, turns: Turns | None = None) -> Ordered | Failure:
        return chat_plan(self.policy, request, turns=turns or self._turns_now(), now=self._clock(), rng=self._rng)

    def _turns_now(self) -> Turns:
        # A replica's gateway is made before it has heard how many there are.
        self._turns.scattered = self.policy.scattered
        return self._turns

    def _finished(self, outcome: Outcome, run: Run) -> Outcome:
        attempts = tuple(run.attempts)
        if isinstance(outcome, Failure):
            return replace(outcome, attempts=attempts, request_id=run.request.request_id)
        overhead_s = max(0.0, self._clock() - run.begun - run.elsewhere_s)
        return replace(outcome, attempts=attempts, overhead_s=overhead_s, request_id=run.request.request_id)


# How one candidate is asked.


async def _ask_whole(run: Run, candidate: Candidate, now: float, flags: Flag) -> Outcome:
    outcome = await run.policy.upstreams[candidate.provider].complete(_addressed(run, candidate, now, flags))
    return _kept_back(outcome, candidate) or outcome if run.route.retry.past_filters else outcome


async def _open(run: Run, candidate: Candidate, now: float, flags: Flag) -> Live | Failure:
    """Until the first event: from then on nobody else can take over unnoticed."""
    events = run.policy.upstreams[candidate.provider].stream(_addressed(run, candidate, now, flags))
    live: Live | None = None
    try:
        async for event in events:
            if isinstance(event, StreamEnd) and isinstance(event.outcome, Failure):
                return event.outcome
            if run.route.retry.past_filters and isinstance(event, StreamStart):
                first = await _first_said(events)
                last = first[-1] if first else None
                if isinstance(last, StreamEnd) and (kept := _kept_back(last.outcome, candidate)) is not None:
                    return kept
                live = Live(_resumed(first, events), event)
            else:
                live = Live(events, event)
            return live
        return _endless(run)
    finally:
        if live is None:
            await events.aclose()


async def _first_said(events: AsyncGenerator[StreamEvent]) -> list[StreamEvent]:
    """The events up to the first content: it comes with the start of a stream, unless there is none at all."""
    first: list[StreamEvent] = []
    async for event in events:
        first.append(event)
        if isinstance(event, StreamEnd) or (isinstance(event, Delta) and event.has_content):
            break
    return first


async def _resumed(first: list[StreamEvent], events: AsyncGenerator[StreamEvent]) -> AsyncGenerator[StreamEvent]:
    """A stream of which the first events were read ahead."""
    async with aclosing(events):
        for event in first:
            yield event
        async for event in events:
            yield event


def _kept_back(outcome: Outcome, candidate: Candidate) -> Failure | None:
    """What an answer comes to of which a filter left nothing; None for any other."""
    if isinstance(outcome, Failure) or not outcome.choices:
        return None
    if any(choice.parts or choice.finish_reason is not FinishReason.CONTENT_FILTER for choice in outcome.choices):
        return None
    return Failure(
        kind=FailureKind.CONTENT_FILTERED,
        provider=candidate.provider,
        model=candidate.model,
        detail=f"{candidate.provider} answered with nothing but the word that its filter kept the answer back",
        usage=outcome.usage,
        cost=outcome.cost,
    )


async def _ask_vectors(run: Run, candidate: Candidate, now: float, flags: Flag) -> Embeddings | Failure:
    if not isinstance(run.request, EmbedRequest):
        raise TypeError("vectors are asked for by an EmbedRequest")
    billing = routed(run.request, flags)
    trace = run.traced(candidate, now)
    asked = replace(run.request, model=candidate.model, deadline_s=run.left_s(now), billing=billing, trace=trace)
    return await run.policy.upstreams[candidate.provider].embed(asked)


def _addressed(run: Run, candidate: Candidate, now: float, flags: Flag) -> Request:
    if not isinstance(run.request, Request):
        raise TypeError("a chat is asked for by a Request")
    request, hooks = run.request, run.policy.hooks
    if hooks is not None:
        info = run.policy.catalog.info(candidate.provider, candidate.model)
        request = hooks.addressed(request.model, request, candidate, info)
    return replace(
        request,
        model=candidate.model,
        deadline_s=run.left_s(now),
        limits=run.route.limits,
        billing=routed(run.request, flags),
        trace=run.traced(candidate, now),
    )


def _no_time() -> float:
    return 0.0


def _endless(run: Run) -> Failure:
    """What a stream comes to whose upstream broke its word and gave no end."""
    provider, model = run.candidate.provider, run.candidate.model
    detail = f"the stream from {provider} ended without an outcome"
    return Failure(kind=FailureKind.INTERRUPTED, provider=provider, model=model, detail=detail)
