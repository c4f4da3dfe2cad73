"""Who may come in to a provider, with which key, and what is noted when he leaves.

    encode ─► admit (doors, key) ─► intent ─► … the call … ─► settle (doors, keys, load, observations, usage, books)

What cannot be encoded was never sent: it takes no permit, so it can neither open nor close a door. After admission,
settling happens whatever comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from runtime.balance.pace import Timings, batch_of
from runtime.breaker import Permit, Refusal
from runtime.catalog import Catalog
from runtime.defaults import with_defaults
from runtime.dialects.base import HttpCall, Target
from runtime.feed import Observations
from runtime.gate import AskAuthority, Ticket
from runtime.hold import hold, with_output_limit, within
from runtime.keyring import DISABLED, Key, KeyState, Locked
from runtime.ledger.books import NO_ENTRY, Books, Entry, Till, begin
from runtime.ledger.purse import Reservation
from runtime.outcome import Completion, Cost, Embeddings, Failure, FailureKind, Usage
from runtime.price import cost_of, is_list_priced
from runtime.request import EmbedRequest, Request, Sampling
from runtime.standing import Standing, Vitals
from runtime.token_ratio import Ratios
from runtime.tokens import embed_tokens, expected_tokens
from runtime.transport.base import Limits
from runtime.usage import UsageBook
from runtime.values import replace

log = logging.getLogger("raygate.provider")

UNWRITTEN_S = 1.0
"""When an attempt that could not be written down is worth trying again."""

MOST_TARGETS = 1_000
"""What dialects are told of models and keys is remembered for so many. Models' names come from callers."""

FULL_S = 0.1
"""When a provider with all its places taken is worth asking again, for want of anything known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """A provider's settings as its shell needs them. `defaults` fill what a request leaves open.

    `target.api_key` is the first of `keys`; with none of these it is the only one. `proves_keys`: its free call is
    answered for a good key only. `not_yet` says in a sentence why it cannot be called so far; empty if it can.
    """

    target: Target
    limits: Limits = field(default_factory=Limits)
    defaults: Sampling = field(default_factory=Sampling)
    max_in_flight: int | None = None
    keys: tuple[Key, ...] = ()
    proves_keys: bool = False
    not_yet: str = ""

    @property
    def secrets(self) -> dict[str, Key]:
        """All keys, by fingerprint."""
        alone = (Key(self.target.api_key),) if self.target.api_key else ()
        return {key.fingerprint: key for key in self.keys or alone}


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """What a shell has of the outer world: monotonic seconds, seconds since the epoch."""

    clock: Callable[[], float]
    wall: Callable[[], float]


Asked = TypeVar("Asked", Request, EmbedRequest)
Answer = TypeVar("Answer", Completion, Embeddings)

AskPermit = Callable[[str], Awaitable[Permit | Refusal | None]]
"""Asks the provider's authority for leave to probe a model; None if it is out of reach."""


async def nobody_to_ask(model: str) -> None:
    """The `AskPermit` of a provider without an actor: its own breaker is all there is."""


