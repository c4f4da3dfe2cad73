"""Spans to OpenTelemetry, by its own variables: OTEL_EXPORTER_OTLP_ENDPOINT and its kin, OTEL_TRACES_SAMPLER, ….

Off unless one of them names an endpoint, or OTEL_TRACES_EXPORTER is `otlp`; then not even the package is imported. It
sends by OTLP over HTTP (protobuf), in batches, from a thread of its own; what cannot be sent is dropped there.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

from actors.clock import SENSES
from runtime.tracing import Span, Trace, Traces
from runtime.values import replace

log = logging.getLogger("raygate.traces")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SERVICE = "raygate"
SHUTDOWN_MS = 2_000


def wanted(env: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces."""
    exporter = env.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return False
    return exporter == "otlp" or any(env.get(name) for name in ENDPOINTS)


def opened(env: Mapping[str, str]) -> OpenTelemetry | None:
    """Where spans go; None where nobody wants them, or the packages are missing."""
    if not wanted(env):
        return None
    try:
        return OpenTelemetry(env)
    except ImportError as error:
        why = f"{error}; install raygate[otel]"
        log.error("traces.unavailable", extra={"why": why})  # noqa: TRY400  # it is no fault of ours
        return None


class OpenTelemetry(Traces):
    """Ids are ours, as a context must be known before its span is over; sampling and export are the SDK's."""

    def __init__(self, env: Mapping[str, str]) -> None:
        from opentelemetry import trace as api
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        named = {} if env.get("OTEL_SERVICE_NAME") else {"service.name": SERVICE}
        self._api: Any = api
        self._span = ReadableSpan
        self._provider: Any = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._processor: Any = BatchSpanProcessor(OTLPSpanExporter())
        self._scope = InstrumentationScope(SERVICE)

    def begin(self, parent: Trace | None, name: str) -> Trace:
        trace_id = parent.trace_id if parent is not None else secrets.token_hex(16)
        above = None
        if parent is not None:
            above = self._api.set_span_in_context(self._api.NonRecordingSpan(self._context(parent, remote=True)))
        found = self._provider.sampler.should_sample(above, int(trace_id, 16), name, self._api.SpanKind.SERVER, {}, ())
        return Trace(
            trace_id=trace_id,
            span_id=secrets.token_hex(8),
            sampled=found.decision.is_sampled(),
            state=parent.state if parent is not None else "",
        )

    def child(self, of: Trace) -> Trace:
        return replace(of, span_id=secrets.token_hex(8))

    def tell(self, span: Span) -> None:
        if not span.trace.sampled:
            return
        api = self._api
        late_s = SENSES.wall() - SENSES.clock()
        above = replace(span.trace, span_id=span.parent_id) if span.parent_id else None
        self._processor.on_end(
            self._span(
                name=span.name,
                context=self._context(span.trace, remote=False),
                parent=None if above is None else self._context(above, remote=span.server),
                resource=self._provider.resource,
                attributes=dict(span.attributes),
                kind=api.SpanKind.SERVER if span.server else api.SpanKind.CLIENT,
                status=api.Status(api.StatusCode.ERROR, span.error) if span.error else api.Status(),
                start_time=int((span.began + late_s) * 1e9),
                end_time=int((span.ended + late_s) * 1e9),
                instrumentation_scope=self._scope,
            )
        )

    def close(self) -> None:
        """Send what is left. Blocks for a while where nobody takes it."""
        self._processor.force_flush(SHUTDOWN_MS)
        self._processor.shutdown()

    def _context(self, of: Trace, *, remote: bool) -> Any:
        api = self._api
        return api.SpanContext(
            trace_id=int(of.trace_id, 16),
            span_id=int(of.span_id, 16),
            is_remote=remote,
            trace_flags=api.TraceFlags(int(of.sampled)),
            trace_state=api.TraceState.from_header([of.state]) if of.state else None,
        )
