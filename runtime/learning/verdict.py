"""What feedback is taken for: how good which answers were, and how much that counts. And what is said of none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from runtime.learning import judging
from runtime.learning.values import FeedbackGiven
from runtime.memory.embed import Embedder, Vectors
from runtime.memory.endpoint import NotRead
from runtime.outcome import Failure, FailureKind
from runtime.sona.fairness import score as clipped

LABELS: Mapping[str, float] = {
    **dict.fromkeys(("good", "up", "thumbs_up", "correct", "yes"), 1.0),
    **dict.fromkeys(("ok", "neutral", "partial"), 0.5),
    **dict.fromkeys(("bad", "down", "thumbs_down", "wrong", "no"), 0.0),
}
BETTER, WORSE, COMPARED = 0.75, 0.25, 0.5
"""Of two answers one was better: that says how they differ, not how good they are, so each counts half."""
CORRECTED = (0.2, 0.8)
"""Whoever takes the pains to correct an answer found it wanting; how much so is not said."""


def wanted(given: FeedbackGiven) -> list[tuple[str, float, float]] | Failure:
    """(request, quality, weight) of what is to be judged."""
    if given.score is not None:
        quality = clipped(given.score)
        if quality is None:
            return bad("score", "score should be a number from 0 to 1")
        return [(given.request, quality, judging.WEIGHT if given.by_model else 1.0)]
    if given.label is not None:
        if (known := LABELS.get(given.label.lower())) is None:
            return bad("label", f"{given.label[:64]!r} is no label; there are {', '.join(LABELS)}")
        return [(given.request, known, 1.0)]
    if given.better_than is not None:
        if given.better_than == given.request:
            return bad("better_than", "an answer is not better than itself; name another request")
        return [(given.request, BETTER, COMPARED), (given.better_than, WORSE, COMPARED)]
    if given.correction is not None:
        return [(given.request, *CORRECTED)]
    return bad("score", "say how good the answer was: score (0 to 1), label, better_than or correction")


def unknown(request: str) -> Failure:
    return Failure(
        kind=FailureKind.BAD_REQUEST,
        code="unknown_request",
        param="request_id",
        scope="request",
        detail=f"no answer of yours has the id {request[:128]!r} (x-request-id of an answer that was chosen by what is "
        "learned: a route of strategy `learned`, or model ruvector-auto)",
    )


def bad(param: str, detail: str) -> Failure:
    return Failure(kind=FailureKind.BAD_REQUEST, param=param, detail=detail, scope="request")


def sought(query: str | Sequence[float], embedder: Embedder) -> Vectors | Failure:
    """What to look for, as one vector of length one. A vector has the embedder's dimension."""
    if isinstance(query, str):
        try:
            vector = embedder.embed([query])[0]
        except NotRead as error:
            return Failure(kind=FailureKind.UNAVAILABLE, detail=str(error), retry_after_s=1.0, scope="request")
    else:
        if len(query) != embedder.dim:
            detail = f"the vector has {len(query)} numbers; {embedder.name} has {embedder.dim}"
            return bad("vector", detail)
        vector = np.asarray(query, dtype=np.float32)
    if not np.all(np.isfinite(vector)) or not np.any(vector):
        return bad("query", "there is nothing to look for: send a text, or a vector of finite numbers, not all 0")
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)
