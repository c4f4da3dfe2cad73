"""Answers in this API's words: content blocks, why an answer ended, usage. The inverse of `reading`.

What the API has no word for is left out, and what stands around it stays: images that a model drew, other providers'
native parts, and their seals on thoughts, which its clients would send to a provider that refuses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from runtime.dialects.anthropic.blocks import NAME
from runtime.dialects.anthropic.reading import usage_of
from runtime.dialects.encoding import MARK, object_of_text
from runtime.outcome import Choice, Cost, FinishReason, Usage
from runtime.request import AudioPart, Json, NativePart, Part, ReasoningPart, Request, TextPart, ToolCall

Block = dict[str, Json]

INVALID_JSON = "INVALID_JSON"
"""The field that holds arguments which are no JSON object: Anthropic's guide on fine-grained tool streaming."""

USAGE_BESIDE = frozenset(("service_tier", "inference_geo", "speed", "iterations"))
"""Of the fields that no type of ours holds, those that stand in the usage."""

_STOP: Mapping[FinishReason | None, str] = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
    FinishReason.ERROR: "end_turn",
    FinishReason.OTHER: "end_turn",
    None: "end_turn",
}
_OWN_WORDS = frozenset(("pause_turn", "compaction", "model_context_window_exceeded"))
"""Reasons to stop that have no word of ours."""

_FOREIGN = frozenset(("type", "id", "index", "format"))
"""What OpenAI's and OpenRouter's answers have beside a part; this API would refuse it in the next request."""

_TIERS = frozenset(("standard", "priority", "batch"))

_NESTED = 200
"""Brackets in arguments from which on they may be nested deeper than JSON can be written (254 levels)."""


def blocks_of(part: Part) -> Iterator[Block]:
    """The blocks of one part of an answer: one, or none where there is no word for it."""
    match part:
        case TextPart():
            citations = own_citations(part.citations)
            if part.text or citations:
                beside = {"citations": citations} if citations else {}
                yield {"type": "text", "text": part.text, **beside, **own_fields(part.extra)}
        case ReasoningPart():
            yield from _thoughts(part)
        case ToolCall():
            yield {
                "type": "tool_use",
                "id": part.id,
                "name": part.name,
                "input": input_of(part.arguments),
                **own_fields(part.extra),
            }
        case AudioPart():
            if transcript := transcript_of(part):
                yield {"type": "text", "text": transcript}
        case NativePart(dialect=dialect) if dialect == NAME:
            yield dict(part.value)
        case _:
            pass


def _thoughts(part: ReasoningPart) -> Iterator[Block]:
    sealed = not has_foreign_seal(part.extra)
    signature = part.signature if sealed else ""
    beside = own_fields(part.extra)
    if part.text or signature:
        yield {"type": "thinking", "thinking": part.text, "signature": signature, **beside}
    if part.redacted and sealed:
        yield {"type": "redacted_thinking", "data": part.redacted, **beside}


def has_foreign_seal(extra: Mapping[str, Json]) -> bool:
    """Whether OpenRouter says that this thought was sealed by someone else than Anthropic."""
    form = extra.get("format")
    return isinstance(form, str) and not form.startswith(NAME)


def own_fields(extra: Mapping[str, Json]) -> dict[str, Json]:
    """What stands beside a part's fields in this API."""
    if not extra:
        return {}
    return {name: value for name, value in extra.items() if name not in _FOREIGN and not name.startswith(MARK)}


def own_citations(citations: Iterable[Json]) -> list[Json]:
    """Citations in this API's form; others have other fields, which its clients would miss.

    >>> own_citations([{"type": "char_location", "cited_text": "so"}, {"type": "url_citation"}])
    [{'type': 'char_location', 'cited_text': 'so'}]
    """
    return [one for one in citations if isinstance(one, dict) and str(one.get("type")).endswith("_location")]


def transcript_of(sound: AudioPart) -> str:
    """What a model said aloud: this API has no sound."""
    said = sound.extra.get("transcript")
    return said if isinstance(said, str) else ""


