"""What the fake provider says, before it is put into the words of an API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

USAGE: Mapping[str, int] = {"input": 7, "cached": 2, "output": 5}


class Call(NamedTuple):
    """A tool call; arguments as JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`pieces` are the text as it streams; `finish` is OpenAI's word, "" where it follows from the rest."""

    pieces: tuple[str, ...] = ()
    thought: str = ""
    calls: tuple[Call, ...] = ()
    finish: str = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def reason(self) -> str:
        return self.finish or ("tool_calls" if self.calls else "stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What of a request decides an answer: tools' names, their results so far, and pictures, described."""

    tools: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()


def flat(content: Any) -> str:
    """The text of a message's content, which is text or blocks of it."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())


def halves(text: str) -> tuple[str, str]:
    """As arguments come in a stream."""
    return text[: len(text) // 2], text[len(text) // 2 :]
