"""The one request that every dialect, strategy and provider understands.

A surface (OpenAI, Anthropic, …) parses what came in into a `Request`; a dialect encodes it for the provider
that was chosen. What a surface did not know stays in `extra`, verbatim, and travels on to a provider of the
same dialect; elsewhere it is named to the caller, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from runtime.ledger.billing import Billing
from runtime.tracing import Trace
from runtime.wire import crosses

Json = Any
"""A JSON value as the parser returned it."""


class Role(StrEnum):
    """Who speaks. `DEVELOPER` is OpenAI's newer word for `SYSTEM`; dialects without it say system."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class CacheHint:
    """Asks the provider to remember the prompt up to and including what this marks. `ttl` is "5m" or "1h"."""

    ttl: str | None = None


@crosses
@dataclass(frozen=True, slots=True)
class TextPart:
    """Text. `citations` are the sources that an answer names for it, in the provider's own form.

    `signature` is the provider's own mark on a part (Gemini): it must come back to that provider unchanged.
    """

    text: str
    _: KW_ONLY
    cache: CacheHint | None = None
    citations: tuple[Json, ...] = ()
    signature: str = ""
    extra: Mapping[str, Json] = field(default_factory=dict)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart:
    """An image by address, inline as base64, or by the id of a file at the provider: exactly one of the three."""

    url: str | None = None
    data: str | None = None
    file_id: str | None = None
    media_type: str | None = None
    detail: str | None = None
    cache: CacheHint | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class AudioPart:
    """Audio by address, or inline as base64: exactly one. `format` is its short name: wav, mp3, flac, …"""

    url: str | None = None
    data: str | None = None
    format: str | None = None
    cache: CacheHint | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPart:
    """Video by address, or inline as base64: exactly one."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    cache: CacheHint | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """A document: by address, inline as base64, as plain text, or by the id of a file at the provider; exactly one."""

    url: str | None = None
    data: str | None = None
    text: str | None = None
    file_id: str | None = None
    media_type: str | None = None
    name: str | None = None
    cache: CacheHint | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningPart:
    """What the model thought before it spoke.

    `signature` proves to its provider that the thought is its own; `redacted` is a thought that only the provider
    can read. Both must come back to that provider unchanged, and mean nothing to any other.
    """

    text: str = ""
    signature: str = ""
    redacted: str = ""
    extra: Mapping[str, Json] = field(default_factory=dict)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that the model asks for. `arguments` is JSON text, exactly as the model wrote it."""

    id: str
    name: str
    arguments: str
    signature: str = ""
    cache: CacheHint | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class NativePart:
    """Something that only one dialect has: a call of a tool that the provider itself runs, its result, an upload.

    `value` is the whole part in that dialect's own words, `kind` its type there. Other dialects refuse it.
    """

    dialect: str
    kind: str
    value: Mapping[str, Json]


