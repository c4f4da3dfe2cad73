"""All hooks of one version of the settings, and the way of one request through them.

    pre, pre_embed, attempt     in the order of the settings
    post, error, stream_event   in the reverse: the first hook of the list is the outermost

    request ─► first ─► second ─► cache, plan, attempts ─► second ─► first ─► answer

So what stands after `redact` in the list sees redacted prompts and answers, and what stands before it sees neither.
A hook that refuses, or answers by itself, ends the way in; every hook is told of what came of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from runtime.balance.entry import Candidate
from runtime.fold import deltas_of
from runtime.hooks.mounted import Mounted
from runtime.hooks.payloads import After, Attempted, Before, Embedding, Estimates, Failed, Streamed
from runtime.models import ModelInfo
from runtime.outcome import (
    Completion,
    Delta,
    Embeddings,
    Failure,
    Outcome,
    StreamEnd,
    StreamEvent,
    StreamStart,
)
from runtime.request import EmbedRequest, Request
from runtime.values import replace

MOST_NAMES = 1_000

Bound = tuple[Mounted, Callable[[Any], Any]]
"""A hook, and the method of it, or of what it made for this request, that is called at a moment."""

_EVENTS = (StreamStart, Delta, StreamEnd, tuple)

T = TypeVar("T", Request, EmbedRequest)
Timed = TypeVar("Timed", Completion, StreamStart)


class Moments:
    """What is called at each moment, in the order in which it is. `begins`: some of it is made for each request."""

    __slots__ = ("attempt", "begins", "error", "hooks", "post", "pre", "pre_embed", "stream_event")

    def __init__(self, hooks: Sequence[tuple[Mounted, Any]]) -> None:
        def bound(moment: str) -> tuple[Bound, ...]:
            found = ((mounted, getattr(hook, moment, None)) for mounted, hook in hooks)
            return tuple((mounted, method) for mounted, method in found if method is not None)

        self.hooks = tuple(mounted for mounted, _ in hooks)
        self.begins = any(hasattr(hook, "for_request") for _, hook in hooks)
        self.pre, self.pre_embed, self.attempt = bound("pre"), bound("pre_embed"), bound("attempt")
        self.post, self.error = bound("post")[::-1], bound("error")[::-1]
        self.stream_event = bound("stream_event")[::-1]


class Chain:
    """Never empty: without hooks there is no chain. Belongs to one event loop.

    `kinds` are the providers' kinds, by name; `default` is the name of requests that name no model.
    """

    def __init__(self, hooks: Sequence[Mounted], *, kinds: Mapping[str, str], default: str = "") -> None:
        self.hooks = tuple(hooks)
        self._kinds = kinds
        self._default = default
        self._clock = self.hooks[0].clock
        self._for: dict[str, Moments] = {}

    def of(self, name: str) -> Moments:
        """The hooks of requests by this name."""
        found = self._for.get(name)
        if found is None:
            if len(self._for) >= MOST_NAMES:
                self._for.clear()
            asked = name or self._default
            found = self._for[name] = Moments([(one, one.hook) for one in self.hooks if one.is_for(asked)])
        return found

    def metrics(self) -> dict[str, float]:
        """Of each hook, by its name: how often it was called, failed, …, and what it counts itself."""
        found: dict[str, float] = {}
        for one in self.hooks:
            for name, value in one.told().items():
                key = f"hooks.{one.name}.{name}"
                found[key] = found.get(key, 0.0) + float(value)
        return found

    async def complete(
        self, request: Request, ask: Callable[[Request], Awaitable[Outcome]], *, estimates: Estimates
    ) -> Outcome:
        clock = self._clock
        came = clock()
        way = Way(self.of(request.model))
        entered = await way.enter(request, estimates)
        request = way.request or request
        asked = clock()
        outcome = await ask(entered) if isinstance(entered, Request) else entered
        answered = clock()
        outcome = await way.leave(request, outcome)
        # Their time is ours: an answer tells it with the rest.
        return _added(outcome, clock() - answered + asked - came) if isinstance(outcome, Completion) else outcome

    async def stream(
        self, request: Request, ask: Callable[[Request], AsyncGenerator[StreamEvent]], *, estimates: Estimates
    ) -> AsyncGenerator[StreamEvent]:
        came = self._clock()
        way = Way(self.of(request.model))
        entered = await way.enter(request, estimates)
        request = way.request or request
        before_s = self._clock() - came
        if isinstance(entered, Failure):
            yield StreamEnd(outcome=await way.leave(request, entered, streamed=True))
            return
        source = _played(entered) if isinstance(entered, Completion) else ask(entered)
        async with aclosing(source) as events:
            async for event in events:
                if isinstance(event, StreamStart):
                    event = _added(event, before_s)  # noqa: PLW2901  # the same event
                elif isinstance(event, StreamEnd) and isinstance(event.outcome, Completion):
                    event = StreamEnd(outcome=_added(event.outcome, before_s))  # noqa: PLW2901  # the same event
                for one in await way.passed(request, event):
                    yield one
                    if isinstance(one, StreamEnd):
                        return

    async def embed(
        self, request: EmbedRequest, ask: Callable[[EmbedRequest], Awaitable[Embeddings | Failure]]
    ) -> Embeddings | Failure:
        for mounted, method in self.of(request.model).pre_embed:
            got = await mounted.ask(method, Embedding(request=request), (EmbedRequest,))
            if isinstance(got, Failure):
                return replace(got, model=got.model or request.model, request_id=request.request_id)
            if got is not None:
                request = _kept(got, request)
        return await ask(request)

    def addressed(self, name: str, request: Request, to: Candidate, info: ModelInfo | None) -> Request:
        """The request as it goes to one candidate. `name` is the one that was asked for."""
        for mounted, method in self.of(name).attempt:
            kind = self._kinds.get(to.provider, "")
            made = Attempted(request=request, provider=to.provider, model=to.model, kind=kind, info=info)
            got = mounted.ask_now(method, made, (Request,))
            if got is not None:
                request = replace(_kept(got, request), model=request.model)
        return request


class Way:
    """One chat's way through its hooks."""

    __slots__ = ("_broken", "_errors", "_posts", "_pres", "_streams", "request")

    def __init__(self, bound: Moments) -> None:
        self._broken: Failure | None = None
        if bound.begins:
            bound = self._begun(bound.hooks)
        self._pres, self._posts, self._errors, self._streams = bound.pre, bound.post, bound.error, bound.stream_event
        self.request: Request | None = None
        """As the hooks left it."""

    def _begun(self, hooks: Sequence[Mounted]) -> Moments:
        """With the hooks of this request, in the places of those that have such."""
        found: list[tuple[Mounted, Any]] = []
        for mounted in hooks:
            hook = mounted.hook
            if (begin := getattr(hook, "for_request", None)) is not None:
                hook = mounted.begun(begin)
                if isinstance(hook, Failure):
                    self._broken = hook
                    continue
            if hook is not None:
                found.append((mounted, hook))
        return Moments(found)

    async def enter(self, request: Request, estimates: Estimates) -> Request | Completion | Failure:
        """What the hooks make of a request; or the answer, or the refusal, of one of them."""
        if self._broken is not None:
            self.request = request
            return self._broken
        for mounted, method in self._pres:
            got = await mounted.ask(method, Before(request=request, estimates=estimates), (Request, Completion))
            if got is None or got is request:
                continue
            if isinstance(got, Request):
                request = _kept(got, request)
            elif isinstance(got, Completion):
                self.request = request
                # Nobody answers in a model's name but that model.
                source, model = got.provider or f"hook:{mounted.name}", got.model or request.model
                return replace(got, provider=source, model=model, request_id=request.request_id)
            elif isinstance(got, Failure):
                self.request = request
                return replace(got, model=got.model or request.model)
        self.request = request
        return request

    async def leave(self, request: Request, outcome: Outcome, *, streamed: bool = False) -> Outcome:
        """What the hooks make of what came of it. A refusal of an answer is told as a failure to all of them."""
        if isinstance(outcome, Completion):
            outcome = await self._posted(request, outcome, streamed=streamed)
        return outcome if isinstance(outcome, Completion) else await self._failed(request, outcome)

    async def _posted(self, request: Request, completion: Completion, *, streamed: bool) -> Outcome:
        for mounted, method in self._posts:
            after = After(request=request, completion=completion, streamed=streamed)
            got = await mounted.ask(method, after, (Completion,))
            if isinstance(got, Failure):
                return _instead(got, completion)
            if isinstance(got, Completion):
                completion = replace(got, request_id=request.request_id)
        return completion

    async def _failed(self, request: Request, failure: Failure) -> Failure:
        failure = replace(failure, request_id=request.request_id)
        for mounted, method in self._errors:
            got = await mounted.ask(method, Failed(request=request, failure=failure), (Failure,))
            if isinstance(got, Failure):
                failure = replace(got, request_id=request.request_id)
        return failure

    async def passed(self, request: Request, event: StreamEvent) -> list[StreamEvent]:
        """What of a stream goes on because of this event. An end is the last one."""
        going: list[StreamEvent] = [event]
        for mounted, method in self._streams:
            coming: list[StreamEvent] = []
            for one in going:
                got = await mounted.ask(method, Streamed(request=request, event=one), _EVENTS)
                if isinstance(got, Failure):
                    coming.append(StreamEnd(outcome=_instead(got, one)))
                    break
                coming += _told(one, got)
            going = coming
        if going and isinstance(last := going[-1], StreamEnd):
            going[-1] = StreamEnd(outcome=await self.leave(request, last.outcome, streamed=True))
        return going


