"""What a handler is given: the exchange, this replica, whoever answers, and whose request it is."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import NoReturn

from actors.edge import Edge
from runtime.admission import Admission
from runtime.admitted import Calls
from runtime.outcome import Failure, FailureKind
from runtime.provider import Provider
from runtime.request import Json
from serve.answer import json_of
from serve.auth import Caller
from serve.errors import Refused, answer_failure
from serve.http import Exchange

log = logging.getLogger("raygate.serve")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that is no chat. `path` is without `/v1`. What asks a provider does so by `calls`,
    each of which has a place by `admission` and is within the caller's rates."""

    exchange: Exchange
    edge: Edge
    target: Provider
    path: str
    request_id: str
    caller: Caller
    admission: Admission
    calls: Calls

    async def json_if_room(self) -> Json:
        """The body, unless there is not even room to wait. Raises `Refused`."""
        body = await self.body()
        if (shed := self.admission.refuses(self.caller.tenant)) is not None:
            refuse(shed.failure())
        return json_of(body)

    async def json(self) -> Json:
        """The body. Raises `Refused` where it is no JSON."""
        return json_of(await self.body())

    async def body(self) -> bytes:
        return await self.exchange.body(self.edge.settings.max_body_bytes)

    async def reply(self, body: Json) -> None:
        await self.exchange.reply_json(200, body)

    async def reply_file(self, name: str, content_type: bytes, pieces: AsyncGenerator[bytes | Failure]) -> None:
        """A file in pieces. One that cannot be ended breaks off: nobody takes it for whole."""
        await self.exchange.unless_gone(self._send(name, content_type, pieces))

    async def _send(self, name: str, content_type: bytes, pieces: AsyncGenerator[bytes | Failure]) -> None:
        async with aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, Failure):
                    if self.exchange.started:
                        log.error("export.broke_off", extra={"why": piece.detail, "request_id": self.request_id})
                    await answer_failure(self.exchange, piece)
                    return
                if not self.exchange.started:
                    disposition = f'attachment; filename="{name}"'.encode()
                    await self.exchange.start(
                        200, [(b"content-type", content_type), (b"content-disposition", disposition)]
                    )
                await self.exchange.write(piece)
        await self.exchange.write(b"", more=False)


def refuse(failure: Failure) -> NoReturn:
    """End a request with this failure."""
    refused = Refused(failure.kind, failure.detail, code=failure.code)
    refused.failure = failure
    raise refused


def no_such_model(name: str) -> Refused:
    detail = f"no provider serves a model named {name[:200]!r}; the list of models has those that there are"
    return Refused(FailureKind.MODEL_NOT_FOUND, detail)
