"""A provider's keys: which one may be used now, and what becomes of one that was refused. Decides; holds no secret.

    the provider answered       what is shut                     for how long
    401                         the key                          `DISABLED_S`, then one call tries it again
    403                         the key, for this model          `FORBIDDEN_S`, doubled each time up to `DISABLED_S`
    quota exhausted             the key (or for this model)      `EXHAUSTED_S`, doubled each time, or longer if so named
    429                         the key (or for this model)      what the provider named, else a jittered backoff

A key that proves good by a free call is usable again at once, and so is one that no longer stands in any state: the
states of keys are replicated, so that not every edge has to be refused by itself. `now` is a monotonic clock.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from runtime.backoff import throttle_s
from runtime.outcome import Failure, FailureKind
from runtime.wire import crosses

DISABLED, EXHAUSTED, THROTTLED = "disabled", "exhausted", "throttled"

DISABLED_S = 600.0
FORBIDDEN_S = 60.0
EXHAUSTED_S = 60.0
LONGEST_S = 3_600.0

TRIAL_S = 10.0
"""How long a key that was disabled or exhausted is kept from others while one call tries it."""

ECHO_S = 0.25
"""A state that this edge has reported itself comes back a little late; that is no longer wait, only an echo."""

MOST_STATES = 200
"""Models' names come from callers, so they must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Key:
    """A secret; `fingerprint` names it in states and reports, `shown` to people."""

    secret: str = field(repr=False)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.secret.encode()).hexdigest()[:12]

    @property
    def shown(self) -> str:
        """Its last four characters, unless they are a good part of it."""
        return f"…{self.secret[-4:]}" if len(self.secret) >= 16 else f"#{self.fingerprint[:4]}"


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """Why a key is not to be used for `retry_in_s` seconds: at all, or for one model. With no `why` it may be again."""

    key: str
    shown: str = ""
    model: str = ""
    why: str = ""
    retry_in_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Locked:
    """No key is usable for `retry_in_s`. `disabled` if no waiting alone will change that; `why` is for people."""

    retry_in_s: float
    disabled: bool
    why: str


@dataclass(slots=True)
class _Shut:
    why: str
    until: float
    times: int = 1
    trial: bool = False


