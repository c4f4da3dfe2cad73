"""The span of one request: from its arrival to the end of its answer, with what is known of both.

No prompt and no answer is in it, unless the settings ask for them (`traces.content`).
"""

from __future__ import annotations

from typing import TypeVar

import orjson

from actors.edge import Edge
from runtime.metrics.meter import CHAT, OPERATIONS
from runtime.outcome import Completion, Embeddings, Failure, FailureKind, Outcome
from runtime.request import EmbedRequest, Request
from runtime.tracing import Span, Value, read
from runtime.values import replace
from serve.http import Exchange

Asked = TypeVar("Asked", Request, EmbedRequest)


def begun(exchange: Exchange, edge: Edge, request: Asked) -> Asked:
    """The request with its place in a trace, where there are traces."""
    if edge.traces is None:
        return request
    parent = read(exchange.header(b"traceparent"), exchange.header(b"tracestate"))
    trace = edge.traces.begin(parent, _operation(exchange))
    exchange.traced = trace, "" if parent is None else parent.span_id, request
    return replace(request, trace=trace)


def ended(exchange: Exchange, edge: Edge, began: float, now: float) -> None:
    """Its answer is over."""
    if exchange.traced is None or edge.traces is None:
        return
    trace, parent_id, request = exchange.traced
    operation = _operation(exchange)
    said, error = _attributes(exchange, edge, request)
    edge.traces.tell(
        Span(
            name=f"{operation} {request.model}".rstrip(),
            trace=trace,
            parent_id=parent_id,
            began=began,
            ended=now,
            server=True,
            attributes={key: one for key, one in said.items() if one != ""},
            error=error,
        )
    )


def _attributes(exchange: Exchange, edge: Edge, request: Request | EmbedRequest) -> tuple[dict[str, Value], str]:
    """And the kind of its failure, if it failed."""
    outcome = exchange.outcome
    error = FailureKind.CANCELLED.value if outcome is None else ""
    said: dict[str, Value] = {
        "gen_ai.operation.name": _operation(exchange),
        "gen_ai.request.model": request.model,
        "raygate.request_id": request.request_id,
        "raygate.surface": exchange.surface.name,
    }
    if isinstance(request, Request):
        said["gen_ai.request.stream"] = request.stream
        if request.sampling.temperature is not None:
            said["gen_ai.request.temperature"] = request.sampling.temperature
        if request.sampling.max_tokens is not None:
            said["gen_ai.request.max_tokens"] = request.sampling.max_tokens
    if outcome is not None:
        said["gen_ai.provider.name"] = edge.meter.labels.kind(outcome.provider) or "raygate"
        said["raygate.provider"] = outcome.provider
        if outcome.cost is not None:
            said["raygate.cost_usd"] = outcome.cost.total_nanousd / 1e9
    if isinstance(outcome, Failure):
        error = outcome.kind.value
    elif outcome is not None:
        said["gen_ai.response.model"] = outcome.model
        said["gen_ai.usage.input_tokens"] = outcome.usage.input_tokens
        said["gen_ai.usage.output_tokens"] = outcome.usage.output_tokens
        said["raygate.queue_s"] = outcome.queue_s
    if isinstance(outcome, Completion):
        said["gen_ai.response.id"] = outcome.id
        said["gen_ai.response.finish_reasons"] = tuple(str(one.finish_reason or "") for one in outcome.choices)
        said["raygate.overhead_s"] = outcome.overhead_s
        said["raygate.attempts"] = len(outcome.attempts)
        if outcome.ttft_s is not None:
            said["gen_ai.response.time_to_first_chunk"] = outcome.ttft_s
    if edge.settings.traces.content:
        said |= _content(request, outcome)
    if error:
        said["error.type"] = error
    return said, error


def _operation(exchange: Exchange) -> str:
    return exchange.operation or OPERATIONS.get(exchange.surface.name, CHAT)


def _content(request: Request | EmbedRequest, outcome: Outcome | Embeddings | None) -> dict[str, Value]:
    found: dict[str, Value] = {}
    if isinstance(request, Request):
        found["gen_ai.input.messages"] = _json([(str(one.role), one.text, "") for one in request.messages])
    if isinstance(outcome, Completion):
        given = [("assistant", one.text, str(one.finish_reason or "")) for one in outcome.choices]
        found["gen_ai.output.messages"] = _json(given)
    return found


def _json(said: list[tuple[str, str, str]]) -> str:
    return orjson.dumps(
        [
            {
                "role": role,
                "parts": [{"type": "text", "content": text}],
                **({"finish_reason": finish} if finish else {}),
            }
            for role, text, finish in said
        ]
    ).decode()
