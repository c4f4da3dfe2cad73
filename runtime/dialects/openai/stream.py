"""The stream of OpenAI's chat completions, over any byte cuts.

    reading ── data: {chunk} ─────────► reading    deltas
            ── data: [DONE] ──────────► ended      finish() gives the completion
            ── error event or chunk ──► failed     finish() gives that failure
            ── no JSON, too large ────► failed     MALFORMED
            ── end of the bytes ──────► complete only if every choice had its finish reason, else INTERRUPTED

[DONE] alone proves nothing: proxies append it to answers that broke off. So the finish reasons decide.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from runtime.dialects.base import Target
from runtime.dialects.openai.reading import (
    CHOICE,
    MESSAGE,
    TOP,
    arguments_of,
    cost_of,
    created_of,
    extra_of,
    finish_of,
    reasoning_of,
    text_of,
    usage_of,
)
from runtime.dialects.sse import SseEvent, SseParser, SseTooLarge
from runtime.dialects.status import envelope_of, failure_of_error, interrupted, malformed
from runtime.outcome import Choice, Completion, Delta, Failure, FinishReason, Outcome, ToolCallDelta
from runtime.request import Json, ToolCall

_WHOLE = frozenset({"id", "type", "format", "index", "expires_at", "signature"})
"""Fields inside a fragment that repeat rather than continue."""


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Partial:
    """One choice as far as it has come."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    calls: list[_Call] = field(default_factory=list)
    by_index: dict[int, int] = field(default_factory=dict)
    finish: FinishReason | None = None
    logprobs: dict[str, list[Json]] = field(default_factory=dict)
    extra: dict[str, Json] = field(default_factory=dict)

    def choice(self) -> Choice:
        return Choice(
            text="".join(self.text),
            finish_reason=self.finish,
            tool_calls=tuple(ToolCall(id=c.id, name=c.name, arguments="".join(c.arguments)) for c in self.calls),
            reasoning="".join(self.reasoning),
            refusal="".join(self.refusal) if self.refusal else None,
            logprobs=self.logprobs or None,
            extra=self.extra,
        )


