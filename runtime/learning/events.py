"""What taught an organisation's learner, in the order in which it came. A learner is a function of its events.

Decided    a trajectory
Judged     feedback to one, with all that it was taken for: how good, how much that counts, and what it replaces
Imported   what another Raygate learned, as it exported it (`runtime.learning.sharing`)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.learning.values import Signal, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """`fair` is the share of its weight that fairness to the other keys left; `instead` is the (quality, weight) of
    what the same key had said of the same answer before. `said` is the feedback as it was given. `trusted`: an admin's
    calibration, which counts in full and takes nothing from what others may say."""

    request: str
    key: str
    model: str
    quality: float
    weight: float
    fair: float
    vector: bytes
    at_s: float
    instead: tuple[float, float] | None = None
    said: Mapping[str, Any] | None = None
    trusted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """`vector` is the export itself, a zip. `who` learned it, until `learned_at` (wall time); `at_s` is when it was
    taken in. `patterns` and `outcomes` are how many it rests on, `models` those that it knows."""

    request: str
    who: str
    learned_at: float
    embedder: str
    patterns: int
    outcomes: float
    models: tuple[str, ...]
    adapters: tuple[str, ...]
    at_s: float
    vector: bytes
    key: str = ""


Event = Trajectory | Judged | Imported

KINDS: Mapping[str, type[Event]] = {"decided": Trajectory, "judged": Judged, "imported": Imported}


def kind_of(event: Event) -> str:
    return next(kind for kind, one in KINDS.items() if isinstance(event, one))


def to_plain(event: Event) -> dict[str, Any]:
    """Plain data, without the vector, which lies beside it."""
    plain = {one.name: getattr(event, one.name) for one in fields(event) if one.name != "vector"}
    if isinstance(event, Trajectory):
        plain["signals"] = [[one.model, one.quality, one.weight, one.why] for one in event.signals]
    return plain


def from_plain(kind: str, plain: Mapping[str, Any], vector: bytes) -> Event:
    """The inverse. Fields of a later version are left out."""
    cls = KINDS[kind]
    known = {one.name for one in fields(cls)}
    said: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in plain.items() if name in known
    }
    if cls is Trajectory:
        said["signals"] = tuple(
            Signal(model=model, quality=quality, weight=weight, why=why)
            for model, quality, weight, why in plain.get("signals", ())
        )
    return cls(**said, vector=vector)


def vector_of(event: Event) -> NDArray[np.float32]:
    return np.frombuffer(event.vector, dtype="<f4").astype(np.float32)
