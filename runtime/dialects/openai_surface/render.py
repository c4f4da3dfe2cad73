"""Outcomes as an OpenAI client reads them: a reply, a stream of chunks, an error.

What clients were seen to break on is always there: `object`, `index`, `role` in the first chunk of a choice,
`index` on every tool call fragment, a finish reason in every choice, `choices: []` beside the last usage. After a
failure there is an error event and no [DONE]: a client must not take a broken answer for a whole one.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from runtime.dialects.openai_surface.calls import Thoughts, call_of, details_of, fragment_of
from runtime.dialects.openai_surface.legacy import as_function_call
from runtime.dialects.surface import retry_headers, sentence_of
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
from runtime.request import AudioPart, ImagePart, Json, Part

CHOICE_FIELDS = frozenset(
    ("native_finish_reason", "content_filter_results", "content_filter_result", "stop_reason", "token_ids")
)
"""Of the fields that no type holds, those that hosts put beside the message instead of into it."""

CODES: Mapping[FailureKind, str] = {
    FailureKind.CONTEXT_OVERFLOW: "context_length_exceeded",
    FailureKind.CONTENT_FILTERED: "content_filter",
    FailureKind.MODEL_NOT_FOUND: "model_not_found",
    FailureKind.RATE_LIMITED: "rate_limit_exceeded",
    FailureKind.QUOTA_EXHAUSTED: "insufficient_quota",
    # The provider refused our key: its own code would tell the caller that theirs is wrong.
    FailureKind.UNAUTHENTICATED: "upstream_unauthenticated",
    FailureKind.FORBIDDEN: "upstream_forbidden",
}
"""Codes that clients decide by, whatever the provider called it. Other kinds keep the provider's code."""

DONE = b"data: [DONE]\n\n"

KEEP_ALIVE = b": keep-alive\n\n"
"""A comment: every reader of event streams skips it."""

_TAIL = b"]}\n\n"

_FINISH: Mapping[FinishReason | None, str] = {
    **{reason: reason.value for reason in FinishReason},
    FinishReason.OTHER: "stop",
    None: "stop",
}


def render_completion(completion: Completion, *, legacy: bool = False) -> dict[str, Json]:
    """The body of a whole reply; `legacy` for a client that spoke of `functions`."""
    body: dict[str, Json] = {
        "id": _id(completion.id, completion.request_id),
        "object": "chat.completion",
        "created": completion.created_s,
        "model": completion.model,
        "choices": [_choice(index, choice, legacy=legacy) for index, choice in enumerate(completion.choices)],
        "usage": render_usage(completion.usage, completion.cost),
    }
    for name, value in completion.extra.items():
        body.setdefault(name, value)
    return body


def render_usage(usage: Usage, cost: Cost | None, continued: int = 0) -> dict[str, Json]:
    """Tokens, the cost in US dollars where it is known, and how often the answer broke off and was continued."""
    body: dict[str, Json] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "audio_tokens": usage.audio_input_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
        },
    }
    if usage.cache_write_tokens:
        body["prompt_tokens_details"]["cache_write_tokens"] = usage.cache_write_tokens
    if usage.estimated:
        body["estimated"] = True
    if cost is not None:
        body["cost"] = cost.total_nanousd / 1_000_000_000
        if cost.saved_nanousd:
            body["saved"] = cost.saved_nanousd / 1_000_000_000
    if continued:
        body["continued"] = continued
    return body


def render_error(failure: Failure) -> tuple[int, dict[str, str], dict[str, Json]]:
    """Status, headers and body. The headers tell the SDK whether to repeat what we may have repeated already."""
    return failure.handling.status, retry_headers(failure), {"error": _error(failure)}


