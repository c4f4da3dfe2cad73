"""The number of replicas follows the requests under way, and nobody who asks notices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ray import serve as ray_serve

from runtime.settings.model import AutoscaleSettings
from serve.deploy import deployment
from serve.launch import APPLICATION
from tests.e2e.conftest import REPLICAS, SCRIPTED, Live, until
from tests.e2e.load import Load

MOST = 3
SCALE = AutoscaleSettings(min_replicas=1, max_replicas=MOST, target_ongoing_requests=2, up_after_s=1, down_after_s=3)
SLOW = {"kind": "scripted", "models": ["say"], "script": {"steps": [{"delay_s": 0.4, "text": "one two three"}]}}


@pytest.fixture
def scaled(live: Live) -> Iterator[Live]:
    """With one replica to begin with; afterwards as many as before."""
    live.switch(providers={"alpha": SCRIPTED, "beta": SCRIPTED, "slow": SLOW})
    ray_serve.run(deployment(autoscale=SCALE), name=APPLICATION, route_prefix="/")
    until(lambda: len(live.replicas()) == 1 == _edges(live), "one replica is left", within_s=60)
    yield live
    ray_serve.run(deployment(replicas=REPLICAS), name=APPLICATION, route_prefix="/")
    until(lambda: _edges(live) == REPLICAS == len(live.replicas()), "there are as many as before", within_s=60)
    live.switch()


def _edges(live: Live) -> int:
    return sum(name.startswith("edge@") for name in live.following())


def test_replicas_grow_under_load_and_shrink_again_without_losing_a_request(scaled: Live) -> None:
    with Load(scaled, "alpha/say", callers=1) as light:
        with Load(scaled, "slow/say", callers=10) as heavy:
            grown_s = until(lambda: _edges(scaled) == MOST, "all replicas that may be are there", within_s=90)
        # While they go, somebody still asks.
        shrunk_s = until(lambda: len(scaled.replicas()) == 1, "one is left", within_s=90)
    print(
        f"{MOST} replicas after {grown_s:.1f} s, one again after {shrunk_s:.1f} s; {len(light.answers)} light requests"
    )
    assert heavy.faults == []
    assert light.faults == []
    assert len(heavy.answers) > 20
    assert len(light.answers) > 20
