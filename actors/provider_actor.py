"""One provider's actor: the authority over its breakers, throttling, keys and probes; it also serves calls itself.

Ray gives each concurrency group of an actor its own thread and loop: calls run in the default group over an
`Edge` of this process, exactly as in a replica; the authority answers in `control`. What the calls observe goes to
the manager as every edge's does, and comes back with the others'; the two threads share the usage book alone, under
a lock that is held for microseconds.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from ray.exceptions import RayTaskError

from actors import logs
from actors.calls import ServesCalls
from actors.clock import SENSES
from actors.edge import Edge
from actors.environment import environment, node_id, state_folder
from actors.names import provider_actor
from actors.prober import Prober
from actors.refs import ManagerRef, Unreachable
from runtime.authority import Authority
from runtime.breaker import Permit, Refusal
from runtime.feed import Exchange, Published
from runtime.outcome import Failure, FailureKind
from runtime.provider import Provider
from runtime.reports import UsagePeriod, UsageReport
from runtime.usage import UsageBook

CONFIGURED_S = 10.0
NOT_YET_S = 1.0
"""An authority that has not heard of its last state yet grants no probe for so long."""


class ProviderActor(ServesCalls):
    """Undecorated: the supervisor makes a Ray actor of it, tests build it directly."""

    CONTROL_METHODS = ("exchange", "permit", "trip", "reopen")

    def __init__(self, provider: str) -> None:
        logs.begin(provider_actor(provider), environment())
        super().__init__()
        self._name = provider
        self._authority: Authority | None = None
        self._manager = ManagerRef()
        self._configured = asyncio.Event()
        self._lock = threading.Lock()
        self._book = UsageBook()
        self._telling: set[asyncio.Task[object]] = set()
        self._prober: Prober | None = None

    # Group `control`: the authority.

    async def exchange(self, batch: Exchange) -> Published:
        """Count what the edges saw; the state that follows."""
        now = SENSES.clock()
        if self._authority is None:
            self._authority = Authority(
                self._name, batch.policy, now=now, spell=batch.spell_floor, last=batch.last, rng=random.Random()
            )
            self._prober = Prober(self._name, self._authority, self._announce)
            self._tell(self._prober.run())
            self._configured.set()
        self._authority.follow(batch.policy)
        for view in batch.views:
            self._authority.remember(view, now)
        if self._prober is not None and not self._prober.follow(batch):
            self._tell(self._introduce())
        for edge, observed in batch.batches.items():
            self._authority.apply(edge, observed, now)
            with self._lock:
                for one in observed:
                    self._book.count(self._name, one.model, one.usage(), at_s=SENSES.wall())
        return self._authority.published(now)

    async def permit(self, model: str = "") -> Permit | Refusal:
        """Leave for one edge to send one probe to a model."""
        if self._authority is None:
            self._tell(self._introduce())
            return Refusal(NOT_YET_S)
        answer = self._authority.permit(SENSES.clock(), model)
        if isinstance(answer, Permit):
            # The edge waits for its answer, and a manager that is away must not cost it the permit.
            self._tell(self._announce())
        return answer

    async def trip(self, for_s: float | None = None, why: str = "opened by an operator") -> Published:
        """Shut this provider for everyone, for `for_s` seconds or the breaker's usual time; then it is probed."""
        authority = await self._known()
        authority.trip(SENSES.clock(), for_s=for_s, why=why)
        return await self._announce()

    async def reopen(self) -> Published:
        """Let everyone call this provider again at once. Each edge's own breaker still heals by its own probe."""
        (await self._known()).close()
        return await self._announce()

    async def _known(self) -> Authority:
        """The authority; right after a start, once the manager has said where it stood."""
        if self._authority is None:
            await self._introduce()
            async with asyncio.timeout(CONFIGURED_S):
                await self._configured.wait()
        assert self._authority is not None  # noqa: S101  # the event says so
        return self._authority

    def _tell(self, what: Coroutine[Any, Any, object]) -> None:
        """Have the manager told, without waiting for it."""
        task = asyncio.create_task(what)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _introduce(self) -> None:
        with suppress(Unreachable, RayTaskError):
            await self._manager.introduce(self._name)

    async def _announce(self) -> Published:
        published = (await self._known()).published(SENSES.clock())
        # A manager that is away learns it with its next exchange.
        with suppress(Unreachable, RayTaskError):
            await self._manager.announce(published)
        return published

    # Default group: calls.

    async def usage(self, period: UsagePeriod = "day") -> UsageReport:
        """Over all edges, since this actor started; the manager's book and the later ledger outlive it."""
        with self._lock:
            return self._book.report(period, SENSES.wall())

    def _make_edge(self) -> Edge:
        name = f"{provider_actor(self._name)}@{os.getpid()}"
        env = environment()
        return Edge(name, node=node_id(), env=env, own=self._name, folder=state_folder(env))

    def _provider_of(self, edge: Edge) -> Provider | Failure:
        upstream = edge.gateway.policy.upstreams.get(self._name)
        if upstream is not None:
            return upstream
        detail = f"provider {self._name} is not usable here: it was removed from the settings, or its key is not set"
        return Failure(kind=FailureKind.UNAVAILABLE, provider=self._name, detail=detail)
