"""ruvLLM's endpoints beside `/query`, and what it promised: sessions that are kept, feedback, search, what was learned.

Everything is of the caller's organisation, sessions are of his key.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from actors.learning import EdgeLearning
from runtime.admitted import Calls
from runtime.dialects.ruvllm.surface import (
    Search,
    parse_feedback,
    parse_search,
    parse_session,
    render_found,
    render_history,
    render_session,
    render_sona_metrics,
    render_stats,
)
from runtime.learning.feedback import told
from runtime.learning.values import NOBODYS, FeedbackGiven, Summary
from runtime.outcome import Completion, Embeddings, Failure, FailureKind, Outcome, StreamEnd, StreamEvent
from runtime.request import EmbedRequest, Json, Message, Request, Role, TextPart
from serve.answer import json_of
from serve.asked import Asked, refuse
from serve.auth import Caller
from serve.errors import Refused
from serve.learning import enabled, organisation


async def stats(asked: Asked) -> None:
    """Of the whole system where the manager can be asked, as far as anybody counts it."""
    report = await asked.target.usage("all")
    latency_s = report.total.average_latency_s or 0.0
    learning = asked.edge.learning
    known = await learning.owner.summary(organisation(asked.caller)) if asked.edge.settings.learning.enabled else None
    remembered, updates = (known.remembered, known.learned) if isinstance(known, Summary) else (0, 0)
    body = render_stats(
        total_queries=report.requests,
        cache_hits=0,
        avg_latency_ms=latency_s * 1e3,
        memory_nodes=remembered,
        router_updates=updates,
    )
    await asked.reply(body)


async def session(asked: Asked) -> None:
    body = await asked.body()
    named = parse_session(json_of(body) if body.strip() else None)
    if isinstance(named, Failure):
        refuse(named)
    name = named or f"session_{secrets.token_hex(12)}"
    if asked.edge.settings.learning.enabled:
        owner, caller = asked.edge.learning.owner, asked.caller
        opened = await owner.open_session(organisation(caller), caller.account.key, name)
        if isinstance(opened, Failure):
            refuse(opened)
    await asked.reply(render_session(name))


async def history(asked: Asked) -> None:
    """What was said in a session."""
    name = asked.path.removeprefix("/session/")
    learning, caller = enabled(asked), asked.caller
    found = await learning.owner.session(organisation(caller), caller.account.key, name)
    if isinstance(found, Failure):
        refuse(found)
    if found is None:
        detail = f"your key has no session named {name[:128]!r}; POST /session opens one"
        raise Refused(FailureKind.BAD_REQUEST, detail, status=404)
    await asked.reply(render_history(name, found))


async def feedback(asked: Asked) -> None:
    """On the last answer of this organisation to this very question; or, with `request_id`, on that one."""
    parsed = parse_feedback(await asked.json())
    if isinstance(parsed, Failure):
        refuse(parsed)
    learning, caller = enabled(asked), asked.caller
    tenant = organisation(caller)
    request = parsed.request_id or await learning.about(tenant, parsed.query)
    if isinstance(request, Failure):
        refuse(request)
    given = FeedbackGiven(
        request=request, at_s=0.0, tenant=tenant, key=caller.account.key or NOBODYS, score=parsed.quality
    )
    taken = await learning.feedback(given)
    if isinstance(taken, Failure):
        refuse(taken)
    await asked.reply(told(given, taken))


async def sona_metrics(asked: Asked) -> None:
    known = await _summary(asked) if asked.edge.settings.learning.enabled else None
    await asked.reply(render_sona_metrics(known))


async def learn(asked: Asked) -> None:
    """What is known is learned as it comes; this saves it, and says how things stand."""
    body = await asked.body()
    if body.strip() and not isinstance(json_of(body), dict):
        raise Refused(FailureKind.BAD_REQUEST, "the body should be a JSON object, or none")
    learning = enabled(asked)
    saved = await learning.owner.save()
    if isinstance(saved, Failure):
        refuse(saved)
    await asked.reply({"saved": True, **render_sona_metrics(await _summary(asked))})


async def search(asked: Asked) -> None:
    parsed = parse_search(await asked.json())
    if isinstance(parsed, Failure):
        refuse(parsed)
    learning = enabled(asked)
    found = await learning.search(organisation(asked.caller), _wanted(parsed), parsed.limit)
    if isinstance(found, Failure):
        refuse(found)
    await asked.reply(render_found(found))


def _wanted(search: Search) -> str | tuple[float, ...]:
    return search.vector if search.vector is not None else search.query


async def _summary(asked: Asked) -> Summary:
    known = await asked.edge.learning.owner.summary(organisation(asked.caller))
    if isinstance(known, Failure):
        refuse(known)
    return known


class InSession:
    """Answers as `calls` do, with what was said before in the session that a query names, and keeps what is said.

    Where the owner of sessions is away, the query is answered without them: that is better than no answer.
    """

    def __init__(self, calls: Calls, learning: EdgeLearning, caller: Caller) -> None:
        self._calls = calls
        self._learning = learning
        self._whose = (organisation(caller), caller.account.key)

    async def complete(self, request: Request) -> Outcome:
        name = _named(request)
        if not name:
            return await self._calls.complete(request)
        outcome = await self._calls.complete(await self._with_history(request, name))
        await self._keep(request, name, outcome)
        return outcome

    async def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        name = _named(request)
        whole = await self._with_history(request, name) if name else request
        async with aclosing(self._calls.stream(whole)) as events:
            async for event in events:
                if name and isinstance(event, StreamEnd):
                    await self._keep(request, name, event.outcome)
                yield event

    async def embed(self, request: EmbedRequest) -> Embeddings | Failure:
        return await self._calls.embed(request)

    async def _with_history(self, request: Request, name: str) -> Request:
        found = await self._learning.owner.session(*self._whose, name)
        if not isinstance(found, list):
            return request
        before = tuple(Message(role=Role(role), parts=(TextPart(text),)) for role, text in found)
        return replace(request, messages=(*before, *request.messages))

    async def _keep(self, request: Request, name: str, outcome: Outcome) -> None:
        if isinstance(outcome, Completion):
            turns = ((Role.USER.value, request.messages[-1].text), (Role.ASSISTANT.value, outcome.text))
            await self._learning.owner.said(*self._whose, name, turns)


def _named(request: Request) -> str:
    name: Json = request.extra.get("session_id")
    return name[:128] if isinstance(name, str) else ""
