"""Every implementation of `Provider`, for `test_providers.py`. To have another one checked, add a row to `SUBJECTS`.

A row is an async context manager over settings in plain data that make one scripted provider, named `PROVIDER`; it
gives a `Subject` that answers by those settings, and cleans up behind itself. The suite calls the interface's async
methods and nothing else, so a row may be an actor's ref as well:

    @asynccontextmanager
    async def manager_ref(document: Document) -> AsyncGenerator[Subject]:
        await apply_settings(document)                       # of the running cluster
        yield Subject(ManagerRef(), pause=asyncio.sleep)     # real time: what others report takes a while to show

    SUBJECTS["manager_ref"] = manager_ref
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from runtime.assemble import Workshop, policy_of
from runtime.catalog import Catalog
from runtime.edge_provider import EdgeProvider, Senses
from runtime.gateway import Gateway
from runtime.provider import Provider
from runtime.settings import Settings
from tests.fakes.clock import FakeClock

PROVIDER = "one"
"""The provider's name in every document."""

MODEL = "scripted"
"""Its default model, which is also the only one that it lists."""

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """An implementation under test. `pause` lets a little time pass, for what takes time to show."""

    provider: Provider
    pause: Callable[[float], Awaitable[None]]


Make = Callable[[Document], AbstractAsyncContextManager[Subject]]


def _edge_provider(document: Document, clock: FakeClock) -> tuple[EdgeProvider, Settings]:
    settings = Settings.from_document(document)
    workshop = Workshop(
        senses=Senses(clock=clock, wall=lambda: 1.7e9 + clock()),
        rng=random.Random(1),
        sleep=clock.sleep,
        env={},
    )
    return workshop.provider(PROVIDER, settings, catalog=Catalog(settings)), settings


@asynccontextmanager
async def edge(document: Document) -> AsyncGenerator[Subject]:
    clock = FakeClock()
    provider, _ = _edge_provider(document, clock)
    yield Subject(provider, clock.sleep)
    await provider.close()


@asynccontextmanager
async def gateway(document: Document) -> AsyncGenerator[Subject]:
    clock = FakeClock()
    provider, settings = _edge_provider(document, clock)
    over = Gateway(policy_of(settings, {PROVIDER: provider}), clock=clock, sleep=clock.sleep, rng=random.Random(1))
    yield Subject(over, clock.sleep)
    await over.close()


SUBJECTS: dict[str, Make] = {"edge": edge, "gateway": gateway}
