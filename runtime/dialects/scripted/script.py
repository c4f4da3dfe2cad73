"""What the scripted provider plays: answers, delays and faults, as frozen values.

    Script(steps) ── one step for each call, in order; then from the start again, or the last one for good
    Step          ── an answer, its delays, and at most one `Trouble`

No clock and no chance: the same script gives the same calls the same fate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.outcome import FinishReason, Usage
from runtime.request import ToolCall

DEFAULT_TEXT = (
    "This is a scripted answer: it was written in advance and no model was asked. "
    "Add a provider with a model behind it, or give this one a script."
)

_PIECES = re.compile(r"\s*\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection breaks before the answer's headers."""


@dataclass(frozen=True, slots=True)
class Hang:
    """The headers never come."""


@dataclass(frozen=True, slots=True)
class Truncate:
    """The body breaks off after so many chunks."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Stall:
    """After so many chunks nothing more comes, and the connection stays open."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Malformed:
    """After so many chunks comes what is not JSON."""

    after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEvent:
    """Status 200, and after so many chunks an error."""

    after: int = 0
    type: str = "server_error"
    code: str | None = None
    message: str = "a scripted error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Another HTTP status. Without a body, an error envelope that says it is scripted."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    retry_after_s: float | None = None


Trouble = Refuse | Reset | Hang | Truncate | Stall | Malformed | ErrorEvent | Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call's fate.

    `chunks` overrules how `text` is cut (else word by word). Without a finish reason it is `tool_calls` where there
    are some, else `stop`. Without usage, words are counted and marked as estimated. `delay_s` passes before the
    headers, `first_chunk_delay_s` between them and the first chunk, `chunk_delay_s` between chunks.
    """

    text: str = ""
    chunks: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    delay_s: float = 0.0
    first_chunk_delay_s: float = 0.0
    chunk_delay_s: float = 0.0
    fault: Trouble | None = None

    @property
    def pieces(self) -> tuple[str, ...]:
        """The text as it streams.

        >>> Step(text="one two").pieces
        ('one ', 'two')
        """
        return self.chunks or tuple(_PIECES.findall(self.text))

    @property
    def whole_text(self) -> str:
        return "".join(self.chunks) if self.chunks else self.text


DEFAULT_STEP = Step(text=DEFAULT_TEXT)


@dataclass(frozen=True, slots=True)
class Script:
    """Steps in order. With `loop` they begin again; without, the last one stays (fail, fail, then work)."""

    steps: tuple[Step, ...] = ()
    loop: bool = True

    def step(self, call: int) -> Step:
        """The step for the call of this number, counted from 0."""
        if not self.steps:
            return DEFAULT_STEP
        return self.steps[call % len(self.steps) if self.loop else min(call, len(self.steps) - 1)]
