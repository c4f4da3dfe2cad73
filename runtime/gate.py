"""May this edge call this provider now? The stricter of its own breaker and of what the authority published.

own breaker    published          admit(now)
refuses        any                Refusal
admits         throttled          Refusal until the wait is over
admits         open, too early    Refusal
admits         open, due          AskAuthority: one probe among all edges; `granted` turns its answer into a
                                    Ticket. Authority out of reach: at most one probe per jittered interval.
                                    While one caller asks, the others get a Refusal
admits         closed             Ticket
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from runtime.breaker import Breaker, BreakerPolicy, Closed, Permit, Refusal
from runtime.feed import Published
from runtime.outcome import Blame, Failure, FailureKind

LONGEST_THROTTLE_S = 60.0
"""After a 429 that named no time, however many came before."""

ASKING_S = 1.0
"""How long the authority's answer may take; who comes meanwhile is told to come again then."""

NEWS_S = 0.1
"""A wait that grew by less is no news for others: a burst of 429s is one event, not a report each."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to make one call; settle it exactly once. `spell` is the authority's, for the report."""

    permit: Permit
    spell: int
    probe: bool = False


@dataclass(frozen=True, slots=True)
class AskAuthority:
    """The published breaker is due for a probe: ask its authority, then call `granted`, or `withdrawn`."""

    permit: Permit


class Gate:
    """One provider's door at one edge. `now` is the edge's own monotonic clock."""

    def __init__(self, policy: BreakerPolicy, rng: random.Random) -> None:
        self._policy = policy
        self._rng = rng
        self._breaker = Breaker(policy)
        self._published = Published(provider="")
        self._published_until = 0.0
        self._throttled_until = 0.0
        self._throttles = 0
        self._own_probe_at = 0.0
        self._asking = False

    def retry_in_s(self, now: float) -> float:
        """Seconds until a call would be considered; 0.0 if it would be now."""
        wait_s = max(self._breaker.retry_in_s(now), self._throttled_until - now)
        if self._published.open:
            wait_s = max(wait_s, self._published_until - now)
        return max(0.0, wait_s)

    def why(self, now: float) -> str:
        """In a word, for people: "open", "throttled" or "closed"."""
        if self._published.open or not isinstance(self._breaker.state, Closed):
            return "open"
        return "throttled" if self._throttled_until > now else "closed"

    def own_retry_in_s(self, now: float) -> float:
        """What this edge's own breaker and throttling say, without the published view."""
        return max(self._breaker.retry_in_s(now), self._throttled_until - now, 0.0)

    def adopt(self, published: Published, now: float) -> None:
        """Take the authority's newest view. A local trip is not healed by it."""
        self._published = published
        self._published_until = now + published.retry_in_s
        # The provider asked for this wait: nobody shortens it, and an authority that restarted may not know it.
        until = now + published.throttled_for_s
        if until - self._throttled_until > ECHO_S:
            self._throttled_until = until

    def admit(self, now: float) -> Ticket | AskAuthority | Refusal:
        wait_s = self.retry_in_s(now)
        if wait_s > 0.0:
            return Refusal(wait_s)
        if self._published.open and self._asking:
            return Refusal(ASKING_S)
        permit = self._breaker.admit(now)
        if isinstance(permit, Refusal):
            return permit
        if self._published.open:
            self._asking = True
            return AskAuthority(permit)
        return Ticket(permit, self._published.spell, permit.probe)

    def granted(self, ask: AskAuthority, answer: Permit | Refusal | None, now: float) -> Ticket | Refusal:
        """The authority's answer to `ask`; None if it could not be reached."""
        self._asking = False
        match answer:
            case _ if now < self._throttled_until:
                # The provider named a wait while its authority was asked.
                self._breaker.settle(ask.permit, Blame.SILENT, now)
                return Refusal(self._throttled_until - now)
            case Permit(spell):
                return Ticket(ask.permit, spell, probe=True)
            case Refusal(retry_in_s):
                self._published_until = now + retry_in_s
            case None if now >= self._own_probe_at:
                self._own_probe_at = now + self._policy.open_s * self._rng.uniform(0.75, 1.25)
                return Ticket(ask.permit, self._published.spell, probe=True)
            case None:
                self._published_until = self._own_probe_at
        self._breaker.settle(ask.permit, Blame.SILENT, now)
        return Refusal(max(0.0, self._published_until - now))

    def withdrawn(self, ask: AskAuthority, now: float) -> None:
        """The caller went away before the authority answered: whoever comes next may ask."""
        self._asking = False
        self._breaker.settle(ask.permit, Blame.SILENT, now)

    def settle(self, ticket: Ticket, failure: Failure | None, now: float) -> bool:
        """What became of the call. True if others should hear of it at once, not with the next batch."""
        blame = Blame.GOOD if failure is None else failure.handling.blame
        changed = self._breaker.settle(ticket.permit, blame, now)
        if failure is None:
            self._throttles = 0
        elif failure.kind is FailureKind.RATE_LIMITED:
            before, self._throttled_until = self._throttled_until, self._throttled(failure.retry_after_s, now)
            changed |= self._throttled_until - max(before, now) > NEWS_S
        return changed or ticket.probe

    def throttled_for_s(self, now: float) -> float:
        return max(0.0, self._throttled_until - now)

    def _throttled(self, retry_after_s: float | None, now: float) -> float:
        """Until when, after one more 429. A wait that was named is never shortened."""
        if retry_after_s is not None:
            return max(self._throttled_until, now + retry_after_s)
        if now < self._throttled_until:
            # Sent before the wait began: the answers of one burst are not so many reasons to wait longer.
            return self._throttled_until
        self._throttles = min(self._throttles + 1, 10)
        return now + max(1.0, self._rng.uniform(0.0, min(LONGEST_THROTTLE_S, 2.0**self._throttles)))


ECHO_S = 0.25
"""What this edge has reported itself comes back from the authority a little late. That is no longer wait, only an echo
of the same: without this, a call that waited as long as it was told is refused all the same."""
