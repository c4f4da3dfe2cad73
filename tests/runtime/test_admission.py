"""How many run, how many wait, and who is sent away."""

from __future__ import annotations

import asyncio

import pytest

from runtime.admission import Admission
from tests.fakes.clock import turns


class Visitors:
    """Calls that stay inside until they are let out."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.inside: list[str] = []
        self.refused: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}

    def come(self, name: str) -> asyncio.Task[None]:
        self._leave[name] = asyncio.Event()
        return asyncio.create_task(self._visit(name))

    def leave(self, name: str) -> None:
        self._leave[name].set()

    async def _visit(self, name: str) -> None:
        async with self._admission.enter() as admitted:
            if not admitted:
                self.refused.append(name)
                return
            self.inside.append(name)
            await self._leave[name].wait()
            self.inside.remove(name)


async def test_so_many_run_so_many_wait_and_the_rest_is_refused_at_once() -> None:
    admission = Admission(max_in_flight=2, max_queued=1)
    visitors = Visitors(admission)
    tasks = [visitors.come(name) for name in "abcd"]
    await turns()
    assert visitors.inside == ["a", "b"]
    assert visitors.refused == ["d"]
    assert admission.queued == 1
    for name in "abc":
        visitors.leave(name)
    await asyncio.gather(*tasks)
    assert admission.queued == 0


async def test_first_come_first_served() -> None:
    visitors = Visitors(Admission(max_in_flight=1, max_queued=3))
    tasks = [visitors.come(name) for name in "abcd"]
    order = []
    for _ in range(4):
        await turns()
        order += visitors.inside
        visitors.leave(visitors.inside[0])
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "c", "d"]


@pytest.mark.parametrize("who", ["running", "waiting"])
async def test_a_caller_who_goes_away_leaves_its_place(who: str) -> None:
    admission = Admission(max_in_flight=1, max_queued=1)
    visitors = Visitors(admission)
    tasks = {"running": visitors.come("running"), "waiting": visitors.come("waiting")}
    await turns()
    tasks[who].cancel()
    await turns()
    replaced = visitors.come("new")
    await turns()
    assert visitors.refused == []
    for name in ("running", "waiting", "new"):
        visitors.leave(name)
    await asyncio.gather(*tasks.values(), replaced, return_exceptions=True)
    assert admission.queued == 0


async def test_an_error_inside_leaves_no_place_taken() -> None:
    admission = Admission(max_in_flight=1, max_queued=0)

    async def fail() -> None:
        async with admission.enter() as admitted:
            assert admitted
            raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await fail()
