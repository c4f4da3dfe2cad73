"""Callers in threads that keep asking until they are told to stop, and remember every answer."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from tests.e2e.conftest import Live

INTERRUPTED = "a begun stream ended in an explicit error"


@dataclass(frozen=True)
class Answer:
    """One request's fate. `begun` is monotonic; `fault` is empty where all went well."""

    begun: float
    provider: str
    fault: str


class Load:
    """A context: the callers run inside it. Half of them stream, if asked to."""

    def __init__(self, live: Live, model: str, *, callers: int = 8, streams: bool = True) -> None:
        self.answers: list[Answer] = []
        self._live = live
        self._model = model
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(streams and index % 2 == 1,)) for index in range(callers)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def faults(self) -> list[str]:
        return [answer.fault for answer in self.answers if answer.fault]

    def _call(self, stream: bool) -> None:
        with self._live.client() as client:
            while not self._stop.is_set():
                begun = time.monotonic()
                provider, fault = "", ""
                try:
                    provider, fault = self._ask(client, stream)
                except httpx.HTTPError as error:
                    fault = repr(error)
                self.answers.append(Answer(begun, provider, fault))

    def _ask(self, client: httpx.Client, stream: bool) -> tuple[str, str]:
        body: dict[str, Any] = {"model": self._model, "messages": [{"role": "user", "content": "hello"}]}
        reply = client.post("/v1/chat/completions", json={**body, "stream": stream})
        provider = reply.headers.get("x-raygate-provider", "")
        if reply.status_code == 200 and (not stream or reply.text.endswith("data: [DONE]\n\n")):
            return provider, ""
        if reply.status_code == 200:
            last = json.loads(reply.text.rstrip().rpartition("data: ")[2])
            if last.get("error", {}).get("type") == "upstream_interrupted_error":
                return provider, INTERRUPTED
        return provider, f"{reply.status_code} {reply.text[-300:]}"
