"""Which provider next, and when? Decides; never calls and never waits.

    failure of a candidate                       then
    ---------------------------------------------------------------------------------------
    the provider has another key                 ask the same candidate at once; it counts as an attempt, not as a retry
    another candidate is untried, and the kind   ask it at once
      says `try_elsewhere`
    the request is too long for it               the same, but only those whose window is known to be larger, then those
                                                   whose window nobody knows, then the route's `larger`: whoever reads
                                                   no more than one that overflowed is not asked any more
    the provider filters the content             the end; or the same as elsewhere, where the route says `next`
    none is untried, and the kind says           ask the soonest of those again, after a full-jitter backoff, or after
      `try_again`                                  what is left of the wait that it named, if that fits the deadline
    otherwise, or the attempts are used up       give up with the most telling failure
Somebody else comes before a second try: a healthy provider answers now, a failing one after a wait at best.
A verdict on the request itself is final: nobody is asked after it.

A hedge is the next untried candidate, asked beside the one that is slow. It counts as an attempt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runtime.balance.entry import Candidate
from runtime.outcome import UNASKED, Blame, Failure, FailureKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`max_attempts` counts all tries of a request, `per_candidate` those of one provider and model.

    `per_provider` replaces `per_candidate` for the providers that it names. `budget_ratio`: see `RetryBudget`.
    `past_filters`: what one provider's filter refused, the next one may be asked.
    """

    max_attempts: int = 4
    per_candidate: int = 2
    per_provider: Mapping[str, int] = field(default_factory=dict)
    base_s: float = 0.2
    cap_s: float = 5.0
    budget_ratio: float = 0.2
    past_filters: bool = False


class Windows(Protocol):
    """Who reads how much. Asked only once a request was too long for somebody."""

    def window(self, candidate: Candidate) -> int | None:
        """The tokens that it reads at most; None where nobody knows."""
        ...

    def larger(self) -> Sequence[Candidate]:
        """Whom the route names for requests that are too long for the others."""
        ...


class Unmeasured:
    """The `Windows` of a request of which nothing is known."""

    def window(self, candidate: Candidate) -> int | None:
        return None

    def larger(self) -> Sequence[Candidate]:
        return ()


UNMEASURED = Unmeasured()


@dataclass(frozen=True, slots=True)
class Ask:
    candidate: Candidate
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class GiveUp:
    failure: Failure


class RetryBudget:
    """Retries may be a share of the requests, no more: an outage must not be multiplied by its callers.

    A balance of tokens (the form of Finagle's `RetryBudget`): each request pays in `ratio`, each second try of
    the same candidate takes one out. A reserve lets a quiet gateway retry at all. Asking somebody else is no
    retry: it does not load the one that fails. One budget is for all routes, so many of them make no larger storm.
    """

    RESERVE = 10.0

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio
        self._balance = self.RESERVE if ratio > 0.0 else 0.0

    def pay_in(self) -> None:
        self._balance = min(self._balance + self.ratio, max(self.RESERVE, 100.0 * self.ratio))

    def take(self) -> bool:
        """True if one more retry is covered; it is then spent."""
        if self._balance < 1.0:
            return False
        self._balance -= 1.0
        return True


def backoff_s(retry: int, policy: RetryPolicy, rng: random.Random) -> float:
    """Full jitter (M. Brooker, "Exponential Backoff and Jitter", AWS 2015): uniform in [0, min(cap, base·2ⁿ)]."""
    # The exponent is bounded, for 2.0**1024 is no float.
    return rng.uniform(0.0, min(policy.cap_s, policy.base_s * 2.0 ** min(retry, 60)))


Fits = Callable[[Candidate], bool]


def anyone(candidate: Candidate) -> bool:
    return True


