"""An answer as it comes: whole in one object, or in the chunks of a stream.

    chunk, chunk, …  ── chunk ──► deltas
                     ── outcome ► Completion or Failure

A candidate is finished when the last chunk that says something of it has a finish reason. With tools that Google
itself runs, STOP comes in the middle too: after code that is yet to run, and so it does not count there in a stream.
Usage is repeated and grows; the last one counts. What else a candidate holds (grounding, citations, safety, …) is
collected and given with its finish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2s

from runtime.dialects.base import Target
from runtime.dialects.encoding import invented_id, text_of_object
from runtime.dialects.fields import Wrong
from runtime.dialects.google.errors import failure_of_error
from runtime.dialects.google.parts import NAME, part_of
from runtime.dialects.google.usage import detail_of, logprobs_of, searches_of, usage_of
from runtime.dialects.google.words import is_shallow
from runtime.dialects.reading import extra_of, obj, objects, text
from runtime.dialects.status import clean, interrupted, malformed
from runtime.fold import Fold
from runtime.outcome import Completion, Delta, Failure, FailureKind, FinishReason, Outcome, ToolCallDelta
from runtime.request import Json, NativePart, Part, ReasoningPart, TextPart, ToolCall

FINISH: Mapping[str, FinishReason] = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "RECITATION": FinishReason.CONTENT_FILTER,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
    "IMAGE_SAFETY": FinishReason.CONTENT_FILTER,
    "IMAGE_PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "IMAGE_RECITATION": FinishReason.CONTENT_FILTER,
    "MODEL_ARMOR": FinishReason.CONTENT_FILTER,
    # The model wrote something that the API could not read. The tokens were paid for, so it is an answer.
    "MALFORMED_FUNCTION_CALL": FinishReason.ERROR,
    "UNEXPECTED_TOOL_CALL": FinishReason.ERROR,
    "TOO_MANY_TOOL_CALLS": FinishReason.ERROR,
    "MISSING_THOUGHT_SIGNATURE": FinishReason.ERROR,
    "MALFORMED_RESPONSE": FinishReason.ERROR,
    # Never said by Google, but by imitations of its API.
    "FUNCTION_CALL": FinishReason.TOOL_CALLS,
}
"""All other words are `OTHER`. All but the first two are kept beside it."""

_NOT_SAID = ("", "FINISH_REASON_UNSPECIFIED")
_YET_TO_RUN = frozenset(("executableCode", "toolCall"))
"""Parts after which Google goes on by itself."""

_TOP = frozenset(("candidates", "usageMetadata", "responseId", "modelVersion", "error"))
_CANDIDATE = frozenset(("content", "index", "finishReason", "logprobsResult"))
_CONTENT_ONLY = frozenset(("content", "index"))
_REPLACED = frozenset(("safetyRatings",))
"""Lists that every chunk says anew."""


@dataclass(slots=True)
class _Candidate:
    calls: int = 0
    finished: bool = False
    running: bool = False
    extra: dict[str, Json] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)


class Answer:
    """Collects one answer. After a failure is known it collects nothing more."""

    __slots__ = ("_calls", "_candidates", "_extra", "_fold", "_stream", "_target", "_usage", "failure", "id", "model")

    def __init__(self, target: Target, *, stream: bool) -> None:
        self._target = target
        self._stream = stream
        self._fold = Fold()
        self._candidates: dict[int, _Candidate] = {}
        self._calls = 0
        self._usage: Json = None
        self._extra: dict[str, Json] = {}
        self.id = ""
        self.model = ""
        self.failure: Failure | None = None

    def chunk(self, body: dict[str, Json], deltas: list[Delta]) -> None:
        """Read one object of the answer; what it adds is appended to `deltas`."""
        if body.get("error"):
            self.failure = failure_of_error(body["error"], self._target)
            return
        if not self.id:
            self.id = text(body.get("responseId"))
        if not self.model:
            self.model = text(body.get("modelVersion"))
        if isinstance(body.get("usageMetadata"), dict):
            self._usage = body["usageMetadata"]
        if not body.keys() <= _TOP:
            self._extra.update(extra_of(body, _TOP))
        candidates = body.get("candidates")
        if not isinstance(candidates, list) or not candidates:
            self._blocked(obj(body.get("promptFeedback")))
            return
        for position, one in enumerate(candidates):
            if isinstance(one, dict):
                index = one.get("index")
                self._candidate(one, index if isinstance(index, int) and index >= 0 else position, deltas)

    def outcome(self) -> Outcome:
        """The answer. A stream is complete only where each of its candidates finished."""
        if self.failure is not None:
            return self.failure
        if not self._candidates:
            return malformed(self._target, "the reply has no candidates; check base_url")
        if self._stream and not all(one.finished for one in self._candidates.values()):
            return interrupted(self._target, "the stream ended before the answer was finished")
        return self.so_far()

    def so_far(self) -> Completion:
        """What of the answer has come."""
        usage = usage_of(self._usage, searches_of(one.extra for one in self._candidates.values()))
        return Completion(
            id=self.id,
            model=self.model or self._target.model,
            provider=self._target.provider,
            choices=self._fold.choices(),
            usage=usage,
            extra={**self._extra, **detail_of(self._usage)},
        )

    @property
    def empty(self) -> bool:
        return not self._candidates

    def _blocked(self, feedback: dict[str, Json]) -> None:
        reason = text(feedback.get("blockReason"))
        if not reason or reason.endswith("_UNSPECIFIED"):
            return
        message = text(feedback.get("blockReasonMessage")) or "change what it asks for, or the safety settings"
        self.failure = Failure(
            kind=FailureKind.CONTENT_FILTERED,
            provider=self._target.provider,
            model=self._target.model,
            detail=clean(f"the prompt was blocked ({reason}): {message}", self._target),
            code=reason,
        )

    def _candidate(self, one: dict[str, Json], index: int, deltas: list[Delta]) -> None:
        candidate = self._candidates.get(index)
        if candidate is None:
            candidate = self._candidates[index] = _Candidate()
            self._fold.open(index)
        parts = obj(one.get("content")).get("parts")
        parts = [parts] if isinstance(parts, dict) else parts if isinstance(parts, list) else []
        found: list[Delta] = []
        before: type[Part] | None = None
        for said in parts:
            # Nearly every part of a stream is this.
            if type(said) is dict and len(said) == 1 and type(words := said.get("text")) is str:
                if words:
                    found.append(Delta(choice=index, text=words, new_part=before is TextPart))
                    before = TextPart
                continue
            before = self._part(said, candidate, index, before, found)
        if found:
            candidate.finished = False
            last = found[-1].parts
            candidate.running = bool(last) and isinstance(last[-1], NativePart) and last[-1].kind in _YET_TO_RUN
        if not one.keys() <= _CONTENT_ONLY:
            self._rest(one, candidate, index, found)
        for delta in found:
            self._fold.add(delta)
        deltas += found

    def _part(
        self, said: Json, candidate: _Candidate, index: int, before: type[Part] | None, found: list[Delta]
    ) -> type[Part] | None:
        try:
            part = part_of(said, "part", lambda _: self._call_id(said))
        except Wrong:
            # A form that this version does not know is passed on whole.
            if not isinstance(said, dict):
                return before
            part = NativePart(dialect=NAME, kind=next(iter(said), ""), value=said)
        match part:
            case TextPart(text=words) if words:
                # A signed part stays a part of its own; what else stood in it has no place in a delta.
                new = before is TextPart or bool(part.signature)
                found.append(Delta(choice=index, text=words, new_part=new, signature=part.signature, extra=part.extra))
            case TextPart(signature=""):
                return before
            case ReasoningPart() if part.text or part.signature:
                new = before is ReasoningPart or bool(part.signature)
                found.append(
                    Delta(choice=index, reasoning=part.text, new_part=new, signature=part.signature, extra=part.extra)
                )
            case ReasoningPart():
                return before
            case ToolCall():
                call = ToolCallDelta(
                    position=candidate.calls,
                    id=part.id,
                    name=part.name,
                    arguments=part.arguments,
                    signature=part.signature,
                    extra=part.extra,
                )
                candidate.calls += 1
                found.append(Delta(choice=index, tool_calls=(call,)))
            case _:
                found.append(Delta(choice=index, parts=(part,)))
        return type(part)

    def _rest(self, one: dict[str, Json], candidate: _Candidate, index: int, found: list[Delta]) -> None:
        """The finish reason, and what a candidate holds beside its content."""
        for name, value in extra_of(one, _CANDIDATE).items():
            # Deeper than anything that Google says, and than a fold can join.
            if not is_shallow(value):
                continue
            candidate.extra[name] = value if name in _REPLACED else _joined(candidate.extra.get(name), value)
        result = obj(one.get("logprobsResult"))
        logprobs = logprobs_of(result) if result else None
        if isinstance(result.get("logProbabilitySum"), int | float):
            candidate.extra["logProbabilitySum"] = result["logProbabilitySum"]
        word = text(one.get("finishReason"))
        finish: FinishReason | None = None
        extra: dict[str, Json] = {}
        if word not in _NOT_SAID and not (self._stream and candidate.running and word == "STOP"):
            candidate.finished = True
            finish = FINISH.get(word, FinishReason.OTHER)
            if finish is FinishReason.STOP and candidate.calls:
                finish = FinishReason.TOOL_CALLS
            if word not in ("STOP", "MAX_TOKENS"):
                extra["finish_reason"] = word
        if candidate.finished:
            fresh = {name: value for name, value in candidate.extra.items() if value and name not in candidate.given}
            candidate.given |= fresh.keys()
            extra |= fresh
        if finish is not None or extra or logprobs is not None:
            found.append(Delta(choice=index, finish_reason=finish, logprobs=logprobs, extra=extra))

    def _call_id(self, said: Json) -> str:
        """An id for a call without one, unique in its conversation: by the answer's id, else by what is called."""
        whose = self.id or blake2s(text_of_object(said, "part").encode(), digest_size=6).hexdigest()
        self._calls += 1
        return invented_id(whose, self._calls - 1)


def _joined(before: Json, value: Json) -> Json:
    """Both together: chunks of a stream may repeat what they said, or go on with it."""
    if isinstance(before, dict) and isinstance(value, dict):
        return {**before, **{name: _joined(before.get(name), one) for name, one in value.items()}}
    if isinstance(before, list) and isinstance(value, list):
        return before + [one for one in value if one not in before]
    return value


def chunks_of(body: Json) -> list[dict[str, Json]]:
    """The objects of a whole reply: one, or the elements of an array."""
    return [body] if isinstance(body, dict) else objects(body)
