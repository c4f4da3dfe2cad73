"""The whole answer from its pieces, and the pieces of a whole answer.

    Delta, Delta, … ── Fold ──► Choice          every stream decoder of every dialect ends in this
    Choice ── deltas_of ──► Delta, …            where a stream was asked for and the answer came whole

Folding what `deltas_of` gives is the choice again.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from runtime.outcome import Choice, Delta, FinishReason, ToolCallDelta
from runtime.request import AudioPart, Json, Part, ReasoningPart, TextPart, ToolCall

REPEATED = frozenset(
    (
        *("id", "type", "format", "index", "expires_at", "signature"),
        *("finish_reason", "native_finish_reason", "stop_reason"),
    )
)
"""Fields inside a fragment that repeat rather than continue."""


@dataclass(slots=True)
class _Words:
    """A text or thought under way."""

    is_text: bool
    pieces: list[str]
    signature: str = ""
    citations: list[Json] = field(default_factory=list)
    extra: dict[str, Json] = field(default_factory=dict)

    def part(self) -> Part:
        said = "".join(self.pieces)
        if self.is_text:
            return TextPart(said, signature=self.signature, citations=tuple(self.citations), extra=self.extra)
        return ReasoningPart(text=said, signature=self.signature, extra=self.extra)


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    arguments: list[str] = field(default_factory=list)
    signature: str = ""
    extra: dict[str, Json] = field(default_factory=dict)

    def part(self) -> ToolCall:
        return ToolCall(
            id=self.id, name=self.name, arguments="".join(self.arguments), signature=self.signature, extra=self.extra
        )


@dataclass(slots=True)
class _Sound:
    """Audio under way."""

    pieces: list[str]
    format: str | None
    extra: dict[str, Json] = field(default_factory=dict)

    def part(self) -> AudioPart:
        return AudioPart(data=_joined(self.pieces), format=self.format, extra=self.extra)


@dataclass(slots=True)
class _Partial:
    """One choice as far as it has come."""

    parts: list[_Words | _Call | _Sound | Part] = field(default_factory=list)
    calls: dict[int, _Call] = field(default_factory=dict)
    refusal: list[str] = field(default_factory=list)
    finish: FinishReason | None = None
    logprobs: dict[str, list[Json]] = field(default_factory=dict)
    extra: dict[str, Json] = field(default_factory=dict)

    def choice(self) -> Choice:
        return Choice(
            parts=tuple(part.part() if isinstance(part, _Words | _Call | _Sound) else part for part in self.parts),
            finish_reason=self.finish,
            refusal="".join(self.refusal) if self.refusal else None,
            logprobs=self.logprobs or None,
            extra=self.extra,
        )

    def add(self, delta: Delta) -> None:
        if delta.reasoning:
            self._say(delta.reasoning, new=delta.new_part, is_text=False)
        if delta.text:
            self._say(delta.text, new=delta.new_part and not delta.reasoning, is_text=True)
        if delta.signature or delta.citations or delta.part_extra:
            self._mark(delta)
        if delta.refusal:
            self.refusal.append(delta.refusal)
        for call in delta.tool_calls:
            self._call(call)
        if delta.audio is not None:
            self._hear(delta.audio)
        if delta.parts:
            self.parts.extend(delta.parts)
        if delta.finish_reason is not None:
            self.finish = delta.finish_reason
        if delta.logprobs is not None:
            _join_logprobs(self.logprobs, delta.logprobs)
        if delta.extra:
            merge(self.extra, delta.extra)

    def _say(self, said: str, *, new: bool, is_text: bool) -> None:
        last = self.parts[-1] if self.parts else None
        if not new and isinstance(last, _Words) and last.is_text is is_text and not last.signature:
            last.pieces.append(said)
        else:
            self.parts.append(_Words(is_text, [said]))

    def _mark(self, delta: Delta) -> None:
        words = self.parts[-1] if self.parts else None
        alone = delta.new_part and not delta.text and not delta.reasoning
        if alone or not isinstance(words, _Words) or words.signature:
            # A signature may stand alone: on a thought that is not shown, or on an empty text.
            words = _Words(bool(delta.citations), [])
            self.parts.append(words)
        words.signature = delta.signature
        words.citations.extend(delta.citations)
        merge(words.extra, delta.part_extra)

    def _call(self, said: ToolCallDelta) -> None:
        call = self.calls.get(said.position)
        if call is None:
            call = self.calls[said.position] = _Call(said.id, said.name)
            self.parts.append(call)
        else:
            call.id = call.id or said.id
            call.name = call.name or said.name
        if said.arguments:
            call.arguments.append(said.arguments)
        call.signature = said.signature or call.signature
        if said.extra:
            merge(call.extra, said.extra)

    def _hear(self, piece: AudioPart) -> None:
        sound = self.parts[-1] if self.parts else None
        if not isinstance(sound, _Sound):
            sound = _Sound([], piece.format)
            self.parts.append(sound)
        if piece.data:
            sound.pieces.append(piece.data)
        merge(sound.extra, piece.extra)


class Fold:
    """Feed it the deltas of one stream, of all its choices, in order."""

    __slots__ = ("_partials",)

    def __init__(self) -> None:
        self._partials: dict[int, _Partial] = {}

    def open(self, choice: int) -> None:
        """This choice exists, even if nothing is ever said in it."""
        if choice not in self._partials:
            self._partials[choice] = _Partial()

    def add(self, delta: Delta) -> None:
        partial = self._partials.get(delta.choice)
        if partial is None:
            partial = self._partials[delta.choice] = _Partial()
        partial.add(delta)

    @property
    def empty(self) -> bool:
        return not self._partials

    @property
    def finished(self) -> bool:
        """True where every choice has its finish reason, and there is one."""
        return bool(self._partials) and all(partial.finish is not None for partial in self._partials.values())

    def finish_of(self, choice: int) -> FinishReason | None:
        partial = self._partials.get(choice)
        return partial.finish if partial else None

    def choices(self) -> tuple[Choice, ...]:
        """What was said so far, by index."""
        return tuple(self._partials[index].choice() for index in sorted(self._partials))


def fold(deltas: Iterable[Delta]) -> tuple[Choice, ...]:
    """The choices that these deltas make.

    >>> fold([Delta(text="hel"), Delta(text="lo")])[0].text
    'hello'
    """
    whole = Fold()
    for delta in deltas:
        whole.add(delta)
    return whole.choices()


def deltas_of(index: int, choice: Choice) -> list[Delta]:
    """A whole choice as the deltas of a stream."""
    deltas: list[Delta] = []
    calls = 0
    for part in choice.parts:
        match part:
            case TextPart() if part.text and part.cache is None:
                deltas.append(
                    Delta(
                        choice=index,
                        new_part=True,
                        text=part.text,
                        signature=part.signature,
                        citations=part.citations,
                        part_extra=part.extra,
                    )
                )
            case ReasoningPart() if (part.text or part.signature) and not part.redacted:
                deltas.append(
                    Delta(
                        choice=index,
                        new_part=True,
                        reasoning=part.text,
                        signature=part.signature,
                        part_extra=part.extra,
                    )
                )
            case AudioPart() if part.data is not None and part.url is None and part.cache is None:
                deltas.append(Delta(choice=index, audio=part))
            case ToolCall() if part.cache is None:
                call = ToolCallDelta(
                    position=calls,
                    id=part.id,
                    name=part.name,
                    arguments=part.arguments,
                    signature=part.signature,
                    extra=part.extra,
                )
                deltas.append(Delta(choice=index, tool_calls=(call,)))
                calls += 1
            case _:
                deltas.append(Delta(choice=index, parts=(part,)))
    deltas.append(
        Delta(
            choice=index,
            refusal=choice.refusal or "",
            finish_reason=choice.finish_reason,
            logprobs=choice.logprobs,
            extra=choice.extra,
        )
    )
    return deltas


def merge(whole: dict[str, Json], fragment: Mapping[str, Json]) -> None:
    """Add a fragment of fields that no type knows: text and lists go on, objects merge, the rest is replaced.

    `whole` owns its lists and objects, so that a delta already handed out never changes.
    """
    for name, value in fragment.items():
        before = whole.get(name)
        if isinstance(value, dict):
            if not isinstance(before, dict):
                before = whole[name] = {}
            merge(before, value)
        elif isinstance(value, list):
            if not isinstance(before, list):
                before = whole[name] = []
            before.extend(value)
        elif isinstance(before, str) and isinstance(value, str) and name not in REPEATED:
            whole[name] = before + value
        else:
            whole[name] = value


def _joined(pieces: list[str]) -> str:
    """Base64 of the whole from base64 of each piece: each may have padding of its own."""
    if len(pieces) <= 1:
        return "".join(pieces)
    try:
        return base64.b64encode(b"".join(base64.b64decode(piece, validate=True) for piece in pieces)).decode()
    except ValueError:
        return "".join(pieces)


def _join_logprobs(whole: dict[str, list[Json]], fragment: Json) -> None:
    for name, tokens in fragment.items() if isinstance(fragment, dict) else ():
        if isinstance(tokens, list):
            whole.setdefault(name, []).extend(tokens)
