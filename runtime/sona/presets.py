"""The first system's presets, by their names, as settings of ours; its published constants are the source. What a
preset sets is of the parts that refine the head (`runtime.sona.refine`); none of them takes part by default."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Ranks and rates of the two adapters, EWC's lambda, patterns, trajectories kept, and what is learned from."""

    micro_rank: int = 2
    base_rank: int = 8
    micro_rate: float = 0.002
    base_rate: float = 1e-4
    ewc_lambda: float = 2_000.0
    patterns: int = 100
    buffer: int = 10_000
    interval_s: float = 3_600.0
    least_quality: float = 0.3


PRESETS = MappingProxyType(
    {
        "default": Preset(),
        "throughput": Preset(base_rank=4, micro_rate=5e-4, buffer=5_000, interval_s=7_200.0, least_quality=0.4),
        "quality": Preset(base_rank=16, base_rate=0.001, buffer=20_000, interval_s=1_800.0, least_quality=0.2),
        "edge": Preset(
            micro_rank=1, base_rank=4, micro_rate=0.001, ewc_lambda=1_000.0, patterns=50, buffer=200, least_quality=0.5
        ),
        "batch": Preset(micro_rate=0.001),
        "ephemeral": Preset(base_rank=4, ewc_lambda=1_000.0, patterns=50, buffer=500, interval_s=60.0),
        "coordinator": Preset(
            base_rank=16,
            micro_rate=0.001,
            base_rate=5e-4,
            patterns=200,
            buffer=50_000,
            interval_s=300.0,
            least_quality=0.4,
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """What a point of quality may cost: lambda for money, mu for time, relative to the dearest or slowest model."""

    money: float
    time: float


TASTES = MappingProxyType(
    {
        "ruvector-auto": Taste(money=0.2, time=0.02),
        "ruvector-fast": Taste(money=0.2, time=0.3),
        "ruvector-quality": Taste(money=0.02, time=0.0),
        "ruvector-balanced": Taste(money=0.1, time=0.05),
    }
)
