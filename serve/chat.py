"""POST /v1/chat/completions, plain and streamed."""

from __future__ import annotations

import logging
import re
from contextlib import aclosing
from dataclasses import replace

import orjson

from runtime.cache import CACHED
from runtime.dialects.openai_surface import ChunkRenderer, parse_chat, render_completion
from runtime.outcome import Attempt, Completion, Cost, Failure, FailureKind, StreamEnd, StreamEvent, StreamStart
from runtime.provider import Provider
from runtime.request import Request
from serve.errors import Refused, answer_failure
from serve.http import JSON, Exchange, Headers

log = logging.getLogger("raygate.http")

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")

SSE: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def parse(body: bytes, *, request_id: str, tenant: str) -> Request | Failure:
    """The request in these bytes, or what is wrong with them."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        detail = f"the body is not JSON (line {error.lineno}, column {error.colno}: {error.msg}); send a JSON object"
        raise Refused(FailureKind.BAD_REQUEST, detail, code="invalid_json") from None
    parsed = parse_chat(said)
    return parsed if isinstance(parsed, Failure) else replace(parsed, request_id=request_id, tenant=tenant)


async def complete(target: Provider, exchange: Exchange, request: Request) -> None:
    outcome = await exchange.unless_gone(target.complete(request))
    if isinstance(outcome, Failure):
        await answer_failure(exchange, outcome)
        return
    headers = _headers(outcome)
    headers += [(b"x-raygate-overhead-ms", b"%.2f" % (outcome.overhead_s * 1e3)), *_cost(outcome.cost)]
    await exchange.reply(
        200, orjson.dumps(render_completion(outcome, legacy=request.legacy_functions)), [JSON, *headers]
    )


async def stream(target: Provider, exchange: Exchange, request: Request) -> None:
    """The first event decides: a failure is an ordinary error answer, anything else starts the stream."""
    await exchange.unless_gone(_stream(target, exchange, request))


async def _stream(target: Provider, exchange: Exchange, request: Request) -> None:
    renderer = ChunkRenderer(stream_usage=request.stream_usage, legacy=request.legacy_functions)
    ended = False
    try:
        ended = await _events(target, exchange, request, renderer)
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
        await exchange.write(b"".join(renderer.render(StreamEnd(outcome=failure))))
    await exchange.write(b"", more=False)


async def _events(target: Provider, exchange: Exchange, request: Request, renderer: ChunkRenderer) -> bool:
    """Write the stream's events as they come. True if it had an end."""
    async with aclosing(target.stream(request)) as events:
        async for event in events:
            if not exchange.started:
                if isinstance(event, StreamEnd) and isinstance(event.outcome, Failure):
                    await answer_failure(exchange, event.outcome)
                    return True
                await exchange.start(200, [*SSE, *_headers(_start_of(event))])
            if data := b"".join(renderer.render(event)):
                await exchange.write(data)
            if isinstance(event, StreamEnd):
                return True
    return False


def _start_of(event: StreamEvent) -> StreamStart | Completion:
    if isinstance(event, StreamStart):
        return event
    if isinstance(event, StreamEnd) and isinstance(event.outcome, Completion):
        return event.outcome
    raise TypeError(f"a stream began with {type(event).__name__}, not with StreamStart")


def _headers(answer: StreamStart | Completion) -> Headers:
    """Who really answered, after how many tries, and what could not be passed on. Serve adds x-request-id."""
    cached = any(one.outcome == CACHED for one in answer.attempts)
    failed = [one for one in answer.attempts if one.outcome not in ("ok", CACHED)]
    headers = [
        (b"x-raygate-provider", _latin(answer.provider)),
        (b"x-raygate-model", _latin(answer.model)),
        (b"x-raygate-attempts", b"%d" % (len(failed) + (not cached))),
    ]
    if cached:
        headers.append((b"x-raygate-cache", b"hit"))
    if failed:
        headers.append((b"x-raygate-failed-attempts", _latin(", ".join(map(_attempt, failed)))))
    if answer.dropped:
        fields = ", ".join(answer.dropped)
        headers.append((b"x-raygate-dropped", _latin(fields)))
        quoted = fields.replace("\\", "\\\\").replace('"', '\\"')
        headers.append((b"warning", _latin(f'299 raygate "{answer.provider} cannot take these fields: {quoted}"')))
    return headers


def _attempt(attempt: Attempt) -> str:
    return f"{attempt.provider}/{attempt.model}={attempt.outcome}"


def _cost(cost: Cost | None) -> Headers:
    return [(b"x-raygate-cost-usd", b"unknown" if cost is None else b"%.9f" % (cost.total_nanousd / 1e9))]


def _latin(text: str) -> bytes:
    """Safe as a header's value: what came from outside must neither add lines to the answer's head nor spoil it."""
    return _CONTROLS.sub(" ", text).encode("latin-1", "replace")[:2_000]
