"""`raygate calibrate`: prompts put to several models, so that what is learned need not begin with nothing.

    read ─► whom to ask ─► what that will cost ─► confirmed ─► asked ─► scored ─► learned
    lines    the route      bill                               replay   lines     POST /admin/learning/outcomes

Requests are ordinary ones: the key's budget bounds them, and each is a row of the ledger. Each answer is a line of the
answers' file as soon as it is there; an outcome that is told twice counts once. So the same command goes on where it
ended, whatever ended it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.environment import environment, state_folder
from runtime.catalog import Catalog
from runtime.models import Pricing
from runtime.settings import Settings
from serve.cli import http, place, screen
from serve.cli.calibrate import lines
from serve.cli.calibrate.bill import Report, bill_of
from serve.cli.calibrate.lines import Of, Sample
from serve.cli.errors import FAILED, Ended
from serve.cli.replay import Wish, play
from serve.cli.replay.lines import Answer, Asked, kept

TOLD_AT_ONCE = 32
"""Prompts of one call that tells what is to be learned."""
MARGIN = 2.0
"""What was confirmed may be exceeded so much by what is really spent, where nobody says another bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How to calibrate; see the command."""

    models: tuple[str, ...]
    route: str
    judge: str
    at_once: int
    limit: int | None
    max_usd: float | None
    yes: bool


def calibrate(
    file: Path,
    scores: Path | None,
    out: Path | None,
    wish: Calibration,
    *,
    org: str,
    url: str,
    key: str,
    as_json: bool,
) -> None:
    """Raises `Ended`, with code 1 where something is left to do."""
    target = place.target(url, key)
    samples = lines.read(file)[: wish.limit]
    judged = {} if scores is None else lines.read_scores(scores)
    into = out or file.with_name(f"{file.stem}.calibration.jsonl")
    graded = into.with_name(f"{into.stem}.graded{into.suffix}")
    if file.resolve() in (into.resolve(), graded.resolve()):
        raise Ended("the answers would overwrite the prompts; name another file with --out")
    _may_teach(target, org)
    models = _models(target, samples, wish)
    calls = lines.calls(samples, models)
    there = _of(calls, kept(into, list(calls.values())))
    rest = {of: one for of, one in calls.items() if of not in there}
    grades = lines.gradings(wish.judge, samples, there, judged)
    undone = grades.keys() - _of(grades, kept(graded, list(grades.values()))).keys()
    bill = bill_of(samples, rest, undone, prices=_prices(target, [*models, wish.judge]), judge=wish.judge)
    if rest or undone:
        count = f"{len(rest):,} calls" + (f", {len(rest) + len(undone):,} gradings" if wish.judge else "")
        if bill.unknown and wish.max_usd is None:
            raise Ended(f"nobody here knows what {', '.join(bill.unknown)} costs: bound it with --max-usd")
        _confirm(f"{len(samples):,} prompts, {len(models)} models: {count}. {bill.told()}", yes=wish.yes)
    spent = sum(one.cost_usd or 0.0 for one in there.values())
    most = wish.max_usd if wish.max_usd is not None else spent + bill.usd * MARGIN if bill.usd else None
    ran = play.run(target, list(calls.values()), into, _wish(wish, most))
    answers = _of(calls, ran.answers, failed=True)
    if wish.judge and not ran.stopped:
        asked = lines.gradings(wish.judge, samples, answers, judged)
        spent = sum(one.cost_usd or 0.0 for one in answers.values())
        left = None if most is None else max(most - spent, 0.0)
        said = play.run(target, list(asked.values()), graded, _wish(wish, left))
        ran.stopped = said.stopped
        judged |= lines.grades(_of(asked, said.answers))
    rows = lines.outcomes(samples, models, answers, judged, bill.each)
    learned = _teach(target, rows, org)
    report = Report.of(rows, models, answers)
    if as_json:
        screen.as_json({"answers": str(into), "prompts": len(rows), "learned": learned, **report.plain()})
    else:
        columns, table, right = report.table()
        screen.console().print(screen.table(columns, table, right=right))
        print(f"\n{report.outcomes:,} outcomes of {len(rows):,} prompts; {learned:,} of them were new and are learned.")
    if ran.stopped:
        raise Ended(f"{ran.stopped}; the same command goes on from here", FAILED)
    if failed := sum(not one.answered for one in answers.values()):
        raise Ended(f"{failed:,} requests failed; the same command asks those again", FAILED)
    if unknown := len(samples) * len(models) - report.outcomes:
        raise Ended(
            f"nobody said how good {unknown:,} answers are: grade them with --judge MODEL, or write lines with "
            "custom_id, model and score into a file and run this again with --scores FILE",
            FAILED,
        )


def _of(calls: Mapping[Of, Asked], answers: Mapping[int, Answer], *, failed: bool = False) -> dict[Of, Answer]:
    """Answers by whom they are of; those that failed only where they are wanted."""
    found = {of: answers[one.line] for of, one in calls.items() if one.line in answers}
    return {of: one for of, one in found.items() if failed or one.answered}


def _wish(wish: Calibration, max_usd: float | None) -> Wish:
    return Wish(model="", at_once=wish.at_once, limit=None, max_usd=max_usd, feedback=False, fresh=False)


def _may_teach(target: place.Target, org: str) -> None:
    """Before anything is spent: only admins may."""
    with http.client(target) as client:
        http.body_of(target, client.get("/admin/learning", params={"org": org} if org else {}))


def _models(target: place.Target, samples: Sequence[Sample], wish: Calibration) -> list[str]:
    if wish.models:
        found = list(dict.fromkeys(wish.models))
    elif all(one.scores for one in samples):
        found = list(dict.fromkeys(model for one in samples for model in one.scores))
    else:
        body = {"model": wish.route, "messages": [{"role": "user", "content": samples[0].text}]}
        with http.client(target) as client:
            told = http.body_of(target, client.post("/v1/route/explain", json=body))
        found = sorted(f"{one['provider']}/{one['model']}" for one in told["candidates"])
    if short := [one for one in found if not all(one.partition("/"))]:
        raise Ended(f"{short[0]} should be provider/model")
    if len(found) < 2:
        raise Ended(f"between fewer than two models there is nothing to learn; there is {', '.join(found) or 'none'}")
    return found


def _prices(target: place.Target, models: Sequence[str]) -> dict[str, Pricing | None]:
    """By the catalogue, and by the settings of the Raygate of this machine."""
    catalog = Catalog(Settings.from_document(place.stored(state_folder(environment())) if target.here else {}))
    infos = {name: catalog.info(*name.split("/", 1)) for name in models if "/" in name}
    return {name: info.pricing if info is not None else None for name, info in infos.items()}


def _confirm(said: str, *, yes: bool) -> None:
    print(said, file=sys.stderr)
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Ended("nothing was asked: confirm the cost with --yes")
    import typer

    if not typer.confirm("Go on?", err=True):
        raise Ended("nothing was asked")


def _teach(target: place.Target, rows: Sequence[dict[str, Any]], org: str) -> int:
    """How many outcomes were new."""
    learned = 0
    with screen.waiting("learning"), http.client(target) as client:
        for some in _some(rows, TOLD_AT_ONCE):
            reply = client.post("/admin/learning/outcomes", json={"outcomes": some}, params={"org": org} if org else {})
            learned += http.body_of(target, reply)["number"]
    return learned


def _some(rows: Sequence[dict[str, Any]], count: int) -> Iterator[Sequence[dict[str, Any]]]:
    for at in range(0, len(rows), count):
        yield rows[at : at + count]
