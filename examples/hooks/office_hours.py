"""A guard: nobody asks outside of office hours (UTC), but for one key.

hooks:
  - use: office_hours:OfficeHours
    with: {begins: 8, ends: 18, exempt: [key_4be1d68d9672]}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from runtime.hooks import Before, refuse
from runtime.outcome import Failure, FailureKind


def _now() -> datetime:
    return datetime.now(UTC)


class OfficeHours:
    guard = True

    def __init__(
        self, *, begins: int, ends: int, exempt: Sequence[str] = (), now: Callable[[], datetime] = _now
    ) -> None:
        if not 0 <= begins < ends <= 24:
            raise ValueError("`begins` should be before `ends`, both hours from 0 to 24")
        self._hours = range(begins, ends)
        self._exempt = frozenset(exempt)
        self._now = now

    def pre(self, asked: Before) -> Failure | None:
        billing = asked.request.billing
        if self._now().hour in self._hours or (billing is not None and billing.account.key in self._exempt):
            return None
        detail = f"models answer from {self._hours.start} to {self._hours.stop} o'clock (UTC); come again then"
        return refuse(detail, kind=FailureKind.NOT_ALLOWED, code="office_hours")
