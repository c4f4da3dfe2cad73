"""How many tokens a request has, roughly. An estimate, and marked so wherever it goes.

Counted is what a model reads as text: message texts, the names and arguments of tool calls, tool schemas, and what
only one dialect has, in its own words. The JSON around messages is not: no model sees it. Four bytes of UTF-8 a token
is right within about a quarter for English prose and code, and too low for scripts of three bytes a letter (about one
token each).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

import orjson

from runtime.outcome import Completion, Usage
from runtime.request import (
    AudioPart,
    EmbedRequest,
    FilePart,
    ImagePart,
    Json,
    NativePart,
    NativeTool,
    Part,
    ReasoningPart,
    Request,
    TextPart,
    ToolCall,
    VideoPart,
)

BYTES_PER_TOKEN = 4

IMAGE_TOKENS = 765
"""What OpenAI counts for a 1024×1024 image at high detail: 85 + 4 tiles of 170."""

LOW_DETAIL_IMAGE_TOKENS = 85

AUDIO_TOKENS = 600
"""A minute of speech at the usual 10 tokens a second. Its true length would have to be decoded."""


VIDEO_TOKENS = 18_000
"""A minute at Gemini's 300 tokens a second."""

FILE_TOKENS = 2_250
"""A page as Anthropic counts it: 1,500 to 3,000. How many there are would have to be decoded."""


def estimate_tokens(request: Request) -> int:
    """The input tokens of a request.

    >>> from runtime.request import ask
    >>> estimate_tokens(ask("12345678"))
    2
    """
    parts = [part for message in request.messages for part in message.parts]
    return text_tokens((*_said(parts), *_asked(request))) + sum(map(_media_tokens, parts))


def embed_tokens(request: EmbedRequest) -> int:
    """The input tokens of texts to embed; exact where they came as tokens."""
    return text_tokens(request.inputs) + sum(map(len, request.tokens))


def text_tokens(texts: Iterable[str]) -> int:
    """Of texts that are read as one."""
    return -(-sum(len(text.encode()) for text in texts) // BYTES_PER_TOKEN)


def estimate_usage(request: Request, answer: Completion) -> Usage:
    """The usage of an answer whose provider reported none."""
    parts = [part for choice in answer.choices for part in choice.parts]
    refusals = (choice.refusal or "" for choice in answer.choices)
    return Usage(
        input_tokens=estimate_tokens(request),
        output_tokens=text_tokens((*_said(parts), *refusals)) + sum(map(_media_tokens, parts)),
        estimated=True,
    )


def usage_so_far(request: Request, said: Completion) -> Usage:
    """What an answer that was cut off has used: what was named of it, the rest as it looks.

    Some name the input at once and the output only at the end.
    """
    looks = estimate_usage(request, said)
    named = said.usage
    return replace(
        named,
        input_tokens=named.input_tokens or looks.input_tokens,
        output_tokens=max(named.output_tokens, looks.output_tokens),
        estimated=True,
    )


def _said(parts: Iterable[Part]) -> Iterable[str]:
    """What the parts hold that is read as text."""
    for part in parts:
        match part:
            case TextPart() | ReasoningPart():
                yield part.text
            case ToolCall():
                yield part.name
                yield part.arguments
            case FilePart():
                yield part.text or ""
            case NativePart():
                yield _json(part.value)
            case ImagePart() | AudioPart() | VideoPart():
                pass
            case _:
                assert_never(part)


def _asked(request: Request) -> Iterable[str]:
    """What the request says around the messages. Providers put the schemas themselves into the prompt."""
    for tool in request.tools:
        if isinstance(tool, NativeTool):
            yield _json(tool.value)
            continue
        yield tool.name
        yield tool.description or ""
        if tool.parameters is not None:
            yield _json(tool.parameters)
    if request.response_format is not None and request.response_format.schema is not None:
        yield _json(request.response_format.schema)


def _media_tokens(part: Part) -> int:
    match part:
        case ImagePart():
            return LOW_DETAIL_IMAGE_TOKENS if part.detail == "low" else IMAGE_TOKENS
        case AudioPart():
            return AUDIO_TOKENS
        case VideoPart():
            return VIDEO_TOKENS
        case FilePart():
            return FILE_TOKENS if part.text is None else 0
        case TextPart() | ReasoningPart() | ToolCall() | NativePart():
            return 0
        case _:
            assert_never(part)


def _json(value: Json) -> str:
    return orjson.dumps(value, default=str).decode()
