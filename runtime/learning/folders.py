"""Each embedder has a folder of its own, so that vectors of two are never mixed. What goes from one to the other:

    carried      a folder that is new begins with what the last one knows, as far as the texts were kept: read anew by
                 the new embedder, with all that was said of the answers
    forgotten    who is forgotten is forgotten in all of them

What has no text (`learning.keep_text` is off by default) cannot be read anew, nor what other Raygates shared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import numpy as np

from runtime.learning.events import Event, Imported, Judged
from runtime.learning.log import Log
from runtime.learning.values import Trajectory
from runtime.memory.embed import Embedder
from runtime.memory.memory import graph_file

EVENTS, MEMORY = "events.sqlite", "memory"
BATCH = 256


def carried(folder: Path, embedder: Embedder) -> int:
    """How many events the new `folder` begins with: 0 where it is not new, or there is nothing to read anew. All or
    nothing: after a crash it is done again."""
    if (folder / EVENTS).exists():
        return 0
    before = max(_others(folder), key=lambda one: (one / EVENTS).stat().st_mtime, default=None)
    if before is None:
        return 0
    made = folder.with_name(folder.name + ".new")
    rmtree(made, ignore_errors=True)
    made.mkdir(mode=0o700, parents=True)
    with closing(Log(before / EVENTS)) as old, closing(Log(made / EVENTS)) as new:
        count = sum(_anew(old, new, tenant, embedder) for tenant in old.tenants())
    if count:
        # An empty one may be there, of somebody who came no further.
        rmtree(folder, ignore_errors=True)
        made.rename(folder)
    else:
        rmtree(made)
    return count


def forgotten(folder: Path, tenant: str, request: str | None) -> int:
    """Delete it from what other embedders than this folder's made. How many events."""
    gone = 0
    for other in _others(folder):
        with closing(Log(other / EVENTS)) as log:
            gone += log.forget(tenant, request)
        remembered = other / MEMORY / "memory.sqlite"
        if remembered.exists():
            with closing(sqlite3.connect(remembered)) as db, db:
                db.execute("PRAGMA secure_delete = ON")
                db.execute(
                    "DELETE FROM memory WHERE namespace = ? AND (? IS NULL OR request = ?)", (tenant, request, request)
                )
            graph_file(other / MEMORY, tenant).unlink(missing_ok=True)
    return gone


def _others(folder: Path) -> list[Path]:
    there = folder.parent.iterdir() if folder.parent.is_dir() else ()
    return [one for one in there if one != folder and one.suffix != ".new" and (one / EVENTS).exists()]


def _anew(old: Log, new: Log, tenant: str, embedder: Embedder) -> int:
    count = 0
    for events in _batches(old.after(tenant, 0)):
        decided = [one for one in events if isinstance(one, Trajectory) and one.text]
        vectors = embedder.embed([one.text or "" for one in decided])
        seen = {one.request: np.asarray(row, dtype="<f4").tobytes() for one, row in zip(decided, vectors, strict=True)}
        made: list[tuple[str, Event]] = []
        for one in events:
            vector = seen.get(one.request)
            if isinstance(one, Judged) and vector is None:
                earlier = new.find(tenant, one.request)
                vector = None if earlier is None else earlier.vector
            if vector is None or isinstance(one, Imported):
                continue
            if isinstance(one, Judged):
                made.append((tenant, replace(one, vector=vector)))
            elif one.text:
                made.append((tenant, replace(one, vector=vector, embedder=embedder.name)))
        count += sum(number is not None for number in new.add(made))
    return count


def _batches(events: Iterator[tuple[int, Event]]) -> Iterator[list[Event]]:
    batch: list[Event] = []
    for _, event in events:
        batch.append(event)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
