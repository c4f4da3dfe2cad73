"""What each fault is to Raygate: the kind of failure that it comes to, by dialect and mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.outcome import FailureKind
from tests.chaos.faults import Wait
from tests.chaos.wires import Wire

K = FailureKind


@dataclass(frozen=True, slots=True)
class Expected:
    """The kind of failure of the faulty candidate; None where its answer is good all the same.

    `stream` and `plain` replace `kind` in their mode, `dialects` in both; `ruvllm` never streams, whatever was asked.
    """

    kind: FailureKind | None
    plain: FailureKind | None = None
    stream: FailureKind | None = None
    dialects: Mapping[str, FailureKind | None] = field(default_factory=dict)

    def of(self, wire: Wire, *, streamed: bool) -> FailureKind | None:
        if wire.name in self.dialects:
            return self.dialects[wire.name]
        if wire.first is None and self.plain is not None:
            return self.plain
        return (self.stream if streamed else self.plain) or self.kind


EXPECTED: Mapping[str, Expected] = {
    "refuse": Expected(K.UNAVAILABLE),
    "reset at accept": Expected(K.UNAVAILABLE),
    "reset at request": Expected(K.UNAVAILABLE),
    "reset at head": Expected(K.INTERRUPTED),
    "reset at body": Expected(K.INTERRUPTED),
    "reset at content": Expected(K.INTERRUPTED),
    "reset at end": Expected(K.INTERRUPTED),
    "hang at accept": Expected(K.TIMED_OUT),
    "hang at request": Expected(K.TIMED_OUT),
    "hang at head": Expected(K.TIMED_OUT),
    "hang at body": Expected(K.INTERRUPTED),
    "hang at content": Expected(K.INTERRUPTED),
    "hang at end": Expected(K.INTERRUPTED),
    # Whoever has an end mark needs no end of the body; Google's streams have none.
    "hang at whole": Expected(None, dialects={"google": K.INTERRUPTED}),
    **{f"429, wait {wait}": Expected(K.RATE_LIMITED) for wait in Wait},
    "500": Expected(K.UNAVAILABLE),
    "502": Expected(K.UNAVAILABLE),
    "503": Expected(K.OVERLOADED),
    "503, wait": Expected(K.OVERLOADED),
    # Google has no such status, and calls what it does not know UNKNOWN.
    "529": Expected(K.OVERLOADED, dialects={"google": K.UNAVAILABLE}),
    "garbled": Expected(K.MALFORMED),
    "garbled after content": Expected(K.MALFORMED),
    "cut": Expected(K.INTERRUPTED, plain=K.MALFORMED),
    "cut after content": Expected(K.INTERRUPTED, plain=K.MALFORMED),
    "cut at end": Expected(K.INTERRUPTED, plain=K.MALFORMED),
    "cut short of its length": Expected(K.INTERRUPTED),
    "cut short of its length at end": Expected(K.INTERRUPTED),
    "slow drip": Expected(K.TIMED_OUT),
    "slow drip after content": Expected(K.TIMED_OUT),
    "quick drip": Expected(None),
    "comments for ever": Expected(K.TIMED_OUT),
    "comments after content": Expected(K.TIMED_OUT),
    "empty deltas for ever": Expected(K.TIMED_OUT),
    "empty deltas after content": Expected(K.TIMED_OUT),
    "error in a 200": Expected(K.UNAVAILABLE),
    "error after content": Expected(K.UNAVAILABLE, dialects={"anthropic": K.OVERLOADED, "google": K.OVERLOADED}),
    "HTML with 200": Expected(K.MALFORMED),
    "labelled as text": Expected(None),
    # Google's streams may come as one JSON array; lines of JSON and whole replies are JSON in a way.
    "labelled as JSON": Expected(K.MALFORMED, dialects=dict.fromkeys(("google", "ollama", "ruvllm"))),
    "1 MB on a line": Expected(None),
    "whole JSON": Expected(None),
    "whole JSON, labelled as stream": Expected(K.MALFORMED, dialects=dict.fromkeys(("google", "ollama", "ruvllm"))),
    "empty 200": Expected(K.INTERRUPTED, plain=K.MALFORMED),
}
"""The one table of what each fault is to Raygate."""


def kind_of(fault: str, wire: Wire, *, streamed: bool) -> FailureKind | None:
    """The kind of failure that a fault is in this dialect and mode; None where the answer is good all the same."""
    kind = EXPECTED[fault].of(wire, streamed=streamed)
    if fault == "error in a 200" and streamed:
        # Their events are typed; the same under another status is a broad word.
        return {"anthropic": K.OVERLOADED, "google": K.OVERLOADED}.get(wire.name, kind)
    return kind
