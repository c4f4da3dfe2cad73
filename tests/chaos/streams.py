"""Many streams at once through HTTP, and an upstream under the test's hand that knows what it sent to each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

from tests.e2e.conftest import Live
from tests.fakes.upstream import LAST_CHUNK, SSE_HEADERS, Exchange, Upstream, frame, reply

WORD_EVERY_S = 0.25
END = "data: [DONE]"


class Patient:
    """Answers chats with "w0 w1 w2 …", a word at a time, until it is told to finish. Each caller has its own model.

    A model whose name begins with `quiet` gets one word and then nothing until the end. A plain answer comes then, too;
    that of `quick` comes at once.
    """

    def __init__(self, port: int = 0) -> None:
        self.upstream = Upstream(port=port)
        self.upstream.on("/chat/completions", self._answer)
        self.sent: dict[str, int] = {}
        self.ports: dict[str, int] = {}
        self.left_at: dict[str, float] = {}
        self._finish = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.upstream.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._finish.set()
        await self.upstream.stop()

    @property
    def active(self) -> set[str]:
        """The models that are being answered."""
        return self.sent.keys() - self.left_at.keys()

    def finish(self) -> None:
        """Let every answer come to its end: those under way, and those still to come."""
        self._finish.set()

    async def _answer(self, exchange: Exchange) -> None:
        said = exchange.request.json()
        model = said["model"]
        self.left_at.pop(model, None)
        self.sent[model] = 0
        self.ports[model] = exchange._connection.transport.get_extra_info("peername")[1]
        try:
            if said.get("stream"):
                await self._stream(exchange, model)
            else:
                if model != "quick":
                    await self._finish.wait()
                await reply(json.dumps(_chunk(model, "message", "whole", "stop")).encode())(exchange)
        finally:
            self.left_at[model] = time.monotonic()

    async def _stream(self, exchange: Exchange, model: str) -> None:
        await exchange.head(200, SSE_HEADERS)
        while True:
            await exchange.send(_event(_chunk(model, "delta", f"w{self.sent[model]} ")))
            self.sent[model] += 1
            try:
                async with asyncio.timeout(None if model.startswith("quiet") else WORD_EVERY_S):
                    await self._finish.wait()
                break
            except TimeoutError:
                continue
        await exchange.send(_event(_chunk(model, "delta", "", "stop")) + frame(b"data: [DONE]\n\n") + LAST_CHUNK)


def _event(value: object) -> bytes:
    return frame(b"data: " + json.dumps(value).encode() + b"\n\n")


def _chunk(model: str, key: str, text: str, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, key: {"role": "assistant", "content": text}, "finish_reason": finish}
    kind = "chat.completion.chunk" if key == "delta" else "chat.completion"
    return {"id": "x", "object": kind, "created": 1, "model": model, "choices": [choice]}


@dataclass
class Stream:
    """One stream as its client sees it. `model` is what the upstream knows it by."""

    model: str
    words: list[str] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    end_mark: bool = False
    error: str = ""
    """The type of the error event that came, if one did."""
    cut: str = ""
    """How the body broke off before its end, if it did."""
    refused: str = ""
    """The answer, if it was none."""

    @property
    def broken(self) -> bool:
        return bool(self.error or self.cut or self.refused)

    @property
    def honest(self) -> bool:
        """True unless it came to an end that looks like one and is none."""
        return not (self.broken and self.end_mark) and (self.broken or self.end_mark)


class Streams:
    """A context: the streams run inside it, and are given up where they have not ended by then."""

    def __init__(self, live: Live, models: Mapping[str, str], **body: Any) -> None:
        """`models` names for each stream what to ask for, by what the upstream knows it by."""
        self._live = live
        self._body = body
        self._models = models
        self.all = {name: Stream(name) for name in models}
        self._tasks: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=120)
        self._session = aiohttp.ClientSession(
            self._live.url, headers=self._live.headers, connector=connector, timeout=timeout
        )
        self._tasks = [asyncio.create_task(self._run(one, self._session)) for one in self.all.values()]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self._session is not None
        await self._session.close()

    async def all_begun(self) -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(*(one.begun.wait() for one in self.all.values()))
        assert not self.broken, next(iter(self.broken.values()))

    async def over(self, names: set[str], *, within_s: float) -> None:
        """Wait until these have ended."""
        try:
            async with asyncio.timeout(within_s):
                await asyncio.gather(*(self.all[name].over.wait() for name in names))
        except TimeoutError:
            left = {name for name in names if not self.all[name].over.is_set()}
            raise AssertionError(f"not over within {within_s} s: {sorted(left)}") from None

    @property
    def broken(self) -> dict[str, Stream]:
        return {name: one for name, one in self.all.items() if one.broken}

    async def _run(self, stream: Stream, session: aiohttp.ClientSession) -> None:
        messages = [{"role": "user", "content": "Tell me a long story about rays."}]
        body = {"model": self._models[stream.model], "messages": messages, "stream": True, **self._body}
        try:
            async with session.post("/v1/chat/completions", json=body) as reply:
                if reply.status != 200:
                    stream.refused = f"{reply.status} {await reply.text()}"
                    return
                async for line in reply.content:
                    _read(stream, line.decode().strip())
        except (aiohttp.ClientError, ConnectionError) as error:
            stream.cut = repr(error)
        finally:
            stream.begun.set()
            stream.over.set()


def _read(stream: Stream, line: str) -> None:
    if line == END:
        stream.end_mark = True
    elif line.startswith("data: "):
        event = json.loads(line.removeprefix("data: "))
        if "error" in event:
            stream.error = str(event["error"]["type"])
        for choice in event.get("choices", ()):
            if text := choice["delta"].get("content"):
                stream.words.append(text)
                stream.begun.set()
