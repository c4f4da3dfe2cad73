"""What the page is told while somebody looks at it, twice a second, as server-sent events.

    hello   who looks, and what there is to look at: at first, and when the settings have changed
    state   how the providers are, and what was used in this hour (admins)
    rows    attempts that are over, oldest first (of an ordinary key: its own)
    away    what cannot be known at the moment, and why

All who look at this replica share its questions to manager and ledger; while nobody looks, nothing is asked.
What has not changed is not said again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from actors.refs import Unreachable
from runtime.outcome import Failure
from runtime.request import Json

EVERY_S = 0.5
FIRST, MOST = 300, 200
"""Attempts that are shown at first, and that come at most each second; what is beyond is in the sums."""
KEPT = 8
"""Looks that wait for one who reads slowly."""
CALM, SELDOM = 8, 10
"""After so many looks at which nothing moved, only every so many-th is a real one."""
QUIET_S = 15.0
"""After so much silence a comment is sent, so that proxies keep the connection."""
ASK_S = 1.0
"""How often it is looked whether the key is good and whether the settings have changed, while something moves; else
with each look: what revokes a key or changes the settings moves the stamp."""
LONGEST_S = 600.0
"""Then the stream ends, and the page asks anew: of another replica, maybe, and with a key that is still good."""

Row = dict[str, Any]
Glance = Callable[[], Awaitable[Mapping[str, Any]]]
Tail = Callable[[int, int], Awaitable[Json | Failure]]
"""The rows after this number, at most so many; 0 asks for the last ones there are."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. `away` says what could not be seen; it is then as it was."""

    number: int = 0
    at_s: float = 0.0
    state: Mapping[str, Any] | None = None
    rows: tuple[Row, ...] = ()
    seq: int = 0
    away: Mapping[str, str] = field(default_factory=dict)


class Watch:
    """Belongs to one event loop. Looks while somebody follows.

    `stamp` costs nothing and is another one once the manager has published anything: while it stays, and nothing else
    moved either, manager and ledger are asked `SELDOM`.
    """

    def __init__(
        self,
        glance: Glance,
        tail: Tail,
        *,
        wall: Callable[[], float],
        stamp: Callable[[], object],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._glance = glance
        self._tail = tail
        self._wall = wall
        self._stamp = stamp
        self._known: object = None
        self._calm = 0
        self._sleep = sleep
        self._looks: deque[Seen] = deque([Seen()], maxlen=KEPT)
        self._news = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self.watchers = 0

    def join(self) -> None:
        self.watchers += 1
        if self._looking is None:
            # Numbers go on: whoever left and came back must not take an old look for a new one.
            self._looks = deque([Seen(number=self._looks[-1].number)], maxlen=KEPT)
            self._looking = asyncio.create_task(self._look())

    def leave(self) -> None:
        self.watchers -= 1
        if self.watchers == 0 and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    @property
    def number(self) -> int:
        """Of the last look."""
        return self._looks[-1].number

    async def next(self, after: int, within_s: float) -> tuple[Seen, ...]:
        """The looks after this one, oldest first; none if none comes in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.number <= after:
                    await self._news.wait()
        return tuple(look for look in self._looks if look.number > after)

    async def _look(self) -> None:
        while True:
            if (seen := await self._once(self._looks[-1])) is not None:
                self._looks.append(seen)
                news, self._news = self._news, asyncio.Event()
                news.set()
            await self._sleep(EVERY_S)

    async def _once(self, last: Seen) -> Seen | None:
        """What is seen now; None where nothing moves and it is not worth a look: then nobody is woken either."""
        stamp = self._stamp()
        if stamp != self._known:
            self._known, self._calm = stamp, 0
        self._calm += 1
        if self._calm > CALM and self._calm % SELDOM:
            return None
        away: dict[str, str] = {}
        state = last.state
        try:
            state = await self._glance()
        except Unreachable as error:
            away["manager"] = str(error)
        rows: tuple[Row, ...] = ()
        seq = last.seq
        found = await self._tail(seq, MOST)
        if isinstance(found, Failure):
            away["ledger"] = found.detail
        elif isinstance(found, dict):
            seq = max(seq, int(found["seq"]))
            rows = tuple(slim(row) for row in reversed(found["rows"]))
        if rows or away or _moving(state) != _moving(last.state):
            self._calm = 0
        return Seen(last.number + 1, self._wall(), state, rows, seq, away)


def _moving(state: Mapping[str, Any] | None) -> object:
    """What tells that something happens. Waits that grow shorter do not: the page counts them down by itself."""
    if state is None:
        return None
    providers = [
        (one.provider, one.breaker, one.available, one.in_flight, one.detail, tuple(one.models), tuple(one.keys))
        for one in state["providers"]
    ]
    return state["used"], state.get("replicas"), providers


def slim(row: Mapping[str, Any]) -> Row:
    """A row without what it does not say: zeros too, but for a cost of 0, which is known."""
    return {name: value for name, value in row.items() if value or (name == "cost_nanousd" and value is not None)}


def event(name: str, data: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


class Teller:
    """What one who looks is told. `key`: only of its own rows; None: of everything."""

    def __init__(self, key: str | None = None) -> None:
        self._key = key
        self._state: Mapping[str, Any] | None = None
        self._away: Mapping[str, str] = {}

    def told(self, seen: Seen) -> bytes:
        out = b""
        rows = [row for row in seen.rows if self._key is None or row.get("key") == self._key]
        if rows:
            out += event("rows", rows)
        if self._key is not None:
            return out
        if seen.state is not None and seen.state != self._state:
            self._state = seen.state
            out += event("state", {**seen.state, "at_s": seen.at_s})
        if seen.away != self._away:
            self._away = seen.away
            out += event("away", seen.away)
        return out


async def follow(
    watch: Watch,
    teller: Teller,
    write: Callable[[bytes], Awaitable[None]],
    *,
    hello: Callable[[], Awaitable[bytes]],
    first: Callable[[], Awaitable[Sequence[Row]]],
    clock: Callable[[], float],
) -> None:
    """Until `LONGEST_S` are over. `hello` is asked at first and now and then; what it says anew is passed on. It raises
    where the one who looks may no longer. `first` are rows that there are already; some may come twice."""
    begun = quiet = asked = clock()
    said = await hello()
    await write(said)
    watch.join()
    try:
        number = watch.number
        if rows := await first():
            await write(event("rows", rows))
        while clock() - begun < LONGEST_S:
            looks = await watch.next(number, QUIET_S)
            out = b"".join(map(teller.told, looks))
            number = looks[-1].number if looks else number
            if clock() - asked >= ASK_S:
                asked = clock()
                if (now := await hello()) != said:
                    said = now
                    out = said + out
            if not out and clock() - quiet >= QUIET_S:
                out = b": still here\n\n"
            if out:
                quiet = clock()
                await write(out)
    finally:
        watch.leave()
