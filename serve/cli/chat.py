"""`raygate chat`: one question over HTTP, as any client would ask it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import orjson

from runtime.dialects.sse import SseEvent, SseParser
from serve.cli import http, place, screen
from serve.cli.errors import FAILED, Ended

DONE = b"[DONE]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What was typed. A prompt of "-" stands for standard input."""

    prompt: str
    model: str
    system: str
    max_tokens: int | None
    temperature: float | None

    def body(self) -> bytes:
        """The request, streamed. Raises `Ended` where there is nothing to send."""
        prompt = _piped() if self.prompt == "-" else self.prompt
        if not prompt.strip():
            raise Ended("the prompt is empty; give some text, or - to read it from standard input")
        system = [{"role": "system", "content": self.system}] if self.system else []
        body = {
            "model": self.model,
            "messages": [*system, {"role": "user", "content": prompt}],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        try:
            return orjson.dumps({name: value for name, value in body.items() if value not in (None, "")})
        except TypeError:
            raise Ended("the prompt is not UTF-8 text") from None


@dataclass(slots=True)
class Answer:
    """What came back so far."""

    provider: str = ""
    model: str = ""
    text: str = ""
    finish_reason: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    attempts: int = 1
    latency_s: float = 0.0

    def summary(self) -> str:
        """Who answered, tokens, cost, milliseconds."""
        from runtime.display import summary
        from runtime.outcome import Completion, Cost, Usage

        cost = self.usage.get("cost")
        line = summary(
            Completion(
                id="",
                provider=self.provider,
                model=self.model,
                usage=Usage(
                    input_tokens=self.usage.get("prompt_tokens", 0),
                    output_tokens=self.usage.get("completion_tokens", 0),
                    estimated=bool(self.usage.get("estimated")),
                ),
                cost=None if cost is None else Cost(total_nanousd=round(cost * 1_000_000_000)),
                latency_s=self.latency_s,
            )
        )
        tries = f" · {self.attempts} attempts" if self.attempts > 1 else ""
        ended = "" if self.finish_reason in ("", "stop") else f" · ended by {self.finish_reason}"
        return f"{line}{tries}{ended}"

    def plain(self) -> dict[str, Any]:
        """For --json."""
        return {
            "text": self.text,
            "provider": self.provider,
            "model": self.model,
            "finish_reason": self.finish_reason,
            "usage": {name: value for name, value in self.usage.items() if name != "cost"},
            "cost_usd": self.usage.get("cost"),
            "attempts": self.attempts,
            "ms": round(self.latency_s * 1000),
        }


def chat(ask: Ask, *, url: str, key: str, as_json: bool) -> None:
    """Ask, show the answer as it comes, then what it took. Raises `Ended`."""
    body = ask.body()
    target = place.target(url, key)
    answer = Answer()
    begun = False

    def show(text: str) -> None:
        nonlocal begun
        spinner.close()
        begun = begun or bool(text)
        if not as_json:
            sys.stdout.write(screen.harmless(text) if sys.stdout.isatty() else text)
            sys.stdout.flush()

    with ExitStack() as spinner:
        spinner.enter_context(screen.waiting("waiting for the first word"))
        try:
            _ask(target, body, answer, show)
        finally:
            spinner.close()
            if begun and not as_json and not answer.text.endswith("\n"):
                print()
    if as_json:
        screen.as_json(answer.plain())
        return
    screen.aside(answer.summary(), dim=True)


def _ask(target: place.Target, body: bytes, answer: Answer, show: Callable[[str], None]) -> None:
    headers = {"content-type": "application/json"}
    with (
        http.client(target) as client,
        client.stream("POST", "/v1/chat/completions", content=body, headers=headers) as reply,
    ):
        if reply.status_code != 200 or "text/event-stream" not in reply.headers.get("content-type", ""):
            reply.read()
            raise http.refusal(target, reply)
        answer.provider = reply.headers.get("x-raygate-provider", "")
        answer.model = reply.headers.get("x-raygate-model", "")
        answer.attempts = int(reply.headers.get("x-raygate-attempts", "1"))
        for chunk in _chunks(reply.iter_bytes()):
            _take(chunk, answer, show)
    answer.latency_s = reply.elapsed.total_seconds()


def _chunks(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The stream's events. Raises `Ended` where it does not end as a whole answer does."""
    parser = SseParser()
    for piece in pieces:
        for event in parser.feed(piece):
            if not isinstance(event, SseEvent):
                raise Ended("the answer holds an event that is too large", FAILED)
            if event.data == DONE:
                return
            yield orjson.loads(event.data)
    raise Ended("the answer was cut off", FAILED)


def _take(chunk: dict[str, Any], answer: Answer, show: Callable[[str], None]) -> None:
    if error := chunk.get("error"):
        raise Ended(screen.harmless(f"the answer broke off: {error.get('message')}").replace("\n", " "), FAILED)
    answer.model = answer.model or chunk.get("model", "")
    answer.usage = chunk.get("usage") or answer.usage
    for choice in chunk.get("choices", ()):
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
        delta = choice.get("delta", {})
        if text := (delta.get("content") or delta.get("refusal") or ""):
            answer.text += text
            show(text)


def _piped() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise Ended("standard input is not UTF-8 text") from None
