"""RuVector's actor, for edges: what was learned, what came of decisions, and what people say of answers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from ray.exceptions import RayTaskError

from actors.clock import monotonic
from actors.names import MANAGER, RUVECTOR
from actors.refs import ActorRef, Unreachable, last_line
from runtime.learning.values import Calibrated, FeedbackGiven, Lessons, Stamp, Summary, Taken, Trajectory
from runtime.outcome import Failure, FailureKind
from runtime.request import Json

HURRY_S = 5.0
PATIENCE_S = 30.0
"""How long what goes through the disk is waited for; the first call also reads the embedder."""
STEER_S = 900.0
"""How long a learner that is taught anew is waited for."""
PIECE = 256
"""Decisions of a piece of an export."""
AGAIN_S = 5.0
"""The manager is not asked to make it more often than this."""


class RuVectorRef:
    """Belongs to one event loop. What raises `Unreachable` says so.

    The actor is made by the manager when somebody first calls it: whoever does without learning does without its
    process. `makes` false: nobody is made for the sake of this ref's calls.
    """

    def __init__(self, *, makes: bool = True) -> None:
        self.actor = ActorRef(RUVECTOR)
        self._manager = ActorRef(MANAGER) if makes else None
        self._asked_at = -math.inf

    async def poll(self, known: Mapping[str, Stamp], wait_s: float) -> Lessons | None:
        """Policies of these organisations that are newer than known; None if none is in time. Raises `Unreachable`."""
        found: Lessons | None = await self._call("poll", dict(known), wait_s, timeout_s=wait_s + PATIENCE_S)
        return found

    async def take(self, trajectories: Sequence[Trajectory]) -> None:
        """Returns once they are kept for good. Raises `Unreachable` where they are not."""
        kept: bool = await self._call("take", tuple(trajectories), timeout_s=PATIENCE_S)
        if not kept:
            raise Unreachable(f"{RUVECTOR} could not keep what was reported")

    async def feedback(self, given: FeedbackGiven) -> tuple[Taken, ...] | Failure:
        """What it was taken for, once it is kept for good; an owner that is away is a `Failure` too."""
        found: tuple[Taken, ...] | Failure = await self._asked("feedback", given, timeout_s=PATIENCE_S)
        return found

    async def calibrate(self, prompts: Sequence[Calibrated]) -> int | Failure:
        """How many outcomes were new; all are kept for good, and learned."""
        done: int | Failure = await self._asked("calibrate", tuple(prompts), timeout_s=STEER_S)
        return done

    async def about(self, tenant: str, query: str | Sequence[float]) -> str | Failure:
        """The id of this organisation's last request with this very text, or the vector of it."""
        found: str | Failure = await self._asked("about", tenant, query)
        return found

    async def summary(self, tenant: str) -> Summary | Failure:
        found: Summary | Failure = await self._asked("summary", tenant)
        return found

    async def search(self, tenant: str, query: str | Sequence[float], k: int) -> list[dict[str, Json]] | Failure:
        found: list[dict[str, Json]] | Failure = await self._asked("search", tenant, query, k)
        return found

    async def near(
        self, tenant: str, text: str | Sequence[float], k: int, *, within_s: float
    ) -> list[dict[str, Json]] | None:
        """As `search`, for whom it is no loss to go without: None where the owner is away or slow."""
        try:
            async with asyncio.timeout(within_s):
                found = await self._call("search", tenant, text, k, timeout_s=HURRY_S)
        except (Unreachable, TimeoutError):
            return None
        return found if isinstance(found, list) else None

    async def steer(self, what: str, tenant: str, arg: str | int | None = None) -> Json | Failure:
        """What an admin decides about an organisation's learning; it may be taught all anew."""
        done: Json | Failure = await self._asked("steer", what, tenant, arg, timeout_s=STEER_S)
        return done

    async def export(self, tenant: str) -> AsyncGenerator[bytes | Failure]:
        """An organisation's decisions as JSON lines, some at a time; a failure is the last item."""
        after: int | None = 0
        while after is not None:
            found = await self._asked("export", tenant, after, PIECE, timeout_s=PATIENCE_S)
            if isinstance(found, Failure):
                yield found
                return
            piece, after = found
            yield piece

    async def share(self, tenant: str, who: str) -> bytes | Failure:
        """What was learned of an organisation's prompts, as a file for other Raygates."""
        found: bytes | Failure = await self._asked("share", tenant, who, timeout_s=PATIENCE_S)
        return found

    async def take_in(self, tenant: str, payload: bytes) -> dict[str, Json] | Failure:
        """Learn what another Raygate shared; says what it was."""
        done: dict[str, Json] | Failure = await self._asked("take_in", tenant, payload, timeout_s=STEER_S)
        return done

    async def save(self) -> int | Failure:
        """Take snapshots now. How many organisations have one."""
        found: int | Failure = await self._asked("save", timeout_s=PATIENCE_S)
        return found

    async def open_session(self, tenant: str, key: str, session: str) -> Failure | None:
        found: Failure | None = await self._asked("open_session", tenant, key, session)
        return found

    async def said(self, tenant: str, key: str, session: str, turns: Sequence[tuple[str, str]]) -> Failure | None:
        found: Failure | None = await self._asked("said", tenant, key, session, tuple(turns))
        return found

    async def session(self, tenant: str, key: str, session: str) -> list[tuple[str, str]] | Failure | None:
        found: list[tuple[str, str]] | Failure | None = await self._asked("session", tenant, key, session)
        return found

    async def _asked(self, method: str, *args: Any, timeout_s: float = HURRY_S) -> Any:
        try:
            return await self._call(method, *args, timeout_s=timeout_s)
        except Unreachable as error:
            return Failure(
                kind=FailureKind.UNAVAILABLE,
                detail=f"{last_line(error)}; try again in a moment",
                retry_after_s=1.0,
                scope="request",
            )

    async def _call(self, method: str, *args: Any, timeout_s: float) -> Any:
        try:
            try:
                return await self.actor.call(method, *args, timeout_s=timeout_s)
            except Unreachable:
                if not await self._made():
                    raise
            return await self.actor.call(method, *args, timeout_s=timeout_s)
        except RayTaskError as error:
            raise Unreachable(f"{RUVECTOR} could not answer: {last_line(error)}") from None

    async def _made(self) -> bool:
        """Have it made, where it may be that it never was; not again and again. True if it is there."""
        now = monotonic()
        if self._manager is None or now - self._asked_at < AGAIN_S:
            return False
        self._asked_at = now
        return bool(await self._manager.call("need_learning", timeout_s=HURRY_S))
