"""A gateway over scripted providers."""

from __future__ import annotations

import random
from typing import Any

from runtime.assemble import policy_of
from runtime.dialects.scripted import Step
from runtime.gateway import Gateway
from runtime.outcome import Attempt, Completion, Failure
from runtime.request import Request, Sampling, ask
from runtime.settings import RouteSettings
from tests.fakes.clock import FakeClock
from tests.fakes.providers import Rig, Sleep, rig, settings_of


class Rigs:
    """A gateway over scripted providers, and those. Settings as in a file; a provider is its steps."""

    def __init__(
        self,
        *,
        sleep: Sleep | None = None,
        settings: dict[str, Any] | None = None,
        clock: FakeClock | None = None,
        **steps: Any,
    ) -> None:
        self.clock = clock or FakeClock()
        played = {name: one if isinstance(one, list | tuple) else [one] for name, one in steps.items()}
        self.settings = settings_of(*played, **{"default_model": "any", **(settings or {})})
        if "any" not in self.settings.routes:
            route = RouteSettings(targets=tuple(f"{name}/{name}-model" for name in played))
            self.settings = self.settings.model_copy(update={"routes": {**self.settings.routes, "any": route}})
        self.rigs: dict[str, Rig] = {
            name: rig(
                *said,
                name=name,
                clock=self.clock,
                sleep=sleep,
                settings=self.settings,
                defaults=Sampling(**self.settings.providers[name].sampling.model_dump()),
                max_in_flight=self.settings.providers[name].max_in_flight,
            )
            for name, said in played.items()
        }
        self.gateway = Gateway(self.policy(), clock=self.clock, sleep=self.clock.sleep, rng=random.Random(1))

    def policy(self) -> Any:
        return policy_of(self.settings, {name: one.provider for name, one in self.rigs.items()})

    def __getitem__(self, name: str) -> Rig:
        return self.rigs[name]

    def calls(self) -> dict[str, int]:
        return {name: one.transport.calls for name, one in self.rigs.items()}

    async def answer(self, request: Request | None = None) -> Completion:
        outcome = await self.gateway.complete(request or ask("hi"))
        assert isinstance(outcome, Completion), outcome
        return outcome

    async def failure(self, request: Request | None = None) -> Failure:
        outcome = await self.gateway.complete(request or ask("hi"))
        assert isinstance(outcome, Failure), outcome
        return outcome


def text(words: str, **said: Any) -> Step:
    return Step(text=words, **said)


def tried(attempts: tuple[Attempt, ...]) -> list[tuple[str, str]]:
    return [(one.provider, one.outcome) for one in attempts]
