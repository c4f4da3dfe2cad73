"""Requests as they stand in a file, answers as they are kept, and what a run of them says.

A request is a line of JSON: a body of `/v1/chat/completions`; or a line of OpenAI's batch files (`custom_id`, `body`);
or `{"prompt": …}`. `expect`, a text or several, says what a right answer holds: one of them, whatever its case.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from serve.cli.errors import Ended

OURS = frozenset(("expect", "custom_id"))
"""What a line may hold besides the body."""


class Wrong(Exception):
    """What is wrong with a line, in a sentence."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `mark` is the same for the same request, in whichever run."""

    line: int
    id: str
    body: Mapping[str, Any]
    expect: tuple[str, ...]
    mark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one request. `cost_usd` None: unknown. `met` None: nobody said what to expect."""

    line: int
    mark: str
    id: str
    status: int
    request_id: str = ""
    provider: str = ""
    model: str = ""
    text: str = ""
    finish_reason: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    cost_usd: float | None = None
    cached: bool = False
    latency_s: float = 0.0
    error: str = ""
    met: bool | None = None

    @property
    def answered(self) -> bool:
        return self.status == 200

    def to_line(self) -> bytes:
        return orjson.dumps(asdict(self), option=orjson.OPT_APPEND_NEWLINE)


def read(file: Path, *, model: str = "") -> list[Asked]:
    """The requests of a file; `model` takes the place of each one's. Raises `Ended`, naming the first bad line."""
    found = []
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    found.append(request_of(number, line, model))
    except OSError as error:
        raise Ended(f"{file} cannot be read: {error.strerror}") from None
    except Wrong as wrong:
        raise Ended(f"{file}: {wrong}") from None
    if not found:
        raise Ended(f"{file} holds no request; give it a line of JSON for each")
    return found


def kept(answers: Path, requests: Sequence[Asked]) -> dict[int, Answer]:
    """What an earlier run left, by line: answers to these very requests. The last word on each counts.

    A line that was cut off by the end of a run is none.
    """
    wanted = {one.line: one.mark for one in requests}
    found: dict[int, Answer] = {}
    try:
        lines = answers.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Ended(f"{answers} cannot be read: {error.strerror}") from None
    for line in lines:
        try:
            answer = Answer(**orjson.loads(line))
        except (ValueError, TypeError):
            continue
        if wanted.get(answer.line) == answer.mark:
            found[answer.line] = answer
    return found


def met(text: str, expect: Sequence[str]) -> bool | None:
    """Whether an answer holds what was expected.

    >>> met("It is Paris.", ("paris", "Lutetia")), met("It is Rome.", ("paris",)), met("Hm.", ())
    (True, False, None)
    """
    return any(one.casefold() in text.casefold() for one in expect) if expect else None


def object_in(number: int, line: bytes) -> dict[str, Any]:
    """Raises `Wrong`."""
    try:
        said = orjson.loads(line)
    except ValueError:
        raise Wrong(f"line {number} is no JSON") from None
    if not isinstance(said, dict):
        raise Wrong(f"line {number} is no JSON object")
    return said


def request_of(number: int, line: bytes, model: str) -> Asked:
    """The request in a line; `model` takes the place of its own. Raises `Wrong`."""
    said = object_in(number, line)
    body = said.get("body", {name: value for name, value in said.items() if name not in OURS})
    if not isinstance(body, dict):
        raise Wrong(f"line {number}: body is no JSON object")
    if "url" in said and said["url"] != "/v1/chat/completions":
        raise Wrong(f"line {number} is for {said['url']}; only /v1/chat/completions is replayed")
    if isinstance(body.get("prompt"), str):
        body = {**body, "messages": [{"role": "user", "content": body["prompt"]}]}
        del body["prompt"]
    if not isinstance(body.get("messages"), list):
        raise Wrong(f"line {number} has no messages (or a prompt, or a body that has them)")
    expect = said.get("expect", [])
    expect = [expect] if isinstance(expect, str) else expect
    if not (isinstance(expect, list) and all(isinstance(one, str) and one for one in expect)):
        raise Wrong(f"line {number}: expect is a text, or a list of texts")
    body = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    if model:
        body["model"] = model
    mark = hashlib.sha256(json.dumps([body, expect], sort_keys=True).encode()).hexdigest()[:16]
    return Asked(number, str(said.get("custom_id", "")), body, tuple(expect), mark)


@dataclass(frozen=True, slots=True)
class Line:
    """Of one model: how many, what they cost, took (seconds) and were worth (share that held what was expected)."""

    name: str
    requests: int
    failed: int
    cached: int
    cost_usd: float
    unpriced: int
    p50_s: float
    p95_s: float
    quality: float | None

    @classmethod
    def of(cls, name: str, answers: Sequence[Answer]) -> Self:
        good = [one for one in answers if one.answered]
        took = sorted(one.latency_s for one in good) or [0.0]
        judged = [one.met for one in answers if one.met is not None]
        return cls(
            name=name,
            requests=len(answers),
            failed=len(answers) - len(good),
            cached=sum(one.cached for one in good),
            cost_usd=sum(one.cost_usd or 0.0 for one in good),
            unpriced=sum(one.cost_usd is None for one in good),
            p50_s=took[len(took) // 2],
            p95_s=took[min(len(took) - 1, int(len(took) * 0.95))],
            quality=sum(judged) / len(judged) if judged else None,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """Of all, and of each model that answered, the most asked first."""

    total: Line
    models: tuple[Line, ...]
    errors: Mapping[str, int]

    @classmethod
    def of(cls, answers: Iterable[Answer]) -> Self:
        every = list(answers)
        by_model: dict[str, list[Answer]] = {}
        errors: dict[str, int] = {}
        for one in every:
            if one.answered:
                by_model.setdefault(f"{one.provider}/{one.model}", []).append(one)
            else:
                errors[one.error] = errors.get(one.error, 0) + 1
        lines = sorted((Line.of(name, those) for name, those in by_model.items()), key=lambda line: -line.requests)
        return cls(Line.of("all", every), tuple(lines), errors)

    @property
    def failed(self) -> int:
        return self.total.failed

    def plain(self) -> dict[str, Any]:
        return {
            "total": asdict(self.total),
            "models": [asdict(one) for one in self.models],
            "errors": dict(self.errors),
        }

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]], tuple[str, ...]]:
        """Columns, rows, and the columns of numbers."""
        numbers = ("requests", "failed", "cached", "cost", "p50", "p95", "quality")
        lines = [*self.models, self.total] if len(self.models) != 1 or self.failed else [*self.models]
        rows: list[tuple[str, ...]] = [
            (
                one.name,
                f"{one.requests:,}",
                f"{one.failed:,}",
                f"{one.cached:,}",
                f"${one.cost_usd:.6f}" + (f" + {one.unpriced:,} unknown" if one.unpriced else ""),
                f"{one.p50_s:.2f} s",
                f"{one.p95_s:.2f} s",
                "–" if one.quality is None else f"{one.quality:.1%}",
            )
            for one in lines
        ]
        rows += [(f"error: {what}", f"{count:,}", *[""] * (len(numbers) - 1)) for what, count in self.errors.items()]
        return ("model", *numbers), rows, numbers
