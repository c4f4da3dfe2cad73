"""The laws of `Provider`, held against real actors: a provider's and the manager's, through their refs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest

from actors.refs import ManagerRef, ProviderRef
from runtime.breaker import BreakerPolicy
from runtime.gate import Gate
from runtime.provider import Provider
from tests.conformance import test_providers as laws
from tests.conformance.providers import MODEL, PROVIDER, Subject
from tests.conformance.test_providers import *  # noqa: F403  # pytest finds the laws by their names here
from tests.e2e.conftest import Live

ACTORS = ("provider", "manager")
COUNT = count()


@pytest.fixture(scope="module", autouse=True)
def as_it_was(live: Live) -> Iterator[None]:
    yield
    live.switch()


@pytest.fixture(params=ACTORS)
def having(request: pytest.FixtureRequest, live: Live) -> laws.Having:
    """A ref to an actor whose provider plays these steps."""

    @asynccontextmanager
    async def having(*steps: Any, loop: bool = True, **said: Any) -> AsyncGenerator[Subject]:
        # At an address of its own: what is known of a provider outlives its settings, and these failures are not to.
        url = f"http://one-{next(COUNT)}.test"
        script = {"steps": list(steps), "loop": loop}
        one = {"kind": "scripted", "base_url": url, "default_model": MODEL, "script": script, **said}
        await asyncio.to_thread(live.switch, providers={PROVIDER: one})
        ref: Provider = ManagerRef() if request.param == "manager" else _provider()
        await ref.initialize()
        yield Subject(ref, pause=asyncio.sleep)
        # The actor lives on with its authority, which is not to remember this script's failures.
        await asyncio.to_thread(live.control, live.provider(PROVIDER), "reopen")

    return having


def _provider() -> ProviderRef:
    import random

    return ProviderRef(PROVIDER, Gate(BreakerPolicy(), random.Random(1)))


def test_all_laws_are_held_here() -> None:
    here = {name for name in globals() if name.startswith("test_")}
    assert {name for name in vars(laws) if name.startswith("test_")} <= here
