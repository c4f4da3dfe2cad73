"""Calibration: prompts that were put to several models, with what each made of them.

    {"prompt": "…", "tried": [{"model": "lab/small", "quality": 0.9, "cost_usd": 0.00001, "latency_s": 0.4}, …]}

Nothing is hidden here, unlike in what requests teach: of one prompt all outcomes are known. Each becomes a decision, as
if it had been chosen by lot among those that were tried, and a judgement of it, so that export, estimates, forgetting
and restarts know nothing new. Only admins may calibrate; what they say counts in full (`Judged.trusted`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runtime.learning.events import Judged
from runtime.learning.values import Calibrated, Trajectory, Tried
from runtime.models import NANOUSD

if TYPE_CHECKING:
    from runtime.memory.embed import Embedder

CALIBRATION = "calibration"
"""Who judges: no key has this name. All calibrations together are one voice for whoever watches for drift."""
MOST_PROMPTS, MOST_TRIED, LONGEST = 256, 64, 200_000


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Outcome(_Told):
    """What one model (provider/model) made of it."""

    model: Annotated[str, Field(min_length=3, max_length=300, pattern="/")]
    quality: Annotated[float, Field(ge=0, le=1)]
    cost_usd: Annotated[float, Field(ge=0, le=1e6)] | None = None
    latency_s: Annotated[float, Field(ge=0, le=1e6)] | None = None


class Prompt(_Told):
    """What the user said last, and what came of it."""

    prompt: Annotated[str, Field(min_length=1, max_length=LONGEST, pattern=r"\S")]
    tried: Annotated[tuple[Outcome, ...], Field(min_length=1, max_length=MOST_TRIED)]

    @model_validator(mode="after")
    def _each_once(self) -> Prompt:
        if len({one.model for one in self.tried}) < len(self.tried):
            raise ValueError("each model should be there once")
        return self


class Outcomes(_Told):
    """What a calibration found out. One that is told twice counts once; with another quality the last word counts."""

    outcomes: Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=MOST_PROMPTS)]


def embedded(
    prompts: Sequence[Prompt], embedder: Embedder, *, tenant: str, at_s: float, keep_text: bool
) -> list[Calibrated]:
    """As whoever learns takes them."""
    texts = [one.prompt.strip() for one in prompts]
    return [
        Calibrated(
            name=sha256(text.encode()).hexdigest()[:20],
            embedder=embedder.name,
            vector=vector.astype("<f4").tobytes(),
            tried=tuple(map(_tried, one.tried)),
            at_s=at_s,
            tenant=tenant,
            text=text if keep_text else None,
        )
        for one, text, vector in zip(prompts, texts, embedder.embed(texts), strict=True)
    ]


def _tried(one: Outcome) -> Tried:
    cost = None if one.cost_usd is None else round(one.cost_usd * NANOUSD)
    return Tried(model=one.model, quality=one.quality, cost_nanousd=cost, latency_s=one.latency_s)


def calibrated(one: Calibrated, tried: Tried) -> Trajectory:
    """The decision for this model. Its id is the same for the same prompt and model."""
    request = f"calibrated_{one.name}_{sha256(tried.model.encode()).hexdigest()[:12]}"
    return Trajectory(
        uid=f"{one.tenant} {request}",
        request=request,
        at_s=one.at_s,
        embedder=one.embedder,
        vector=one.vector,
        candidates=tuple(each.model for each in one.tried),
        costs_nanousd=tuple(each.cost_nanousd for each in one.tried),
        tenant=one.tenant,
        key=CALIBRATION,
        mode="calibrated",
        chosen=tried.model,
        propensity=1.0 / len(one.tried),
        answered=tried.model,
        outcome="ok",
        cost_nanousd=tried.cost_nanousd,
        latency_s=tried.latency_s,
        text=one.text,
    )


def verdict(one: Calibrated, tried: Tried, decision: Trajectory, before: Judged | None) -> Judged:
    """How good that was; `before` is what was said of it earlier."""
    return Judged(
        request=decision.request,
        key=CALIBRATION,
        model=tried.model,
        quality=tried.quality,
        weight=1.0,
        fair=1.0,
        vector=one.vector,
        at_s=one.at_s,
        instead=None if before is None else (before.quality, before.weight),
        said={"calibrated": tried.quality},
        trusted=True,
    )


def unknown_of(one: Calibrated, judgement: Callable[[str, str, str], Judged | None]) -> Iterator[Trajectory | Judged]:
    """The events of what is not known already with the same quality. `judgement` is the last word of an organisation's
    request, by a key."""
    for tried in one.tried:
        decision = calibrated(one, tried)
        before = judgement(one.tenant, decision.request, CALIBRATION)
        if before is None or before.quality != tried.quality:
            yield decision
            yield verdict(one, tried, decision, before)
