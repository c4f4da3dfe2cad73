"""How many tokens a request has, roughly. An estimate, and marked so wherever it goes.

Counted is what a model reads as text: message texts, the names and arguments of tool calls, tool schemas, and what
only one dialect has, in its own words. The JSON around messages is not: no model sees it.

    text ── o200k (OpenAI's vocabulary) ──► counted ── what the model's family reported so far ──► expected

Short texts are counted exactly; of long ones a few cuts, since exact counts cost 40 to 90 µs a kilobyte: half of such
estimates are within 7 % of the exact count, 19 of 20 within 23 %, and a megabyte takes a tenth of a millisecond. Until
the vocabulary has been read, and where nobody reads it, four bytes of UTF-8 are a token: right within about a quarter
for English prose and code, and too low for scripts of three bytes a letter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import orjson

from runtime import vocabulary
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
from runtime.token_ratio import Ratios, Shape
from runtime.values import replace

BYTES_PER_TOKEN = 4

CUT = 80
"""Letters in a cut of a long text."""

FEWEST_CUTS, MOST_CUTS = 3, 16
CUT_EVERY = 4_096
"""How many cuts: three, and one more for so many letters."""

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
    """The input tokens of a request, as counted here.

    >>> from runtime.request import ask
    >>> estimate_tokens(ask("12345678"))
    2
    """
    parts = [part for message in request.messages for part in message.parts]
    return text_tokens((*_said(parts), *_asked(request))) + sum(map(_media_tokens, parts))


def expected_tokens(request: Request, model: str, ratios: Ratios | None) -> int:
    """The input tokens that this model's provider will report, by what it reported before."""
    counted = estimate_tokens(request)
    return counted if ratios is None else ratios.expected(model, shape_of(request), counted)


def embed_tokens(request: EmbedRequest) -> int:
    """The input tokens of texts to embed; exact where they came as tokens."""
    return text_tokens(request.inputs) + sum(map(len, request.tokens))


def text_tokens(texts: Iterable[str]) -> int:
    """Of texts that are read as one. Bounded in time, however long they are."""
    text = "".join(texts)
    encode = vocabulary.encoder()
    if encode is None:
        return -(-size(text) // BYTES_PER_TOKEN)
    letters = len(text)
    if letters <= FEWEST_CUTS * CUT:
        return len(encode(text))
    cuts = min(MOST_CUTS, FEWEST_CUTS + letters // CUT_EVERY)
    step = (letters - CUT) / (cuts - 1)
    seen = "".join(_at_words(text[int(cut * step) : int(cut * step) + CUT]) for cut in range(cuts))
    return -(-len(encode(seen)) * letters // len(seen))


def size(text: str) -> int:
    """Bytes in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def shape_of(request: Request) -> Shape:
    if request.tools:
        return "tools"
    return "schema" if request.response_format is not None and request.response_format.schema is not None else "plain"


def estimate_usage(request: Request, answer: Completion, ratios: Ratios | None = None) -> Usage:
    """The usage of an answer whose provider reported none."""
    said = _answered(answer)
    return Usage(
        input_tokens=expected_tokens(request, request.model, ratios),
        output_tokens=said if ratios is None or not said else ratios.expected(request.model, "output", said),
        estimated=True,
    )


def usage_so_far(request: Request, said: Completion, ratios: Ratios | None = None) -> Usage:
    """What an answer that was cut off has used: what was named of it, the rest as it looks.

    Some name the input at once and the output only at the end.
    """
    looks = estimate_usage(request, said, ratios)
    named = said.usage
    return replace(
        named,
        input_tokens=named.input_tokens or looks.input_tokens,
        output_tokens=max(named.output_tokens, looks.output_tokens),
        estimated=True,
    )


def learn(ratios: Ratios, request: Request, answer: Completion) -> None:
    """Take note of what a provider reported of a whole answer. Requests with media teach nothing about text."""
    usage, model, shape = answer.usage, request.model, shape_of(request)
    if usage.estimated or not usage.input_tokens or not ratios.wants(model, shape) or not is_plain_text(request):
        return
    ratios.observe(model, shape, counted=estimate_tokens(request), reported=usage.input_tokens)
    # Thoughts that are not shown are counted all the same.
    if len(answer.choices) == 1 and _is_text(answer.choices[0].parts) and not usage.reasoning_tokens:
        ratios.observe(model, "output", counted=_answered(answer), reported=usage.output_tokens)


def is_plain_text(request: Request) -> bool:
    """Whether the text of a request is all that its provider counts: no media, no tools of the provider's own."""
    parts = (part for message in request.messages for part in message.parts)
    return _is_text(parts) and not any(isinstance(tool, NativeTool) for tool in request.tools)


def _answered(answer: Completion) -> int:
    parts = [part for choice in answer.choices for part in choice.parts]
    refusals = (choice.refusal or "" for choice in answer.choices)
    return text_tokens((*_said(parts), *refusals)) + sum(map(_media_tokens, parts))


def _is_text(parts: Iterable[Part]) -> bool:
    return all(isinstance(part, TextPart | ToolCall) for part in parts)


def _at_words(cut: str) -> str:
    """From its first space to its last, so that no word is cut in two."""
    first, last = cut.find(" "), cut.rfind(" ")
    return cut[first:last] if last > first >= 0 else cut


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
