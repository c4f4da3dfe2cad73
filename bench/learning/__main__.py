"""The tables and plots of docs/learning.md: python -m bench.learning [--seeds 5] [--jobs 2] [--only PART] [--kept]

RAYGATE_SHARED names the folder that holds routing/dev_*.parquet (default ../shared). Embeddings and finished parts are
kept in a folder of the system's temporary ones, by content: nothing of the data is written into the repository, and a
run that was cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from bench.learning import baselines, scenarios
from bench.learning.decision import speed
from bench.learning.page import render
from runtime.memory.form import DIM, learner_embedder
from runtime.sona.bank import Floats
from runtime.sona.learner import LearnerConfig
from runtime.sona.lowrank import Rank
from runtime.sona.pack import GC_LAMBDAS, LAMBDAS, Pack, judge, read, recovered
from runtime.sona.replay import Reveal, embed, order, run
from runtime.sona.topics import TopicMap, fit

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("RAYGATE_SHARED", ROOT.parent / "shared")) / "routing"
KEPT = Path(tempfile.gettempdir()) / "raygate-bench-learning"
PACKS = {"llmrouter9": None, "routerbench": None, "mmlupro": None, "routellm": "routellm-mmlu"}
CONFIG = LearnerConfig()
UNSURE = {"20 % of feedback": ("sparse", 0.2), "15 % of it wrong": ("wrong", 0.15)}

MEANING_ALONE = "form of the prompt"

OFF: dict[str, LearnerConfig] = {
    "exploring (always the best guess)": replace(CONFIG, curiosity=replace(CONFIG.curiosity, horizon=0.0)),
    "what prompts share": replace(CONFIG, head=replace(CONFIG.head, shared_topic=1e-6, own_topic=0.15)),
    "topics (levels of models alone)": replace(CONFIG, head=replace(CONFIG.head, own_topic=1e-6)),
    "prior from prices": replace(CONFIG, slope=0.0),
    MEANING_ALONE: CONFIG,
    "alarm": replace(CONFIG, watch=replace(CONFIG.watch, alarm=1e9)),
    "propensities (ties broken by index)": replace(CONFIG, temperature=0.0),
}

ON: dict[str, LearnerConfig] = {
    name: replace(CONFIG, parts=replace(CONFIG.parts, **on))
    for name, on in {
        "memory": {"memory": True},
        "MicroLoRA": {"micro": True},
        "BaseLoRA with EWC++": {"base": True},
        "BaseLoRA without EWC++": {"base": True, "ewc": False},
        "bank": {"bank": True},
        "calibration": {"calibration": True},
        "all of them": dict.fromkeys(("memory", "micro", "base", "bank", "calibration"), True),
        "all, without the deep loop": dict.fromkeys(("memory", "micro", "base", "bank", "calibration"), True)
        | {"deep": False},
    }.items()
}
"""Parts that are off by default, switched on in turn."""

SECOND = {
    "MicroLoRA, second design": {"micro": True, "micro_rank": Rank(rank=2, rate=0.002)},
    "BaseLoRA, second design": {"base": True, "base_rank": Rank(rank=16, rate=0.001)},
    "bank, second design": {"bank": True, "patterns": 8, "doubt": 40.0},
    "calibration, second design": {"calibration": True, "doubt": 200.0},
    "memory, second design": {"memory": True, "near": 200, "sharp": 4.0, "doubt": 40.0},
}
"""Of the adapters the first system's constants, as published; of the others slower ones, that believe less."""
ON |= {name: replace(CONFIG, parts=replace(CONFIG.parts, **how)) for name, how in SECOND.items()}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Job:
    """One seed of one part of one pack."""

    part: str
    pack: str
    seed: int
    name: str = ""
    priors: bool = False


@cache
def loaded(name: str) -> tuple[Pack, Floats, TopicMap, Floats]:
    file = SHARED / f"dev_{name}.parquet"
    pack = read(file, dataset=PACKS[name])
    embedder = learner_embedder()
    stamp = sha256(embedder.name.encode() + file.read_bytes()).hexdigest()[:16]
    KEPT.mkdir(parents=True, exist_ok=True)
    kept = KEPT / f"{name}-{stamp}.npy"
    if not kept.exists():
        beside = KEPT / f"{name}-{stamp}-{os.getpid()}.npy"
        np.save(beside, embed(pack, embedder))
        beside.replace(kept)
    vectors = np.load(kept)
    topics = fit(vectors, CONFIG.topics)
    return pack, np.asarray(vectors, dtype=np.float64), topics, topics.features(vectors)


@cache
def plain(name: str) -> tuple[TopicMap, Floats]:
    """Topics of the meaning alone."""
    _, vectors, _, _ = loaded(name)
    meaning = vectors[:, :-DIM] / np.maximum(np.linalg.norm(vectors[:, :-DIM], axis=1, keepdims=True), 1e-9)
    topics = fit(meaning, CONFIG.topics)
    return topics, topics.features(meaning)


