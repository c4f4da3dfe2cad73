"""What several Raygates learned, without the prompts that they learned it from: patterns and adapters as files.

    FOLDER/patterns.jsonl         first line: provenance and checksums; then one pattern a line
    FOLDER/adapters.safetensors   the two matrices of each adapter, `NAME.down` (r × d) and `NAME.up` (M × r)

Provenance says who learned it, when, from how much, and by which embedder: vectors of two embedders say nothing about
each other, so what another embedder made is refused, and so is another dimension, a newer schema or a checksum that is
wrong. Patterns hold centres, counts and sums of quality; no prompt and no key is in them.

Merging. A pattern's outcomes are counts, so they add up (`bank.merge`). An adapter's correction is up · down: the mean
of the factors is not the factor of the mean, so the products are averaged, by the outcomes that each has seen (FedAvg:
McMahan et al., 2017), and split again by a truncated singular value decomposition (FlexLoRA: Bai et al., 2024), which
also lets ranks differ. Of a model that only some know, theirs is the mean.
What others say of themselves is not proven: nobody foreign counts for more than `most` of what we have seen ourselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from runtime.memory.embed import Embedder
from runtime.memory.snapshot import put
from runtime.memory.store import OtherEmbedder
from runtime.sona.bank import Floats, Pattern, faded, merge
from runtime.sona.lowrank import Adapter

SCHEMA = 1
"""Raised when the meaning of a field changes."""
PATTERNS = "patterns.jsonl"
ADAPTERS = "adapters.safetensors"
MOST_BYTES = 64 * 1024 * 1024
"""Of each file: they come from somebody else."""
LEAST_SEEN = 100.0
"""Outcomes that we are taken to have seen at least: who begins may learn from others."""


class BadBundle(ValueError):
    """The files are not what was exported, or of a version that this one does not understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """`at` is wall time in seconds, `dim` of the embedder's vectors."""

    who: str
    at: float
    embedder: str
    dim: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """An adapter whose correction is up · down · x, clipped elsewhere; `seen` are the outcomes that it learned from."""

    models: tuple[str, ...]
    down: Floats
    up: Floats
    seen: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    provenance: Provenance
    patterns: tuple[Pattern, ...] = ()
    adapters: Mapping[str, Weights] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Adapter:
    models: tuple[str, ...]
    seen: float = Field(ge=0, allow_inf_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """The first line."""

    raygate_patterns: int
    provenance: Provenance
    patterns_sha256: str
    adapters_sha256: str
    adapters: dict[str, _Adapter]


_HEADERS = TypeAdapter(_Header)
_PATTERNS = TypeAdapter(Pattern)


def packed(bundle: Bundle) -> tuple[bytes, bytes]:
    """What is in the file of patterns, which holds the checksums, and in that of adapters."""
    told = {name: str(value) for name, value in asdict(bundle.provenance).items()}
    tensors = {
        f"{name}.{side}": np.ascontiguousarray(matrix)
        for name, one in bundle.adapters.items()
        for side, matrix in (("down", one.down), ("up", one.up))
    }
    adapters = save_tensors(tensors, metadata={"schema": str(SCHEMA), **told})
    lines = b"".join(_line(asdict(one)) for one in bundle.patterns)
    header = {
        "raygate_patterns": SCHEMA,
        "provenance": asdict(bundle.provenance),
        "patterns_sha256": sha256(lines).hexdigest(),
        "adapters_sha256": sha256(adapters).hexdigest(),
        "adapters": {name: {"models": one.models, "seen": one.seen} for name, one in bundle.adapters.items()},
    }
    return _line(header) + lines, adapters


def export(folder: Path, bundle: Bundle) -> None:
    """Write both files. The patterns come last, so half an export is none."""
    patterns, adapters = packed(bundle)
    folder.mkdir(parents=True, exist_ok=True)
    put(folder / ADAPTERS, adapters)
    put(folder / PATTERNS, patterns)


def _line(said: Mapping[str, object]) -> bytes:
    return json.dumps(said, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def read(folder: Path, embedder: Embedder) -> Bundle:
    """What somebody exported. Raises `BadBundle`; `OtherEmbedder` where its vectors mean nothing here."""
    return parsed(_bytes(folder / PATTERNS), _bytes(folder / ADAPTERS), embedder, where=f"{folder}/")


def parsed(patterns: bytes, adapters: bytes, embedder: Embedder | None, *, where: str = "") -> Bundle:
    """As `read`, of the files' bytes; `where` is said of them. Without an embedder any is taken: whoever kept them has
    looked."""
    first, _, lines = patterns.partition(b"\n")
    try:
        header = _HEADERS.validate_json(first)
    except ValidationError:
        raise BadBundle(f"{where}{PATTERNS} does not begin with the provenance of an export") from None
    if header.raygate_patterns != SCHEMA:
        raise BadBundle(f"{where}{PATTERNS} is of schema {header.raygate_patterns}, this version reads {SCHEMA}")
    origin = header.provenance
    if embedder is not None and (origin.embedder, origin.dim) != (embedder.name, embedder.dim):
        raise OtherEmbedder(
            f"this was learned with {origin.embedder} ({origin.dim} numbers), here is {embedder.name} "
            f"({embedder.dim}): the vectors of one say nothing about the other's"
        )
    for name, payload, told in (
        (PATTERNS, lines, header.patterns_sha256),
        (ADAPTERS, adapters, header.adapters_sha256),
    ):
        if sha256(payload).hexdigest() != told:
            raise BadBundle(f"{where}{name} was altered or cut short: its checksum is another; export it anew")
    return Bundle(
        provenance=origin,
        patterns=tuple(_pattern(line, origin, number) for number, line in enumerate(lines.splitlines(), 2)),
        adapters=_adapters(adapters, header),
    )


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadBundle(f"{path} is larger than {MOST_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise BadBundle(f"{path} cannot be read: {error.strerror}") from None


def _pattern(line: bytes, origin: Provenance, number: int) -> Pattern:
    try:
        one = _PATTERNS.validate_json(line)
    except ValidationError:
        raise BadBundle(f"{PATTERNS}:{number} is no pattern") from None
    counts = np.array([one.size, *one.seen.values(), *one.won.values()])
    won = all(0.0 <= total <= one.seen.get(model, 0.0) for model, total in one.won.items())
    length = float(np.linalg.norm(one.centre))
    if (
        len(one.centre) != origin.dim
        or not abs(length - 1.0) < 1e-3
        or not np.isfinite(counts).all()
        or counts.min() < 0
    ):
        raise BadBundle(f"{PATTERNS}:{number} should have a centre of {origin.dim} numbers and length one, and counts")
    if not won:
        raise BadBundle(f"{PATTERNS}:{number} won more than it has seen")
    return replace(one, source=origin.who)


def _adapters(payload: bytes, header: _Header) -> dict[str, Weights]:
    try:
        tensors = load_tensors(payload)
    except (SafetensorError, ValueError) as error:
        raise BadBundle(f"{ADAPTERS} is no safetensors file: {error}") from None
    found = {}
    for name, told in header.adapters.items():
        down, up = (tensors.get(f"{name}.{side}", np.zeros(0)).astype(np.float64) for side in ("down", "up"))
        shapes = (down.ndim, down.shape[-1:], up.shape)
        if shapes != (2, (header.provenance.dim,), (len(told.models), down.shape[0])):
            raise BadBundle(f"{ADAPTERS}: the matrices of {name} do not fit together")
        if not (np.isfinite(down).all() and np.isfinite(up).all()):
            raise BadBundle(f"{ADAPTERS}: {name} holds what is no number")
        found[name] = Weights(models=told.models, down=down, up=up, seen=told.seen)
    return found


def merge_patterns(own: Sequence[Pattern], others: Sequence[Bundle], *, most: float = 1.0) -> list[Pattern]:
    """Ours and theirs, joined where they mean the same."""
    ours = max(sum(_seen(one) for one in own), LEAST_SEEN)
    together = list(own)
    for bundle in others:
        theirs = sum(_seen(one) for one in bundle.patterns)
        together += faded(bundle.patterns, factor=share(theirs, ours, most))
    return merge(together)


def _seen(pattern: Pattern) -> float:
    return sum(pattern.seen.values())


def share(theirs: float, ours: float, most: float = 1.0) -> float:
    """What an outcome of theirs counts, so that all of them are no more than `most` of ours."""
    return min(1.0, most * ours / theirs) if theirs > 0 else 1.0


def merge_weights(own: Weights, others: Sequence[Weights], *, rank: int, most: float = 1.0) -> Weights:
    """The mean correction of all of them, as near as this rank comes to it. All are of one embedder."""
    models = tuple(dict.fromkeys(model for one in (own, *others) for model in one.models))
    ours = max(own.seen, LEAST_SEEN)
    total = np.zeros((len(models), own.down.shape[1]))
    mass = np.zeros(len(models))
    seen = 0.0
    for at, one in enumerate((own, *others)):
        weight = one.seen if at == 0 else one.seen * share(one.seen, ours, most)
        rows = [models.index(model) for model in one.models]
        total[rows] += weight * (one.up @ one.down)
        mass[rows] += weight
        seen += weight
    mean = total / np.where(mass > 0, mass, 1.0)[:, None]
    left, values, right = np.linalg.svd(mean, full_matrices=False)
    kept = np.sqrt(values[:rank])
    up, down = np.zeros((len(models), rank)), np.zeros((rank, total.shape[1]))
    up[:, : len(kept)] = left[:, :rank] * kept
    down[: len(kept)] = right[:rank] * kept[:, None]
    # Where nothing is left to say, ours stays: with both sides at zero an adapter would never learn again.
    empty = np.flatnonzero(np.linalg.norm(down, axis=1) < 1e-9)
    for at in empty[empty < len(own.down)]:
        down[at], up[:, at] = own.down[at], 0.0
    return Weights(models=models, down=down, up=up, seen=seen)


def weights_of(adapter: Adapter, models: Sequence[str], *, seen: float) -> Weights:
    """A copy of what an adapter says."""
    return Weights(models=tuple(models), down=adapter.down.copy(), up=adapter.scale * adapter.up, seen=seen)


def put_weights(adapter: Adapter, models: Sequence[str], weights: Weights) -> None:
    """Make an adapter say this of its models; of those that `weights` does not know it says nothing."""
    adapter.down[:] = weights.down
    for at, model in enumerate(models):
        known = model in weights.models
        adapter.up[at] = weights.up[weights.models.index(model)] / adapter.scale if known else 0.0
