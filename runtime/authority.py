"""The last word on one provider: its breaker for the whole cluster, its throttling, its probe permits.

An edge trips itself at once on consecutive failures. The cluster-wide breaker opens on the failure rate of the
last seconds as at least two edges report it (or the only edge there is), so that one node with broken egress
does not shut a provider for all. While it is open it grants one probe at a time.
"""

from __future__ import annotations

from collections.abc import Iterable

from runtime.breaker import Breaker, BreakerPolicy, Closed, Permit, Refusal
from runtime.feed import AuthorityPolicy, Observed, Published
from runtime.outcome import Blame
from runtime.window import Window


class Authority:
    """Decides; never calls. `now` is its process's monotonic clock."""

    def __init__(
        self, provider: str, policy: AuthorityPolicy, *, now: float, spell: int = 0, last: Published | None = None
    ) -> None:
        """`spell` is above all that this authority had before it restarted; `last` is what it published then."""
        self._provider = provider
        self._policy = policy
        breaker = BreakerPolicy(open_s=policy.open_s, probe_ttl_s=policy.probe_ttl_s)
        self._breaker = Breaker(breaker, spell=max(spell, last.spell + 1 if last else 0))
        self._window = Window(span_s=policy.span_s)
        self._seen: dict[str, float] = {}
        self._throttled_until = now + (last.throttled_for_s if last else 0.0)
        self._why = ""
        if last is not None and last.open:
            # A restart neither reopens a flood nor grants a second probe before its time.
            self.trip(now, for_s=last.retry_in_s, why=last.why)

    def apply(self, edge: str, observed: Iterable[Observed], now: float) -> bool:
        """Count one edge's report. True if the published state changed."""
        self._seen[edge] = now
        changed = False
        for batch in observed:
            if batch.throttled_for_s > 0.0 and now + batch.throttled_for_s > self._throttled_until:
                self._throttled_until = now + batch.throttled_for_s
                changed = True
            if batch.spell != self._breaker.spell:
                continue
            if isinstance(self._breaker.state, Closed):
                self._window.add(now, good=batch.good, bad=batch.bad, edge=edge)
            else:
                changed |= self._settle_probe(batch, now)
        return self._judge(now) or changed

    def follow(self, policy: AuthorityPolicy) -> None:
        """Go by another policy from the next change of state on."""
        self._policy = policy
        self._breaker.policy = BreakerPolicy(open_s=policy.open_s, probe_ttl_s=policy.probe_ttl_s)

    def permit(self, now: float) -> Permit | Refusal:
        """Leave to probe, to one edge at a time, and not before the provider's own wait is over."""
        if now < self._throttled_until:
            return Refusal(self._throttled_until - now)
        return self._breaker.admit(now)

    def trip(self, now: float, *, for_s: float | None = None, why: str = "opened by an operator") -> None:
        self._breaker.trip(now, for_s=for_s)
        self._why = why

    def close(self) -> None:
        """Admit at once and forget what led to the opening."""
        self._breaker.close()
        self._window.clear()
        self._throttled_until = 0.0
        self._why = ""

    def published(self, now: float) -> Published:
        return Published(
            provider=self._provider,
            spell=self._breaker.spell,
            open=not isinstance(self._breaker.state, Closed),
            retry_in_s=self._breaker.retry_in_s(now),
            throttled_for_s=max(0.0, self._throttled_until - now),
            why=self._why,
        )

    def _settle_probe(self, batch: Observed, now: float) -> bool:
        """One of these calls was the probe, if one is out at all."""
        # A probe succeeds at its first content, also where the rest of its answer came to grief in the same batch.
        blame = Blame.GOOD if batch.good else Blame.BAD if batch.bad else Blame.SILENT
        if not self._breaker.settle(Permit(batch.spell, probe=True), blame, now):
            return False
        if blame is Blame.GOOD:
            self._window.clear()
            self._why = ""
        return True

    def _judge(self, now: float) -> bool:
        if not isinstance(self._breaker.state, Closed):
            return False
        self._seen = {edge: at for edge, at in self._seen.items() if now - at <= self._policy.edge_ttl_s}
        tally = self._window.tally(now)
        enough = tally.total >= self._policy.min_calls and tally.failure_rate >= self._policy.failure_rate
        if not enough or tally.complainants < min(2, len(self._seen)):
            return False
        self._breaker.trip(now)
        self._why = f"{tally.bad} of {tally.total} calls failed in {self._policy.span_s:.0f} s"
        self._window.clear()
        return True
