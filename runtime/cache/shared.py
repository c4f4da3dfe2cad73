"""What all replicas remember together, and who of them asks. Behind it is a store: an actor of ours, or Redis.

    take      found ───────────► the answer, for nothing
              nobody asks ─────► `Lead`: you ask, and all others wait for what you bring
              somebody does ───► wait for it, for half of the time that there is; then ask by yourself
    Lead      give | release, exactly once; renewed while the call lasts, so that a dead leader holds nobody up

It is asked on a miss of this process alone, in one hop. It is never needed: one that is away, slow or broken is left
out after a moment, twice in a row for a second, and twice as long each time that it still is (a `Breaker`). What it
tells is read without trust.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from runtime.breaker import Breaker, BreakerPolicy, Permit, Refusal
from runtime.cache.answers import About, Forget, given_again
from runtime.cache.pack import Unreadable, pack, unpack
from runtime.outcome import Blame, Completion
from runtime.wire import crosses

log = logging.getLogger("raygate.cache")

HURRY_S = 1.0
"""How long the one hop may take. A call of an actor takes about a millisecond, one of Redis less; but a stampede keeps
the very loop busy that waits for it, and that is when it is worth most. One that is dead says so at once."""
LEASE_S = 15.0
"""For so long whoever asks is believed to live. He says so three times as often."""
SICK = BreakerPolicy(failures=2, open_s=1.0, open_max_s=30.0, probe_ttl_s=5.0, ramp_s=0.0)
MOST_BACKGROUND = 1_000
"""Answers on their way to the store. Beyond, they are remembered here alone."""


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class TakenUp:
    """What a store says of a key. `lead`: nobody has it or asks for it, and now you do."""

    packed: bytes | None = None
    age_s: float = 0.0
    lead: bool = False


class Store(Protocol):
    """Bytes by key, each for a limited time, and leases on keys. Whatever is raised means that it is away.

    A lease is its `holder`'s alone; it ends with `put`, `release`, time, or `forget`, after which `put` does nothing.
    """

    async def take(self, key: bytes, holder: str, lease_s: float) -> TakenUp: ...
    async def wait(self, key: bytes, within_s: float) -> TakenUp:
        """Until there is an answer, or nobody asks for it any more, or the time is over."""
        ...

    async def look(self, key: bytes) -> TakenUp: ...
    async def renew(self, key: bytes, holder: str, lease_s: float) -> None: ...
    async def put(self, key: bytes, holder: str, packed: bytes, about: About, ttl_s: float) -> None: ...
    async def release(self, key: bytes, holder: str) -> None: ...
    async def forget(self, what: Forget) -> int: ...
    async def stats(self) -> Mapping[str, int]: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Found:
    """An answer that another replica has left, as it was given there."""

    completion: Completion
    age_s: float

    def told(self, key: bytes) -> Completion:
        return given_again(self.completion, key, self.age_s)


class Lead:
    """The right to ask for all. Give what came of it, or release it; the first of the two counts."""

    __slots__ = ("_key", "_renewal", "_tier", "holder")

    def __init__(self, tier: SharedTier, key: bytes, holder: str) -> None:
        self._tier = tier
        self._key = key
        self._renewal: asyncio.TimerHandle | None = asyncio.get_running_loop().call_later(LEASE_S / 3, self._renew)
        self.holder = holder

    def give(self, completion: Completion, *, ttl_s: float, about: About) -> None:
        """On its way when this returns; the request goes on without it."""
        if self._end():
            try:
                packed = pack(completion, about=about)
            except TypeError:
                self._tier.later(lambda store: store.release(self._key, self.holder))
                return
            self._tier.later(lambda store: store.put(self._key, self.holder, packed, about, ttl_s))

    def release(self) -> None:
        if self._end():
            self._tier.later(lambda store: store.release(self._key, self.holder))

    def _renew(self) -> None:
        self._renewal = asyncio.get_running_loop().call_later(LEASE_S / 3, self._renew)
        self._tier.later(lambda store: store.renew(self._key, self.holder, LEASE_S))

    def _end(self) -> bool:
        renewal, self._renewal = self._renewal, None
        if renewal is not None:
            renewal.cancel()
        return renewal is not None


class SharedTier:
    """One process's way to the store. Belongs to its event loop; `clock` is monotonic seconds.

    `found` and `led` count what was asked, `away` how often there was no answer in time, `skipped` how often it was
    left out for that.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        rng: random.Random,
        hurry_s: float = HURRY_S,
    ) -> None:
        self.store = store
        self.found = self.led = self.waited = self.away = self.skipped = 0
        self._clock = clock
        self._hurry_s = hurry_s
        self._breaker = Breaker(SICK, rng=rng)
        self._under_way: set[asyncio.Task[None]] = set()

    async def ask(self, key: bytes, *, within_s: float, max_age_s: float | None = None) -> Found | Lead | None:
        """An answer, or the right to ask for it; None where this process has to see for itself."""
        holder = secrets.token_hex(8)
        taken = await self._try(lambda: self.store.take(key, holder, LEASE_S))
        if taken is not None and taken.packed is None and not taken.lead and within_s > 0.0:
            self.waited += 1
            taken = await self._try(lambda: self.store.wait(key, within_s), more_s=within_s)
        if taken is None:
            return None
        if taken.lead:
            self.led += 1
            return Lead(self, key, holder)
        return self._read(taken, max_age_s)

    async def look(self, key: bytes, *, max_age_s: float | None = None) -> Found | None:
        """An answer, if there is one; nobody is promised to ask for it."""
        taken = await self._try(lambda: self.store.look(key))
        return None if taken is None else self._read(taken, max_age_s)

    def _read(self, taken: TakenUp, max_age_s: float | None) -> Found | None:
        if taken.packed is None or (max_age_s is not None and taken.age_s >= max_age_s):
            return None
        try:
            _, completion = unpack(taken.packed)
        except Unreadable as error:  # another version's, or somebody else's
            log.warning("cache.unreadable", extra={"why": str(error)})
            return None
        self.found += 1
        return Found(completion, taken.age_s)

    async def _try(self, ask: Callable[[], Awaitable[TakenUp]], *, more_s: float = 0.0) -> TakenUp | None:
        permit = self._breaker.admit(self._clock())
        if isinstance(permit, Refusal):
            self.skipped += 1
            return None
        blame = Blame.SILENT
        try:
            async with asyncio.timeout(self._hurry_s + more_s):
                taken = _checked(await ask())
            blame = Blame.GOOD
        except Exception as error:  # whatever it is, a request must not fail for it
            blame = Blame.BAD
            self._failed(error)
            return None
        finally:
            self._breaker.settle(permit, blame, self._clock())
        return taken

    def later(self, act: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
        """In the background, and without a word where it fails: leases end by themselves."""
        permit = self._breaker.admit(self._clock())
        if isinstance(permit, Refusal) or len(self._under_way) >= MOST_BACKGROUND:
            self.skipped += 1
            return
        task = asyncio.ensure_future(self._quietly(act(self.store), permit))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _quietly(self, act: Coroutine[Any, Any, None], permit: Permit) -> None:
        blame = Blame.SILENT
        try:
            async with asyncio.timeout(2 * self._hurry_s):
                await act
            blame = Blame.GOOD
        except Exception as error:  # as above
            blame = Blame.BAD
            self._failed(error)
        finally:
            self._breaker.settle(permit, blame, self._clock())

    def _failed(self, error: Exception) -> None:
        self.away += 1
        log.warning("cache.shared_away", extra={"why": f"{type(error).__name__}: {error}"[:200]})

    async def settled(self) -> None:
        """Once what is on its way has come there."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def close(self) -> None:
        for task in self._under_way:
            task.cancel()
        await self.store.close()


def _checked(taken: object) -> TakenUp:
    if not isinstance(taken, TakenUp):
        raise TypeError(f"a store answered with {type(taken).__name__}")
    return taken


@dataclass(slots=True)
class _Lease:
    holder: str
    until: float


class SharedAnswers:
    """What the actor holds: packed answers, least recently used out first by bytes, and leases. Decides; never waits.

    `now` is its owner's monotonic clock. `changed` holds the keys for which whoever waits is to be woken.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.hits = self.misses = self.evicted = self.forgotten = 0
        self._kept: dict[bytes, tuple[bytes, About, float, float]] = {}
        self._leases: dict[bytes, _Lease] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, key: bytes, holder: str, lease_s: float, now: float) -> TakenUp:
        found = self.look(key, now)
        if found.packed is not None:
            return found
        self.misses += 1
        if self.is_led(key, now):
            return TakenUp()
        if len(self._leases) > MOST_BACKGROUND:
            self._leases = {of: one for of, one in self._leases.items() if one.until > now}
        self._leases[key] = _Lease(holder, now + lease_s)
        return TakenUp(lead=True)

    def look(self, key: bytes, now: float) -> TakenUp:
        kept = self._kept.get(key)
        if kept is None:
            return TakenUp()
        packed, _, at, until = kept
        if now >= until:
            self._drop(key)
            return TakenUp()
        # The last in the order of a dict is the one that was used most recently.
        self._kept[key] = self._kept.pop(key)
        self.hits += 1
        return TakenUp(packed=packed, age_s=now - at)

    def is_led(self, key: bytes, now: float) -> bool:
        return self.lease_left_s(key, now) > 0.0

    def lease_left_s(self, key: bytes, now: float) -> float:
        lease = self._leases.get(key)
        return -math.inf if lease is None else lease.until - now

    def renew(self, key: bytes, holder: str, lease_s: float, now: float) -> None:
        lease = self._leases.get(key)
        if lease is not None and lease.holder == holder:
            lease.until = now + lease_s

    def put(self, key: bytes, holder: str, packed: bytes, about: About, *, ttl_s: float, now: float) -> bool:
        """Whether it was taken: of whoever holds the lease alone."""
        if not self.release(key, holder):
            return False
        self._drop(key)
        size = len(packed) + PACKED_BYTES
        if size > self.max_bytes:
            return False
        self._kept[key] = (packed, about, now, now + ttl_s)
        self.bytes += size
        while self.bytes > self.max_bytes:
            self._drop(next(iter(self._kept)))
            self.evicted += 1
        return True

    def release(self, key: bytes, holder: str) -> bool:
        lease = self._leases.get(key)
        if lease is None or lease.holder != holder:
            return False
        del self._leases[key]
        return True

    def forget(self, what: Forget) -> int:
        """What is under way now is not taken in either: its leases end."""
        self._leases.clear()
        found = [key for key, (_, about, _, _) in self._kept.items() if what.everything or what.fits(key, about)]
        for key in found:
            self._drop(key)
        self.forgotten += len(found)
        return len(found)

    def stats(self) -> dict[str, int]:
        return {
            "entries": len(self._kept),
            "bytes": self.bytes,
            "hits": self.hits,
            "misses": self.misses,
            "evicted": self.evicted,
            "leases": len(self._leases),
        }

    def _drop(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.bytes -= len(kept[0]) + PACKED_BYTES


PACKED_BYTES = 600
"""What an entry takes beside its packed answer."""
