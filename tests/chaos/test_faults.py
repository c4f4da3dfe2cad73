"""Fault × dialect × (plain, stream), over real sockets: what the client gets, after which attempts.

the fault strikes      the client gets
before any content     the healthy candidate's whole answer, and can see the attempts, no more
after content          what it was shown so far, then a failure that says so: never an end that looks complete
"""

from __future__ import annotations

import asyncio
import time

import pytest

from runtime.outcome import Completion, Failure, FailureKind
from tests.chaos.cells import Cell, ask, cell, cells, rig
from tests.chaos.expected import EXPECTED, kind_of
from tests.chaos.faults import EVERY, Cut, Error, Fault, Phase, Reset, Status, Wait
from tests.chaos.upstream import ChaosUpstream
from tests.chaos.wires import WIRES, Wire

K = FailureKind


SOON_S = 5.0
"""Far more than any limit of a candidate that hangs, and less than the request's time: no guard was missing."""


def test_every_fault_is_expected() -> None:
    assert set(EXPECTED) == set(EVERY)


@pytest.mark.parametrize("name", EVERY)
async def test_a_fault_is_what_it_is_and_no_client_is_deceived(name: str) -> None:
    tried = [cell(name, wire, streamed=streamed) for wire, streamed in cells(name)]
    wrong = [f"{one.row()}\n    {why}" for one in await asyncio.gather(*tried) if (why := _wrong(one))]
    assert not wrong, "\n".join(wrong)


def _wrong(one: Cell) -> str:
    """What of a cell is not as it must be; empty if all is."""
    kind = kind_of(one.fault, one.wire, streamed=one.streamed)
    if kind is None:
        problems = [_unlike("alone", one.alone, one, "bad"), _unlike("paired", one.paired, one, "bad")]
        attempts = [("bad", "ok")]
    elif one.commits:
        problems = [_not(kind, one.alone), _not(kind, one.paired)]
        if not (one.paired.started and one.text.startswith(one.paired.shown)):
            problems.append(f"was shown {one.paired.shown!r}")
        attempts = [("bad", str(kind))]
    else:
        problems = [_not(kind, one.alone), _unlike("paired", one.paired, one, "good")]
        if one.alone.started:
            problems.append("a stream without content began")
        attempts = [("bad", str(kind)), ("good", "ok")]
    if one.attempts != attempts:
        problems.append(f"attempts {one.attempts}")
    if one.took_s > SOON_S:
        problems.append(f"it took {one.took_s:.1f} s")
    if not one.stopped:
        problems.append("the upstream call goes on")
    return "; ".join(filter(None, problems))


def _unlike(which: str, told: object, one: Cell, provider: str) -> str:
    got = getattr(told, "outcome", None)
    if not isinstance(got, Completion):
        return f"{which}: no answer but {got}"
    if got.provider != provider or got.text != one.text:
        return f"{which}: {len(got.text)} letters of {got.provider}"
    shown = getattr(told, "shown", "")
    return f"{which}: shown {len(shown)} letters" if one.streamed and shown != one.text else ""


def _not(kind: FailureKind, told: object) -> str:
    got = getattr(told, "outcome", None)
    return "" if isinstance(got, Failure) and got.kind is kind else f"not {kind} but {got}"


# Waits.


THROTTLED = [(wire, form) for wire in WIRES.values() for form in Wait if wire.wait_s(form) is not None]


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
async def test_a_throttled_provider_is_left_alone_for_as_long_as_it_said(streamed: bool) -> None:
    """In every form of every dialect: by the request that was told, and by all that come meanwhile."""
    wrong = await asyncio.gather(*(_throttle(wire, form, streamed) for wire, form in THROTTLED))
    assert not any(wrong), "\n".join(filter(None, wrong))


