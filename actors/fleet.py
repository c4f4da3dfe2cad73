"""The servers that Raygate runs itself: how many copies of each, where they listen, which are to go.

    settings, calls ──► wanted ──► one actor for each copy (actors/local_model.py), where Ray has room for it
                                    └─► asked every second: starts its server anew if it has died; says where it listens

The manager's hands: what is decided is in `runtime.copies`. Belongs to the control group's loop.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ray.exceptions import RayTaskError

from actors import supervisor
from actors.keys import write_once
from actors.local_model import KEY_VARIABLE, ServerActor, Serving
from actors.names import COPY, copy_actor
from actors.refs import ActorRef, Unreachable, last_line
from runtime.copies import Copies
from runtime.feed import Endpoint
from runtime.settings import ProviderKind, Settings
from runtime.settings.managed import ManagedSettings

log = logging.getLogger("raygate.fleet")

SECRET = "models_key"  # noqa: S105  # a file's name
ASKED_S = 5.0
"""A copy that does not say within this where it listens is told of the next time."""

COMMAND: Mapping[ProviderKind, tuple[str, ...]] = {
    ProviderKind.OLLAMA: ("ollama", "serve"),
    ProviderKind.LOCAL: ("{python}", "-m", "actors.local_model", "{host}", "{port}"),
}
ENV: Mapping[ProviderKind, Mapping[str, str]] = {
    ProviderKind.OLLAMA: {"OLLAMA_HOST": "{host}:{port}"},
    ProviderKind.LOCAL: {KEY_VARIABLE: "{key}"},
}
READY: Mapping[ProviderKind, str] = {ProviderKind.OLLAMA: "/api/version", ProviderKind.LOCAL: "/health"}
PATH: Mapping[ProviderKind, str] = {ProviderKind.OLLAMA: "", ProviderKind.LOCAL: "/v1", ProviderKind.CUSTOM: "/v1"}


@dataclass(frozen=True, slots=True)
class Managed:
    """A provider whose server we run: of which kind, and how."""

    kind: ProviderKind
    how: ManagedSettings


def managed_of(settings: Settings) -> dict[str, Managed]:
    return {
        name: Managed(one.kind, one.managed)
        for name, one in settings.providers.items()
        if one.enabled and one.managed is not None
    }


class Fleet:
    """The copies of all providers that are managed."""

    def __init__(self, folder: Path) -> None:
        self._copies: dict[str, Copies] = {}
        self._refs: dict[str, ActorRef] = {}
        self._folder = folder
        self._secret = ""

    def inherit(self, actor: str) -> None:
        """An actor of a manager before this one; it is wanted or superfluous like any other."""
        self._refs.setdefault(actor, ActorRef(actor))
        provider = _provider_of(actor)
        number = sum(_provider_of(one) == provider for one in self._refs)
        self._copies[provider] = Copies(number)

    def wanted(self, managed: Mapping[str, Managed], calls: Mapping[str, int], now: float) -> dict[str, int]:
        """How many copies of each there should be."""
        self._copies = {name: self._copies.get(name) or Copies(1) for name in managed}
        found = {}
        for name, one in managed.items():
            before, found[name] = self._copies[name].number, self._copies[name].look(one.how, calls[name], now)
            if before != found[name]:
                log.info("fleet.scaled", extra={"provider": name, "copies": found[name], "calls": calls[name]})
        return found

    def superfluous(self, wanted: Mapping[str, int]) -> list[tuple[str, str]]:
        """Actors that are not among those wanted, with their provider; they are forgotten here."""
        stay = {copy_actor(name, number) for name, count in wanted.items() for number in range(count)}
        gone = [(actor, _provider_of(actor)) for actor in self._refs if actor not in stay]
        for actor, _ in gone:
            self._refs.pop(actor).close()
        return gone

    async def serve(
        self, managed: Mapping[str, Managed], wanted: Mapping[str, int], *, keep: Callable[[str], None]
    ) -> dict[str, Endpoint]:
        """Have all that are wanted serve; where those listen that do. A provider of which none does is left out."""
        asked = [(name, number) for name, count in wanted.items() for number in range(count)]
        found = await asyncio.gather(*(self._serve(name, managed[name], number, keep) for name, number in asked))
        endpoints: dict[str, Endpoint] = {}
        for (name, _), base_url in zip(asked, found, strict=True):
            if base_url is not None:
                known = endpoints.get(name)
                copies = (*(known.copies if known else ()), base_url)
                endpoints[name] = Endpoint(
                    provider=name, base_url=f"http://{name}.invalid", api_key=self._key(name), copies=copies
                )
        return endpoints

    async def _serve(self, name: str, ours: Managed, number: int, keep: Callable[[str], None]) -> str | None:
        actor = copy_actor(name, number)
        keep(actor)
        try:
            if actor not in self._refs:
                await asyncio.to_thread(
                    supervisor.ensure, actor, ServerActor, cpus=ours.how.num_cpus, gpus=ours.how.num_gpus
                )
                self._refs[actor] = ActorRef(actor)
            wanted = serving_of(ours, self._key(name))
            said: str | None = await self._refs[actor].call("serve", wanted, timeout_s=ASKED_S)
        except (Unreachable, RayTaskError) as error:
            log.warning("fleet.copy_away", extra={"actor": actor, "why": last_line(error)})
            return None
        return said

    def _key(self, provider: str) -> str:
        """What the copies of a provider are told that their callers will show: the same in each life of the manager, or
        each copy would have to start anew."""
        if not self._secret:
            write_once(self._folder / SECRET, secrets.token_urlsafe(32))
            self._secret = (self._folder / SECRET).read_text().strip()
        return sha256(f"{self._secret} {provider}".encode()).hexdigest()


def serving_of(ours: Managed, key: str) -> Serving:
    """What a copy is to do, with the kind's own words where the settings say nothing."""
    managed = ours.how
    own = {} if managed.command else ENV.get(ours.kind, {})
    return Serving(
        command=managed.command or COMMAND[ours.kind],
        env={**own, **managed.env},
        ready=managed.ready or READY.get(ours.kind, "/health"),
        path=PATH[ours.kind] if managed.path is None else managed.path,
        key=key,
        python=sys.executable,
        start_s=managed.start_s,
    )


def _provider_of(actor: str) -> str:
    return actor.removeprefix(COPY).rpartition(":")[0]
