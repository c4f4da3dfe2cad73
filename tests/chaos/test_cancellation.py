"""Clients cut off in masses: afterwards everything works, and nothing of them is left."""

from __future__ import annotations

import asyncio
import random

from runtime.edge_provider import EdgeProvider
from runtime.transport.http1 import Http1Transport
from tests.chaos.cells import ask, rig
from tests.chaos.faults import Drip, Fault, Hang, Phase, Pretend
from tests.chaos.size import sized
from tests.chaos.upstream import ChaosUpstream
from tests.chaos.wires import WIRES

CLIENTS = sized(32, 128)
ROUNDS = sized(6, 50)
EVERY_S = 0.3

UNDER_WAY: list[Fault | None] = [
    None,
    Hang(Phase.ACCEPT),
    Hang(Phase.REQUEST),
    Hang(Phase.HEAD),
    Hang(Phase.CONTENT),
    Drip(Phase.HEAD, 0.02),
    Pretend(Phase.CONTENT),
]
"""Where calls are when their clients are cut off."""


async def test_after_mass_cancellations_everything_works_and_nothing_is_left() -> None:
    wire = WIRES["openai"]
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    async with ChaosUpstream(wire=wire, pace_s=0.05) as upstream:
        async with rig({"up": (wire.name, upstream.base_url)}) as made:
            provider = made.providers["up"]
            assert (await ask(made.gateway, streamed=True)).looks_complete
            before = len(asyncio.all_tasks())
            for _ in range(ROUNDS):
                upstream.schedule.clear()
                upstream.schedule.extend(rng.choices(UNDER_WAY, k=CLIENTS))
                clients = [asyncio.create_task(ask(made.gateway, streamed=rng.random() < 0.7)) for _ in range(CLIENTS)]
                await asyncio.sleep(EVERY_S)
                for client in clients:
                    client.cancel()
                await asyncio.gather(*clients, return_exceptions=True)
            upstream.schedule.clear()
            told = await asyncio.gather(*(ask(made.gateway, streamed=n % 2 == 0) for n in range(CLIENTS)))
            assert [str(one) for one in told] == ["answer of up"] * CLIENTS
            assert provider.standing.load.in_flight == 0
            assert provider.standing.gate.why(0.0) == "closed"
            for _ in range(500):
                if upstream.open_connections == idle(provider) and len(asyncio.all_tasks()) <= before:
                    break
                await asyncio.sleep(0.01)
            assert upstream.open_connections == idle(provider)
            assert len(asyncio.all_tasks()) <= before
        async with asyncio.timeout(5.0):
            await upstream.drained()


def idle(provider: EdgeProvider) -> int:
    """The connections that the transport keeps for the next call."""
    transport = provider.transport
    assert isinstance(transport, Http1Transport)
    assert not transport.under_way
    return transport.idle
