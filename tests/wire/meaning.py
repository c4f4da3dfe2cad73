"""What a conversation means, apart from the words of any API: to compare it with itself after a journey abroad.

Turns of one side that follow one another are one turn; texts are compared without their white space, which APIs join
differently; a plain text document is text, which APIs without documents put before or after the question; results
belong to the call whose position they answer.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from runtime.request import FilePart, Message, Part, ReasoningPart, Request, Role, TextPart, ToolCall

Json = Any
SYSTEM = (Role.SYSTEM, Role.DEVELOPER)


@dataclass(slots=True)
class Turn:
    """One side's turn. `words` are its texts and text documents (True), in order."""

    side: str
    words: list[tuple[bool, str]] = field(default_factory=list)
    calls: list[tuple[str, Json]] = field(default_factory=list)
    media: Counter[str] = field(default_factory=Counter)
    results: list[tuple[int, Json]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.words or self.calls or self.media or self.results)

    def join(self, other: Turn) -> None:
        self.words += other.words
        self.calls += other.calls
        self.media += other.media
        self.results += other.results

    def spoken(self) -> set[str]:
        """The text in the order in which it was said, and with the documents first or last."""
        documents = "".join(text for is_document, text in self.words if is_document)
        texts = "".join(text for is_document, text in self.words if not is_document)
        return {"".join(text for _, text in self.words), documents + texts, texts + documents}


BY_ADDRESS = frozenset({"google"})
"""APIs with one word for everything by address: without a media type, nobody knows what it is."""

BESIDE = frozenset({"cohere"})
"""APIs whose documents stand beside the conversation: in which turn they were given is not said."""


def turns(request: Request, *, seen_by: str = "") -> list[Turn]:
    """The conversation without what the system says; turns that say nothing are left out.

    `seen_by` is the dialect through which it went: what its API cannot tell apart is not told apart here.
    """
    out: list[Turn] = []
    calls: list[str] = []
    for message in request.messages:
        if message.role in SYSTEM:
            continue
        turn = Turn("assistant" if message.role is Role.ASSISTANT else "user")
        if message.role is Role.TOOL:
            turn.results.append((_position(message.tool_call_id, calls), _result(message)))
        else:
            said = [one for part in message.parts if (one := _words(part))]
            turn.words = [(kind, bare(one)) for kind, one in said if bare(one) and not (kind and seen_by in BESIDE)]
            if message.refusal:
                turn.words.append((False, bare(message.refusal)))
        turn.media = _media(message, loose=seen_by in BY_ADDRESS)
        turn.calls = [(one.name, value_of(one.arguments)) for one in message.tool_calls]
        calls += [one.id for one in message.tool_calls]
        if turn.empty:
            continue
        if out and out[-1].side == turn.side:
            out[-1].join(turn)
        else:
            out.append(turn)
    return out


def turns_lost(was: list[Turn], now: list[Turn]) -> Iterator[str]:
    """Where two conversations differ."""
    if len(was) != len(now):
        yield f"{len(was)} turns became {len(now)}"
        return
    for at, (one, other) in enumerate(zip(was, now, strict=True)):
        if not one.spoken() & other.spoken():
            yield f"turn {at}, text: {str(one.words)[:160]} became {str(other.words)[:160]}"
        for name in ("side", "calls", "media"):
            before, after = getattr(one, name), getattr(other, name)
            if before != after:
                yield f"turn {at}, {name}: {str(before)[:160]} became {str(after)[:160]}"
        if sorted(one.results, key=str) != sorted(other.results, key=str):
            yield f"turn {at}, results: {str(one.results)[:160]} became {str(other.results)[:160]}"


def documents(request: Request) -> list[str]:
    """The text documents of the conversation, wherever they were given, but for results of tools."""
    talk = [message for message in request.messages if message.role is not Role.TOOL]
    return sorted(bare(one[1]) for message in talk for part in message.parts if (one := _words(part)) and one[0])


def system_text(request: Request) -> str:
    return "".join(bare(message.text) for message in request.messages if message.role in SYSTEM)


def bare(text: str) -> str:
    return "".join(text.split())


def value_of(text: str) -> Json:
    """Arguments as a value; nothing is no arguments; what is no JSON is text."""
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError:
        return text


def manner(part: Part) -> str:
    """A part's type, and how its content is given where that decides whether an API takes it."""
    name = type(part).__name__
    if getattr(part, "file_id", None):
        return f"{name} by id"
    if getattr(part, "url", None):
        return f"{name} by address"
    if isinstance(part, FilePart) and part.text is not None:
        return f"{name} as text"
    return name


def _position(call: str | None, calls: list[str]) -> int:
    """Which call an id means, the last of that id; -1 where there is none."""
    return max((at for at, one in enumerate(calls) if one == call), default=-1)


def _words(part: Part) -> tuple[bool, str] | None:
    if isinstance(part, TextPart):
        return False, part.text
    if isinstance(part, FilePart):
        if part.text is not None:
            return True, part.text
        if part.data is not None and (part.media_type or "").startswith(("text/", "application/json")):
            return True, base64.b64decode(part.data).decode(errors="replace")
    return None


def _media(message: Message, *, loose: bool) -> Counter[str]:
    counted: Counter[str] = Counter()
    for part in message.parts:
        if isinstance(part, ReasoningPart | ToolCall) or _words(part) is not None:
            continue
        unsaid = loose and manner(part) in ("ImagePart by address", "FilePart by address")
        counted["by address" if unsaid else type(part).__name__] += 1
    return counted


def _result(message: Message) -> Json:
    value = value_of("".join(words[1] for part in message.parts if (words := _words(part))))
    return bare(value) if isinstance(value, str) else value
