"""Each organisation's pupil, as the log makes it: brought up to date at the start, taught, saved, begun anew.

    by the newest snapshot that can be read, and the events after it     paused: only those until the pause

What is here is never ahead of the log: an event is written down before it is learned.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from runtime.learning.events import Event, Judged
from runtime.learning.log import Log
from runtime.learning.pupil import Pupil, Schooling
from runtime.sona.state import UnknownState

log = logging.getLogger("raygate.learning")

SNAPSHOT_EACH = 500
"""Events after which a pupil is saved, so that a start has no more than these to learn again."""


@dataclass(slots=True)
class Class:
    """`number` is of the last event that was learned, `saved` that of the last snapshot."""

    pupil: Pupil
    number: int = 0
    saved: int = 0
    policy: bytes | None = None
    paused: bool = False
    emptied: bool = False
    ahead: int = 0
    map: tuple[int, dict[str, Any]] | None = None

    @property
    def stamp(self) -> int:
        """Grows with each change of the policy, also where somebody went back."""
        return self.number + self.ahead


class Classes:
    """`remember` is told of each event that a start finds after the last snapshot; `keep` is the log's (`Log.save`)."""

    def __init__(self, kept: Log, how: Schooling, *, keep: int, remember: Callable[[str, Event], None]) -> None:
        self._log = kept
        self._how = how
        self._keep = keep
        self._of = {tenant: self._resumed(tenant, remember) for tenant in kept.tenants()}

    def known(self, tenant: str) -> Class | None:
        return self._of.get(tenant)

    def of(self, tenant: str) -> Class:
        """A newcomer's begins here."""
        return self._of.setdefault(tenant, Class(Pupil(self._how)))

    def stamps(self) -> dict[str, int]:
        return {tenant: made.stamp for tenant, made in self._of.items()}

    def learn(self, tenant: str, number: int, event: Event) -> None:
        """The next event of the log. Who is paused learns it later."""
        made = self.of(tenant)
        if made.paused:
            return
        self._learn(tenant, made, number, event, weighed=True)
        if number - made.saved >= SNAPSHOT_EACH:
            self.save(tenant)

    def pause(self, tenant: str) -> None:
        """Keep it as it is now: whoever resumes goes on from there."""
        self._pause(tenant, self.of(tenant))

    def save(self, tenant: str) -> None:
        """Take a snapshot, if anything has come since the last one."""
        self._save(tenant, self.of(tenant))

    def save_all(self) -> int:
        """How many organisations there are."""
        for tenant, made in self._of.items():
            self._save(tenant, made)
        return len(self._of)

    def renewed(self, tenant: str) -> Class:
        """As the log has it now, after something was changed there."""
        before = self.of(tenant)
        made = self._resumed(tenant)
        made.ahead = before.stamp + 1 - made.number
        self._of[tenant] = made
        return made

    def _resumed(self, tenant: str, remember: Callable[[str, Event], None] | None = None) -> Class:
        made = Class(Pupil(self._how))
        for number in self._log.snapshots(tenant):
            try:
                made = Class(Pupil.load(self._log.snapshot(tenant, number) or b"", self._how), number, number)
                break
            except UnknownState as error:
                log.warning("learning.snapshot_skipped", extra={"tenant": tenant, "why": str(error)})
        paused_at, made.emptied = self._log.standing(tenant)
        later = list(self._log.after(tenant, made.number))
        for number, event in later:
            if paused_at is None or number <= paused_at:
                self._learn(tenant, made, number, event)
            if remember is not None:
                remember(tenant, event)
        if paused_at is not None:
            self._pause(tenant, made)
            for number, event in later:
                if number > paused_at and isinstance(event, Judged) and not event.trusted:
                    made.pupil.weigh(event.key, event.model)
        return made

    def _pause(self, tenant: str, made: Class) -> None:
        self._save(tenant, made)
        made.paused = True

    def _learn(self, tenant: str, made: Class, number: int, event: Event, *, weighed: bool = False) -> None:
        def history() -> Iterator[Event]:
            return (one for _, one in self._log.after(tenant, 0, number))

        made.pupil.apply(event, history, weighed=weighed)
        made.number, made.policy = number, None

    def _save(self, tenant: str, made: Class) -> None:
        if made.number > made.saved:
            self._log.save(tenant, made.number, made.pupil.dump(), keep=self._keep)
            made.saved = made.number
