"""Who asks the same again within a short while was not content with what he got: a weak word against that answer.

It can be told only of callers with a key. The words are compared by their vectors: in a long text a changed word or two
pass for none, so that jobs that put little into much of a template are taken for it, too. Hence the small weight.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from runtime.learning.events import vector_of
from runtime.learning.signals import ASKED_AGAIN
from runtime.learning.values import Signal, Trajectory

WITHIN_S = 120.0
SAME = 0.9999
"""The cosine of a text with itself, less what rounding takes."""
LAST = 8
"""Requests of a key that are looked through."""
MOST = 10_000
"""Keys that are remembered."""


class Again:
    """What each key asked last. It is lost with its process: an answer or two are then not doubted."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str], deque[tuple[Trajectory, NDArray[np.float32]]]] = OrderedDict()

    def seen(self, one: Trajectory) -> Trajectory:
        """The decision, with the signal against the earlier answer if there is cause for one."""
        vector = vector_of(one)
        size = float(np.linalg.norm(vector))
        if not one.key or size == 0.0:
            return one
        vector = vector / size
        last = self._last.pop((one.tenant, one.key), deque(maxlen=LAST))
        for before, its in reversed(last):
            if before.request == one.request or not 0.0 <= one.at_s - before.at_s <= WITHIN_S:
                continue
            if before.answered and float(vector @ its) > SAME:
                quality, weight = ASKED_AGAIN
                word = Signal(model=before.answered, quality=quality, weight=weight, why="asked again")
                one = replace(one, signals=(*one.signals, word))
                break
        last.append((one, vector))
        self._last[one.tenant, one.key] = last
        while len(self._last) > MOST:
            self._last.popitem(last=False)
        return one
