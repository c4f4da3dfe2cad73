"""A client of an ASGI application that says when each part of its request comes, and when it goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from serve.http import Message, Scope


class Call:
    """One request. What it has sent is heard at once; after it, nothing comes until `hang_up`."""

    def __init__(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Sequence[bytes] = b"",
        headers: Sequence[tuple[bytes, bytes]] = (),
        whole: bool = True,
        root_path: str = "",
    ) -> None:
        parts = [body] if isinstance(body, bytes) else list(body)
        self.scope: Scope = {
            "type": "http",
            "method": method,
            "path": path,
            "root_path": root_path,
            "headers": list(headers),
        }
        self.sent: list[Message] = []
        self.wrote = asyncio.Event()
        self._coming: asyncio.Queue[Message] = asyncio.Queue()
        for at, part in enumerate(parts):
            more = at + 1 < len(parts) or not whole
            self._coming.put_nowait({"type": "http.request", "body": part, "more_body": more})

    async def receive(self) -> Message:
        return await self._coming.get()

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if message.get("body"):
            self.wrote.set()

    def hang_up(self) -> None:
        self._coming.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode("latin-1") for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def ended(self) -> bool:
        return bool(self.sent) and not self.sent[-1].get("more_body", True)

    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found
