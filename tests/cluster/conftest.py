"""One cluster over hosts of our own, for all tests that need one; see hosts.py and world.py."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.meter import Meter
from tests.cluster.hosts import Net


@pytest.fixture(scope="session")
def net() -> Iterator[Net]:
    from tests.cluster.hosts import network, why_not

    if os.environ.get("CLUSTER_TESTS") != "1":
        pytest.skip("a Ray cluster over hosts that the test makes itself: make test-cluster")
    if reason := why_not():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="rgc", dir="/tmp"))
    try:
        with network(folder) as made:
            yield made
    finally:
        if "CLUSTER_KEEP" not in os.environ:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def meters(net: Net) -> Iterator[dict[str, Meter]]:
    from tests.chaos.money import running_meters
    from tests.cluster.load import meters_at

    with running_meters(meters_at(net.outer(1))) as meters:
        yield meters
