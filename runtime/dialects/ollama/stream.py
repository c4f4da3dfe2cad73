"""Ollama's answers, line by line. A whole reply is the stream's last line with everything in it.

    reading ── {"message": …, "done": false} ─► reading    deltas
            ── {…, "done": true} ─────────────► ended      finish() gives the completion
            ── {"error": "…"} ────────────────► failed     finish() gives that failure
            ── no JSON, too long ─────────────► failed     MALFORMED
            ── end of the bytes ──────────────► INTERRUPTED

Tool calls come whole, and the server numbers them anew in every line: their order alone tells them apart.
"""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from runtime.dialects.base import Target
from runtime.dialects.encoding import invented_id, media_type_of, text_of_object
from runtime.dialects.ndjson import LineParser, LineTooLong
from runtime.dialects.paths import leftovers
from runtime.dialects.reading import NOT_REPORTED, count, extra_of, obj, text
from runtime.dialects.status import envelope_of, failure_of_error, interrupted, malformed
from runtime.fold import Fold
from runtime.outcome import Completion, Delta, Failure, FinishReason, Outcome, ToolCallDelta, Usage
from runtime.request import ImagePart, Json, Part

TOP = frozenset(
    ("model", "created_at", "message", "done", "done_reason", "prompt_eval_count", "eval_count", "logprobs")
)
MESSAGE = frozenset(("role", "content", "thinking", "images", "tool_calls"))

_FINISH = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}


