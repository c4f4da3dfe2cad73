"""Keeps calls off a provider that fails: closed, open, probing.

    state     admit(now)                        settle(GOOD)   settle(BAD)             settle(SILENT)
    Closed    Permit                            Closed(0)      +1; Open at the limit   unchanged
    Open      Refusal until `until`, then a
              probe's Permit, state Probing     ignored        ignored                 ignored
    Probing   Refusal until `expires`, then a   Closed(0)      Open                    Open, due at once
              new probe's Permit

Every change of state raises the spell; a permit settles only in the spell that it was given in, so a late
answer from before the breaker opened neither closes nor re-opens it. A probe that never reports expires.

It stays open for `open_s` the first time, and twice as long each time that it opens again before a closing has held
for `ramp_s`, up to `open_max_s`; chance spreads all but the longest by a quarter, so that those who opened together
do not probe together.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from runtime.outcome import Blame
from runtime.values import maker
from runtime.wire import crosses


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """Opens after `failures` consecutive failures, for `open_s`, growing to `open_max_s`; a probe holds the door for
    `probe_ttl_s`. What has just closed gets its full share of the traffic back over `ramp_s`."""

    failures: int = 5
    open_s: float = 30.0
    probe_ttl_s: float = 30.0
    open_max_s: float = 60.0
    ramp_s: float = 10.0


LEAST_SHARE = 0.1
"""What has just closed gets at least so much of the traffic: with none it would learn nothing."""


def share_since(healed_at: float, now: float, policy: BreakerPolicy) -> float:
    """The share (0..1] of its traffic that a door should get that closed at `healed_at`."""
    if policy.ramp_s <= 0.0 or now >= healed_at + policy.ramp_s:
        return 1.0
    return max(LEAST_SHARE, (now - healed_at) / policy.ramp_s)


@dataclass(frozen=True, slots=True)
class Closed:
    """`failures` in a row so far; `healed_at` is when it closed after having been open."""

    failures: int = 0
    healed_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class Open:
    until: float


@dataclass(frozen=True, slots=True)
class Probing:
    expires: float


State = Closed | Open | Probing


@crosses
@dataclass(frozen=True, slots=True)
class Permit:
    spell: int
    probe: bool = False


new_permit = maker(Permit)


@crosses
@dataclass(frozen=True, slots=True)
class Refusal:
    retry_in_s: float


class Breaker:
    """A circuit breaker under an injected clock: `now` is any monotonic reading in seconds.

    It begins in `spell` and takes later ones from `spells`, which several breakers may share. Without `rng` there is
    no jitter.
    """

    __slots__ = ("_openings", "_rng", "_spell", "_spells", "_state", "policy")

    def __init__(
        self,
        policy: BreakerPolicy,
        *,
        spell: int = 0,
        spells: Iterator[int] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.policy = policy
        self._state: State = Closed()
        self._spell = spell
        self._spells = itertools.count(spell + 1) if spells is None else spells
        self._rng = rng
        self._openings = 0

    @property
    def state(self) -> State:
        return self._state

    @property
    def spell(self) -> int:
        return self._spell

    def retry_in_s(self, now: float) -> float:
        """Seconds until a call would be admitted; 0.0 if it would be now. Changes nothing."""
        match self._state:
            case Closed():
                return 0.0
            case Open(until):
                return max(0.0, until - now)
            case Probing(expires):
                return max(0.0, expires - now)

    def share(self, now: float) -> float:
        """The share (0..1] of the traffic that a door should get which has just closed."""
        return share_since(self._state.healed_at, now, self.policy) if isinstance(self._state, Closed) else 1.0

    def ramp_left_s(self, now: float) -> float:
        """Seconds until what has just closed gets all of its traffic again."""
        return max(0.0, self._state.healed_at + self.policy.ramp_s - now) if isinstance(self._state, Closed) else 0.0

    def admit(self, now: float) -> Permit | Refusal:
        match self._state:
            case Closed():
                return new_permit(self._spell)
            case Open(until) if now < until:
                return Refusal(until - now)
            case Probing(expires) if now < expires:
                return Refusal(expires - now)
            case Open() | Probing():
                # A probe that never reports must not hold the door forever.
                self._enter(Probing(now + self.policy.probe_ttl_s))
                return Permit(self._spell, probe=True)

    def settle(self, permit: Permit, blame: Blame, now: float) -> bool:
        """Count what became of a permit. True if that changed the state."""
        if permit.spell != self._spell:
            return False
        match self._state, blame:
            case Closed(failures, healed_at), Blame.BAD:
                if failures + 1 >= self.policy.failures:
                    return self.trip(now)
                self._state = Closed(failures + 1, healed_at)
                return False
            case Closed(_, healed_at), Blame.GOOD:
                self._state = Closed(0, healed_at)
                return False
            case Probing(), Blame.GOOD:
                return self.heal(now)
            case Probing(), Blame.BAD:
                return self.trip(now)
            case Probing(), Blame.SILENT:
                # The probe learned nothing: whoever comes next may probe.
                return self._enter(Open(now))
            case _:
                return False

    def trip(self, now: float, *, for_s: float | None = None) -> bool:
        """Open now, for `for_s` or the policy's time; what is in flight no longer counts."""
        return self._enter(Open(now + (self._next_open_s(now) if for_s is None else for_s)))

    def heal(self, now: float) -> bool:
        """Closed by a success: its traffic comes back by and by."""
        return self._enter(Closed(0, now))

    def close(self) -> bool:
        """Admit again at once, whatever was."""
        self._openings = 0
        return self._enter(Closed())

    def _next_open_s(self, now: float) -> float:
        if isinstance(self._state, Closed) and now >= self._state.healed_at + self.policy.ramp_s:
            self._openings = 0
        longest_s = max(self.policy.open_s, self.policy.open_max_s)
        # The exponent is bounded, for 2.0**1024 is no float.
        open_s = self.policy.open_s * 2.0 ** min(self._openings, 60)
        self._openings += 1
        return min(longest_s, open_s * (self._rng.uniform(0.75, 1.25) if self._rng else 1.0))

    def _enter(self, state: State) -> bool:
        self._state = state
        self._spell = next(self._spells)
        return True
