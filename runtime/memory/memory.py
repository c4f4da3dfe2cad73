"""The memory of all tenants: a store that is the truth, and for each namespace an index that can be rebuilt from it.

few vectors (index.FEW)   compared with all
more                      hnswlib's graph, saved beside the store with a checksum; a stale or broken one is rebuilt
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.memory import snapshot
from runtime.memory.embed import Embedder
from runtime.memory.index import FEW, ExactIndex, GraphShape, HnswIndex, Near, VectorIndex, checked
from runtime.memory.store import Store, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    trace: Trace
    cosine: float


def graph_file(folder: Path, namespace: str) -> Path:
    """Where a namespace's graph is saved, if it has one."""
    return folder / f"{blake2b(namespace.encode(), digest_size=12).hexdigest()}.graph"


class Memory:
    """Not for several threads at once. `most` bounds each namespace."""

    def __init__(
        self,
        folder: Path,
        embedder: Embedder,
        *,
        most: int = 50_000,
        shape: GraphShape | None = None,
        few: int = FEW,
        rebuildable: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._dim = embedder.dim
        self._most = most
        self._shape = shape or GraphShape()
        self._few = few
        self._store = Store(folder / "memory.sqlite", embedder, rebuildable=rebuildable)
        self._index: dict[str, VectorIndex] = {}
        self._traces: dict[int, Trace] = {}
        self._labels: dict[tuple[str, str], int] = {}
        for namespace in self._store.namespaces():
            self._open(namespace)

    def _open(self, namespace: str) -> None:
        rows = list(self._store.traces(namespace))
        for trace, _ in rows:
            self._keep(trace.label, trace)
        saved = self._load(namespace, {trace.label for trace, _ in rows}) if len(rows) > self._few else None
        if saved is not None:
            self._index[namespace] = saved
            return
        index = self._fresh(len(rows))
        for trace, vector in rows:
            index.add(trace.label, vector)
        self._index[namespace] = index

    def _fresh(self, size: int) -> VectorIndex:
        return HnswIndex(self._dim, self._shape, room=2 * size) if size > self._few else ExactIndex(self._dim)

    def _file(self, namespace: str) -> Path:
        return graph_file(self._folder, namespace)

    def _load(self, namespace: str, labels: set[int]) -> HnswIndex | None:
        try:
            payload = snapshot.read(self._file(namespace))
        except (FileNotFoundError, snapshot.Damaged):
            return None
        index = HnswIndex(self._dim, self._shape)
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".reading") as file:
            file.write(payload)
            file.flush()
            try:
                index.load(Path(file.name), labels)
            except ValueError:
                return None
        return index

    def save(self) -> None:
        """Write the graphs, so that the next start need not rebuild them. What was added since is rebuilt then."""
        for namespace, index in self._index.items():
            if isinstance(index, HnswIndex):
                with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                    index.save(Path(folder) / "graph")
                    snapshot.write(self._file(namespace), (Path(folder) / "graph").read_bytes())

    def close(self) -> None:
        self._store.close()

    def __len__(self) -> int:
        return len(self._traces)

    def count(self, namespace: str) -> int:
        index = self._index.get(namespace)
        return 0 if index is None else len(index)

    def add(self, trace: Trace, vector: NDArray[np.float32]) -> int:
        """Durable when this returns; the same request again replaces what was. Raises `BadVector`, adding nothing."""
        checked(vector, self._dim)
        before = self._labels.get((trace.namespace, trace.request))
        label = self._store.add(trace, vector)
        if before is not None:
            self._drop(trace.namespace, [before])
        index = self._index.setdefault(trace.namespace, ExactIndex(self._dim))
        index.add(label, vector)
        self._keep(label, trace)
        # Some slack, so that not every addition looks for what may go.
        if len(index) > self._most + max(self._most // 50, 1):
            self._drop(trace.namespace, self._store.retain(trace.namespace, self._most, now=trace.at))
        if isinstance(index, ExactIndex) and len(index) > self._few:
            self._promote(trace.namespace)
        return label

    def _keep(self, label: int, trace: Trace) -> None:
        self._traces[label] = replace(trace, label=label)
        self._labels[trace.namespace, trace.request] = label

    def _drop(self, namespace: str, labels: Sequence[int]) -> None:
        index = self._index[namespace]
        for label in labels:
            index.remove(label)
            gone = self._traces.pop(label)
            if self._labels.get((namespace, gone.request)) == label:
                del self._labels[namespace, gone.request]

    def _promote(self, namespace: str) -> None:
        rows = list(self._store.traces(namespace))
        index = self._fresh(len(rows))
        for trace, vector in rows:
            index.add(trace.label, vector)
        self._index[namespace] = index

    def judge(self, namespace: str, request: str, quality: float, *, weight: float = 1.0) -> Trace | None:
        """An outcome came, and is durable when this returns. None where the request is not (or no longer) known."""
        trace = self._store.judge(namespace, request, quality, weight=weight)
        if trace is not None:
            self._traces[trace.label] = trace
        return trace

    def used(self, found: Sequence[Found]) -> None:
        self._store.used([one.trace.label for one in found])

    def forget(self, namespace: str, request: str | None = None) -> int:
        """Delete a tenant's memory, or one request of it, from database, index and saved graph. Answers how many."""
        gone = self._store.forget(namespace, request)
        if namespace in self._index:
            self._drop(namespace, gone)
            self._file(namespace).unlink(missing_ok=True)
            if request is None:
                del self._index[namespace]
            else:
                # A graph keeps the vectors of what was deleted: only a new one is free of them.
                self._promote(namespace)
        return len(gone)

    def traces(self, namespace: str | None = None) -> Iterator[tuple[Trace, NDArray[np.float32]]]:
        """All that is remembered, oldest first: what learning is rebuilt from."""
        return self._store.traces(namespace)

    def known(self, namespace: str, request: str) -> Trace | None:
        """What is remembered of a request, if it still is."""
        label = self._labels.get((namespace, request))
        return None if label is None else self._traces.get(label)

    def near(self, namespace: str, vector: NDArray[np.float32], k: int) -> list[Found]:
        """Nearest first, of this namespace alone. Raises `BadVector`."""
        index = self._index.get(namespace)
        found: list[Near] = index.near(vector, k) if index is not None else []
        return [Found(trace=self._traces[one.label], cosine=one.cosine) for one in found]
