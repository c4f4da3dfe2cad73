"""What was learned, at one edge: the policy that it decides by, and what it reports of its decisions.

Nothing is read or started until somebody asks by it: the first requests go by their route's default order. A lost
owner is nothing that a request waits for: the last policy holds, and reports wait, in bounds; what is dropped is
counted (`trajectories_dropped`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from actors.refs import Unreachable, last_line
from actors.ruvector_ref import RuVectorRef
from runtime.balance.asked import last_said
from runtime.balance.entry import Asked, Entry
from runtime.entrance import Senses
from runtime.events import Bus
from runtime.learning.advice import Advice, Decision, Learned
from runtime.learning.calibration import Prompt, embedded
from runtime.learning.report import trajectory_of
from runtime.learning.unread import is_unread, read, unread
from runtime.learning.values import FeedbackGiven, Lessons, Stamp, Taken, Trajectory
from runtime.outcome import Failure, FailureKind, Outcome
from runtime.plan import organisation
from runtime.request import Json, Request
from runtime.settings import LearningSettings
from runtime.telling import tell_feedback

if TYPE_CHECKING:
    from actors.judging import Judge
    from actors.reading import AskVectors, Reader
    from runtime.learning.adviser import Adviser
    from runtime.memory.embed import Embedder

log = logging.getLogger("raygate.learning")

MOST_WAITING = 2_000
MOST_UNREAD = 256
"""Of those that wait for the embedder, with their texts."""
BATCH = 256
MOST_READ = 64
"""Of those that are read together: what was read is then safe from what comes after it."""
TELL_S = 0.25
EMBEDDER_S = 20.0
CALM_S = 0.5
"""A policy is asked for at most so often."""
RETRY_S, LONGEST_RETRY_S = 0.25, 5.0
NEIGHBOURS, NEAR_S = 5, 0.02
"""How many an explanation shows, and how long it waits for them."""
MOST_TENANTS = 64
"""Organisations whose policies an edge keeps; each may be a megabyte."""

NOT_READY = "the embedder is being read"
NO_VECTOR = "the embeddings endpoint has not given its vector in time"
NO_VECTORS = "the embeddings endpoint gives no vectors at the moment"


class EdgeLearning:
    """Implements `Advises`. Belongs to one event loop; made before there is one."""

    def __init__(
        self,
        edge: str,
        senses: Senses,
        rng: random.Random,
        counters: Counter[str],
        *,
        owner: RuVectorRef | None = None,
        events: Bus | None = None,
    ) -> None:
        self.judge: Judge | None = None
        self.ask_vectors: AskVectors | None = None
        """Whoever has a gateway sets these two; who judges or reads by an endpoint needs one."""
        self.owner = owner or RuVectorRef()
        self.settings = LearningSettings()
        self.adviser: Adviser | None = None
        self._events = events
        self._edge = edge
        self._senses = senses
        self._rng = rng
        self._counters = counters
        self._known: dict[str, Stamp] = {}
        self._joined = asyncio.Event()
        self._reader: Reader | None = None
        self._waiting: list[Trajectory] = []
        self._unread: list[Trajectory] = []
        self._something = asyncio.Event()
        self._telling = asyncio.Lock()
        self._made = 0
        self._awake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def follow(self, settings: LearningSettings) -> None:
        """These settings hold from now on."""
        turned = settings.eyes != self.settings.eyes
        self.settings = settings
        if turned:
            self._see_anew()
        if self.judge is not None:
            self.judge.settings = settings.judge if settings.enabled else None

    # `Advises`.

    def before(self, request: Request) -> Awaitable[None] | None:
        """Where vectors come from an endpoint, a decision that goes by what was learned waits for its own."""
        if self._reader is None or self.adviser is None:
            return None
        text = last_said(request).strip()
        return self._reader.before(text, waits=organisation(request) in self.adviser.policies) if text else None

    def advise(self, entries: Sequence[Entry], asked: Asked, how: Learned) -> Advice:
        if self.adviser is None:
            self.wake()
            return Advice(why=NOT_READY, decision=unread(entries, asked, how))
        if asked.tenant not in self._known:
            while len(self._known) >= MOST_TENANTS:
                gone = next(iter(self._known))
                del self._known[gone]
                self.adviser.policies.pop(gone, None)
            self._known[asked.tenant] = (0, 0)
            self._joined.set()
        text = asked.text.strip()
        if self._reader is not None and text and not self._reader.given.has(text):
            # It is read later, with others, and then teaches like any other.
            return Advice(why=NO_VECTOR, decision=unread(entries, asked, how))
        return self.adviser.advise(entries, asked, how)

    def began(self, decision: Decision) -> None:
        if decision.mode == "learned":
            self._counters["decisions"] += 1
            self._counters["explored"] += decision.gave_up > 0.0
            self._counters["gave_up_nano"] += round(decision.gave_up * 1e9)
        if self.adviser is not None:
            self.adviser.began(decision)

    def finished(self, decision: Decision, request: Request, outcome: Outcome | None) -> None:
        self._made += 1
        made = trajectory_of(decision, request, outcome, uid=f"{self._edge}:{self._made}", at_s=self._senses.wall())
        if self.judge is not None:
            self.judge.consider(decision, request, outcome)
        if self.adviser is not None:
            self.adviser.settle_in(decision, made.answered)
        self._counters["decisions_unread"] += is_unread(made)
        waiting, most = (self._unread, MOST_UNREAD) if is_unread(made) else (self._waiting, MOST_WAITING)
        if len(waiting) >= most:
            self._counters["trajectories_dropped"] += 1
            return
        waiting.append(made)
        self._something.set()

    async def feedback(self, given: FeedbackGiven) -> tuple[Taken, ...] | Failure:
        """What it was taken for, once it is kept for good."""
        with suppress(Unreachable):
            # The decision that it is about may still wait here.
            await self.flush()
        taken = await self.owner.feedback(replace(given, at_s=self._senses.wall()))
        if self._events is not None and self._events.wanted and not isinstance(taken, Failure):
            tell_feedback(self._events, given)
        return taken

    async def calibrate(self, tenant: str, prompts: Sequence[Prompt]) -> int | Failure:
        """Learn what several models made of each of these; how many outcomes were new."""
        try:
            async with asyncio.timeout(EMBEDDER_S):
                adviser = await self.awake()
        except TimeoutError:
            return Failure(kind=FailureKind.UNAVAILABLE, detail=NOT_READY, retry_after_s=1.0, scope="request")
        if not await self._is_read([one.prompt.strip() for one in prompts]):
            return Failure(kind=FailureKind.UNAVAILABLE, detail=NO_VECTORS, retry_after_s=5.0, scope="request")
        if self._reader is not None:
            prompts = [one for one in prompts if self._reader.given.has(one.prompt.strip())]
        made = await asyncio.to_thread(
            embedded, prompts, adviser.embedder, tenant=tenant, at_s=self._senses.wall(), keep_text=adviser.keep_text
        )
        return await self.owner.calibrate(made)

    async def about(self, tenant: str, query: str) -> str | Failure:
        """The id of the organisation's last request with this very text."""
        with suppress(Unreachable):
            await self.flush()
        return await self.owner.about(tenant, await self._seen(query))

    async def search(self, tenant: str, query: str | Sequence[float], k: int) -> list[dict[str, Json]] | Failure:
        """The nearest of what this organisation asked, nearest first."""
        return await self.owner.search(tenant, await self._seen(query) if isinstance(query, str) else query, k)

    async def explained(self, request: Request, told: Mapping[str, object]) -> Mapping[str, object]:
        """An explanation, with the nearest of what this organisation asked before and what came of it, where a choice
        goes by what was learned and the owner says so within `NEAR_S`."""
        text = last_said(request).strip()
        if told.get("strategy") != "learned" or not text or not self.settings.enabled:
            return told
        near = await self.owner.near(organisation(request), self._vector(text), NEIGHBOURS, within_s=NEAR_S)
        return told if near is None else {**told, "neighbours": near}

    # Its life.

    def _see_anew(self) -> None:
        """By another embedder: begin as in the first second. No policy of the old one is asked about a vector of it."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        self.adviser, self._known = None, {}
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()
        self._awake.clear()
        if tasks:
            self.wake()

    def wake(self) -> None:
        """Read the embedder and follow the owner, once."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._live())]

    async def awake(self) -> Adviser:
        """Returns whoever decides here, once he does."""
        self.wake()
        while (adviser := self.adviser) is None:
            await self._awake.wait()
        return adviser

    async def stop(self) -> None:
        if self.judge is not None:
            await self.judge.stop()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._reader is not None:
            self._reader.stop()
        if self._waiting:
            with suppress(Unreachable, TimeoutError):
                async with asyncio.timeout(2.0):
                    await self.flush()

    async def flush(self) -> None:
        """Report what waits, now. Raises `Unreachable`; it then still waits."""
        async with self._telling:
            try:
                await self._read()
            finally:
                # What was read is not held up by what cannot be.
                while batch := self._waiting[:BATCH]:
                    await self.owner.take(batch)
                    del self._waiting[: len(batch)]

    async def _read(self) -> None:
        """Those that came without a vector. Raises `Unreachable` where there is no embedder in time."""
        while batch := self._unread[:MOST_READ]:
            try:
                async with asyncio.timeout(EMBEDDER_S):
                    adviser = await self.awake()
            except TimeoutError:
                raise Unreachable("the embedder is not there") from None
            if not await self._is_read([one.text or "" for one in batch]):
                raise Unreachable(NO_VECTORS)
            for one in batch:
                try:
                    self._waiting.append(read(one, adviser.embedder, keep_text=adviser.keep_text))
                except LookupError:
                    self._counters["trajectories_dropped"] += 1  # the endpoint takes others, and not this text
            del self._unread[: len(batch)]

    async def _is_read(self, texts: Sequence[str]) -> bool:
        """Whether there are vectors of these, as far as there will ever be."""
        return self._reader is None or await self._reader.read(texts)

    async def _seen(self, text: str) -> str | Sequence[float]:
        """What the owner is asked with: he has no endpoint, and takes the vector."""
        if self._reader is not None and text.strip():
            await self._reader.read([text])
        return self._vector(text)

    def _vector(self, text: str) -> str | Sequence[float]:
        """The same, of what has been read."""
        if self._reader is None or self.adviser is None or not self._reader.given.has(text):
            return text
        seen: list[float] = self.adviser.embedder.embed([text])[0].tolist()
        return seen

    async def _live(self) -> None:
        said = self.settings.eyes
        reader = None
        if not isinstance(said, str) and self.ask_vectors is not None:
            from actors.reading import Reader

            reader = self._reader = Reader(said, self.ask_vectors, clock=self._senses.clock)

        def made() -> Adviser:
            import numpy as np

            from runtime.learning.adviser import Adviser
            from runtime.memory.form import Formed, learner_embedder

            embedder: Embedder
            if reader is not None:
                embedder = Formed(reader.given)
            else:
                embedder = learner_embedder(said if isinstance(said, str) else "auto")
                embedder.embed(["The first one takes longer."])
            return Adviser(
                embedder, np.random.default_rng(self._rng.getrandbits(64)), keep_text=self.settings.keep_text
            )

        while self.adviser is None:
            try:
                self.adviser = await asyncio.to_thread(made)
            except Exception as error:  # a broken installation; requests go on by their default order
                log.exception("learning.no_embedder", extra={"why": last_line(error)})
                await asyncio.sleep(60.0)
        self._awake.set()
        await asyncio.gather(self._again(self._follow), self._again(self._tell))

    async def _again(self, what: Callable[[], object]) -> None:
        """For ever; after a failure a little later each time."""
        wait_s = RETRY_S
        while True:
            try:
                step = what()
                if asyncio.iscoroutine(step):
                    await step
                wait_s = RETRY_S
            except Exception as error:
                log.warning("learning.lost", extra={"why": last_line(error), "again_in_s": wait_s})
                await asyncio.sleep(wait_s * self._rng.uniform(0.5, 1.5))
                wait_s = min(LONGEST_RETRY_S, wait_s * 2)

    async def _follow(self) -> None:
        """One poll; it is begun anew when another organisation joins."""
        self._joined.clear()
        joined = asyncio.ensure_future(self._joined.wait())
        try:
            if not self._known:
                await joined
                return
            polling = asyncio.ensure_future(self.owner.poll(self._known, 10.0))
            try:
                await asyncio.wait((joined, polling), return_when=asyncio.FIRST_COMPLETED)
                if not polling.done():
                    return
                lessons = polling.result()
            finally:
                if not polling.done():
                    polling.cancel()
                    await asyncio.gather(polling, return_exceptions=True)
        finally:
            joined.cancel()
        if lessons is not None:
            await self._adopt(lessons)
            await asyncio.sleep(CALM_S)

    async def _adopt(self, lessons: Lessons) -> None:
        from runtime.learning.adviser import taught

        for tenant, lesson in lessons.of.items():
            policy = await asyncio.to_thread(taught, lesson)
            if tenant not in self._known or self.adviser is None:
                continue
            if lesson.embedder and lesson.embedder != self.adviser.embedder.name:
                # The owner has not turned yet, or this edge has not: each looks at the settings in its own time.
                self._known[tenant] = lesson.stamp
                continue
            self._known[tenant] = lesson.stamp
            # An owner that has lost everything teaches nothing; what it taught before is still better than that.
            if policy is not None:
                self.adviser.policies[tenant] = policy
            elif lesson.emptied:
                self.adviser.policies.pop(tenant, None)

    async def _tell(self) -> None:
        await self._something.wait()
        self._something.clear()
        await asyncio.sleep(TELL_S)
        try:
            await self.flush()
        except BaseException:
            self._something.set()
            raise
