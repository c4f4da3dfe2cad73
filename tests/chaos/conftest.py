"""Faults run on uvloop, on which Ray runs replicas and actors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop

from tests.chaos.meter import Meter


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    ours, rays = {"asyncio": asyncio.new_event_loop}, {"uvloop": uvloop.new_event_loop}
    match item.path.name:
        case "test_faults.py" | "test_mixed.py" | "test_metered.py" | "test_cancellation.py" | "test_live_faults.py":
            return rays
        case _:
            return ours


@pytest.fixture(scope="session")
def meters() -> Iterator[dict[str, Meter]]:
    from tests.chaos.money import running_meters  # most tests do without Ray

    with running_meters() as meters:
        yield meters
