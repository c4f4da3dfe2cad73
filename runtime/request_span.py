"""The span of one request: from its arrival to the end of its answer, with what is known of both.

No prompt and no answer is in it, unless the settings ask for them (`traces.content`). Attributes by OpenTelemetry's
conventions for GenAI, and ours.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from runtime.outcome import Completion, Embeddings, Failure, FailureKind, Outcome
from runtime.request import EmbedRequest, Request
from runtime.tracing import Span, Trace, Value


def request_span(
    request: Request | EmbedRequest,
    outcome: Outcome | Embeddings | None,
    *,
    trace: Trace,
    parent_id: str,
    began: float,
    ended: float,
    surface: str,
    operation: str,
    kind_of: Callable[[str], str],
    content: bool,
) -> Span:
    """Of a request whose answer is over, as it was asked. The rest as in `Span` and `attributes_of`."""
    said, error = attributes_of(
        request, outcome, surface=surface, operation=operation, kind_of=kind_of, content=content
    )
    return Span(
        name=f"{operation} {request.model}".rstrip(),
        trace=trace,
        parent_id=parent_id,
        began=began,
        ended=ended,
        server=True,
        attributes=said,
        error=error,
    )


def attributes_of(
    request: Request | EmbedRequest,
    outcome: Outcome | Embeddings | None,
    *,
    surface: str,
    operation: str,
    kind_of: Callable[[str], str],
    content: bool,
) -> tuple[dict[str, Value], str]:
    """And the kind of its failure, if it failed; without an outcome it was given up. `kind_of` says of which kind a
    provider is; `content`: with what was asked and answered."""
    error = FailureKind.CANCELLED.value if outcome is None else ""
    said: dict[str, Value] = {
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": request.model,
        "raygate.request_id": request.request_id,
        "raygate.surface": surface,
    }
    if isinstance(request, Request):
        said["gen_ai.request.stream"] = request.stream
        if request.sampling.temperature is not None:
            said["gen_ai.request.temperature"] = request.sampling.temperature
        if request.sampling.max_tokens is not None:
            said["gen_ai.request.max_tokens"] = request.sampling.max_tokens
    if outcome is not None:
        said["gen_ai.provider.name"] = kind_of(outcome.provider) or "raygate"
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
    if content:
        said |= _content(request, outcome)
    if error:
        said["error.type"] = error
    return {key: one for key, one in said.items() if one != ""}, error


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
