"""One attempt in the books of the process that makes it: what is told before its first byte, and after its last.

    begin ── Books.open ──► written: the provider may be asked
                        ──► a sentence that says why not, and nobody is asked
    Entry.settle ── Books.settle ──► once, whatever the attempt comes to

What an attempt comes to        usage and cost                                 flags
    an answer                     as reported; else our estimate                 ESTIMATED if ours
    an error of the provider's    none: nobody charges for those
    cut off, given up, timed out  what was said by then, else the question       ESTIMATED, CANCELLED, PARTIAL
    nothing was sent              no row                                         (`unsent`)
An estimate is never charged beyond the hold. A cost that is not known is None, and flagged UNPRICED.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from runtime.ledger.purse import Reservation
from runtime.ledger.rows import NO_FLAGS, NO_USAGE, Account, Billing, Flag, Intent, Row, Settlement
from runtime.outcome import CACHED, HEDGED, Completion, Cost, Embeddings, Failure, FailureKind, Usage
from runtime.request import EmbedRequest, Request
from runtime.values import maker, replace

new_row = maker(Row)

new_settlement = maker(Settlement)

new_intent = maker(Intent)

new_billing = maker(Billing)

NOT_BILLED = Billing()
FREE = Cost()


class Books(Protocol):
    """What a process writes down about the money of its attempts. Belongs to one event loop.

    `waits`: what is written is worth nothing before the ledger has acknowledged it (`durability: cluster`).
    """

    @property
    def waits(self) -> bool: ...

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        ...

    def new_attempt(self) -> str:
        """A name that no attempt has ever had."""
        ...

    def open(self, intent: Intent) -> str:
        """Write it down. Not empty: why the attempt may not be made; it is then forgotten."""
        ...

    def settle(self, settlement: Settlement) -> None:
        """What an attempt that was opened came to. Once for each."""
        ...

    def enter(self, row: Row) -> None:
        """Something that was given without asking anybody."""
        ...

    async def acknowledged(self, attempt: str) -> str:
        """Wait until the ledger has what was last written of this attempt. Not empty: why it has not."""
        ...


class Till(Protocol):
    """What attempts pay from. Belongs to one event loop."""

    async def money(self, account: Account, hold: int | None) -> Reservation | Failure | None:
        """The money of an attempt, its hold in nano-dollars; None for an account without a budget."""
        ...

    def settle(self, reservation: Reservation, cost: int | None, tokens: int) -> None:
        """What it came to. An unknown cost counts as the hold."""
        ...

    def void(self, reservation: Reservation) -> None:
        """Nobody was asked."""
        ...


class Maker(Protocol):
    """Who makes attempts, and knows what they are worth."""

    def least(self, request: Request | EmbedRequest, /) -> Usage:
        """What was used at least, where the provider had the question and nobody said more."""
        ...

    def price(self, model: str, usage: Usage, /) -> Cost | None: ...

    async def entered(self, request: Request | EmbedRequest, /) -> Entry | Failure:
        """Another entry for the same call, where it has to be sent once more."""
        ...


@dataclass(slots=True)
class Entry:
    """One attempt of `request`, from its intent to its settlement. Without books it does nothing.

    `unsent`: it has turned out that the provider was never reached. `connecting`: the transport has no connection to it
    yet.
    """

    books: Books | None = None
    intent: Intent | None = None
    maker: Maker | None = None
    request: Request | EmbedRequest | None = None
    reservation: Reservation | None = None
    till: Till | None = None
    unsent: bool = False
    connecting: bool = False
    outplayed: bool = False
    _name: str = ""

    @property
    def waits(self) -> bool:
        """Whether the ledger's word is waited for, before the first byte and before the end of the answer."""
        return self.books is not None and self.books.waits

    async def acknowledged(self) -> str:
        """Wait for that word. Not empty: why it did not come."""
        if self.books is None:
            return ""
        return await self.books.acknowledged(self._name if self.intent is None else self.intent.attempt)

    def left(self, why: BaseException) -> None:
        """The caller went away; it may be because another attempt was faster."""
        if self.books is not None:
            self.unsent = self.unsent or self.connecting
            self.outplayed = isinstance(why, asyncio.CancelledError) and why.args[:1] == (HEDGED,)

    async def again(self) -> bool:
        """The connection broke before an answer began, and the provider may have had the question, or not: that is an
        attempt of its own. Whether there may be another one, which this entry is from now on."""
        broken = Failure(kind=FailureKind.UNAVAILABLE, detail="the kept connection broke before an answer began")
        self.settle(broken)
        if self.maker is None or self.request is None:
            return False
        fresh = await self.maker.entered(_retried(self.request))
        if isinstance(fresh, Failure):
            return False
        self.intent, self.reservation = fresh.intent, fresh.reservation
        return True

    def settle(
        self, outcome: Completion | Embeddings | Failure, *, latency_s: float = 0.0, ttft_s: float | None = None
    ) -> None:
        """Write down what it came to. The second time there is nothing left to say."""
        intent, books = self.intent, self.books
        if books is None or intent is None:
            return
        self.intent, self._name = None, intent.attempt
        usage, cost, flags = outcome.usage, outcome.cost, NO_FLAGS
        word = "ok"
        if isinstance(outcome, Failure):
            word = HEDGED if self.outplayed else outcome.kind.value
            if outcome.kind is FailureKind.CANCELLED:
                flags |= Flag.CANCELLED
            if usage is None and not self.unsent and not _is_error_reply(outcome):
                usage, cost = self._least()
            if usage is None:
                cost = FREE
            elif usage.output_tokens:
                flags |= Flag.PARTIAL
        if usage is not None and usage.estimated:
            flags |= Flag.ESTIMATED
        hold = intent.hold_nanousd
        if cost is None:
            flags |= Flag.UNPRICED
        elif hold is not None and cost.total_nanousd > hold:
            if Flag.ESTIMATED in flags and cost.source != "provider":
                cost = Cost(total_nanousd=hold, source=cost.source)
            else:
                flags |= Flag.OVERRUN
        if self.reservation is not None:
            self._pay(cost)
        books.settle(
            new_settlement(
                attempt=intent.attempt,
                at_ms=books.now_ms(),
                outcome=word,
                usage=NO_USAGE if usage is None else usage,
                cost=cost,
                latency_ms=latency_s * 1_000.0,
                ttft_ms=None if ttft_s is None else ttft_s * 1_000.0,
                flags=flags,
                unsent=self.unsent,
            )
        )

    def _least(self) -> tuple[Usage | None, Cost | None]:
        if self.maker is None or self.request is None:
            return None, None
        usage = self.maker.least(self.request)
        return usage, self.maker.price(self.request.model, usage)

    def _pay(self, cost: Cost | None) -> None:
        if self.till is None or self.reservation is None:
            return
        if self.unsent:
            self.till.void(self.reservation)
        else:
            self.till.settle(self.reservation, None if cost is None else cost.total_nanousd, 0)


