"""The most that one attempt can cost: what is set aside of a budget before it is made.

    tokens in ≤ bytes of all that is sent + what templates add + bounds of media       dearest of fresh, cached, written
    tokens out ≤ choices × (limit of the request, else of the model, else a default)   dearest of said, thought, spoken
    calls ≤ the searches that its tools allow, the charge by the request

A token of a byte-level tokeniser is made of one byte at least, so bytes bound tokens whatever the tokeniser; usual
English is bounded four times too high. For any usage within these bounds `price.cost_of` gives no more than the hold,
in whichever tier of prices it falls.

There is no hold (None) where there is no bound: without a price; with a tool that the provider runs as often as it
likes (a web search without `max_uses`); with media of a length that cannot be seen (by address, or compressed) at a
model of unknown context length; with options that choose another model or another price (`service_tier`). A hard budget
refuses such requests. Where neither request nor model limit the output, the bound holds only if that limit is sent:
`with_output_limit`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import assert_never

import orjson

from runtime.models import ModelInfo, Pricing
from runtime.outcome import Usage
from runtime.price import FREE_TOOLS, LIST_PRICED, MILLION, SEARCHES
from runtime.request import (
    AudioPart,
    CacheHint,
    EmbedRequest,
    FilePart,
    ImagePart,
    Json,
    Message,
    NativePart,
    NativeTool,
    ReasoningPart,
    Request,
    TextPart,
    ToolCall,
    VideoPart,
)
from runtime.tokens import size
from runtime.values import quick, replace

DEFAULT_OUTPUT_TOKENS = 4_096
"""The limit to send where neither the request nor what is known of the model has one; thoughts come on top."""

LEAST_OUTPUT_TOKENS = 16
"""OpenAI's hosts raise a lower limit to this one, and charge for it. (Gemini may say one token more than allowed.)"""

BASE_TOKENS = 2_048
"""What a provider may put before any prompt: its template, the day, a preamble (Cohere's has up to 1,700)."""

MESSAGE_TOKENS = 16
"""What marks a message: its role, its begin and its end."""

TOOLS_TOKENS, TOOL_TOKENS = 2_048, 256
"""What having tools costs once, and each tool besides its own text: preambles and wrapping. Anthropic's preamble has up
to 700 tokens, and its own client-side tools (bash, text editor, computer) have up to 1,700 with it."""

IMAGE_TOKENS = 16_384
"""No image has more, but at those models that count by larger numbers: 10,000 patches of OpenAI's `original` detail,
36 tiles of 258 (Gemini), 4,784 (Claude)."""

LARGE_IMAGE_TOKENS = 48_200
_LARGE_IMAGES = re.compile(r"(.*/)?gpt-4o-mini")
"""gpt-4o-mini: 2,833, and 5,667 for each of at most eight tiles (platform.openai.com, vision)."""

AUDIO_BYTES_PER_TOKEN = 8
"""Of base64. Speech in the tightest codecs has 200 bytes a second, and no model hears more than 32 tokens in one."""

CLIENT_TOOLS = re.compile(r"(bash|text_editor|computer|memory|custom|apply_patch|local_shell|shell)(_|$)|computerUse$")
"""Native tools that the caller runs; all others the provider runs itself, within one answer."""

_LIMITS = frozenset(
    ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "num_predict", "budget_tokens")
)
_CHOICES = frozenset(("n", "best_of", "candidateCount", "candidate_count", "num_generations"))
_OTHER_PRICES = frozenset(
    (
        "models",
        "route",
        "plugins",
        "preset",
        "web_search_options",
        "service_tier",
        "serviceTier",
        "speed",
        "inference_geo",
    )
)
_KEPT_THERE = frozenset(
    ("cachedContent", "cached_content", "container", "previous_response_id", "conversation", "prompt", "file_ids")
)
"""Words of options beside the typed fields that change a bound: an output limit, the choices, whose price it is,
or input that lies at the provider."""


