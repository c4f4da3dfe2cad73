"""Providers and requests, all drawn before anybody chooses: every policy meets the same requests and the same luck."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FAILS_IN_S = 0.02
MEAN_TOKENS = 100.0


def always(at: float) -> float:
    return 1.0


def never(at: float) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Server:
    """A provider: `slots` calls at once (None: as many as come), the others wait in line.

    A call takes (`ttft_s` + tokens × `per_token_s`) × `slowdown(t)` × luck, and luck is lognormal with this sigma and
    a mean of one. While `fails(t)`, it says no within 20 ms.
    """

    ttft_s: float = 0.2
    per_token_s: float = 0.004
    slots: int | None = 8
    luck: float = 0.25
    slowdown: Callable[[float], float] = always
    fails: Callable[[float], bool] = never


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`rate` is requests a second, of all `edges` together. Views are renewed every `stale_s`; 0.0 is at once.

    `tail` is the law of the answers' lengths: lognormal (sigma 1) or Pareto (alpha 2.2), both with a mean of about
    100 tokens. Figures are of requests that began after `since_s`.
    """

    name: str
    servers: tuple[Server, ...]
    rate: float
    seconds: float = 60.0
    since_s: float = 10.0
    edges: int = 4
    stale_s: float = 0.25
    tail: str = "lognormal"


class Line:
    """The calls at one server: who comes first is served first."""

    def __init__(self, server: Server) -> None:
        self._free = [0.0] * (server.slots or 0)

    def starts(self, now: float) -> float:
        return max(now, self._free[0]) if self._free else now

    def serve(self, now: float, takes_s: float) -> float:
        """When it begins."""
        begins = self.starts(now)
        if self._free:
            heapq.heapreplace(self._free, begins + takes_s)
        return begins


@dataclass(frozen=True)
class Traffic:
    """By request: when it begins, at which edge, how long its answer is, and its luck at every server."""

    at: Floats
    edge: Ints
    tokens: Ints
    luck: Floats


def draw(scenario: Scenario, seed: int) -> Traffic:
    rng = np.random.default_rng(seed)
    count = int(rng.poisson(scenario.rate * scenario.seconds))
    at = np.sort(rng.uniform(0.0, scenario.seconds, count))
    if scenario.tail == "pareto":
        tokens = (rng.pareto(2.2, count) + 1.0) * MEAN_TOKENS * 1.2 / 2.2
    else:
        tokens = rng.lognormal(-0.5, 1.0, count) * MEAN_TOKENS
    sigma = np.array([one.luck for one in scenario.servers])
    luck = np.exp(rng.normal(0.0, 1.0, (count, len(sigma))) * sigma - sigma**2 / 2)
    edge = rng.integers(0, scenario.edges, count)
    return Traffic(at, edge, np.maximum(1, tokens).astype(np.int64), luck)
