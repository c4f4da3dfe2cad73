"""An application with a ledger of its own, and an admin who asks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from actors.refs import Unreachable
from actors.till import Till
from runtime.feed import KeyInfo
from runtime.ledger.accounts import Pass, sha256_of
from runtime.ledger.leases import Claims, Grants
from runtime.ledger.ledger import Ledger
from runtime.ledger.purse import Purse
from runtime.ledger.store.base import Store, StoreFailure
from runtime.ledger.store.sqlite import SqliteStore
from runtime.outcome import Failure
from runtime.request import Json
from tests.fakes.asgi import Call
from tests.serve.test_app import Served

ROOT = "rg-root"
NOW = 1_790_000_000.0


class Near:
    """The ledger as an edge sees it, without the way between."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    async def present(self, sha256: str) -> Pass | Failure:
        return self.ledger.present(sha256)

    async def exchange(self, claims: Claims) -> Grants:
        return self.ledger.exchange(claims)

    async def ask(self, what: str, *args: Json, who: str, **named: Json) -> Json | Failure:
        return await self.ledger.ask(what, *args, who=who, **named)

    def export(self, to: str, last: str, only: Mapping[str, str]) -> AsyncGenerator[bytes | Failure]:
        return self.ledger.export(to, last, only)


class Office:
    """An application with a ledger, and an admin who asks it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.served = Served()
        edge = self.served.edge
        edge.ledger = Near(ledger)
        clock = asyncio.get_running_loop().time
        edge.till = Till(Purse(edge="test"), edge.passes, edge.ledger.exchange, clock, away=Unreachable)
        edge.till.start()
        root = KeyInfo(sha256=sha256_of(ROOT), name="bootstrap", admin=True)
        self.served.edge.keys = {root.sha256: root}
        self.chance = 0

    async def close(self) -> None:
        await self.served.edge.till.stop()
        await self.ledger.close()

    async def ask(self, method: str, path: str, body: Any = None, key: str = ROOT) -> Call:
        headers = [(b"authorization", f"Bearer {key}".encode())]
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        path, _, query = path.partition("?")
        call = Call(method, f"/admin/{path}", body=data, headers=headers)
        call.scope["query_string"] = query.encode()
        return await self.served(call)

    async def got(self, method: str, path: str, body: Any = None) -> Any:
        call = await self.ask(method, path, body)
        assert call.status == 200, call.body
        return json.loads(call.body)

    async def chat(self, key: str, **scope: Any) -> Call:
        body = {"model": "one/m", "messages": [{"role": "user", "content": "hi"}]}
        headers = [(b"authorization", f"Bearer {key}".encode())]
        call = Call("POST", "/v1/chat/completions", body=json.dumps(body).encode(), headers=headers)
        call.scope.update(scope)
        return await self.served(call)


async def opened(folder: Path) -> Ledger:
    """A ledger in a file. Every key that it makes is another."""
    store: Store | StoreFailure = await SqliteStore.open(folder / "ledger.db", synchronous="normal")
    assert not isinstance(store, StoreFailure)
    count = iter(range(1, 256))
    ledger = await Ledger.open(store, "test", wall=lambda: NOW, chance=lambda size: bytes([next(count)] * size))
    assert not isinstance(ledger, StoreFailure)
    return ledger
