"""How often a remembered answer is given to other words, rightly and wrongly: `python -m bench.meaning`.

    ours      the pairs that this project has written (`tests.cache.pairs`): calibration, and those held out of it
    public    600 pairs of the package fow-cache (CC BY 4.0, 2026, Mabon ap Gwyn), where it is installed

For each threshold: of those that mean the same how many are hits; of the traps how many are, first by the vectors
alone, then with the verifier. A hit on a trap is a wrong answer.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections import Counter
from pathlib import Path

import numpy as np

from runtime.cache.verify import why_not
from runtime.memory.embed import default_embedder
from tests.cache.pairs import CALIBRATION, HELD_OUT, Pair

THRESHOLDS = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def public() -> tuple[Pair, ...]:
    """Those of fow-cache; none where it is not installed."""
    found = importlib.util.find_spec("fow_cache")
    if found is None or found.origin is None:
        return ()
    lines = (Path(found.origin).parent / "data" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return tuple(Pair("free" if one["same_answer"] else one["category"], one["a"], one["b"]) for one in rows)


def cosines(pairs: tuple[Pair, ...]) -> list[float]:
    embedder = default_embedder()
    one, other = embedder.embed([pair.one for pair in pairs]), embedder.embed([pair.other for pair in pairs])
    return [float(value) for value in np.sum(one * other, axis=1)]


def rates(pairs: tuple[Pair, ...], threshold: float) -> dict[str, float]:
    """Shares of those that are the same, and of the traps, that would be given a remembered answer."""
    near = list(zip(pairs, cosines(pairs), strict=True))
    same = [(pair, cosine) for pair, cosine in near if pair.same]
    traps = [(pair, cosine) for pair, cosine in near if not pair.same]
    return {
        "hits by vector": sum(cosine >= threshold for _, cosine in same) / len(same),
        "false by vector": sum(cosine >= threshold for _, cosine in traps) / len(traps),
        "hits": sum(_given(pair, cosine, threshold) for pair, cosine in same) / len(same),
        "false": sum(_given(pair, cosine, threshold) for pair, cosine in traps) / len(traps),
    }


def _given(pair: Pair, cosine: float, threshold: float) -> bool:
    return cosine >= threshold and why_not(pair.one, pair.other) is None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print the wrong hits, and the hits that were lost")
    said = parser.parse_args()
    for name, pairs in (("calibration", CALIBRATION), ("held out", HELD_OUT), ("public", public())):
        if not pairs:
            print(f"{name}: not installed (pip install fow-cache)")
            continue
        same = sum(pair.same for pair in pairs)
        print(f"\n{name}: {same} the same, {len(pairs) - same} traps\n")
        print("| threshold | hits by vector alone | false by vector alone | hits | false hits |")
        print("| ---: | ---: | ---: | ---: | ---: |")
        for threshold in THRESHOLDS:
            found = rates(pairs, threshold)
            print(f"| {threshold:.2f} | {' | '.join(f'{value:.1%}' for value in found.values())} |")
        kinds = Counter(pair.kind for pair in pairs)
        passed = Counter(pair.kind for pair in pairs if why_not(pair.one, pair.other) is None)
        print("\nNot doubted: " + ", ".join(f"{kind} {passed[kind]}/{count}" for kind, count in kinds.items()))
        if said.show:
            for pair, cosine in zip(pairs, cosines(pairs), strict=True):
                why = why_not(pair.one, pair.other)
                if pair.same != (why is None):
                    word = "LOST " if pair.same else "WRONG"
                    print(f"  {word} {cosine:.2f} {why} [{pair.kind}] {pair.one} | {pair.other}")


if __name__ == "__main__":
    main()
