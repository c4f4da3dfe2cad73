"""RuVector's actor as an edge sees it, without Ray between them; or away."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

from actors.clock import SENSES
from actors.learning import EdgeLearning
from actors.refs import Unreachable
from actors.ruvector_actor import RuVectorActor
from actors.ruvector_ref import RuVectorRef
from actors.store import Store
from runtime.settings import Settings


class Near(RuVectorRef):
    """The real actor, called in this process; None: nobody is there."""

    def __init__(self, actor: RuVectorActor | None = None) -> None:
        super().__init__()
        self.there = actor

    async def _call(self, method: str, *args: Any, timeout_s: float) -> Any:
        if self.there is None:
            raise Unreachable("ruvector is not running at the moment")
        return await getattr(self.there, method)(*args)


def actor(folder: Path, *, models: dict[str, Any] | None = None, **learning: Any) -> RuVectorActor:
    """An actor with its state in this folder; the settings are those of its section."""
    said = {"learning": learning, "models": models or {}}
    Store(folder).put_settings(Settings.model_validate(said).to_document())
    return RuVectorActor(str(folder))


def edge_learning(owner: RuVectorRef, name: str = "edge") -> EdgeLearning:
    return EdgeLearning(name, SENSES, random.Random(1), Counter(), owner=owner)
