"""Answers as Ollama's clients read them: one object, or lines of JSON of which the last says `done`.

    Delta ──────────► {…, "message": {…}, "done": false}      tool calls wait: on this wire they come whole
    Completion ─────► its tool calls, {…, "done": true, "done_reason", counts, durations, cost}
    Failure ────────► {"error": "…"}                          and no line with `done: true`

`/api/generate` says the same flat: `response` where chat says `message.content`. An answer is one text, one thought,
images and calls here; signatures, citations and what only another provider has are left out. What was refused or
heard is text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

import orjson

from runtime.dialects.encoding import object_of_text, split_data_url
from runtime.dialects.surface import sentence_of
from runtime.outcome import (
    Choice,
    Completion,
    Cost,
    Delta,
    Failure,
    FinishReason,
    StreamEvent,
    StreamStart,
    Usage,
)
from runtime.request import AudioPart, ImagePart, Json, Part, ReasoningPart, TextPart, ToolCall

UNREAD = "unparsed"
"""Names the text of a call's arguments where it is no JSON object: the answer may have been cut short inside it."""

DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
"""In nanoseconds. An Ollama behind us says them itself."""

_TAKEN = frozenset(
    (
        *("model", "created_at", "message", "done", "done_reason", "prompt_eval_count", "eval_count", *DURATIONS),
        *("role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id", "logprobs"),
        *("response", "image", "context", "completed", "total"),
        *("error", "status", "cost", "estimated", "continued", "finish_reason"),
    )
)
"""Fields that mean something to a client; nothing of a provider's own may take their place."""

_SHALLOW = 200
"""As many objects and lists are surely not nested too deep."""

