"""Which provider next, and when? Decides; never calls and never waits.

    failure of a candidate                       then
    ---------------------------------------------------------------------------------------
    another candidate is untried, and the kind   ask it at once
      says `try_elsewhere`
    none is untried, and the kind says           ask the best of those again, after a full-jitter backoff,
      `try_again`                                  or after what the server named, if that fits the deadline
    otherwise, or the attempts are used up       give up with the most telling failure

Somebody else comes before a second try: a healthy provider answers now, a failing one after a wait at best.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.outcome import Failure, FailureKind
from runtime.strategy import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`max_attempts` counts all tries of a request, `per_candidate` those of one provider and model."""

    max_attempts: int = 4
    per_candidate: int = 2
    base_s: float = 0.2
    cap_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Ask:
    candidate: Candidate
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class GiveUp:
    failure: Failure


def backoff_s(retry: int, policy: RetryPolicy, rng: random.Random) -> float:
    """Full jitter (M. Brooker, "Exponential Backoff and Jitter", AWS 2015): uniform in [0, min(cap, base·2ⁿ)]."""
    return rng.uniform(0.0, min(policy.cap_s, policy.base_s * 2.0**retry))


class Failover:
    """One request's way through its candidates. `candidates` is not empty."""

    __slots__ = ("_asked", "_failures", "_policy", "_rng", "_tries", "_untried")

    def __init__(self, candidates: Sequence[Candidate], policy: RetryPolicy, rng: random.Random) -> None:
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
            if not failure.retryable or tries >= self._policy.per_candidate:
                continue
            wait_s = backoff_s(tries, self._policy, self._rng)
            if failure.retry_after_s is not None:
                # Everyone was told the same moment; jitter on top keeps them from returning as one.
                wait_s += failure.retry_after_s
            waits.append((wait_s, candidate))
        if not waits:
            return self._give_up()
        wait_s, candidate = min(waits, key=lambda pair: pair[0])
        return self._ask(candidate, after_s=wait_s) if wait_s < remaining_s else self._give_up()

    def _ask(self, candidate: Candidate, *, after_s: float) -> Ask:
        self._asked = candidate
        self._tries[candidate] = self._tries.get(candidate, 0) + 1
        return Ask(candidate, after_s)

    def _give_up(self) -> GiveUp:
        """The last failure that says something: "refused by our own breaker" explains less than what opened it."""
        failures = [failure for _, failure in self._failures]
        telling = [failure for failure in failures if failure.kind is not FailureKind.REFUSED]
        return GiveUp((telling or failures)[-1])
