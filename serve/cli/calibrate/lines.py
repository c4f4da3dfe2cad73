"""What a calibration reads and finds out: prompts with what is known of them, calls to make, outcomes to learn. No I/O
but reading the files.

    {"prompt": "…", "expect": "Paris"}                              right answers hold this text
    {"custom_id": "7", "messages": […], "scores": {"lab/a": 0.9}}   what is known need not be asked
    {"custom_id": "7", "model": "lab/b", "score": 0.4}              of a file of scores, for answers that were kept
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from runtime.learning import judging
from runtime.models import NANOUSD, Pricing
from serve.cli.errors import Ended
from serve.cli.replay.lines import Answer, Asked, Wrong, object_in, request_of

TOKENS_OF_ANSWER = 400
"""How long an answer is taken to be where the request sets no limit."""
BYTES_PER_TOKEN = 4


Of = tuple[str, str]
"""(sample, model)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One prompt. `text` is what the user says last; `scores` and `costs` (dollars) are by model, as far as known."""

    id: str
    text: str
    body: Mapping[str, Any]
    expect: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)

    @property
    def tokens(self) -> tuple[int, int]:
        """Of the prompt and of an answer, roughly."""
        sent = len(json.dumps(self.body["messages"], ensure_ascii=False).encode()) // BYTES_PER_TOKEN + 1
        limit = self.body.get("max_completion_tokens", self.body.get("max_tokens"))
        return sent, limit if isinstance(limit, int) else TOKENS_OF_ANSWER


def read(file: Path) -> list[Sample]:
    """Raises `Ended`, naming the first bad line."""
    found: dict[str, Sample] = {}
    for number, line in _lines(file):
        try:
            one = _sample(number, line)
        except Wrong as wrong:
            raise Ended(f"{file}: {wrong}") from None
        if one.id in found:
            raise Ended(f"{file}: line {number}: there is another line with custom_id {one.id}")
        found[one.id] = one
    if not found:
        raise Ended(f"{file} holds no prompt; give it a line of JSON for each")
    return list(found.values())


def read_scores(file: Path) -> dict[Of, float]:
    """By (custom_id, model). Raises `Ended`."""
    found = {}
    for number, line in _lines(file):
        try:
            said = orjson.loads(line)
            found[str(said["custom_id"]), str(said["model"])] = _score(said["score"], f"line {number}: score")
        except (ValueError, KeyError, TypeError):
            raise Ended(f"{file}: line {number} should be an object with custom_id, model and score") from None
        except Wrong as wrong:
            raise Ended(f"{file}: {wrong}") from None
    return found


def _lines(file: Path) -> list[tuple[int, bytes]]:
    try:
        return [(number, line) for number, line in enumerate(file.read_bytes().splitlines(), 1) if line.strip()]
    except OSError as error:
        raise Ended(f"{file} cannot be read: {error.strerror}") from None


def _sample(number: int, line: bytes) -> Sample:
    said = object_in(number, line)
    scores, costs = (_by_model(said.pop(name, None), f"line {number}: {name}") for name in ("scores", "costs"))
    one = request_of(number, orjson.dumps(said), "")
    text = next((_text(each) for each in reversed(one.body["messages"]) if _text(each)), "")
    if not text:
        raise Wrong(f"line {number}: no user says anything in it, and what is learned goes by the prompt's text")
    for model, score in scores.items():
        _score(score, f"line {number}: scores: {model}")
    return Sample(id=one.id or str(number), text=text, body=one.body, expect=one.expect, scores=scores, costs=costs)


def _by_model(said: object, where: str) -> dict[str, float]:
    if said is None:
        return {}
    if not isinstance(said, dict) or not all(isinstance(one, int | float) and one >= 0 for one in said.values()):
        raise Wrong(f"{where} should be numbers by provider/model")
    return {str(model): float(one) for model, one in said.items()}


def _score(said: object, where: str) -> float:
    if not isinstance(said, int | float) or not 0 <= said <= 1:
        raise Wrong(f"{where} should be a number from 0 to 1")
    return float(said)


def _text(message: object) -> str:
    """What a user's message says, as far as it is text."""
    if not isinstance(message, dict) or message.get("role") != "user":
        return ""
    content = message.get("content")
    if isinstance(content, str):
        return content.strip()
    parts = content if isinstance(content, list) else []
    texts = [str(part.get("text", "")) for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(texts).strip()


def calls(samples: Sequence[Sample], models: Sequence[str]) -> dict[Of, Asked]:
    """Whom to ask what, by (sample, model): all whose score is not known. A prompt's models come one after the other,
    so that whoever stops in between has whole prompts."""
    made = {}
    for one in samples:
        for model in models:
            if model not in one.scores:
                body = {**one.body, "model": model, "raygate": {"cache": {"no_store": True}}}
                made[one.id, model] = call(f"{one.id} {model}", body, one.expect)
    return made


def call(name: str, body: Mapping[str, Any], expect: tuple[str, ...] = ()) -> Asked:
    """A request that is the same in every run, whatever else is in the file."""
    mark = hashlib.sha256(json.dumps([body, expect], sort_keys=True).encode()).hexdigest()[:16]
    return Asked(int(mark[:13], 16), name, body, expect, mark)


def price_of(sample: Sample, pricing: Pricing | None) -> float | None:
    """Dollars that this prompt and an answer are expected to cost; None where no price is known."""
    if pricing is None:
        return None
    sent, answered = sample.tokens
    return (sent * pricing.input + answered * pricing.output) / 1e6 / NANOUSD + pricing.per_request / NANOUSD


def outcomes(
    samples: Sequence[Sample],
    models: Sequence[str],
    answers: Mapping[Of, Answer],
    judged: Mapping[Of, float],
    prices: Mapping[Of, float | None],
) -> list[dict[str, Any]]:
    """What there is to learn, a row a prompt, as `POST /admin/learning/outcomes` takes it. Whose answer came from
    somebody else, failed or was not judged, is left out."""
    rows = []
    for one in samples:
        tried = []
        for model in models:
            answer = answers.get((one.id, model))
            score = one.scores.get(model, judged.get((one.id, model)))
            if score is None and answer is not None and answer.met is not None:
                score = float(answer.met)
            if score is None or (model not in one.scores and not _is_his(answer, model)):
                continue
            cost = one.costs.get(model, prices.get((one.id, model)))
            if answer is not None and answer.cost_usd is not None:
                cost = answer.cost_usd
            row = {"model": model, "quality": score, "cost_usd": cost}
            if answer is not None:
                row["latency_s"] = answer.latency_s
            tried.append(row)
        if tried:
            rows.append({"prompt": one.text, "tried": tried})
    return rows


def _is_his(answer: Answer | None, model: str) -> bool:
    return answer is not None and answer.answered and answer.provider == model.partition("/")[0]


def gradings(
    judge: str, samples: Sequence[Sample], answers: Mapping[Of, Answer], judged: Mapping[Of, float]
) -> dict[Of, Asked]:
    """What to ask the judge: of answers of which nobody else says how good they are. None without a judge."""
    texts = {one.id: one.text for one in samples}
    return {
        of: call(f"{of[0]} {of[1]}", _grading(judge, texts[of[0]], answer.text))
        for of, answer in answers.items()
        if judge and answer.answered and answer.met is None and of not in judged
    }


def grades(answers: Mapping[Of, Answer]) -> dict[Of, float]:
    """What a judge's answers say, as far as they say anything."""
    found = {of: judging.grade(one.text) for of, one in answers.items()}
    return {of: grade for of, grade in found.items() if grade is not None}


def as_graded(judge: str, sample: Sample) -> Sample:
    """The grading of an answer to it as a sample, for its price: about as long as prompt and answer."""
    _, answered = sample.tokens
    return Sample(id=sample.id, text=sample.text, body=_grading(judge, sample.text, "x" * answered * BYTES_PER_TOKEN))


def _grading(judge: str, asked: str, answer: str) -> dict[str, Any]:
    return {
        "model": judge,
        "messages": judging.question(asked, answer),
        "temperature": 0,
        "max_tokens": judging.MOST_TOKENS,
    }
