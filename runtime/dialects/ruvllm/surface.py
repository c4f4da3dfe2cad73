"""Our own ruvLLM endpoints: the inverse of the `ruvllm` dialect, and what its server promised and never had.

POST /query     {query, session_id?} ──► {text, model_used, context_size, confidence, latency_ms}
POST /feedback  {query, response, quality, request_id?} ──► {learned: [{model, quality, weight}]}
GET  /stats     ──► {total_queries, cache_hits, avg_latency_ms, memory_nodes, router_updates}
POST /session   ──► {session_id};   GET /session/{id} ──► {session_id, turns: [{role, content}]}
GET  /v1/sona/metrics   ──► {enabled, adaptationsApplied, qualityScore, patternsLearned, …}
POST /v1/hnsw/search    {query or vector, limit?} ──► [{id, similarity, content, …}]
errors          one sentence of plain text, under a status that says what kind
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

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
    "Search",
    "parse_feedback",
    "parse_request",
    "parse_search",
    "parse_session",
    "render_found",
    "render_history",
    "render_session",
    "render_sona_metrics",
    "render_stats",
]

_TAKEN = frozenset(("text", "model_used", "context_size", "confidence", "latency_ms", "estimated", "cost"))


FOUND, MOST_FOUND = 10, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """How good an answer was, from 0 to 1."""

    query: str
    response: str
    quality: float
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is like this text, or this vector of the embedder's."""

    query: str = ""
    vector: tuple[float, ...] | None = None
    limit: int = FOUND


class Learnt(Protocol):
    """What metrics are made of; `runtime.learning.school.Summary` is it. `quality` is (mean, deviation) by model."""

    @property
    def prompts(self) -> int: ...
    @property
    def judged(self) -> float: ...
    @property
    def learned(self) -> int: ...
    @property
    def asked(self) -> float: ...
    @property
    def spent(self) -> float: ...
    @property
    def remembered(self) -> int: ...
    @property
    def learns(self) -> bool: ...
    @property
    def warm_up(self) -> int: ...
    @property
    def quality(self) -> Mapping[str, tuple[float, float]]: ...
    @property
    def signals(self) -> Mapping[str, int]: ...


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


def render_sona_metrics(known: Learnt | None) -> dict[str, Json]:
    """The body of GET /v1/sona/metrics. A quality that nobody measured is no zero; patterns take no part in choices.

    `qualityScore` is the mean over the models of what is expected of each.
    """
    if known is None:
        return {
            "enabled": False,
            "adaptationsApplied": 0,
            "qualityScore": None,
            "patternsLearned": 0,
            "detail": "learning is not enabled",
        }
    levels = [mean for mean, _ in known.quality.values()]
    detail = (
        "" if known.learns else f"{known.prompts} of the {known.warm_up} prompts are there that learning begins with"
    )
    return {
        "enabled": True,
        "adaptationsApplied": known.learned,
        "qualityScore": sum(levels) / len(levels) if levels else None,
        "patternsLearned": 0,
        "prompts": known.prompts,
        "judged": known.judged,
        "remembered": known.remembered,
        "givenUpToExplore": known.spent,
        "models": {name: {"quality": mean, "doubt": doubt} for name, (mean, doubt) in known.quality.items()},
        "signals": dict(known.signals),
        **({"detail": detail} if detail else {}),
    }


def parse_search(body: Json) -> Search | Failure:
    """What to look for, or a failure whose `param` names the field at fault."""
    try:
        return _search(obj(body, "body"))
    except Wrong as wrong:
        return wrong.failure()


def render_found(found: Sequence[Mapping[str, Json]]) -> list[Json]:
    """`content` is null unless the settings keep texts."""
    return [
        {
            "id": one["request_id"],
            "similarity": one["similarity"],
            "content": one.get("text"),
            **{name: value for name, value in one.items() if name not in ("request_id", "similarity", "text")},
        }
        for one in found
    ]


def render_history(session_id: str, turns: Sequence[tuple[str, str]]) -> dict[str, Json]:
    return {"session_id": session_id, "turns": [{"role": role, "content": text} for role, text in turns]}


def _search(fields: dict[str, Json]) -> Search:
    limit = opt_number(fields, "limit", "limit", least=1, most=MOST_FOUND)
    vector = fields.get("vector")
    if vector is None and not opt_text(fields, "query", "query"):
        raise Wrong("query", "query is missing: send a text, or a vector.")
    if vector is not None and not (isinstance(vector, list) and all(_is_number(one) for one in vector)):
        raise Wrong("vector", "vector must be a list of numbers.")
    return Search(
        query=opt_text(fields, "query", "query") or "",
        vector=tuple(float(one) for one in vector) if isinstance(vector, list) else None,
        limit=int(limit or FOUND),
    )


def _feedback(fields: dict[str, Json]) -> Feedback:
    quality = opt_number(fields, "quality", "quality", least=0, most=1)
    for name in ("query", "response", "quality"):
        if fields.get(name) is None:
            raise Wrong(name, f"{name} is missing: send query, response and quality.")
    query, response = text(fields["query"], "query"), text(fields["response"], "response")
    request_id = opt_text(fields, "request_id", "request_id") or ""
    return Feedback(query=query, response=response, quality=quality or 0.0, request_id=request_id)


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
