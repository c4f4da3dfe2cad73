"""The owner of what is learned: the log, the memory, and a pupil for each organisation. One thread's.

    take, judge    written down first, durably; then learned. A crash between the two is made up for by the next start:
                   the last snapshot, and after it every event that came later, in order
    lessons        the policies that somebody has not seen yet

Nothing of one organisation is ever seen by another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runtime.learning.events import Event, Judged, vector_of
from runtime.learning.log import Log
from runtime.learning.pupil import Pupil, Schooling
from runtime.learning.values import FeedbackGiven, Lesson, Taken, Trajectory
from runtime.memory.embed import Embedder
from runtime.memory.memory import Found, Memory
from runtime.memory.store import Trace
from runtime.outcome import Failure, FailureKind
from runtime.sona.fairness import score as clipped
from runtime.sona.state import UnknownState

log = logging.getLogger("raygate.learning")

SNAPSHOT_EACH = 500
"""Events after which a pupil is saved, so that a start has no more than these to learn again."""
LEAST_KEPT = 8_192
"""Events that stay whatever the settings say: new maps are fitted on them."""

LABELS: Mapping[str, float] = {
    **dict.fromkeys(("good", "up", "thumbs_up", "correct", "yes"), 1.0),
    **dict.fromkeys(("ok", "neutral", "partial"), 0.5),
    **dict.fromkeys(("bad", "down", "thumbs_down", "wrong", "no"), 0.0),
}
SAME = 0.9999
"""The cosine of a text with itself, less what rounding takes."""
BETTER, WORSE, COMPARED = 0.75, 0.25, 0.5
"""Of two answers one was better: that says how they differ, not how good they are, so each counts half."""
CORRECTED = (0.2, 0.8)
"""Whoever takes the pains to correct an answer found it wanting; how much so is not said."""


@dataclass(slots=True)
class _Class:
    pupil: Pupil
    number: int
    saved: int
    policy: bytes | None = None
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What an organisation's learner has come to. `quality` holds (mean, standard deviation) by model."""

    prompts: int = 0
    judged: float = 0.0
    learned: int = 0
    asked: float = 0.0
    spent: float = 0.0
    remembered: int = 0
    events: int = 0
    learns: bool = False
    warm_up: int = 0
    quality: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    signals: Mapping[str, int] = field(default_factory=dict)


