"""Outcomes as a client of the Responses API reads them: a response, a stream of events, an error.

    response.created, response.in_progress      once it is known who answers
    response.output_item.added … .done          see `Output`
    response.completed | response.incomplete    the whole response once more, with its usage and cost
    error, response.failed                      after a failure, and nothing more

The `error` event says everything twice, flat as the API's types have it and under `error`: that key is what makes
both official SDKs raise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import orjson

from runtime.dialects.openai_surface.render import KEEP_ALIVE, render_error
from runtime.dialects.reading import obj
from runtime.dialects.responses_surface.output import Output
from runtime.dialects.responses_surface.outputs import Event
from runtime.dialects.responses_surface.parse import INSTRUCTIONS
from runtime.fold import deltas_of
from runtime.outcome import (
    Choice,
    Completion,
    Cost,
    Delta,
    Failure,
    FailureKind,
    FinishReason,
    StreamEvent,
    StreamStart,
    Usage,
)
from runtime.request import Json, NativeTool, Request, ResponseFormat, Tool, ToolChoice

_ISSUER = re.compile(r"^(resp_|msg_|chatcmpl-|gen-|req_)")
_WHY: Mapping[FinishReason | None, str] = {
    FinishReason.LENGTH: "max_output_tokens",
    FinishReason.CONTENT_FILTER: "content_filter",
}
_CODES: Mapping[FailureKind, str] = {
    FailureKind.RATE_LIMITED: "rate_limit_exceeded",
    FailureKind.CONTEXT_OVERFLOW: "context_length_exceeded",
    FailureKind.QUOTA_EXHAUSTED: "insufficient_quota",
    FailureKind.BUDGET_EXCEEDED: "insufficient_quota",
    FailureKind.BAD_REQUEST: "invalid_prompt",
    FailureKind.CONTENT_FILTERED: "invalid_prompt",
}
_TIERS = ("default", "flex", "scale", "priority", "fast")
_BROKEN = "the provider ended its answer with an error; ask again"
_RESERVED = frozenset(
    (
        *("access_programs", "background", "completed_at", "conversation", "image", "input_transformations"),
        *("moderation", "prompt", "prompt_cache_diagnostics", "prompt_cache_options", "tool_usage", "output_text"),
    )
)
"""Names with a meaning of their own in a response, which what a provider says beside its answer does not have."""


def render_response(completion: Completion, request: Request) -> dict[str, Json]:
    """The body of a whole reply. There is one answer: the API knows no choices."""
    base = _base(completion.id, completion.request_id)
    frame = _frame(request, base, completion.model, completion.created_s)
    choice = completion.choices[0] if completion.choices else Choice()
    output = Output(base)
    for delta in deltas_of(0, choice):
        _spend(output.add(delta))
    _spend(output.close(cut=choice.finish_reason in _WHY))
    return _whole(frame, completion, choice, output)


class ResponsesRenderer:
    """One stream's events as SSE bytes, in order. Use one for each stream."""

    __slots__ = ("_frame", "_output", "_request", "_said", "_sequence")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._sequence = 0
        self._said = False
        self._frame: dict[str, Json] = {}
        self._output = Output("")

    def render(self, event: StreamEvent) -> list[bytes]:
        """The bytes of this event; each item is one whole SSE event."""
        if isinstance(event, Delta):
            if event.choice != 0:
                return []
            self._said = True
            return [*self._begin(StreamStart(id="", provider="", model="")), *map(self._wire, self._output.add(event))]
        if isinstance(event, StreamStart):
            return self._begin(event)
        if isinstance(event.outcome, Failure):
            return self._failure(event.outcome)
        return self._completion(event.outcome)

    def keep_alive(self) -> bytes:
        return KEEP_ALIVE

    def _begin(self, start: StreamStart) -> list[bytes]:
        if self._frame:
            return []
        base = _base(start.id, start.request_id or self._request.request_id)
        self._frame = _frame(self._request, base, start.model, start.created_s)
        self._output = Output(base)
        return [self._wire(self._life("created")), self._wire(self._life("in_progress"))]

    def _completion(self, completion: Completion) -> list[bytes]:
        written = self._begin(
            StreamStart(
                id=completion.id,
                provider=completion.provider,
                model=completion.model,
                created_s=completion.created_s,
                request_id=completion.request_id,
            )
        )
        choice = completion.choices[0] if completion.choices else Choice()
        if not self._said:
            # Nothing of it was streamed, as when a cache answers: here it is whole.
            for delta in deltas_of(0, choice):
                written += map(self._wire, self._output.add(delta))
        written += map(self._wire, self._output.close(cut=choice.finish_reason in _WHY))
        body = _whole(self._frame, completion, choice, self._output)
        if body["status"] == "failed":
            written.append(self._wire(_error_event(_server_error())))
        written.append(self._wire({"type": f"response.{body['status']}", "response": body}))
        return written

    def _failure(self, failure: Failure) -> list[bytes]:
        if not self._frame:
            base = _base("", failure.request_id or self._request.request_id)
            self._frame = _frame(self._request, base, failure.model, 0)
        error = render_error(failure)[2]["error"]
        body = {
            **self._frame,
            "status": "failed",
            "output": self._output.items(),
            "error": {"code": _CODES.get(failure.kind, "server_error"), "message": error["message"]},
        }
        return [self._wire(_error_event(error)), self._wire({"type": "response.failed", "response": body})]

    def _life(self, stage: str) -> Event:
        return {"type": f"response.{stage}", "response": {**self._frame, "status": "in_progress"}}

    def _wire(self, event: Event) -> bytes:
        event["sequence_number"] = self._sequence
        self._sequence += 1
        kind: str = event["type"]
        return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"


