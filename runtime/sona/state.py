"""A learner as bytes and back, bit for bit: what is published to edges, saved in snapshots and rolled back to.

A header in JSON (schema, models, counters, settings) and the arrays as they are (`.npy`), in one uncompressed zip.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict
from typing import Any

import numpy as np

from runtime.sona.bank import Floats
from runtime.sona.drift import Drift, Watchfulness
from runtime.sona.explore import Curiosity
from runtime.sona.head import HeadPrior
from runtime.sona.learner import Learner, LearnerConfig
from runtime.sona.lowrank import Keeping, Rank
from runtime.sona.refine import Parts, Refinement
from runtime.sona.topics import TopicMap, TopicShape

SCHEMA = 3
_READABLE = (2, SCHEMA)
_SINCE_3 = ("claimed", "doubts")
"""Of an older state they are what a learner of its models and settings begins with."""
_HEAD = (*_SINCE_3, "levels", "own", "middle", "along", "plain", "turn", "around")
_REFINED = ("micro", "base", "keeper", "line", "vectors", "features", "outcomes")
_MAP = ("middle", "centres", "turn", "offset", "anchors", "share")


class UnknownState(ValueError):
    """Not a learner's state, or one of a version that this one does not understand."""


def dump(learner: Learner, *, whole: bool = True) -> bytes:
    """`whole` false leaves out what a decision does not need: lessons that are kept to be replayed."""
    header = {
        "schema": SCHEMA,
        "models": learner.models,
        "config": asdict(learner.config),
        "beta": learner.topics.beta,
        "log_cost": learner.log_cost,
        "usual_figure": learner.usual_figure,
        "asked": learner.asked,
        "heard": learner.heard,
        "spent": learner.spent,
        "drift": [[one.up, one.down, one.said] for one in learner.drifts],
    }
    arrays = {name: getattr(learner.topics, name) for name in _MAP}
    arrays |= {f"head_{name}": getattr(learner.head, name) for name in _HEAD}
    if learner.refined is not None:
        header["refined"], parts = learner.refined.saved(whole=whole)
        arrays |= {f"refined_{name}": array for name, array in parts.items()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as file:
        # A fixed date: the same learner is the same bytes.
        file.writestr(zipfile.ZipInfo("header.json"), json.dumps(header))
        for name, array in arrays.items():
            part = io.BytesIO()
            np.save(part, array, allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), part.getvalue())
    return out.getvalue()


def _array(file: zipfile.ZipFile, name: str) -> Floats:
    return np.asarray(np.load(io.BytesIO(file.read(f"{name}.npy")), allow_pickle=False))


def load(payload: bytes) -> Learner:
    """Raises `UnknownState`."""
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as file:
            header = json.loads(file.read("header.json"))
            if header["schema"] not in _READABLE:
                raise UnknownState(f"a learner of schema {header['schema']}, this version reads {SCHEMA}")
            known = [one for one in _HEAD if header["schema"] == SCHEMA or one not in _SINCE_3]
            arrays: dict[str, Floats] = {
                name: _array(file, name) for name in (*_MAP, *(f"head_{one}" for one in known))
            }
            said_of_parts = header.get("refined")
            refined = {name: _array(file, f"refined_{name}") for name in _REFINED} if said_of_parts else {}
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        if isinstance(error, UnknownState):
            raise
        raise UnknownState(f"not a learner's state: {error}") from error
    said = header["config"]
    config = LearnerConfig(
        **{
            **said,
            "topics": TopicShape(**said["topics"]),
            "head": HeadPrior(**said["head"]),
            "curiosity": Curiosity(**said["curiosity"]),
            "watch": Watchfulness(**said["watch"]),
            "parts": _parts(said["parts"]),
            "known": tuple((name, figure) for name, figure in said.get("known", ())),
        }
    )
    topics = TopicMap(beta=header["beta"], **{name: arrays[name] for name in _MAP})
    learner = Learner(header["models"], [1.0] * len(header["models"]), topics, config)
    learner.log_cost, learner.usual_figure = header["log_cost"], header.get("usual_figure")
    for name in known:
        setattr(learner.head, name, arrays[f"head_{name}"])
    learner.asked, learner.heard, learner.spent = header["asked"], header["heard"], header["spent"]
    if refined:
        learner.refined = Refinement.restored(said_of_parts, refined, config.parts, len(topics.middle))
    learner.drifts[:] = [Drift(up, down, said) for up, down, said in header["drift"]]
    return learner


def _parts(said: dict[str, Any]) -> Parts:
    ranks = {name: Rank(**said[name]) for name in ("micro_rank", "base_rank")}
    return Parts(**{**said, **ranks, "keeping": Keeping(**said["keeping"])})
