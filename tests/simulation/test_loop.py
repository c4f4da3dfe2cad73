"""The loop under the simulation: time jumps, order stays, and who waits for nothing is told."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation.loop import Deadlock, Livelock, simulate


def now() -> float:
    return asyncio.get_running_loop().time()


def test_an_hour_passes_at_once() -> None:
    async def main() -> float:
        began = now()
        await asyncio.sleep(3_600.0)
        return now() - began

    assert simulate(main) == pytest.approx(3_600.0)


def test_timers_ring_in_the_order_of_their_time() -> None:
    async def main() -> list[str]:
        rang: list[str] = []

        async def one(name: str, after_s: float) -> None:
            await asyncio.sleep(after_s)
            rang.append(f"{name}@{now():g}")

        await asyncio.gather(one("c", 3.0), one("a", 1.0), one("b", 2.0), one("a2", 1.0))
        return rang

    assert simulate(main, start_s=0.0) == ["a@1", "a2@1", "b@2", "c@3"]


def test_timeouts_waits_and_late_calls_work() -> None:
    async def main() -> tuple[float, int, float]:
        called: list[float] = []
        asyncio.get_running_loop().call_later(0.25, lambda: called.append(now()))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.Event().wait()
        timed_out = now()
        sleeping = [asyncio.create_task(asyncio.sleep(after_s)) for after_s in (1.0, 50.0)]
        done, _ = await asyncio.wait(sleeping, return_when=asyncio.FIRST_COMPLETED)
        return timed_out, len(done), called[0]

    assert simulate(main, start_s=0.0) == (0.5, 1, 0.25)


def test_waiting_for_nothing_is_a_deadlock_that_names_who_waits() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match=r"no timer is set(.|\n)*Event\.wait"):
        simulate(forever)


def test_endless_turns_without_time_are_a_livelock() -> None:
    async def spin() -> None:
        await asyncio.sleep(0)
        asyncio.get_running_loop().create_task(spin())

    async def main() -> None:
        await asyncio.gather(spin(), asyncio.Event().wait())

    with pytest.raises(Livelock):
        simulate(main)


def test_what_main_leaves_running_is_cancelled() -> None:
    ended: list[str] = []

    async def main() -> None:
        async def background() -> None:
            try:
                await asyncio.sleep(1e6)
            finally:
                ended.append("yes")

        tasks.append(asyncio.create_task(background()))
        await asyncio.sleep(1.0)

    tasks: list[asyncio.Task[None]] = []
    simulate(main)
    assert ended == ["yes"]


def test_there_are_no_threads() -> None:
    async def main() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(RuntimeError, match="no place in virtual time"):
        simulate(main)