_REASONS: Mapping[FinishReason | None, str] = {
    None: "stop",
    FinishReason.STOP: "stop",
    # The server has no word of its own for an answer that ends in calls.
    FinishReason.TOOL_CALLS: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.ERROR: "error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer, or a piece of one, by the fields of this wire."""

    content: str = ""
    thinking: str = ""
    images: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    logprobs: Json = None
    extra: Mapping[str, Json] | None = None


class Shape(NamedTuple):
    """One of the two endpoints. A line of plain text is `opening`, the text in JSON, `closing`."""

    say: Callable[[Said], dict[str, Json]]
    opening: bytes
    closing: bytes


def _as_message(said: Said) -> dict[str, Json]:
    message: dict[str, Json] = {"role": "assistant", "content": said.content}
    if said.thinking:
        message["thinking"] = said.thinking
    if said.images:
        message["images"] = list(said.images)
    if said.calls:
        message["tool_calls"] = calls_of(said.calls)
    message |= _others(said.extra)
    return {"message": message, **_logprobs(said.logprobs)}


def _as_response(said: Said) -> dict[str, Json]:
    body: dict[str, Json] = {"response": said.content}
    if said.thinking:
        body["thinking"] = said.thinking
    if said.images:
        # There is room for one; a stream has room for one in each line.
        body["image"] = said.images[0]
    if said.calls:
        body["tool_calls"] = calls_of(said.calls)
    return body | _others(said.extra) | _logprobs(said.logprobs)


CHAT = Shape(_as_message, b',"message":{"role":"assistant","content":', b'},"done":false}\n')
GENERATE = Shape(_as_response, b',"response":', b',"done":false}\n')


def render_answer(completion: Completion, shape: Shape) -> dict[str, Json]:
    """The body of a whole reply."""
    choice = _first(completion)
    return {
        "model": completion.model,
        "created_at": moment_of(completion.created_s),
        **shape.say(_whole(choice)),
        **_end(completion, choice),
    }


def render_failure(failure: Failure) -> dict[str, Json]:
    """The body of an error, and the last line of a stream that broke."""
    return {"error": sentence_of(failure)}


class LineRenderer:
    """A `StreamRenderer`. There is one choice on this wire; others are left out."""

    __slots__ = ("_begun", "_head", "_meta", "_shape", "_text_head", "_text_tail")

    def __init__(self, model: str, shape: Shape) -> None:
        self._shape = shape
        self._begun = False
        self._start(model, 0)

    def render(self, event: StreamEvent) -> list[bytes]:
        if isinstance(event, Delta):
            return self._delta(event)
        if isinstance(event, StreamStart):
            self._start(event.model, event.created_s)
            return []
        if isinstance(event.outcome, Failure):
            return [_line(render_failure(event.outcome))]
        return self._completion(event.outcome)

    def keep_alive(self) -> bytes:
        # Clients parse every line, an empty one too; space before JSON says nothing to any of them.
        return b" "

    def _start(self, model: str, created_s: int) -> None:
        self._meta: dict[str, Json] = {"model": model, "created_at": moment_of(created_s)}
        # Nearly every line is a piece of text: its constant parts are made once.
        self._text_head = orjson.dumps(self._meta)[:-1] + self._shape.opening
        self._text_tail = self._shape.closing

    def _delta(self, delta: Delta) -> list[bytes]:
        if delta.choice != 0:
            return []
        if (
            delta.text
            and not (delta.reasoning or delta.refusal or delta.parts or delta.extra)
            and delta.audio is None
            and delta.logprobs is None
        ):
            self._begun = True
            return [self._text_head + orjson.dumps(delta.text) + self._text_tail]
        said = _of_parts(delta.parts)
        heard = _transcript(delta.audio) if delta.audio is not None else ""
        said = replace(
            said,
            content=f"{delta.text}{delta.refusal}{heard}{said.content}",
            thinking=delta.reasoning + said.thinking,
            # Calls are said from the completion, where they are whole.
            calls=(),
            logprobs=_tokens(delta.logprobs),
            extra=_others(delta.extra),
        )
        return self._said(said)

    def _completion(self, completion: Completion) -> list[bytes]:
        choice = _first(completion)
        lines: list[bytes] = []
        if not self._begun:
            self._start(completion.model, completion.created_s)
            # Nothing of it was streamed, as when a cache answers.
            lines += self._said(_whole(choice))
        elif choice.tool_calls:
            lines += self._said(Said(calls=choice.tool_calls))
        lines.append(_line({**self._meta, **self._shape.say(Said()), **_end(completion, choice)}))
        return lines

    def _said(self, said: Said) -> list[bytes]:
        """The line that says this; none where it says nothing."""
        if not (said.content or said.thinking or said.images or said.calls or said.logprobs or said.extra):
            return []
        self._begun = True
        return [_line({**self._meta, **self._shape.say(said), "done": False})]


def calls_of(calls: Iterable[ToolCall]) -> list[Json]:
    """Calls of tools; arguments are an object here."""
    found: list[Json] = []
    for index, call in enumerate(calls):
        body: dict[str, Json] = {"id": call.id} if call.id else {}
        body["function"] = {"index": index, "name": call.name, "arguments": _arguments(call.arguments)}
        found.append(body)
    return found


def counts_of(usage: Usage, cost: Cost | None, continued: int = 0) -> dict[str, Json]:
    """Tokens as far as anyone counted or estimated them, the cost in US dollars where it is known, and `continued`."""
    body: dict[str, Json] = {}
    if usage.input_tokens or not usage.estimated:
        body["prompt_eval_count"] = usage.input_tokens
    if usage.total_tokens or not usage.estimated:
        body["eval_count"] = usage.output_tokens
    if usage.estimated:
        body["estimated"] = True
    if cost is not None:
        body["cost"] = cost.total_nanousd / 1_000_000_000
        if cost.saved_nanousd:
            body["saved"] = cost.saved_nanousd / 1_000_000_000
    if continued:
        body["continued"] = continued
    return body


def moment_of(created_s: int) -> str:
    """Seconds since 1970 in RFC 3339.

    >>> moment_of(0), moment_of(1_785_421_036)
    ('1970-01-01T00:00:00Z', '2026-07-30T14:17:16Z')
    """
    try:
        return datetime.fromtimestamp(created_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return moment_of(0)


def nanoseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e9))


