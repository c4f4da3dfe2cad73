"""A provider whose every answer follows from the model's name, in OpenAI's and in Anthropic's words.

    say              "Hello from the fake.", in five pieces
    weather          two calls of the first tool at once; once their results are there, a sentence about them
    person           a JSON object: as the answer, or as arguments where the request makes it call a tool
    see              what pictures came
    think            a thought, and what came of it (signed, in Anthropic's words)
    cut              an answer that ran out of tokens
    endless          a word every 50 ms, for as long as somebody listens
    never            no answer at all
    fail-STATUS      that status, always, with `retry-after-ms: 300` on a 429
    flaky-STATUS     the same once, then `say`
    full, overflow   429 insufficient_quota, 400 context_length_exceeded
    reset, stop-early, error-event     `say` as a stream that breaks before its last two pieces

`flaky-503+person`, `reset+person`: as `person`, not `say`. A name may go on after a dot (`say.openai-3`): counted by
itself, so that clients do not see each other.
GET /_seen?model=NAME tells a client what came for this name, and whether anybody listens still.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.clients import anthropic_words, openai_words
from tests.clients.answers import USAGE, Answer, Asked, Call
from tests.fakes.upstream import SSE_HEADERS, Exchange, Upstream, frame, reply, stream

PIECES = ("Hello", " from", " the", " fake", ".")
PERSON = {"name": "Ada", "age": 36}
RETRY_AFTER_MS = "300"
BREAKS = ("reset", "stop-early", "error-event")

CODES: Mapping[str, tuple[int, str, str]] = {
    "full": (429, "insufficient_quota", "You exceeded your current quota."),
    "overflow": (400, "context_length_exceeded", "This model's maximum context length is 8 tokens."),
}


@dataclass
class Seen:
    """What came for one model. `listening` counts answers under way."""

    bodies: list[Any] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    listening: int = 0


@dataclass
class FakeProvider(Upstream):
    """Serves the routes of both APIs."""

    seen: defaultdict[str, Seen] = field(default_factory=lambda: defaultdict(Seen))

    def __post_init__(self) -> None:
        self.on("/v1/chat/completions", self._openai)
        self.on("/v1/messages", self._anthropic)
        self.on("/v1/messages/count_tokens", self._count)
        self.on("/v1/embeddings", self._embed)
        self.on("/v1/models", self._models)
        self.on("/_seen", self._tell)

    async def _openai(self, exchange: Exchange) -> None:
        await self._speak(exchange, openai_words)

    async def _anthropic(self, exchange: Exchange) -> None:
        await self._speak(exchange, anthropic_words)

    async def _speak(self, exchange: Exchange, words: Any) -> None:
        body = exchange.request.json()
        model = body["model"]
        seen = self.seen[model]
        seen.bodies.append(body)
        seen.headers.append(exchange.request.headers)
        seen.listening += 1
        try:
            await self._act(exchange, words, body, model.partition(".")[0], first=len(seen.bodies) == 1)
        finally:
            seen.listening -= 1

    async def _act(self, exchange: Exchange, words: Any, body: Any, name: str, *, first: bool) -> None:
        what, _, then = name.partition("+")
        answer = answer_to(then or what, words.asked(body))
        kind, _, status = what.partition("-")
        if kind == "fail" or (kind == "flaky" and first):
            await _error(exchange, words, int(status), None, f"The fake says {status}.")
        elif what in CODES:
            await _error(exchange, words, *CODES[what])
        elif what == "never":
            await exchange.gone.wait()
        elif not body.get("stream"):
            await _json(exchange, words.whole(body, answer))
        elif what == "endless":
            await _endless(exchange, words, body)
        elif what in BREAKS:
            await _break(exchange, words, body, answer, what)
        else:
            await stream(words.events(body, answer), interval_s=0)(exchange)

    async def _count(self, exchange: Exchange) -> None:
        await _json(exchange, {"input_tokens": USAGE["input"]})

    async def _embed(self, exchange: Exchange) -> None:
        body = exchange.request.json()
        self.seen[body["model"]].bodies.append(body)
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        rows = []
        for index, text in enumerate(texts):
            vector = [float(len(text)), 0.5, -0.25][: body.get("dimensions", 3)]
            packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            said = packed if body.get("encoding_format") == "base64" else vector
            rows.append({"object": "embedding", "index": index, "embedding": said})
        usage = {"prompt_tokens": 3 * len(texts), "total_tokens": 3 * len(texts)}
        await _json(exchange, {"object": "list", "data": rows, "model": body["model"], "usage": usage})

    async def _models(self, exchange: Exchange) -> None:
        names = ("say", "weather", "person", "see", "embed")
        rows = [{"id": name, "object": "model", "created": 1, "owned_by": "fake"} for name in names]
        await _json(exchange, {"object": "list", "data": rows})

    async def _tell(self, exchange: Exchange) -> None:
        seen = self.seen.get(exchange.request.query["model"], Seen())
        told = {"count": len(seen.bodies), "listening": seen.listening, "bodies": seen.bodies, "headers": seen.headers}
        await _json(exchange, told)


def answer_to(what: str, asked: Asked) -> Answer:
    """What a model of this name says to a request."""
    if what == "weather" and asked.tools:
        if asked.results:
            return Answer(pieces=("Paris: ", asked.results[0], "; Zürich: ", asked.results[-1]))
        name = asked.tools[0]
        return Answer(calls=(Call("call_1", name, '{"city":"Paris"}'), Call("call_2", name, '{"city":"Zürich"}')))
    if what == "person":
        said = json.dumps(PERSON)
        if asked.tools:
            return Answer(calls=(Call("call_1", asked.tools[0], said),))
        return Answer(pieces=(said[:9], said[9:17], said[17:]))
    if what == "see":
        return Answer(pieces=tuple(f"[{picture}]" for picture in asked.pictures) or ("nothing",))
    if what == "think":
        return Answer(thought="Two and two make four.", pieces=("Four", "."))
    if what == "cut":
        return Answer(pieces=("And", " then"), finish="length")
    return Answer(pieces=PIECES)


async def _error(exchange: Exchange, words: Any, status: int, code: str | None, message: str) -> None:
    headers = {"Content-Type": "application/json"}
    if status == 429 and code is None:
        headers |= {"Retry-After-Ms": RETRY_AFTER_MS, "Retry-After": "1"}
    body = json.dumps(words.error(status, code, message)).encode()
    await reply(body, status=status, headers=headers)(exchange)


async def _json(exchange: Exchange, value: object) -> None:
    await reply(json.dumps(value).encode(), headers={"Content-Type": "application/json"})(exchange)


async def _endless(exchange: Exchange, words: Any, body: Any) -> None:
    *begin, piece = words.events(body, Answer(pieces=("word ",)))[: words.BEFORE_TEXT + 1]
    await exchange.head(200, SSE_HEADERS)
    for event in begin:
        await exchange.send(frame(event))
    while not exchange.gone.is_set():
        await exchange.send(frame(piece))
        await asyncio.sleep(0.05)


async def _break(exchange: Exchange, words: Any, body: Any, answer: Answer, how: str) -> None:
    events = words.events(body, answer)[: words.BEFORE_TEXT + len(answer.pieces) - 2]
    if how == "error-event":
        events.append(words.error_event("The fake broke."))
    if how != "reset":
        # Piece by piece: an error on the heels of the first content would be one before anything was shown.
        await stream(events, interval_s=0.03)(exchange)
        return
    await exchange.head(200, SSE_HEADERS)
    for event in events:
        await exchange.send(frame(event))
    # The reader's kernel drops what it has not read yet when the RST comes.
    await asyncio.sleep(0.1)
    exchange.reset()
