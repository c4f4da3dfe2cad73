"""How busy and how fast a provider is: calls in flight, and a latency average that forgets with time."""

from __future__ import annotations

import math


class Ewma:
    """An exponentially weighted mean whose weights follow elapsed time, not the number of samples.

    A sample `tau_s` seconds old counts 1/e of a fresh one (the form that tower's `PeakEwma` uses); so a burst
    does not erase the past, and silence does not freeze it.
    """

    __slots__ = ("_at", "_tau_s", "_value")

    def __init__(self, tau_s: float = 10.0) -> None:
        self._tau_s = tau_s
        self._value: float | None = None
        self._at = 0.0

    @property
    def value(self) -> float | None:
        """None until the first sample."""
        return self._value

    def add(self, sample: float, now: float) -> None:
        if self._value is None:
            self._value = sample
        else:
            # Samples of one moment share it: the least step keeps a batch from being ignored.
            elapsed_s = max(now - self._at, self._tau_s / 32)
            keep = math.exp(-elapsed_s / self._tau_s)
            self._value = self._value * keep + sample * (1.0 - keep)
        self._at = now


class Load:
    """One provider's load as one process sees it. Each `begin` has exactly one `end`."""

    __slots__ = ("in_flight", "latency_s")

    def __init__(self) -> None:
        self.in_flight = 0
        self.latency_s = Ewma()

    def begin(self) -> None:
        self.in_flight += 1

    def end(self, now: float, *, latency_s: float | None) -> None:
        """`latency_s` only for answers: an error returns fast and must not look like speed."""
        self.in_flight -= 1
        if latency_s is not None:
            self.latency_s.add(latency_s, now)
