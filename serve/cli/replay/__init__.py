"""`raygate replay`: a file of requests through a Raygate, and what that cost, took and was worth.

    lines     requests as they are read, answers as they are kept, and the report: no I/O
    play      many at once over HTTP

Each answer is a line of the answers' file as soon as it is there. Whoever runs the same command again goes on where it
ended: what was answered is not asked again, what failed is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serve.cli import place, screen
from serve.cli.errors import FAILED, Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How to replay. `limit` takes the first so many; `max_usd` asks no more once that much is spent."""

    model: str
    at_once: int
    limit: int | None
    max_usd: float | None
    feedback: bool
    fresh: bool


def replay(file: Path, answers: Path | None, wish: Wish, *, url: str, key: str, as_json: bool) -> None:
    """Ask, keep and report. Raises `Ended`, with code 1 where requests failed."""
    from serve.cli.replay import play
    from serve.cli.replay.lines import Report, read

    target = place.target(url, key)
    into = answers or file.with_name(f"{file.stem}.answers.jsonl")
    if into.resolve() == file.resolve():
        raise Ended("the answers would overwrite the requests; name another file with --out")
    requests = read(file, model=wish.model)[: wish.limit]
    ran = play.run(target, requests, into, wish)
    report = Report.of(ran.answers.values())
    if as_json:
        screen.as_json({"answers": str(into), "requests": len(requests), "asked": ran.asked, **report.plain()})
    else:
        columns, rows, right = report.table()
        screen.console().print(screen.table(columns, rows, right=right))
        earlier = len(ran.answers) - ran.asked
        print(f"\n{into}: {len(ran.answers):,} of {len(requests):,} requests", end="")
        print(f", {earlier:,} of them from an earlier run." if earlier > 0 else ".")
    if ran.stopped:
        raise Ended(f"{ran.stopped}; the same command goes on from here", FAILED)
    if report.failed:
        raise Ended(f"{report.failed:,} requests failed; the same command asks those again", FAILED)
