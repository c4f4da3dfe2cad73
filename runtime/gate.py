"""May this edge call this model of this provider now, and with which key?

One door stands before the whole provider, one before each model that is called, and a call needs both. What a
failure shuts is the narrowest thing that it speaks of:

    failure                                  the model's door        the provider's door
    of the connection (`scope` provider)     nothing                 bad
    any other that blames                    bad                     bad, once it is `failures` in a row at two models
    success                                  good                    good
    429, or any wait that was named          where the answer names the model; else the key's (`runtime.keyring`),
                                             and the provider's where there is but one key
    401, 403, quota exhausted                the key's

Doors of models are made as they are called and forgotten when they have nothing to say: names come from callers.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from dataclasses import dataclass

from runtime.backoff import LONGEST_THROTTLE_S
from runtime.breaker import BreakerPolicy, Closed, Permit, Refusal
from runtime.door import ECHO_S, Door
from runtime.feed import DoorState, Published
from runtime.keyring import Keyring, KeyState
from runtime.outcome import Blame, Failure, FailureKind
from runtime.values import maker, quick, replace

__all__ = ["ASKING_S", "ECHO_S", "LONGEST_THROTTLE_S", "AskAuthority", "Gate", "Settled", "Ticket"]

ASKING_S = 1.0
"""How long the authority's answer may take; who comes meanwhile is told to come again then."""

MOST_DOORS = 500
OTHERS = "\0others"
"""The door of all models beyond `MOST_DOORS` that are shut."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """Leave to make one call; settle it exactly once. `spell` is the authority's, for the report.

    `whole` is the permit of the provider's door, `permit` that of the model's; `key` the fingerprint of the key.
    """

    permit: Permit
    whole: Permit
    spell: int
    model: str = ""
    probe: bool = False
    key: str = ""


new_ticket = maker(Ticket)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskAuthority:
    """The published breaker is due for a probe: ask its authority, then call `granted`, or `withdrawn`."""

    permit: Permit
    whole: Permit
    model: str = ""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a call did to the doors. `urgent`: others should hear of it at once, not with the next batch.

    `failure` with its `scope` as it was taken, `keys` whose state is news, `wait_id` of the wait that it names.
    """

    urgent: bool
    failure: Failure | None = None
    keys: tuple[KeyState, ...] = ()
    wait_id: int = 0


new_settled = maker(Settled)