async def _throttle(wire: Wire, form: Wait, streamed: bool) -> str:
    wait_s = wire.wait_s(form)
    assert wait_s is not None
    async with ChaosUpstream(wire=wire) as bad, ChaosUpstream(wire=wire) as good:
        bad.schedule.append(Status(429, form))
        both = {"bad": (wire.name, bad.base_url), "good": (wire.name, good.base_url)}
        async with rig(both) as made:
            told_at = time.monotonic()
            first = await ask(made.gateway, streamed=streamed)
            # Without a wait that could be read it would be left alone for a second at least.
            shut_s = made.providers["bad"].standing.gate.throttled_for_s(time.monotonic())
            while len(bad.calls) < 2 and time.monotonic() < told_at + wait_s + 10.0:
                one = await ask(made.gateway, streamed=streamed)
                if not one.looks_complete:
                    return f"{wire.name} {form}: {one}"
                await asyncio.sleep(0.02)
        if not first.looks_complete:
            return f"{wire.name} {form}: {first}"
        came_s = bad.times[1] - bad.times[0] if len(bad.calls) > 1 else float("inf")
    if shut_s > wait_s:
        return f"{wire.name} {form}: shut for {shut_s:.3f} s"
    return "" if wait_s <= came_s < float("inf") else f"{wire.name} {form}: asked again after {came_s:.3f} s"


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
async def test_alone_it_is_asked_again_after_its_wait(streamed: bool) -> None:
    async def again(wire: Wire) -> str:
        form = Wait.OWN if wire.wait_s(Wait.OWN) != 1.0 else Wait.MILLIS
        async with ChaosUpstream(wire=wire) as bad:
            bad.schedule.append(Status(429, form))
            async with rig({"bad": (wire.name, bad.base_url)}) as made:
                told = await ask(made.gateway, streamed=streamed)
            waited_s = bad.times[1] - bad.times[0] if len(bad.calls) > 1 else 0.0
            fine = told.looks_complete and waited_s >= (wire.wait_s(form) or 0.0)
            return "" if fine else f"{wire.name} {form}: {told} after {waited_s:.3f} s, {told.outcome}"

    wrong = await asyncio.gather(*map(again, WIRES.values()))
    assert not any(wrong), "\n".join(filter(None, wrong))


async def test_a_wait_beyond_the_deadline_is_not_waited_for() -> None:
    wire = WIRES["openai"]
    async with ChaosUpstream(wire=wire) as bad:
        bad.standing = Status(429, Wait.SECONDS)
        async with rig({"bad": (wire.name, bad.base_url)}, timeouts={"total_s": 0.9}) as made:
            begun = time.monotonic()
            told = await ask(made.gateway, streamed=False)
            assert time.monotonic() - begun < 0.8
        assert isinstance(told.outcome, Failure)
        assert told.outcome.kind is K.RATE_LIMITED
        assert len(bad.calls) == 1


# Bursts.


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("burst", [(500, 502, 503), (503,), (529, 529)], ids=str)
async def test_a_burst_is_ridden_out(burst: tuple[int, ...], streamed: bool) -> None:
    wire = WIRES["anthropic"]
    async with ChaosUpstream(wire=wire) as bad:
        bad.schedule.extend(Status(status) for status in burst)
        retry = {"max_attempts": 4, "per_provider": 4, "base_s": 0.01}
        async with rig({"bad": (wire.name, bad.base_url)}, retry=retry) as made:
            told = await ask(made.gateway, streamed=streamed)
        assert told.looks_complete
        assert len(told.outcome.attempts) == len(burst) + 1


async def test_faults_may_be_chosen_by_model() -> None:
    wire = WIRES["google"]
    async with ChaosUpstream(wire=wire) as upstream:
        upstream.by_model["m"] = Status(500)
        async with rig({"bad": (wire.name, upstream.base_url)}, retry={"max_attempts": 1}) as made:
            assert not (await ask(made.gateway, streamed=True)).looks_complete
            upstream.by_model.clear()
            assert (await ask(made.gateway, streamed=True)).looks_complete


async def test_a_client_that_leaves_is_seen_to_leave() -> None:
    wire = WIRES["openai"]
    async with ChaosUpstream(wire=wire, pace_s=0.05) as upstream:
        async with rig({"up": (wire.name, upstream.base_url)}) as made:
            task = asyncio.create_task(ask(made.gateway, streamed=True, shown=upstream.shown))
            await upstream.shown.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await upstream.until(lambda: not upstream.open_connections)
        assert upstream.calls[0].client_left


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("dialect", WIRES)
async def test_a_connection_is_kept_after_a_whole_answer(dialect: str, streamed: bool) -> None:
    """Also where more than the end mark comes after the answer, or HTTP's end comes late."""
    wire = WIRES[dialect]
    async with ChaosUpstream(wire=wire, pace_s=0.001) as upstream:
        async with rig({"up": (wire.name, upstream.base_url)}) as made:
            for _ in range(5):
                assert (await ask(made.gateway, streamed=streamed)).looks_complete
        assert upstream.connections_ever == 1


MIXED: list[Fault | None] = [Reset(Phase.CONTENT), Cut(Phase.CONTENT), Error(Phase.CONTENT), None]


async def test_a_reader_who_sees_no_end_knows_that_there_was_none() -> None:
    """The same provider, one stream after the other on kept connections: no end of one is taken for another's."""
    wire = WIRES["ollama"]
    async with ChaosUpstream(wire=wire) as upstream:
        upstream.schedule.extend(MIXED * 2)
        async with rig(
            {"up": (wire.name, upstream.base_url)}, retry={"max_attempts": 1}, breaker={"failures": 100}
        ) as made:
            for fault in MIXED * 2:
                upstream.shown.clear()
                told = await ask(made.gateway, streamed=True, shown=upstream.shown)
                assert told.looks_complete is (fault is None)
                assert told.looks_complete is (told.shown == wire.text)
