"""An upstream that keeps accounts: what it served, to whom, and what it charges for it, over real sockets.

    async with Meter(seed=1) as meter: ...            OpenAI's and Anthropic's dialect, chosen by the path
    GET /_meter                                       what it served, as JSON (`Served`, a list); also as `meter.served`
    python -m tests.chaos.meter --port N --seed S     as a process of its own; it prints its port when it is ready

It charges as real ones do: for the question once it has it, and for the whole answer once it has begun, also if the
caller hangs up or the connection breaks. Usage is told at the end alone. No two attempts have the same usage, so a row
of a ledger can be told from all others. `request` is the first word of the last message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.fakes.upstream import LAST_CHUNK, SSE_HEADERS, Behaviour, Exchange, Received, Upstream, frame, reply

FATES = {"well": 6, "slow": 2, "error": 1, "busy": 1, "reset": 1, "cut": 2, "late": 1}
"""How often each: an answer; a slow one; a 500 or 503 before anything was done; a connection that breaks before the
answer, or in the middle of it; an answer that is whole but for the bytes that say so."""

CHARGED = frozenset(FATES) - {"error", "busy"}

PIECES = 6
PAUSE_S = 0.01


@dataclass(slots=True)
class Served:
    """One attempt as it arrived, at `at_s` of the monotonic clock. `reported`: its usage was written to the caller, who
    may not have read it."""

    request: str
    dialect: str
    fate: str
    stream: bool
    input_tokens: int
    output_tokens: int
    reported: bool = False
    at_s: float = 0.0

    @property
    def charged(self) -> bool:
        return self.fate in CHARGED


@dataclass
class Meter(Upstream):
    """`served` is in order of arrival. `fates` are weights as in `FATES`, `least_tokens` what a question has."""

    seed: int = 0
    fates: Mapping[str, int] = field(default_factory=lambda: FATES)
    pause_s: float = PAUSE_S
    least_tokens: int = 20
    served: list[Served] = field(default_factory=list)
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def reseed(self, seed: int) -> None:
        """Begin another sequence of fates."""
        self._rng = random.Random(seed)

    def _behaviour(self, request: Received) -> Behaviour:
        if request.path == "/_meter":
            body = json.dumps([asdict(one) for one in self.served]).encode()
            return reply(body, headers={"Content-Type": "application/json"})
        dialect = {"/v1/chat/completions": "openai", "/v1/messages": "anthropic"}.get(request.path)
        if dialect is None:
            return super()._behaviour(request)
        asked = request.json()
        number = len(self.served)
        (fate,) = self._rng.choices(list(self.fates), weights=list(self.fates.values()))
        one = Served(
            request=_words(asked["messages"][-1]["content"]).split(" ", 1)[0],
            dialect=dialect,
            fate=fate,
            stream=bool(asked.get("stream")),
            input_tokens=self.least_tokens + number,
            output_tokens=PIECES + number % 50,
            at_s=time.monotonic(),
        )
        self.served.append(one)
        self._changed.set()
        return self._answer(one, str(asked.get("model", "")))

    def _answer(self, one: Served, model: str) -> Behaviour:
        speak = _OpenAI(one, model) if one.dialect == "openai" else _Anthropic(one, model)
        pause_s = self.pause_s * (20 if one.fate == "slow" else 1)

        async def behave(exchange: Exchange) -> None:
            await asyncio.sleep(pause_s)
            match one.fate:
                case "error" | "busy":
                    status = 500 if one.fate == "error" else 503
                    return await _json(exchange, speak.error(status), status)
                case "reset":
                    return exchange.reset()
                case _ if one.stream:
                    return await self._streamed(exchange, one, speak, pause_s)
            body = speak.whole()
            if one.fate == "cut":
                await exchange.head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
                await exchange.send(body[: len(body) // 2])
                return exchange.close()
            one.reported = True
            return await _json(exchange, body)

        return behave

    async def _streamed(self, exchange: Exchange, one: Served, speak: _OpenAI | _Anthropic, pause_s: float) -> None:
        await exchange.head(200, SSE_HEADERS)
        events = speak.events()
        # The last two say what was used, and that this was all.
        cut = {"cut": len(events) // 2, "late": len(events) - 2}.get(one.fate, len(events))
        for at, event in enumerate(events[:cut]):
            one.reported = at >= len(events) - 2
            await exchange.send(frame(event))
            await asyncio.sleep(pause_s)
        if cut < len(events):
            return exchange.close()
        await exchange.send(LAST_CHUNK)
        return None


@dataclass(frozen=True, slots=True)
class _OpenAI:
    one: Served
    model: str

    def usage(self) -> dict[str, int]:
        total = self.one.input_tokens + self.one.output_tokens
        said = {"prompt_tokens": self.one.input_tokens, "completion_tokens": self.one.output_tokens}
        return {**said, "total_tokens": total}

    def whole(self) -> bytes:
        message = {"role": "assistant", "content": "word " * PIECES}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        said = {"id": "c1", "object": "chat.completion", "created": 1, "model": self.model}
        return json.dumps({**said, "choices": [choice], "usage": self.usage()}).encode()

    def events(self) -> list[bytes]:
        def chunk(delta: Mapping[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
            choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
            said = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": self.model}
            return b"data: " + json.dumps({**said, "choices": choices, **more}).encode() + b"\n\n"

        words = [chunk({"content": "word "}) for _ in range(PIECES)]
        end = chunk(None, usage=self.usage()) + b"data: [DONE]\n\n"
        return [chunk({"role": "assistant"}), *words, chunk({}, "stop"), end]

    def error(self, status: int) -> bytes:
        return json.dumps({"error": {"message": f"The meter answers {status}.", "type": "server_error"}}).encode()


@dataclass(frozen=True, slots=True)
class _Anthropic:
    one: Served
    model: str

    def whole(self) -> bytes:
        usage = {"input_tokens": self.one.input_tokens, "output_tokens": self.one.output_tokens}
        said = {"id": "m1", "type": "message", "role": "assistant", "model": self.model, "stop_sequence": None}
        content = [{"type": "text", "text": "word " * PIECES}]
        return json.dumps({**said, "content": content, "stop_reason": "end_turn", "usage": usage}).encode()

    def events(self) -> list[bytes]:
        def event(kind: str, **said: Any) -> bytes:
            return f"event: {kind}\ndata: {json.dumps({'type': kind, **said})}\n\n".encode()

        message = {"id": "m1", "type": "message", "role": "assistant", "model": self.model, "content": []}
        begun = {"input_tokens": self.one.input_tokens, "output_tokens": 1}
        word = {"type": "text_delta", "text": "word "}
        used = {"output_tokens": self.one.output_tokens}
        return [
            event("message_start", message={**message, "stop_reason": None, "stop_sequence": None, "usage": begun}),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            *[event("content_block_delta", index=0, delta=word) for _ in range(PIECES)],
            event("content_block_stop", index=0),
            event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=used),
            event("message_stop"),
        ]

    def error(self, status: int) -> bytes:
        error = {"type": "api_error", "message": f"The meter answers {status}."}
        return json.dumps({"type": "error", "error": error}).encode()


async def _json(exchange: Exchange, body: bytes, status: int = 200) -> None:
    await reply(body, status=status, headers={"Content-Type": "application/json"})(exchange)


def _words(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


async def _serve(port: int, seed: int) -> None:
    async with Meter(port=port, seed=seed) as meter:
        print(meter.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    said = parser.parse_args()
    asyncio.run(_serve(said.port, said.seed))