Part = TextPart | ImagePart | AudioPart | VideoPart | FilePart | ReasoningPart | ToolCall | NativePart


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may call. `parameters` is a JSON schema."""

    name: str
    description: str | None = None
    parameters: Json = None
    strict: bool | None = None
    cache: CacheHint | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class NativeTool:
    """A tool that the provider itself runs: web search, code execution, … Other dialects refuse it.

    `value` is the whole tool in that dialect's own words, `kind` its type there.
    """

    dialect: str
    kind: str
    value: Mapping[str, Json]


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoice:
    """`function` names the one function that must be called; the other modes are OpenAI's.

    `allowed` limits `auto` and `required` to some of the tools; empty means all.
    """

    mode: Literal["auto", "none", "required", "function"]
    function: str | None = None
    allowed: tuple[str, ...] = ()


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning:
    """How much the model may think before it speaks. What is None is left to the provider.

    `enabled`: False switches thinking off, True on. `effort` is a word, `budget_tokens` a bound; a dialect that has
    only one of the two translates. `show` asks for the thoughts themselves, or that they be left out.
    """

    enabled: bool | None = None
    effort: Effort | None = None
    budget_tokens: int | None = None
    show: bool | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFormat:
    """`json_schema` carries a schema (with its name); `json_object` asks for any JSON object."""

    kind: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: Json = None
    strict: bool | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn, its parts in the order in which they were said.

    A result of a tool is a message of its own: `role` TOOL, `tool_call_id` the call that it answers, `name` the
    tool's name where known, `is_error` where the tool failed.
    """

    role: Role
    parts: tuple[Part, ...] = ()
    name: str | None = None
    tool_call_id: str | None = None
    is_error: bool | None = None
    refusal: str | None = None
    cache: CacheHint | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text of all text parts, joined as they stand."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to draw the answer. None means: the provider's default. `max_tokens` bounds the output."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class CostLimits:
    """What this request may cost, in nano-dollars, and which models or providers to try first; and whom not to ask: who
    is expected to take longer than `max_latency_s` for the whole answer, is of a quality below `min_quality` (as the
    settings or the table have it, in [0, 1]), or lacks a tag of `residency`. What bears the same `session` stays with
    one provider where the route is sticky.
    """

    max_cost_nanousd: int | None = None
    preferred_models: tuple[str, ...] = ()
    preferred_providers: tuple[str, ...] = ()
    max_latency_s: float | None = None
    min_quality: float | None = None
    residency: tuple[str, ...] = ()
    session: str = ""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLimits:
    """What one attempt may take, as in `runtime.transport.base.Limits`. None: what the provider's settings say."""

    connect_s: float | None = None
    first_token_s: float | None = None
    between_tokens_s: float | None = None
    total_s: float | None = None
    min_tokens_per_s: float | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One chat request.

    `model` is `provider/model`, a bare model name, or empty for the default of the settings.
    `deadline_s` is seconds remaining, never a moment: monotonic clocks mean nothing on another host.
    `limits` are its route's, `billing` says who pays, both for whoever makes the attempt; no provider sees them.
    `tenant` is whose request it is, by the caller's key: nothing remembered is shared between tenants.
    `cache` asks the provider to remember the whole prompt.
    `extra` holds the fields that the surface `dialect` did not know; every part of a request has its own `extra`
    for what stood in it, by path (see `dialects.paths`).
    `provider_options` reach the provider's body as given, by provider name.
    `no_store`: its answer is neither taken from those that are remembered or under way, nor remembered itself.
    `max_age_s`: a remembered answer must be younger; with 0 a new one is asked for, and remembered. `only_if_cached`: a
    remembered answer or none. `cache_tags` are words by which the answer can be forgotten.
    `trace` is where it is in a trace, if anybody traces.
    `legacy_functions`: the client spoke of `functions`, OpenAI's word before `tools`, and must be answered so.
    """

    messages: tuple[Message, ...]
    model: str = ""
    sampling: Sampling = Sampling()
    choices: int = 1
    tools: tuple[Tool | NativeTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning: Reasoning | None = None
    cache: CacheHint | None = None
    stream: bool = False
    stream_usage: bool = False
    user: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    cost: CostLimits = CostLimits()
    deadline_s: float | None = None
    limits: AttemptLimits | None = None
    request_id: str = ""
    tenant: str = ""
    provider_options: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    extra: Mapping[str, Json] = field(default_factory=dict)
    dialect: str = ""
    legacy_functions: bool = False
    no_store: bool = False
    billing: Billing | None = None
    max_age_s: float | None = None
    only_if_cached: bool = False
    cache_tags: tuple[str, ...] = ()
    trace: Trace | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """Texts to turn into vectors; or, instead, `tokens`: texts as their numbers in the model's own vocabulary.

    `dimensions` asks for shorter vectors where the model can.
    `purpose` is what the vectors are for: providers that train for it (Cohere, Google) give better ones.
    """

    inputs: tuple[str, ...] = ()
    tokens: tuple[tuple[int, ...], ...] = ()
    model: str = ""
    dimensions: int | None = None
    purpose: Literal["query", "document", "classification", "clustering", "similarity"] | None = None
    user: str | None = None
    deadline_s: float | None = None
    request_id: str = ""
    tenant: str = ""
    extra: Mapping[str, Json] = field(default_factory=dict)
    dialect: str = ""
    billing: Billing | None = None
    trace: Trace | None = None


def user(text: str) -> Message:
    """A user's turn of plain text.

    >>> user("hi").text
    'hi'
    """
    return Message(role=Role.USER, parts=(TextPart(text),))


def ask(text: str, *, model: str = "", stream: bool = False) -> Request:
    """The shortest request: one question in plain text.

    >>> ask("hi", model="local/smollm2-135m").messages[0].text
    'hi'
    """
    return Request(messages=(user(text),), model=model, stream=stream)
