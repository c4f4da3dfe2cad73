"""Equal requests are one call: those of the same moment share it, those that come later are given what it brought.

    asked ── remembered ─────────────────────► the answer, for nothing (`CACHED`)
          ── an equal call is under way ─────► its events from the beginning on (`SHARED`)
          ── another replica has it, or asks ► that, once it is there (`runtime.cache.shared`)
          ── else ───────────────────────────► a call of its own, which others may join

A call that is shared belongs to no one caller (`runtime.flight`); plain callers and those of streams may join each
other. Only the first pays.

Who may share: requests with the same `key_of` (which holds the tenant) under the same policy, where the route's answers
are remembered or the request itself asks for the most predictable answer (temperature 0), and not those that say
`no_store`. Who wants a new answer (`max_age_s` 0) joins no call that began before, and others may join his.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import NamedTuple, Protocol

from runtime.cache.answers import About, AnswerCache, Caching
from runtime.cache.key import Content, key_of
from runtime.cache.semantic import Meanings
from runtime.cache.shared import Lead, SharedTier
from runtime.events import Bus
from runtime.flight import Flight, as_stream, follow, lead
from runtime.outcome import (
    CACHED,
    SHARED,
    Completion,
    Failure,
    FailureKind,
    Outcome,
    StreamEnd,
    StreamEvent,
)
from runtime.request import Request
from runtime.telling import tell_cache
from runtime.values import replace

ENOUGH = 0.5
"""A call is joined if it has at least this share of the newcomer's own time left."""

WAITED_S = 0.01
"""Who has waited longer for another replica has that much less time for a call of his own."""

Gave = Callable[[Request, Completion, str], None]
"""Told whoever was given what he did not pay for: his request, what it was, and `CACHED` or `SHARED`."""

Source = Callable[[Request], AsyncGenerator[StreamEvent]]


class Rules(Protocol):
    """What is asked of a gateway's policy here. Where this process remembers nothing in these very words, it asks
    `meanings`, and then `shared`."""

    @property
    def cache(self) -> AnswerCache | None: ...
    @property
    def shared(self) -> SharedTier | None: ...
    @property
    def meanings(self) -> Meanings | None: ...
    @property
    def single_flight(self) -> bool: ...
    @property
    def deadline_s(self) -> float: ...
    def caching(self, request: Request) -> Caching | None: ...
    def eligible(self, request: Request) -> bytes: ...


class _Asked(NamedTuple):
    """A request and what holds for it. Without a `key` it has no equals; `caching` is None where nothing of its answer
    is remembered; `until` is when its time is over, by the loop's clock."""

    key: bytes
    request: Request
    rules: Rules
    caching: Caching | None
    until: float


