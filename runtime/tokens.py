"""How many tokens a request has, roughly. An estimate, and marked so wherever it goes.

Counted is what a model reads as text: message texts, the names and arguments of tool calls, and tool schemas. The
JSON around messages is not: no model sees it. Four bytes of UTF-8 a token is right within about a quarter for
English prose and code, and too low for scripts of three bytes a letter (about one token each).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import orjson

from runtime.request import AudioPart, ImagePart, Message, Request, TextPart

BYTES_PER_TOKEN = 4

IMAGE_TOKENS = 765
"""What OpenAI counts for a 1024×1024 image at high detail: 85 + 4 tiles of 170."""

LOW_DETAIL_IMAGE_TOKENS = 85

AUDIO_TOKENS = 600
"""A minute of speech at the usual 10 tokens a second. Its true length would have to be decoded."""


def estimate_tokens(request: Request) -> int:
    """The input tokens of a request.

    >>> from runtime.request import ask
    >>> estimate_tokens(ask("12345678"))
    2
    """
    text = sum(len(piece.encode()) for piece in _texts(request))
    media = sum(_media_tokens(message) for message in request.messages)
    return -(-text // BYTES_PER_TOKEN) + media


def _texts(request: Request) -> Iterable[str]:
    for message in request.messages:
        yield message.text
        for call in message.tool_calls:
            yield call.name
            yield call.arguments
    for tool in request.tools:
        yield tool.name
        yield tool.description or ""
        if tool.parameters is not None:
            # Providers put the schema itself into the prompt, so here the JSON is the text.
            yield orjson.dumps(tool.parameters).decode()
    if request.response_format is not None and request.response_format.schema is not None:
        yield orjson.dumps(request.response_format.schema).decode()


def _media_tokens(message: Message) -> int:
    total = 0
    for part in message.parts:
        match part:
            case ImagePart():
                total += LOW_DETAIL_IMAGE_TOKENS if part.detail == "low" else IMAGE_TOKENS
            case AudioPart():
                total += AUDIO_TOKENS
            case TextPart():
                pass
            case _:
                assert_never(part)
    return total
