"""Webhooks for budgets: each warning to each of them once in each period, whatever dies meanwhile.

    notice ─► pending, in a file ─► sent, again and again with growing waits ─► delivered, in the file
                                                                             └► given up, logged and counted

The file outlives the ledger's actor. Whoever dies between the two may send an alert a second time, under the same id.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from runtime.alerts import alert_id, body_of, signature, wait_s
from runtime.ledger.book import Notice
from runtime.settings import AlertSettings, BadSettings, WebhookSettings, resolve_secret

log = logging.getLogger("raygate.alerts")

FILE = "alerts.json"
MOST = 5_000
"""Alerts that are remembered as delivered: the oldest go. One is needed no longer than its period."""


class Post(Protocol):
    """As `runtime.transport.webhook.post`."""

    def __call__(
        self, url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float, allow_private: bool
    ) -> Awaitable[str]: ...


@dataclass(frozen=True, slots=True)
class _Target:
    name: str
    url: str
    secret: str | None
    ours: WebhookSettings


class Alerts:
    """Belongs to one event loop. `settings` are asked for anew with each try: they may change."""

    def __init__(
        self,
        folder: Path,
        settings: Callable[[], AlertSettings],
        env: Mapping[str, str],
        *,
        post: Post,
        wall: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random,
    ) -> None:
        self._path = folder / FILE
        self._settings = settings
        self._env = env
        self._post = post
        self._wall = wall
        self._sleep = sleep
        self._rng = rng
        self._pending: dict[str, str] = {}
        self._done: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.given_up = 0
        self._read()

    def resume(self) -> None:
        """Go on with what an earlier life has not delivered."""
        for key in self._pending:
            self._start(key)

    def tell(self, notice: Notice) -> None:
        """Once for each webhook that wants it; the second time nothing happens."""
        body = body_of(notice, at_s=self._wall()).decode()
        fresh = False
        for target in self._targets():
            key = f"{target.name} {alert_id(notice)}"
            if notice.limit.scope.value in target.ours.scopes and key not in self._done and key not in self._pending:
                self._pending[key] = body
                fresh = True
        if fresh:
            self._write()
            self.resume()

    async def settled(self) -> None:
        """Once nothing is under way."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await self.settled()

    def _start(self, key: str) -> None:
        if key not in self._tasks:
            task = self._tasks[key] = asyncio.create_task(self._deliver(key))
            task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def _deliver(self, key: str) -> None:
        name, _, alert = key.partition(" ")
        tried = 0
        while True:
            target = next((one for one in self._targets() if one.name == name), None)
            if target is None:
                # The settings name it no more.
                self._end(key)
                return
            why = await self._send(target, alert, self._pending[key].encode())
            tried += 1
            if not why:
                log.info("alert.delivered", extra={"alert": alert, "tries": tried})
                self._end(key)
                return
            if tried >= target.ours.attempts:
                self.given_up += 1
                log.error("alert.given_up", extra={"alert": alert, "tries": tried, "why": why})
                self._end(key)
                return
            log.warning("alert.not_delivered", extra={"alert": alert, "tries": tried, "why": why})
            await self._sleep(wait_s(tried, self._rng))

    async def _send(self, target: _Target, alert: str, body: bytes) -> str:
        headers = {"content-type": "application/json", "user-agent": "raygate", "x-raygate-delivery": alert}
        if target.secret is not None:
            headers["x-raygate-signature"] = signature(target.secret, body, at_s=self._wall())
        ours = target.ours
        try:
            return await self._post(
                target.url, body, headers, timeout_s=ours.timeout_s, allow_private=ours.allow_private
            )
        except Exception as error:  # whatever it is: the next try comes
            return type(error).__name__

    def _targets(self) -> list[_Target]:
        found = []
        for ours in self._settings().webhooks:
            try:
                url, secret = resolve_secret(ours.url, self._env) or "", resolve_secret(ours.secret, self._env)
            except BadSettings as bad:
                log.error("alert.unusable", extra={"why": str(bad)})  # noqa: TRY400
                continue
            found.append(_Target(hashlib.sha256(url.encode()).hexdigest()[:16], url, secret, ours))
        return found

    def _end(self, key: str) -> None:
        self._pending.pop(key, None)
        self._done[key] = self._wall()
        while len(self._done) > MOST:
            del self._done[next(iter(self._done))]
        self._write()

    def _read(self) -> None:
        try:
            said: Any = json.loads(self._path.read_text())
            self._pending, self._done = dict(said["pending"]), dict(said["done"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("alerts.unread", extra={"why": type(error).__name__})

    def _write(self) -> None:
        """In one step. It happens a few times in a budget's period."""
        temporary = self._path.with_suffix(".new")
        try:
            temporary.touch(mode=0o600)
            temporary.write_text(json.dumps({"pending": self._pending, "done": self._done}))
            temporary.replace(self._path)
        except OSError as error:
            log.warning("alerts.unwritten", extra={"why": type(error).__name__})
