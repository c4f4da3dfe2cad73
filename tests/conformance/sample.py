"""One whole stream and one whole reply of a dialect, by hand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """`stream` must hold two parallel tool calls or two choices, so that the laws bite; `text` is choice 0's."""

    stream: bytes
    text: str
    reply: bytes
