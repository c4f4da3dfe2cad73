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

from runtime.dialects.base import Target
from runtime.dialects.encoding import invented_id
from runtime.dialects.events import EventDecoder
from runtime.dialects.openai.reading import (
    CHOICE,
    MESSAGE,
    TOP,
    arguments_of,
    audio_of,
    cost_of,
    finish_of,
    images_of,
    reasoning_of,
    signature_of,
    text_of,
    thought_of,
    usage_of,
)
from runtime.dialects.reading import extra_of, moment, obj, objects, text
from runtime.dialects.status import envelope_of, failure_of_error
from runtime.fold import merge
from runtime.outcome import Completion, Delta, FinishReason, ToolCallDelta
from runtime.request import Json
from runtime.values import maker

new_completion = maker(Completion)

new_delta = maker(Delta)


@dataclass(slots=True)
class _Calls:
    """The tool calls of one choice so far: what tells a fragment's call from its neighbours."""

    ids: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    by_index: dict[int, int] = field(default_factory=dict)
    detail: Json = None


class OpenAIStream(EventDecoder):
    """A `ChunkDecoder`."""

    __slots__ = ("_calls", "_created", "_extra", "_id", "_model", "_usage")

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._calls: dict[int, _Calls] = {}
        self._id = ""
        self._model = ""
        self._created = 0
        self._usage: Json = None
        self._extra: dict[str, Json] = {}

    @property
    def id(self) -> str:
        return self._id

    @property
    def model(self) -> str:
        return self._model

    @property
    def _complete(self) -> bool:
        return self._fold.finished

    def _end_mark(self) -> None:
        self._done = True

    def _completion(self) -> Completion:
        return new_completion(
            id=self._id,
            model=self._model or self._target.model,
            provider=self._target.provider,
            choices=self._fold.choices(),
            usage=usage_of(self._usage),
            cost=cost_of(self._usage),
            created_s=self._created,
            extra=self._extra,
        )

    def _object(self, said: dict[str, Json], name: str, deltas: list[Delta]) -> None:
        if said.get("error") or name == "error":
            self._failure = failure_of_error(envelope_of(said) or said, self._target)
        else:
            self._chunk(said, deltas)

    def _chunk(self, chunk: dict[str, Json], deltas: list[Delta]) -> None:
        if not self._id and isinstance(chunk.get("id"), str):
            self._id = chunk["id"]
        if not self._model and isinstance(chunk.get("model"), str):
            self._model = chunk["model"]
        if not self._created:
            self._created = moment(chunk.get("created"))
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
        self._fold.open(index)
        said = obj(one.get("delta"))
        if len(said) == 1 and (word := said.get("content")) and isinstance(word, str) and _says_no_more(one):
            # What nearly all chunks are.
            self._say(new_delta(choice=index, text=word), deltas)
            return
        extra: dict[str, Json] = {}
        if not said.keys() <= MESSAGE:
            extra = extra_of(said, MESSAGE)
        if not one.keys() <= CHOICE:
            extra.update(extra_of(one, CHOICE))
        content = said.get("content")
        words, thinking = (content, "") if isinstance(content, str) else text_of(content)
        thoughts = reasoning_of(said) or thinking
        if said.get("reasoning_details"):
            for delta in self._details(index, said["reasoning_details"], thoughts):
                self._say(delta, deltas)
            thoughts = ""
        calls = self._tool_calls(index, said, extra) if "tool_calls" in said or "function_call" in said else ()
        finish = None
        if one.get("finish_reason") and self._fold.finish_of(index) is None:
            # OpenRouter repeats it in the chunk that brings the usage.
            finish = finish_of(one["finish_reason"], extra)
        if finish is FinishReason.ERROR or isinstance(one.get("error"), dict):
            self._failure = failure_of_error(one.get("error") or "the answer ended in an error", self._target)
            return
        logprobs = one.get("logprobs")
        refusal = text(said.get("refusal"))
        parts = tuple(images_of(said["images"])) if said.get("images") else ()
        audio = audio_of(said["audio"]) if said.get("audio") else None
        if (
            words
            or thoughts
            or refusal
            or calls
            or audio
            or parts
            or finish is not None
            or logprobs is not None
            or extra
        ):
            self._say(
                Delta(
                    choice=index,
                    text=words,
                    reasoning=thoughts,
                    refusal=refusal,
                    tool_calls=calls,
                    audio=audio,
                    parts=parts,
                    finish_reason=finish,
                    logprobs=logprobs,
                    extra=extra,
                ),
                deltas,
            )

    def _details(self, index: int, said: Json, thoughts: str) -> list[Delta]:
        """OpenRouter's `reasoning_details`: thoughts with what their provider wants back. Fragments share an index."""
        calls = self._calls.setdefault(index, _Calls())
        found: list[Delta] = []
        for detail in objects(said):
            part = thought_of(detail)
            if part.redacted:
                found.append(Delta(choice=index, parts=(part,)))
                continue
            begins = calls.detail is None or calls.detail != detail.get("index", calls.detail)
            calls.detail = detail.get("index", 0)
            if begins or part.text or part.signature:
                found.append(
                    Delta(
                        choice=index,
                        new_part=begins,
                        reasoning=part.text,
                        signature=part.signature,
                        part_extra=part.extra if begins else {},
                    )
                )
        if thoughts and not any(delta.reasoning for delta in found):
            found.insert(0, Delta(choice=index, reasoning=thoughts))
        return found

    def _tool_calls(self, index: int, said: dict[str, Json], extra: dict[str, Json]) -> tuple[ToolCallDelta, ...]:
        calls = self._calls.setdefault(index, _Calls())
        fragments = said.get("tool_calls")
        fragments = list(fragments) if isinstance(fragments, list) else []
        if isinstance(said.get("function_call"), dict):
            fragments.append({"index": 0, "function": said["function_call"]})
        found: list[ToolCallDelta] = []
        for fragment in fragments:
            fields = obj(fragment)
            custom = obj(fields.get("custom"))
            function = custom or fields.get("function")
            if not isinstance(function, dict):
                merge(extra, {"foreign_tool_calls": [fragment]})
                continue
            given, name = text(fields.get("id")), text(function.get("name"))
            arguments = text(custom.get("input")) if custom else arguments_of(function.get("arguments"))
            position = _position(calls, fields.get("index"), given, name)
            signature = signature_of(fields) if "extra_content" in fields else ""
            call_id = ""
            if position == len(calls.ids):
                call_id = given or invented_id(f"{self._id}_{index}" if index else self._id, position)
                calls.ids.append(call_id)
                calls.names.append(name)
            elif calls.names[position]:
                name = ""
            else:
                calls.names[position] = name
            if call_id or name or arguments or signature:
                found.append(
                    ToolCallDelta(
                        position=position,
                        id=call_id,
                        name=name,
                        arguments=arguments,
                        signature=signature,
                        extra={"type": "custom"} if custom and call_id else {},
                    )
                )
        return tuple(found)


def _says_no_more(one: dict[str, Json]) -> bool:
    """Whether a choice's chunk has nothing beside its delta."""
    return (
        one.get("finish_reason") is None
        and one.get("logprobs") is None
        and one.get("error") is None
        and one.keys() <= CHOICE
    )


def _position(calls: _Calls, index: Json, given: str, name: str) -> int:
    """Which call a fragment continues; the number of calls so far opens a new one.

    By the host's index. Some give parallel calls one index, or none: then a new id, or another name, tells them
    apart; an id or name that merely repeats on every fragment does not.
    """
    new = len(calls.ids)
    if isinstance(index, int):
        position = calls.by_index.get(index, new)
    else:
        known = next((at for at, one in enumerate(calls.ids) if given and one == given), None)
        position = known if known is not None else new if given or not new else new - 1
    if position < new:
        other_call = given and name and given != calls.ids[position]
        other_name = name and calls.names[position] and name != calls.names[position]
        if other_call or other_name:
            position = new
    if isinstance(index, int):
        calls.by_index[index] = position
    return position
