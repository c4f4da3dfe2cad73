"""Whose leaving ends the work on a request: the client's, or that of whoever runs it."""

from __future__ import annotations

import asyncio

import pytest

from serve.http import ClientGone, Exchange
from tests.fakes.asgi import Call


class Work:
    """Work that never ends, and says how it was ended."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.begun = asyncio.Event()
        self.settled = False
        self._stubborn = stubborn

    async def __call__(self) -> str:
        self.begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if not self._stubborn:
                raise
        finally:
            await asyncio.sleep(0)
            self.settled = True
        return "whole"


def begun(call: Call, work: Work) -> asyncio.Task[str]:
    exchange = Exchange(call.scope, call.receive, call.send)

    async def run() -> str:
        await exchange.body(10)
        return await exchange.unless_gone(work())

    return asyncio.create_task(run())


async def test_a_client_that_leaves_ends_the_work_once_it_is_settled() -> None:
    call, work = Call("POST", "/"), Work()
    task = begun(call, work)
    await work.begun.wait()
    call.hang_up()
    with pytest.raises(ClientGone):
        await task
    assert work.settled
    assert task.cancelling() == 0


async def test_whoever_cancels_the_exchange_is_not_told_of_a_client() -> None:
    call, work = Call("POST", "/"), Work()
    task = begun(call, work)
    await work.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.settled


async def test_where_both_leave_the_work_is_settled_all_the_same() -> None:
    call, work = Call("POST", "/"), Work()
    task = begun(call, work)
    await work.begun.wait()
    call.hang_up()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises((asyncio.CancelledError, ClientGone)):
        await task
    assert work.settled


async def test_work_that_ends_all_the_same_is_not_in_vain_and_leaves_no_cancelling_behind() -> None:
    call, work = Call("POST", "/"), Work(stubborn=True)
    task = begun(call, work)
    await work.begun.wait()
    call.hang_up()
    assert await task == "whole"
    assert task.cancelling() == 0
