"""CPU time of one decision in the edge, among 12 models: python -m bench.learning.decision

The whole of `Adviser.advise`: the embedding of a prompt that was not seen before, expected costs, features, what the
head believes, what asking is worth, the choice and its explanation. CPU time of the thread and not wall-clock, as
others may use this machine too; what they take of its caches still counts.
"""

from __future__ import annotations

import time

import numpy as np

from runtime.balance.entry import Asked, Candidate, Entry
from runtime.learning.advice import Learned
from runtime.learning.adviser import Adviser, Taught
from runtime.memory.form import learner_embedder
from runtime.models import NANOUSD, ModelInfo, Pricing
from runtime.sona.learner import Learner, LearnerConfig
from runtime.sona.pack import Pack
from runtime.sona.topics import TopicMap

TENANT = "bench"
FIRST = 1_000
"""Prompts before those that are measured: a replica that has just started knows no words yet."""


def speed(pack: Pack, topics: TopicMap, config: LearnerConfig) -> dict[str, float]:
    """Seconds: median and 95th percentile over the pack's other prompts."""
    of = [Candidate("bench", model) for model in pack.models]
    learner = Learner([str(one) for one in of], pack.mean_cost.tolist(), topics, config)
    adviser = Adviser(learner_embedder(), np.random.default_rng(0))
    adviser.policies[TENANT] = Taught(learner, (1, 1), 1_000.0, 1_000)
    entries = [
        Entry(candidate=one, info=ModelInfo(provider=one.provider, model=one.model, pricing=_priced(usd)))
        for one, usd in zip(of, pack.mean_cost, strict=True)
    ]
    how, took = Learned(), []
    for prompt in pack.prompts:
        asked = Asked(text=prompt, tenant=TENANT, input_tokens=len(prompt) // 4)
        since = time.thread_time()
        advice = adviser.advise(entries, asked, how)
        took.append(time.thread_time() - since)
        if len(advice.order) != len(entries):
            raise RuntimeError(f"no decision: {advice.why}")
    return {"p50": float(np.median(took[FIRST:])), "p95": float(np.quantile(took[FIRST:], 0.95))}


def _priced(usd: float) -> Pricing:
    each = max(int(usd * NANOUSD), 1)
    return Pricing(input=each, output=4 * each)


def main() -> None:
    from bench.learning.__main__ import CONFIG, loaded

    pack, _, topics, _ = loaded("mmlupro")
    for _ in range(3):
        found = speed(pack, topics, CONFIG)
        print(f"{len(pack.models)} models: p50 {1e3 * found['p50']:.3f} ms, p95 {1e3 * found['p95']:.3f} ms of CPU")


if __name__ == "__main__":
    main()
