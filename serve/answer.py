"""One chat, plain or streamed, in the words of whatever API was asked."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable
from contextlib import aclosing

import orjson

from runtime.admitted import Calls
from runtime.dialects.base import Parse
from runtime.dialects.surface import StreamRenderer
from runtime.outcome import (
    CACHED,
    HEDGED,
    SHARED,
    Attempt,
    Completion,
    Cost,
    Failure,
    FailureKind,
    StreamEnd,
    StreamEvent,
    StreamStart,
)
from runtime.request import Json, Request
from runtime.values import replace
from serve.auth import Caller, may_ask
from serve.errors import Refused, answer_failure
from serve.http import JSON, Exchange, Headers

log = logging.getLogger("raygate.http")

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")

KEEP_ALIVE_S = 15.0
"""How long a stream says nothing before it says that it is still there. Proxies lose patience after 30 to 60 s."""

_STREAM: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


def parse(
    body: Json, parser: Parse, *, request_id: str, caller: Caller, deadline_s: float | None = None
) -> Request | Failure:
    """The caller's request in this body, or what is wrong with it. `deadline_s` holds where he names none."""
    parsed = parser(body)
    if isinstance(parsed, Failure):
        return parsed
    return asked_by(caller, parsed, request_id=request_id, deadline_s=deadline_s)


def asked_by(caller: Caller, parsed: Request, *, request_id: str, deadline_s: float | None = None) -> Request | Failure:
    """What was read, as this caller's request, unless he may not ask for it."""
    if (refused := may_ask(caller, parsed.model)) is not None:
        return refused
    if parsed.deadline_s is not None:
        deadline_s = parsed.deadline_s
    return replace(parsed, request_id=request_id, tenant=caller.tenant, billing=caller.billing, deadline_s=deadline_s)


def json_of(body: bytes) -> Json:
    """The JSON in these bytes. Raises `Refused`."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        detail = f"the body is not JSON (line {error.lineno}, column {error.colno}: {error.msg}); send a JSON object"
        raise Refused(FailureKind.BAD_REQUEST, detail, code="invalid_json") from None


async def complete(target: Calls, exchange: Exchange, request: Request) -> None:
    outcome = await exchange.unless_gone(target.complete(request))
    if isinstance(outcome, Failure):
        await answer_failure(exchange, outcome)
    else:
        await give(outcome, exchange, request)


async def give(outcome: Completion, exchange: Exchange, request: Request) -> None:
    """A whole answer."""
    exchange.outcome = outcome
    headers = _headers(outcome) + cost_headers(outcome.cost)
    body = exchange.surface.render(outcome, request)
    if isinstance(body, dict) and (had := _had_body(outcome)) is not None:
        body["raygate"] = had
    await exchange.reply(200, orjson.dumps(body), [JSON, *headers])


async def stream(target: Calls, exchange: Exchange, request: Request, *, keep_alive_s: float = KEEP_ALIVE_S) -> None:
    """The first event decides: a failure is an ordinary error answer, anything else starts the stream."""
    await exchange.unless_gone(_stream(target, exchange, request, keep_alive_s))


async def _stream(target: Calls, exchange: Exchange, request: Request, keep_alive_s: float) -> None:
    renderer = exchange.surface.renderer(request)
    patience = _Patience(exchange, renderer, keep_alive_s)
    ended = False
    try:
        ended = await _events(target, exchange, request, renderer, patience)
    except Exception:
        if not exchange.started:
            raise
        log.exception("stream.failed", extra={"request_id": request.request_id})
    if not exchange.started:
        raise RuntimeError("a stream gave no event at all")
    if not ended:
        # A client must not take what it has for the whole.
        detail = f"the stream broke off inside Raygate; its log says more under request id {request.request_id}"
        failure = Failure(kind=FailureKind.INTERNAL, detail=detail)
        exchange.outcome = failure
        await exchange.write(b"".join(renderer.render(StreamEnd(outcome=failure))))
    await exchange.write(b"", more=False)


async def _events(
    target: Calls, exchange: Exchange, request: Request, renderer: StreamRenderer, patience: _Patience
) -> bool:
    """Write the stream's events as they come. True if it had an end."""
    try:
        async with aclosing(target.stream(request)) as events:
            async for event in events:
                if patience.waiting:
                    await patience.end()
                if not exchange.started:
                    if isinstance(event, StreamEnd) and isinstance(event.outcome, Failure):
                        await answer_failure(exchange, event.outcome)
                        return True
                    await exchange.start(200, _stream_headers(exchange, _headers(_start_of(event))))
                if data := b"".join(renderer.render(event)):
                    await exchange.write(data)
                if isinstance(event, StreamEnd):
                    exchange.outcome = event.outcome
                    return True
        return False
    finally:
        await patience.end()


class _Patience:
    """Says that we are still there, until the first event comes."""

    __slots__ = ("_every_s", "_exchange", "_renderer", "_task", "_timer", "waiting")

    def __init__(self, exchange: Exchange, renderer: StreamRenderer, every_s: float) -> None:
        self._exchange = exchange
        self._renderer = renderer
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(every_s, self._due)
        self.waiting = True

    async def end(self) -> None:
        """Nothing more is said from here on. Idempotent."""
        self.waiting = False
        self._timer.cancel()
        if self._task is not None:
            # A write under way is let finish: half a comment would spoil what follows.
            await self._task

    def _due(self) -> None:
        self._task = asyncio.ensure_future(self._say())

    async def _say(self) -> None:
        said = self._renderer.keep_alive()
        if not said or not self.waiting:
            return
        if not self._exchange.started:
            # Who answers is not known yet: these headers are all that can be said.
            await self._exchange.start(200, _stream_headers(self._exchange, []))
        await self._exchange.write(said)
        if self.waiting:
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self._due)


