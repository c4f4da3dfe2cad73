"""Scripted providers under a fake clock: the real parts, without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.admission import AdmissionPolicy
from runtime.breaker import BreakerPolicy
from runtime.catalog import Catalog
from runtime.dialects.base import Dialect, HttpCall, Target
from runtime.dialects.scripted import Script, Scripted, Step, Trouble
from runtime.edge_provider import AskPermit, EdgeProvider, ProviderSpec, Senses, nobody_to_ask
from runtime.feed import Observations, Observed
from runtime.gate import Gate
from runtime.keyring import Key
from runtime.ledger.books import Books
from runtime.outcome import Delta, Failure, FailureKind, Outcome, StreamEnd, StreamEvent, StreamStart
from runtime.provider import Provider
from runtime.request import Request, Sampling
from runtime.settings import Settings
from runtime.standing import Standing
from runtime.transport.base import Fault, HttpStream, Limits, Transport
from runtime.transport.scripted import ScriptedTransport
from tests.fakes.chance import Steady
from tests.fakes.clock import FakeClock

Sleep = Callable[[float], Any]


def fails(trouble: Trouble, **said: Any) -> Step:
    return Step(fault=trouble, **said)


def settings_of(*names: str, **said: Any) -> Settings:
    """Settings with a scripted provider of each name; `said` is merged in."""
    providers: dict[str, Any] = {name: {"kind": "scripted"} for name in names}
    for name, more in said.pop("providers", {}).items():
        providers[name] = {**providers.get(name, {}), **more}
    return Settings.model_validate({"providers": providers, **said})


class Recording(ScriptedTransport):
    """`sent` are the bodies of all calls, in order, `headers` their headers."""

    def __init__(self, script: Script, sleep: Sleep) -> None:
        super().__init__(script, sleep)
        self.sent: list[bytes] = []
        self.headers: list[dict[str, str]] = []

    async def open(self, call: HttpCall, limits: Limits) -> HttpStream | Fault:
        self.sent.append(call.body)
        self.headers.append(dict(call.headers))
        return await super().open(call, limits)


@dataclass(slots=True)
class Rig:
    """One provider and everything around it that a test may look at."""

    provider: EdgeProvider
    transport: Recording
    clock: FakeClock
    observations: Observations
    changes: list[float] = field(default_factory=list)

    @property
    def in_flight(self) -> int:
        return self.provider.standing.load.in_flight

    def seen(self) -> Observed:
        """The sum of what was observed of the one model in the one spell."""
        (one,) = self.observations.take()
        return one


def rig(
    *steps: Step,
    name: str = "one",
    clock: FakeClock | None = None,
    sleep: Sleep | None = None,
    settings: Settings | None = None,
    loop: bool = False,
    limits: Limits | None = None,
    breaker: BreakerPolicy | None = None,
    max_in_flight: int | None = None,
    defaults: Sampling | None = None,
    ask_permit: AskPermit = nobody_to_ask,
    dialect: Dialect | None = None,
    transport: Transport | None = None,
    not_yet: str = "",
    keys: tuple[Key, ...] = (),
    books: Books | None = None,
) -> Rig:
    """A provider that plays these steps, the last one for good."""
    clock = clock or FakeClock()
    scripted = Recording(Script(steps, loop=loop), sleep or clock.sleep)
    observations = Observations(clock)
    changes: list[float] = []
    provider = EdgeProvider(
        spec=ProviderSpec(
            target=Target(provider=name, base_url="http://scripted"),
            limits=limits or Limits(),
            defaults=defaults or Sampling(),
            max_in_flight=max_in_flight,
            not_yet=not_yet,
            keys=keys,
        ),
        dialect=dialect or Scripted(),
        transport=transport or scripted,
        catalog=Catalog(settings or settings_of(name)),
        standing=Standing(Gate(breaker or BreakerPolicy(), Steady())),
        observations=observations,
        senses=Senses(clock=clock, wall=lambda: 1.7e9 + clock()),
        ask_permit=ask_permit,
        on_change=lambda: changes.append(clock()),
        books=books,
    )
    if max_in_flight is not None:
        provider.standing.limit(AdmissionPolicy(max_in_flight=max_in_flight), clock, Steady())
    return Rig(provider, scripted, clock, observations, changes)


@dataclass(frozen=True, slots=True)
class Streamed:
    """A whole stream, taken apart. Making one checks its grammar: start, deltas, exactly one end."""

    start: StreamStart | None
    deltas: tuple[Delta, ...]
    outcome: Outcome

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)


async def streamed(provider: Provider, request: Request) -> Streamed:
    events: list[StreamEvent] = [event async for event in provider.stream(request)]
    *before, end = events
    assert isinstance(end, StreamEnd), "a stream ends with its outcome"
    if not before:
        assert isinstance(end.outcome, Failure), "an answer has a start"
        return Streamed(None, (), end.outcome)
    start, *deltas = before
    assert isinstance(start, StreamStart), "a stream begins with who answers"
    found = [one for one in deltas if isinstance(one, Delta)]
    assert len(found) == len(deltas), "between start and end there are deltas alone"
    return Streamed(start, tuple(found), end.outcome)


def kind(outcome: object) -> FailureKind:
    assert isinstance(outcome, Failure), outcome
    return outcome.kind


def counted(metrics: Mapping[str, float], name: str) -> float:
    return sum(value for key, value in metrics.items() if key.rpartition(".")[2] == name)
