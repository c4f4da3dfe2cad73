"""What of a request matters for the choice of a provider, and no more of it than does: prompts may be long."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.balance.affinity import LEAST_TOKENS, prefix_of
from runtime.balance.entry import Asked
from runtime.models import Feature
from runtime.request import AudioPart, FilePart, ImagePart, Request, Role, TextPart, VideoPart
from runtime.tokens import estimate_tokens

_NEEDS: dict[type[object], Feature] = {
    ImagePart: Feature.VISION,
    AudioPart: Feature.AUDIO,
    VideoPart: Feature.VIDEO,
    FilePart: Feature.FILES,
}

_ANSWERS = frozenset((Role.ASSISTANT, Role.TOOL))

MOST_PER_LETTER = 2
"""Tokens: more than any estimate makes of a letter."""


def asked_of(
    request: Request,
    *,
    session: str = "",
    max_latency_s: float | None = None,
    min_quality: float | None = None,
    residency: frozenset[str] = frozenset(),
    window: int | None = 0,
    length_matters: bool = True,
    prefix_matters: bool = True,
    sticky: bool = False,
    text_matters: bool = True,
    allowed: tuple[str, ...] = (),
    tenant: str = "",
) -> Asked:
    """The request itself says what it needs and may cost; the rest comes from headers or the route.

    `window` is the smallest context that anybody has (None: none is known). Where nothing is gained by it the tokens
    are not counted and the conversation's beginning is not named, since both take time in proportion to its length.
    """
    letters, plain = _letters(request)
    limit = request.sampling.max_tokens or 0
    counted = length_matters or (window is not None and (not plain or MOST_PER_LETTER * letters + limit > window))
    goes_on = prefix_matters and letters >= LEAST_TOKENS and len(request.messages) > 1
    input_tokens = estimate_tokens(request) if counted or goes_on else 0
    prefix, sent_before = prefix_of(request, input_tokens) if goes_on or sticky else ("", 0)
    return Asked(
        input_tokens=input_tokens,
        output_limit=request.sampling.max_tokens,
        choices=request.choices,
        needs=NOTHING if plain else frozenset(_needs(request)),
        max_cost_nanousd=request.cost.max_cost_nanousd,
        max_latency_s=max_latency_s,
        min_quality=min_quality,
        residency=residency,
        prefix=prefix,
        prefix_tokens=sent_before,
        session=session,
        text=last_said(request) if text_matters else "",
        allowed=allowed,
        tenant=tenant,
        goes_on=any(message.role in _ANSWERS for message in request.messages),
    )


NOTHING: frozenset[Feature] = frozenset()


def _letters(request: Request) -> tuple[int, bool]:
    """How much text there is, and whether that is all."""
    letters = 0
    plain = not request.tools and request.response_format is None
    for message in request.messages:
        for part in message.parts:
            if type(part) is TextPart:
                letters += len(part.text)
            else:
                plain = False
    return letters, plain


def last_said(request: Request) -> str:
    """What the user said last; empty where that was no text."""
    return next((message.text for message in reversed(request.messages) if message.role is Role.USER), "")


def _needs(request: Request) -> Iterator[Feature]:
    """As `fit` sees it: what a model without it would refuse."""
    for message in request.messages:
        for part in message.parts:
            feature = _NEEDS.get(type(part))
            if feature is not None and not (isinstance(part, FilePart) and part.text is not None):
                yield feature
    if request.tools:
        yield Feature.TOOLS
    if request.response_format is not None and request.response_format.kind == "json_schema":
        yield Feature.JSON_SCHEMA
