"""A replica that is taken away ends what it carries before it goes."""

from __future__ import annotations

import asyncio

from ray import serve as ray_serve

from serve.deploy import deployment
from serve.launch import APPLICATION
from tests.chaos.streams import Patient, Streams
from tests.e2e.conftest import REPLICAS, Live, settings, until

STREAMS = 16


def _deploy(live: Live, count: int) -> None:
    ray_serve.run(deployment(replicas=count), name=APPLICATION, route_prefix="/")


async def test_streams_of_a_replica_that_is_taken_away_come_to_their_end(live: Live) -> None:
    async with Patient() as patient:
        upstream = {"kind": "custom", "base_url": patient.upstream.url}
        providers = {**settings().to_document()["providers"], "slow": upstream}
        await asyncio.to_thread(live.switch, providers=providers)
        try:
            async with Streams(live, {f"s{at}": f"slow/s{at}" for at in range(STREAMS)}) as streams:
                await streams.all_begun()
                before = set(live.replicas())
                # It returns once the old ones have gone, for which it waits as long as their grace lasts.
                going = asyncio.create_task(asyncio.to_thread(_deploy, live, REPLICAS - 1))
                # One without requests would be gone by now.
                await asyncio.sleep(6.0)
                assert not streams.broken
                patient.finish()
                await streams.over(set(streams.all), within_s=30)
                await going
            assert all(one.end_mark and one.honest for one in streams.all.values())
            await asyncio.to_thread(until, lambda: len(before & set(live.replicas())) < REPLICAS, "one has gone")
        finally:
            await asyncio.to_thread(_deploy, live, REPLICAS)
            await asyncio.to_thread(
                until, lambda: sum(name.startswith("edge@") for name in live.following()) == REPLICAS, "both are back"
            )
            await asyncio.to_thread(live.switch)