class Gate:
    """One provider's doors and keys at one edge. `now` is the edge's own monotonic clock."""

    def __init__(self, policy: BreakerPolicy, rng: random.Random) -> None:
        self.policy = policy
        self.keys = Keyring(rng)
        self._rng = rng
        self._spells = itertools.count()
        self._whole = Door(policy, rng, self._spells)
        self._models: dict[str, Door] = {}
        self._spell = 0
        # Failures of any model since the last success of any: which is only counted up to what matters.
        self._bad_in_a_row = 0
        self._bad_models: set[str] = set()

    def follow(self, policy: BreakerPolicy) -> None:
        """Go by another policy from the next change of state on."""
        self.policy = policy
        for door in (self._whole, *self._models.values()):
            door.breaker.policy = policy

    # What it says.

    def retry_in_s(self, now: float, model: str = "") -> float:
        """Seconds until a call would be considered; 0.0 if it would be now."""
        wait_s = self.keys.retry_in_s(model, now)
        for door in self._known(model):
            wait_s = max(wait_s, door.retry_in_s(now))
        return wait_s

    def why(self, now: float, model: str = "") -> str:
        """In a word, for people: "open", "throttled" or "closed"."""
        return _worst(door.why(now) for door in self._known(model))

    def share(self, now: float, model: str = "") -> float:
        """The share (0..1] of its traffic that this model should get: less than all while it has just healed."""
        return min(door.share(now) for door in self._known(model))

    def throttled_for_s(self, now: float, model: str = "") -> float:
        return max(0.0, *(door.until - now for door in self._known(model)))

    def shut(self, now: float) -> dict[str, DoorState]:
        """The models that are shut by themselves, and why."""
        return {
            name: DoorState(
                open=door.why(now) == "open",
                retry_in_s=door.retry_in_s(now),
                throttled_for_s=max(0.0, door.until - now),
                why=door.why(now),
            )
            for name, door in self._models.items()
            if door.why(now) != "closed"
        }

    def whole(self, now: float) -> DoorState:
        """The provider as people see it: also shut where its models are, and nothing has succeeded since."""
        why, wait_s = self._whole.why(now), self._whole.retry_in_s(now)
        if why == "closed" and self._bad_in_a_row >= self.policy.failures and (shut := self.shut(now)):
            why, wait_s = "open", min(state.retry_in_s for state in shut.values())
        return DoorState(
            open=why == "open", retry_in_s=wait_s, throttled_for_s=max(0.0, self._whole.until - now), why=why
        )

    def own_retry_in_s(self, now: float) -> dict[str, float]:
        """What this edge shuts by itself, by model ("" is the whole provider), without the published view."""
        waits = {name: door.own_retry_in_s(now) for name, door in (("", self._whole), *self._models.items())}
        if waits[""] <= 0.0 and self._bad_in_a_row >= self.policy.failures:
            waits[""] = min((wait_s for name, wait_s in waits.items() if name and wait_s > 0.0), default=0.0)
        return {name: wait_s for name, wait_s in waits.items() if wait_s > 0.0}

    def view(self, provider: str, now: float) -> Published:
        """What a new authority must know: all that was published and is still shut, and all waits."""
        whole = self._whole.view(now)
        models = {name: door.view(now) for name, door in self._models.items()}
        return Published(
            provider=provider,
            spell=self._spell,
            open=whole.open,
            retry_in_s=whole.retry_in_s,
            throttled_for_s=whole.throttled_for_s,
            models={name: state for name, state in models.items() if state.open or state.throttled_for_s > 0.0},
            keys=self.keys.states(now),
        )

    # What it is told.

    def adopt(self, published: Published, now: float) -> None:
        """Take the authority's newest view. A local trip is not healed by it."""
        self._spell = published.spell
        self._whole.adopt(published.whole, now)
        for model in published.models:
            self._door(model, now)
        for model, door in self._models.items():
            door.adopt(published.models.get(model, DoorState()), now)
        self.keys.adopt(published.keys, now)

    def admit(self, now: float, model: str = "") -> Ticket | AskAuthority | Refusal:
        whole, own = self._whole, self._door(model, now)
        wait_s = max(whole.retry_in_s(now), own.retry_in_s(now))
        if wait_s > 0.0:
            return Refusal(wait_s)
        to_ask = whole.open or own.open
        if to_ask and (whole.asking or own.asking):
            return Refusal(ASKING_S)
        first, second = whole.breaker.admit(now), own.breaker.admit(now)
        # Neither says no: no wait was left of either.
        assert isinstance(first, Permit)  # noqa: S101
        assert isinstance(second, Permit)  # noqa: S101
        if to_ask:
            for door in (whole, own):
                door.asking = door.open
            return AskAuthority(permit=second, whole=first, model=model)
        probe = first.probe or second.probe
        return new_ticket(permit=second, whole=first, spell=self._spell, model=model, probe=probe)

    def granted(self, ask: AskAuthority, answer: Permit | Refusal | None, now: float) -> Ticket | Refusal:
        """The authority's answer to `ask`; None if it could not be reached."""
        doors = [door for door in self._known(ask.model) if door.open]
        self._asked(ask)
        ticket = Ticket(permit=ask.permit, whole=ask.whole, spell=self._spell, model=ask.model, probe=True)
        wait_s = self.throttled_for_s(now, ask.model)
        match answer:
            case _ if wait_s > 0.0:
                # The provider named a wait while its authority was asked.
                self._unused(ask, now)
                return Refusal(wait_s)
            case Permit(spell):
                return replace(ticket, spell=spell)
            case Refusal(retry_in_s):
                wait_s = retry_in_s
                for door in doors:
                    door.open_until = now + retry_in_s
            case None if not doors:
                # It was closed while its authority was asked: a call like any other.
                return replace(ticket, probe=ask.permit.probe or ask.whole.probe)
            case None if all(now >= door.own_probe_at for door in doors):
                for door in doors:
                    door.probe_by_itself(now)
                return ticket
            case None:
                for door in doors:
                    door.open_until = max(door.open_until, door.own_probe_at)
        self._unused(ask, now)
        return Refusal(max(wait_s, *(door.open_until - now for door in doors), 0.0))

    def withdrawn(self, ask: AskAuthority, now: float) -> None:
        """The caller went away before the authority answered: whoever comes next may ask."""
        self._asked(ask)
        self._unused(ask, now)

    def settle(self, ticket: Ticket, failure: Failure | None, now: float) -> Settled:
        """What became of the call."""
        said = failure
        failure = self._scoped(said)
        news: tuple[KeyState, ...] = ()
        if said is None or said.handling.blame is Blame.GOOD:
            news = self.keys.settle(ticket.key, ticket.model, None, now)
        elif failure is not None and failure.scope == "key":
            news = self.keys.settle(ticket.key, ticket.model, said, now)
            failure = replace(failure, another_key=self.keys.another(ticket.key, ticket.model, now))
        changed = self._count(ticket, failure, now)
        if failure is not None:
            changed |= self._wait(ticket, failure, now)
            if failure.kind is FailureKind.RATE_LIMITED and failure.retry_after_s is None:
                failure = replace(failure, retry_after_s=self._wait_s(ticket, failure.scope, now))
        urgent = changed or ticket.probe or bool(news)
        return new_settled(urgent=urgent, failure=failure, keys=news, wait_id=self._wait_id(ticket, failure, now))

    # How it does it.

    def _known(self, model: str) -> list[Door]:
        """The doors before a model; a model that nobody called has none of its own."""
        own = self._models.get(model) or self._models.get(OTHERS)
        return [self._whole] if own is None else [self._whole, own]

    def _door(self, model: str, now: float) -> Door:
        """The model's own door, made if there is none; the most recently used one stands last."""
        door = self._models.pop(model, None)
        if door is None:
            others = self._models.get(OTHERS)
            if others is not None and not others.is_idle(now):
                return others
            if len(self._models) >= MOST_DOORS:
                idle = next((name for name, one in self._models.items() if name != OTHERS and one.is_idle(now)), None)
                if idle is None:
                    return self._models.setdefault(OTHERS, Door(self.policy, self._rng, self._spells))
                del self._models[idle]
            door = Door(self.policy, self._rng, self._spells)
        self._models[model] = door
        return door

    def _asked(self, ask: AskAuthority) -> None:
        for door in self._known(ask.model):
            door.asking = False

    def _unused(self, ask: AskAuthority, now: float) -> None:
        self._whole.breaker.settle(ask.whole, Blame.SILENT, now)
        for door in self._known(ask.model)[1:]:
            door.breaker.settle(ask.permit, Blame.SILENT, now)

    def _scoped(self, failure: Failure | None) -> Failure | None:
        """The failure with a `scope`: the narrowest thing that it speaks of, where it speaks of one."""
        if failure is None:
            return None
        scope = failure.scope
        match failure.kind:
            case FailureKind.RATE_LIMITED:
                # With one key, what it may not do nobody may: then the doors say so, to all edges and to strategies.
                several = len(self.keys) > 1
                if scope == "provider":
                    return failure
                return replace(failure, scope="key" if several else "model" if scope == "model" else "provider")
            case FailureKind.UNAUTHENTICATED | FailureKind.FORBIDDEN | FailureKind.QUOTA_EXHAUSTED:
                return replace(failure, scope="key") if len(self.keys) and scope != "request" else failure
            case _ if failure.handling.blame is Blame.BAD and not scope:
                return replace(failure, scope="model")
            case _:
                return failure

    def _count(self, ticket: Ticket, failure: Failure | None, now: float) -> bool:
        """Let both breakers know. True if one changed its state."""
        blame = Blame.GOOD if failure is None else failure.handling.blame
        own = self._models.get(ticket.model) or self._models.get(OTHERS)
        if failure is None:
            self._whole.answered()
            if own is not None:
                own.answered()
        unreached = blame is Blame.BAD and failure is not None and failure.scope == "provider"
        changed = False
        if own is not None:
            changed = own.breaker.settle(ticket.permit, Blame.SILENT if unreached else blame, now)
        if blame is Blame.GOOD:
            self._bad_in_a_row = 0
            self._bad_models.clear()
        closed = isinstance(self._whole.breaker.state, Closed)
        if blame is not Blame.BAD or unreached or not closed:
            changed |= self._whole.breaker.settle(ticket.whole, blame, now)
        if blame is Blame.BAD and closed and ticket.whole.spell == self._whole.breaker.spell:
            self._bad_in_a_row += 1
            if len(self._bad_models) < 2:
                self._bad_models.add(ticket.model)
            if self._bad_in_a_row >= self.policy.failures and len(self._bad_models) >= 2:
                changed |= self._whole.breaker.trip(now)
        return changed

    def _wait(self, ticket: Ticket, failure: Failure, now: float) -> bool:
        """Shut what was told to wait. True if that is news."""
        named = failure.retry_after_s
        if failure.kind is not FailureKind.RATE_LIMITED and (named is None or failure.handling.blame is not Blame.BAD):
            return False
        if failure.scope == "provider":
            return self._whole.throttle(named, now)
        return failure.scope == "model" and self._door(ticket.model, now).throttle(named, now)

    def _wait_id(self, ticket: Ticket, failure: Failure | None, now: float) -> int:
        """Of the last wait of what this failure has shut."""
        match failure.scope if failure is not None else "":
            case "provider":
                return self._whole.wait_id
            case "model":
                return self._door(ticket.model, now).wait_id
            case _:
                return 0

    def _wait_s(self, ticket: Ticket, scope: str, now: float) -> float:
        """How long what was shut stays so."""
        if scope == "key":
            return self.keys.wait_s(ticket.key, ticket.model, now)
        return max(0.0, (self._whole if scope == "provider" else self._door(ticket.model, now)).until - now)


def _worst(words: Iterable[str]) -> str:
    said = set(words)
    return next((word for word in ("open", "throttled") if word in said), "closed")
