"""Which provider next, and when? Decides; never calls and never waits.

    failure of a candidate                       then
    ---------------------------------------------------------------------------------------
    another candidate is untried, and the kind   ask it at once
      says `try_elsewhere`
    none is untried, and the kind says           ask the soonest of those again, after a full-jitter backoff,
      `try_again`                                  or after what the server named, if that fits the deadline
    otherwise, or the attempts are used up       give up with the most telling failure
Somebody else comes before a second try: a healthy provider answers now, a failing one after a wait at best.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runtime.outcome import UNASKED, Blame, Failure
from runtime.strategy import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`max_attempts` counts all tries of a request, `per_candidate` those of one provider and model.

    `per_provider` replaces `per_candidate` for the providers that it names. `budget_ratio`: see `RetryBudget`.
    """

    max_attempts: int = 4
    per_candidate: int = 2
    per_provider: Mapping[str, int] = field(default_factory=dict)
    base_s: float = 0.2
    cap_s: float = 5.0
    budget_ratio: float = 0.2


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
    retry: it does not load the one that fails.
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


class Failover:
    """One request's way through its candidates. `candidates` is not empty."""

    __slots__ = ("_asked", "_budget", "_failures", "_policy", "_rng", "_tries", "_untried")

    def __init__(
        self, candidates: Sequence[Candidate], policy: RetryPolicy, rng: random.Random, budget: RetryBudget
    ) -> None:
        budget.pay_in()
        self._budget = budget
        self._policy = policy
        self._rng = rng
        self._untried = list(reversed(candidates))
        self._asked = self._untried.pop()
        self._tries = {self._asked: 1}
        self._failures: list[tuple[Candidate, Failure]] = []

    def first(self) -> Candidate:
        return self._asked

    def after(self, failure: Failure, *, remaining_s: float) -> Ask | GiveUp:
        """What to do, now that the last candidate failed and `remaining_s` are left of the request's time."""
        self._failures.append((self._asked, failure))
        handling = failure.handling
        used_up = sum(self._tries.values()) >= self._policy.max_attempts
        if used_up or remaining_s <= 0.0 or not (handling.try_elsewhere or handling.try_again):
            return self._give_up()
        if handling.try_elsewhere and self._untried:
            return self._ask(self._untried.pop(), after_s=0.0)
        return self._again(remaining_s)

    def _again(self, remaining_s: float) -> Ask | GiveUp:
        waits: list[tuple[float, Candidate]] = []
        last = dict(self._failures)
        for candidate, failure in last.items():
            tries = self._tries[candidate]
            limit = self._policy.per_provider.get(candidate.provider, self._policy.per_candidate)
            if not failure.retryable or tries >= limit:
                continue
            wait_s = backoff_s(tries, self._policy, self._rng)
            if failure.retry_after_s is not None:
                # Everyone was told the same moment; jitter on top keeps them from returning as one.
                wait_s += failure.retry_after_s
            waits.append((wait_s, candidate))
        if not waits:
            return self._give_up()
        wait_s, candidate = min(waits, key=lambda pair: pair[0])
        if wait_s >= remaining_s or not self._budget.take():
            return self._give_up()
        return self._ask(candidate, after_s=wait_s)

    def _ask(self, candidate: Candidate, *, after_s: float) -> Ask:
        self._asked = candidate
        self._tries[candidate] = self._tries.get(candidate, 0) + 1
        return Ask(candidate, after_s)

    def _give_up(self) -> GiveUp:
        """The failure that its reader can do most about.

        That is the one which ended it all (the request itself is wrong, say); else the last that may have passed when
        the caller tries again; else that of the model asked for, not of its stand-ins. "Refused by our own breaker"
        explains less than what opened it; where nothing else was heard, whoever opens soonest is worth naming.
        """
        failures = [failure for _, failure in self._failures]
        told = [failure for failure in failures if failure.kind not in UNASKED]
        if not told:
            return GiveUp(min(failures, key=lambda failure: failure.retry_after_s or 0.0))
        if not (told[-1].handling.try_elsewhere or told[-1].retryable):
            return GiveUp(told[-1])
        passing = [failure for failure in told if failure.retryable or failure.handling.blame is Blame.BAD]
        return GiveUp(passing[-1] if passing else told[0])
