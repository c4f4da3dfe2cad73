"""Where the learner loses: python -m bench.learning.regret [--pack routerbench] [--seeds 3]

Beside a learner that is shown every model's outcome of each prompt after its choice (what the head could do if nothing
had to be explored), and beside one that knows each model's mean quality from the start (what is lost to finding out
which models are good at all). By phase of the stream: utility lost against the first, and what was given up knowingly.
It reads quality columns on purpose: it is for looking at the learner, no setting comes from here.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import pairwise

import numpy as np

from bench.learning.__main__ import CONFIG, PACKS, loaded
from runtime.sona.bank import Floats
from runtime.sona.learner import Learner, LearnerConfig
from runtime.sona.pack import GC_LAMBDAS, Ints, Pack, judge
from runtime.sona.replay import order
from runtime.sona.topics import TopicMap

PHASES = (0, 100, 300, 1_000)
KNOWN = replace(CONFIG, head=replace(CONFIG.head, shared_level=0.01, own_level=0.01))


def played(
    pack: Pack,
    topics: TopicMap,
    features: Floats,
    rows: Ints,
    *,
    prices: Floats,
    config: LearnerConfig,
    seed: int,
    everything: bool = False,
    levels: Floats | None = None,
) -> tuple[Ints, Floats]:
    """By turn, the model chosen and the utility given up knowingly. `everything` shows all outcomes after a choice."""
    learner = Learner(pack.models, pack.mean_cost.tolist(), topics, config)
    if levels is not None:
        learner.head.levels[:] = levels
        learner.head.plain[:, 0] = levels
    rng = np.random.default_rng((seed, 7))
    chosen, gave_up = np.empty(len(rows), dtype=np.intp), np.empty(len(rows))
    for at, row in enumerate(rows):
        choice = learner.decide(features[row], prices, rng, explore=not everything)
        learner.chose(choice)
        chosen[at], gave_up[at] = choice.model, choice.gave_up
        for model in range(len(pack.models)) if everything else (choice.model,):
            learner.learn(features[row], model, float(pack.quality[row, model]))
    return chosen, gave_up


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.learning.regret", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pack", choices=tuple(PACKS), default="routerbench")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lambdas", type=float, nargs="+", default=list(GC_LAMBDAS))
    said = parser.parse_args()
    pack, _, topics, features = loaded(said.pack)
    bounds = [*PHASES, len(pack.prompts)]
    choices: dict[str, list[dict[float, Ints]]] = {name: [] for name in ("learner", "levels known", "all shown")}
    print("lambda | " + " | ".join(f"lost {since}-{until}" for since, until in pairwise(bounds)) + " | given up")
    for seed in range(said.seeds):
        rows = order(len(pack.prompts), seed)
        for runs in choices.values():
            runs.append({})
        for lam in said.lambdas:
            prices = lam * pack.prices
            utility = pack.quality[rows] - prices
            ours, gave_up = played(pack, topics, features, rows, prices=prices, config=CONFIG, seed=seed)
            known, _ = played(
                pack, topics, features, rows, prices=prices, config=KNOWN, seed=seed, levels=pack.quality.mean(axis=0)
            )
            shown, _ = played(pack, topics, features, rows, prices=prices, config=CONFIG, seed=seed, everything=True)
            turns = np.arange(len(rows))
            lost = utility[turns, shown] - utility[turns, ours]
            parts = " | ".join(f"{lost[since:until].sum():6.1f}" for since, until in pairwise(bounds))
            print(f"{lam:5.2f} | {parts} | {gave_up.sum():5.1f}", flush=True)
            for name, one in (("learner", ours), ("levels known", known), ("all shown", shown)):
                by_row = np.empty(len(rows), dtype=np.intp)
                by_row[rows] = one
                choices[name][-1][lam] = by_row
    for name, runs in choices.items():
        figures = [judge(pack, one) for one in runs]
        for what, found in (("GC", [one.gc for one in figures]), ("CS95", [one.cs95 for one in figures])):
            print(f"{what}, {name}: {np.mean(found):.3f} ± {np.std(found):.3f}")


if __name__ == "__main__":
    main()
