"""What one process knows of a provider when it chooses: its doors, its own load, what everybody measured."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runtime.admission import Admission, AdmissionPolicy
from runtime.feed import Published
from runtime.gate import Gate
from runtime.load import Load


@dataclass(frozen=True, slots=True)
class Vitals:
    """One model at one provider, now. `latency_s` is None while nobody measured it; `share` (0..1] is how much of its
    traffic it should get: less than all where it has just healed."""

    retry_in_s: float
    in_flight: int
    latency_s: float | None
    share: float = 1.0


class Standing:
    """Joins the published view with this process's own; `now` is its monotonic clock."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.load = Load()
        self.queue: Admission | None = None
        self.shared: Mapping[str, float] = {}

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

    def adopt(self, published: Published, latency_s: Mapping[str, float], now: float) -> None:
        """Take the newest snapshot: the authority's state, and the shared latency of each model."""
        self.gate.adopt(published, now)
        self.shared = latency_s

    def vitals(self, model: str, now: float) -> Vitals:
        # The shared mean holds more traffic than our own; ours serves until the first snapshot has one.
        latency_s = self.shared.get(model, self.load.latency_s.value)
        gate = self.gate
        return Vitals(gate.retry_in_s(now, model), self.load.in_flight, latency_s, gate.share(now, model))
