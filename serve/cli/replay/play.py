"""Asks many requests at once, keeps each answer at once, and waits where it is told to."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from serve.cli import http, place
from serve.cli.errors import FAILED, Ended
from serve.cli.replay import Wish
from serve.cli.replay.lines import Answer, Asked, kept, met

PATIENCE = httpx.Timeout(600.0, connect=5.0)
TRIES = 6
"""So often a request is asked that is told to come again later."""
AT_MOST_S = 60.0
"""No wait is longer."""
LATER = frozenset((429, 503))
SPENT = "budget_exceeded"
"""What an answer's error is where the key's, team's or organisation's budget is spent: nobody else is asked then."""


@dataclass(slots=True)
class Ran:
    """What there is after a run: all answers by line, how many of them are of this run, and why it ended early."""

    answers: dict[int, Answer] = field(default_factory=dict)
    asked: int = 0
    stopped: str = ""


def run(target: place.Target, requests: Sequence[Asked], into: Path, wish: Wish) -> Ran:
    """Ask what has no answer yet. Raises `Ended` where the file cannot be written, or nobody answers."""
    if wish.fresh:
        into.unlink(missing_ok=True)
    ran = Ran({line: one for line, one in kept(into, requests).items() if one.answered})
    todo = [one for one in requests if one.line not in ran.answers]
    try:
        with into.open("ab") as out, _progress(len(requests), len(ran.answers)) as advance:
            _whole_lines(into, out)

            def keep(answer: Answer, spent: float) -> None:
                out.write(answer.to_line())
                out.flush()
                advance(answer, spent)

            asyncio.run(_Play(target, wish, ran, keep).all(todo))
    except OSError as error:
        raise Ended(f"{into} cannot be written: {error.strerror}", FAILED) from None
    except KeyboardInterrupt:
        ran.stopped = "interrupted"
    return ran


class _Play:
    """One run. `keep` is told of each answer, and what all of them cost."""

    def __init__(self, target: place.Target, wish: Wish, ran: Ran, keep: Callable[[Answer, float], None]) -> None:
        self._target, self._wish, self._ran, self._keep = target, wish, ran, keep
        self._spent = sum(one.cost_usd or 0.0 for one in ran.answers.values())

    async def all(self, todo: Sequence[Asked]) -> None:
        waiting = iter(todo)
        limits = httpx.Limits(max_connections=self._wish.at_once, max_keepalive_connections=self._wish.at_once)
        headers = {"authorization": f"Bearer {self._target.key}"} if self._target.key else {}
        async with httpx.AsyncClient(
            base_url=self._target.url,
            headers=headers,
            timeout=PATIENCE,
            limits=limits,
            verify=self._target.url.startswith("https"),
            trust_env=httpx.URL(self._target.url).host not in http.LOOPBACK,
        ) as client:
            try:
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(min(self._wish.at_once, len(todo))):
                        tasks.create_task(self._work(client, waiting))
            except* Ended as ended:
                raise ended.exceptions[0] from None

    async def _work(self, client: httpx.AsyncClient, waiting: Iterator[Asked]) -> None:
        for one in waiting:
            if self._ran.stopped:
                return
            if self._wish.max_usd is not None and self._spent >= self._wish.max_usd:
                self._ran.stopped = f"${self._spent:.4f} are spent (--max-usd {self._wish.max_usd:g})"
                return
            answer = await self._ask(client, one)
            self._ran.answers[one.line] = answer
            self._ran.asked += 1
            self._spent += answer.cost_usd or 0.0
            self._keep(answer, self._spent)
            if answer.error == SPENT:
                self._ran.stopped = "this key's budget is spent"
            if self._wish.feedback and answer.met is not None and answer.request_id:
                await self._judge(client, answer.request_id, good=answer.met)

    async def _judge(self, client: httpx.AsyncClient, request_id: str, *, good: bool) -> None:
        reply = await client.post("/v1/feedback", json={"request_id": request_id, "score": float(good)})
        if reply.status_code not in (200, 400):  # 400: nothing was chosen there by what was learned
            raise http.refusal(self._target, reply)

    async def _ask(self, client: httpx.AsyncClient, one: Asked) -> Answer:
        for attempt in range(1, TRIES + 1):
            begun = time.perf_counter()
            try:
                reply = await client.post("/v1/chat/completions", json=dict(one.body))
            except httpx.ConnectError:
                raise Ended(f"nobody answers at {self._target.url}", FAILED) from None
            except httpx.TransportError as error:
                return Answer(line=one.line, mark=one.mark, id=one.id, status=0, error=type(error).__name__)
            if reply.status_code == 401:
                raise http.refusal(self._target, reply)
            if reply.status_code not in LATER or attempt == TRIES or _code(reply) == SPENT:
                break
            await asyncio.sleep(_wait_s(reply, attempt))
        return _answer(one, reply, time.perf_counter() - begun)


def _answer(one: Asked, reply: httpx.Response, took_s: float) -> Answer:
    came = Answer(
        line=one.line,
        mark=one.mark,
        id=one.id,
        status=reply.status_code,
        request_id=reply.headers.get("x-request-id", ""),
        latency_s=round(took_s, 4),
    )
    try:
        said = reply.json()
        if not came.answered:
            return replace(came, error=str(said["error"].get("code") or said["error"]["type"]))
        choice = said["choices"][0]
        text = choice["message"].get("content") or ""
        usage = {name: value for name, value in said["usage"].items() if name != "cost"}
        return replace(
            came,
            provider=reply.headers.get("x-raygate-provider", ""),
            model=reply.headers.get("x-raygate-model", "") or said["model"],
            text=text,
            finish_reason=choice["finish_reason"],
            usage=usage,
            cost_usd=said["usage"].get("cost"),
            cached="x-raygate-cache" in reply.headers,
            met=met(text, one.expect),
        )
    except (ValueError, KeyError, TypeError, IndexError):
        return replace(came, status=0 if came.answered else came.status, error="an answer of another form")


def _code(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["error"].get("code") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _wait_s(reply: httpx.Response, attempt: int) -> float:
    said = reply.headers.get("retry-after", "")
    return min(AT_MOST_S, float(said) if said.replace(".", "", 1).isdigit() else 2.0 ** (attempt - 1))


def _whole_lines(file: Path, out: BinaryIO) -> None:
    """Begin a line of our own where an earlier run was cut off within one."""
    if out.tell():
        with file.open("rb") as there:
            there.seek(-1, os.SEEK_END)
            if there.read(1) != b"\n":
                out.write(b"\n")


@contextmanager
def _progress(total: int, done: int) -> Iterator[Any]:
    """A bar with what was spent so far; nothing where nobody watches."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total, completed=done, said="")
        failed = 0

        def advance(answer: Answer, spent: float) -> None:
            nonlocal failed
            failed += not answer.answered
            progress.update(task, advance=1, said=f"${spent:.4f}" + (f" · {failed:,} failed" if failed else ""))

        yield advance
