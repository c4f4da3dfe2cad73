"""What a calibration is expected to cost, and what came of it, as numbers and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from runtime.models import Pricing
from serve.cli.calibrate import lines
from serve.cli.calibrate.lines import Of, Sample
from serve.cli.replay.lines import Answer, Asked


@dataclass(frozen=True, slots=True)
class Bill:
    """Dollars of all that is to be asked, and of each prompt at each model; and whose price is unknown."""

    usd: float
    each: Mapping[Of, float | None]
    unknown: tuple[str, ...]

    def told(self) -> str:
        unknown = f", and what {', '.join(self.unknown)} costs, which is not known" if self.unknown else ""
        assumed = f"answers of {lines.TOKENS_OF_ANSWER} tokens where a line sets no limit"
        return f"That is expected to cost about ${self.usd:.4f}{unknown} ({assumed})."


def bill_of(
    samples: Sequence[Sample],
    rest: Mapping[Of, Asked],
    undone: Iterable[Of],
    *,
    prices: Mapping[str, Pricing | None],
    judge: str,
) -> Bill:
    """`rest` is whom to ask still; `undone` are answers that are there and not graded yet."""
    by_id = {one.id: one for one in samples}
    models = {name for name in prices if name != judge} | {name for _, name in rest}
    each = {(one.id, name): lines.price_of(one, prices.get(name)) for one in samples for name in models}
    usd = sum(each[of] or 0.0 for of in rest)
    graded = [*undone, *(of for of in rest if judge and not by_id[of[0]].expect)]
    usd += sum(lines.price_of(lines.as_graded(judge, by_id[of[0]]), prices.get(judge)) or 0.0 for of in graded)
    asked = {name for _, name in rest} | ({judge} if graded else set())
    return Bill(usd, each, tuple(sorted(name for name in asked if prices.get(name) is None)))


@dataclass(frozen=True, slots=True)
class Line:
    """Of one model: calls, those that failed, what they cost, and the outcomes with their mean quality."""

    model: str
    asked: int
    failed: int
    cost_usd: float
    outcomes: int
    quality: float | None


@dataclass(frozen=True, slots=True)
class Report:
    models: tuple[Line, ...]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], models: Sequence[str], answers: Mapping[Of, Answer]) -> Self:
        told: dict[str, list[float]] = {name: [] for name in models}
        for row in rows:
            for one in row["tried"]:
                told[one["model"]].append(one["quality"])
        found = []
        for name in models:
            his = [answer for (_, model), answer in answers.items() if model == name]
            found.append(
                Line(
                    model=name,
                    asked=len(his),
                    failed=sum(not one.answered for one in his),
                    cost_usd=sum(one.cost_usd or 0.0 for one in his),
                    outcomes=len(told[name]),
                    quality=sum(told[name]) / len(told[name]) if told[name] else None,
                )
            )
        return cls(tuple(found))

    @property
    def outcomes(self) -> int:
        return sum(one.outcomes for one in self.models)

    def plain(self) -> dict[str, Any]:
        return {"models": [asdict(one) for one in self.models]}

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]], tuple[str, ...]]:
        """Columns, rows, and the columns of numbers."""
        numbers = ("asked", "failed", "cost", "outcomes", "quality")
        rows: list[tuple[str, ...]] = [
            (
                one.model,
                f"{one.asked:,}",
                f"{one.failed:,}",
                f"${one.cost_usd:.6f}",
                f"{one.outcomes:,}",
                "–" if one.quality is None else f"{one.quality:.1%}",
            )
            for one in self.models
        ]
        return ("model", *numbers), rows, numbers