@dataclass(slots=True, kw_only=True)
class Entrance:
    """The doors, keys and books of one provider in one process. Belongs to one event loop.

    Without `books` no attempt is written down, and without a `till` none is paid for.
    """

    spec: ProviderSpec
    catalog: Catalog
    standing: Standing
    observations: Observations
    senses: Senses
    ask_permit: AskPermit = nobody_to_ask
    on_change: Callable[[], None] = lambda: None
    ratios: Ratios = field(default_factory=Ratios)
    books: Books | None = None
    till: Till | None = None
    _book: UsageBook = field(default_factory=UsageBook)
    _keys: dict[str, Key] = field(default_factory=dict)
    _targets: dict[tuple[str, str], Target] = field(default_factory=dict)
    _fills: bool = False

    def __post_init__(self) -> None:
        self._keys = self.spec.secrets
        self._fills = self.spec.defaults != Sampling()
        self.standing.gate.keys.hold(self._keys.values())

    @property
    def name(self) -> str:
        return self.spec.target.provider

    def vitals(self, model: str, now: float) -> Vitals:
        vitals = self.standing.vitals(model, now)
        queue = self.standing.queue
        return vitals._replace(retry_in_s=max(vitals.retry_in_s, FULL_S)) if queue and queue.spills else vitals

    async def _ready(
        self, encode: Callable[[Asked, Target], HttpCall | Failure], request: Asked, begun: float
    ) -> tuple[HttpCall, Ticket, Entry] | Failure:
        """The call, leave to make it, and its entry: `_settle` those. After a failure there is nothing to settle."""
        request = self._bounded_answer(request)
        model = request.model
        keys = self.standing.gate.keys
        looked = keys.look(model, begun)
        likely = looked if isinstance(looked, str) else ""
        call = self._encoded(encode, request, likely)
        if isinstance(call, Failure):
            return replace(call, provider=self.name, model=call.model or model)
        if isinstance(looked, Locked):
            return self._locked(looked, model)
        ticket = await self._admit(model, request.deadline_s, begun)
        if isinstance(ticket, Failure):
            return ticket
        # Only now: whoever waited for admission may have been overtaken by what happened to the key meanwhile.
        now = self.senses.clock()
        key = keys.pick(model, now)
        if isinstance(key, Locked):
            return self._let_go(ticket, self._locked(key, model))
        ticket = replace(ticket, key=key, probe=ticket.probe or keys.on_trial(key, model))
        if key != likely:
            call = self._encoded(encode, request, key)
            if isinstance(call, Failure):
                return self._let_go(ticket, call)
        if request.trace is not None:
            call = replace(call, headers={**call.headers, **request.trace.headers})
        if self.books is None:
            return call, ticket, NO_ENTRY
        # The attempt is paid for and written down before anybody is asked; or nobody is, and the ticket is void.
        try:
            entry = await self.entered(request)
        except BaseException:
            self._let_go(ticket, self._nobody(model))
            raise
        return (
            self._let_go(ticket, entry) if isinstance(entry, Failure) else (replace(call, watch=entry), ticket, entry)
        )

    async def entered(self, request: Request | EmbedRequest) -> Entry | Failure:
        """An attempt of this request, in the books."""
        books, till, model, billing = self.books, self.till, request.model, request.billing
        if books is None:
            return NO_ENTRY
        info = self.catalog.info(self.name, model)
        reservation: Reservation | None = None
        if till is not None and billing is not None and billing.account.strict:
            held = hold(request, info)
            paid = await till.money(billing.account, held)
            if isinstance(paid, Failure):
                return replace(paid, provider=self.name, model=model)
            reservation = paid
            lease = "" if reservation is None else reservation.lease
            request = replace(request, billing=replace(billing, hold_nanousd=held, lease=lease))
        entry = begin(
            books,
            request,
            provider=self.name,
            hold=lambda: hold(request, info),
            maker=self,
            till=till,
            reservation=reservation,
        )
        if isinstance(entry, Entry):
            refused = await self._acknowledged(entry, model) if books.waits else ""
            if not refused:
                return entry
        else:
            refused = entry
            if till is not None and reservation is not None:
                till.void(reservation)
        failure = self._failed(FailureKind.REFUSED, model, f"{self.name} is not asked: {refused}")
        return replace(failure, retry_after_s=UNWRITTEN_S)

    async def _acknowledged(self, entry: Entry, model: str) -> str:
        """Empty once the ledger has the intent; else the attempt is over before it began, as why it is not made."""
        nobody = self._nobody(model)
        refused = nobody.detail
        try:
            refused = await entry.acknowledged()
        finally:
            if refused:
                entry.unsent = True
                entry.settle(nobody)
        return refused

    def least(self, request: Request | EmbedRequest) -> Usage:
        """What a provider has used that had the question, and of whom no more is known."""
        if isinstance(request, EmbedRequest):
            return Usage(input_tokens=embed_tokens(request), estimated=True)
        asked = expected_tokens(request, request.model, self.ratios)
        return self._bounded(Usage(input_tokens=asked, estimated=True), request)

    def _bounded(self, usage: Usage, request: Request) -> Usage:
        """An estimate is no more than what was held for it."""
        return within(usage, self._filled(request), self.catalog.info(self.name, request.model))

    def _filled(self, request: Request) -> Request:
        return with_defaults(request, self.spec.defaults) if self._fills else request

    def _bounded_answer(self, request: Asked) -> Asked:
        """With a limit of its output, where a hard budget needs one."""
        billing = request.billing
        if billing is not None and billing.account.strict and isinstance(request, Request):
            return with_output_limit(request, self.catalog.info(self.name, request.model))
        return request

    def _let_go(self, ticket: Ticket, failure: Failure) -> Failure:
        """Admitted, and yet nobody was asked."""
        silent = replace(failure, kind=FailureKind.CANCELLED)
        self.standing.load.end(self.senses.clock(), latency_s=None)
        self.standing.gate.settle(ticket, silent, self.senses.clock())
        if ticket.probe:
            self.observations.probe_unused(self.name, ticket.model, spell=ticket.spell)
            self.on_change()
        return failure

    def _encoded(
        self, encode: Callable[[Asked, Target], HttpCall | Failure], request: Asked, key: str
    ) -> HttpCall | Failure:
        try:
            return encode(request, self._target(request.model, key))
        except Exception as error:  # a bug; the caller gets a value all the same
            return self._broken(error, request.model)

    async def _admit(self, model: str, deadline_s: float | None, begun: float) -> Ticket | Failure:
        """A ticket for a call, which from here on counts as in flight."""
        gate, load = self.standing.gate, self.standing.load
        if self.spec.not_yet:
            failure = self._failed(FailureKind.UNAVAILABLE, model, self.spec.not_yet)
            return replace(failure, retry_after_s=1.0)
        if deadline_s is not None and deadline_s <= 0.0:
            return self._failed(FailureKind.DEADLINE_EXCEEDED, model, f"no time was left to ask {self.name}")
        admitted: Ticket | AskAuthority | Refusal | Failure | None = None
        load.begin()
        try:
            admitted = gate.admit(begun, model)
            if isinstance(admitted, AskAuthority):
                admitted = await self._ask_authority(admitted, deadline_s)
        finally:
            if not isinstance(admitted, Ticket):
                load.end(self.senses.clock(), latency_s=None)
        if isinstance(admitted, Refusal):
            why = gate.why(begun, model)
            what = self.name if gate.whole(begun).why != "closed" else f"{self.name}/{model}"
            detail = f"{what} is {why} and is not asked for {admitted.retry_in_s:.1f} s"
            failure = self._failed(FailureKind.THROTTLED if why == "throttled" else FailureKind.REFUSED, model, detail)
            return replace(failure, retry_after_s=admitted.retry_in_s)
        return admitted

    async def _ask_authority(self, ask: AskAuthority, left_s: float | None) -> Ticket | Refusal | Failure:
        """The authority's answer, unless the request's own time runs out before it comes."""
        gate = self.standing.gate
        try:
            async with asyncio.timeout(left_s) as scope:
                answer = await self.ask_permit(ask.model)
        except Exception:
            if scope.expired():
                gate.withdrawn(ask, self.senses.clock())
                detail = f"no time was left to ask {self.name}, which is open, once its authority had been asked"
                return self._failed(FailureKind.DEADLINE_EXCEEDED, ask.model, detail)
            # What goes wrong on the way to the authority leaves it out of reach, no more.
            log.exception("authority.ask_failed", extra={"provider": self.name})
            answer = None
        except BaseException:
            gate.withdrawn(ask, self.senses.clock())
            raise
        return gate.granted(ask, answer, self.senses.clock())

    def _first_content(self, ticket: Ticket, model: str) -> None:
        """A probe has succeeded at the first content; a long stream must not keep the door."""
        if ticket.probe:
            settled = self.standing.gate.settle(ticket, None, self.senses.clock())
            self.observations.probe_succeeded(self.name, model, spell=ticket.spell, keys=settled.keys)
            self.on_change()

    def _began(self, ticket: Ticket, model: str, pace: Timings) -> None:
        """The first content says how fast a provider is long before the end does."""
        self.standing.measure(model, pace, self.senses.clock())
        self.observations.began(self.name, model, pace, spell=ticket.spell)

    def _settle(
        self,
        ticket: Ticket,
        entry: Entry,
        model: str,
        outcome: Answer | Failure,
        latency_s: float,
        *,
        ttft_s: float | None = None,
        beside: int = 0,
    ) -> Answer | Failure:
        """Close the books on one call: doors, load, observations, usage. Returns the outcome, priced and timed.

        `beside` it were so many others under way when it was sent.
        """
        now = self.senses.clock()
        failure = outcome if isinstance(outcome, Failure) else None
        self.standing.load.end(now, latency_s=None if failure else latency_s)
        done = self.standing.gate.settle(ticket, failure, now)
        settled: Answer | Failure
        if isinstance(outcome, Failure):
            failure = done.failure or outcome
            cost = self.price(model, outcome.usage) if outcome.usage is not None else None
            settled = replace(
                failure,
                provider=self.name,
                model=outcome.model or model,
                detail=self._without_keys(failure.detail),
                cost=cost,
            )
        else:
            cost = outcome.cost or (self.price(model, outcome.usage) if _is_list_priced(outcome) else None)
            settled = replace(outcome, provider=self.name, cost=cost, latency_s=latency_s)
            if ttft_s is not None and isinstance(settled, Completion):
                settled = replace(settled, ttft_s=ttft_s)
        entry.settle(settled, latency_s=latency_s, ttft_s=ttft_s)
        self._tell(done.keys)
        pace = batch_of(settled, latency_s, load=beside, per_token_s=self.standing.per_token_s(model))
        self.standing.measure(model, pace, now)
        self.observations.add(
            self.name,
            model,
            settled,
            spell=ticket.spell,
            latency_s=latency_s,
            keys=done.keys,
            wait_id=done.wait_id,
            pace=pace,
        )
        self._book.add(self.name, model, settled, latency_s=latency_s, at_s=self.senses.wall())
        if done.urgent:
            self.on_change()
        return settled

    def _tell(self, states: tuple[KeyState, ...]) -> None:
        """A key that is refused is a matter for people, once."""
        for state in states:
            if state.why == DISABLED:
                said = {"provider": self.name, "key": state.shown, "model": state.model or "all"}
                log.error("key.disabled", extra=said)

    def _locked(self, locked: Locked, model: str) -> Failure:
        """No key may be used: nobody is asked."""
        if locked.disabled:
            detail = (
                f"{self.name} has refused every key that Raygate has for it: {locked.why}; put a valid one into "
                f"providers.{self.name} or its environment variable"
            )
            return self._failed(FailureKind.UNAUTHENTICATED, model, detail)
        detail = f"{self.name} is not asked for {locked.retry_in_s:.1f} s: {locked.why}"
        return replace(self._failed(FailureKind.THROTTLED, model, detail), retry_after_s=locked.retry_in_s)

    def _without_keys(self, detail: str) -> str:
        for key in self._keys.values():
            if len(key.secret) >= 4:
                detail = detail.replace(key.secret, "[key]")
        return detail

    def _target(self, model: str, key: str = "") -> Target:
        """What the dialect is told; `key` is the fingerprint of the key to use, where it is not the first one."""
        info = self.catalog.info(self.name, model) if model else None
        longest = info.max_output_tokens if info else None
        known = self._targets.get((model, key))
        if known is not None and known.max_output_tokens == longest:
            return known
        secret = self._keys[key].secret if key else self.spec.target.api_key
        target = replace(self.spec.target, model=model, max_output_tokens=longest, api_key=secret)
        if len(self._targets) >= MOST_TARGETS:
            self._targets.clear()
        self._targets[model, key] = target
        return target

    def price(self, model: str, usage: Usage) -> Cost | None:
        info = self.catalog.info(self.name, model)
        return cost_of(usage, info.pricing if info else None)

    def _broken(self, error: Exception, model: str) -> Failure:
        log.error("call.broken", exc_info=error, extra={"provider": self.name})
        return self._failed(FailureKind.INTERNAL, model, "an error inside Raygate; its log says more")

    def _nobody(self, model: str) -> Failure:
        return self._failed(FailureKind.CANCELLED, model, "nobody was asked")

    def _failed(self, kind: FailureKind, model: str, detail: str) -> Failure:
        return Failure(kind=kind, provider=self.name, model=model, detail=detail)


def _is_list_priced(outcome: Completion | Embeddings) -> bool:
    return is_list_priced(outcome.extra) if isinstance(outcome, Completion) else True