def hold(request: Request | EmbedRequest, info: ModelInfo | None) -> int | None:
    """The most that an attempt may cost, in nano-dollars; None where nobody knows (see above)."""
    pricing = info.pricing if info else None
    if info is None or pricing is None:
        return None
    if isinstance(request, EmbedRequest):
        told = sum(size(text) + MESSAGE_TOKENS for text in request.inputs) + sum(map(len, request.tokens))
        return _dearest(Bounds(input_tokens=told, output_tokens=0), pricing)
    if (usual := _of_text(request, info, pricing)) is not None:
        return usual
    if _is_free(pricing):
        return None if _inputs(request).another_price else 0
    bounds = bounds_of(request, info)
    return None if bounds is None else _dearest(bounds, pricing)


def _of_text(request: Request, info: ModelInfo, pricing: Pricing) -> int | None:
    """The same, a short way, for what is usual: messages of plain text alone, at a model of one price. None for all
    else."""
    if (
        request.tools
        or request.extra
        or request.provider_options
        or request.cache is not None
        or request.reasoning is not None
        or request.response_format is not None
        or "max_tokens" in info.unsupported_parameters
        or pricing.applies_up_to_tokens is not None
    ):
        return None
    tokens = BASE_TOKENS
    for message in request.messages:
        if message.name or message.tool_call_id or message.refusal or message.extra or message.cache is not None:
            return None
        tokens += MESSAGE_TOKENS
        for part in message.parts:
            if type(part) is not TextPart or part.extra or part.citations or part.signature or part.cache is not None:
                return None
            text = part.text
            tokens += len(text) if text.isascii() else size(text)
    limit = request.sampling.max_tokens
    if limit is None:
        limit = DEFAULT_OUTPUT_TOKENS if info.max_output_tokens is None else info.max_output_tokens
    each = max(pricing.input, pricing.cached_input or 0, pricing.cache_write or 0)
    said = max(pricing.output, pricing.reasoning or 0, pricing.audio_output or 0)
    output = request.choices * (max(limit, LEAST_OUTPUT_TOKENS) + 1)
    return -(-(tokens * each + output * said + pricing.per_request * MILLION) // MILLION)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What an attempt uses at most. `output_tokens` is of all choices together; `an_hour`: something may be kept for so
    long, at a price of its own."""

    input_tokens: int
    output_tokens: int
    searches: int = 0
    audio: bool = False
    an_hour: bool = False

    def contain(self, usage: Usage) -> bool:
        """Whether this usage is within: then it costs no more than the hold."""
        parts = usage.cached_input_tokens + usage.cache_write_tokens + usage.audio_input_tokens
        spoken = usage.audio_output_tokens + min(usage.reasoning_tokens, usage.output_tokens)
        return (
            max(usage.input_tokens, parts, usage.billed_input_tokens or 0) <= self.input_tokens
            and max(usage.output_tokens, spoken, usage.billed_output_tokens or 0) <= self.output_tokens
            and sum(calls for name, calls in usage.server_tool_calls.items() if name in SEARCHES) <= self.searches
            and (self.audio or not usage.audio_input_tokens)
            and (self.an_hour or not usage.cache_write_1h_tokens)
        )


def bounds_of(request: Request, info: ModelInfo | None) -> Bounds | None:
    """None where something has no bound."""
    output = output_bound(request, info)
    said = _inputs(request)
    turns = _turns(request.tools)
    if output is None or turns is None or said.another_price:
        return None
    tokens = said.tokens
    context = info.context_length if info else None
    if said.images:
        large = info is not None and _LARGE_IMAGES.match(info.model)
        tokens += said.images * (LARGE_IMAGE_TOKENS if large else IMAGE_TOKENS)
    if said.unseen or turns:
        if context is None:
            return None
        # What cannot be seen fits into the model's context; a tool's results are read anew at every turn.
        tokens = (tokens + context) * (turns + 1)
    return Bounds(
        input_tokens=tokens,
        output_tokens=max(request.choices, said.choices) * (max(output, said.limit, LEAST_OUTPUT_TOKENS) + 1),
        searches=turns,
        audio=said.audio,
        an_hour=said.an_hour,
    )


def output_bound(request: Request, info: ModelInfo | None) -> int | None:
    """The longest answer, thoughts included, of one choice. Where the request has no limit, it must be sent.

    None where the model does not take a limit, and none of its own is known.
    """
    longest = info.max_output_tokens if info else None
    if info is not None and "max_tokens" in info.unsupported_parameters:
        return longest
    if request.sampling.max_tokens is not None:
        return request.sampling.max_tokens
    if longest is not None:
        return longest
    return DEFAULT_OUTPUT_TOKENS + ((request.reasoning.budget_tokens or 0) if request.reasoning else 0)


def with_output_limit(request: Request, info: ModelInfo | None) -> Request:
    """The same with a limit of its output, so that its hold is an upper bound."""
    if request.sampling.max_tokens is not None:
        return request
    return replace(request, sampling=replace(request.sampling, max_tokens=output_bound(request, info)))


def within(usage: Usage, request: Request, info: ModelInfo | None) -> Usage:
    """An estimated usage, cut to what can have been: no estimate is charged beyond its hold."""
    bounds = bounds_of(request, info)
    if bounds is None:
        return usage
    limited = request.sampling.max_tokens is not None
    return replace(
        usage,
        input_tokens=min(usage.input_tokens, bounds.input_tokens),
        output_tokens=min(usage.output_tokens, bounds.output_tokens) if limited else usage.output_tokens,
    )


def _dearest(bounds: Bounds, pricing: Pricing) -> int | None:
    """The cost of the bounds in the dearest tier that a prompt within them can fall into."""
    most, least = 0, 0
    tier: Pricing | None = pricing
    while tier is not None and least <= bounds.input_tokens:
        inputs = [tier.input, tier.cached_input or 0, tier.cache_write or 0]
        if bounds.audio:
            if tier.audio_input is None:
                return None
            inputs.append(tier.audio_input)
        if bounds.an_hour and tier.cache_write is not None:
            if tier.cache_write_1h is None:
                return None
            inputs.append(tier.cache_write_1h)
        if bounds.searches and tier.web_search is None:
            return None
        outputs = max(tier.output, tier.reasoning or 0, tier.audio_output or 0)
        calls = tier.per_request + bounds.searches * (tier.web_search or 0)
        most = max(most, bounds.input_tokens * max(inputs) + bounds.output_tokens * outputs + calls * MILLION)
        if tier.applies_up_to_tokens is None:
            return -(-most // MILLION)
        least, tier = tier.applies_up_to_tokens + 1, tier.beyond
    # Prompts beyond the last tier have no price.
    return -(-most // MILLION) if least > bounds.input_tokens else None


def _is_free(pricing: Pricing) -> bool:
    """Whether no token costs anything, however many there may be."""
    tier: Pricing | None = pricing
    while tier is not None:
        if tier.input or tier.output:
            return False
        figures = (tier.cached_input, tier.cache_write, tier.cache_write_1h, tier.audio_input, tier.audio_output)
        if tier.reasoning or tier.web_search or tier.per_request or any(figures):
            return False
        if tier.applies_up_to_tokens is None:
            return True
        tier = tier.beyond
    return False


@dataclass(slots=True)
class _Inputs:
    """What was found in a request. `limit` and `choices` are what options beside the typed fields ask for."""

    tokens: int = BASE_TOKENS
    images: int = 0
    audio: bool = False
    unseen: bool = False
    an_hour: bool = False
    limit: int = 0
    choices: int = 0
    another_price: bool = False


def _inputs(request: Request) -> _Inputs:
    found = _Inputs()
    found.an_hour = _an_hour(request.cache)
    for message in request.messages:
        found.tokens += MESSAGE_TOKENS
        _message(message, found)
    if request.tools:
        found.tokens += TOOLS_TOKENS
        for tool in request.tools:
            if isinstance(tool, NativeTool):
                found.tokens += TOOL_TOKENS + 2 * _json_size(tool.value)
                continue
            # Schemas may be indented or escaped on their way into the prompt.
            found.tokens += TOOL_TOKENS + size(tool.name) + size(tool.description or "")
            found.tokens += 2 * _json_size(tool.parameters)
            found.an_hour = found.an_hour or _an_hour(tool.cache)
            if tool.extra:
                _beside(tool.extra, found)
    if request.response_format is not None and request.response_format.schema is not None:
        found.tokens += TOOL_TOKENS + 2 * _json_size(request.response_format.schema)
    if request.extra:
        _options(request.extra, found)
    for options in request.provider_options.values():
        _options(options, found)
    return found


def _message(message: Message, found: _Inputs) -> None:
    for part in message.parts:
        if type(part) is TextPart:
            text = part.text
            found.tokens += len(text) if text.isascii() else size(text)
            if part.citations:
                found.tokens += 2 * _json_size(part.citations)
            found.tokens += len(part.signature)
        else:
            _other(part, found)
        if not isinstance(part, NativePart):
            if part.extra:
                _beside(part.extra, found)
            if not isinstance(part, ReasoningPart) and part.cache is not None:
                found.an_hour = found.an_hour or _an_hour(part.cache)
    for said in (message.name, message.tool_call_id, message.refusal):
        if said:
            found.tokens += size(said)
    if message.cache is not None:
        found.an_hour = found.an_hour or _an_hour(message.cache)
    if message.extra:
        _beside(message.extra, found)


def _other(
    part: TextPart | ImagePart | AudioPart | VideoPart | FilePart | ReasoningPart | ToolCall | NativePart,
    found: _Inputs,
) -> None:
    match part:
        case TextPart():
            pass
        case ReasoningPart():
            # A signature holds the thought itself, encrypted, where the text is but a summary.
            found.tokens += size(part.text) + len(part.signature) + len(part.redacted)
        case ToolCall():
            found.tokens += TOOL_TOKENS + size(part.id) + size(part.name) + 2 * size(part.arguments)
            found.tokens += len(part.signature)
        case ImagePart():
            found.images += 1
        case AudioPart():
            found.audio = True
            found.unseen = found.unseen or part.data is None
            found.tokens += len(part.data or "") // AUDIO_BYTES_PER_TOKEN
        case FilePart():
            found.unseen = found.unseen or part.text is None
            found.tokens += size(part.text or "") + size(part.name or "")
        case VideoPart():
            found.unseen = True
            found.audio = True
        case NativePart():
            # Results of a provider's own tools may be encrypted, or lie in a container there.
            found.unseen = True
            found.tokens += TOOL_TOKENS + 2 * _json_size(part.value)
        case _:
            assert_never(part)


def _beside(extra: Mapping[str, Json], found: _Inputs) -> None:
    """Fields without a type of ours travel to the provider, who may put them into the prompt."""
    found.tokens += 2 * _json_size(extra)
    found.an_hour = found.an_hour or any(name == "ttl" and value != "5m" for name, value in _fields(extra))


def _options(options: Mapping[str, Json], found: _Inputs) -> None:
    """Options of the whole request, at whatever depth they stand."""
    _beside(options, found)
    for name, value in _fields(options):
        if name in _OTHER_PRICES and value not in LIST_PRICED:
            found.another_price = True
        elif name in _KEPT_THERE and value is not None:
            found.unseen = True
        elif name in _LIMITS and isinstance(value, int):
            found.limit = max(found.limit, value)
        elif name in _CHOICES and isinstance(value, int):
            found.choices = max(found.choices, value)


def _fields(value: Json) -> Iterable[tuple[str, Json]]:
    """Every field below this value, with the value if that is plain."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield name, one if isinstance(one, str | int | float | bool | None) else "{}"
            yield from _fields(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _fields(one)


def _turns(tools: Iterable[object]) -> int | None:
    """How often the provider may run tools of its own within one answer; None where there is no bound to it."""
    turns = 0
    for tool in tools:
        if not isinstance(tool, NativeTool) or CLIENT_TOOLS.match(tool.kind):
            continue
        most = tool.value.get("max_uses")
        charged = re.sub(r"_\d+$", "", tool.kind)
        if not isinstance(most, int) or most < 0 or charged not in SEARCHES | FREE_TOOLS:
            return None
        turns += most
    return turns


def _an_hour(hint: CacheHint | None) -> bool:
    return hint is not None and hint.ttl not in (None, "5m")


def _json_size(value: Json) -> int:
    return 0 if value is None else len(orjson.dumps(value, default=str))
