"""RuVector: what was asked, what came of it, and what that teaches. One for the whole cluster.

    this loop          answers, always; holds no state but what was last published
    one worker thread  owns log, memory and learners: embedding, learning, SQLite, snapshots

It opens its store, and reads its embedder, when it is first asked; again where that failed. What it has acknowledged is
on disk. `runtime.learning.school` decides; here are the clock, the disk and the queue.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from actors import logs
from actors.clock import SENSES
from actors.environment import environment, node_id
from actors.names import RUVECTOR
from actors.refs import last_line
from actors.store import Store
from runtime.learning.folders import carried, forgotten
from runtime.learning.pupil import Schooling
from runtime.learning.rates import Rates
from runtime.learning.school import School
from runtime.learning.values import Calibrated, FeedbackGiven, Lessons, Stamp, Summary, Taken, Trajectory
from runtime.memory.embed import Embedder
from runtime.memory.endpoint import Given
from runtime.memory.form import Formed, learner_embedder
from runtime.memory.index import GraphShape
from runtime.outcome import Failure, FailureKind
from runtime.request import Json
from runtime.settings import LearningSettings, Settings
from runtime.sona.refine import parts_of

log = logging.getLogger("raygate.ruvector")

FOLDER = "learning"
AGAIN_S = 2.0
"""How soon a store that could not be opened is tried again."""
SETTINGS_S = 5.0
"""How often it is looked whether the settings have changed, while there are calls."""
LATE_S = 2.0
"""For so long feedback waits for the decision that it is about, which comes from another process."""
LATE_POLL_S = 0.1
SAVE_S = 300.0
"""How often what was learned is saved, while something is."""

T = TypeVar("T")


def _forget(school: School, tenant: str, request: str | None) -> int | Failure:
    """Here, and in what other embedders made: how many events."""
    elsewhere = forgotten(school.folder, tenant, request)
    gone = school.forget(tenant, request)
    if isinstance(gone, Failure):
        return elsewhere or gone
    return gone + elsewhere


STEERS: Mapping[str, Callable[[School, str, Any], Json | Failure]] = {
    "pause": lambda school, tenant, _: school.pause(tenant),
    "resume": lambda school, tenant, _: school.resume(tenant),
    "reset": lambda school, tenant, _: school.reset(tenant),
    "rollback": lambda school, tenant, number: school.rollback(tenant, number),
    "forget": _forget,
    "snapshots": lambda school, tenant, _: school.snapshots(tenant),
    "map": lambda school, tenant, _: school.map(tenant),
    "decision": lambda school, tenant, request: school.decision(tenant, request),
}

READS = ("snapshots", "map", "decision")
"""Those of them that change nothing."""


class NotOpen(Exception):
    """The store is out of reach; the text says why."""


class RuVectorActor:
    """Undecorated: the supervisor makes a Ray actor of it. `folder` is the state folder of this node."""

    CONTROL_METHODS = ()

    def __init__(self, folder: str) -> None:
        logs.begin(RUVECTOR, environment())
        self._folder = Path(folder)
        self._kept = Store(self._folder)
        self._incarnation = self._kept.next_incarnation(RUVECTOR)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ruvector")
        self._school: School | None = None
        self._under = LearningSettings()
        self._known: tuple[tuple[str, float], ...] = ()
        self._failed: tuple[str, float] | None = None
        self._look_at = self._save_at = 0.0
        self._newest: Mapping[str, int] = {}
        self._news = asyncio.Event()
        self._rates = Rates(self._under.feedback_per_min)

    async def poll(self, known: Mapping[str, Stamp], wait_s: float) -> Lessons | None:
        """The policies of these organisations that are newer than known; None if none is in time."""
        try:
            if not (new := await self._newer(known)):
                news = self._news
                async with asyncio.timeout(wait_s):
                    while not (new := self._news_of(known)):
                        await news.wait()
                        news = self._news
            return await self._do(
                lambda school: Lessons(
                    incarnation=self._incarnation,
                    of={tenant: school.lesson(tenant, self._incarnation) for tenant in new},
                )
            )
        except TimeoutError:
            return None
        except NotOpen:
            await asyncio.sleep(min(wait_s, AGAIN_S))
            return None

    async def take(self, trajectories: Sequence[Trajectory]) -> bool:
        """True once they are kept for good."""
        try:
            await self._do(lambda school: school.take(trajectories))
        except NotOpen as error:
            log.warning("ruvector.not_kept", extra={"why": str(error)})
            return False
        self._announce()
        return True

    async def feedback(self, given: FeedbackGiven) -> tuple[Taken, ...] | Failure:
        """What it was taken for, once it is kept for good."""
        wait_s = self._rates.take(f"{given.tenant}/{given.key}", SENSES.clock())
        if wait_s > 0.0:
            detail = f"this key gives more feedback than {self._rates.per_min} a minute; go on in {wait_s:.0f} s"
            return Failure(kind=FailureKind.RATE_LIMITED, detail=detail, retry_after_s=wait_s, scope="request")
        until = SENSES.clock() + LATE_S
        try:
            while True:
                found = await self._do(lambda school: school.judge(given))
                late = isinstance(found, Failure) and found.code == "unknown_request"
                if not late or SENSES.clock() >= until:
                    break
                await asyncio.sleep(LATE_POLL_S)
        except NotOpen as error:
            return _away(error)
        self._announce()
        return found

    async def calibrate(self, prompts: Sequence[Calibrated]) -> int | Failure:
        """What several models made of the same prompts, kept for good; how many outcomes were new."""
        done = await self._answer(lambda school: school.calibrate(prompts))
        self._announce()
        return done

    async def about(self, tenant: str, query: str | Sequence[float]) -> str | Failure:
        return await self._answer(lambda school: school.about(tenant, query))

    async def summary(self, tenant: str) -> Summary | Failure:
        return await self._answer(lambda school: school.summary(tenant))

    async def search(self, tenant: str, query: str | Sequence[float], k: int) -> list[dict[str, Json]] | Failure:
        return await self._answer(lambda school: school.search(tenant, query, k))

    async def steer(self, what: str, tenant: str, arg: str | int | None = None) -> Json | Failure:
        """What an admin decides about an organisation's learning: one of `STEERS`. Some teach all anew, for minutes."""
        if what not in STEERS:
            return Failure(kind=FailureKind.BAD_REQUEST, detail=f"nobody here knows how to {what}", scope="request")
        done = await self._answer(lambda school: STEERS[what](school, tenant, arg))
        if what not in READS:
            self._announce()
        return done

    async def export(self, tenant: str, after: int, most: int) -> tuple[bytes, int | None] | Failure:
        """The next decisions as JSON lines, and after which number to go on; None at the end."""
        return await self._answer(lambda school: school.export(tenant, after, most))

    async def share(self, tenant: str, who: str) -> bytes | Failure:
        """What was learned here, as a file for other Raygates; empty `who`: under this one's name."""
        return await self._answer(lambda school: school.share(tenant, who or _own(tenant)))

    async def take_in(self, tenant: str, payload: bytes) -> dict[str, Json] | Failure:
        """Learn what another Raygate shared, kept for good; says what it was."""
        done = await self._answer(lambda school: school.take_in(tenant, payload, _own(tenant)))
        self._announce()
        return done

    async def save(self) -> int | Failure:
        """Take snapshots now; how many organisations have one."""
        return await self._answer(lambda school: school.save())

    async def open_session(self, tenant: str, key: str, session: str) -> Failure | None:
        at_s = SENSES.wall()
        return await self._answer(lambda school: school.log.open_session(tenant, key, session, at_s))

    async def said(self, tenant: str, key: str, session: str, turns: Sequence[tuple[str, str]]) -> Failure | None:
        at_s = SENSES.wall()
        return await self._answer(lambda school: school.log.said(tenant, key, session, turns, at_s))

    async def session(self, tenant: str, key: str, session: str) -> list[tuple[str, str]] | Failure | None:
        return await self._answer(lambda school: school.log.session(tenant, key, session))

    async def close(self) -> None:
        """Save what was learned, and let go of the store; the next call opens it again."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self._close)

    async def whereabouts(self) -> tuple[str, int]:
        """The node and the process id of this actor."""
        return node_id(), os.getpid()

    # The worker.

    async def _answer(self, ask: Callable[[School], T]) -> T | Failure:
        try:
            return await self._do(ask)
        except NotOpen as error:
            return _away(error)

    async def _do(self, what: Callable[[School], T]) -> T:
        """In the worker, on the store; with it goes the answer to what is new. Raises `NotOpen`."""
        if self._failed is not None and SENSES.clock() < self._failed[1]:
            raise NotOpen(self._failed[0])

        def work() -> tuple[T, Mapping[str, int]]:
            school = self._opened()
            done = what(school)
            if SENSES.clock() >= self._save_at:
                self._save_at = SENSES.clock() + SAVE_S
                school.save()
            return done, school.newest()

        try:
            done, self._newest = await asyncio.get_running_loop().run_in_executor(self._worker, work)
        except (sqlite3.Error, OSError) as error:
            # What is in memory may be ahead of the disk now: the next one begins with what was acknowledged.
            await asyncio.get_running_loop().run_in_executor(self._worker, self._drop)
            log.error("ruvector.unusable", extra={"why": last_line(error), "again_in_s": AGAIN_S})  # noqa: TRY400
            self._failed = (f"what was learned cannot be reached: {last_line(error)}", SENSES.clock() + AGAIN_S)
            raise NotOpen(self._failed[0]) from None
        self._failed = None
        return done

    def _opened(self) -> School:
        """The store under the settings of this moment. In the worker."""
        if self._school is not None and SENSES.clock() < self._look_at:
            return self._school
        self._look_at = SENSES.clock() + SETTINGS_S
        settings = Settings.from_document(self._kept.settings()[1])
        ours, known = settings.learning, _known(settings)
        if self._school is None or (ours, known) != (self._under, self._known):
            self._close()
            embedder = _embedder(ours)
            if ours.eyes != self._under.eyes:
                # Numbers of another log: whoever follows is to see that all is new.
                self._incarnation = self._kept.next_incarnation(RUVECTOR)
            how = Schooling(
                warm_up=ours.warm_up,
                explore_share=ours.explore_share,
                priors=ours.priors,
                known=known,
                parts=parts_of(ours.preset, ours.parts),
            )
            folder = self._folder / FOLDER / embedder.name
            if ours.embeddings is None and (anew := carried(folder, embedder)):
                log.info("ruvector.read_anew", extra={"embedder": embedder.name, "events": anew})
            self._school = School(
                folder, embedder, how, wall=SENSES.wall, keep=ours.keep, shape=GraphShape(**ours.graph.model_dump())
            )
            self._under, self._known = ours, known
            self._rates.per_min = ours.feedback_per_min
            self._save_at = SENSES.clock() + SAVE_S
        return self._school

    def _close(self) -> None:
        school, self._school = self._school, None
        if school is not None:
            school.close()

    def _drop(self) -> None:
        school, self._school = self._school, None
        if school is not None:
            school.abandon()

    # News.

    async def _newer(self, known: Mapping[str, Stamp]) -> list[str]:
        if not self._newest:
            await self._do(lambda _: None)
        return self._news_of(known)

    def _news_of(self, known: Mapping[str, Stamp]) -> list[str]:
        now = {tenant: (self._incarnation, self._newest.get(tenant, 0)) for tenant in known}
        return [tenant for tenant, stamp in known.items() if tuple(stamp) != now[tenant]]

    def _announce(self) -> None:
        """Wake everyone who waits now; who comes later waits for the next."""
        old, self._news = self._news, asyncio.Event()
        old.set()


def _embedder(ours: LearningSettings) -> Embedder:
    """By what prompts are seen. Vectors of an endpoint are made at the edges, and only kept here."""
    said = ours.eyes
    return learner_embedder(said) if isinstance(said, str) else Formed(Given(said.model, said.dimension))


def _own(tenant: str) -> str:
    """By what name others know what this organisation learned here."""
    return re.sub(r"[^\w.@:+/-]", "-", f"{tenant}@{socket.gethostname()}", flags=re.ASCII)[:100]


def _away(error: NotOpen) -> Failure:
    return Failure(kind=FailureKind.UNAVAILABLE, detail=str(error), retry_after_s=AGAIN_S, scope="request")


def _known(settings: Settings) -> tuple[tuple[str, float], ...]:
    """What the operator says of models' quality, in percent."""
    said = ((name, one.quality) for name, one in sorted(settings.models.items()))
    return tuple((name, 100.0 * quality) for name, quality in said if quality is not None)