class School:
    """`folder` is this embedder's own: vectors of another one never come near. Raises `sqlite3.Error` where the disk
    fails; whoever owns it then opens another one, which knows what was acknowledged."""

    def __init__(
        self, folder: Path, embedder: Embedder, how: Schooling, *, wall: Callable[[], float], keep: int = 50_000
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.embedder = embedder
        self._how = how
        self._wall = wall
        self._keep = max(keep, LEAST_KEPT)
        self.log = Log(folder / "events.sqlite")
        self.memory = Memory(folder / "memory", embedder, most=keep, rebuildable=True)
        self._classes: dict[str, _Class] = {}
        for tenant in self.log.tenants():
            self._classes[tenant] = self._resumed(tenant)

    def _resumed(self, tenant: str) -> _Class:
        made = _Class(Pupil(self._how), 0, 0)
        for number, payload in self.log.snapshots(tenant):
            try:
                made = _Class(Pupil.load(payload, self._how), number, number)
                break
            except UnknownState as error:
                log.warning("learning.snapshot_skipped", extra={"tenant": tenant, "why": str(error)})
        for number, event in list(self.log.after(tenant, made.number)):
            self._learn(tenant, made, number, event)
            self._remember(tenant, event)
        return made

    def save(self) -> int:
        """Take snapshots of what has none yet. How many organisations there are."""
        for tenant, made in self._classes.items():
            self._save(tenant, made)
        self.memory.save()
        return len(self._classes)

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
        numbers = self.log.add([(one.tenant, one) for one in ours])
        for number, one in zip(numbers, ours, strict=True):
            if number is not None:
                self._taken(one.tenant, number, one)
        return sum(number is not None for number in numbers)

    def judge(self, given: FeedbackGiven) -> tuple[Taken, ...] | Failure:
        """Keep and learn what somebody said. A comparison judges both answers."""
        wanted = _wanted(given)
        if isinstance(wanted, Failure):
            return wanted
        found: list[Trajectory] = []
        for request, _, _ in wanted:
            about = self.log.find(given.tenant, request)
            if about is None:
                return _unknown(request)
            if not about.answered:
                return _bad("request", f"nobody answered request {request[:128]!r}, so there is nothing to judge")
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
        fair = self._class(given.tenant).pupil.weigh(given.key)
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

    @property
    def _bytes(self) -> int:
        return 4 * self.embedder.dim

    def _class(self, tenant: str) -> _Class:
        return self._classes.setdefault(tenant, _Class(Pupil(self._how), 0, 0))

    def _taken(self, tenant: str, number: int, event: Event) -> None:
        made = self._class(tenant)
        self._learn(tenant, made, number, event, weighed=True)
        self._remember(tenant, event)
        if number - made.saved >= SNAPSHOT_EACH:
            self._save(tenant, made)

    def _learn(self, tenant: str, made: _Class, number: int, event: Event, *, weighed: bool = False) -> None:
        def history() -> list[Event]:
            return [one for _, one in self.log.after(tenant, 0, number)]

        made.pupil.apply(event, history, weighed=weighed)
        made.number, made.policy = number, None

    def _remember(self, tenant: str, event: Event) -> None:
        if isinstance(event, Judged):
            self.memory.judge(tenant, event.request, event.quality, weight=event.weight)
            return
        vector = vector_of(event)
        if not np.any(vector):
            return
        trace = Trace(
            namespace=tenant,
            request=event.request,
            model=event.answered or event.chosen,
            propensity=event.propensity or 0.0,
            at=event.at_s,
            text=event.text,
            cost_nanousd=event.cost_nanousd,
            latency_s=event.latency_s,
        )
        self.memory.add(trace, vector)

    def _save(self, tenant: str, made: _Class) -> None:
        if made.number > made.saved:
            self.log.save(tenant, made.number, made.pupil.dump(), keep=self._keep)
            made.saved = made.number

    # What is asked.

    def newest(self) -> dict[str, int]:
        """The number of each organisation's last event: what tells whether there is news."""
        return {tenant: made.number for tenant, made in self._classes.items()}

    def lesson(self, tenant: str, incarnation: int) -> Lesson:
        made = self._classes.get(tenant)
        if made is None:
            return Lesson(stamp=(incarnation, 0))
        if made.policy is None:
            made.policy = made.pupil.policy()
        pupil = made.pupil
        stamp = (incarnation, made.number)
        return Lesson(stamp=stamp, payload=made.policy, judged=pupil.judged, prompts=pupil.prompts)

    def summary(self, tenant: str) -> Summary:
        made = self._classes.get(tenant)
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
        )

    def about(self, tenant: str, query: str) -> str | Failure:
        """The id of the last request with this very text, as far as its vector tells."""
        found = self.search(tenant, query, 4)
        if isinstance(found, Failure):
            return found
        same = [one for one in found if one["similarity"] > SAME]
        if not same:
            return _unknown(query)
        return str(max(same, key=lambda one: float(one["at"]))["request_id"])

    def search(self, tenant: str, query: str | Sequence[float], k: int) -> list[dict[str, Any]] | Failure:
        """The nearest of what this organisation asked, nearest first. A vector has the embedder's dimension."""
        if isinstance(query, str):
            vector = self.embedder.embed([query])[0]
        else:
            if len(query) != self.embedder.dim:
                detail = f"the vector has {len(query)} numbers; {self.embedder.name} has {self.embedder.dim}"
                return _bad("vector", detail)
            vector = np.asarray(query, dtype=np.float32)
        if not np.all(np.isfinite(vector)) or not np.any(vector):
            return _bad("query", "there is nothing to look for: send a text, or a vector of finite numbers, not all 0")
        return [_told(one) for one in self.memory.near(tenant, vector / np.linalg.norm(vector), k)]


def _told(found: Found) -> dict[str, Any]:
    trace = found.trace
    return {
        "request_id": trace.request,
        "similarity": found.cosine,
        "model": trace.model,
        "quality": trace.quality,
        "cost_nanousd": trace.cost_nanousd,
        "latency_s": trace.latency_s,
        "at": trace.at,
        **({} if trace.text is None else {"text": trace.text}),
    }


def _wanted(given: FeedbackGiven) -> list[tuple[str, float, float]] | Failure:
    """(request, quality, weight) of what is to be judged."""
    if given.score is not None:
        quality = clipped(given.score)
        if quality is None:
            return _bad("score", "score should be a number from 0 to 1")
        return [(given.request, quality, 1.0)]
    if given.label is not None:
        if (known := LABELS.get(given.label.lower())) is None:
            return _bad("label", f"{given.label[:64]!r} is no label; there are {', '.join(LABELS)}")
        return [(given.request, known, 1.0)]
    if given.better_than is not None:
        if given.better_than == given.request:
            return _bad("better_than", "an answer is not better than itself; name another request")
        return [(given.request, BETTER, COMPARED), (given.better_than, WORSE, COMPARED)]
    if given.correction is not None:
        return [(given.request, *CORRECTED)]
    return _bad("score", "say how good the answer was: score (0 to 1), label, better_than or correction")


def _unknown(request: str) -> Failure:
    return Failure(
        kind=FailureKind.BAD_REQUEST,
        code="unknown_request",
        param="request_id",
        scope="request",
        detail=f"no answer of yours has the id {request[:128]!r} (x-request-id of an answer that was chosen by what is "
        "learned: a route of strategy `learned`, or model ruvector-auto)",
    )


def _bad(param: str, detail: str) -> Failure:
    return Failure(kind=FailureKind.BAD_REQUEST, param=param, detail=detail, scope="request")
