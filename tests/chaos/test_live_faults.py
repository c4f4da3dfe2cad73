"""Fault × dialect × (plain, stream) through a Raygate that runs, over HTTP and on both data paths.

the fault strikes      the client gets
before any content     the healthy candidate's whole answer, and headers that name who failed
after content          what it was shown so far, then an error event, and no end mark
alone, before content  the status and the envelope of its kind of failure

What each fault is, is `expected.py`'s; the same table in one process, with every dialect, is `test_faults.py`'s. A
short version meets each dialect with faults of each phase; RAYGATE_CHAOS=full has four dialects, in turn, in every row
through the replicas, and one through the actors, where a call takes several times as much.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import ceil

import pytest

from runtime.outcome import FailureKind
from tests.chaos.expected import kind_of
from tests.chaos.farm import ACCEPTS, ANTHROPIC, OPENAI, WELL, Farm, Reply, ask, farm, ill_of, slug
from tests.chaos.faults import (
    EVERY,
    STREAMS_ALONE,
    Drip,
    Fault,
    Hang,
    Large,
    Phase,
    Refuse,
    Reset,
    Status,
    Wait,
    after_content,
    stalls,
)
from tests.chaos.size import FULL, sized
from tests.chaos.wires import LARGE, WIRES, WORD, Wire
from tests.e2e.conftest import Live

K = FailureKind
PATHS = ("edge", "actor")
AT_ONCE = 32
SOME = {"edge": sized(1, 4), "actor": 1}
"""In how many dialects each fault is met, in turn."""

SOON_S = 18.0
"""More than any limit of a candidate that hangs takes on a busy machine, and less than the request's time."""

REFUSED_TIMES = 5
"""So often a cell is begun at most: one whose provider's breaker was open meanwhile says nothing about its fault."""

OPENAI_SAYS = {
    K.UNAVAILABLE: (503, "service_unavailable_error"),
    K.OVERLOADED: (503, "overloaded_error"),
    K.INTERRUPTED: (502, "upstream_interrupted_error"),
    K.MALFORMED: (502, "upstream_malformed_error"),
    K.TIMED_OUT: (504, "timeout_error"),
}
ANTHROPIC_SAYS = {
    K.UNAVAILABLE: (503, "api_error"),
    K.OVERLOADED: (529, "overloaded_error"),
    K.INTERRUPTED: (502, "api_error"),
    K.MALFORMED: (502, "api_error"),
    K.TIMED_OUT: (504, "timeout_error"),
}
SAYS = {OPENAI: OPENAI_SAYS, ANTHROPIC: ANTHROPIC_SAYS}


@pytest.fixture(autouse=True, scope="module")
def as_it_was(live: Live) -> Iterator[None]:
    yield
    live.switch()


@dataclass(frozen=True, kw_only=True)
class Cell:
    """`provider` is the one with the fault. The cell's name is its model there, its model elsewhere and its route."""

    fault: str
    wire: Wire
    streamed: bool
    surface: str

    @property
    def name(self) -> str:
        return f"{slug(self.fault)}.{self.wire.name}.{'stream' if self.streamed else 'plain'}.{self.surface}"

    @property
    def provider(self) -> str:
        return ACCEPTS[self.fault][0] if self.fault in ACCEPTS else ill_of(self.wire.name)

    @property
    def kind(self) -> FailureKind | None:
        return kind_of(self.fault, self.wire, streamed=self.streamed)

    @property
    def commits(self) -> bool:
        """Whether the client has been shown something when the fault strikes."""
        return self.streamed and after_content(EVERY[self.fault]) and self.wire.first is not None

    @property
    def text(self) -> str:
        large = isinstance(EVERY[self.fault], Large)
        return self.wire.text.replace(WORD, LARGE) if large else self.wire.text


def _waits(fault: Fault) -> bool:
    """Faults that shut a provider for a while, and so get in the way of other cells: they have a test of their own."""
    return isinstance(fault, Status) and (fault.status == 429 or fault.wait is not Wait.NONE)


def phase_of(fault: Fault) -> str:
    """Which part of the exchange breaks. The short version has each dialect in each of them."""
    phase = getattr(fault, "phase", None)
    match phase:
        case Phase.REQUEST | Phase.HEAD:
            return "before the body"
        case Phase.BODY | Phase.CONTENT:
            return str(phase)
        case Phase.END | Phase.WHOLE:
            return "end"
        case _:
            return "status" if isinstance(fault, Status) else "whole"


