"""`log`: a line of JSON for each request and what came of it, written by a thread of its own.

    request ─► queue (bounded; full: the line is dropped and counted) ─► thread: redact, write, rotate

Each process writes a file of its own: `requests.jsonl` becomes `requests-<pid>.jsonl`, mode 0600, then `.1`, `.2`, …
Texts are in it only where `prompts` or `answers` ask for them, and then redacted unless `redact: false`. A disk that is
full costs lines, never a request.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from runtime.hooks.payloads import After, Failed
from runtime.hooks.redact import Redact
from runtime.hooks.texts import changed
from runtime.outcome import Attempt, Cost, Usage
from runtime.request import Request

log = logging.getLogger("raygate.hooks")

END = object()
CLOSE_S = 5.0
MB = 1_000_000


class Record:
    """`max_mb` is of one file, `keep` how many full ones stay; `most` lines may wait."""

    def __init__(
        self,
        *,
        path: str,
        prompts: bool = False,
        answers: bool = False,
        redact: bool = True,
        kinds: Sequence[str] = ("pii", "secrets"),
        max_mb: float = 64.0,
        keep: int = 5,
        most: int = 10_000,
        wall: Callable[[], float] = time.time,  # noqa: TID251  # settings cannot say it; tests do
    ) -> None:
        if not path.strip() or path.endswith("/"):
            raise ValueError("`path` should be the path of a file")
        if max_mb <= 0 or keep < 0 or most < 1:
            raise ValueError("`max_mb` and `most` should be more than 0, `keep` 0 or more")
        given = Path(path).expanduser()
        self.path = given.with_name(f"{given.stem}-{os.getpid()}{given.suffix}")
        self._prompts, self._answers = prompts, answers
        self._redact = Redact(kinds=kinds) if redact else None
        self._max_bytes, self._keep = int(max_mb * MB), keep
        self._wall = wall
        self._waiting: queue.Queue[Any] = queue.Queue(most)
        self._thread: threading.Thread | None = None
        self.dropped = 0
        self.written = 0
        self.unwritten = 0

    def post(self, given: After) -> None:
        answer = given.completion
        line = {
            **self._about(given.request),
            "outcome": "ok",
            "provider": answer.provider,
            "model": answer.model,
            "finish_reason": answer.finish_reason,
            **_spent(answer.usage, answer.cost),
            "latency_ms": round(answer.latency_s * 1e3, 3),
            "overhead_ms": round(answer.overhead_s * 1e3, 3),
            "attempts": _tried(answer.attempts),
        }
        self._put(line, given.request, answer.choices if self._answers else None)

    def error(self, failed: Failed) -> None:
        failure = failed.failure
        line = {
            **self._about(failed.request),
            "outcome": failure.kind,
            "code": failure.code,
            "provider": failure.provider,
            "model": failure.model,
            **_spent(failure.usage, failure.cost),
            "attempts": _tried(failure.attempts),
        }
        self._put(line, failed.request, None)

    def close(self) -> None:
        """Write what waits, for a few seconds at most."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with suppress(queue.Full):
                self._waiting.put(END, timeout=CLOSE_S)
            thread.join(CLOSE_S)

    def metrics(self) -> Mapping[str, float]:
        return {
            "written": float(self.written),
            "dropped": float(self.dropped),
            "unwritten": float(self.unwritten),
            "waiting": float(self._waiting.qsize()),
        }

    def _about(self, request: Request) -> dict[str, Any]:
        account = request.billing.account if request.billing is not None else None
        return {
            "at": round(self._wall(), 3),
            "request_id": request.request_id,
            "asked": request.model,
            "key": account.key if account else "",
            "tenant": request.tenant,
            "streamed": request.stream,
        }

    def _put(self, line: dict[str, Any], request: Request, answer: Any) -> None:
        """Only what is frozen is handed over; the thread does the rest."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="raygate-log-hook", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait((line, request.messages if self._prompts else None, answer))
        except queue.Full:
            self.dropped += 1

    # In the thread.

    def _write_all(self) -> None:
        file: Any = None
        while (item := self._waiting.get()) is not END:
            try:
                if file is None:
                    file = self._opened()
                data = self._line(*item)
                if file.tell() and file.tell() + len(data) > self._max_bytes:
                    file.close()
                    self._rotate()
                    file = self._opened()
                file.write(data)
                if self._waiting.empty():
                    file.flush()
                self.written += 1
            except Exception as error:
                self.unwritten += 1
                if self.unwritten == 1:
                    log.warning("hook.log_unwritten", exc_info=error, extra={"path": str(self.path)})
                with suppress(Exception):
                    file.close()
                file = None
        with suppress(Exception):
            file.close()

    def _opened(self) -> Any:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        file = os.fdopen(descriptor, "ab")
        file.seek(0, os.SEEK_END)
        return file

    def _rotate(self) -> None:
        """`.1` is the newest of those that are full."""
        for at in range(self._keep, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{at}")
            newer = self.path if at == 1 else self.path.with_name(f"{self.path.name}.{at - 1}")
            if newer.exists():
                newer.replace(older)
        if self._keep == 0:
            self.path.unlink(missing_ok=True)

    def _line(self, line: dict[str, Any], messages: Any, choices: Any) -> bytes:
        if self._redact is not None and (messages is not None or choices is not None):
            scrubber = self._redact.scrubber()
            messages, choices = changed(messages, scrubber.scrub), changed(choices, scrubber.scrub)
        if messages is not None:
            line["messages"] = messages
        if choices is not None:
            line["choices"] = choices
        return orjson.dumps(line, default=_plain, option=orjson.OPT_NON_STR_KEYS) + b"\n"


def _spent(usage: Usage | None, cost: Cost | None) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens if usage else 0,
        "output_tokens": usage.output_tokens if usage else 0,
        "cost_nanousd": None if cost is None else cost.total_nanousd,
    }


def _tried(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    return [{"provider": one.provider, "model": one.model, "outcome": one.outcome} for one in attempts]


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else dict(value)