def _told(event: StreamEvent, got: Any) -> Sequence[StreamEvent]:
    """What goes on in place of an event. Its start and its end a stream keeps, whatever a hook says."""
    if got is None:
        return (event,)
    said = got if isinstance(got, tuple) else (got,)
    pieces = [one for one in said if isinstance(one, Delta)]
    if isinstance(event, Delta):
        return pieces
    kind = type(event)
    own = next((one for one in said if isinstance(one, kind)), event)
    return [own, *pieces] if isinstance(event, StreamStart) else [*pieces, own]


def _instead(refusal: Failure, of: StreamEvent | Completion) -> Failure:
    """A refusal of an answer tells who gave it, and what it cost: that is paid for."""
    given = of.outcome if isinstance(of, StreamEnd) else of
    if isinstance(given, Completion):
        return replace(
            refusal,
            provider=given.provider,
            model=given.model,
            attempts=given.attempts,
            usage=given.usage,
            cost=given.cost,
        )
    if isinstance(given, StreamStart):
        return replace(refusal, provider=given.provider, model=given.model, attempts=given.attempts)
    return refusal


def _added(answer: Timed, hooks_s: float) -> Timed:
    return replace(answer, overhead_s=answer.overhead_s + hooks_s)


def _kept(changed: T, before: T) -> T:
    """What a hook made of a request, still this caller's, and answered as he asked for it."""
    if isinstance(changed, Request):
        return replace(
            changed,
            request_id=before.request_id,
            tenant=before.tenant,
            billing=before.billing,
            stream=before.stream,
            stream_usage=before.stream_usage,
            legacy_functions=before.legacy_functions,
            limits=before.limits,
            deadline_s=before.deadline_s,
        )
    return replace(changed, request_id=before.request_id, tenant=before.tenant, billing=before.billing)


async def _played(whole: Completion) -> AsyncGenerator[StreamEvent]:
    """A hook's own answer, where a stream was asked for."""
    yield StreamStart(id=whole.id, provider=whole.provider, model=whole.model, created_s=whole.created_s)
    for index, choice in enumerate(whole.choices):
        for delta in deltas_of(index, choice):
            yield delta
    yield StreamEnd(outcome=whole)
