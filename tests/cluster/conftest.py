"""One cluster over hosts of our own, for all tests that need one; see hosts.py and world.py."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.meter import PAUSE_S, Meter
from tests.chaos.money import running_meters
from tests.cluster.checks import BACK_S, apply, document, is_back
from tests.cluster.hosts import Net, network, until_true, why_not
from tests.cluster.load import WELL, meters_at
from tests.cluster.world import Cluster, started

FIRST, WORKERS = 11, (12, 13)


@pytest.fixture(scope="session")
def net() -> Iterator[Net]:
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
    with running_meters(meters_at(net.outer(1))) as meters:
        yield meters


@pytest.fixture(scope="session")
def cluster(net: Net, meters: dict[str, Meter]) -> Iterator[Cluster]:
    settings = document(net, meters, net.inner(FIRST))
    with started(net, "a", (FIRST, *WORKERS), settings, model="warm", grace_s=20) as made:
        yield made


@pytest.fixture
def whole(cluster: Cluster, meters: dict[str, Meter]) -> None:
    """A test begins with all hosts on, and every gateway answering."""
    for meter in meters.values():
        # Each attempt has its own number of tokens, which must stay within what a hold allows for.
        meter.served.clear()
        meter.fates, meter.pause_s = WELL, PAUSE_S
    for host in cluster.hosts:
        host.heal()
        if host.first is None:
            host.start()
    for host in cluster.workers:
        # A node that has just come back may have its proxy replaced once more.
        until_true(_steadily(lambda host=host: cluster.answers(host, "warm")), f"{host.name} answers", within_s=BACK_S)
    until_true(lambda: is_back(cluster), "the control plane answers", within_s=BACK_S)
    # A test that failed may have left settings of its own.
    assert apply(cluster, document(cluster.net, meters, cluster.head.inner))["behind"] == []


def _steadily(true: Callable[[], bool], *, times: int = 30) -> Callable[[], bool]:
    """Whether it has been true so often in a row."""
    row = 0

    def so_often() -> bool:
        nonlocal row
        row = row + 1 if true() else 0
        return row >= times

    return so_often
