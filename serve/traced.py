"""The span of one request that came in by HTTP: `runtime.request_span` says what is in it."""

from __future__ import annotations

from typing import TypeVar

from actors.edge import Edge
from runtime.metrics.meter import CHAT, OPERATIONS
from runtime.request import EmbedRequest, Request
from runtime.request_span import request_span
from runtime.tracing import read
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
    edge.traces.tell(
        request_span(
            request,
            exchange.outcome,
            trace=trace,
            parent_id=parent_id,
            began=began,
            ended=now,
            surface=exchange.surface.name,
            operation=_operation(exchange),
            kind_of=edge.meter.labels.kind,
            content=edge.settings.traces.content,
        )
    )


def _operation(exchange: Exchange) -> str:
    return exchange.operation or OPERATIONS.get(exchange.surface.name, CHAT)
