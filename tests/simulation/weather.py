"""When which provider misbehaves, and how one call then goes. All of it follows from a seed.

A provider's weather is a list of episodes; between them it is well. In an episode a share of the calls meets its
trouble; some troubles befall the calls of one edge alone (its egress is broken, the provider is well).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from runtime.transport.base import Fault, FaultKind
from tests.simulation.wire import DONE, GARBAGE, PAGE, PING, Wire, words_of

NEVER = float("inf")

Piece = tuple[float, bytes | Fault]
"""Seconds after the piece before it, and what comes then."""


@dataclass(frozen=True, slots=True)
class Episode:
    begin: float
    end: float
    trouble: str
    share: float
    edge: str = ""

    def __str__(self) -> str:
        whose = f" for {self.edge} alone" if self.edge else ""
        return f"{self.begin:.1f}-{self.end:.1f} {self.trouble} for {self.share:.0%}{whose}"


@dataclass(slots=True)
class Play:
    """How one call goes: the head after `head_s` (or `fault` in its place), then the pieces; then a clean end.

    `wait_s` is what the answer asks its caller to wait. `throttles`: it is a 429.
    """

    text: str
    head_s: float
    fault: Fault | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    wait_s: float | None = None
    throttles: bool = False


@dataclass(frozen=True, slots=True)
class Cast:
    """What a trouble has to work with: a call as it would go if all were well."""

    play: Play
    words: list[bytes]
    wire: Wire
    streamed: bool
    between_s: float
    rng: random.Random


JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}
HTML = {"content-type": "text/html"}


def healthy(attempt: int, wire: Wire, *, streamed: bool, between_s: float, rng: random.Random) -> Cast:
    """A call that goes well, with latencies by chance."""
    said = words_of(attempt, rng.randint(1, 8))
    play = Play(text="".join(said), head_s=rng.uniform(0.05, 0.6))
    words = [wire.said(word) for word in said]
    if not streamed or rng.random() < 0.03:
        # Some answer a stream's request in one piece.
        play.headers = JSON
        play.pieces = [(rng.uniform(0.0, 0.8), wire.whole(play.text))]
    else:
        play.headers = EVENTS
        # Some say it all at once.
        gap_s = rng.choice((0.0, 1.0, 1.0)) * rng.uniform(0.02, 0.3)
        play.pieces = [
            (rng.uniform(0.0, 0.5), wire.opening),
            *((rng.uniform(0.5, 1.5) * gap_s, word) for word in words),
            (gap_s, wire.closing),
        ]
    return Cast(play, words, wire, play.headers is EVENTS, between_s, rng)


def play_of(trouble: str, cast: Cast) -> Play:
    TROUBLES[trouble](cast)
    return cast.play


def _instead(kind: FaultKind, after_s: float) -> Callable[[Cast], None]:
    """A fault in place of the head."""

    def change(cast: Cast) -> None:
        cast.play.head_s = after_s if after_s == NEVER else after_s * cast.rng.uniform(0.5, 2.0)
        cast.play.fault = Fault(kind, "simulated")

    return change


def _after(*rest: Piece, least: int = 0) -> Callable[[Cast], None]:
    """After some of the answer this comes instead of the rest. `least` words, if it is a stream, come before."""

    def change(cast: Cast) -> None:
        pieces = cast.play.pieces
        if cast.streamed:
            # The opening, then words; never the closing.
            keep = 1 + cast.rng.randint(min(least, len(cast.words)), len(cast.words))
            if not least and cast.rng.random() < 0.2:
                keep = 0
            cast.play.pieces = [*pieces[:keep], *rest]
        else:
            body = pieces[0][1]
            assert isinstance(body, bytes)
            half = body[: len(body) // 2]
            cast.play.pieces = [(pieces[0][0], half), *((gap_s, what) for gap_s, what in rest if what is not DONE)]

    return change


def _status(status: int, kind: str = "api_error", *, page: bool = False) -> Callable[[Cast], None]:
    def change(cast: Cast) -> None:
        play = cast.play
        play.status = status
        play.headers = HTML if page else JSON
        play.pieces = [(0.0, PAGE if page else cast.wire.refusal(kind))]

    return change


def _wait(status: int, kind: str, *, throttles: bool, named: bool = True) -> Callable[[Cast], None]:
    """A refusal that names a wait, in one of the forms that there are."""

    def change(cast: Cast) -> None:
        _status(status, kind)(cast)
        play, rng = cast.play, cast.rng
        play.throttles = throttles
        if not named:
            return
        seconds = rng.choice((1, 2, 5, 12))
        play.wait_s = float(seconds)
        form = rng.randrange(3)
        if form == 0:
            said = {"retry-after": str(seconds)}
        elif form == 1:
            play.wait_s = seconds + 0.25
            said = {"retry-after-ms": str(seconds * 1000 + 250)}
        else:
            then = f"Wed, 21 Oct 2026 07:28:{seconds:02d} GMT"
            said = {"retry-after": then, "date": "Wed, 21 Oct 2026 07:28:00 GMT"}
        play.headers = {**play.headers, **said}

    return change


def _pings(cast: Cast) -> None:
    """Bytes for ever, and nothing in them."""
    if cast.streamed:
        cast.play.pieces = [(0.0, cast.wire.opening), *([(0.7 * cast.between_s, PING)] * 500)]
    else:
        cast.play.pieces = [(NEVER, b"")]


def _drip(cast: Cast) -> None:
    """As slow as one may be without being taken for stalled."""
    cast.play.pieces = [(0.9 * cast.between_s, what) for _, what in cast.play.pieces]


def _slow(cast: Cast) -> None:
    cast.play.head_s *= 6.0
    cast.play.pieces = [(4.0 * gap_s, what) for gap_s, what in cast.play.pieces]


def _garbage(cast: Cast) -> None:
    if cast.streamed:
        _after((0.1, GARBAGE), least=0)(cast)
    else:
        cast.play.pieces = [(0.1, b'{"choices": 7}')]


def _error_event(least: int) -> Callable[[Cast], None]:
    def change(cast: Cast) -> None:
        if cast.streamed:
            _after((0.1, cast.wire.error), least=least)(cast)
        else:
            cast.play.pieces = [(0.1, cast.wire.refusal("api_error"))]

    return change


def _page(cast: Cast) -> None:
    cast.play.headers = HTML
    cast.play.pieces = [(0.1, PAGE)]


def _empty(cast: Cast) -> None:
    cast.play.pieces = []


TROUBLES: dict[str, Callable[[Cast], None]] = {
    "refuse": _instead(FaultKind.REFUSED, 0.01),
    "no connection": _instead(FaultKind.CONNECT_TIMEOUT, 1.0),
    "reset": _instead(FaultKind.RESET, 0.2),
    "hang": _instead(FaultKind.RESET, NEVER),
    "silence after the head": lambda cast: setattr(cast.play, "pieces", [(NEVER, b"")]),
    "pings": _pings,
    "stall": _after((NEVER, b""), least=1),
    "cut": _after((0.1, Fault(FaultKind.TRUNCATED, "simulated"))),
    "truncated": _after(),
    "truncated, with an end mark": _after((0.1, DONE)),
    "garbage": _garbage,
    "error event": _error_event(0),
    "late error event": _error_event(1),
    "429": _wait(429, "rate_limit_error", throttles=True, named=False),
    "429 with a wait": _wait(429, "rate_limit_error", throttles=True),
    "503 with a wait": _wait(503, "api_error", throttles=False),
    "500": _status(500),
    "502": _status(502, page=True),
    "529": _status(529, "overloaded_error"),
    "401": _status(401, "authentication_error"),
    "403": _status(403, "permission_error"),
    "a page": _page,
    "nothing": _empty,
    "drip": _drip,
    "slow": _slow,
}


def weather(rng: random.Random, *, edges: list[str], begin: float, end: float) -> list[Episode]:
    """One provider's episodes, one after the other."""
    episodes: list[Episode] = []
    # Some providers are ill most of the time, some hardly ever.
    well_s = rng.choice((1.0, 4.0, 12.0))
    at = begin + rng.uniform(0.0, well_s)
    while at < end:
        until = min(end, at + rng.choice((1.0, 4.0, 15.0)) * rng.uniform(0.5, 1.5))
        edge = rng.choice(edges) if rng.random() < 0.15 else ""
        episodes.append(Episode(at, until, rng.choice(list(TROUBLES)), rng.choice((0.3, 0.8, 1.0)), edge))
        at = until + rng.expovariate(1.0 / well_s)
    return episodes
