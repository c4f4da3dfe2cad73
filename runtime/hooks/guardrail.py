"""`guardrail`: refuses requests and answers that hold a forbidden word, phrase or pattern.

    input      any text of the prompt ─► 400, nobody is asked
    output     any text of the answer, its thoughts and its calls ─► 400; a stream ends in an error

In a stream, as much text is held back as the longest phrase needs (`window` characters where there are patterns), so a
phrase is caught across the borders of chunks before any of it has gone. A match that touches the end of what has come
waits for what comes next: "cat" is no word of "category".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from runtime.hooks.payloads import After, Before, Embedding, Streamed, refuse
from runtime.hooks.redact import SCRUBBED
from runtime.hooks.texts import changed
from runtime.hooks.windows import Windows
from runtime.outcome import Delta, Failure, StreamEnd, StreamEvent, StreamStart

CODE = "guardrail"
SPACES = 8
"""So many blanks between two words of a phrase are still between them."""
CONTEXT = 64
"""Characters that have gone already but may decide what stands at the border."""

Side = Literal["input", "output"]


class Guardrail:
    """`words` are words or phrases, in any case and with any blanks between; `patterns` regular expressions, of which
    none may need more than `window` characters. `on` is where they are looked for, `message` what the caller is told.
    """

    guard = True

    def __init__(
        self,
        *,
        words: Sequence[str] = (),
        patterns: Sequence[str] = (),
        on: Sequence[Side] = ("input", "output"),
        message: str = "",
        window: int = 200,
    ) -> None:
        if not (words or patterns):
            raise ValueError("say what is forbidden: `words`, `patterns`, or both")
        if set(on) - {"input", "output"} or not on:
            raise ValueError("`on` should be a list of `input`, `output`, or both")
        if window < 1:
            raise ValueError("`window` should be at least 1")
        self.looked_for = tuple(map(_word, words)) + tuple(map(_pattern, patterns))
        self.on = frozenset(on)
        self.message = message
        self.held = max([*(_longest(one) for one in words), window if patterns else 0])
        self.counts: Counter[str] = Counter()

    def for_request(self) -> _Guarding:
        return _Guarding(self)

    def pre_embed(self, asked: Embedding) -> Failure | None:
        return self.refusal("input") if "input" in self.on and any(map(self.finds, asked.request.inputs)) else None

    def finds(self, text: str) -> bool:
        return any(one.search(text) for one in self.looked_for)

    def refusal(self, side: Side) -> Failure:
        self.counts[side] += 1
        what = "request" if side == "input" else "answer"
        detail = self.message or f"the {what} holds what is not allowed here; word it differently"
        return refuse(detail, code=CODE)

    def metrics(self) -> Mapping[str, float]:
        return {f"refused.{side}": float(count) for side, count in self.counts.items()}


class _Guarding:
    """One request's."""

    def __init__(self, how: Guardrail) -> None:
        self._how = how
        self._windows = Windows(lambda _: _Watching(how))

    def pre(self, asked: Before) -> Failure | None:
        if "input" not in self._how.on:
            return None
        found = _Finding(self._how)
        for name in SCRUBBED:
            changed(getattr(asked.request, name), found.look)
        return self._how.refusal("input") if found.found else None

    def post(self, given: After) -> Failure | None:
        if "output" not in self._how.on:
            return None
        found = _Finding(self._how)
        changed(given.completion.choices, found.look)
        return self._how.refusal("output") if found.found else None

    def stream_event(self, seen: Streamed) -> tuple[StreamEvent, ...] | Failure | None:
        if "output" not in self._how.on:
            return None
        try:
            match seen.event:
                case Delta():
                    return self._windows.passed(seen.event)
                case StreamEnd(outcome=Failure()):
                    return None  # what was held back of a stream that broke is not worth the risk
                case StreamEnd():
                    return (*self._windows.rest(), seen.event)
                case StreamStart():
                    return None
        except _Hit:
            return self._how.refusal("output")
        return None


class _Finding:
    def __init__(self, how: Guardrail) -> None:
        self._how = how
        self.found = False

    def look(self, text: str) -> str:
        self.found = self.found or self._how.finds(text)
        return text


class _Hit(Exception):
    """Ends the work of a window."""


class _Watching:
    """Holds back as much as the longest match needs."""

    def __init__(self, how: Guardrail) -> None:
        self._how = how
        self._gone = ""
        self._held = ""

    def feed(self, text: str) -> str:
        self._held += text
        whole = self._gone + self._held
        first = len(self._held)
        for pattern in self._how.looked_for:
            for match in pattern.finditer(whole):
                if match.end() < len(whole):
                    raise _Hit
                # It may become another word, or no match at all: none of it goes until that is known.
                first = min(first, max(0, match.start() - len(self._gone)))
        return self._let_go(min(first, max(0, len(self._held) - self._how.held)))

    def rest(self) -> str:
        if any(pattern.search(self._gone + self._held) for pattern in self._how.looked_for):
            raise _Hit
        return self._let_go(len(self._held))

    def _let_go(self, count: int) -> str:
        going, self._held = self._held[:count], self._held[count:]
        self._gone = (self._gone + going)[-CONTEXT:]
        return going


def _word(said: str) -> re.Pattern[str]:
    words = said.split()
    if not words:
        raise ValueError("a word that is forbidden should have a letter")
    inner = rf"\s{{1,{SPACES}}}".join(map(re.escape, words))
    return re.compile(rf"(?<!\w){inner}(?!\w)", re.IGNORECASE)


def _longest(said: str) -> int:
    words = said.split()
    return sum(map(len, words)) + SPACES * (len(words) - 1) + 1


def _pattern(said: str) -> re.Pattern[str]:
    try:
        made = re.compile(said)
    except re.error as error:
        raise ValueError(f"`{said[:100]}` is no regular expression: {error}") from None
    if made.match(""):
        raise ValueError(f"`{said[:100]}` is found everywhere: it fits nothing at all")
    return made