class Keyring:
    """The states of one provider's keys in one process. Without keys it has nothing to say."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._shown: dict[str, str] = {}
        self._shut: dict[tuple[str, str], _Shut] = {}
        self._told: frozenset[tuple[str, str]] = frozenset()

    def __len__(self) -> int:
        return len(self._shown)

    def hold(self, keys: Iterable[Key]) -> None:
        """These keys, in this order of use; what is known of those that stay is kept."""
        wanted = {key.fingerprint: key.shown for key in keys}
        kept = {key: wanted[key] for key in self._shown if key in wanted}
        self._shown = {**{key: shown for key, shown in wanted.items() if key not in kept}, **kept}
        self._shut = {at: shut for at, shut in self._shut.items() if at[0] in wanted}

    def look(self, model: str, now: float) -> str | Locked:
        """The key that `pick` would give, or why there is none. Changes nothing."""
        if not self._shut or not self._shown:
            return next(iter(self._shown), "")
        waits = {key: self.wait_s(key, model, now) for key in self._shown}
        usable = next((key for key, wait_s in waits.items() if wait_s <= 0.0), None)
        if usable is not None:
            return usable
        held = {key: self._reason(key, model, now) for key in waits}
        why = ", ".join(f"key {self._shown[key]} is {reason}" for key, reason in held.items())
        return Locked(min(waits.values()), all(reason.startswith(DISABLED) for reason in held.values()), why)

    def pick(self, model: str, now: float) -> str | Locked:
        """The least recently used of the usable keys, "" where no key is needed, or for how long there is none."""
        key = self.look(model, now)
        if isinstance(key, str) and key:
            # The order of use is the dict's own.
            self._shown[key] = self._shown.pop(key)
            for at in ((key, ""), (key, model)):
                if (shut := self._shut.get(at)) is not None and shut.why != THROTTLED:
                    shut.until, shut.trial = now + TRIAL_S, True
        return key

    def retry_in_s(self, model: str, now: float) -> float:
        """Seconds until a key can be used; 0.0 if one can be now."""
        if not self._shut:
            return 0.0
        found = self.look(model, now)
        return found.retry_in_s if isinstance(found, Locked) else 0.0

    def on_trial(self, key: str, model: str) -> bool:
        """True if a call with this key is the one that tries it again."""
        return bool(self._shut) and any(
            shut.trial for at in ((key, ""), (key, model)) if (shut := self._shut.get(at)) is not None
        )

    def another(self, key: str, model: str, now: float) -> bool:
        """True if a key other than this one is usable."""
        return any(self.wait_s(other, model, now) <= 0.0 for other in self._shown if other != key)

    def settle(self, key: str, model: str, failure: Failure | None, now: float) -> tuple[KeyState, ...]:
        """What became of a call with this key. Returns the states that others should know, if any is news."""
        if key not in self._shown:
            return ()
        if failure is None:
            return self._works(key, model, now)
        shut_model = model if failure.scope == "model" or failure.kind is FailureKind.FORBIDDEN else ""
        match failure.kind:
            case FailureKind.UNAUTHENTICATED:
                return self._close((key, shut_model), DISABLED, DISABLED_S, now)
            case FailureKind.FORBIDDEN if failure.scope != "request":
                wait_s = min(DISABLED_S, self._grown((key, shut_model), FORBIDDEN_S))
                return self._close((key, shut_model), DISABLED, wait_s, now)
            case FailureKind.QUOTA_EXHAUSTED:
                wait_s = max(self._grown((key, shut_model), EXHAUSTED_S), failure.retry_after_s or 0.0)
                return self._close((key, shut_model), EXHAUSTED, wait_s, now)
            case FailureKind.RATE_LIMITED:
                shut = self._shut.get((key, shut_model))
                if failure.retry_after_s is None and shut is not None and now < shut.until:
                    # Sent before the wait began: the answers of one burst are not so many reasons to wait longer.
                    return ()
                named_s = failure.retry_after_s
                times = 1 if shut is None or shut.why != THROTTLED else shut.times + 1
                wait_s = throttle_s(times, self._rng) if named_s is None else named_s
                return self._close((key, shut_model), THROTTLED, wait_s, now)
            case _:
                return ()

    def heal(self, key: str) -> tuple[KeyState, ...]:
        """A free call has shown that the key is good: whatever disabled it is forgotten."""
        gone = [at for at, shut in self._shut.items() if at[0] == key and shut.why == DISABLED]
        return self._forget(gone)

    def adopt(self, states: Iterable[KeyState], now: float) -> None:
        """Take the published states. One that was published before and no longer is, is over here, too."""
        listed = {(state.key, state.model): state for state in states}
        for at in self._told - listed.keys():
            if (shut := self._shut.get(at)) is not None and shut.why != THROTTLED:
                del self._shut[at]
        self._told = frozenset(listed)
        for at, state in listed.items():
            if at[0] not in self._shown:
                continue
            shut = self._shut.get(at)
            until = now + state.retry_in_s
            if shut is None and state.retry_in_s > 0.0:
                self._put(at, _Shut(state.why, until))
            elif shut is not None and not shut.trial and until - shut.until > ECHO_S:
                shut.why, shut.until = state.why, until

    def states(self, now: float) -> tuple[KeyState, ...]:
        """All that is shut now."""
        return tuple(self._state(at, shut, now) for at, shut in self._shut.items() if shut.until > now)

    def wait_s(self, key: str, model: str, now: float) -> float:
        """Seconds until this key can be used; 0.0 or less if it can be now."""
        found = (self._shut.get((key, "")), self._shut.get((key, model)))
        return max((shut.until - now for shut in found if shut is not None), default=0.0)

    def _reason(self, key: str, model: str, now: float) -> str:
        """In words; what waiting alone does not end comes first."""
        found = [(at, self._shut[at]) for at in ((key, ""), (key, model)) if at in self._shut]
        shut = [(at, one) for at, one in found if one.until > now]
        at, one = min(shut, key=lambda pair: (pair[1].why != DISABLED, pair[0][1]))
        return f"{one.why} for {model}" if at[1] else one.why

    def _grown(self, at: tuple[str, str], base_s: float) -> float:
        shut = self._shut.get(at)
        times = 0 if shut is None or shut.why == THROTTLED else shut.times
        return min(LONGEST_S, base_s * 2.0 ** min(times, 20))

    def _works(self, key: str, model: str, now: float) -> tuple[KeyState, ...]:
        """A success forgets what is over, or what it was to try; it cuts no wait that a provider asked for."""
        if not self._shut:
            return ()
        both = ((key, ""), (key, model))
        over = [at for at in both if (shut := self._shut.get(at)) is not None and (shut.trial or shut.until <= now)]
        return self._forget(over)

    def _forget(self, gone: Sequence[tuple[str, str]]) -> tuple[KeyState, ...]:
        news = [at for at in gone if self._shut.pop(at).why != THROTTLED]
        return tuple(KeyState(key=key, shown=self._shown.get(key, ""), model=model) for key, model in news)

    def _close(self, at: tuple[str, str], why: str, wait_s: float, now: float) -> tuple[KeyState, ...]:
        shut = self._shut.get(at)
        if shut is not None and shut.until > now and not shut.trial:
            # Of one burst. A wait is never shortened; a key that is disabled stays so.
            if shut.why != DISABLED and (why != THROTTLED or shut.why == THROTTLED):
                moved = why != shut.why or now + wait_s - shut.until > ECHO_S
                shut.why, shut.until = why, max(shut.until, now + wait_s)
                return (self._state(at, shut, now),) if moved else ()
            return ()
        times = 1 if shut is None or shut.why != why else min(shut.times + 1, 20)
        shut = _Shut(why, now + wait_s, times)
        self._put(at, shut)
        return (self._state(at, shut, now),)

    def _put(self, at: tuple[str, str], shut: _Shut) -> None:
        if len(self._shut) >= MOST_STATES:
            soonest = min((one for one in self._shut if one[1]), key=lambda one: self._shut[one].until, default=None)
            if soonest is not None:
                del self._shut[soonest]
        self._shut[at] = shut

    def _state(self, at: tuple[str, str], shut: _Shut, now: float) -> KeyState:
        key, model = at
        wait_s = max(0.0, shut.until - now)
        return KeyState(key=key, shown=self._shown.get(key, ""), model=model, why=shut.why, retry_in_s=wait_s)