class SingleFlight:
    """Stands before the calls of one gateway. Belongs to its event loop; `clock` is monotonic seconds.

    `events` hear of whatever concerns the cache.
    """

    def __init__(self, clock: Callable[[], float], gave: Gave = lambda *_: None, events: Bus | None = None) -> None:
        self.shared = 0
        self.cached = 0
        self._bus = events
        self._clock = clock
        self._gave = gave
        self._under_way: dict[bytes, Flight] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    @staticmethod
    def applies(request: Request, rules: Rules) -> bool:
        """Whether anything of this may concern the request. If not, do not bother."""
        if request.only_if_cached:
            return True
        if request.no_store:
            return False
        if rules.single_flight and request.sampling.temperature == 0:
            return True
        return rules.cache is not None and rules.caching(request) is not None

    def again(self, request: Request, content: Content, rules: Rules) -> Completion | None:
        """What this very process remembers for a request whose `content` is known, if it does. Nothing is counted if
        not: it is asked for by `complete` then."""
        cache = rules.cache
        caching = None if cache is None or request.no_store else rules.caching(request)
        if cache is None or caching is None or request.max_age_s == 0.0:
            return None
        key, now, max_age_s = (
            key_of(request, rules.eligible(request), content),
            self._clock(),
            _oldest(request, caching),
        )
        if not cache.holds(key, now, max_age_s=max_age_s):
            return None
        known = cache.get(key, now, max_age_s=max_age_s)
        return None if known is None else self._give(request, key, known, CACHED)

    async def complete(self, request: Request, rules: Rules, ask: Callable[[Request], Awaitable[Outcome]]) -> Outcome:
        asked = _asked(request, rules)
        if (known := self._known(asked)) is not None:
            return known

        async def source(one: Request) -> AsyncGenerator[StreamEvent]:
            yield StreamEnd(outcome=await ask(one))

        async with aclosing(self._events(asked, source)) as events:
            async for event in events:
                if isinstance(event, StreamEnd):
                    return event.outcome
        return _endless(request)

    async def stream(self, request: Request, rules: Rules, ask: Source) -> AsyncGenerator[StreamEvent]:
        asked = _asked(request, rules)
        if (known := self._known(asked)) is not None:
            for one in as_stream(known):
                yield one
            return
        started = False
        async with aclosing(self._events(asked, ask)) as events:
            async for event in events:
                if isinstance(event, StreamEnd) and isinstance(event.outcome, Completion) and not started:
                    for one in as_stream(event.outcome):
                        yield one
                    return
                started = True
                yield event
                if isinstance(event, StreamEnd):
                    return
        yield StreamEnd(outcome=_endless(request))

    async def _events(self, asked: _Asked, source: Source) -> AsyncGenerator[StreamEvent]:
        """Those of a stream; or, where a plain answer is all there is, its end alone. What we remember is no help."""
        key, request, rules, caching, until = asked
        now = asyncio.get_running_loop().time
        if request.only_if_cached:
            yield StreamEnd(outcome=await self._cached_elsewhere(key, request, rules, caching))
            return
        if not key:
            async with aclosing(source(request)) as events:
                async for event in events:
                    yield event
            return
        while (flight := self._to_join(key, rules, now(), until)) is not None and request.max_age_s != 0.0:
            self.shared += 1
            started = False
            async with aclosing(follow(flight, request, until)) as events:
                async for event in events:
                    if not started and _is_late(event) and now() < until:
                        # The time of the one who began it was shorter than ours.
                        request = replace(request, deadline_s=until - now())
                        break
                    started = True
                    if isinstance(event, StreamEnd) and isinstance(event.outcome, Completion):
                        self._give(request, key, event.outcome, SHARED)
                    yield event
                    if isinstance(event, StreamEnd):
                        return
        called = source(request) if caching is None else self._remembering(asked._replace(request=request), source)
        if rules.single_flight:
            called = lead(Flight(self._under_way, key, called, rules=rules, ends=until))
        async with aclosing(called) as events:
            async for event in events:
                yield event

    def _known(self, asked: _Asked) -> Completion | None:
        """What this very process remembers, if it is new enough."""
        key, request, rules, caching, _ = asked
        if rules.cache is None or caching is None or request.max_age_s == 0.0:
            return None
        max_age_s = _oldest(request, caching)
        known = rules.cache.get(key, self._clock(), max_age_s=max_age_s)
        if known is None and caching.semantic and rules.meanings is not None:
            known = self._alike(request, rules.cache, rules.meanings, rules.eligible(request), max_age_s)
        if known is None:
            self._tell("miss", request, key)
            return None
        return self._give(request, key, known, CACHED)

    def _alike(
        self, request: Request, cache: AnswerCache, meanings: Meanings, eligible: bytes, max_age_s: float
    ) -> Completion | None:
        """What was answered to other words with the same meaning."""
        for key, cosine in meanings.near(request, eligible):
            known = cache.get(key, self._clock(), max_age_s=max_age_s, cosine=cosine)
            if known is not None:
                meanings.given(request.request_id, key)
                # It was not there in these words, but no miss.
                cache.counts.misses -= 1
                return known
        return None

    async def _cached_elsewhere(
        self, key: bytes, request: Request, rules: Rules, caching: Caching | None
    ) -> Completion | Failure:
        """For one who wants a remembered answer or none."""
        if caching is not None and rules.shared is not None and request.max_age_s != 0.0:
            found = await rules.shared.look(key, max_age_s=_oldest(request, caching))
            if found is not None:
                return self._give(request, key, found.told(key), CACHED)
        detail = "no answer to this request is remembered; ask without only-if-cached for a new one"
        failure = Failure(kind=FailureKind.NOT_CACHED, model=request.model, detail=detail, code="not_cached")
        return replace(failure, request_id=request.request_id)

    def _give(self, request: Request, key: bytes, given: Completion, word: str) -> Completion:
        """The answer as his who has not paid for it; the books hear of it."""
        given = replace(given, request_id=request.request_id)
        self.cached += word == CACHED
        self._gave(request, given, word)
        self._tell("hit" if word == CACHED else "shared", request, key, given)
        return given

    def _tell(self, how: str, request: Request, key: bytes, given: Completion | None = None) -> None:
        if self._bus is not None and self._bus.wanted:
            tell_cache(self._bus, how, request, key, given)

    def _to_join(self, key: bytes, rules: Rules, now: float, until: float) -> Flight | None:
        flight = self._under_way.get(key)
        if flight is None or flight.rules is not rules or flight.ends - now < ENOUGH * (until - now):
            return None
        return flight

    async def _remembering(self, asked: _Asked, source: Source) -> AsyncGenerator[StreamEvent]:
        """The call, unless another replica has its answer; what it brings is remembered."""
        key, request, rules, caching, until = asked
        cache, leading = rules.cache, None
        if cache is None or caching is None:
            raise RuntimeError("what is remembered has no place to be")
        epoch = cache.epoch
        about = About(tenant=request.tenant, route=request.model, tags=request.cache_tags)
        now = asyncio.get_running_loop().time
        if rules.shared is not None and request.max_age_s != 0.0:
            begun = now()
            found = await rules.shared.ask(
                key, within_s=max(0.0, ENOUGH * (until - begun)), max_age_s=_oldest(request, caching)
            )
            if isinstance(found, Lead):
                leading = found
            elif found is not None:
                if cache.epoch == epoch:
                    whose = replace(about, provider=found.completion.provider, model=found.completion.model)
                    _keep(asked, cache, found.completion, self._clock() - found.age_s, whose)
                yield StreamEnd(outcome=self._give(request, key, found.told(key), CACHED))
                return
            elif now() - begun > WAITED_S:
                request = replace(request, deadline_s=max(0.0, until - now()))
        try:
            async with aclosing(source(request)) as events:
                async for event in events:
                    # What was forgotten meanwhile is not to be remembered after all.
                    if isinstance(event, StreamEnd) and isinstance(event.outcome, Completion) and cache.epoch == epoch:
                        whole = event.outcome
                        about = replace(about, provider=whole.provider, model=whole.model)
                        if _keep(asked, cache, whole, self._clock(), about):
                            self._tell("stored", request, key, whole)
                            if leading is not None:
                                leading.give(whole, ttl_s=caching.ttl_s, about=about)
                    yield event
        finally:
            if leading is not None:
                leading.release()


