"""Answers that were paid for once: exact matches only, least recently used out first, each for a limited time.

The key holds every field of a request that can change its answer, and whose request it is. Left out are only those
that say how the answer travels: request id, deadline, limits, streaming, the words of older clients, what the
provider may remember of the prompt, whether we may remember the answer, who pays, and metadata, which providers
store and models never see. (The first system's key was messages, model, temperature and length: a request with tools
got another provider's cached text. Its hooks' key was the first 48 bytes.)
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, fields, replace

import orjson

from runtime.outcome import CACHED, Attempt, Completion, Cost, FinishReason
from runtime.request import Request

_TRAVEL = frozenset(
    (
        *("request_id", "deadline_s", "limits", "stream", "stream_usage", "metadata", "cache", "legacy_functions"),
        *("no_store", "billing"),
    )
)
_KEYED = tuple(field.name for field in fields(Request) if field.name not in _TRAVEL)

_WHOLE = frozenset((FinishReason.STOP, FinishReason.TOOL_CALLS))


def key_of(request: Request) -> bytes:
    """Equal for requests that may share an answer, and for no others."""
    said = [getattr(request, name) for name in _KEYED]
    return hashlib.sha256(orjson.dumps(said, default=_plain, option=orjson.OPT_SORT_KEYS)).digest()


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    return dict(value)  # type: ignore[call-overload]  # orjson knows all else that a request holds but mappings


@dataclass(frozen=True, slots=True)
class _Kept:
    completion: Completion
    until: float


class AnswerCache:
    """Belongs to one event loop and one set of settings; `now` is its owner's monotonic clock."""

    def __init__(self, *, max_entries: int, ttl_s: float) -> None:
        self._max_entries = max_entries
        self._ttl_s = ttl_s
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes, now: float) -> Completion | None:
        """The answer as it was given, now for nothing; its only attempt says that it was remembered."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if now >= kept.until:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        given = kept.completion
        remembered = Attempt(provider=given.provider, model=given.model, outcome=CACHED, elapsed_s=0.0)
        free = replace(given, cost=Cost(), latency_s=0.0, ttft_s=None, overhead_s=0.0, queue_s=0.0)
        return replace(free, attempts=(remembered,))

    def put(self, key: bytes, completion: Completion, now: float) -> None:
        """Remember an answer, if it is whole: what was cut short or filtered is asked again."""
        if not completion.choices or any(choice.finish_reason not in _WHOLE for choice in completion.choices):
            return
        self._kept[key] = _Kept(completion, now + self._ttl_s)
        self._kept.move_to_end(key)
        if len(self._kept) > self._max_entries:
            self._kept.popitem(last=False)

    def clear(self) -> int:
        """Forget everything. Returns how many answers that were."""
        count = len(self._kept)
        self._kept.clear()
        return count
