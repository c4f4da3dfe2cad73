"""Each dialect as an upstream speaks it, made of the samples of the conformance suite."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

from tests.chaos.faults import Life, Wait
from tests.conformance.samples import SAMPLES

WAIT_S = 1.0
"""What the forms of a wait name that have whole seconds only; the others name `SHORT_WAIT_S`."""

SHORT_WAIT_S = 0.3

WORD = "héllo "
LARGE = "x" * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """`first` is the piece of the stream that brings its first content, `proof` the one that shows it to be whole.

    Without a `first` nothing is shown before the whole answer is there.
    """

    name: str
    path: str
    content_type: str
    pieces: tuple[bytes, ...]
    first: int | None
    proof: int
    reply: bytes
    text: str
    error: Callable[[int, str], Any]
    error_event: bytes
    life: Mapping[Life, bytes]

    @property
    def before(self) -> bytes:
        """What a stream has said before its first content: not all of them say anything."""
        whole = b"".join(self.pieces[: self.first or 0])
        return whole or self.pieces[0][: len(self.pieces[0]) // 2]

    @property
    def begun(self) -> bytes:
        """The same, and the first content."""
        return self.before if self.first is None else b"".join(self.pieces[: self.first + 1])

    @property
    def unproven(self) -> bytes:
        """All but what shows the answer to be whole."""
        return self.reply[:-1] if self.first is None else b"".join(self.pieces[: self.proof])

    @property
    def stream(self) -> bytes:
        return b"".join(self.pieces)

    def waits(self, form: Wait, status: int) -> tuple[dict[str, str], dict[str, Any]]:
        """Headers, and fields of the error body, that name the wait."""
        now = time.time()
        date = {"Date": formatdate(now, usegmt=True)}
        match form:
            case Wait.NONE:
                return date, {}
            case Wait.SECONDS:
                return {**date, "Retry-After": f"{WAIT_S:.0f}"}, {}
            case Wait.DATE:
                return {**date, "Retry-After": formatdate(now + WAIT_S, usegmt=True)}, {}
            case Wait.MILLIS:
                return {**date, "retry-after-ms": f"{SHORT_WAIT_S * 1000:.0f}"}, {}
            case Wait.OWN:
                return self._own_wait(date, now)

    def wait_s(self, form: Wait) -> float | None:
        """The seconds that `waits` named, None where it named none."""
        match form:
            case Wait.NONE:
                return None
            case Wait.MILLIS:
                return SHORT_WAIT_S
            case Wait.OWN if self.name in ("google", "openai"):
                return SHORT_WAIT_S
            case _:
                return WAIT_S

    def _own_wait(self, date: dict[str, str], now: float) -> tuple[dict[str, str], dict[str, Any]]:
        match self.name:
            case "google":
                info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{SHORT_WAIT_S}s"}
                return date, {"details": [info]}
            case "openai":
                limits = {"remaining-requests": "0", "reset-requests": f"{SHORT_WAIT_S * 1000:.0f}ms"}
                limits |= {"remaining-tokens": "29996", "reset-tokens": "30s"}
                return {**date, **{f"x-ratelimit-{name}": said for name, said in limits.items()}}, {}
            case "anthropic":
                moment = datetime.fromtimestamp(int(now) + WAIT_S, UTC).isoformat().replace("+00:00", "Z")
                limits = {"requests-remaining": "0", "requests-reset": moment}
                return {**date, **{f"anthropic-ratelimit-{name}": said for name, said in limits.items()}}, {}
            case "openrouter":
                moment = f"{(int(now) + WAIT_S) * 1000:.0f}"
                return {**date, "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": moment}, {}
            case _:
                # Cohere, Ollama and ruvLLM have no form of their own.
                return {**date, "Retry-After": f"{WAIT_S:.0f}"}, {}


def _openai_error(status: int, message: str) -> Any:
    return {"error": {"message": message, "type": "server_error", "param": None, "code": None}}


def _openrouter_error(status: int, message: str) -> Any:
    return {"error": {"message": message, "code": status}}


def _anthropic_error(status: int, message: str) -> Any:
    kinds = {429: "rate_limit_error", 529: "overloaded_error"}
    return {"type": "error", "error": {"type": kinds.get(status, "api_error"), "message": message}}


def _google_error(status: int, message: str) -> Any:
    words = {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
    return {"error": {"code": status, "message": message, "status": words.get(status, "UNKNOWN")}}


def _cohere_error(status: int, message: str) -> Any:
    return {"id": "e1", "message": message}


def _bare_error(status: int, message: str) -> Any:
    return {"error": message}


def _data(value: Any, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(value).encode() + b"\n\n"


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


_NOTHING = {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}]}
_SSE = "text/event-stream"
_BROKEN = "The fake broke."


def _split(stream: bytes, *, lines: bool) -> tuple[bytes, ...]:
    pattern = rb".*?\n" if lines else rb".*?\r?\n\r?\n"
    pieces = tuple(re.findall(pattern, stream, re.DOTALL))
    assert b"".join(pieces) == stream
    return pieces


def _wire(
    name: str,
    path: str,
    *,
    proof: bytes,
    error: Callable[[int, str], Any],
    error_event: bytes,
    comments: bytes,
    empty: bytes,
    lines: bool = False,
) -> Wire:
    sample = SAMPLES[name]
    pieces = _split(sample.stream, lines=lines)
    content = [n for n, piece in enumerate(pieces) if b'"hm' in piece or WORD.encode() in piece]
    return Wire(
        name=name,
        path=path,
        content_type="application/x-ndjson" if lines else _SSE,
        pieces=pieces,
        first=content[0],
        proof=next(n for n, piece in enumerate(pieces) if proof in piece),
        reply=sample.reply,
        text=sample.text,
        error=error,
        error_event=error_event,
        life={Life.COMMENTS: comments, Life.EMPTY_DELTAS: empty},
    )


_PING = _data({"type": "ping"}, "ping")

WIRES: dict[str, Wire] = {
    wire.name: wire
    for wire in (
        _wire(
            "openai",
            "/v1",
            proof=b'"finish_reason":"tool_calls"',
            error=_openai_error,
            error_event=_data(_openai_error(500, _BROKEN)),
            comments=b": keep-alive\n\n",
            empty=_data(_NOTHING),
        ),
        _wire(
            "openrouter",
            "/api/v1",
            proof=b'"finish_reason":"tool_calls"',
            error=_openrouter_error,
            error_event=_data(
                {**_openrouter_error(502, _BROKEN), "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}
            ),
            comments=b": OPENROUTER PROCESSING\n\n",
            empty=_data(_NOTHING),
        ),
        _wire(
            "anthropic",
            "/v1",
            proof=b'"message_stop"',
            error=_anthropic_error,
            error_event=_data(_anthropic_error(529, _BROKEN), "error"),
            comments=b": keep-alive\n\n",
            empty=_PING,
        ),
        _wire(
            "google",
            "/v1beta",
            proof=b'"finishReason":"STOP"',
            error=_google_error,
            error_event=_data(_google_error(503, _BROKEN)),
            comments=b": keep-alive\r\n\r\n",
            empty=_data({"candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "index": 0}]}),
        ),
        _wire(
            "cohere",
            "",
            proof=b'"message-end"',
            error=_cohere_error,
            error_event=_data({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": _BROKEN}}),
            comments=b": keep-alive\n\n",
            empty=_data({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": ""}}}}),
        ),
        _wire(
            "ollama",
            "",
            proof=b'"done":true',
            error=_bare_error,
            error_event=_line({"error": _BROKEN}),
            comments=b"\n",
            empty=_line({"model": "m", "message": {"role": "assistant", "content": ""}, "done": False}),
            lines=True,
        ),
        Wire(
            name="ruvllm",
            path="",
            content_type="application/json",
            pieces=(SAMPLES["ruvllm"].reply,),
            first=None,
            proof=0,
            reply=SAMPLES["ruvllm"].reply,
            text=SAMPLES["ruvllm"].text,
            error=_bare_error,
            error_event=json.dumps(_bare_error(500, _BROKEN)).encode(),
            life={Life.COMMENTS: b" ", Life.EMPTY_DELTAS: b"\n"},
        ),
    )
}