class OpenAIStream:
    """A `ChunkDecoder`."""

    __slots__ = (
        "_created",
        "_done",
        "_extra",
        "_failure",
        "_head",
        "_id",
        "_model",
        "_partials",
        "_sse",
        "_target",
        "_usage",
    )

    def __init__(self, target: Target) -> None:
        self._target = target
        self._sse = SseParser()
        self._partials: dict[int, _Partial] = {}
        self._id = ""
        self._model = ""
        self._created = 0
        self._usage: Json = None
        self._extra: dict[str, Json] = {}
        self._failure: Failure | None = None
        self._done = False
        # The first byte that is no space: it tells a whole JSON or HTML page from a stream.
        self._head = b""

    @property
    def id(self) -> str:
        return self._id

    @property
    def model(self) -> str:
        return self._model

    @property
    def ended(self) -> bool:
        return self._done or self._failure is not None

    def feed(self, data: bytes) -> list[Delta]:
        if not self._head:
            self._head = data.lstrip()[:1]
        deltas: list[Delta] = []
        if self.ended:
            return deltas
        for event in self._sse.feed(data):
            self._event(event, deltas)
            if self.ended:
                break
        return deltas

    def finish(self) -> Outcome:
        if not self.ended:
            last = self._sse.finish()
            if last is not None and (failure := self._unterminated(last)) is not None:
                return failure
        if self._failure is not None:
            return self._failure
        if not self._partials:
            if self._head in (b"{", b"[", b"<"):
                return malformed(self._target, "answered a streaming request with something that is no event stream")
            return interrupted(self._target, "the stream ended before any answer")
        if any(partial.finish is None for partial in self._partials.values()):
            return interrupted(self._target, "the stream ended before the answer was finished")
        return Completion(
            id=self._id,
            model=self._model or self._target.model,
            provider=self._target.provider,
            choices=tuple(self._partials[index].choice() for index in sorted(self._partials)),
            usage=usage_of(self._usage),
            cost=cost_of(self._usage),
            created_s=self._created,
            extra=self._extra,
        )

    def _unterminated(self, last: SseEvent) -> Failure | None:
        """Read an event that lacks its blank line. Whole JSON proves that it was not cut; its text came too late."""
        data = last.data.strip()
        try:
            whole = data == b"[DONE]" or isinstance(orjson.loads(data), dict)
        except orjson.JSONDecodeError:
            return None
        late: list[Delta] = []
        if whole:
            self._event(last, late)
        if any(delta.has_content for delta in late):
            return interrupted(self._target, "the stream ended inside an event")
        return None

    def _event(self, event: SseEvent | SseTooLarge, deltas: list[Delta]) -> None:
        if isinstance(event, SseTooLarge):
            self._failure = malformed(self._target, f"an event of the stream is larger than {event.limit_bytes} bytes")
            return
        data = event.data
        if data.startswith(b"[DONE]"):
            self._done = True
            return
        if not data or data.isspace():
            return
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            self._failure = malformed(self._target, f"an event of the stream is not JSON: {error}")
            return
        if not isinstance(chunk, dict):
            self._failure = malformed(self._target, "an event of the stream is not a JSON object")
            return
        if chunk.get("error") or event.name == "error":
            self._failure = failure_of_error(envelope_of(chunk) or chunk, self._target)
            return
        self._chunk(chunk, deltas)

    def _chunk(self, chunk: dict[str, Json], deltas: list[Delta]) -> None:
        if not self._id and isinstance(chunk.get("id"), str):
            self._id = chunk["id"]
        if not self._model and isinstance(chunk.get("model"), str):
            self._model = chunk["model"]
        if not self._created:
            self._created = created_of(chunk.get("created"))
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk["usage"]
        if not chunk.keys() <= TOP:
            self._extra.update(extra_of(chunk, TOP))
        choices = chunk.get("choices")
        for one in choices if isinstance(choices, list) else ():
            if isinstance(one, dict):
                self._choice(one, deltas)
                if self._failure is not None:
                    return

    def _choice(self, one: dict[str, Json], deltas: list[Delta]) -> None:
        index = one.get("index")
        index = index if isinstance(index, int) else 0
        partial = self._partials.get(index)
        if partial is None:
            partial = self._partials[index] = _Partial()
        said = one.get("delta")
        said = said if isinstance(said, dict) else {}
        extra: dict[str, Json] = {}
        if not said.keys() <= MESSAGE:
            extra = extra_of(said, MESSAGE)
            _continue(partial.extra, extra)
        if not one.keys() <= CHOICE:
            of_choice = extra_of(one, CHOICE)
            partial.extra.update(of_choice)
            extra.update(of_choice)
        content = said.get("content")
        text, thinking = (content, "") if isinstance(content, str) else text_of(content)
        reasoning = reasoning_of(said) or thinking
        refusal = said.get("refusal")
        refusal = refusal if isinstance(refusal, str) else ""
        calls = self._calls(partial, index, said, extra) if "tool_calls" in said or "function_call" in said else ()
        finish = None
        if one.get("finish_reason") and partial.finish is None:
            # OpenRouter repeats it in the chunk that brings the usage.
            finish = partial.finish = finish_of(one["finish_reason"], extra)
            if "finish_reason" in extra:
                partial.extra["finish_reason"] = extra["finish_reason"]
        if finish is FinishReason.ERROR or isinstance(one.get("error"), dict):
            self._failure = failure_of_error(one.get("error") or "the answer ended in an error", self._target)
            return
        logprobs = one.get("logprobs")
        if logprobs is not None:
            _join_logprobs(partial.logprobs, logprobs)
        if text:
            partial.text.append(text)
        if reasoning:
            partial.reasoning.append(reasoning)
        if refusal:
            partial.refusal.append(refusal)
        if text or reasoning or refusal or calls or finish is not None or logprobs is not None or extra:
            deltas.append(
                Delta(
                    choice=index,
                    text=text,
                    reasoning=reasoning,
                    refusal=refusal,
                    tool_calls=calls,
                    finish_reason=finish,
                    logprobs=logprobs,
                    extra=extra,
                )
            )

    def _calls(
        self, partial: _Partial, index: int, said: dict[str, Json], extra: dict[str, Json]
    ) -> tuple[ToolCallDelta, ...]:
        fragments = said.get("tool_calls")
        fragments = list(fragments) if isinstance(fragments, list) else []
        if isinstance(said.get("function_call"), dict):
            fragments.append({"index": 0, "function": said["function_call"]})
        found: list[ToolCallDelta] = []
        for fragment in fragments:
            function = fragment.get("function") if isinstance(fragment, dict) else None
            if not isinstance(function, dict):
                foreign = {"foreign_tool_calls": [fragment]}
                _continue(partial.extra, foreign)
                _continue(extra, foreign)
                continue
            given, name = _str(fragment.get("id")), _str(function.get("name"))
            arguments = arguments_of(function.get("arguments"))
            position = _position(partial, fragment.get("index"), given, name)
            if position == len(partial.calls):
                # An id of our own where the host gives none: results must find their call.
                call = _Call(given or f"call_{self._id}_{index}_{position}", name)
                partial.calls.append(call)
                found.append(ToolCallDelta(position=position, id=call.id, name=name, arguments=arguments))
            else:
                call = partial.calls[position]
                new_name = "" if call.name else name
                call.name = call.name or name
                if new_name or arguments:
                    found.append(ToolCallDelta(position=position, name=new_name, arguments=arguments))
            if arguments:
                call.arguments.append(arguments)
        return tuple(found)


def _position(partial: _Partial, index: Json, given: str, name: str) -> int:
    """Which call a fragment continues; `len(partial.calls)` opens a new one.

    By the host's index. Some give parallel calls one index, or none: then a new id, or another name, tells them
    apart; an id or name that merely repeats on every fragment does not.
    """
    calls = partial.calls
    new = len(calls)
    if isinstance(index, int):
        position = partial.by_index.get(index, new)
    else:
        known = next((at for at, call in enumerate(calls) if given and call.id == given), None)
        position = known if known is not None else new if given or not calls else new - 1
    if position < new:
        call = calls[position]
        other_call = given and name and given != call.id
        other_name = name and call.name and name != call.name
        if other_call or other_name:
            position = new
    if isinstance(index, int):
        partial.by_index[index] = position
    return position


def _continue(whole: dict[str, Json], fragment: dict[str, Json]) -> None:
    """Add a fragment of fields that no type knows: text and lists go on, objects merge, the rest is replaced.

    `whole` owns its lists and objects, so that a delta already handed out never changes.
    """
    for name, value in fragment.items():
        before = whole.get(name)
        if isinstance(value, dict):
            if not isinstance(before, dict):
                before = whole[name] = {}
            _continue(before, value)
        elif isinstance(value, list):
            if not isinstance(before, list):
                before = whole[name] = []
            before.extend(value)
        elif isinstance(before, str) and isinstance(value, str) and name not in _WHOLE:
            whole[name] = before + value
        else:
            whole[name] = value


def _join_logprobs(whole: dict[str, list[Json]], fragment: Json) -> None:
    for name, tokens in fragment.items() if isinstance(fragment, dict) else ():
        if isinstance(tokens, list):
            whole.setdefault(name, []).extend(tokens)


def _str(value: Json) -> str:
    return value if isinstance(value, str) else ""