class ChunkRenderer:
    """One stream's events as SSE bytes, in order. Use one for each stream. `legacy` as in `render_completion`."""

    __slots__ = (
        "_finished",
        "_head",
        "_id",
        "_legacy",
        "_meta",
        "_open",
        "_text_head",
        "_text_tail",
        "_thoughts",
        "_usage",
    )

    def __init__(self, *, stream_usage: bool, legacy: bool = False) -> None:
        self._usage = stream_usage
        self._legacy = legacy
        self._open: set[int] = set()
        self._thoughts = Thoughts()
        self._finished: set[int] = set()
        self._begin(StreamStart(id="", provider="", model=""))

    def render(self, event: StreamEvent) -> list[bytes]:
        """The bytes of this event; each item is one whole SSE event."""
        if isinstance(event, Delta):
            return [self._delta(event)]
        if isinstance(event, StreamStart):
            self._begin(event)
            return []
        if isinstance(event.outcome, Failure):
            return [b"data: " + orjson.dumps({"error": _error(event.outcome)}) + b"\n\n"]
        return self._completion(event.outcome)

    def keep_alive(self) -> bytes:
        return KEEP_ALIVE

    def _begin(self, start: StreamStart) -> None:
        self._id = _id(start.id, start.request_id)
        self._meta = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": start.created_s,
            "model": start.model,
        }
        # Nearly every chunk is a piece of text of choice 0: its constant parts are made once.
        self._head = b"data: " + orjson.dumps(self._meta)[:-1] + b',"choices":['
        self._text_head = self._head + b'{"index":0,"delta":{"content":'
        self._text_tail = b'},"logprobs":null,"finish_reason":null}' + _TAIL

    def _delta(self, delta: Delta) -> bytes:
        if (
            delta.choice == 0
            and delta.text
            and not (delta.reasoning or delta.refusal or delta.tool_calls or delta.parts or delta.extra)
            and not (delta.signature or delta.part_extra or delta.audio)
            and delta.finish_reason is None
            and delta.logprobs is None
            and 0 in self._open
        ):
            return self._text_head + orjson.dumps(delta.text) + self._text_tail
        body: dict[str, Json] = {}
        if delta.choice not in self._open:
            self._open.add(delta.choice)
            body["role"] = "assistant"
            body["content"] = delta.text
        elif delta.text:
            body["content"] = delta.text
        if delta.reasoning:
            body["reasoning_content"] = delta.reasoning
        if details := self._thoughts.details_of(delta):
            body["reasoning_details"] = details
        if images := _images(delta.parts):
            body["images"] = images
        if delta.audio is not None:
            body["audio"] = _audio(delta.audio)
        if delta.refusal:
            body["refusal"] = delta.refusal
        if delta.tool_calls:
            body["tool_calls"] = [fragment_of(call) for call in delta.tool_calls]
        finish = None
        if delta.finish_reason is not None:
            self._finished.add(delta.choice)
            finish = _FINISH[delta.finish_reason]
        choice: dict[str, Json] = {
            "index": delta.choice,
            "delta": body,
            "logprobs": delta.logprobs,
            "finish_reason": finish,
        }
        _spread(delta.extra, choice, body)
        if self._legacy:
            _in_legacy_words(choice, body)
        return self._head + orjson.dumps(choice) + _TAIL

    def _completion(self, completion: Completion) -> list[bytes]:
        if not self._open:
            self._begin(
                StreamStart(
                    id=completion.id,
                    provider=completion.provider,
                    model=completion.model,
                    created_s=completion.created_s,
                    request_id=completion.request_id,
                )
            )
        chunks: list[bytes] = []
        for index, choice in enumerate(completion.choices):
            if index not in self._open:
                # Nothing of it was streamed, as when a cache answers: here it is whole.
                chunks.append(self._whole(index, choice))
            elif index not in self._finished:
                chunks.append(self._delta(Delta(choice=index, finish_reason=choice.finish_reason or FinishReason.STOP)))
        if self._usage:
            last: dict[str, Json] = {
                **self._meta,
                "choices": [],
                "usage": render_usage(completion.usage, completion.cost, completion.continued),
            }
            for name, value in completion.extra.items():
                last.setdefault(name, value)
            chunks.append(b"data: " + orjson.dumps(last) + b"\n\n")
        chunks.append(DONE)
        return chunks

    def _whole(self, index: int, choice: Choice) -> bytes:
        self._open.add(index)
        said = _choice(index, choice, legacy=self._legacy)
        message = said.pop("message")
        for at, call in enumerate(message.get("tool_calls", ())):
            call["index"] = at
        return self._head + orjson.dumps({**said, "delta": message}) + _TAIL


def _choice(index: int, choice: Choice, *, legacy: bool) -> dict[str, Json]:
    message: dict[str, Json] = {
        "role": "assistant",
        # Null is what clients expect beside tool calls and refusals.
        "content": choice.text or (None if choice.tool_calls or choice.refusal is not None else ""),
        "refusal": choice.refusal,
    }
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if details := details_of(choice):
        message["reasoning_details"] = details
    if images := _images(choice.parts):
        message["images"] = images
    for part in choice.parts:
        if isinstance(part, AudioPart):
            message["audio"] = _audio(part)
    if choice.tool_calls:
        message["tool_calls"] = [call_of(call) for call in choice.tool_calls]
    body: dict[str, Json] = {
        "index": index,
        "message": message,
        "logprobs": choice.logprobs,
        "finish_reason": _FINISH[choice.finish_reason],
    }
    _spread(choice.extra, body, message)
    if legacy:
        _in_legacy_words(body, message)
    return body


def _in_legacy_words(choice: dict[str, Json], message: dict[str, Json]) -> None:
    as_function_call(message)
    if choice["finish_reason"] == "tool_calls":
        choice["finish_reason"] = "function_call"


def _audio(sound: AudioPart) -> dict[str, Json]:
    return {**sound.extra, **({"data": sound.data} if sound.data else {})}


def _images(parts: tuple[Part, ...]) -> list[Json]:
    """Images that the model drew, where OpenRouter's clients look for them."""
    images = [part for part in parts if isinstance(part, ImagePart)]
    urls = [image.url or f"data:{image.media_type or 'image/png'};base64,{image.data}" for image in images]
    return [{"type": "image_url", "image_url": {"url": url}} for url in urls]


def _spread(extra: Mapping[str, Json], choice: dict[str, Json], message: dict[str, Json]) -> None:
    for name, value in extra.items():
        (choice if name in CHOICE_FIELDS else message).setdefault(name, value)


def _error(failure: Failure) -> dict[str, Json]:
    return {
        "message": sentence_of(failure),
        "type": failure.handling.type,
        "param": failure.param,
        "code": CODES.get(failure.kind) or failure.code or failure.kind.value,
    }


def _id(completion_id: str, request_id: str) -> str:
    return completion_id or f"chatcmpl-{request_id or 'raygate'}"
