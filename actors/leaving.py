"""Actors that nobody wants any more: each ends once the calls that go through it are over, or their time is.

let_go ──► leaving ──► due: no call in flight any more, or the longest time that a call may take has passed
              └──────► stays: it is wanted again
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

HEARD_S = 3.0
"""Until then an edge may not have heard that it is to send no more, nor have reported what it sent last."""


@dataclass(frozen=True, slots=True)
class _Leaver:
    provider: str
    not_before: float
    until: float


class Leaving:
    """Decides; ends nobody."""

    def __init__(self) -> None:
        self._leavers: dict[str, _Leaver] = {}

    def let_go(self, actor: str, provider: str, now: float, *, longest_s: float) -> None:
        """This actor, through which calls to `provider` go, is to end; a call lasts at most `longest_s`."""
        self._leavers.setdefault(actor, _Leaver(provider, now + HEARD_S, now + HEARD_S + longest_s))

    def stays(self, actor: str) -> None:
        self._leavers.pop(actor, None)

    def due(self, now: float, in_flight: Callable[[str], int]) -> list[str]:
        """Whom to end now; they are forgotten. `in_flight` says how many calls a provider has under way."""
        due = [
            actor
            for actor, one in self._leavers.items()
            if now >= one.until or (now >= one.not_before and not in_flight(one.provider))
        ]
        for actor in due:
            del self._leavers[actor]
        return due
