"""The values of a choice: who could be asked, what is asked, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from runtime.models import Feature, ModelInfo
from runtime.values import quick

Term = float | int | str | bool | None
"""One part of a score, for `explain`: a number with its unit in its name, a word, or None where it is unknown."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model at a provider, in the provider's own name for it."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


# Not frozen, as all else here is: a frozen one takes three times as long to make, for each candidate of each request.
@dataclass(slots=True, kw_only=True)
class Entry:
    """A candidate and all that is known of it now. None is unknown; shares are in [0, 1].

    `in_flight` is this process's own calls, exact; `others_in_flight` everybody else's, as last reported.
    `ttft_s` (to the first token) and `per_token_s` (for each further one) are peak-EWMAs, measured while `usual_load`
    calls were under way. `silent_s` is for how long the oldest of our own calls there waits for its first token.
    `measured_ago_s` is since anybody last heard from it. `ramp` is the share of its traffic that a provider takes
    again after a recovery. `output_tokens` is how long this model's answers usually are, at all providers.
    `input_tokens` is what the request's input comes to at this model, where that differs from what was counted.
    `bound_nanousd` is the most that the request is expected to cost here, `ceiling_nanousd` the most that it may by the
    settings. `quality` and `typical_s` are what tables say, without any measurement.
    """

    candidate: Candidate
    in_flight: int = 0
    others_in_flight: int = 0
    ttft_s: float | None = None
    per_token_s: float | None = None
    usual_load: float = 0.0
    silent_s: float = 0.0
    failed: float = 0.0
    measured_ago_s: float | None = None
    retry_in_s: float = 0.0
    ramp: float = 1.0
    weight: float = 1.0
    priority: int = 0
    preferred_provider: bool = False
    preferred_model: bool = False
    output_tokens: float | None = None
    input_tokens: int | None = None
    bound_nanousd: int | None = None
    ceiling_nanousd: int | None = None
    info: ModelInfo | None = None
    quality: float | None = None
    typical_s: float | None = None
    local: bool = False
    tags: frozenset[str] = frozenset()

    def input_of(self, asked: Asked) -> int:
        """The tokens of the request's input, here."""
        return asked.input_tokens if self.input_tokens is None else self.input_tokens

    @property
    def load(self) -> int:
        """Calls under way there, everybody's."""
        return self.in_flight + self.others_in_flight

    @property
    def preferred(self) -> bool:
        """Whether the request prefers it, in whatever way."""
        return self.preferred_provider or self.preferred_model


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What of a request matters for the choice.

    `output_limit` is the request's own bound, `output_tokens` how long its answer will be, where anybody knows.
    `needs` are features without which there is no answer. `prefix` names the beginning of the conversation, which
    stays the same while it goes on; `prefix_tokens` of the input were sent before and may be remembered. `residency`
    are tags of which a provider must have all. `text` is what the user said last, for rules.
    `allowed` are patterns of what its payer may use; empty allows all. `tenant` is the organisation whose experience
    counts. `goes_on`: the conversation has an answer already, or waits in a loop of tools.
    """

    input_tokens: int = 0
    output_limit: int | None = None
    output_tokens: float | None = None
    choices: int = 1
    needs: frozenset[Feature] = frozenset()
    max_cost_nanousd: int | None = None
    max_latency_s: float | None = None
    min_quality: float | None = None
    residency: frozenset[str] = frozenset()
    prefix: str = ""
    prefix_tokens: int = 0
    session: str = ""
    text: str = ""
    allowed: tuple[str, ...] = ()
    tenant: str = ""
    goes_on: bool = False


class Why(StrEnum):
    """Why a candidate was left out."""

    FEATURE = "feature"
    CONTEXT = "context_window"
    COST = "max_cost"
    LATENCY = "max_latency"
    QUALITY = "min_quality"
    RESIDENCY = "residency"
    NOT_ALLOWED = "not_allowed"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A candidate that cannot be asked; `detail` says so in words."""

    candidate: Candidate
    why: Why
    detail: str


@dataclass(slots=True)
class Scored:
    """An entry at its place in an order, with every term that brought it there (units in their names)."""

    entry: Entry
    terms: Mapping[str, Term] = field(default_factory=dict)

    @property
    def candidate(self) -> Candidate:
        """Whom to ask."""
        return self.entry.candidate
