"""What can go wrong with an upstream, as values. How each looks in bytes is in `upstream.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """How far an exchange has come when it breaks.

    A plain answer has no `CONTENT`: it shows nothing before its end. At `END` all but the proof of the end is there, at
    `WHOLE` that too, and only HTTP's own end is missing.
    """

    ACCEPT = "accept"
    REQUEST = "request"
    HEAD = "head"
    BODY = "body"
    CONTENT = "content"
    END = "end"
    WHOLE = "whole"


class Wait(StrEnum):
    """The forms in which a provider says how long to wait. `OWN` is its dialect's."""

    NONE = "none"
    SECONDS = "seconds"
    DATE = "date"
    MILLIS = "millis"
    OWN = "own"


class Life(StrEnum):
    """Bytes without content, sent for ever."""

    COMMENTS = "comments"
    EMPTY_DELTAS = "empty"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nobody listens on the port."""


@dataclass(frozen=True, slots=True)
class Reset:
    phase: Phase


@dataclass(frozen=True, slots=True)
class Hang:
    phase: Phase


@dataclass(frozen=True, slots=True)
class Status:
    status: int
    wait: Wait = Wait.NONE


@dataclass(frozen=True, slots=True)
class Garbled:
    """What is no JSON: the whole of a plain answer, one event of a stream."""

    phase: Phase = Phase.BODY


@dataclass(frozen=True, slots=True)
class Cut:
    """A FIN in good order where the answer is not finished. `chunked`: HTTP itself looks complete."""

    phase: Phase
    chunked: bool = True


@dataclass(frozen=True, slots=True)
class Drip:
    """A byte at a time from `phase` on."""

    phase: Phase
    interval_s: float


@dataclass(frozen=True, slots=True)
class Pretend:
    """Signs of life for ever, from `phase` on."""

    phase: Phase
    life: Life = Life.COMMENTS


@dataclass(frozen=True, slots=True)
class Error:
    """The dialect's own error inside a 200: an event of a stream, or the whole of a plain answer."""

    phase: Phase = Phase.BODY


@dataclass(frozen=True, slots=True)
class Page:
    """An HTML page with status 200."""


@dataclass(frozen=True, slots=True)
class Mislabelled:
    """The right answer under the wrong content type."""

    content_type: str


@dataclass(frozen=True, slots=True)
class Large:
    """A megabyte of text in one event, on one line."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A stream was asked for; a whole JSON answer comes."""

    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Empty:
    """Status 200 and nothing else."""


Fault = (
    Refuse | Reset | Hang | Status | Garbled | Cut | Drip | Pretend | Error | Page | Mislabelled | Large | Whole | Empty
)

EVERY: Mapping[str, Fault] = {
    "refuse": Refuse(),
    **{f"reset at {phase}": Reset(phase) for phase in Phase if phase is not Phase.WHOLE},
    **{f"hang at {phase}": Hang(phase) for phase in Phase},
    **{f"429, wait {wait}": Status(429, wait) for wait in Wait},
    "500": Status(500),
    "502": Status(502),
    "503": Status(503),
    "503, wait": Status(503, Wait.SECONDS),
    "529": Status(529),
    "garbled": Garbled(),
    "garbled after content": Garbled(Phase.CONTENT),
    "cut": Cut(Phase.BODY),
    "cut after content": Cut(Phase.CONTENT),
    "cut at end": Cut(Phase.END),
    "cut short of its length": Cut(Phase.BODY, chunked=False),
    "cut short of its length at end": Cut(Phase.END, chunked=False),
    "slow drip": Drip(Phase.HEAD, 0.02),
    "slow drip after content": Drip(Phase.CONTENT, 0.02),
    "quick drip": Drip(Phase.HEAD, 0.0),
    "comments for ever": Pretend(Phase.HEAD),
    "comments after content": Pretend(Phase.CONTENT),
    "empty deltas for ever": Pretend(Phase.HEAD, Life.EMPTY_DELTAS),
    "empty deltas after content": Pretend(Phase.CONTENT, Life.EMPTY_DELTAS),
    "error in a 200": Error(),
    "error after content": Error(Phase.CONTENT),
    "HTML with 200": Page(),
    "labelled as text": Mislabelled("text/plain"),
    "labelled as JSON": Mislabelled("application/json"),
    "1 MB on a line": Large(),
    "whole JSON": Whole(),
    "whole JSON, labelled as stream": Whole("text/event-stream"),
    "empty 200": Empty(),
}

STREAMS_ALONE = frozenset(
    {name for name in EVERY if "after content" in name}
    | {"reset at content", "hang at content", "hang at whole", "empty deltas for ever", "labelled as JSON"}
    | {name for name in EVERY if name.startswith("whole JSON")}
)
"""Faults that a plain answer does not have, or has under another name."""


def stalls(fault: Fault) -> bool:
    """Whether only a time limit ends it."""
    return isinstance(fault, Hang | Pretend) or (isinstance(fault, Drip) and fault.interval_s > 0.0)


def after_content(fault: Fault) -> bool:
    """Whether a stream has been committed when it strikes."""
    return isinstance(fault, Reset | Hang | Garbled | Cut | Drip | Pretend | Error) and fault.phase in (
        Phase.CONTENT,
        Phase.END,
        Phase.WHOLE,
    )