NO_ENTRY = Entry()


def begin(
    books: Books,
    request: Request | EmbedRequest,
    *,
    provider: str,
    hold: Callable[[], int | None],
    maker: Maker | None = None,
    till: Till | None = None,
    reservation: Reservation | None = None,
) -> Entry | str:
    """Write an attempt's intent down, or say why it may not be made. `hold` is asked where nobody has reserved."""
    billing = request.billing or NOT_BILLED
    flags = billing.flags
    if isinstance(request, Request) and request.stream:
        flags |= Flag.STREAMED
    intent = new_intent(
        attempt=books.new_attempt(),
        at_ms=books.now_ms(),
        request_id=request.request_id,
        account=billing.account,
        route=billing.route,
        provider=provider,
        model=request.model,
        hold_nanousd=hold() if billing.hold_nanousd is None else billing.hold_nanousd,
        lease=billing.lease,
        flags=flags,
    )
    return books.open(intent) or Entry(books, intent, maker, request, reservation, till)


def given_away(books: Books, request: Request, given: Completion, word: str) -> None:
    """An answer that was remembered, or shared with an equal request, cost nothing; it is a row all the same."""
    billing = request.billing or NOT_BILLED
    attempt, now_ms = books.new_attempt(), books.now_ms()
    flags = billing.flags
    if request.stream:  # joining flags costs more than asking
        flags |= Flag.STREAMED
    intent = new_intent(
        attempt=attempt,
        at_ms=now_ms,
        request_id=request.request_id,
        account=billing.account,
        route=billing.route or request.model,
        provider=given.provider,
        model=given.model,
        hold_nanousd=0,
        flags=flags,
    )
    flag = Flag.CACHED if word == CACHED else NO_FLAGS
    books.enter(
        new_row(
            intent=intent, settlement=new_settlement(attempt=attempt, at_ms=now_ms, outcome=word, cost=FREE, flags=flag)
        )
    )


def routed(request: Request | EmbedRequest, flags: Flag) -> Billing:
    """What an attempt of this request is told: the name that was asked for, and how it came to be made."""
    billing = request.billing
    if billing is None:
        return Billing(route=request.model, flags=flags)
    return new_billing(
        account=billing.account,
        route=billing.route or request.model,
        hold_nanousd=billing.hold_nanousd,
        lease=billing.lease,
        # Joining flags costs more than asking for them.
        flags=billing.flags | flags if flags else billing.flags,
    )


def _retried(request: Request | EmbedRequest) -> Request | EmbedRequest:
    """The same, for another attempt of it."""
    billing = request.billing
    if billing is None:
        return request
    return replace(request, billing=replace(billing, flags=billing.flags | Flag.RETRIED))


def _is_error_reply(failure: Failure) -> bool:
    """The provider has answered that it did not do it."""
    return failure.status is not None and failure.status >= 400