def _arguments(said: str) -> dict[str, Json]:
    """The object that this text is. Text stays text where it is none, or is nested too deep to be written again."""
    found = object_of_text(said)
    if found is None or (said.count("{") + said.count("[") > _SHALLOW and not _writable(found)):
        return {UNREAD: said}
    return found


def _writable(value: Json) -> bool:
    """Whether the writer of JSON, which goes 254 levels deep, takes this value where a call has its arguments."""
    try:
        orjson.dumps([[[[[[[[value]]]]]]]])
    except orjson.JSONEncodeError:
        return False
    return True


def _line(body: dict[str, Json]) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)


def _first(completion: Completion) -> Choice:
    return completion.choices[0] if completion.choices else Choice()


def _whole(choice: Choice) -> Said:
    said = _of_parts(choice.parts)
    return replace(
        said,
        content=said.content + (choice.refusal or ""),
        logprobs=_tokens(choice.logprobs),
        extra=_others(choice.extra),
    )


def _of_parts(parts: Iterable[Part]) -> Said:
    content: list[str] = []
    thinking: list[str] = []
    images: list[str] = []
    calls: list[ToolCall] = []
    for part in parts:
        match part:
            case TextPart():
                content.append(part.text)
            case ReasoningPart():
                thinking.append(part.text)
            case ImagePart():
                inline = split_data_url(part.url) if part.url is not None else None
                images += [part.data] if part.data is not None else [inline[1]] if inline else []
            case AudioPart():
                content.append(_transcript(part))
            case ToolCall():
                calls.append(part)
            case _:
                pass
    return Said(content="".join(content), thinking="".join(thinking), images=tuple(images), calls=tuple(calls))


def _transcript(sound: AudioPart) -> str:
    """The words of a sound, which has no place here itself."""
    said = sound.extra.get("transcript")
    return said if isinstance(said, str) else ""


def _tokens(logprobs: Json) -> Json:
    """The tokens of the text with their probabilities: what OpenAI calls `content` is the whole list here."""
    found = logprobs.get("content") if isinstance(logprobs, dict) else None
    return found if isinstance(found, list) and found else None


def _logprobs(tokens: Json) -> dict[str, Json]:
    return {"logprobs": tokens} if tokens else {}


def _others(extra: Mapping[str, Json] | None) -> dict[str, Json]:
    """A provider's own fields, which no client of this wire can mistake for one that it knows."""
    return {name: value for name, value in extra.items() if name not in _TAKEN} if extra else {}


def _end(completion: Completion, choice: Choice) -> dict[str, Json]:
    """What the last line says of the whole answer."""
    return {
        **_others(completion.extra),
        "done": True,
        "done_reason": _reason(choice),
        **_durations(completion),
        **counts_of(completion.usage, completion.cost, completion.continued),
    }


def _reason(choice: Choice) -> str:
    word = choice.extra.get("finish_reason")
    if choice.finish_reason is FinishReason.OTHER and isinstance(word, str) and word:
        return word
    return _REASONS.get(choice.finish_reason, "stop")


def _durations(completion: Completion) -> dict[str, Json]:
    """As measured from here: until the first token is the time of the prompt, the rest that of the answer."""
    found: dict[str, Json] = {}
    if completion.latency_s > 0:
        found["total_duration"] = nanoseconds(completion.latency_s)
        if completion.ttft_s is not None:
            found["prompt_eval_duration"] = nanoseconds(completion.ttft_s)
            found["eval_duration"] = nanoseconds(completion.latency_s - completion.ttft_s)
    for name in DURATIONS:
        said = completion.extra.get(name)
        if isinstance(said, int) and not isinstance(said, bool):
            found[name] = said
    return found
