"""What whole replies and streams have in common: blocks, why the answer ended, usage."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.dialects.anthropic.blocks import NAME
from runtime.dialects.encoding import invented_id, text_of_object
from runtime.dialects.reading import NOT_REPORTED, count, extra_of, obj, objects, text
from runtime.outcome import FinishReason, Usage
from runtime.request import Json, NativePart, Part, ReasoningPart, TextPart, ToolCall

FINISH: Mapping[str, FinishReason] = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}

STOP = frozenset(("stop_reason", "stop_sequence", "stop_details"))

MESSAGE = frozenset(("id", "type", "role", "model", "content", "usage", "error")) | STOP
"""Fields of a message that the types hold."""

USAGE = frozenset(
    (
        *("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
        *("cache_creation", "output_tokens_details", "server_tool_use", "cost", "cost_details", "is_byok"),
    )
)
"""Fields of a usage that the types hold; the rest (service tier, place, speed, iterations) stands beside."""

TEXT = frozenset(("type", "text", "citations"))
THINKING = frozenset(("type", "thinking", "signature"))
REDACTED = frozenset(("type", "data"))
CALL = frozenset(("type", "id", "name", "input"))

_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def part_of_block(block: Mapping[str, Json], answer: str, calls: int) -> Part | None:
    """One block of an answer; None where it says nothing. `calls` came before it in the answer of this id."""
    match block.get("type"):
        case "text":
            said, citations = text(block.get("text")), tuple(objects(block.get("citations")))
            return TextPart(said, citations=citations, extra=extra_of(block, TEXT)) if said or citations else None
        case "thinking":
            said, signature = text(block.get("thinking")), text(block.get("signature"))
            extra = extra_of(block, THINKING)
            return ReasoningPart(text=said, signature=signature, extra=extra) if said or signature else None
        case "redacted_thinking":
            return ReasoningPart(redacted=text(block.get("data")), extra=extra_of(block, REDACTED))
        case "tool_use" if isinstance(block.get("name"), str):
            return ToolCall(
                id=text(block.get("id")) or invented_id(answer, calls),
                name=block["name"],
                arguments=arguments_of(block.get("input")),
                extra=extra_of(block, CALL),
            )
        case kind:
            return NativePart(dialect=NAME, kind=text(kind), value=dict(block))


def arguments_of(said: Json) -> str:
    """Arguments as JSON text; no input is an empty object."""
    if isinstance(said, str):
        return said or "{}"
    return "{}" if said is None else text_of_object(said)


def finish_of(fields: Mapping[str, Json], extra: dict[str, Json]) -> FinishReason | None:
    """Why the answer ended. What the provider says beyond our word is kept in `extra`."""
    for name in ("stop_sequence", "stop_details"):
        if fields.get(name) is not None:
            extra[name] = fields[name]
    word = text(fields.get("stop_reason"))
    if not word:
        return None
    if word not in FINISH or word == "model_context_window_exceeded":
        extra["finish_reason"] = word
    return FINISH.get(word, FinishReason.OTHER)


def usage_of(said: Json) -> Usage:
    """Tokens as reported; `input_tokens` of the API leave out what the cache had part in, ours do not.

    The tokens of a compaction are the same model's and not in the totals, so they are added. Those of an advisor are
    another model's, at another price: they stay in `iterations`, beside.
    """
    fields = obj(said)
    if not any(isinstance(fields.get(name), int) for name in ("input_tokens", "output_tokens")):
        return NOT_REPORTED
    fresh = written = read = output = kept = 0
    for one in (fields, *(one for one in objects(fields.get("iterations")) if one.get("type") == "compaction")):
        by_age = obj(one.get("cache_creation"))
        an_hour = count(by_age.get("ephemeral_1h_input_tokens"))
        total = count(one.get("cache_creation_input_tokens"))
        fresh += count(one.get("input_tokens"))
        written += max(total, an_hour + count(by_age.get("ephemeral_5m_input_tokens")))
        kept += an_hour
        read += count(one.get("cache_read_input_tokens"))
        output += count(one.get("output_tokens"))
    tools = obj(fields.get("server_tool_use"))
    return Usage(
        input_tokens=fresh + written + read,
        output_tokens=output,
        cached_input_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=kept,
        reasoning_tokens=count(obj(fields.get("output_tokens_details")).get("thinking_tokens")),
        server_tool_calls={name.removesuffix("_requests"): count(said) for name, said in tools.items() if count(said)},
    )


def joined_usage(start: Json, end: Json) -> Json:
    """The usage of a stream: how it began and how it ended. Counts only rise, though some hosts end with zeros."""
    if not isinstance(start, dict) or not isinstance(end, dict):
        return start if end is None else end
    whole = {**start, **{name: value for name, value in end.items() if value is not None}}
    for name in _COUNTS:
        if isinstance(start.get(name), int) or isinstance(end.get(name), int):
            whole[name] = max(count(start.get(name)), count(end.get(name)))
    return whole
