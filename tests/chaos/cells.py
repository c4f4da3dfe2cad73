"""One cell of the table: a fault, a dialect, plain or streamed; a gateway over real sockets, and what it made of it.

In each cell the first candidate has the fault. It is asked alone, and once more with a healthy one behind it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from runtime.assemble import Workshop, policy_of
from runtime.catalog import Catalog
from runtime.edge_provider import EdgeProvider, Senses
from runtime.gateway import Gateway
from runtime.outcome import Completion, Delta, Failure, Outcome, StreamEnd, StreamStart
from runtime.request import Request, user
from runtime.settings import Settings
from tests.chaos.faults import EVERY, STREAMS_ALONE, Large, Refuse, after_content, stalls
from tests.chaos.upstream import ChaosUpstream
from tests.chaos.wires import LARGE, WIRES, WORD, Wire
from tests.fakes.upstream import closed_port

QUICK = {"connect_s": 0.6, "first_byte_s": 0.6, "between_s": 0.3, "total_s": 8.0}
"""Limits of a candidate that only a time limit ends: a hang is then cheap."""

PATIENT = {"connect_s": 8.0, "first_byte_s": 8.0, "between_s": 8.0, "total_s": 8.0}

ONE_ATTEMPT_S = 1.0
"""What a whole answer may take of a candidate that drips it. A stream has other guards."""


@dataclass(frozen=True, slots=True)
class Rig:
    gateway: Gateway
    providers: dict[str, EdgeProvider]


@asynccontextmanager
async def rig(
    kinds: dict[str, tuple[str, str]],
    *,
    quick: Iterable[str] = (),
    brief: Iterable[str] = (),
    rng: random.Random | None = None,
    **said: Any,
) -> AsyncGenerator[Rig]:
    """A gateway over providers of these kinds at these addresses, asked in this order as the model `m`.

    Those in `quick` have limits that run out soon, those in `brief` little time for an attempt as a whole.
    """
    quick, brief = set(quick), set(brief)
    document = {
        "providers": {
            name: {
                "kind": kind,
                "base_url": url,
                "api_key": "key-of-the-fake",
                "priority": -place,
                **({"timeout_s": ONE_ATTEMPT_S} if name in brief else {}),
            }
            for place, (name, (kind, url)) in enumerate(kinds.items())
        },
        "routes": {"m": [f"{name}/m" for name in kinds]},
        "timeouts": PATIENT,
        **said,
    }
    settings = Settings.model_validate(document)
    hasty = Settings.model_validate({**document, "timeouts": QUICK})
    rng = rng or random.Random(1)
    workshop = Workshop(senses=Senses(clock=time.monotonic, wall=time.time), rng=rng, sleep=_never, env={})
    catalog = Catalog(settings)
    providers = {name: workshop.provider(name, hasty if name in quick else settings, catalog=catalog) for name in kinds}
    gateway = Gateway(policy_of(settings, providers, catalog), clock=time.monotonic, rng=rng)
    try:
        yield Rig(gateway, providers)
    finally:
        await gateway.close()


async def _never(seconds: float) -> None:
    raise AssertionError("only scripted providers wait by this")


@dataclass(frozen=True, slots=True)
class Told:
    """What a client was told: the outcome, and the text that it was shown before."""

    outcome: Outcome
    shown: str = ""
    started: bool = False

    @property
    def looks_complete(self) -> bool:
        return isinstance(self.outcome, Completion)

    def __str__(self) -> str:
        match self.outcome:
            case Completion(provider=provider):
                return f"answer of {provider}"
            case Failure(kind=kind):
                return f"{kind} after {len(self.shown)} letters" if self.started else str(kind)


ASKED = Request(messages=(user("hi"),), model="m")


async def ask(gateway: Gateway, *, streamed: bool, shown: Any = None) -> Told:
    if not streamed:
        return Told(await gateway.complete(ASKED))
    text, started = "", False
    async with aclosing(gateway.stream(ASKED)) as events:
        async for event in events:
            match event:
                case StreamStart():
                    started = True
                case Delta():
                    if event.choice == 0:
                        text += event.text
                    if shown is not None:
                        shown.set()
                case StreamEnd(outcome=outcome):
                    return Told(outcome, text, started)
    raise AssertionError("a stream ends with its outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    fault: str
    wire: Wire
    streamed: bool
    alone: Told
    paired: Told
    failover_ms: float | None
    took_s: float
    stopped: bool
    """Whether nothing was under way upstream any more when the client had its answer."""

    @property
    def mode(self) -> str:
        return "stream" if self.streamed else "plain"

    @property
    def attempts(self) -> list[tuple[str, str]]:
        return [(one.provider, one.outcome) for one in self.paired.outcome.attempts]

    @property
    def text(self) -> str:
        """What the whole answer says."""
        whole = isinstance(EVERY[self.fault], Large)
        return self.wire.text.replace(WORD, LARGE) if whole else self.wire.text

    @property
    def commits(self) -> bool:
        """Whether the client has been shown something when the fault strikes."""
        return self.streamed and after_content(EVERY[self.fault]) and self.wire.first is not None

    def row(self) -> str:
        tried = ", ".join(f"{who} {what}" for who, what in self.attempts)
        took = "-" if self.failover_ms is None else f"{self.failover_ms:.0f}"
        return f"{self.fault:<31} {self.wire.name:<10} {self.mode:<6} {self.paired!s:<34} {took:>5}  {tried}"


HEAD = f"{'fault':<31} {'dialect':<10} {'mode':<6} {'the client got':<34} {'ms':>5}  attempts"


def cells(name: str, dialects: Iterable[str] = WIRES) -> list[tuple[Wire, bool]]:
    """The dialects and modes that a fault is tried in."""
    plain = name not in STREAMS_ALONE
    return [(WIRES[one], streamed) for one in dialects for streamed in (False, True) if streamed or plain]


async def cell(name: str, wire: Wire, *, streamed: bool) -> Cell:
    alone, paired = await asyncio.gather(_alone(name, wire, streamed), _paired(name, wire, streamed))
    told, failover_ms, took_s, stopped = paired
    return Cell(
        fault=name,
        wire=wire,
        streamed=streamed,
        alone=alone,
        paired=told,
        failover_ms=failover_ms,
        took_s=took_s,
        stopped=stopped,
    )


async def _alone(name: str, wire: Wire, streamed: bool) -> Told:
    async with (
        ChaosUpstream(wire=wire, standing=EVERY[name]) as bad,
        rig({"bad": _address(bad)}, **_limits(bad, streamed), retry={"max_attempts": 1}) as made,
    ):
        return await ask(made.gateway, streamed=streamed, shown=bad.shown)


async def _paired(name: str, wire: Wire, streamed: bool) -> tuple[Told, float | None, float, bool]:
    async with (
        ChaosUpstream(wire=wire, standing=EVERY[name]) as bad,
        ChaosUpstream(wire=wire) as good,
        rig({"bad": _address(bad), "good": _address(good)}, **_limits(bad, streamed)) as made,
    ):
        begun = time.monotonic()
        told = await ask(made.gateway, streamed=streamed, shown=bad.shown)
        took_s = time.monotonic() - begun
        return told, (good.times[0] - begun) * 1000 if good.times else None, took_s, await _stops(bad)


def _address(upstream: ChaosUpstream) -> tuple[str, str]:
    wire = upstream.wire
    if isinstance(upstream.standing, Refuse):
        return wire.name, f"http://127.0.0.1:{closed_port()}{wire.path}"
    return wire.name, upstream.base_url


def _limits(upstream: ChaosUpstream, streamed: bool) -> dict[str, tuple[str, ...]]:
    if upstream.standing is None or not stalls(upstream.standing):
        return {}
    return {"quick": ("bad",), "brief": () if streamed else ("bad",)}


async def _stops(upstream: ChaosUpstream) -> bool:
    """Whether all calls end within a second of the client's answer. A connection that nobody reads does not say so."""
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        if all(call.ended_at is not None for call in upstream.calls if call.request is not None):
            return True
        await asyncio.sleep(0.01)
    return False
