"""Ids of tool calls as this API takes them: other providers write others, and some use one twice.

    "toolu_1" ─► "toolu_1"                      what is well formed stays
    "call.1"  ─► "call_1_8c2f…"                 what is not gets a mark of its own, the same in every later request
    "a", "a"  ─► "a", "a_2"                     a second call of one id, and its result with it

Results are given to their calls in order: the first result of an id answers the first call of it.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict, deque

_TAKEN = re.compile(r"[a-zA-Z0-9_-]+")
_OTHER = re.compile(r"[^a-zA-Z0-9_-]")


class Ids:
    """One conversation's ids, call by call. `as_given` leaves all that the API takes as they are."""

    __slots__ = ("_answered", "_as_given", "_open", "_used")

    def __init__(self, *, as_given: bool) -> None:
        self._as_given = as_given
        self._used: set[str] = set()
        self._open: defaultdict[str, deque[str]] = defaultdict(deque)
        self._answered: dict[str, str] = {}

    def of_call(self, given: str) -> str:
        """The id to send for the next call of this id."""
        if self._as_given:
            return clean(given)
        name = unique = clean(given)
        times = 1
        while unique in self._used:
            times += 1
            unique = f"{name}_{times}"
        self._used.add(unique)
        self._open[given].append(unique)
        return unique

    def of_result(self, given: str) -> str:
        """The id to send for the next result of this id."""
        if self._as_given:
            return clean(given)
        if self._open[given]:
            self._answered[given] = self._open[given].popleft()
        # A result that comes twice still names its call.
        return self._answered.get(given) or clean(given)


def clean(given: str) -> str:
    """An id of the letters that the API takes. Different ids never become one.

    >>> clean("toolu_01")
    'toolu_01'
    >>> clean("call.1") != clean("call:1")
    True
    """
    if _TAKEN.fullmatch(given):
        return given
    mark = hashlib.blake2b(given.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"{_OTHER.sub('_', given[:40])}_{mark}"
