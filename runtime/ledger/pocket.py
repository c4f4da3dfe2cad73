"""What an edge has in hand of one limit: the slice that it takes from, and slices that it has done with.

    money, places    one slice, enlarged and renewed by grants    an old one drains: attempts still run on it
    rates            one slice after the other, each used up or too old; what is left goes back by its stamp

`used` counts holds, and is corrected when they are settled. Nothing is ever taken from a slice past its `until`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from runtime.ledger.accounts import Counted, Limit
from runtime.ledger.leases import Claim, Grant, Refused
from runtime.ledger.limits import Meter
from runtime.outcome import Failure, FailureKind

MONEY, REQUESTS, TOKENS, CONCURRENT = range(4)
INDEX = {
    Counted.MONEY: MONEY,
    Counted.REQUESTS: REQUESTS,
    Counted.TOKENS: TOKENS,
    Counted.CONCURRENT: CONCURRENT,
}

FOREVER = 1 << 62
DRAIN_S = 2.0
"""How often the owner hears of a lease on which attempts still run."""

FADES = 0.6
"""What is left of a rate of use at each look where nothing new is used."""

_KINDS = {
    Refused.SPENT: (FailureKind.BUDGET_EXCEEDED, "budget_exceeded"),
    Refused.HELD: (FailureKind.THROTTLED, "budget_held"),
    Refused.BUSY: (FailureKind.THROTTLED, "concurrency_limit_exceeded"),
    Refused.TOO_FAST: (FailureKind.THROTTLED, "rate_limit_exceeded"),
    Refused.STARTING: (FailureKind.REFUSED, "ledger_starting"),
}


class Slice:
    """`used` of `cap`, until `until`. Its life began when it was asked for, at `sent_at`."""

    __slots__ = ("booked", "cap", "final", "id", "open", "retired", "sent_at", "stamp", "start_ms", "until", "used")

    def __init__(
        self,
        *,
        lease: str = "",
        cap: int = 0,
        until: float = 0.0,
        sent_at: float = 0.0,
        start_ms: int = 0,
        stamp: int = 0,
    ) -> None:
        self.id = lease
        self.cap = cap
        self.used = 0
        self.open = 0
        self.until = until
        self.sent_at = sent_at
        self.start_ms = start_ms
        self.stamp = stamp
        self.booked = 0
        self.retired = False
        self.final = False
        """Whether the owner was told that no attempt runs on it any more."""


class Pocket:
    __slots__ = (
        "_back",
        "_carried",
        "_draining",
        "_due",
        "_full_in_s",
        "_heard_at",
        "_last_least",
        "_least",
        "_looked_at",
        "_meter",
        "_need",
        "_next",
        "_owed",
        "_pace",
        "_refused",
        "_refused_from",
        "_refused_seq",
        "_refused_until",
        "_remaining",
        "_returning",
        "_scarce",
        "_seen",
        "_sent_used",
        "_took_at",
        "index",
        "limit",
        "slice",
        "spare",
    )

    def __init__(self, limit: Limit, now: float) -> None:
        self.limit = limit
        self.index = INDEX[limit.counted]
        self.slice = Slice()
        self.spare: Slice | None = None
        """What may be used without the owner while that is dead."""
        self._next: deque[Slice] = deque()
        self._draining: list[Slice] = []
        self._back: list[tuple[int, int]] = []
        self._returning: tuple[tuple[tuple[int, int], ...], int] = ((), 0)
        self._owed = 0
        self._meter: Meter | None = None
        self._need = self._least = self._last_least = 0
        self._refused: Grant | None = None
        self._refused_seq = 0
        self._refused_until = 0.0
        self._refused_from = 0
        self._scarce = self._due = False
        self._pace = 0.0
        self._seen = self._sent_used = self._carried = 0
        self._looked_at = self._took_at = now
        self._remaining = limit.amount
        self._full_in_s = self._heard_at = 0.0

    @property
    def is_rate(self) -> bool:
        return self.index in (REQUESTS, TOKENS)

    def slices(self) -> tuple[Slice, ...]:
        """Those in use and those that drain."""
        return (self.slice, *self._next, *self._draining)

    def has(self, amount: int, now: float) -> bool:
        """Whether the slice suffices; a rate goes on to its next one where it does not."""
        while True:
            s = self.slice
            if now < s.until and s.used + amount <= s.cap:
                return True
            if not self._next:
                return False
            self._retire()
            self.slice = self._next.popleft()

    def change(self, s: Slice, by: int) -> None:
        """A settled attempt used so much more than it had reserved of a rate, or less."""
        if not s.retired:
            s.used += by
        elif by < 0:
            self._back.append((-by, s.stamp))
        else:
            self._owed += by

    def wants(self, amount: int) -> None:
        self._least = min(self._least, amount) if self._need else amount
        self._need += amount

    def tries(self, amount: int) -> None:
        """As `wants`, for one who does not wait: the owner is dead, and the next claims see whether it still is."""
        self._least = min(self._least, amount) if self._need else amount
        self._need = max(self._need, amount)

    @property
    def starting(self) -> bool:
        """Whether its owner does not lend yet."""
        return self._refused is not None and self._refused.refused is Refused.STARTING

    def refusal(self, amount: int, now: float, asked: float) -> Failure | None:
        """Why not, where the owner has said so: to this caller's own claims, or just now to another's."""
        grant = self._refused
        if grant is None or not (
            self._refused_seq >= asked or (now < self._refused_until and amount >= self._refused_from)
        ):
            return None
        if grant.refused is None:
            return None
        wait_s = None if grant.retry_after_s is None else max(0.0, grant.retry_after_s - (now - self._heard_at))
        if grant.refused is Refused.NEVER:
            kind = FailureKind.BUDGET_EXCEEDED if self.index == MONEY else FailureKind.TOO_LARGE
            code = "request_over_limit"
        else:
            kind, code = _KINDS[grant.refused]
        return Failure(kind=kind, detail=grant.detail, retry_after_s=wait_s, code=code, scope="request")

    def opened(self, amount: int, open_nanousd: int, now: float) -> bool:
        """Whether this much may be used although the owner is dead; the slice to take it from is then in hand."""
        if self.is_rate:
            if self._meter is None:
                self._meter = Meter(self.limit.amount, now=now)
            if not self._meter.take(amount, now):
                return False
            # Units of its own meter: never given back to the owner's.
            self._retire()
            self.slice = Slice(cap=amount, until=now + 1.0)
            self.slice.stamp = -1
            return True
        if self.spare is None:
            cap = open_nanousd if self.index == MONEY else self.limit.amount
            self.spare = Slice(cap=cap, until=FOREVER, sent_at=now)
        if self.spare.used + amount > self.spare.cap:
            return False
        if self.slice is not self.spare:
            self._retire()
            self.slice = self.spare
        return True

    def claims(self, now: float, *, ahead_s: float, idle_s: float, everything: bool) -> Iterator[Claim]:
        """What is to be said of this limit now."""
        self._look(now, idle_s)
        need, least = self._need, self._least
        self._need = self._least = 0
        if need:
            self._took_at = now
        ahead = 0 if self._scarce else int(self._pace * ahead_s)
        if self.is_rate:
            yield from self._rate_claims(now, need, least, ahead)
            return
        for s in self._draining:
            if everything or not s.open or now >= s.until:
                s.final = not s.open
                yield self._claim(s, closing=True)
        s = self.slice
        if s is self.spare:
            s = Slice()
        free = s.cap - s.used
        given = self._give_back(s, free, need, ahead, least)
        free = s.cap - s.used
        want = need + (max(0, ahead - free) if free < ahead // 2 or need else 0)
        if s.id and not s.open and not need and not ahead and self._pace == 0.0 and s.used >= s.cap:
            # Idle: the whole lease goes back.
            self._retire()
            self.slice = Slice()
            s.final = True
            yield self._claim(s, closing=True)
            return
        renew = bool(s.id) and now >= s.sent_at + (s.until - s.sent_at) / 2
        if want > 0 or given or renew or self._due or (everything and s.id):
            self._due = False
            self._sent_used = s.used
            yield self._claim(s, need=need, least=least, want=want)

    def take(self, grant: Grant, sent_at: float, now: float, *, seq: int, remember_s: float) -> None:
        """The owner's answer to one claim."""
        if grant.closed:
            self._draining = [s for s in self._draining if s.id != grant.lease or not s.final]
            for s in self._draining:
                if s.id == grant.lease:
                    s.until = now + DRAIN_S
            return
        self._heard_at = now
        self._scarce = grant.scarce
        if grant.refused is not None:
            wait_s = remember_s if grant.retry_after_s is None else min(remember_s, grant.retry_after_s)
            self._refused, self._refused_seq = grant, seq
            self._refused_until = now + wait_s if grant.amount == grant.moved else 0.0
            self._refused_from = max(1, self._last_least)
        else:
            self._refused_until = 0.0
        until = sent_at + grant.lifetime_s
        if grant.gone:
            self._retire()
            self.slice = Slice(cap=FOREVER, until=until, sent_at=sent_at)
        elif self.is_rate:
            self._returning = ((), 0)
            self._remaining, self._full_in_s = grant.remaining, grant.full_in_s
            if grant.amount:
                self._next.append(Slice(cap=grant.amount, until=until, sent_at=sent_at, stamp=grant.stamp))
        elif grant.lease and grant.lease == self.slice.id:
            s = self.slice
            s.cap += grant.amount
            s.until, s.sent_at, s.booked = until, sent_at, grant.booked
        else:
            old = self.slice
            # What was taken of the old one while its rest was on the way to the new one.
            taken = min(grant.moved, max(0, old.used - self._sent_used)) if old.id else 0
            self._retire()
            self.slice = Slice(
                lease=grant.lease, cap=grant.amount - taken, until=until, sent_at=sent_at, start_ms=grant.start_ms
            )
            self._due = taken > 0

    def unanswered(self) -> None:
        """What was to be given back by the last claims is still to be given back."""
        back, owed = self._returning
        self._back.extend(back)
        self._owed += owed
        # The owner may have lent what never came: it sees that by the next claim.
        self._due = not self.is_rate
        self._returning = ((), 0)

    def remaining(self, now: float) -> tuple[int, float]:
        """Units that are left in this minute, as far as is known here, and seconds until all of it is."""
        own = sum(s.cap - s.used for s in (self.slice, *self._next) if now < s.until)
        passed = max(0.0, now - self._heard_at)
        leaked = int(min(passed, self._full_in_s) * self.limit.amount / 60)
        return max(0, self._remaining + own + leaked), max(0.0, self._full_in_s - passed)

    def is_idle(self, now: float, for_s: float) -> bool:
        return (
            now - max(self._took_at, self._heard_at) > for_s
            and not self.slice.id
            and not self.slice.open
            and not self._next
            and not self._draining
            and not self._back
            and not self._owed
            and not self._need
            and not self._due
            and self.spare is None
        )

    def _look(self, now: float, idle_s: float) -> None:
        """How fast it is being used."""
        passed = now - self._looked_at
        if passed <= 0.0:
            return
        took = self._carried + max(0, self.slice.used - self._seen)
        self._carried = 0
        if took:
            self._took_at = now
            self._pace = max(took / max(passed, 0.25), self._pace * FADES)
        else:
            self._pace = self._pace * FADES if now - self._took_at < idle_s else 0.0
        self._seen = self.slice.used
        self._looked_at = now

    def _give_back(self, s: Slice, free: int, need: int, ahead: int, least: int) -> bool:
        """Whether some of it was given back: all that is not needed where others wait or nothing happens, else what is
        far too much. What is too little for whoever waits goes back, too: he is lent all that he needs in one piece,
        and near the cap there may be no room for both."""
        keep = 0 if need and free < least else max(2 * ahead, need)
        if not s.id or free <= keep or (ahead and not self._scarce and free <= 2 * keep):
            return False
        s.cap = s.used + keep
        return True

    def _rate_claims(self, now: float, need: int, least: int, ahead: int) -> Iterator[Claim]:
        if now >= self.slice.until:
            self._retire()
            self.slice = self._next.popleft() if self._next else Slice()
        have = sum(max(0, s.cap - s.used) for s in (self.slice, *self._next))
        want = need + (max(0, ahead - have) if have < ahead // 2 else 0)
        if want > 0 or self._back or self._owed:
            self._returning = (tuple(self._back), self._owed)
            self._back, self._owed = [], 0
            back, owed = self._returning
            self._last_least = least
            yield Claim(limit=self.limit.name, need=need, least=least, want=want, back=back, owed=owed)

    def _claim(self, s: Slice, *, need: int = 0, least: int = 0, want: int = 0, closing: bool = False) -> Claim:
        self._last_least = least if not closing else self._last_least
        return Claim(
            limit=self.limit.name,
            lease=s.id,
            cap=s.cap,
            used=s.used,
            booked=s.booked,
            start_ms=s.start_ms,
            closing=closing,
            open=s.open,
            need=need,
            least=least,
            want=want,
        )

    def _retire(self) -> None:
        """Nothing more is taken from the slice in hand."""
        s = self.slice
        s.retired = True
        self._carried += max(0, s.used - self._seen)
        self._seen = 0
        if self.is_rate:
            left = s.cap - s.used
            if s.stamp >= 0 and left > 0 and s.cap < FOREVER:
                self._back.append((left, s.stamp))
            elif left < 0:
                self._owed -= left
        elif s.id and s is not self.spare:
            self._draining.append(s)