def input_of(arguments: str) -> Block:
    """Arguments as the object that they must be here; text that is none is kept as it is inside one.

    >>> input_of('{"city": "Bern"}'), input_of(""), input_of('{"city": "Be')
    ({'city': 'Bern'}, {}, {'INVALID_JSON': '{"city": "Be'})
    """
    value = object_of_text(arguments)
    if value is None or (arguments.count("{") + arguments.count("[") > _NESTED and not _shallow(value)):
        return {INVALID_JSON: arguments}
    return value


def _shallow(value: Json) -> bool:
    level: list[Json] = [value]
    for _ in range(_NESTED):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return True
    return False


def stop_of(choice: Choice | None, request: Request) -> dict[str, Json]:
    """`stop_reason`, `stop_sequence` and, where there are any, `stop_details`."""
    extra = choice.extra if choice is not None else {}
    reason = _STOP[choice.finish_reason if choice is not None else None]
    sequence = _sequence(extra, request)
    word = extra.get("finish_reason")
    if word in _OWN_WORDS:
        reason = word
    elif reason == "end_turn" and choice is not None:
        if choice.tool_calls:
            # OpenAI says "stop" where the client itself named the function; here clients go by this word.
            reason = "tool_use"
        elif choice.refusal:
            reason = "refusal"
        elif sequence is not None or word == "STOP_SEQUENCE":
            reason = "stop_sequence"
    said: dict[str, Json] = {"stop_reason": reason, "stop_sequence": sequence}
    if isinstance(extra.get("stop_details"), dict):
        said["stop_details"] = extra["stop_details"]
    return said


def _sequence(extra: Mapping[str, Json], request: Request) -> str | None:
    """The stop sequence that was hit, if the provider names one: vLLM does as `stop_reason`, Cohere says only that."""
    said = extra.get("stop_sequence")
    if isinstance(said, str):
        return said
    stops = request.sampling.stop
    if extra.get("stop_reason") in stops:
        return str(extra["stop_reason"])
    return stops[0] if extra.get("finish_reason") == "STOP_SEQUENCE" and len(stops) == 1 else None


def render_usage(usage: Usage, cost: Cost | None, extra: Mapping[str, Json], continued: int = 0) -> dict[str, Json]:
    """Tokens as this API counts them: the cache's beside the input, not in it. Cost in US dollars where it is known.

    `extra` is the completion's, and `continued`: how often the answer broke off and was taken up again.
    """
    beside = {name: extra[name] for name in USAGE_BESIDE & extra.keys()}
    if beside.get("service_tier", "standard") not in _TIERS:
        del beside["service_tier"]
    # Here the tokens of a compaction stand among the iterations alone.
    compacted = usage_of({"input_tokens": 0, "output_tokens": 0, "iterations": beside.get("iterations")})
    total = max(0, usage.input_tokens - compacted.input_tokens)
    # Some providers count what they wrote to the cache among what they read from it; here all three add up.
    read = min(total, max(0, usage.cached_input_tokens - compacted.cached_input_tokens))
    written = min(total - read, max(0, usage.cache_write_tokens - compacted.cache_write_tokens))
    an_hour = min(written, max(0, usage.cache_write_1h_tokens - compacted.cache_write_1h_tokens))
    body: dict[str, Json] = {
        "input_tokens": total - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written - an_hour,
            "ephemeral_1h_input_tokens": an_hour,
        },
        "output_tokens": max(0, usage.output_tokens - compacted.output_tokens),
    }
    if usage.reasoning_tokens:
        body["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if usage.server_tool_calls:
        body["server_tool_use"] = {
            "web_search_requests": 0,
            "web_fetch_requests": 0,
            **{f"{tool}_requests": calls for tool, calls in usage.server_tool_calls.items()},
        }
    if usage.estimated:
        body["estimated"] = True
    if cost is not None:
        body["cost"] = cost.total_nanousd / 1_000_000_000
        if cost.saved_nanousd:
            body["saved"] = cost.saved_nanousd / 1_000_000_000
    if continued:
        body["continued"] = continued
    return {**body, **beside}