class Failover:
    """One request's way through its candidates. `candidates` is not empty."""

    __slots__ = (
        "_asked",
        "_budget",
        "_failures",
        "_larger",
        "_last",
        "_outgrown",
        "_policy",
        "_rng",
        "_tries",
        "_untried",
        "_windows",
    )

    def __init__(
        self,
        candidates: Sequence[Candidate],
        policy: RetryPolicy,
        rng: random.Random,
        budget: RetryBudget,
        windows: Windows = UNMEASURED,
    ) -> None:
        budget.pay_in()
        self._budget = budget
        self._policy = policy
        self._rng = rng
        self._windows = windows
        self._untried = list(reversed(candidates))
        self._asked = self._untried.pop()
        self._tries = {self._asked: 1}
        self._failures: list[Failure] = []
        # Of each candidate its last failure, and how much of the request's time was left then.
        self._last: dict[Candidate, tuple[Failure, float]] = {}
        self._outgrown: int | None = None
        self._larger: list[Candidate] | None = None

    def first(self) -> Candidate:
        return self._asked

    @property
    def may_hedge(self) -> bool:
        """Whether there is an attempt left, and somebody to make it."""
        return bool(self._untried) and not self._used_up()

    def hedge(self, fits: Fits) -> Candidate | None:
        """The next untried candidate that fits, to be asked beside the one under way."""
        if not self.may_hedge or (candidate := self._next(fits)) is None:
            return None
        return self._ask(candidate).candidate

    def failed(self, candidate: Candidate, failure: Failure, *, remaining_s: float) -> None:
        """One of two that were asked side by side has failed; the other goes on."""
        self._failures.append(failure)
        self._last[candidate] = failure, remaining_s
        if failure.kind is FailureKind.CONTEXT_OVERFLOW:
            self._outgrow(candidate)

    def after(
        self, failure: Failure, *, remaining_s: float, of: Candidate | None = None, fits: Fits = anyone
    ) -> Ask | GiveUp:
        """What to do, now that nobody is under way any more and `remaining_s` are left of the request's time.

        `of` is whose failure it is, where that is not who was asked last; `fits` says who may be asked at all, where
        that is not everyone.
        """
        candidate = of or self._asked
        self.failed(candidate, failure, remaining_s=remaining_s)
        if self._used_up() or remaining_s <= 0.0 or any(map(self._final, self._failures)):
            return self._give_up()
        if failure.another_key and fits(candidate):
            return self._ask(candidate)
        if any(map(self._elsewhere, self._failures)) and (other := self._next(fits)) is not None:
            return self._ask(other)
        return self._again(remaining_s, fits)

    def _next(self, fits: Fits) -> Candidate | None:
        """The next untried candidate that fits; it is then no longer untried."""
        for at in range(len(self._untried) - 1, -1, -1):
            if fits(self._untried[at]):
                return self._untried.pop(at)
        return None

    def _elsewhere(self, failure: Failure) -> bool:
        filtered = failure.kind is FailureKind.CONTENT_FILTERED and self._policy.past_filters
        return failure.handling.try_elsewhere or filtered

    def _final(self, failure: Failure) -> bool:
        """Whether the request itself is what is wrong."""
        return not (self._elsewhere(failure) or failure.retryable or failure.another_key)

    def _used_up(self) -> bool:
        return sum(self._tries.values()) >= self._policy.max_attempts

    def _again(self, remaining_s: float, fits: Fits) -> Ask | GiveUp:
        waits: list[tuple[float, Candidate]] = []
        for candidate, (failure, left_s) in self._last.items():
            tries = self._tries[candidate]
            limit = self._policy.per_provider.get(candidate.provider, self._policy.per_candidate)
            if not failure.retryable or tries >= limit or not fits(candidate) or not self._roomy(candidate):
                continue
            wait_s = backoff_s(tries, self._policy, self._rng)
            if failure.retry_after_s is not None:
                # Everyone was told the same moment; jitter on top keeps them from returning as one.
                wait_s += max(0.0, failure.retry_after_s - (left_s - remaining_s))
            waits.append((wait_s, candidate))
        if not waits:
            return self._give_up()
        wait_s, candidate = min(waits, key=lambda pair: pair[0])
        if wait_s >= remaining_s or not self._budget.take():
            return self._give_up()
        return self._ask(candidate, after_s=wait_s)

    def _outgrow(self, candidate: Candidate) -> None:
        """The request was too long for this one: put those behind that may do, and drop those that cannot."""
        window = self._windows.window(candidate)
        if window is not None:
            self._outgrown = max(window, self._outgrown or 0)
        if self._larger is None:
            planned = {*self._untried, *self._tries}
            self._larger = [one for one in dict.fromkeys(self._windows.larger()) if one not in planned]
            self._untried[:0] = reversed(self._larger)
        waiting = [one for one in reversed(self._untried) if self._roomy(one)]
        if self._outgrown is not None:
            # The sort is stable: in each of the three groups the order stays.
            waiting.sort(key=lambda one: (one in (self._larger or ()), self._windows.window(one) is None))
        self._untried = waiting[::-1]

    def _roomy(self, candidate: Candidate) -> bool:
        """Whether it may read more than what was too little."""
        if self._outgrown is None:
            return True
        window = self._windows.window(candidate)
        return window is None or window > self._outgrown

    def _ask(self, candidate: Candidate, *, after_s: float = 0.0) -> Ask:
        self._asked = candidate
        self._tries[candidate] = self._tries.get(candidate, 0) + 1
        return Ask(candidate, after_s)

    def _give_up(self) -> GiveUp:
        """The failure that its reader can do most about.

        That is the one which ended it all (the request itself is wrong, say); else the last that may have passed when
        the caller tries again; else that of the model asked for, not of its stand-ins. "Refused by our own breaker"
        explains less than what opened it; where nothing else was heard, whoever opens soonest is worth naming.
        """
        told = [failure for failure in self._failures if failure.kind not in UNASKED]
        if not told:
            return GiveUp(min(self._failures, key=lambda failure: failure.retry_after_s or 0.0))
        final = next(filter(self._final, told), None)
        passing = [failure for failure in told if failure.retryable or failure.handling.blame is Blame.BAD]
        return GiveUp(final or (passing[-1] if passing else told[0]))
