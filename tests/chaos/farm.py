"""Upstreams for many cells at once: one of each dialect behind one provider, and what an HTTP client makes of them.

Each request says in its message which cell it is of, since not all dialects carry a model's name; so an upstream knows
which fault it is due, and providers, their addresses and their actors stay the same for all cells.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.faults import EVERY, Fault
from tests.chaos.upstream import ChaosUpstream
from tests.chaos.wires import WIRES, Wire
from tests.e2e.conftest import Live, settings
from tests.fakes.upstream import Received, closed_port

WELL = "well"
"""The provider that never fails, and the cell of all calls that none is due."""

ACCEPTS: Mapping[str, tuple[str, str]] = {
    "refuse": ("refusing", "anthropic"),
    "reset at accept": ("alpha", "google"),
    "hang at accept": ("beta", "cohere"),
}
"""Faults of an address rather than of a request, before any dialect is spoken: each has a provider of its own. Two take
names that `settings` has anyway, since each new name is an actor to be started."""

TIMEOUTS = {"connect_s": 2.5, "first_byte_s": 2.5, "between_s": 1.5, "total_s": 20.0}
"""For all providers alike, so an answer of a healthy one on a busy machine must come within them, too."""

ONE_ATTEMPT_S = 6.0
"""What a plain answer may take of those that fail: nothing else ends one that drips."""

BREAKER = {"failures": 1_000_000, "open_s": 0.1, "open_max_s": 0.1, "probe_ttl_s": 1.0, "ramp_s": 0.0}

OPENAI, ANTHROPIC = "openai", "anthropic"


@dataclass
class Many(ChaosUpstream):
    """One dialect's upstream. `faults` by cell, `once` for the first call of a cell only, `chance` for any other."""

    faults: dict[str, Fault] = field(default_factory=dict)
    once: dict[str, Fault] = field(default_factory=dict)
    seen: dict[str, asyncio.Event] = field(default_factory=dict)
    chance: Callable[[], Fault | None] | None = None
    shown_s: float = 5.0

    def times_of(self, cell: str) -> list[float]:
        """When this cell's calls came, in monotonic seconds."""
        return [call.at for call in self.calls if call.request is not None and cell_of(call.request) == cell]

    @property
    def idle(self) -> bool:
        return all(call.ended_at is not None for call in self.calls if call.request is not None)

    def _fault_for(self, request: Received) -> Fault | None:
        cell = cell_of(request)
        if cell in self.once:
            return self.once.pop(cell)
        if cell != WELL and self.chance is not None:
            return self.chance()
        return self.faults.get(cell)

    def _shown_to(self, request: Received) -> asyncio.Event:
        return self.seen.setdefault(cell_of(request), asyncio.Event())


@dataclass(frozen=True, kw_only=True)
class Farm:
    """`ill` by dialect: each is the provider `ill-DIALECT`."""

    ill: Mapping[str, Many]
    well: Many
    client: httpx.AsyncClient

    async def breathe(self, provider: str, times: int) -> None:
        """Healthy calls: with more than half of them a breaker for the whole cluster stays closed."""
        for _ in range(times):
            await self.answers(provider)

    async def answers(self, provider: str) -> None:
        """Wait until it does: on the actors' path, its actor may still have to hear of its address."""
        await _until(self._answers(provider), within_s=30.0)

    def _answers(self, provider: str) -> Callable[[], Awaitable[bool]]:
        async def answers() -> bool:
            return (await ask(self, f"{provider}/{WELL}", WELL)).looks_complete

        return answers

    async def is_idle(self) -> None:
        """Wait until no upstream has a call under way any more."""

        async def idle() -> bool:
            return all(one.idle for one in (*self.ill.values(), self.well))

        await _until(idle, within_s=5.0)


@asynccontextmanager
async def farm(live: Live, path: str, routes: Mapping[str, Sequence[str]], **changes: Any) -> AsyncGenerator[Farm]:
    """A Raygate on this data path whose providers are these upstreams, until the next change of settings.

    Breakers keep out of it: an edge's own needs a million failures in a row; the cluster's a failure rate that
    `Farm.breathe` keeps away, and where it opens all the same it closes again at once. The free call to a provider that
    nobody called for a while would fail at those that accept nobody, and nothing would ever close them.
    """
    async with AsyncExitStack() as stack:
        ill = {name: await stack.enter_async_context(Many(wire=wire)) for name, wire in WIRES.items()}
        addresses = {"refuse": f"http://127.0.0.1:{closed_port()}"}
        for fault in ACCEPTS.keys() - addresses:
            upstream = ChaosUpstream(wire=WIRES[ACCEPTS[fault][1]], standing=EVERY[fault])
            addresses[fault] = (await stack.enter_async_context(upstream)).url
        well = await stack.enter_async_context(Many(wire=WIRES["openrouter"]))
        providers = {
            **settings().to_document()["providers"],
            **{ill_of(name): _ill(one.wire, one.base_url) for name, one in ill.items()},
            **{name: _ill(WIRES[of], addresses[fault] + WIRES[of].path) for fault, (name, of) in ACCEPTS.items()},
            WELL: {"kind": well.wire.name, "base_url": well.base_url, "api_key": "key-of-the-fake"},
        }
        await asyncio.to_thread(
            live.switch,
            **{
                "data_path": path,
                "providers": providers,
                "routes": dict(routes),
                "timeouts": TIMEOUTS,
                "breaker": BREAKER,
                "health": {"every_s": 0},
                **changes,
            },
        )
        for name in providers:
            await asyncio.to_thread(live.control, live.provider(name), "whereabouts")
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        client = httpx.AsyncClient(base_url=live.url, headers=live.headers, timeout=30, limits=limits)
        made = Farm(ill=ill, well=well, client=await stack.enter_async_context(client))
        await asyncio.gather(*(made.answers(name) for name in (WELL, *map(ill_of, ill))))
        yield made


