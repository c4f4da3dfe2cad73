"""One door at one edge: of a whole provider, or of one model there. The stricter of its own breaker and of what the
authority published. `runtime.gate` joins a provider's doors.

own breaker    published          may a call pass?
refuses        any                no
admits         throttled          not until the wait is over
admits         open, too early    no
admits         open, due          one probe among all edges: `probing` says who asks the authority for it.
                                    Authority out of reach: at most one probe per jittered interval
admits         closed             yes
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterator

from runtime.backoff import throttle_s
from runtime.breaker import Breaker, BreakerPolicy, Closed, share_since
from runtime.feed import DoorState

MOST_TOLD = 16
"""Waits that a door knows for its own when they come back."""

NEWS_S = 0.1
"""A wait that grew by less is no news for others: a burst of 429s is one event, not a report each."""

ECHO_S = 0.25
"""What this edge has reported itself comes back from the authority a little late. That is no longer wait, only an echo
of the same: without this, a call that waited as long as it was told is refused all the same."""


class Door:
    """`now` is the edge's own monotonic clock."""

    __slots__ = (
        "_rng",
        "_throttles",
        "_told",
        "asking",
        "breaker",
        "healed_at",
        "open",
        "open_until",
        "own_probe_at",
        "until",
    )

    def __init__(self, policy: BreakerPolicy, rng: random.Random, spells: Iterator[int]) -> None:
        self._rng = rng
        self._throttles = 0
        self._told: deque[int] = deque(maxlen=MOST_TOLD)
        # A door that was forgotten and made anew must not take late results for its own.
        self.breaker = Breaker(policy, spell=next(spells), spells=spells, rng=rng)
        self.until = 0.0
        """Until when the provider asked us to wait."""
        self.open = False
        self.open_until = 0.0
        """The authority's breaker, and when it is due for a probe."""
        self.own_probe_at = 0.0
        self.asking = False
        self.healed_at = -math.inf

    def retry_in_s(self, now: float) -> float:
        """Seconds until a call would be considered; 0.0 if it would be now."""
        wait_s = self.own_retry_in_s(now)
        return max(wait_s, self.open_until - now) if self.open else wait_s

    def own_retry_in_s(self, now: float) -> float:
        """What this edge's own breaker and throttling say, without the published view."""
        return max(self.breaker.retry_in_s(now), self.until - now, 0.0)

    def why(self, now: float) -> str:
        """In a word, for people: "open", "throttled" or "closed"."""
        if self.open or not isinstance(self.breaker.state, Closed):
            return "open"
        return "throttled" if self.until > now else "closed"

    def share(self, now: float) -> float:
        """The share (0..1] of its traffic that it should get: less than all while it has just closed."""
        return min(self.breaker.share(now), share_since(self.healed_at, now, self.breaker.policy))

    def is_idle(self, now: float) -> bool:
        """True if forgetting it would let nobody pass who may not pass now."""
        return self.why(now) == "closed" and not self.asking

    def adopt(self, state: DoorState, now: float) -> None:
        """Take the authority's newest view. A local trip is not healed by it."""
        if state.ramp_left_s > 0.0:
            self.healed_at = now + state.ramp_left_s - self.breaker.policy.ramp_s
        self.open, self.open_until = state.open, now + state.retry_in_s
        # The provider asked for this wait: nobody shortens it, and an authority that restarted may not know it. What
        # this edge was told itself comes back late, and is no longer wait for that.
        until = now + state.throttled_for_s
        if until - self.until > ECHO_S and state.wait_id not in self._told:
            self.until = until

    def view(self, now: float) -> DoorState:
        """What a new authority must know of it. An own trip stays this edge's own."""
        wait_s = max(0.0, self.open_until - now) if self.open else 0.0
        throttled_for_s = max(0.0, self.until - now)
        return DoorState(open=self.open, retry_in_s=wait_s, throttled_for_s=throttled_for_s, wait_id=self.wait_id)

    def throttle(self, retry_after_s: float | None, now: float) -> bool:
        """One more 429, or another answer that names a wait. True if that is news for others.

        A wait that was named is never shortened, and not made longer by us.
        """
        before = self.until
        if retry_after_s is not None:
            self.until = max(before, now + retry_after_s)
        elif now >= before:
            # Else it was sent before the wait began: a burst's answers are not so many reasons to wait longer.
            self._throttles += 1
            self.until = now + throttle_s(self._throttles, self._rng)
        if self.until > before:
            self._told.append(self._rng.getrandbits(62) + 1)
        return self.until - max(before, now) > NEWS_S

    @property
    def wait_id(self) -> int:
        """Of the last wait that this edge was told; 0 before the first."""
        return self._told[-1] if self._told else 0

    def answered(self) -> None:
        """A success: how often it was too much no longer counts."""
        self._throttles = 0

    def probe_by_itself(self, now: float) -> None:
        """The authority is out of reach: this call may pass, the next one not for an interval."""
        self.own_probe_at = now + self.breaker.policy.open_s * self._rng.uniform(0.75, 1.25)
