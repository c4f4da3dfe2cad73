"""What the strategies are tried on. Loads are shares of what all servers together can do."""

from __future__ import annotations

from dataclasses import replace

from bench.balance.world import MEAN_TOKENS, Scenario, Server

STEP_S = 30.0
"""When something changes."""

SLOWED = 8.0


def rate(servers: tuple[Server, ...], load: float) -> float:
    """Requests a second that use this share of the servers that have slots."""
    return load * sum((one.slots or 0) / (one.ttft_s + MEAN_TOKENS * one.per_token_s) for one in servers)


EQUAL = tuple(Server() for _ in range(8))
MIXED = tuple(
    Server(ttft_s=ttft_s, per_token_s=per_token_s, slots=slots)
    for ttft_s, per_token_s, slots in (
        (0.1, 0.002, 8),
        (0.2, 0.004, 8),
        (0.2, 0.004, 8),
        (0.3, 0.008, 16),
        (0.5, 0.012, 16),
    )
)
TWO = (Server(ttft_s=0.1, per_token_s=0.003), Server(ttft_s=0.4, per_token_s=0.01, slots=16))
HOSTED = tuple(
    Server(ttft_s=ttft_s, per_token_s=per_token_s, slots=None)
    for ttft_s, per_token_s in ((0.3, 0.004), (0.35, 0.005), (0.8, 0.015), (2.0, 0.03))
)
TWENTY = tuple(Server(ttft_s=0.15 * (1 + of % 4), per_token_s=0.003 * (1 + of % 4)) for of in range(20))


def slow_start(at: float) -> float:
    """A cold server: six times slower at first, as usual after 20 s."""
    return 1.0 + 5.0 * max(0.0, 1.0 - at / 20.0)


def step_up(at: float) -> float:
    return SLOWED if at >= STEP_S else 1.0


def step_down(at: float) -> float:
    return SLOWED if at < STEP_S else 1.0


def breaks(at: float) -> bool:
    return at >= STEP_S


def broken(at: float) -> bool:
    return True


def _with_second(servers: tuple[Server, ...], **changes: object) -> tuple[Server, ...]:
    return (servers[0], replace(servers[1], **changes), *servers[2:])  # type: ignore[arg-type]


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(name="two", servers=TWO, rate=rate(TWO, 0.6)),
    Scenario(name="two, quiet", servers=TWO, rate=rate(TWO, 0.2)),
    Scenario(name="mixed", servers=MIXED, rate=rate(MIXED, 0.6)),
    Scenario(name="mixed, one edge", servers=MIXED, rate=rate(MIXED, 0.6), edges=1, stale_s=0.0),
    Scenario(name="mixed, pareto", servers=MIXED, rate=rate(MIXED, 0.6), tail="pareto"),
    Scenario(name="hosted", servers=HOSTED, rate=40.0),
    Scenario(name="equal", servers=EQUAL, rate=rate(EQUAL, 0.7)),
    Scenario(name="equal, 16 edges", servers=EQUAL, rate=rate(EQUAL, 0.7), edges=16, stale_s=0.5),
    Scenario(name="twenty", servers=TWENTY, rate=rate(TWENTY, 0.7), edges=16, stale_s=0.5, seconds=40.0),
    Scenario(
        name="slow start",
        servers=_with_second(MIXED, slowdown=slow_start),
        rate=rate(MIXED, 0.5),
        since_s=0.0,
        seconds=40.0,
    ),
    Scenario(
        name="step up", servers=_with_second(MIXED, slowdown=step_up), rate=rate(MIXED, 0.5), since_s=STEP_S + 2.0
    ),
    Scenario(
        name="step down", servers=_with_second(MIXED, slowdown=step_down), rate=rate(MIXED, 0.5), since_s=STEP_S + 2.0
    ),
    Scenario(name="breaks", servers=_with_second(MIXED, fails=breaks), rate=rate(MIXED, 0.5), since_s=STEP_S + 1.0),
    Scenario(name="broken", servers=_with_second(MIXED, fails=broken), rate=rate(MIXED, 0.5), since_s=1.0),
)
"""In those where something happens, it happens to the second server."""

CHANGED = 1

BY_NAME = {one.name: one for one in SCENARIOS}
