"""One provider, several copies of its server: each call goes to the copy with the fewest of this process's calls.

A copy that cannot be reached at all, at once, rests for a while, and the call goes to another one: nothing had been
sent. One that broke off rests, too; that call is not made again here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from runtime.dialects.base import HttpCall, HttpReply
from runtime.faults import UNREACHED
from runtime.transport.base import Fault, FaultKind, HttpStream, Limits, Transport, whole_reply
from runtime.values import replace

REST_S = 3.0
"""Longer than its restart takes to be noticed, or to be over."""
NEAR_S = 1.0
"""A copy is near; one whose machine is gone answers nothing at all, and there are others to ask."""


class Spread:
    """`base_url` is what calls are addressed to; `copies` are the base URLs that stand for it."""

    def __init__(self, inner: Transport, base_url: str, copies: Sequence[str], clock: Callable[[], float]) -> None:
        self._inner = inner
        self._base_url = base_url
        self._clock = clock
        self._under_way: Counter[str] = Counter()
        self._rests_until = dict.fromkeys(copies, float("-inf"))
        self._turn = 0

    async def send(self, call: HttpCall, limits: Limits) -> HttpReply | Fault:
        opened = await self.open(call, limits)
        try:
            return await whole_reply(opened)
        finally:
            if not isinstance(opened, Fault):
                await opened.close()

    async def open(self, call: HttpCall, limits: Limits) -> HttpStream | Fault:
        fault: Fault | None = None
        near = replace(limits, connect_s=min(limits.connect_s, NEAR_S))
        order = self._in_order()
        for copy in order:
            self._under_way[copy] += 1
            opened: HttpStream | Fault | None = None
            try:
                opened = await self._inner.open(self._to(call, copy), limits if copy == order[-1] else near)
            finally:
                if opened is None or isinstance(opened, Fault):
                    self._under_way[copy] -= 1
            if not isinstance(opened, Fault):
                return _Counted(opened, partial(self._over, copy))
            if opened.kind in UNREACHED or opened.kind is FaultKind.RESET:
                self._rests_until[copy] = self._clock() + REST_S
            if opened.kind not in UNREACHED:
                return opened
            fault = opened
        return fault or Fault(FaultKind.REFUSED, "there is no copy of this server")

    async def close(self) -> None:
        await self._inner.close()

    def _in_order(self) -> list[str]:
        """The least busy first, those of equal load in turn; last those that rest."""
        now, copies = self._clock(), list(self._rests_until)
        self._turn = (self._turn + 1) % max(len(copies), 1)
        turned = copies[self._turn :] + copies[: self._turn]
        return sorted(turned, key=lambda copy: (self._rests_until[copy] > now, self._under_way[copy]))

    def _to(self, call: HttpCall, copy: str) -> HttpCall:
        return replace(call, url=copy + call.url.removeprefix(self._base_url))

    def _over(self, copy: str) -> None:
        self._under_way[copy] -= 1


class _Counted:
    """An answer that is under way until it is closed."""

    def __init__(self, stream: HttpStream, over: Callable[[], None]) -> None:
        self._stream = stream
        self._over: Callable[[], None] | None = over
        self.status = stream.status
        self.headers: Mapping[str, str] = stream.headers

    async def read(self) -> bytes | Fault:
        return await self._stream.read()

    async def read_all(self) -> bytes | Fault:
        return await self._stream.read_all()

    async def close(self) -> None:
        over, self._over = self._over, None
        if over is not None:
            over()
        await self._stream.close()
