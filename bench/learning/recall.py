"""Recall and speed of the graph on 50,000 real vectors, after churn and a reload: python -m bench.learning.recall

The packs hold fewer prompts, so each prompt counts three times: whole, its first and its second half.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.learning.__main__ import PACKS, SHARED
from runtime.memory.embed import WordLlamaEmbedder
from runtime.memory.index import ExactIndex, HnswIndex
from runtime.sona.pack import read

K = 10
QUERIES = 300


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.learning.recall")
    parser.add_argument("--vectors", type=int, default=50_000)
    wanted = parser.parse_args().vectors
    embedder = WordLlamaEmbedder()
    whole = [prompt for name in PACKS for prompt in read(SHARED / f"dev_{name}.parquet").prompts]
    texts = list(dict.fromkeys(part for p in whole for part in (p, p[: len(p) // 2], p[len(p) // 2 :]) if part.strip()))
    chance = np.random.default_rng(0)
    chance.shuffle(texts)
    vectors = np.concatenate([embedder.embed(texts[at : at + 256]) for at in range(0, len(texts), 256)])
    vectors = vectors[np.linalg.norm(vectors, axis=1) > 0]
    queries, rows = vectors[:QUERIES], vectors[QUERIES:][: wanted * 6 // 5]
    held = len(rows) * 5 // 6
    exact, graph = ExactIndex(embedder.dim), HnswIndex(embedder.dim)
    for label in range(held):
        exact.add(label, rows[label])
        graph.add(label, rows[label])
    # Churn: half of all is moved to another vector, a sixth is deleted, and as many newcomers are added.
    for label in range(0, held, 2):
        other = rows[(label + held // 3) % held]
        exact.add(label, other)
        graph.add(label, other)
    for at in range(held, len(rows)):
        gone = (at - held) * 5 + 1
        for index in (exact, graph):
            index.remove(gone)
            index.add(at, rows[at])
    alive = {label for label in range(len(rows)) if label in exact}
    with tempfile.TemporaryDirectory() as folder:
        graph.save(Path(folder) / "graph")
        graph = HnswIndex(embedder.dim)
        graph.load(Path(folder) / "graph", alive)
    hits, took, busy = 0.0, [], []
    for query in queries:
        since, used = time.perf_counter(), time.thread_time()
        found = graph.near(query, K)
        took.append(time.perf_counter() - since)
        busy.append(time.thread_time() - used)
        # Moved vectors exist twice: what is as near as the tenth is as right as the tenth.
        tenth = exact.near(query, K)[-1].cosine
        hits += sum(one.cosine >= tenth - 1e-5 for one in found) / K
    print(f"{len(alive)} vectors: recall@{K} {hits / QUERIES:.4f}, query p50 {1e3 * np.median(took):.3f} ms", end="")
    print(f" by the clock, {1e3 * np.median(busy):.3f} ms of CPU")


if __name__ == "__main__":
    main()
