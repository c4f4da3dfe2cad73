"""Feedback as callers write it.

POST /v1/feedback   {request_id, and one of: score (0 to 1), label, better_than (a request's id), correction}
                ──► {object: "feedback", request_id, learned: [{request_id, model, quality, weight}]}
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.dialects.fields import Wrong, obj, opt_number, opt_text
from runtime.learning.values import FeedbackGiven, Taken
from runtime.outcome import Failure
from runtime.request import Json

LONGEST = 256
MOST_SAID = 32_768


def parse_feedback(body: Json) -> FeedbackGiven | Failure:
    """Whose it is and when it came, whoever took it adds."""
    try:
        return _given(obj(body, "body"))
    except Wrong as wrong:
        return wrong.failure()


def _given(fields: dict[str, Json]) -> FeedbackGiven:
    request = opt_text(fields, "request_id", "request_id")
    if not request or len(request) > LONGEST:
        raise Wrong("request_id", "request_id is missing: the answer has it in its x-request-id header.")
    better_than = opt_text(fields, "better_than", "better_than")
    correction = opt_text(fields, "correction", "correction")
    if correction is not None and len(correction) > MOST_SAID:
        raise Wrong("correction", f"correction is longer than {MOST_SAID:,} characters.")
    if all(fields.get(name) is None for name in ("score", "label", "better_than", "correction")):
        raise Wrong("score", "say how good it was: score (0 to 1), label, better_than or correction.")
    return FeedbackGiven(
        request=request,
        at_s=0.0,
        score=opt_number(fields, "score", "score"),
        label=opt_text(fields, "label", "label"),
        better_than=None if better_than is None else better_than[:LONGEST],
        correction=correction,
    )


def told(given: FeedbackGiven, taken: Sequence[Taken]) -> dict[str, Json]:
    """The answer: what it was taken for."""
    return {
        "object": "feedback",
        "request_id": given.request,
        "learned": [
            {"request_id": one.request, "model": one.model, "quality": one.quality, "weight": one.weight}
            for one in taken
        ],
    }