def render_usage(usage: Usage, cost: Cost | None, continued: int = 0) -> dict[str, Json]:
    """Tokens, the cost in US dollars where it is known, and how often the answer broke off and was continued."""
    body: dict[str, Json] = {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
    if usage.estimated:
        body["estimated"] = True
    if cost is not None:
        body["cost"] = cost.total_nanousd / 1_000_000_000
        if cost.saved_nanousd:
            body["saved"] = cost.saved_nanousd / 1_000_000_000
    if continued:
        body["continued"] = continued
    return body


def _whole(frame: Mapping[str, Json], completion: Completion, choice: Choice, output: Output) -> dict[str, Json]:
    """The response once all is said."""
    body: dict[str, Json] = {
        **frame,
        "model": completion.model or frame["model"],
        "status": "completed",
        "output": output.items(),
        "usage": render_usage(completion.usage, completion.cost, completion.continued),
    }
    if why := _WHY.get(choice.finish_reason):
        body |= {"status": "incomplete", "incomplete_details": {"reason": why}}
    elif choice.finish_reason is FinishReason.ERROR:
        body |= {"status": "failed", "error": {"code": "server_error", "message": _BROKEN}}
    for name, value in completion.extra.items():
        if name == "service_tier":
            # Others have tiers of their own, whose names mean nothing here.
            body[name] = value if value in _TIERS else body[name]
        elif name not in _RESERVED:
            body.setdefault(name, value)
    return body


def _frame(request: Request, base: str, model: str, created_s: int) -> dict[str, Json]:
    """The response before anything was said: what was asked, as it was understood."""
    extra = request.extra
    text: dict[str, Json] = {"format": _format(request.response_format)}
    if "verbosity" in extra:
        text["verbosity"] = extra["verbosity"]
    reasoning = request.reasoning
    return {
        "id": f"resp_{base}",
        "object": "response",
        "created_at": created_s,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": request.messages[0].text if INSTRUCTIONS in extra else None,
        "max_output_tokens": request.sampling.max_tokens,
        "max_tool_calls": None,
        "model": model or request.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "prompt_cache_key": extra.get("prompt_cache_key"),
        "reasoning": {
            "effort": reasoning.effort if reasoning else None,
            "summary": extra.get("reasoning.summary", "auto" if reasoning and reasoning.show else None),
        },
        "safety_identifier": extra.get("safety_identifier"),
        "service_tier": extra.get("service_tier", "default"),
        "store": False,
        "temperature": request.sampling.temperature,
        "text": text,
        "tool_choice": _tool_choice(request.tool_choice, request.tools),
        "tools": [_tool(tool) for tool in request.tools],
        "top_logprobs": extra.get("top_logprobs", 0),
        "top_p": request.sampling.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": request.user,
        "metadata": dict(request.metadata),
    }


def _tool(tool: Tool | NativeTool) -> dict[str, Json]:
    if isinstance(tool, NativeTool):
        custom = dict(obj(tool.value.get(tool.kind)))
        if grammar := obj(obj(custom.get("format")).get("grammar")):
            custom["format"] = {"type": "grammar", **grammar}
        return {"type": tool.kind, **custom}
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }


def _tool_choice(choice: ToolChoice | None, tools: Iterable[Tool | NativeTool]) -> Json:
    if choice is None:
        return "auto"
    custom = {_tool(tool).get("name") for tool in tools if isinstance(tool, NativeTool)}
    if choice.mode == "function":
        return {"type": "custom" if choice.function in custom else "function", "name": choice.function}
    if not choice.allowed:
        return choice.mode
    named = [{"type": "custom" if name in custom else "function", "name": name} for name in choice.allowed]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": named}


def _format(wanted: ResponseFormat | None) -> dict[str, Json]:
    if wanted is None or wanted.kind != "json_schema":
        return {"type": "text" if wanted is None else wanted.kind}
    return {
        "type": "json_schema",
        "name": wanted.name,
        "description": wanted.description,
        "schema": wanted.schema,
        "strict": wanted.strict,
    }


def _error_event(error: Mapping[str, Json]) -> Event:
    flat = {name: error.get(name) for name in ("code", "message", "param")}
    return {"type": "error", **flat, "error": dict(error)}


def _server_error() -> dict[str, Json]:
    return {"message": _BROKEN, "type": "server_error", "param": None, "code": "server_error"}


def _base(answer_id: str, request_id: str) -> str:
    """What the ids of a response and its items have in common: the provider's own id for the answer, if it has one."""
    return _ISSUER.sub("", answer_id or request_id) or "raygate"


def _spend(events: Iterable[Event]) -> None:
    for _ in events:
        pass
