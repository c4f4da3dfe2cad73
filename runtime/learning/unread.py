"""Decisions of the first second, while the embedder is being read: by the default order, with their text in the place
of its vector. Feedback on their answers counts like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from runtime.balance.cost import expected_nanousd
from runtime.balance.entry import Asked, Entry
from runtime.learning.advice import Decision, Learned
from runtime.learning.values import Trajectory

if TYPE_CHECKING:
    from runtime.memory.embed import Embedder


def unread(entries: Sequence[Entry], asked: Asked, how: Learned) -> Decision | None:
    """None where there is no text, and so nothing to learn from."""
    text = asked.text.strip()
    if not text:
        return None
    return Decision(
        mode="default",
        taste=how.taste,
        embedder="",
        vector=b"",
        candidates=tuple(str(one.candidate) for one in entries),
        costs_nanousd=tuple(expected_nanousd(one, asked) for one in entries),
        tenant=asked.tenant,
        text=text,
    )


def is_unread(made: Trajectory) -> bool:
    return not made.embedder


def read(made: Trajectory, embedder: Embedder, *, keep_text: bool) -> Trajectory:
    """As it would have been had the embedder been there."""
    import numpy as np

    vector = embedder.embed([made.text or ""])[0]
    raw = np.asarray(vector, dtype="<f4").tobytes()
    return replace(made, embedder=embedder.name, vector=raw, text=made.text if keep_text else None)