def cells(path: str) -> list[Cell]:
    """The paths begin with different dialects, so that the short version has more of them."""
    shift = PATHS.index(path) * 3
    some = SOME[path]
    turns = {phase: count(shift) for phase in map(phase_of, EVERY.values())}
    surfaces = count()
    found = []
    for name, fault in EVERY.items():
        if _waits(fault):
            continue
        for streamed in (False, True) if name not in STREAMS_ALONE else (True,):
            dialects = list(WIRES)
            if name in ACCEPTS:
                dialects = [ACCEPTS[name][1]]
            else:
                dialects = [dialects[next(turns[phase_of(fault)]) % len(dialects)] for _ in range(some)]
            for dialect in dialects:
                surface = ANTHROPIC if next(surfaces) % 5 == 4 else OPENAI
                found.append(Cell(fault=name, wire=WIRES[dialect], streamed=streamed, surface=surface))
    return found


@pytest.mark.parametrize("path", PATHS)
def test_each_dialect_meets_faults_of_each_phase(path: str) -> None:
    met = {(phase_of(EVERY[one.fault]), one.wire.name) for one in cells(path) if one.fault not in ACCEPTS}
    assert met == {(phase, dialect) for phase, _ in met for dialect in WIRES}


@pytest.mark.parametrize("path", PATHS)
async def test_no_client_is_deceived_and_none_is_failed_without_need(live: Live, path: str) -> None:
    table = cells(path)
    routes = {one.name: (f"{one.provider}/{one.name}", f"{WELL}/{one.name}") for one in table}
    # What a client sees of one fault is asked of one attempt; retries have a test of their own.
    async with farm(live, path, routes, retry={"per_provider": 1}) as made:
        for one in table:
            if one.fault not in ACCEPTS:
                made.ill[one.wire.name].faults[one.name] = _slower(EVERY[one.fault])
        begun = time.monotonic()
        await asyncio.gather(*(made.breathe(ill_of(dialect), 12) for dialect in WIRES))
        # Who only waits takes nothing from the others; thousands of single bytes need a loop that is not busy.
        turns, patience, peace = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(2 * AT_ONCE), asyncio.Semaphore(4)
        quick = [one for one in table if isinstance(EVERY[one.fault], Drip) and not _stalls(one)]
        ran = await asyncio.gather(*(_run(made, one, peace) for one in quick))
        table = [*quick, *(one for one in table if one not in quick)]
        ran += await asyncio.gather(
            *(_run(made, one, patience if _stalls(one) else turns) for one in table[len(quick) :])
        )
        took_s = time.monotonic() - begun
        await made.is_idle()
        wrong = [f"{one.name}: {why}" for one, (why, _) in zip(table, ran, strict=True) if why]
        over_ms = [ms for one, (_, ms) in zip(table, ran, strict=True) if ms is not None and not _stalls(one)]
        print(
            f"\n{path}: {len(table)} cells in {took_s:.1f} s; time to failover p50 {_percentile(over_ms, 0.5):.0f} ms, "
            f"p99 {_percentile(over_ms, 0.99):.0f} ms, of {len(over_ms)}, {AT_ONCE} cells at once"
        )
        assert not wrong, "\n".join(wrong)


def _slower(fault: Fault) -> Fault:
    """A drip that takes longer than any limit here, for all answers."""
    return replace(fault, interval_s=0.2) if isinstance(fault, Drip) and fault.interval_s > 0.0 else fault


def _stalls(one: Cell) -> bool:
    return stalls(EVERY[one.fault])


async def _run(made: Farm, one: Cell, turns: asyncio.Semaphore) -> tuple[str, float | None]:
    """What is wrong with a cell, empty if nothing; and the milliseconds to its failover, if it had one."""
    async with turns:
        for _ in range(REFUSED_TIMES):
            if one.fault not in ACCEPTS:
                await made.breathe(one.provider, 2)
            calls = _calls(made, one)
            asked = [_ask(made, one, one.name)]
            if one.kind is not None and not one.commits:
                asked.append(_ask(made, one, f"{one.provider}/{one.name}"))
            paired, *alone = told = await asyncio.gather(*asked)
            if one.fault not in ACCEPTS:
                await made.breathe(one.provider, 2)
            if not any(reply.was_refused for reply in told):
                break
    problems = [_wrong_pair(one, paired), *(_wrong_alone(one, reply) for reply in alone)]
    calls = _calls(made, one) - calls
    # A kept connection that breaks at once may have been closing: then the request is sent again, on a fresh one.
    most = 2 * len(told) if one.fault == "reset at request" else len(told)
    if one.fault not in ACCEPTS and not len(told) <= calls <= most:
        problems.append(f"asked {calls} times for {len(told)} requests")
    problems += [f"it took {reply.took_s:.1f} s" for reply in told if reply.took_s > SOON_S]
    moments = made.well.times_of(one.name)
    over_ms = (moments[-1] - paired.begun) * 1e3 if moments else None
    return "; ".join(filter(None, problems)), over_ms


