"""Delayed hedging: when is a second candidate asked beside a slow first one? Decides; never calls and never waits.

    the answer is out for           then
    ---------------------------------------------------------------------------------------------------------------
    less than the wait              nothing
    longer, and the budget has a    the next candidate of the plan whose door is open is asked, too
      hedge left
    both are out                    the first with content wins; the other is cancelled, and billed for what it used
    one has failed                  the other goes on alone; if that fails as well, failover goes on with the rest

The wait is the route's `after_s`, else a quantile of the times that this candidate took before (J. Dean & L. A.
Barroso, "The Tail at Scale", CACM 2013: a second request after the 95th percentile costs 5 % more load and cuts the
tail). Whoever loses took at least until then, and is remembered so: otherwise the slow ones would never be seen, and
the quantile would sink with each hedge.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from runtime.balance.entry import Candidate
from runtime.quantile import DecayingQuantile

LEAST_SEEN = 20
"""Observations before a quantile is believed: the 95th percentile of fewer is their maximum."""

MOST_KNOWN = 512
"""Models whose times are remembered. Names come from callers, so they must not fill the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgePolicy:
    """`max_share` bounds the hedges as a share of the requests that this policy is for."""

    after_s: float | None = None
    quantile: float = 0.95
    max_share: float = 0.05


class HedgeBudget:
    """Hedges may be a share of the requests, no more: where all is slow, asking twice makes it slower.

    A balance of tokens like `RetryBudget`, but one that begins empty, so that the share holds from the first request
    on. What a time without hedges leaves is kept up to `MOST`.
    """

    MOST = 10.0

    def __init__(self) -> None:
        self._balance = 0.0

    def pay_in(self, share: float) -> None:
        """One request that may be hedged."""
        self._balance = min(self._balance + share, self.MOST)

    @property
    def covers(self) -> bool:
        # Twenty times 0.05 is a little less than 1.
        return self._balance >= 1.0 - 1e-9

    def spend(self) -> None:
        """One hedge. Ask `covers` before."""
        self._balance -= 1.0


class AnswerTimes:
    """How long each candidate takes until an answer (`streamed`: until its first content), as this process sees it."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[Candidate, bool], DecayingQuantile] = OrderedDict()

    def add(self, candidate: Candidate, seconds: float, now: float, *, streamed: bool) -> None:
        key = candidate, streamed
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = DecayingQuantile()
            if len(self._seen) > MOST_KNOWN:
                self._seen.popitem(last=False)
        else:
            self._seen.move_to_end(key)
        seen.add(seconds, now)

    def wait_s(self, policy: HedgePolicy, candidate: Candidate, *, streamed: bool) -> float | None:
        """How long to wait for this candidate before another one is asked; None where nobody can say yet."""
        if policy.after_s is not None:
            return policy.after_s
        seen = self._seen.get((candidate, streamed))
        if seen is None or seen.count < LEAST_SEEN:
            return None
        return seen.value(policy.quantile)
