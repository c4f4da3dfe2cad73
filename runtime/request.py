"""The one request that every dialect, strategy and provider understands.

A surface (OpenAI, Anthropic, …) parses what came in into a `Request`; a dialect encodes it for the provider
that was chosen. What a surface did not know stays in `extra`, verbatim, and travels on to a provider of the
same dialect; elsewhere it is named to the caller, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

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
@dataclass(frozen=True, slots=True)
class TextPart:
    text: str


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart:
    """An image by address, or inline as base64. Exactly one of `url` and `data` is set."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class AudioPart:
    """Audio by address, or inline as base64. Exactly one of `url` and `data` is set."""

    url: str | None = None
    data: str | None = None
    format: str | None = None


Part = TextPart | ImagePart | AudioPart


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that the model asks for. `arguments` is JSON text, exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may call. `parameters` is a JSON schema."""

    name: str
    description: str | None = None
    parameters: Json = None
    strict: bool | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoice:
    """`function` names the one function that must be called; the other modes are OpenAI's."""

    mode: Literal["auto", "none", "required", "function"]
    function: str | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFormat:
    """`json_schema` carries a schema (with its name); `json_object` asks for any JSON object."""

    kind: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: Json = None
    strict: bool | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn. `tool_call_id` is set on tool results, `tool_calls` on assistant turns."""

    role: Role
    parts: tuple[Part, ...] = ()
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text of all text parts, joined as they stand."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


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
    """What this request may cost, in nano-dollars, and which models or providers to try first."""

    max_cost_nanousd: int | None = None
    preferred_models: tuple[str, ...] = ()
    preferred_providers: tuple[str, ...] = ()


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One chat request.

    `model` is `provider/model`, a bare model name, or empty for the default of the settings.
    `deadline_s` is seconds remaining, never a moment: monotonic clocks mean nothing on another host.
    `tenant` is whose request it is, by the caller's key: nothing remembered is shared between tenants.
    `extra` holds the fields that the surface `dialect` did not know.
    `provider_options` reach the provider's body as given, by provider name.
    """

    messages: tuple[Message, ...]
    model: str = ""
    sampling: Sampling = Sampling()
    choices: int = 1
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    stream: bool = False
    stream_usage: bool = False
    user: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    cost: CostLimits = CostLimits()
    deadline_s: float | None = None
    request_id: str = ""
    tenant: str = ""
    provider_options: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    extra: Mapping[str, Json] = field(default_factory=dict)
    dialect: str = ""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """Texts to turn into vectors. `dimensions` asks for shorter vectors where the model can."""

    inputs: tuple[str, ...]
    model: str = ""
    dimensions: int | None = None
    user: str | None = None
    deadline_s: float | None = None
    request_id: str = ""
    extra: Mapping[str, Json] = field(default_factory=dict)
    dialect: str = ""


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
