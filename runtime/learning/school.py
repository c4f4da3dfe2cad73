"""The owner of what is learned: the log, the memory, and a pupil for each organisation. One thread's.

    take, judge    written down first, durably; then learned. A crash between the two is made up for by the next start:
                   the last snapshot, and after it every event that came later, in order
    lessons        the policies that somebody has not seen yet
    pause … forget somebody decides about learning itself, which is durable, too; the log keeps how it stands

Nothing of one organisation is ever seen by another.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.learning import sharing
from runtime.learning.again import SAME, Again
from runtime.learning.calibration import unknown_of
from runtime.learning.classes import Classes
from runtime.learning.events import Event, Imported, Judged, vector_of
from runtime.learning.export import row_of, told, trace_of
from runtime.learning.folders import EVENTS, MEMORY
from runtime.learning.log import Log
from runtime.learning.map import MAPPED, decision_of, mapped
from runtime.learning.pupil import Pupil, Schooling
from runtime.learning.values import Calibrated, FeedbackGiven, Lesson, Summary, Taken, Trajectory
from runtime.learning.verdict import bad, sought, unknown
from runtime.learning.verdict import wanted as wanted_of
from runtime.memory.embed import Embedder
from runtime.memory.index import GraphShape
from runtime.memory.memory import Memory
from runtime.outcome import Failure
from runtime.request import Json
from runtime.sona.state import UnknownState
from runtime.sona.trajectory import write

LEAST_KEPT = 8_192
"""Events that stay whatever the settings say: new maps are fitted on them."""


class School:
    """`folder` is this embedder's own: vectors of another one never come near. Raises `sqlite3.Error` where the disk
    fails; whoever owns it then opens another one, which knows what was acknowledged."""

    def __init__(
        self,
        folder: Path,
        embedder: Embedder,
        how: Schooling,
        *,
        wall: Callable[[], float],
        keep: int = 50_000,
        shape: GraphShape | None = None,
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.embedder = embedder
        self._how = how
        self._wall = wall
        self._keep = max(keep, LEAST_KEPT)
        self.log = Log(folder / EVENTS)
        self.memory = Memory(folder / MEMORY, embedder, most=keep, shape=shape, rebuildable=True)
        self._again = Again()
        self._classes = Classes(self.log, how, keep=self._keep, remember=self._remember)

    def save(self) -> int:
        """Take snapshots of what has none yet. How many organisations there are."""
        count = self._classes.save_all()
        self.memory.save()
        return count

    def close(self) -> None:
        self.save()
        self.abandon()

    def abandon(self) -> None:
        """Close it as a crash would: what is on disk is what was acknowledged."""
        self.memory.close()
        self.log.close()

    # What comes in.

    def take(self, trajectories: Sequence[Trajectory]) -> int:
        """Keep and learn; how many were new. A vector of another embedder is refused."""
        ours = [one for one in trajectories if one.embedder == self.embedder.name and len(one.vector) == self._bytes]
        ours = [self._again.seen(one) for one in ours]
        numbers = self.log.add([(one.tenant, one) for one in ours])
        for number, one in zip(numbers, ours, strict=True):
            if number is not None:
                self._taken(one.tenant, number, one)
        return sum(number is not None for number in numbers)

    def judge(self, given: FeedbackGiven) -> tuple[Taken, ...] | Failure:
        """Keep and learn what somebody said. A comparison judges both answers."""
        wanted = wanted_of(given)
        if isinstance(wanted, Failure):
            return wanted
        found: list[Trajectory] = []
        for request, _, _ in wanted:
            about = self.log.find(given.tenant, request)
            if about is None:
                return unknown(request)
            if not about.answered:
                return bad("request", f"nobody answered request {request[:128]!r}, so there is nothing to judge")
            found.append(about)
        events = [
            self._judged(given, about, quality, weight)
            for about, (_, quality, weight) in zip(found, wanted, strict=True)
        ]
        numbers = self.log.add([(given.tenant, one) for one in events])
        taken = []
        for number, one in zip(numbers, events, strict=True):
            if number is not None:
                self._taken(given.tenant, number, one)
                taken.append(
                    Taken(request=one.request, model=one.model, quality=one.quality, weight=one.weight, event=number)
                )
        return tuple(taken)

    def _judged(self, given: FeedbackGiven, about: Trajectory, quality: float, weight: float) -> Judged:
        before = self.log.judgement(given.tenant, about.request, given.key)
        if before is not None and (before.model, before.vector) != (about.answered, about.vector):
            before = None  # of an earlier answer under the same id
        fair = self._classes.of(given.tenant).pupil.weigh(given.key, about.answered)
        return Judged(
            request=about.request,
            key=given.key,
            model=about.answered,
            quality=quality,
            weight=weight * fair,
            fair=fair,
            vector=about.vector,
            at_s=given.at_s,
            instead=None if before is None else (before.quality, before.weight),
            said={"score": given.score, "label": given.label, "correction": given.correction},
        )

    def calibrate(self, prompts: Sequence[Calibrated]) -> int | Failure:
        """Keep and learn what several models made of the same prompts; how many outcomes were new. What is known
        already, with the same quality, is left as it is."""
        if any(one.embedder != self.embedder.name or len(one.vector) != self._bytes for one in prompts):
            return bad("outcomes", f"these vectors are not of {self.embedder.name}, by which is learned here")
        events = [(one.tenant, event) for one in prompts for event in unknown_of(one, self.log.judgement)]
        numbers = self.log.add(events)
        new = 0
        for number, (tenant, event) in zip(numbers, events, strict=True):
            if number is not None:
                self._taken(tenant, number, event)
                new += isinstance(event, Judged)
        return new

    def share(self, tenant: str, who: str) -> bytes:
        """What was learned here of this organisation's prompts, as a file that others can import."""
        events = (one for _, one in self.log.after(tenant, 0))
        return sharing.shared(events, self._classes.of(tenant).pupil.learner, self.embedder, who=who, at_s=self._wall())

    def take_in(self, tenant: str, payload: bytes, own: str) -> dict[str, Json] | Failure:
        """Keep and learn what another Raygate shared. `own` is this one's name. Says what was taken in."""
        there = [one.who for one, _ in self.log.imports(tenant)]
        event = sharing.imported(payload, self.embedder, at_s=self._wall(), own=own, there=there)
        if isinstance(event, Failure):
            return event
        for number in filter(None, self.log.add([(tenant, event)])):
            self._taken(tenant, number, event)
        made = self._classes.of(tenant)
        return sharing.taken(event, made.pupil.learner, paused=made.paused)

    @property
    def _bytes(self) -> int:
        return 4 * self.embedder.dim

    def _taken(self, tenant: str, number: int, event: Event) -> None:
        self._remember(tenant, event)
        self._classes.learn(tenant, number, event)

    def _remember(self, tenant: str, event: Event) -> None:
        if isinstance(event, Imported):
            return
        if isinstance(event, Judged):
            self.memory.judge(tenant, event.request, event.quality, weight=event.weight)
            return
        vector = vector_of(event)
        if not np.any(vector):
            return
        self.memory.add(trace_of(tenant, event), vector)

    # What somebody decides about learning itself.

    def pause(self, tenant: str) -> None:
        """From now on all is kept and nothing learned: decisions go by what was learned until here."""
        made = self._classes.of(tenant)
        if not made.paused:
            self._classes.pause(tenant)
            self.log.stand(tenant, made.number, emptied=made.emptied)

    def resume(self, tenant: str) -> int:
        """Learn what came meanwhile, in its order, as if there had been no pause. How much that was."""
        made = self._classes.of(tenant)
        if not made.paused:
            return 0
        waited = sum(1 for _ in self.log.after(tenant, made.number))
        self.log.stand(tenant, None, emptied=made.emptied)
        self._classes.renewed(tenant)
        return waited

    def rollback(self, tenant: str, number: int | None = None) -> int | Failure:
        """Go back to a snapshot; None: to the last one before what holds now. What came after it teaches nothing any
        more, though it stays in the log. The snapshot's number."""
        made = self._classes.of(tenant)
        there = self.log.snapshots(tenant)
        if number is None:
            number = next((one for one in there if one < made.number), None)
        payload = None if number is None else self.log.snapshot(tenant, number)
        if number is None or payload is None:
            known = ", ".join(map(str, there)) or "none yet"
            return bad("snapshot", f"there is no such snapshot to go back to; there are: {known}")
        try:
            pupil = Pupil.load(payload, self._how)
        except UnknownState as error:
            return bad("snapshot", f"snapshot {number} cannot be read: {error}")
        self._classes.save(tenant)  # so that one may go forth again
        self.log.go_back(tenant, number, payload, emptied=pupil.learner is None)
        self._classes.renewed(tenant)
        return number

    def reset(self, tenant: str) -> None:
        """Begin with nothing. What was kept stays, and may be gone back to by its snapshots."""
        self._classes.save(tenant)
        self.log.go_back(tenant, 0, Pupil(self._how).dump(), emptied=True)
        self._classes.renewed(tenant)

    def forget(self, tenant: str, request: str | None = None) -> int | Failure:
        """Delete one request's trace, or all of an organisation's, from log, memory and learner. How many events.

        The learner is taught anew by what is left of the log, whose events beyond the last `keep` are gone. Snapshots
        go: they know what is to be forgotten. One thing stays: how much others' feedback counted beside it (fairness).
        """
        paused_at, _ = self.log.standing(tenant)
        gone = self.log.forget(tenant, request)
        gone += self.memory.forget(tenant, request)
        if request is not None and not gone:
            return unknown(request)
        if request is None:
            self.log.stand(tenant, None if paused_at is None else 0, emptied=True)
        self._classes.renewed(tenant)
        self._classes.save(tenant)
        return gone

    def snapshots(self, tenant: str) -> list[dict[str, Any]]:
        """What one may go back to, newest first."""
        return [{"snapshot": number, "at": at_s} for number, at_s in self.log.told(tenant)]

    def export(self, tenant: str, after: int, most: int) -> tuple[bytes, int | None]:
        """The next decisions after this number as JSON lines, and the number to go on after; None at the end."""
        found = self.log.decided(tenant, after, most)
        out = io.BytesIO()
        write((row for _, one, said in found if (row := row_of(one, said)) is not None), out)
        return out.getvalue(), found[-1][0] if len(found) == most else None

    # What is asked.

    def newest(self) -> dict[str, int]:
        """The stamp of each organisation's policy: what tells whether there is news."""
        return self._classes.stamps()

    def lesson(self, tenant: str, incarnation: int) -> Lesson:
        made = self._classes.known(tenant)
        if made is None:
            return Lesson(stamp=(incarnation, 0), embedder=self.embedder.name)
        if made.policy is None:
            made.policy = made.pupil.policy()
        pupil = made.pupil
        return Lesson(
            stamp=(incarnation, made.stamp),
            payload=made.policy,
            judged=pupil.judged,
            prompts=pupil.prompts,
            emptied=made.emptied,
            embedder=self.embedder.name,
        )

    def summary(self, tenant: str) -> Summary:
        made = self._classes.known(tenant)
        if made is None:
            return Summary(warm_up=self._how.warm_up)
        pupil = made.pupil
        learner = pupil.learner
        return Summary(
            prompts=pupil.prompts,
            judged=pupil.judged,
            learned=pupil.learned,
            asked=learner.asked if learner else 0.0,
            spent=learner.spent if learner else 0.0,
            remembered=self.memory.count(tenant),
            events=made.number,
            learns=learner is not None,
            warm_up=self._how.warm_up,
            quality=pupil.levels(),
            signals=dict(pupil.signals),
            paused=made.paused,
            imports=tuple(sharing.told(one) | {"teaches": teaches} for one, teaches in self.log.imports(tenant)),
        )

    def map(self, tenant: str) -> dict[str, Any]:
        """`runtime.learning.map` of the last decisions; kept until something is learned."""
        made = self._classes.of(tenant)
        if made.map is None or made.map[0] != made.stamp:
            decisions = self.log.newest(tenant, MAPPED)
            known = (self.memory.known(tenant, one.request) for one in decisions)
            judged = [None if one is None else one.quality for one in known]
            made.map = made.stamp, mapped(made.pupil.learner, decisions, judged)
        return made.map[1]

    def decision(self, tenant: str, request: str) -> dict[str, Any] | Failure:
        """How one request was decided, and what was said of its answer."""
        found = self.log.find(tenant, request)
        return unknown(request) if found is None else decision_of(found, self.log.judgements(tenant, request))

    def about(self, tenant: str, query: str | Sequence[float]) -> str | Failure:
        """The id of the last request with this very text, as far as its vector tells."""
        found = self.search(tenant, query, 4)
        if isinstance(found, Failure):
            return found
        same = [one for one in found if one["similarity"] > SAME]
        if not same:
            return unknown(query if isinstance(query, str) else "of this text")
        return str(max(same, key=lambda one: float(one["at"]))["request_id"])

    def search(self, tenant: str, query: str | Sequence[float], k: int) -> list[dict[str, Any]] | Failure:
        """The nearest of what this organisation asked, nearest first. A vector has the embedder's dimension."""
        vector = sought(query, self.embedder)
        if isinstance(vector, Failure):
            return vector
        return [told(one) for one in self.memory.near(tenant, vector, k)]
