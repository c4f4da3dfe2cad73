"""What one process knows of a provider when it chooses: its doors, its own load, what everybody measured.

how fast      everybody's, as last published; our own until then, and again once our reports reach nobody any more
how busy      our own calls, exactly, and the others' as last published, less as that grows old
failures      everybody's; those that we saw since our last report may have been, too
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

from runtime.admission import Admission, AdmissionPolicy
from runtime.balance.pace import Pace, Timings
from runtime.feed import Measured, Published
from runtime.gate import Gate
from runtime.load import Load
from runtime.view import FORGOTTEN, still_under_way

MOST_PACES = 1_000
"""Models whose pace is remembered, by all and by us. Names come from callers, so they must not fill the memory."""


class Vitals(NamedTuple):
    """One model at one provider, now; None is unmeasured. `share` (0..1] is how much of its traffic it should get: less
    than all where it has just healed. `latency_s` is of whole answers; the rest is as in `balance.entry.Entry`."""

    retry_in_s: float
    in_flight: int
    latency_s: float | None
    share: float = 1.0
    others_in_flight: int = 0
    ttft_s: float | None = None
    per_token_s: float | None = None
    usual_load: float = 0.0
    silent_s: float = 0.0
    failed: float = 0.0
    measured_ago_s: float | None = None
    output_tokens: float | None = None


class Standing:
    """Joins the published view with this process's own; `now` is its monotonic clock."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.load = Load()
        self.queue: Admission | None = None
        self._shared: dict[str, tuple[Measured, float]] = {}
        self._others = 0
        self._others_at = 0.0
        self._every_s = 1.0
        self._paces: dict[str, Pace] = {}
        self._silent: dict[str, dict[object, float]] = {}

    def limit(self, policy: AdmissionPolicy | None, clock: Callable[[], float], rng: random.Random) -> None:
        """How many calls at once, from now on, and who waits for a place; None for no limit.

        Who holds a place or waits for one keeps it.
        """
        if policy is None:
            if self.queue is not None:
                self.queue.follow(AdmissionPolicy(max_in_flight=sys.maxsize))
            self.queue = None
        elif self.queue is None:
            self.queue = Admission(policy, clock, rng)
        else:
            self.queue.follow(policy)

    def adopt(self, published: Published, now: float) -> None:
        """Take the authority's newest state."""
        self.gate.adopt(published, now)

    def learn(self, measured: Mapping[str, Measured], others: int, now: float, *, every_s: float = 1.0) -> None:
        """Take what is new of what everybody measured of models here, and how many calls the others have under way.

        Edges report it once in `every_s`.
        """
        for model, one in measured.items():
            self._shared.pop(model, None)
            self._shared[model] = one, now
        while len(self._shared) > MOST_PACES:
            del self._shared[next(iter(self._shared))]
        self._others, self._others_at, self._every_s = others, now, every_s

    def others(self, now: float) -> int:
        """Calls that others have under way here, as far as that is still known."""
        if not self._others:
            return 0
        return round(self._others * still_under_way(now - self._others_at, every_s=self._every_s))

    def vitals(self, model: str, now: float) -> Vitals:
        gate, load = self.gate, self.load
        retry_in_s, share, others = gate.retry_in_s(now, model), gate.share(now, model), self.others(now)
        own, (shared, shared_at) = self._paces.get(model), self._shared.get(model, (None, now))
        own_ago_s = None if own is None or own.at is None else now - own.at
        ago_s = None if shared is None or shared.heard_ago_s is None else shared.heard_ago_s + now - shared_at
        pace: Pace | Measured | None = shared
        if ago_s is None or (own_ago_s is not None and ago_s - own_ago_s > FORGOTTEN * self._every_s):
            pace = own
        waiting = self._silent.get(model)
        silent_s = now - next(iter(waiting.values())) if waiting else 0.0
        if pace is None:
            latency_s = load.latency_s.value if shared is None else shared.latency_s
            return Vitals(retry_in_s, load.in_flight, latency_s, share, others, silent_s=silent_s)
        failed = pace.failed
        if own is not None and own_ago_s is not None:
            if own_ago_s <= now - shared_at + self._every_s:
                failed = max(failed, own.failed)
            ago_s = own_ago_s if ago_s is None else min(ago_s, own_ago_s)
        return Vitals(
            retry_in_s,
            load.in_flight,
            load.latency_s.value if shared is None or shared.latency_s is None else shared.latency_s,
            share,
            others,
            pace.ttft_s,
            pace.per_token_s,
            pace.usual_load,
            silent_s,
            failed,
            ago_s,
            pace.output_tokens,
        )

    # What our own calls tell.

    def beside(self, now: float) -> int:
        """How many calls are under way beside one that has just begun: ours, and the others'."""
        return self.load.in_flight - 1 + self.others(now)

    def asks(self, model: str, call: object, now: float) -> int:
        """A stream was asked for, and is silent until `hears`. Returns how many calls are under way beside it."""
        self._silent.setdefault(model, {})[call] = now
        return self.beside(now)

    def hears(self, model: str, call: object) -> None:
        """Its first token has come, or its end."""
        waiting = self._silent.get(model)
        if waiting is not None and waiting.pop(call, None) is not None and not waiting:
            del self._silent[model]

    def measure(self, model: str, batch: Timings, now: float) -> None:
        """What calls of a model came to."""
        if model not in self._paces and len(self._paces) >= MOST_PACES:
            self._paces.clear()
        self._paces.setdefault(model, Pace()).add(batch, now)

    def per_token_s(self, model: str) -> float | None:
        """How fast tokens come here, as far as streams have shown it."""
        shared = self._shared.get(model)
        known = shared[0] if shared else self._paces.get(model)
        return known.per_token_s if known else None
