"""What of a request matters for the choice of a provider."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.balance.affinity import prefix_of
from runtime.balance.entry import Asked
from runtime.models import Feature
from runtime.request import AudioPart, FilePart, ImagePart, Part, Request, Role, VideoPart
from runtime.tokens import estimate_tokens

_NEEDS: tuple[tuple[type[Part], Feature], ...] = (
    (ImagePart, Feature.VISION),
    (AudioPart, Feature.AUDIO),
    (VideoPart, Feature.VIDEO),
    (FilePart, Feature.FILES),
)


def asked_of(
    request: Request,
    *,
    session: str = "",
    max_latency_s: float | None = None,
    min_quality: float | None = None,
    residency: frozenset[str] = frozenset(),
) -> Asked:
    """The request itself says what it needs and may cost; the rest comes from headers or the route."""
    prefix, sent_before = prefix_of(request)
    said = next((message.text for message in reversed(request.messages) if message.role is Role.USER), "")
    return Asked(
        input_tokens=estimate_tokens(request),
        output_limit=request.sampling.max_tokens,
        choices=request.choices,
        needs=frozenset(_needs(request)),
        max_cost_nanousd=request.cost.max_cost_nanousd,
        max_latency_s=max_latency_s,
        min_quality=min_quality,
        residency=residency,
        prefix=prefix,
        prefix_tokens=sent_before,
        session=session,
        text=said,
    )


def _needs(request: Request) -> Iterator[Feature]:
    """As `fit` sees it: what a model without it would refuse."""
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, FilePart) and part.text is not None:
                continue
            yield from (feature for kind, feature in _NEEDS if isinstance(part, kind))
    if request.tools:
        yield Feature.TOOLS
    if request.response_format is not None and request.response_format.kind == "json_schema":
        yield Feature.JSON_SCHEMA
