"""Keeps calls off a provider that fails: closed, open, probing.

    state     admit(now)                        settle(GOOD)   settle(BAD)             settle(SILENT)
    Closed    Permit                            Closed(0)      +1; Open at the limit   unchanged
    Open      Refusal until `until`, then a
              probe's Permit, state Probing     ignored        ignored                 ignored
    Probing   Refusal until `expires`, then a   Closed(0)      Open                    Open, due at once
              new probe's Permit

Every change of state raises the spell; a permit settles only in the spell that it was given in, so a late
answer from before the breaker opened neither closes nor re-opens it. A probe that never reports expires.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.outcome import Blame
from runtime.wire import crosses


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """Opens after `failures` consecutive failures, for `open_s`; a probe holds the door for `probe_ttl_s`."""

    failures: int = 5
    open_s: float = 30.0
    probe_ttl_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Closed:
    failures: int = 0


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


@crosses
@dataclass(frozen=True, slots=True)
class Refusal:
    retry_in_s: float


class Breaker:
    """A circuit breaker under an injected clock: `now` is any monotonic reading in seconds."""

    __slots__ = ("_spell", "_state", "policy")

    def __init__(self, policy: BreakerPolicy, *, spell: int = 0) -> None:
        self.policy = policy
        self._state: State = Closed()
        self._spell = spell

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

    def admit(self, now: float) -> Permit | Refusal:
        match self._state:
            case Closed():
                return Permit(self._spell)
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
            case Closed(failures), Blame.BAD:
                if failures + 1 >= self.policy.failures:
                    return self.trip(now)
                self._state = Closed(failures + 1)
                return False
            case Closed(), Blame.GOOD:
                self._state = Closed()
                return False
            case Probing(), Blame.GOOD:
                return self._enter(Closed())
            case Probing(), Blame.BAD:
                return self.trip(now)
            case Probing(), Blame.SILENT:
                # The probe learned nothing: whoever comes next may probe.
                return self._enter(Open(now))
            case _:
                return False

    def trip(self, now: float, *, for_s: float | None = None) -> bool:
        """Open now, for `for_s` or the policy's time; what is in flight no longer counts."""
        return self._enter(Open(now + (self.policy.open_s if for_s is None else for_s)))

    def close(self) -> bool:
        """Admit again at once, whatever was."""
        return self._enter(Closed())

    def _enter(self, state: State) -> bool:
        self._state = state
        self._spell += 1
        return True
