"""One decision and what came of it, as a row of a file: what is exported, and what other policies are judged on.

    {"schema": 1, "request": "req_1", "candidates": ["lab/small", "openai/gpt-4o"], "chosen": "lab/small",
     "propensity": 0.8, "vector": [0.1, …], "embedder": "wordllama-l2-256", "prices": [0.01, 0.2],
     "quality": 0.9, "cost_nanousd": 12000, "latency_s": 0.8, "key": "key_4be1", "at": 1767225600.0}

As JSON lines, or as Parquet with columns of these names. Fields are only ever added; a reader leaves out what it does
not know. What is not known is absent or null, never a zero.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import Field, TypeAdapter, ValidationError

from runtime.request import Json

SCHEMA = 1
"""Raised when the meaning of a field changes."""

NEEDED = ("request", "candidates", "chosen", "propensity")


Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class BadTrajectories(ValueError):
    """The file holds no trajectories; the message says where, and what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """`propensity` is the chance with which `chosen` was chosen among `candidates` (`provider/model`, each once).

    The prompt is its `vector`, made by `embedder`, or its `features` under the topic map that decided, or both, or
    neither. `prices` are what each candidate was held to cost in units of quality, as the decision saw it. `quality` is
    in [0, 1], None until somebody judged the answer, with the `weight` that the judgement had. `cost_nanousd` and
    `latency_s` are of the call that answered. `key` names whose request it was, never the key itself. `at` is wall time
    in seconds. `mode` says who decided (`runtime.learning.values.Mode`): one that went by the default order chose for
    certain, which says nothing of the others.
    """

    request: str
    candidates: tuple[str, ...]
    chosen: str
    propensity: Annotated[float, Field(gt=0, le=1)]
    vector: tuple[Finite, ...] = ()
    features: tuple[Finite, ...] = ()
    embedder: str = ""
    prices: tuple[Finite, ...] = ()
    quality: Annotated[float, Field(ge=0, le=1)] | None = None
    weight: Positive = 1.0
    cost_nanousd: Annotated[int, Field(ge=0)] | None = None
    latency_s: Positive | None = None
    key: str = ""
    at: Finite = 0.0
    mode: str = ""

    def as_json(self) -> dict[str, Json]:
        """The row, without what it does not say."""
        row: dict[str, Json] = {"schema": SCHEMA}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                row[field.name] = list(value) if isinstance(value, tuple) else value
        return row


_READER = TypeAdapter(Trajectory)


def parse(row: Mapping[str, object], *, where: str = "the row") -> Trajectory:
    """Raises `BadTrajectories`, whose message begins with `where`."""
    said = {name: value for name, value in row.items() if value is not None}
    if (schema := said.pop("schema", SCHEMA)) != SCHEMA:
        raise BadTrajectories(f"{where}: is of schema {schema}, this version reads {SCHEMA}")
    if lacking := [name for name in NEEDED if name not in said]:
        raise BadTrajectories(f"{where}: lacks {', '.join(lacking)}")
    try:
        one = _READER.validate_python(said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadTrajectories(f"{where}: {first['loc'][0]} {first['msg'].removeprefix('Input ')}") from None
    if one.chosen not in one.candidates or len(set(one.candidates)) < len(one.candidates):
        raise BadTrajectories(
            f"{where}: chosen ({one.chosen}) should be one of the candidates, and each of them named once"
        )
    if one.prices and len(one.prices) != len(one.candidates):
        raise BadTrajectories(f"{where}: prices should be one for each of the candidates")
    return one


def write(rows: Iterable[Trajectory], out: BinaryIO) -> int:
    """As JSON lines. Answers how many."""
    count = 0
    for row in rows:
        out.write(json.dumps(row.as_json(), ensure_ascii=False, allow_nan=False).encode() + b"\n")
        count += 1
    return count


def read(path: Path) -> Iterator[Trajectory]:
    """All rows of a file, in order: Parquet where its name ends in .parquet, else JSON lines.

    Raises `BadTrajectories`, at the row that is at fault.
    """
    try:
        yield from _parquet(path) if path.suffix.lower() == ".parquet" else _lines(path)
    except OSError as error:
        raise BadTrajectories(f"{path} cannot be read: {error.strerror or error}") from None


def _lines(path: Path) -> Iterator[Trajectory]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                row = json.loads(line)
            except ValueError:
                raise BadTrajectories(f"{where}: is no JSON; a file has one object a line") from None
            if not isinstance(row, dict):
                raise BadTrajectories(f"{where}: should be an object")
            yield parse(row, where=where)


def _parquet(path: Path) -> Iterator[Trajectory]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise BadTrajectories("reading parquet needs pyarrow: pip install 'raygate[parquet]'") from None
    try:
        file = parquet.ParquetFile(path)
        if lacking := [name for name in NEEDED if name not in file.schema_arrow.names]:
            raise BadTrajectories(f"{path} lacks the columns {', '.join(lacking)}")
        number = 0
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield parse(row, where=f"{path}, row {number}")
    except ArrowException as error:
        raise BadTrajectories(f"{path} is no parquet file that can be read: {error}") from None
