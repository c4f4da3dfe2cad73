"""Our own ruvLLM endpoints: the inverse of the `ruvllm` dialect, and what its server promised and never had.

    POST /query     {query, session_id?} ──► {text, model_used, context_size, confidence, latency_ms}
    POST /feedback  {query, response, quality} ──► nothing
    GET  /stats     ──► {total_queries, cache_hits, avg_latency_ms, memory_nodes, router_updates}
    POST /session   ──► {session_id}
    errors          one sentence of plain text, under a status that says what kind

Nothing is learnt here: `/v1/sona/metrics` says so, `/v1/sona/learn` and `/v1/hnsw/search` refuse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import orjson

from runtime.dialects.fields import Wrong, obj, opt_number, opt_text, text
from runtime.dialects.ruvllm.encode import NAME
from runtime.dialects.ruvllm.parse import parse_request
from runtime.dialects.surface import ErrorReply, retry_headers, sentence_of
from runtime.outcome import Completion, Delta, Failure, StreamEvent, StreamStart
from runtime.request import AudioPart, Json, Request, TextPart

__all__ = [
    "Feedback",
    "RuvLLMSurface",
    "learning_refused",
    "parse_feedback",
    "parse_request",
    "parse_session",
    "render_session",
    "render_sona_metrics",
    "render_stats",
]

_TAKEN = frozenset(("text", "model_used", "context_size", "confidence", "latency_ms", "estimated", "cost"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """How good an answer was, from 0 to 1."""

    query: str
    response: str
    quality: float


class RuvLLMSurface:
    """`/query`, as a `Surface`. There are no streams on this wire: whoever asks for one gets the whole at its end."""

    name = NAME
    stream_type = "application/json"

    def render(self, completion: Completion, request: Request) -> Json:
        return render_answer(completion)

    def renderer(self, request: Request) -> WholeRenderer:
        return WholeRenderer()

    def error(self, failure: Failure) -> ErrorReply:
        """The body is text, not JSON."""
        return ErrorReply(failure.handling.status, retry_headers(failure), sentence_of(failure))


class WholeRenderer:
    """A `StreamRenderer`: one body, once it is whole."""

    __slots__ = ()

    def render(self, event: StreamEvent) -> list[bytes]:
        if isinstance(event, Delta | StreamStart):
            return []
        if isinstance(event.outcome, Failure):
            return [sentence_of(event.outcome).encode()]
        return [orjson.dumps(render_answer(event.outcome))]

    def keep_alive(self) -> bytes:
        # Space before JSON says nothing.
        return b" "


def render_answer(completion: Completion) -> dict[str, Json]:
    """The body of an answer.

    `confidence` is null unless a ruvLLM behind us said one: nobody else's answer comes with a number that means it.
    """
    usage, said = completion.usage, completion.extra
    confidence, context, latency = said.get("confidence"), said.get("context_size"), said.get("latency_ms")
    body: dict[str, Json] = {
        "text": _text(completion),
        "model_used": completion.model,
        "context_size": usage.input_tokens or (context if _is_number(context) else 0),
        "confidence": confidence if _is_number(confidence) else None,
        "latency_ms": completion.latency_s * 1e3 or (latency if _is_number(latency) else 0.0),
    }
    if usage.estimated:
        body["estimated"] = True
    if completion.cost is not None:
        body["cost"] = completion.cost.total_nanousd / 1_000_000_000
    body.update((name, value) for name, value in said.items() if name not in _TAKEN and name != "error")
    return body


def parse_feedback(body: Json) -> Feedback | Failure:
    """The feedback in a parsed JSON body, or a failure whose `param` names the field at fault."""
    try:
        return _feedback(obj(body, "body"))
    except Wrong as wrong:
        return wrong.failure()


def parse_session(body: Json) -> str | Failure | None:
    """The session that a body names; None where it names none, as it may: this call is made without a body, too."""
    try:
        return None if body is None else opt_text(obj(body, "body"), "session_id", "session_id")
    except Wrong as wrong:
        return wrong.failure()


def render_session(session_id: str) -> dict[str, Json]:
    return {"session_id": session_id}


def render_stats(
    *, total_queries: int, cache_hits: int, avg_latency_ms: float, memory_nodes: int = 0, router_updates: int = 0
) -> dict[str, Json]:
    """The body of GET /stats. Nothing is remembered or learnt as long as nobody counts it."""
    return {
        "total_queries": total_queries,
        "cache_hits": cache_hits,
        "avg_latency_ms": avg_latency_ms if math.isfinite(avg_latency_ms) else 0.0,
        "memory_nodes": memory_nodes,
        "router_updates": router_updates,
    }


def render_sona_metrics() -> dict[str, Json]:
    """The body of GET /v1/sona/metrics. A quality that nobody measured is no zero."""
    return {
        "enabled": False,
        "adaptationsApplied": 0,
        "qualityScore": None,
        "patternsLearned": 0,
        "detail": "learning is not enabled",
    }


def learning_refused(what: str) -> ErrorReply:
    """The answer of `/v1/sona/learn` and `/v1/hnsw/search`."""
    return ErrorReply(501, {"x-should-retry": "false"}, f"{what} is not enabled on this server: it does not learn yet.")


def _feedback(fields: dict[str, Json]) -> Feedback:
    quality = opt_number(fields, "quality", "quality", least=0, most=1)
    for name in ("query", "response", "quality"):
        if fields.get(name) is None:
            raise Wrong(name, f"{name} is missing: send query, response and quality.")
    query, response = text(fields["query"], "query"), text(fields["response"], "response")
    return Feedback(query=query, response=response, quality=quality or 0.0)


def _text(completion: Completion) -> str:
    """The answer as text: what was refused or heard, too."""
    if not completion.choices:
        return ""
    choice = completion.choices[0]
    said: list[str] = []
    for part in choice.parts:
        if isinstance(part, TextPart):
            said.append(part.text)
        elif isinstance(part, AudioPart):
            heard = part.extra.get("transcript")
            said.append(heard if isinstance(heard, str) else "")
    return "".join(said) + (choice.refusal or "")


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