def measured(job: Job) -> dict[str, object]:
    pack, vectors, topics, features = loaded(job.pack)
    config = replace({"off": OFF, "on": ON}.get(job.part, {}).get(job.name, CONFIG), priors=job.priors)
    if job.part == "drift":
        if job.pack == "mmlupro":
            return asdict(scenarios.degradation(pack, topics, features, config, job.seed))
        return asdict(scenarios.topic_return(pack, topics, features, config, job.seed))
    if job.part == "change":
        met, always = scenarios.change(pack, topics, features, config, job.seed, kind=job.name)
        return {"met": met, "always": always}
    if job.part == "known":
        make = baselines.made(pack, vectors[:, :-DIM])[job.name]
        rows = order(len(pack.prompts), job.seed)
        choices = {lam: baselines.play(make(), pack, rows, lam * pack.prices) for lam in LAMBDAS}
        return _figures(pack, choices)
    reveal: Reveal | None = None
    if job.part == "unsure":
        kind, share = UNSURE[job.name]
        reveal = (scenarios.sparse if kind == "sparse" else scenarios.wrong)(pack, share)
    whole = job.part == "ours"
    if job.name == MEANING_ALONE:
        topics, features = plain(job.pack)
    return _figures(
        pack,
        run(
            pack,
            topics,
            features,
            seed=job.seed,
            config=config,
            lambdas=LAMBDAS if whole else GC_LAMBDAS,
            reveal=reveal,
            calibrate=300 if job.part == "calibrated" else 0,
            vectors=vectors if config.parts.any else None,
        ),
    )


def _figures(pack: Pack, choices: object) -> dict[str, object]:
    runs: dict[float, np.ndarray] = choices  # type: ignore[assignment]
    rows = np.flatnonzero(next(iter(runs.values())) >= 0)
    found = judge(pack, runs, rows)
    out: dict[str, object] = {"gc": found.gc, "cs90": found.cs90, "cs95": found.cs95, "cs98": found.cs98}
    out["curve"] = found.curve
    if len(pack.models) == 2:
        out["apgr"], out["share"] = recovered(pack, runs)
    return out


def jobs(parts: Iterable[str], seeds: int) -> list[Job]:
    three = ("llmrouter9", "routerbench", "mmlupro")
    every: dict[str, Callable[[int], list[Job]]] = {
        "ours": lambda seed: [Job("ours", pack, seed) for pack in PACKS],
        "drift": lambda seed: [Job("drift", pack, seed) for pack in ("mmlupro", "llmrouter9")],
        "calibrated": lambda seed: [Job("calibrated", pack, seed) for pack in ("llmrouter9", "routerbench")],
        "unsure": lambda seed: [
            Job("unsure", pack, seed, name) for pack in ("routerbench", "llmrouter9") for name in UNSURE
        ],
        "change": lambda seed: [Job("change", "llmrouter9", seed, kind) for kind in scenarios.CHANGES],
        "off": lambda seed: [Job("off", pack, seed, name) for name in OFF for pack in ("routerbench", "llmrouter9")],
        "on": lambda seed: [Job("on", pack, seed, name) for name in ON for pack in ("routerbench", "llmrouter9")],
        "known": lambda seed: [Job("known", pack, seed, name) for pack in three for name in KNOWN],
    }
    return [job for part in parts for seed in range(seeds) for job in every[part](seed)]


KNOWN = (
    "oracle",
    "best single model, in hindsight",
    "UCB, no context",
    "LinUCB a=.1",
    "LinUCB a=.05, optimistic",
    "kNN-UCB a=.25",
    "cluster32-UCB a=.1, optimistic",
)
PRIORS = {"off": (True,), "on": (True,), "known": (False,)}
"""Whether a part is played with what was published of models, as production is set, or without; else both."""
STEPS = ("ours", "drift", "calibrated", "unsure", "change", "off", "on", "known")


@cache
def code() -> str:
    """What results hang on: another setting or line of the learner is another result."""
    files = sorted((ROOT / "runtime/sona").glob("*.py")) + sorted(Path(__file__).parent.glob("[bs]*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def place(job: Job) -> Path:
    return KEPT / f"{sha256(repr((job, code())).encode()).hexdigest()[:20]}.json"


def kept_or_measured(job: Job) -> tuple[Job, dict[str, object]]:
    file = place(job)
    if file.exists():
        return job, json.loads(file.read_text())
    found = measured(job)
    beside = file.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(found))
    beside.replace(file)
    return job, json.loads(file.read_text())


def _speed() -> dict[str, float]:
    pack, _, topics, _ = loaded("mmlupro")
    return speed(pack, topics, CONFIG)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.learning", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", choices=STEPS, action="append")
    parser.add_argument("--no-write", action="store_true")
    parser.add_argument("--kept", action="store_true", help="write what earlier runs measured, measure nothing")
    said = parser.parse_args()
    if not SHARED.is_dir():
        raise SystemExit(f"There is no {SHARED}; say RAYGATE_SHARED=FOLDER, the one that holds routing/")
    for name in PACKS:
        loaded(name)
    every = jobs(said.only or STEPS, said.seeds)
    todo = [replace(job, priors=priors) for job in every for priors in PRIORS.get(job.part, (False, True))]
    todo = [job for job in todo if not said.kept or place(job).exists()]
    found: list[tuple[Job, dict[str, object]]] = []
    with ProcessPoolExecutor(said.jobs) as pool:
        for at, one in enumerate(pool.map(kept_or_measured, todo), start=1):
            found.append(one)
            brief = {key: round(value, 4) for key, value in one[1].items() if isinstance(value, float)}
            print(f"{at}/{len(todo)} {one[0].part} {one[0].pack} {one[0].seed} {one[0].name} {brief}", flush=True)
    text = render([(asdict(job), values) for job, values in found], _speed())
    print(text)
    if not said.no_write:
        page = ROOT / "docs/learning.md"
        before, _, rest = page.read_text().partition("<!-- figures -->\n")
        _, _, after = rest.partition("<!-- /figures -->")
        page.write_text(f"{before}<!-- figures -->\n{text}\n<!-- /figures -->{after}")


if __name__ == "__main__":
    main()
