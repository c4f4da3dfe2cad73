"""What a recorded answer says, read straight from the raw JSON: a second opinion on every decoder.

It knows whole streams and nothing of bytes, reads what matters to a caller (texts, thoughts, refusals, tool calls,
finish, usage, cost), and shares no code with the dialects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runtime.dialects.encoding import INVENTED
from runtime.outcome import Choice, Completion
from runtime.request import ReasoningPart, TextPart, ToolCall
from tests.wire.oracle import anthropic, cohere, google, ollama, openai
from tests.wire.oracle.answer import Answer, Said, chunks_of, json_of, value_of
from tests.wire.records import Record

Json = Any

ORACLES: Mapping[str, Callable[[Record], Answer]] = {
    "anthropic": anthropic.answer_of,
    "cohere": cohere.answer_of,
    "google": google.answer_of,
    "ollama": ollama.answer_of,
    "openai": openai.answer_of,
    "openrouter": openai.answer_of,
    "compatible": openai.answer_of,
}


def answer_of(record: Record) -> Answer:
    """What a recorded 200 says."""
    return ORACLES[record.api](record)


def error_of(record: Record) -> Json | None:
    """The error inside a 200, whole or in a stream, as an error body; None where the answer is one."""
    chunks = list(chunks_of(record)) if record.stream else [json_of(record)]
    for chunk in chunks:
        if isinstance(chunk, dict) and (chunk.get("error") or chunk.get("type") == "error"):
            return chunk
        blocked = (chunk.get("promptFeedback") or {}).get("blockReason") if isinstance(chunk, dict) else None
        if blocked:
            return {"error": {"code": "content_filter", "message": blocked}}
    return None


def disagreements(answer: Answer, completion: Completion, *, asked: str) -> list[str]:
    """Where a decoder read something else than the oracle. `asked` is the model asked for: Cohere names none."""
    found: list[str] = []

    def check(what: str, expected: Json, got: Json) -> None:
        if expected != got:
            found.append(f"{what}: {expected!r} was said, {got!r} was read")

    check("id", answer.id, completion.id)
    check("model", answer.model or asked, completion.model)
    check("number of choices", len(answer.choices), len(completion.choices))
    for said, choice in zip(answer.choices, completion.choices, strict=False):
        check("text", said.text, choice.text)
        check("reasoning", said.reasoning, choice.reasoning)
        check("refusal", said.refusal, choice.refusal or "")
        check("finish", said.finish, choice.finish_reason)
        _check_calls(said, choice, check)
        others = sum(not isinstance(part, TextPart | ReasoningPart | ToolCall) for part in choice.parts)
        check("other parts", said.others, others)
    usage, counts = completion.usage, answer.counts
    check("usage reported", counts is not None, not usage.estimated)
    if counts is not None:
        check("input tokens", counts.input, usage.input_tokens)
        check("output tokens", counts.output, usage.output_tokens)
        check("cached tokens", counts.cached, usage.cached_input_tokens)
        check("cache writes", counts.written, usage.cache_write_tokens)
        check("cache writes for an hour", counts.written_1h, usage.cache_write_1h_tokens)
        check("reasoning tokens", counts.reasoning, usage.reasoning_tokens)
    named = None if answer.cost_usd is None else round(answer.cost_usd * 1e9)
    check("cost in nano-dollars", named, completion.cost and completion.cost.total_nanousd)
    return found


def _check_calls(said: Said, choice: Choice, check: Any) -> None:
    check("tool names", [call.name for call in said.calls], [call.name for call in choice.tool_calls])
    check(
        "arguments", [call.arguments for call in said.calls], [value_of(call.arguments) for call in choice.tool_calls]
    )
    for expected, got in zip(said.calls, choice.tool_calls, strict=False):
        if expected.id is None:
            check("an id of our own", True, got.id.startswith(INVENTED))
        else:
            check("tool call id", expected.id, got.id)
    check("ids are distinct", len(choice.tool_calls), len({call.id for call in choice.tool_calls}))
