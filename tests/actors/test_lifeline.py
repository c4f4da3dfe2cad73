"""A call ends with the process that made it; nobody else's does."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from ray.exceptions import OwnerDiedError, RayActorError, TaskCancelledError

from actors.lifeline import Callers, Tied


async def call(callers: Callers, caller: str) -> None:
    with callers.call(caller):
        await asyncio.sleep(60)


class Line:
    """What the actor sees of a caller: a call of its that does not end. `over` ends it."""

    def __init__(self, callers: Callers, caller: str) -> None:
        self.result: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting = asyncio.create_task(callers.lifeline(caller))
        self.watching = asyncio.create_task(callers.tie(caller, self.result))

    async def over(self, error: Exception) -> None:
        await asyncio.sleep(0)
        self.result.set_exception(error)
        await self.watching


def died() -> OwnerDiedError:
    return OwnerDiedError("ab", None, "")


async def test_the_calls_of_a_dead_caller_end_and_no_others() -> None:
    callers = Callers()
    theirs = [asyncio.create_task(call(callers, "dead")) for _ in range(3)]
    others = [asyncio.create_task(call(callers, caller)) for caller in ("alive", "")]
    line = Line(callers, "dead")
    await line.over(died())
    await asyncio.wait(theirs, timeout=1)
    assert all(task.cancelled() for task in theirs)
    await line.waiting  # it left nothing behind either
    assert not any(task.done() for task in others)
    for task in others:
        task.cancel()


async def test_a_call_that_comes_after_its_callers_death_ends_at_once() -> None:
    callers = Callers()
    await Line(callers, "dead").over(died())
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(call(callers, "dead"))


async def test_a_line_that_is_given_up_ends_the_calls_but_marks_nobody_dead() -> None:
    callers = Callers()
    under_way = asyncio.create_task(call(callers, "tidy"))
    line = Line(callers, "tidy")
    await line.over(TaskCancelledError())
    line.waiting.cancel()
    await asyncio.wait([under_way], timeout=1)
    assert under_way.cancelled()
    later = asyncio.create_task(call(callers, "tidy"))
    await asyncio.sleep(0)
    assert not later.done()
    later.cancel()


async def test_calls_that_are_over_are_forgotten() -> None:
    callers = Callers()
    for _ in range(3):
        with callers.call("a"):
            pass
    await Line(callers, "a").over(RayActorError())
    assert not callers._calls


class Handle:
    """An actor's handle, as far as it is used here; its calls return what they were called with."""

    class Method:
        def __init__(self, name: str) -> None:
            self.name = name

        def options(self, **_: object) -> Handle.Method:
            return self

        def remote(self, *args: object) -> tuple[str, tuple[object, ...]]:
            return self.name, args

    def __getattr__(self, name: str) -> Handle.Method:
        if name.startswith("__"):
            raise AttributeError(name)
        return Handle.Method(name)


def test_a_handle_for_people_can_be_sent_to_another_process() -> None:
    again = pickle.loads(pickle.dumps(Tied(Handle())))
    assert isinstance(again, Tied)
    assert again.list_models.remote() == ("list_models", ())
