"""The last word on one provider: its breakers for the whole cluster, its throttling, its keys, its probe permits.

An edge trips itself at once on consecutive failures. A cluster-wide breaker opens on the failure rate of the last
seconds as at least two edges report it (or the only edge there is), so that one node with broken egress does not shut
a provider for all. Where each edge has shut it by itself only their probes are left, too few for a rate: then as many
failures in a row count, however long they took. Each model has a breaker of its own; the provider's opens where calls
do not reach it, or where two models fail at once. While one is open it grants one probe at a time.

    opened by          closed by
    traffic            the first content that a permitted probe brings
    a free call        the same, or the next free call
    an operator        the same, or an operator

All doors take their spells from one rising number, and calls carry the highest that their edge had heard of: a door
counts what began in its own spell or later, so late results of an earlier one change nothing.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

from runtime.breaker import Breaker, BreakerPolicy, Closed, Permit, Refusal
from runtime.feed import OTHER, AuthorityPolicy, DoorState, Observed, Published
from runtime.keyring import DISABLED, THROTTLED, KeyState
from runtime.outcome import Blame
from runtime.window import Tally, Window

MOST_WARDS = 500
"""Models' names come from callers; beyond this many that are in trouble, only the provider's own door counts."""

MOST_KEY_STATES = 500

LATE_S = 10.0
"""How long after its start an authority still believes what an edge remembers of its earlier life."""


class _Ward:
    """One door for the whole cluster."""

    __slots__ = ("breaker", "by_free_call", "throttled_until", "wait_id", "why", "window")

    def __init__(self, policy: AuthorityPolicy, spell: int, spells: Iterator[int], rng: random.Random | None) -> None:
        self.breaker = Breaker(breaker_of(policy), spell=spell, spells=spells, rng=rng)
        self.window = Window(span_s=policy.span_s)
        self.throttled_until = 0.0
        self.wait_id = 0
        self.by_free_call = False
        self.why = ""

    @property
    def is_open(self) -> bool:
        return not isinstance(self.breaker.state, Closed)

    def is_quiet(self, now: float) -> bool:
        """True if it says no more than one that was just made."""
        calm = not self.is_open and now >= self.throttled_until and self.breaker.share(now) >= 1.0
        return calm and self.window.tally(now).total == 0

    def trip(self, now: float, why: str, *, for_s: float | None = None) -> None:
        self.breaker.trip(now, for_s=for_s)
        self.window.clear()
        self.why, self.by_free_call = why, False

    def wait(self, wait_s: float, now: float, wait_id: int) -> bool:
        """The provider asked for it. True if it is longer than what was known."""
        if wait_s <= 0.0 or now + wait_s <= self.throttled_until:
            return False
        self.throttled_until, self.wait_id = now + wait_s, wait_id
        return True

    def retry_in_s(self, now: float) -> float:
        return max(self.throttled_until - now, self.breaker.retry_in_s(now))

    def state(self, now: float) -> DoorState:
        return DoorState(
            open=self.is_open,
            retry_in_s=self.breaker.retry_in_s(now),
            throttled_for_s=max(0.0, self.throttled_until - now),
            why=self.why,
            ramp_left_s=self.breaker.ramp_left_s(now),
            wait_id=self.wait_id,
        )

    def count(self, batch: Observed, bad: int, edge: str, now: float) -> bool:
        """Calls of an earlier spell do not count. True if the state changed.

        Those without one began before their edge had heard of any authority: while all is well they count.
        """
        if batch.spell < self.breaker.spell and (batch.spell or self.is_open):
            return False
        if not self.is_open:
            self.window.add(now, good=batch.good, bad=bad, edge=edge, unreached=min(bad, batch.unreached))
            return False
        # One of these calls was the probe, if one is out at all. A probe succeeds at its first content, also where
        # the rest of its answer came to grief in the same batch.
        blame = Blame.GOOD if batch.good else Blame.BAD if bad else Blame.SILENT
        if not self.breaker.settle(Permit(self.breaker.spell, probe=True), blame, now):
            return False
        if blame is Blame.GOOD:
            self.window.clear()
            self.why = ""
        elif blame is Blame.BAD:
            self.by_free_call = False
        return True


class Authority:
    """Decides; never calls. `now` is its process's monotonic clock."""

    def __init__(
        self,
        provider: str,
        policy: AuthorityPolicy,
        *,
        now: float,
        spell: int = 0,
        last: Published | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """`spell` is above all that this authority had before it restarted; `last` is what it published then, or what
        its edges remember of it."""
        self._provider = provider
        self._policy = policy
        self._rng = rng
        self._first = max(spell, last.spell + 1 if last else 0)
        self._spells = itertools.count(self._first + 1)
        self._floor = self._first
        self._whole = _Ward(policy, self._first, self._spells, rng)
        self._models: dict[str, _Ward] = {}
        self._keys: dict[tuple[str, str], tuple[KeyState, float]] = {}
        self._seen: dict[str, float] = {}
        self._began = now
        self._traffic_at = now
        if last is not None:
            # A restart neither reopens a flood nor grants a second probe before its time.
            self._adopt(last, now)

    def remember(self, view: Published, now: float) -> bool:
        """What an edge knows of this authority's earlier life and tells late: the stricter counts. True if it changed
        anything."""
        if view.spell >= self._first or now - self._began > LATE_S:
            return False
        return self._adopt(view, now)

    def apply(self, edge: str, observed: Iterable[Observed], now: float) -> bool:
        """Count one edge's report. True if the published state changed."""
        self._seen[edge] = now
        changed = False
        for batch in observed:
            if batch.good or batch.bad:
                self._traffic_at = now
            changed |= self._whole.wait(batch.throttled_for_s, now, batch.wait_id)
            for state in batch.keys:
                changed |= self._note(state, now)
            changed |= self._whole.count(batch, batch.bad, edge, now)
            in_trouble = batch.bad > 0 or batch.model_throttled_for_s > 0.0
            ward = self._ward(batch.model, now) if in_trouble else self._models.get(batch.model)
            if ward is not None:
                changed |= ward.wait(batch.model_throttled_for_s, now, batch.model_wait_id)
                changed |= ward.count(batch, batch.bad - batch.unreached, edge, now)
        return self._judge(now) or changed

    def follow(self, policy: AuthorityPolicy) -> None:
        """Go by another policy from the next change of state on."""
        self._policy = policy
        for ward in (self._whole, *self._models.values()):
            ward.breaker.policy = breaker_of(policy)

    def permit(self, now: float, model: str = "") -> Permit | Refusal:
        """Leave to probe, to one edge at a time, and not before the provider's own wait is over."""
        own = self._models.get(model)
        wards = [self._whole] if own is None else [self._whole, own]
        wait_s = max(ward.retry_in_s(now) for ward in wards)
        if wait_s > 0.0:
            return Refusal(wait_s)
        probe = False
        for ward in wards:
            admitted = ward.breaker.admit(now)
            probe |= isinstance(admitted, Permit) and admitted.probe
        return Permit(self._spell, probe=probe)

    def trip(self, now: float, *, for_s: float | None = None, why: str = "opened by an operator") -> None:
        self._whole.trip(now, why, for_s=for_s)

    def close(self) -> None:
        """Admit at once and forget what led to the opening, also what an edge may still tell of it."""
        self._began = -math.inf
        self._whole.breaker.close()
        self._whole.window.clear()
        self._whole.throttled_until, self._whole.why = 0.0, ""
        self._models.clear()
        self._keys.clear()
        self._floor = self._whole.breaker.spell

    def published(self, now: float) -> Published:
        whole = self._whole.state(now)
        states = {model: ward.state(now) for model, ward in self._models.items()}
        return Published(
            provider=self._provider,
            spell=self._spell,
            open=whole.open,
            retry_in_s=whole.retry_in_s,
            throttled_for_s=whole.throttled_for_s,
            why=whole.why,
            ramp_left_s=whole.ramp_left_s,
            wait_id=whole.wait_id,
            models={model: state for model, state in states.items() if state.is_news},
            keys=self._locked(now),
        )

    # Free calls.

    def wants_free_call(self, now: float) -> bool:
        """True if nobody has called this provider for a while, or if a free call has shut it."""
        if self._policy.health_every_s <= 0.0:
            return False
        if self._whole.is_open:
            return self._whole.by_free_call
        return now - self._traffic_at >= self._policy.health_every_s and now >= self._whole.throttled_until

    def free_call(self, now: float, *, reached: bool, why: str = "") -> bool:
        """What a free call showed. True if it changed the state.

        One that reached nobody shuts an idle provider, so that the next caller need not find out; what it has shut, the
        next one opens again.
        """
        if reached and self._whole.is_open and self._whole.by_free_call:
            self._whole.why = ""
            return self._whole.breaker.heal(now)
        if reached or not self.wants_free_call(now):
            return False
        self._whole.trip(now, why)
        self._whole.by_free_call = True
        return True

    def disabled_keys(self, now: float) -> tuple[str, ...]:
        """Fingerprints of keys that a free call might find good again."""
        return tuple({key for (key, model), (state, _) in self._keys.items() if state.why == DISABLED and not model})

    def key_works(self, key: str) -> bool:
        """A free call has shown it. True if that changed the state."""
        return self._keys.pop((key, ""), None) is not None

    # How it does it.

    @property
    def _spell(self) -> int:
        """The newest of all."""
        return max(self._floor, self._whole.breaker.spell, *(ward.breaker.spell for ward in self._models.values()), 0)

    def _ward(self, model: str, now: float) -> _Ward | None:
        if model in self._models or model == OTHER:
            return self._models.get(model)
        if len(self._models) >= MOST_WARDS:
            self._sweep(now)
        if len(self._models) >= MOST_WARDS:
            return None
        # Not a new spell: that would make calls late that began while nothing had happened to this model.
        return self._models.setdefault(model, _Ward(self._policy, self._floor, self._spells, self._rng))

    def _sweep(self, now: float) -> None:
        """Forget models of which nothing is to be said. Late results from before must not count as new ones."""
        for model in [model for model, ward in self._models.items() if ward.is_quiet(now)]:
            self._floor = max(self._floor, self._models.pop(model).breaker.spell)

    def _judge(self, now: float) -> bool:
        self._seen = {edge: at for edge, at in self._seen.items() if now - at <= self._policy.edge_ttl_s}
        changed = [self._judge_model(ward, now) for ward in self._models.values()]
        return self._judge_whole(now) or any(changed)

    def _judge_model(self, ward: _Ward, now: float) -> bool:
        if ward.is_open:
            return False
        if why := self._why(ward.window.tally(now)):
            ward.trip(now, why)
        return ward.is_open

    def _judge_whole(self, now: float) -> bool:
        ours = self._policy
        if self._whole.is_open:
            return False
        tally = self._whole.window.tally(now)
        if not (why := self._why(tally)):
            return False
        failing = sum(
            ward.is_open or (own.bad > 0 and own.failure_rate >= ours.failure_rate)
            for ward in self._models.values()
            for own in (ward.window.tally(now),)
        )
        reached = tally.unreached_rate < ours.failure_rate and tally.row_unreached < ours.min_calls
        if reached and failing < 2:
            return False
        self._whole.trip(now, why)
        return True

    def _enough(self, calls: int, complainants: int) -> bool:
        return calls >= self._policy.min_calls and complainants >= min(2, len(self._seen))

    def _why(self, tally: Tally) -> str:
        """Why a door is to be shut, in words; empty where it is not."""
        if tally.failure_rate >= self._policy.failure_rate and self._enough(tally.total, tally.complainants):
            return f"{tally.bad} of {tally.total} calls failed in {self._policy.span_s:.0f} s"
        # An only edge's own breaker does as much.
        if tally.in_a_row >= self._policy.min_calls and tally.row_complainants >= 2:
            return f"{tally.in_a_row} calls failed in a row"
        return ""

    def _note(self, state: KeyState, now: float) -> bool:
        """A key's state as an edge has seen it change. True if it is news."""
        at = (state.key, state.model)
        known, until = self._keys.get(at, (None, 0.0))
        if not state.why:
            return self._keys.pop(at, None) is not None
        if known is not None and known.why == state.why == THROTTLED and now + state.retry_in_s <= until:
            return False
        if known is None and len(self._keys) >= MOST_KEY_STATES:
            self._locked(now)
            if len(self._keys) >= MOST_KEY_STATES:
                return False
        self._keys[at] = (state, now + state.retry_in_s)
        return True

    def _locked(self, now: float) -> tuple[KeyState, ...]:
        """The keys that are not to be used; those whose time is over are forgotten."""
        self._keys = {at: found for at, found in self._keys.items() if found[1] > now}
        return tuple(replace(state, retry_in_s=until - now) for state, until in self._keys.values())

    def _adopt(self, view: Published, now: float) -> bool:
        """Take over what was published before, where it is stricter."""
        changed = False
        doors = {"": view.whole, **view.models}
        for model, state in doors.items():
            ward = self._ward(model, now) if model else self._whole
            if ward is None:
                continue
            changed |= ward.wait(state.throttled_for_s, now, state.wait_id)
            if state.open and state.retry_in_s >= ward.breaker.retry_in_s(now):
                ward.trip(now, state.why, for_s=state.retry_in_s)
                changed = True
        for one in view.keys:
            changed |= self._note(one, now)
        return changed


def breaker_of(policy: AuthorityPolicy) -> BreakerPolicy:
    return BreakerPolicy(
        open_s=policy.open_s, probe_ttl_s=policy.probe_ttl_s, open_max_s=policy.open_max_s, ramp_s=policy.ramp_s
    )
