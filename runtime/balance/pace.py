"""How fast, how busy and how reliable a model at a provider is: means that forget with time.

`Timings` are what some calls came to (or one alone), a `Pace` is what all of them so far say. Each edge has
its own; the manager has one over everybody's, of what reports bring it. The time to the first token and the time for
each further one are kept apart, because a long answer is no slow one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from runtime.outcome import Blame, Completion, Embeddings, Failure, FailureKind
from runtime.values import maker
from runtime.wire import crosses

TAU_S = 5.0
"""A sample this old counts 1/e of a fresh one."""

FAILED_TAU_S = 2.0
"""Failures count for less long: what a provider does now matters more than what it did."""

OUTPUT_TAU_S = 60.0
"""How long answers are changes with what people ask, not with the provider's day."""

LEAST_STEP = 1 / 32
"""Samples of one moment share it: each counts as if this part of its tau had passed, so a mean is of 32 at least."""

OUTPUT_LEAST_STEP = 1 / 512
"""Lengths of answers differ so much that the mean of a few says little."""

RISES = 8
"""How many times faster a peak-EWMA rises than it falls."""

LEAP = 2.0
"""One sample counts for at most so many times the mean."""

LEAST_FIRST = 0.05
"""The least share of a whole answer's time that its first token is taken to have come after."""


class Mean:
    """A mean whose weights follow elapsed time; `value` is None until the first sample.

    With `peak` it rises fast and falls slowly, so that the first calls of a slowdown show it. Finagle's and tower's
    peak-EWMA jumps to every sample above it. Latencies of LLMs have long tails, so there the unluckiest call of the
    last seconds stands for all, and whoever is asked most has the most bad luck. Here a sample above the mean is taken
    at `LEAP` times the mean at most, and moves it `RISES` times faster than one below.
    """

    __slots__ = ("_at", "_least_s", "_peak", "_tau_s", "value")

    def __init__(self, tau_s: float, *, peak: bool = False, least_step: float = LEAST_STEP) -> None:
        self._tau_s = tau_s
        self._least_s = least_step * tau_s
        self._peak = peak
        self._at = 0.0
        self.value: float | None = None

    def add(self, sample: float, now: float) -> None:
        """`now` never falls."""
        if self.value is None:
            self.value = sample
        else:
            keep = math.exp(-max(now - self._at, self._least_s) / self._tau_s)
            if self._peak and sample > self.value > 0.0:
                keep = keep**RISES
                sample = min(sample, LEAP * self.value)
            self.value = self.value * keep + sample * (1.0 - keep)
        self._at = now


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """What some calls came to. Answers are heard twice, for a long one says early how fast it began.

    `begun` have given their first token: after `ttft_s` in sum, while `load` calls (in sum) were under way there when
    they were sent. `answered` have ended, with `tokens` of output; `paced` of these tokens came in `token_s`, which
    began with the first of them.
    """

    begun: int = 0
    ttft_s: float = 0.0
    load: int = 0
    answered: int = 0
    tokens: int = 0
    paced: int = 0
    token_s: float = 0.0
    failed: int = 0

    def __bool__(self) -> bool:
        return bool(self.begun or self.answered or self.failed)

    def __add__(self, other: Timings) -> Timings:
        return new_timings(
            begun=self.begun + other.begun,
            ttft_s=self.ttft_s + other.ttft_s,
            load=self.load + other.load,
            answered=self.answered + other.answered,
            tokens=self.tokens + other.tokens,
            paced=self.paced + other.paced,
            token_s=self.token_s + other.token_s,
            failed=self.failed + other.failed,
        )


new_timings = maker(Timings)


class Pace:
    """`now` is monotonic, in seconds; `at` is when anything was last heard."""

    __slots__ = ("_failed", "_load", "_output", "_per_token", "_ttft", "at")

    def __init__(self) -> None:
        self._ttft = Mean(TAU_S, peak=True)
        self._per_token = Mean(TAU_S, peak=True)
        self._load = Mean(TAU_S)
        self._output = Mean(OUTPUT_TAU_S, least_step=OUTPUT_LEAST_STEP)
        self._failed = Mean(FAILED_TAU_S)
        self.at: float | None = None

    def add(self, batch: Timings, now: float) -> None:
        if not batch:
            return
        self.at = now
        # A call that began is one that works so far; its end must not count it twice.
        if calls := batch.begun + batch.failed:
            self._failed.add(batch.failed / calls, now)
        # An error returns fast and must not look like speed, so it sets no time.
        if batch.begun:
            self._ttft.add(batch.ttft_s / batch.begun, now)
            self._load.add(batch.load / batch.begun, now)
        if batch.answered:
            self._output.add(batch.tokens / batch.answered, now)
        if batch.paced:
            self._per_token.add(batch.token_s / batch.paced, now)

    @property
    def ttft_s(self) -> float | None:
        """To the first token; None while unmeasured."""
        return self._ttft.value

    @property
    def per_token_s(self) -> float | None:
        """For each token of output; None while unmeasured."""
        return self._per_token.value

    @property
    def usual_load(self) -> float:
        """The calls that were under way when this was measured."""
        return self._load.value or 0.0

    @property
    def output_tokens(self) -> float | None:
        """How long answers usually are."""
        return self._output.value

    @property
    def failed(self) -> float:
        """The recent share of calls that failed."""
        return self._failed.value or 0.0


def batch_of(
    outcome: Completion | Embeddings | Failure, latency_s: float, *, load: int, per_token_s: float | None = None
) -> Timings:
    """What the end of one call says. `load` was under way beside it when it was sent.

    A stream has told of its first token before (`ttft_s`). Of a whole answer nobody knows when it began to come: its
    tokens are taken to have come as those of streams do (`per_token_s`), all the rest of its time for the time to the
    first token; where there are no streams, all of it.
    """
    if isinstance(outcome, Failure):
        blamed = outcome.handling.blame is Blame.BAD or outcome.kind is FailureKind.RATE_LIMITED
        return Timings(failed=int(blamed))
    tokens = outcome.usage.output_tokens
    if isinstance(outcome, Completion) and outcome.ttft_s is not None:
        return new_timings(answered=1, tokens=tokens, paced=tokens, token_s=max(0.0, latency_s - outcome.ttft_s))
    first_s = max(latency_s - (per_token_s or 0.0) * tokens, LEAST_FIRST * latency_s)
    return new_timings(begun=1, ttft_s=first_s, load=load, answered=1, tokens=tokens)