def ill_of(dialect: str) -> str:
    return f"ill-{dialect}"


def slug(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _ill(wire: Wire, url: str) -> dict[str, Any]:
    return {
        "kind": wire.name,
        "base_url": url,
        "api_key": "key-of-the-fake",
        "priority": 1,
        "timeout_s": ONE_ATTEMPT_S,
        # Who answers here is a matter of the routes alone.
        "fallbacks": [],
    }


async def _until(true: Callable[[], Awaitable[bool]], *, within_s: float) -> None:
    """Poll what has no event to wait for."""
    deadline = time.monotonic() + within_s
    while not await true():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        await asyncio.sleep(0.02)


def cell_of(request: Received) -> str:
    found = re.search(rb"cell=([a-z0-9.-]+)", request.body)
    return found[1].decode() if found else ""


# The client's side.


@dataclass(slots=True)
class Reply:
    """What an HTTP client was told.

    `shown`: an answer began, if only with a thought. `error` is the error object, `cut` how the body broke off, if it
    did.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    shown: bool = False
    error: dict[str, Any] | None = None
    ended: bool = False
    cut: str = ""
    begun: float = 0.0
    took_s: float = 0.0

    @property
    def looks_complete(self) -> bool:
        return self.status == 200 and self.ended and self.error is None and not self.cut

    @property
    def attempts(self) -> int:
        return int(self.headers.get("x-raygate-attempts", "0"))

    @property
    def failed_attempts(self) -> str:
        return self.headers.get("x-raygate-failed-attempts", "")

    @property
    def was_refused(self) -> bool:
        """Whether a breaker kept it from a provider."""
        return "=refused" in self.failed_attempts or (self.error or {}).get("code") == "refused"

    def __str__(self) -> str:
        said = f"{self.status} {len(self.text)} letters, {self.attempts} attempts ({self.failed_attempts})"
        return f"{said}, error {self.error}, cut {self.cut!r}, ended {self.ended}, {self.took_s:.1f} s"


async def ask(
    made: Farm,
    model: str,
    cell: str,
    *,
    streamed: bool = False,
    surface: str = OPENAI,
    seen: asyncio.Event | None = None,
) -> Reply:
    """One chat in raw HTTP. `seen` is set with the first content that the client was shown."""
    path = "/v1/chat/completions" if surface == OPENAI else "/v1/messages"
    body = {"model": model, "messages": [{"role": "user", "content": f"cell={cell} says hi"}], "stream": streamed}
    if surface == ANTHROPIC:
        body["max_tokens"] = 64
    told = Reply(begun=time.monotonic())
    try:
        async with made.client.stream("POST", path, json=body) as reply:
            told.status, told.headers = reply.status_code, dict(reply.headers)
            if not streamed or reply.status_code != 200:
                _read_whole(told, json.loads(await reply.aread()))
            else:
                async for line in reply.aiter_lines():
                    _read_line(told, line, surface)
                    if told.shown and seen is not None:
                        seen.set()
    except httpx.TransportError as error:
        told.cut = repr(error)
    told.took_s = time.monotonic() - told.begun
    return told


def _read_whole(told: Reply, body: dict[str, Any]) -> None:
    told.error = body.get("error")
    told.ended = told.error is None
    for choice in body.get("choices", ())[:1]:
        told.text = choice["message"]["content"]
    for block in body.get("content", ()):
        told.text += block.get("text", "")


def _read_line(told: Reply, line: str, surface: str) -> None:
    if not line.startswith("data: "):
        return
    if surface == OPENAI and line == "data: [DONE]":
        told.ended = True
        return
    event = json.loads(line.removeprefix("data: "))
    if "error" in event:
        told.error = event["error"]
        return
    told.shown = True
    if surface == ANTHROPIC:
        told.ended |= event["type"] == "message_stop"
        told.text += event.get("delta", {}).get("text", "")
        return
    for choice in event.get("choices", ()):
        if choice["index"] == 0:
            told.text += choice["delta"].get("content") or ""