class OllamaStream:
    """A `ChunkDecoder`. Answers have no id on this wire."""

    __slots__ = (
        "_calls",
        "_created_at",
        "_done",
        "_extra",
        "_failure",
        "_fold",
        "_lines",
        "_model",
        "_target",
        "_usage",
    )

    def __init__(self, target: Target) -> None:
        self._target = target
        self._lines = LineParser()
        self._fold = Fold()
        self._model = ""
        self._created_at = ""
        self._calls = 0
        self._usage = NOT_REPORTED
        self._extra: dict[str, Json] = {}
        self._failure: Failure | None = None
        self._done = False

    @property
    def id(self) -> str:
        return ""

    @property
    def model(self) -> str:
        return self._model

    @property
    def ended(self) -> bool:
        return self._done or self._failure is not None

    def feed(self, data: bytes) -> list[Delta]:
        deltas: list[Delta] = []
        if self.ended:
            return deltas
        for line in self._lines.feed(data):
            self._line(line, deltas)
            if self.ended:
                break
        return deltas

    def finish(self) -> Outcome:
        if not self.ended:
            last = self._lines.finish()
            if last is not None and (failure := self._unterminated(last)) is not None:
                return failure
        if self._failure is not None:
            return self._failure
        if not self._done:
            what = "before any answer" if self._fold.empty else "before the answer was finished"
            return interrupted(self._target, f"the stream ended {what}")
        return self._completion()

    def so_far(self) -> Completion:
        return self._completion()

    def read(self, reply: dict[str, Json]) -> Outcome:
        """The completion of a whole reply, which is one chunk."""
        self._chunk(reply, [])
        return self._failure or self._completion()

    def _unterminated(self, last: bytes) -> Failure | None:
        """Read a line that lacks its end. Whole JSON proves that it was not cut; its content comes too late to show,
        unless it is the whole answer in one line, as a plain request gets it."""
        if last.lstrip()[:1] in (b"<", b"["):
            return malformed(
                self._target, "answered a streaming request with something that is no stream of JSON lines"
            )
        try:
            orjson.loads(last)
        except orjson.JSONDecodeError:
            return None
        late: list[Delta] = []
        alone = self._fold.empty
        self._line(last, late)
        if not (alone and self._done) and any(delta.has_content for delta in late):
            return interrupted(self._target, "the stream ended inside a line")
        return None

    def _line(self, line: bytes | LineTooLong, deltas: list[Delta]) -> None:
        if isinstance(line, LineTooLong):
            self._failure = malformed(self._target, f"a line of the stream is longer than {line.limit_bytes} bytes")
            return
        try:
            chunk = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            self._failure = malformed(self._target, f"a line of the stream is not JSON: {error}")
            return
        if not isinstance(chunk, dict):
            self._failure = malformed(self._target, "a line of the stream is not a JSON object")
        elif chunk.get("error"):
            status = chunk.get("status")
            said = envelope_of(chunk) or "the answer ended in an error"
            self._failure = failure_of_error(said, self._target, status=status if isinstance(status, int) else None)
        elif not isinstance(chunk.get("message"), dict) and "done" not in chunk:
            self._failure = malformed(self._target, "a line of the stream is no chat message; check base_url")
        else:
            self._chunk(chunk, deltas)

    def _chunk(self, chunk: dict[str, Json], deltas: list[Delta]) -> None:
        if not self._model:
            self._model = text(chunk.get("model"))
        if not self._created_at:
            self._created_at = text(chunk.get("created_at"))
        if not chunk.keys() <= TOP:
            self._extra.update(extra_of(chunk, TOP))
        message = obj(chunk.get("message"))
        extra: dict[str, Json] = {} if message.keys() <= MESSAGE else extra_of(message, MESSAGE)
        calls = self._tool_calls(message["tool_calls"], extra) if message.get("tool_calls") else ()
        finish = None
        if chunk.get("done") is True:
            self._done = True
            finish = self._finish(chunk.get("done_reason"), extra)
            self._usage = usage_of(chunk)
        logprobs = chunk.get("logprobs")
        delta = Delta(
            text=text(message.get("content")),
            reasoning=text(message.get("thinking")),
            tool_calls=calls,
            parts=_images(message["images"]) if message.get("images") else (),
            finish_reason=finish,
            # In the form in which OpenAI says the same.
            logprobs={"content": logprobs} if isinstance(logprobs, list) and logprobs else None,
            extra=extra,
        )
        if delta.has_content or finish is not None or delta.logprobs is not None or extra:
            self._fold.add(delta)
            deltas.append(delta)

    def _finish(self, said: Json, extra: dict[str, Json]) -> FinishReason:
        """Why the answer ended. The server says "stop" for tool calls too; old ones say nothing."""
        reason = _FINISH.get(said or "stop") if isinstance(said, str | None) else None
        if reason is None:
            extra["finish_reason"] = said
            return FinishReason.OTHER
        return FinishReason.TOOL_CALLS if reason is FinishReason.STOP and self._calls else reason

    def _tool_calls(self, said: Json, extra: dict[str, Json]) -> tuple[ToolCallDelta, ...]:
        calls: list[ToolCallDelta] = []
        foreign: list[Json] = []
        for one in said if isinstance(said, list) else ():
            fields = obj(one)
            function = obj(fields.get("function"))
            name = text(function.get("name"))
            if not name:
                foreign.append(one)
                continue
            arguments = function.get("arguments")
            beside: dict[str, Json] = {}
            leftovers(fields, ("id", "type", "function"), "", beside)
            leftovers(function, ("index", "name", "arguments"), "function", beside)
            calls.append(
                ToolCallDelta(
                    position=self._calls,
                    id=text(fields.get("id")) or invented_id(self._moment(), self._calls),
                    name=name,
                    arguments=arguments if isinstance(arguments, str) else text_of_object(arguments or {}),
                    extra=beside,
                )
            )
            self._calls += 1
        if foreign:
            extra["foreign_tool_calls"] = foreign
        return tuple(calls)

    def _moment(self) -> str:
        """What tells the answers of one conversation apart: the server's own time, to the nanosecond."""
        return "".join(letter for letter in self._created_at if letter in "0123456789") or "0"

    def _completion(self) -> Completion:
        self._fold.open(0)
        return Completion(
            id="",
            model=self._model or self._target.model,
            provider=self._target.provider,
            choices=self._fold.choices(),
            usage=self._usage,
            created_s=seconds_of(self._created_at),
            extra=self._extra,
        )


def usage_of(chunk: dict[str, Json]) -> Usage:
    """The counts of an answer. A prompt that was in the server's memory had no count on older servers."""
    prompt, answer = chunk.get("prompt_eval_count"), chunk.get("eval_count")
    if prompt is None and answer is None:
        return NOT_REPORTED
    return Usage(input_tokens=count(prompt), output_tokens=count(answer), estimated=prompt is None)


def seconds_of(moment: str) -> int:
    """A moment in RFC 3339 as whole seconds since 1970; 0 where it is none, or before that.

    >>> seconds_of("2026-07-30T14:17:16.420595067Z"), seconds_of("2023-08-04T08:52:19.38-07:00"), seconds_of("soon")
    (1785421036, 1691164339, 0)
    """
    try:
        then = datetime.fromisoformat(moment)
        return max(0, int((then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, OverflowError):
        return 0


def _images(said: Json) -> tuple[Part, ...]:
    return tuple(
        ImagePart(data=one, media_type=media_type_of(one, None))
        for one in (said if isinstance(said, list) else ())
        if isinstance(one, str) and one
    )