def _asked(request: Request, rules: Rules) -> _Asked:
    try:
        key = key_of(request, rules.eligible(request))
    except TypeError:  # it holds what no JSON can say, so it has no equals
        key = b""
    caching = None if rules.cache is None or request.no_store or not key else rules.caching(request)
    left_s = rules.deadline_s if request.deadline_s is None else request.deadline_s
    return _Asked(key, request, rules, caching, asyncio.get_running_loop().time() + left_s)


def _oldest(request: Request, caching: Caching) -> float:
    """How old an answer may be, by the request and by the settings of now, not by those it was put there under."""
    return caching.ttl_s if request.max_age_s is None else min(caching.ttl_s, request.max_age_s)


def _keep(asked: _Asked, cache: AnswerCache, answer: Completion, at: float, about: About) -> bool:
    """Whether the answer is remembered; where meanings are, by its meaning, too."""
    if (caching := asked.caching) is None:
        return False
    meanings = asked.rules.meanings if caching.semantic else None
    beside = 0 if meanings is None else meanings.size(asked.request)
    kept = cache.put(asked.key, answer, at, ttl_s=caching.ttl_s, about=about, beside=beside)
    if kept and meanings is not None:
        meanings.add(asked.request, asked.rules.eligible(asked.request), asked.key)
    return kept


def _is_late(event: StreamEvent) -> bool:
    if not isinstance(event, StreamEnd) or not isinstance(event.outcome, Failure):
        return False
    return event.outcome.kind is FailureKind.DEADLINE_EXCEEDED


def _endless(request: Request) -> Failure:
    """What a caller is told whose call was taken away from under him: Raygate is being shut down."""
    detail = "the call ended without an outcome"
    failure = Failure(kind=FailureKind.INTERRUPTED, model=request.model, detail=detail)
    return replace(failure, request_id=request.request_id)
