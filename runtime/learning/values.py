"""What crosses between edges and the owner of what is learned.

    edge ── Trajectory, FeedbackGiven ──► owner          owner ── Lessons (a policy for each organisation) ──► edges

A trajectory is one decision and what came of it. Feedback names its request later, and may come from another edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from runtime.request import Json
from runtime.wire import crosses

NOBODYS = "default"
"""The organisation of whoever has none: a Raygate without keys, or a key of its own."""

Mode = Literal["learned", "default", "holdout", "shadow", "calibrated"]
"""Who decided: the policy; the route's default order, for want of evidence; that order on purpose, to compare with;
that order, with the policy's choice noted beside it; nobody: all candidates were asked, to learn from it."""

Stamp = tuple[int, int]
"""(incarnation of the owner, number of the last event that the policy knows)."""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What an answer says of its model without anybody's judgement: a quality in [0, 1] that counts `weight`."""

    model: str
    quality: float
    weight: float
    why: str


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One decision. Models are named provider/model; `uid` is the edge's own number for it, by which it counts once.

    `vector` is the prompt, as little-endian float32 of `embedder`. `costs_nanousd` go with `candidates` (None: no price
    is known). `chosen` is whom the policy would ask first and `propensity` the chance with which it did; both are empty
    where it abstained. `prices` are the candidates' in units of quality, as that decision saw them. `answered` is who
    gave the answer. `at_s` is wall-clock time.
    """

    uid: str
    request: str
    at_s: float
    embedder: str
    vector: bytes
    candidates: tuple[str, ...]
    costs_nanousd: tuple[int | None, ...]
    tenant: str = NOBODYS
    key: str = ""
    mode: Mode = "default"
    taste: str = ""
    policy: Stamp = (0, 0)
    chosen: str = ""
    propensity: float | None = None
    gave_up: float = 0.0
    prices: tuple[float, ...] = ()
    answered: str = ""
    outcome: str = ""
    signals: tuple[Signal, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanousd: int | None = None
    latency_s: float | None = None
    text: str | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What one model made of a calibration's prompt. `quality` is in [0, 1]."""

    model: str
    quality: float
    cost_nanousd: int | None = None
    latency_s: float | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """A prompt that was put to several models, and what each made of it. `vector` as in a `Trajectory`; `name` is the
    same for the same prompt, so that one which is told twice counts once."""

    name: str
    embedder: str
    vector: bytes
    tried: tuple[Tried, ...]
    at_s: float
    tenant: str = NOBODYS
    text: str | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackGiven:
    """What somebody says of an answer: one of `score` (0 to 1), `label`, `better_than` (another request's answer),
    `correction` (what the answer should have been). `key` is who says so. `by_model`: nobody did, a model judged it."""

    request: str
    at_s: float
    tenant: str = NOBODYS
    key: str = ""
    score: float | None = None
    label: str | None = None
    better_than: str | None = None
    correction: str | None = None
    by_model: bool = False


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Feedback that is kept for good. `quality` is what it was taken for, `weight` how much it counts, after fairness;
    `event` is its number."""

    request: str
    model: str
    quality: float
    weight: float
    event: int


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One organisation's policy: `payload` is a learner's state (`runtime.sona.state`), empty before there is one.
    `judged` is how much feedback it rests on, `prompts` how many requests it has seen. `emptied`: somebody wanted it
    forgotten, so that an empty one takes the place of whatever was taught before. `embedder` made the vectors that it
    rests on: to who sees with another one it says nothing."""

    stamp: Stamp
    payload: bytes = b""
    judged: float = 0.0
    prompts: int = 0
    emptied: bool = False
    embedder: str = ""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """What is newer than what an edge has. `incarnation` is the owner's."""

    incarnation: int
    of: Mapping[str, Lesson] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What an organisation's learner has come to. `quality` holds (mean, standard deviation) by model; `imports` what
    was taken in of other Raygates' learning, with its provenance."""

    prompts: int = 0
    judged: float = 0.0
    learned: int = 0
    asked: float = 0.0
    spent: float = 0.0
    remembered: int = 0
    events: int = 0
    learns: bool = False
    warm_up: int = 0
    quality: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    signals: Mapping[str, int] = field(default_factory=dict)
    paused: bool = False
    imports: tuple[Mapping[str, Json], ...] = ()