def _calls(made: Farm, one: Cell) -> int:
    return 0 if one.fault in ACCEPTS else len(made.ill[one.wire.name].times_of(one.name))


async def _ask(made: Farm, one: Cell, model: str) -> Reply:
    seen = None if one.fault in ACCEPTS else made.ill[one.wire.name].seen.setdefault(one.name, asyncio.Event())
    return await ask(made, model, one.name, streamed=one.streamed, surface=one.surface, seen=seen)


def _wrong_pair(one: Cell, told: Reply) -> str:
    if one.commits and one.kind is not None:
        started = told.status == 200 and told.shown and one.text.startswith(told.text)
        honest = started and not told.ended and told.error is not None and not told.cut
        right = honest and told.error["type"] == SAYS[one.surface][one.kind][1] and told.attempts == 1
        return "" if right else f"not an end that says {one.kind}: {told}"
    attempts = 1 if one.kind is None else 2
    failed = "" if one.kind is None else f"{one.provider}/{one.name}={one.kind}"
    whole = told.looks_complete and told.text == (one.text if one.kind is None else WIRES["openai"].text)
    right = whole and told.attempts == attempts and told.failed_attempts == failed
    return "" if right else f"no healthy answer after {failed or 'nothing'}: {told}"


def _wrong_alone(one: Cell, told: Reply) -> str:
    assert one.kind is not None
    status, kind = SAYS[one.surface][one.kind]
    right = told.status == status and told.error is not None and told.error["type"] == kind
    right = right and bool(told.error["message"]) and told.attempts == 1 and not told.ended
    return "" if right else f"alone, not {status} {kind}: {told}"


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[ceil(len(values) * share) - 1]


# Waits.


SPREAD_S = 0.5
"""Within so long all replicas have heard of a wait that one of them was told."""