def _stream_headers(exchange: Exchange, headers: Headers) -> Headers:
    return [(b"content-type", exchange.surface.stream_type.encode()), *_STREAM, *headers]


def _start_of(event: StreamEvent) -> StreamStart | Completion:
    if isinstance(event, StreamStart):
        return event
    if isinstance(event, StreamEnd) and isinstance(event.outcome, Completion):
        return event.outcome
    raise TypeError(f"a stream began with {type(event).__name__}, not with StreamStart")


def _headers(answer: StreamStart | Completion) -> Headers:
    """Who really answered, after how many tries, and what could not be passed on. Serve adds x-request-id."""
    had = _had_already(answer.attempts)
    hedged = sum(one.outcome == HEDGED for one in answer.attempts)
    failed = [one for one in answer.attempts if one.outcome not in ("ok", HEDGED, *_HAD)]
    headers = [
        *source_headers(answer.provider, answer.model),
        (b"x-raygate-attempts", b"%d" % (len(failed) + hedged + (not had))),
        (b"x-raygate-overhead-ms", b"%.2f" % (answer.overhead_s * 1e3)),
        *queue_header(answer.queue_s),
        *had,
    ]
    if hedged:
        headers.append((b"x-raygate-hedged", b"%d" % hedged))
    if failed:
        headers.append((b"x-raygate-failed-attempts", _latin(", ".join(map(_attempt, failed)))))
    if answer.dropped:
        fields = ", ".join(answer.dropped)
        headers.append((b"x-raygate-dropped", _latin(fields)))
        quoted = fields.replace("\\", "\\\\").replace('"', '\\"')
        headers.append((b"warning", _latin(f'299 raygate "{answer.provider} cannot take these fields: {quoted}"')))
    return headers


_HAD = {CACHED: b"hit", SHARED: b"shared"}
SEMANTIC = b"semantic"


def _had_already(attempts: Iterable[Attempt]) -> Headers:
    """How an answer came about for which nobody was asked; nothing for any other."""
    headers: Headers = []
    for one in attempts:
        if one.outcome in _HAD:
            headers.append((b"x-raygate-cache", _had_word(one)))
            if (kept := one.remembered) is not None:
                headers += [(b"age", b"%d" % kept.age_s), (b"x-raygate-cache-key", kept.key.encode())]
                if kept.saved_nanousd:
                    headers.append((b"x-raygate-saved-usd", _dollars(kept.saved_nanousd)))
    return headers


def _had_word(attempt: Attempt) -> bytes:
    by_meaning = attempt.remembered is not None and attempt.remembered.cosine is not None
    return SEMANTIC if by_meaning else _HAD[attempt.outcome]


def _had_body(completion: Completion) -> dict[str, Json] | None:
    """The same for the body of a whole answer; None where somebody was asked."""
    for one in completion.attempts:
        if one.outcome in _HAD:
            saved = 0 if completion.cost is None else completion.cost.saved_nanousd
            said: dict[str, Json] = {"cache": _had_word(one).decode(), "cost_usd": 0.0, "saved_usd": saved / 1e9}
            if (kept := one.remembered) is not None:
                said |= {"age_s": round(kept.age_s, 3), "key": kept.key}
                if kept.cosine is not None:
                    said["cosine"] = round(kept.cosine, 4)
            return said
    return None


def queue_header(queue_s: float) -> Headers:
    """How long the request waited for its places."""
    return [(b"x-raygate-queue-ms", b"%.2f" % (queue_s * 1e3))]


def controlled(request: Request, exchange: Exchange) -> Request:
    """The request with what its headers say of remembered answers (RFC 9111, 5.2.1), over what its body says.

    `no-store`: neither take nor leave one. `no-cache`: take none, leave one. `max-age=N`: take one that is younger.
    `only-if-cached`: take one, or a 504. `x-raygate-cache-tags` names words by which it can be forgotten.
    """
    said, tags = exchange.header(b"cache-control"), exchange.header(b"x-raygate-cache-tags")
    if tags:
        words = tuple(word for word in (one.strip() for one in tags.split(",")) if word)
        request = replace(request, cache_tags=(*request.cache_tags, *words))
    if not said:
        return request
    for one in said.lower().split(","):
        for word in one.split():
            name, _, value = word.partition("=")
            if name == "no-store":
                request = replace(request, no_store=True)
            elif name == "no-cache":
                request = replace(request, max_age_s=0.0)
            elif name == "only-if-cached":
                request = replace(request, only_if_cached=True)
            elif name == "max-age":
                age_s = float(value) if value.isascii() and value.isdecimal() else 0.0
                request = replace(
                    request, max_age_s=age_s if request.max_age_s is None else min(age_s, request.max_age_s)
                )
    return request


def source_headers(provider: str, model: str) -> Headers:
    """Who really answered."""
    return [(b"x-raygate-provider", _latin(provider)), (b"x-raygate-model", _latin(model))]


def _attempt(attempt: Attempt) -> str:
    return f"{attempt.provider}/{attempt.model}={attempt.outcome}"


def cost_headers(cost: Cost | None) -> Headers:
    return [(b"x-raygate-cost-usd", b"unknown" if cost is None else _dollars(cost.total_nanousd))]


def _dollars(nanousd: int) -> bytes:
    return b"%.9f" % (nanousd / 1e9)


def _latin(text: str) -> bytes:
    """Safe as a header's value: what came from outside must neither add lines to the answer's head nor spoil it."""
    if not (text.isascii() and text.isprintable()):
        text = _CONTROLS.sub(" ", text)
    return text.encode("latin-1", "replace")[:2_000]
