"""The stream of Cohere's chat, over any byte cuts.

    reading ── content-*, tool-plan-delta, tool-call-*, citation-* ─► reading    deltas
            ── message-end ─────────► ended     finish() gives the completion
            ── message-end in error ► failed    finish() gives that failure: finish_reason ERROR, TIMEOUT, or `error`
            ── {id, message} ───────► failed    an error instead of an event
            ── no JSON, too large ──► failed    MALFORMED
            ── end of the bytes ────► INTERRUPTED

`data: [DONE]` follows the end and adds nothing; alone it proves nothing.
"""

from __future__ import annotations

from runtime.dialects.base import Target
from runtime.dialects.cohere.decode import part_of
from runtime.dialects.cohere.reading import (
    failure_of,
    failure_of_finish,
    finish_of,
    logprobs_of,
    usage_extra,
    usage_of,
)
from runtime.dialects.encoding import invented_id
from runtime.dialects.events import EventDecoder
from runtime.dialects.reading import obj, objects, text
from runtime.dialects.status import envelope_of
from runtime.outcome import Completion, Delta, ToolCallDelta
from runtime.request import Json, NativePart


class CohereStream(EventDecoder):
    """A `ChunkDecoder`."""

    __slots__ = ("_calls", "_debug", "_fresh", "_id", "_in_plan", "_in_text", "_positions", "_usage")

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._id = ""
        self._calls = 0
        self._positions: dict[Json, int] = {}
        self._usage: Json = None
        self._debug: dict[str, Json] = {}
        # Whether the next words begin a part, and which kind the words before were.
        self._fresh = True
        self._in_plan = False
        self._in_text = False

    @property
    def id(self) -> str:
        return self._id

    @property
    def model(self) -> str:
        """Cohere's streams do not say it."""
        return ""

    def _completion(self) -> Completion:
        return Completion(
            id=self._id,
            model=self._target.model,
            provider=self._target.provider,
            choices=self._fold.choices(),
            usage=usage_of(self._usage),
            extra={**self._debug, **usage_extra(self._usage)},
        )

    def _object(self, said: dict[str, Json], name: str, deltas: list[Delta]) -> None:
        kind = said.get("type") or name
        if kind == "error" or said.get("error") or ("type" not in said and isinstance(said.get("message"), str)):
            envelope = envelope_of(said)
            self._failure = failure_of(envelope if isinstance(envelope, dict) else {"message": envelope}, self._target)
        else:
            self._said(kind, said, deltas)

    def _said(self, kind: Json, event: dict[str, Json], deltas: list[Delta]) -> None:
        delta = event.get("delta")
        message = delta.get("message") if isinstance(delta, dict) else None
        message = message if isinstance(message, dict) else {}
        match kind:
            case "content-delta":
                self._words(obj(message.get("content")), event.get("logprobs"), deltas)
            case "tool-plan-delta":
                self._plan(text(message.get("tool_plan")), deltas)
            case "tool-call-delta":
                self._arguments(event.get("index"), _call_of(message), deltas)
            case "content-start":
                self._fresh = True
                content = obj(message.get("content"))
                part = part_of(content)
                if isinstance(part, NativePart):
                    self._say(Delta(parts=(part,)), deltas)
                    self._in_text = False
                else:
                    self._words(content, event.get("logprobs"), deltas)
            case "tool-call-start":
                self._call(event.get("index"), _call_of(message), deltas)
            case "citation-start":
                self._cited(message.get("citations"), deltas)
            case "message-start":
                self._id = text(event.get("id")) or self._id
                self._fold.open(0)
            case "message-end":
                self._end(event, obj(delta), deltas)
            case "debug":
                self._debug.update({name: value for name, value in event.items() if name != "type"})
            case _:
                pass  # the ends of parts, and events that are newer than we are

    def _words(self, content: dict[str, Json], logprobs: Json, deltas: list[Delta]) -> None:
        words, thoughts = content.get("text"), content.get("thinking")
        words = words if isinstance(words, str) else ""
        thoughts = thoughts if isinstance(thoughts, str) else ""
        logs = logprobs_of(logprobs) if logprobs is not None else None
        if not (words or thoughts or logs):
            return
        self._say(Delta(new_part=self._fresh or self._in_plan, reasoning=thoughts, text=words, logprobs=logs), deltas)
        if words or thoughts:
            self._fresh = self._in_plan = False
            self._in_text = bool(words)

    def _plan(self, plan: str, deltas: list[Delta]) -> None:
        if plan:
            self._say(Delta(new_part=not self._in_plan, reasoning=plan), deltas)
            self._in_plan, self._in_text = True, False

    def _cited(self, said: Json, deltas: list[Delta]) -> None:
        """A citation of the text so far; one of a thought or a plan has no part that could hold it."""
        citations = objects(said) or ([said] if isinstance(said, dict) and said else [])
        for citation in citations:
            if self._in_text and citation.get("type") in (None, "TEXT_CONTENT"):
                self._say(Delta(citations=(citation,)), deltas)
            else:
                self._say(Delta(extra={"citations": [citation]}), deltas)

    def _call(self, index: Json, call: dict[str, Json], deltas: list[Delta]) -> None:
        position = self._calls
        self._calls += 1
        self._positions[_key(index)] = position
        function = obj(call.get("function"))
        started = ToolCallDelta(
            position=position,
            id=text(call.get("id")) or invented_id(self._id, position),
            name=text(function.get("name")),
            arguments=text(function.get("arguments")),
        )
        self._in_text = self._in_plan = False
        self._say(Delta(tool_calls=(started,)), deltas)

    def _arguments(self, index: Json, call: dict[str, Json], deltas: list[Delta]) -> None:
        position = self._positions.get(_key(index))
        if position is None:
            # A fragment of a call that never began begins it.
            self._call(index, call, deltas)
            return
        arguments = text(obj(call.get("function")).get("arguments"))
        if arguments:
            self._say(Delta(tool_calls=(ToolCallDelta(position=position, arguments=arguments),)), deltas)

    def _end(self, event: dict[str, Json], delta: dict[str, Json], deltas: list[Delta]) -> None:
        self._id = self._id or text(event.get("id"))
        self._failure = failure_of_finish(delta.get("finish_reason"), delta.get("error"), self._target)
        if self._failure is not None:
            return
        extra: dict[str, Json] = {}
        finish = finish_of(delta.get("finish_reason"), extra)
        self._say(Delta(finish_reason=finish, extra=extra), deltas)
        self._usage = delta.get("usage")
        self._done = True


def _call_of(message: dict[str, Json]) -> dict[str, Json]:
    """The call that an event speaks of; some hosts wrap it in a list."""
    said = message.get("tool_calls")
    return obj(said) or next(iter(objects(said)), {})


def _key(index: Json) -> int:
    return index if isinstance(index, int) else -1