PAUSE_S = 0.05
"""Between the requests of those who come meanwhile: a machine that is full hears of nothing in time."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """A provider of one dialect that names a wait in one form. `alone`: it is all that there is to ask."""

    wire: Wire
    status: int
    form: Wait
    alone: bool
    streamed: bool

    @property
    def name(self) -> str:
        return f"{self.status}.{self.wire.name}.{self.form}.{'alone' if self.alone else 'paired'}"

    @property
    def wait_s(self) -> float:
        """Without a wait that could be read, a 429 is taken to mean a second at least."""
        named = self.wire.wait_s(self.form)
        return 1.0 if named is None else named


FORMS = [*((429, form) for form in Wait), (503, Wait.SECONDS)]


def waits(path: str) -> list[list[Told]]:
    """One list a dialect: a provider can be told to wait for one thing at a time."""
    found = []
    for at, wire in enumerate(WIRES.values()):
        count = {"edge": len(FORMS), "actor": 3}[path] if FULL else 1
        forms = [FORMS[(at + step) % len(FORMS)] for step in range(count)]
        found.append(
            [
                Told(wire=wire, status=status, form=form, alone=alone, streamed=(at + place) % 2 == 0)
                for place, (status, form) in enumerate(forms)
                for alone in (True, False)
                if not (alone and form is Wait.NONE) and not (not alone and status != 429)
            ]
        )
    return found


async def _until_asked(made: Farm, one: Told, model: str) -> asyncio.Task[Reply]:
    """A request that has reached the upstream: one that has just healed gets only a share of them for a while."""
    upstream = made.ill[one.wire.name]
    tries_until = time.monotonic() + 15.0
    came = asyncio.create_task(upstream.until(lambda: bool(upstream.times_of(one.name))))
    while True:
        asking = asyncio.create_task(ask(made, model, one.name, streamed=one.streamed))
        await asyncio.wait((asking, came), return_when=asyncio.FIRST_COMPLETED)
        if upstream.times_of(one.name) or time.monotonic() > tries_until:
            came.cancel()
            return asking


@pytest.mark.parametrize("path", PATHS)
async def test_nobody_is_asked_again_before_the_wait_that_was_named(live: Live, path: str) -> None:
    """By the request that was told, and by those that come meanwhile through any replica."""
    table = waits(path)
    routes = {
        name: (f"{ill_of(one.wire.name)}/{name}", f"{WELL}/{name}")
        for each in table
        for one in each
        for name in (one.name, f"others.{one.wire.name}")
    }
    async with farm(live, path, routes, retry={"per_provider": 2, "budget_ratio": 1.0}) as made:
        await asyncio.gather(*(made.breathe(ill_of(dialect), 6) for dialect in WIRES))
        wrong = [why for each in await asyncio.gather(*(_in_turn(made, each) for each in table)) for why in each]
        assert not wrong, "\n".join(wrong)


async def _in_turn(made: Farm, each: Sequence[Told]) -> list[str]:
    return [f"{one.name}: {why}" for one in each if (why := await _throttle(made, one))]


async def _throttle(made: Farm, one: Told) -> str:
    upstream, provider = made.ill[one.wire.name], ill_of(one.wire.name)
    await made.answers(provider)
    upstream.once[one.name] = Status(one.status, one.form)
    kind = K.RATE_LIMITED if one.status == 429 else K.OVERLOADED
    model = f"{provider}/{one.name}" if one.alone else one.name
    asking = await _until_asked(made, one, model)
    if not upstream.times_of(one.name):
        return f"it was not asked at all: {await asking}"
    told_at = upstream.times_of(one.name)[0]
    ends = told_at + one.wait_s
    others: list[Reply] = []
    if one.status == 429 and one.wait_s > SPREAD_S:
        await asyncio.sleep(SPREAD_S)
        spread = time.monotonic()
        while time.monotonic() < ends - 0.1:
            asked = (ask(made, f"others.{one.wire.name}", "others", streamed=streamed) for streamed in (False, True))
            others += await asyncio.gather(*asked)
            await asyncio.sleep(PAUSE_S)
        early = [at - told_at for at in upstream.times_of("others") if spread <= at < ends]
        if early:
            return f"others asked it after {early} s"
    if not all(reply.looks_complete for reply in others):
        return f"others were told {Counter(map(str, others))}"
    reply = await asking
    failed = f"{provider}/{one.name}={kind}"
    answered = reply.looks_complete and reply.attempts == 2 and reply.failed_attempts == failed
    # A 503 is a failure, too: with those of the other cells it may have opened the breaker, and the retry is refused.
    gave_up = one.alone and one.status != 429 and reply.attempts == 2 and reply.status == one.status
    if gave_up:
        print(f"\n{one.name}: waited {reply.took_s:.1f} s for its retry, which was refused all the same")
    if not (answered or gave_up):
        return str(reply)
    if gave_up or not one.alone:
        # It is asked again, as soon as it may be, by those who come then; a replica has to have heard of the wait.
        await asyncio.sleep(max(0.0, told_at + SPREAD_S - time.monotonic()))
        while len(upstream.times_of(one.name)) < 2 and time.monotonic() < ends + 10.0:
            await ask(made, one.name, one.name, streamed=one.streamed)
            await asyncio.sleep(0.02)
    times = upstream.times_of(one.name)
    if len(times) != 2:
        return f"asked {len(times)} times"
    again_s = times[1] - times[0]
    return "" if again_s >= one.wait_s else f"asked again after {again_s:.3f} s instead of {one.wait_s}"


# At random.


REQUESTS = sized(0, 200)
BEFORE_CONTENT = [
    fault
    for fault in EVERY.values()
    # A drip shows content before its time is over, where the machine is busy.
    if not isinstance(fault, Refuse | Large | Drip) and not _waits(fault) and not after_content(fault)
    if not (isinstance(fault, Reset | Hang) and fault.phase is Phase.ACCEPT)
]


@pytest.mark.skipif(not FULL, reason="RAYGATE_CHAOS=full")
@pytest.mark.parametrize("path", PATHS)
async def test_with_one_healthy_candidate_all_but_one_in_a_thousand_are_answered(live: Live, path: str) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    first, second = rng.sample(sorted(WIRES), k=2)
    routes = {"any": (f"{ill_of(first)}/any", f"{ill_of(second)}/any", f"{WELL}/any")}
    async with farm(live, path, routes) as made:
        for dialect in (first, second):
            made.ill[dialect].chance = lambda: rng.choice(BEFORE_CONTENT) if rng.random() < 0.3 else None
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(streamed: bool) -> Reply:
            async with turns:
                return await ask(made, "any", "any", streamed=streamed)

        begun = time.monotonic()
        told = await asyncio.gather(*(one(rng.random() < 0.6) for _ in range(REQUESTS)))
        struck = sum(call.fault is not None for each in (first, second) for call in made.ill[each].calls)
        answered = [reply for reply in told if reply.looks_complete]
        print(
            f"\n{path}, seed {seed}, {first} and {second} ill: {len(told)} requests "
            f"in {time.monotonic() - begun:.1f} s, {struck} faults, {len(answered)} answered"
        )
        await made.is_idle()
    assert struck > REQUESTS / 10
    assert len(told) - len(answered) <= len(told) / 1_000, Counter(map(str, told))
    assert all(reply.text == WIRES["openai"].text for reply in answered)
