"""One simulated run: a few edges, a few providers with their weather, and clients who come, wait and hang up.

    World(seed).run()      plays it all in virtual time
    world.wrong            what broke a law, with the moment; empty if all held

Everything that is drawn by chance is drawn from the seed, in an order that only the seed decides.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter, defaultdict
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from runtime.breaker import Permit, Refusal
from runtime.edge_provider import AskPermit
from runtime.gate import ECHO_S, LONGEST_THROTTLE_S
from runtime.outcome import Completion, Failure, Outcome, StreamEnd, StreamEvent
from runtime.request import Request, ask
from runtime.settings import Settings
from runtime.transport.base import FaultKind, Limits
from tests.simulation.cluster import Center, Edge, Network
from tests.simulation.transport import Call, SimulatedTransport
from tests.simulation.weather import Episode, healthy, play_of, weather
from tests.simulation.wire import WIRES

EPSILON_S = 1e-6
LATE_S = 12.0
"""By then what edges saw has been told, and is older than what an authority looks at."""


@dataclass(frozen=True, slots=True)
class Whim:
    """What one client does. `leaves_after` events it walks away; at `hangs_up_s` its connection breaks."""

    at: float
    edge: int
    request: Request
    hangs_up_s: float | None = None
    leaves_after: int | None = None
    pauses_s: float = 0.0


@dataclass(slots=True)
class Told:
    """What one client was told. `pulled` is when it last asked for more, `committed` when its answer began."""

    number: int
    edge: Edge
    request: Request
    begun: float
    events: list[StreamEvent] = field(default_factory=list)
    outcome: Outcome | None = None
    pulled: float = 0.0
    ended: float | None = None
    committed: float | None = None
    went: str = ""
    broke: BaseException | None = None

    def __str__(self) -> str:
        said = self.outcome.kind if isinstance(self.outcome, Failure) else "ok" if self.outcome else self.went
        return f"request {self.number} at {self.edge.name}: {said}, {self.begun:.3f} to {self.ended or -1.0:.3f}"


class World:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.log: list[tuple[float, tuple[Any, ...]]] = []
        self.wrong: list[str] = []
        self.calls: list[Call] = []
        self.told: list[Told] = []
        self.seen: Counter[str] = Counter()
        self.weather: dict[str, list[Episode]] = {}
        self.settings = _settings(self.rng)
        self._numbers = itertools.count()
        self._may_probe: dict[asyncio.Task[Any], Permit | None] = {}
        self._own_probes: dict[tuple[str, str], float] = {}
        self._wait_until: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._told_to_wait: dict[tuple[int, str, str], float] = {}

    # What happened.

    def note(self, *what: Any) -> None:
        self.log.append((self.loop.time(), what))
        self.seen[what[0]] += 1

    def broken(self, law: str) -> None:
        self.wrong.append(f"{self.loop.time():.3f} {law}")

    # The run.

    async def run(self) -> None:
        self.loop = asyncio.get_running_loop()
        rng, begin = self.rng, self.loop.time()
        names = [f"edge{index}" for index in range(rng.randint(1, 4))]
        self.ends = begin + rng.choice((10.0, 25.0, 50.0))
        self.crowded_s = rng.choice((0.3, 2.0, 6.0))
        self._draw_weather(names, begin)
        network = Network(rng, rng.choice((0.005, 0.05, 0.3)), rng.choice((0.0, 0.0, 0.1, 0.3)))
        self.center = Center(self.settings, network, self.note, self.broken)
        self.edges = [self._edge(name) for name in names]
        self.center.edges = self.edges
        self.center.start()
        self._draw_mishaps(begin)
        running = [asyncio.create_task(self.center.beat())]
        running += [asyncio.create_task(edge.tell(self.center)) for edge in self.edges]
        whims = [self._whim(next(self._numbers), begin) for _ in range(rng.randint(20, 60))]
        await asyncio.gather(*(self._visit(number, whim) for number, whim in enumerate(whims)))
        await asyncio.sleep(max(0.0, self.ends - self.loop.time()))
        await self.heal()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for edge in self.edges:
            edge.take()

    def _edge(self, name: str) -> Edge:
        """The one place where an edge is put together."""
        return Edge(
            name,
            self.settings,
            rng=random.Random(self.rng.random()),
            transport=lambda provider: SimulatedTransport(self, name, provider),
            ask_permit=lambda provider: self._asks(name, provider),
            note=self.note,
            adopted=self._adopted,
        )

    def _draw_weather(self, edges: list[str], begin: float) -> None:
        rng = self.rng
        for provider in self.settings.providers:
            self.weather[provider] = weather(rng, edges=edges, begin=begin, end=self.ends)
        if rng.random() < 0.2:
            # Now and then all of them are ill at once.
            episode = Episode(begin + rng.uniform(0.0, 10.0), self.ends, rng.choice(("refuse", "hang", "529")), 1.0)
            for provider in self.weather:
                self.weather[provider] = [episode]

    def _draw_mishaps(self, begin: float) -> None:
        """Authorities that die, edges that are cut off from their manager. All of it ends with the weather."""
        rng = self.rng
        for provider in self.settings.providers:
            for _ in range(rng.choice((0, 0, 1, 2))):
                at = rng.uniform(begin, self.ends)
                for_s = min(rng.uniform(0.1, 8.0), self.ends - at)
                self.loop.call_at(at, self.center.stop_authority, provider, for_s)
        for edge in self.edges:
            if rng.random() < 0.3:
                at = rng.uniform(begin, self.ends)
                until = min(at + rng.uniform(1.0, 15.0), self.ends)
                self.loop.call_at(at, setattr, edge, "cut_until", until)

    # Clients.

    def _whim(self, number: int, begin: float) -> Whim:
        rng = self.rng
        # They come in crowds.
        at = rng.choice((0.2, 0.4, 0.8)) * (self.ends - begin) + rng.gauss(0.0, self.crowded_s)
        at = begin + min(max(0.0, at), self.ends - begin)
        stream = rng.random() < 0.6
        asked = rng.choice(("m", "m", "m", *(f"{provider}/m" for provider in self.settings.providers)))
        deadline_s = rng.choice((None, 0.5, 2.0, 5.0, 15.0, 40.0))
        request = replace(
            ask(f"request {number}.", model=asked, stream=stream), deadline_s=deadline_s, request_id=f"r{number}"
        )
        how = rng.random()
        return Whim(
            at=at,
            edge=rng.randrange(len(self.edges)),
            request=request,
            hangs_up_s=rng.expovariate(1.0) if how < 0.1 else None,
            leaves_after=rng.randint(1, 5) if 0.1 <= how < 0.15 and stream else None,
            pauses_s=rng.uniform(0.1, 2.0) if how > 0.95 and stream else 0.0,
        )

    async def _visit(self, number: int, whim: Whim) -> Told:
        """One client, from its coming to its going."""
        await asyncio.sleep(max(0.0, whim.at - self.loop.time()))
        told = Told(number, self.edges[whim.edge], whim.request, self.loop.time())
        self.told.append(told)
        self.note("request", number, told.edge.name, whim.request.model, whim.request.deadline_s)
        task = asyncio.create_task(self._stream(told, whim) if whim.request.stream else self._complete(told))
        if whim.hangs_up_s is not None:
            self.loop.call_later(whim.hangs_up_s, self._hang_up, told, task)
        await asyncio.wait([task])
        told.ended = self.loop.time()
        if task.cancelled():
            told.went = told.went or "cancelled by nobody"
        else:
            told.broke = task.exception()
        self.note("told", str(told))
        return told

    def _hang_up(self, told: Told, task: asyncio.Task[None]) -> None:
        if not task.done():
            told.went = "hung up"
            task.cancel()

    async def _complete(self, told: Told) -> None:
        told.pulled = self.loop.time()
        told.outcome = await told.edge.gateway.complete(told.request)

    async def _stream(self, told: Told, whim: Whim) -> None:
        told.pulled = self.loop.time()
        try:
            await self._read(told, whim)
        finally:
            # At this very moment, not when somebody tidies up.
            if any(call.asker == told.number and call.ended is None for call in self.calls):
                self.broken(f"{told}: its client has gone, and it goes on")

    async def _read(self, told: Told, whim: Whim) -> None:
        async with aclosing(told.edge.gateway.stream(told.request)) as events:
            async for event in events:
                if not told.events:
                    told.committed = self.loop.time()
                told.events.append(event)
                if isinstance(event, StreamEnd):
                    told.outcome = event.outcome
                if len(told.events) == whim.leaves_after:
                    told.went = "left"
                    return
                if whim.pauses_s:
                    await asyncio.sleep(whim.pauses_s)
                told.pulled = self.loop.time()

    # How calls go: what a transport asks of the world.

    def begin(self, edge: str, provider: str, model: str, asker: int, *, streamed: bool, limits: Limits) -> Call:
        now = self.loop.time()
        rng = self.rng
        number = len(self.calls)
        cast = healthy(
            number,
            WIRES[self.settings.providers[provider].kind],
            streamed=streamed,
            between_s=limits.between_s,
            rng=rng,
        )
        trouble = self._trouble(edge, provider, now)
        play = play_of(trouble, cast) if trouble else cast.play
        if play.fault is not None and play.fault.kind is FaultKind.CONNECT_TIMEOUT:
            play.head_s = limits.connect_s
        call = Call(number, edge, provider, model, asker, now, trouble, play)
        self.calls.append(call)
        self.note("call", str(call))
        if limits.total_s <= 0.0:
            self.broken(f"{call}: begun without any time left")
        self._check_waits(call, now)
        self._check_probe(call, now)
        return call

    def end(self, call: Call, how: str) -> None:
        call.ended, call.how = self.loop.time(), how
        self.note("end", str(call))

    def heard(self, call: Call) -> None:
        if call.play.wait_s is None:
            return
        until = self.loop.time() + call.play.wait_s
        self._told_to_wait[call.asker, call.provider, call.model] = until
        if call.play.throttles:
            key = (call.edge, call.provider)
            self._wait_until[key] = max(self._wait_until[key], until)

    def _trouble(self, edge: str, provider: str, now: float) -> str:
        for one in self.weather[provider]:
            if one.begin <= now < one.end and one.edge in ("", edge) and self.rng.random() < one.share:
                return one.trouble
        return ""

    def _adopted(self, edge: Edge, provider: str, throttled_for_s: float) -> None:
        """A wait that was published is known from now on. What hardly grew is an echo, and may be ignored."""
        key = (edge.name, provider)
        self._wait_until[key] = max(self._wait_until[key], self.loop.time() + throttled_for_s - ECHO_S)

    def _asks(self, name: str, provider: str) -> AskPermit:
        async def permit(model: str) -> Permit | Refusal | None:
            edge = next(one for one in self.edges if one.name == name)
            answer = await self.center.permit(edge, provider, model)
            self.note("asked", name, provider, str(answer))
            if not isinstance(answer, Refusal):
                task = asyncio.current_task()
                assert task is not None
                self._may_probe[task] = answer
            return answer

        return permit

    # Laws that are looked at with every call.

    def _check_waits(self, call: Call, now: float) -> None:
        """No call reaches a provider before a wait is over that its edge, or its own request, was told of."""
        until = self._wait_until[call.edge, call.provider]
        if now < until - EPSILON_S:
            self.broken(f"{call}: {until - now:.3f} s before the end of a wait that {call.edge} knew of")
        until = self._told_to_wait.get((call.asker, call.provider, call.model), 0.0)
        if now < until - EPSILON_S:
            self.broken(f"{call}: {until - now:.3f} s before the end of a wait that this request was told of")

    def _check_probe(self, call: Call, now: float) -> None:
        """Where the authority has published "open", a call has its leave, or is the one of this interval."""
        task = asyncio.current_task()
        assert task is not None
        asked = task in self._may_probe
        permit = self._may_probe.pop(task, None)
        edge = next(one for one in self.edges if one.name == call.edge)
        published = edge.published.get(call.provider)
        shut = published is not None and (published.open or any(one.open for one in published.models.values()))
        if asked and permit is None and shut:
            self.note("own probe", call.edge, call.provider)
            key = (call.edge, call.provider)
            if now < (before := self._own_probes.get(key, 0.0)) + 0.75 * self.settings.breaker.open_s - EPSILON_S:
                self.broken(f"{call}: the last own probe was only {now - before:.3f} s ago")
            self._own_probes[key] = now
        elif not asked and published is not None and published.open:
            self.broken(f"{call}: {call.provider} is published as open, and nobody gave leave")

    # After the weather.

    def _mend_keys(self) -> None:
        """Keys that were refused are good again in ten minutes, or with a free call, which nobody makes here."""
        for edge in self.edges:
            for provider in edge.providers.values():
                provider.standing.gate.keys.hold(())
                provider.standing.gate.keys.hold(provider.spec.secrets.values())
        for authority in self.center.authorities.values():
            authority._keys.clear()

    async def heal(self) -> None:
        """All is well again: everybody must notice in bounded time, and then every request succeeds at once."""
        self.note("weather over")
        open_s, ttl_s = self.settings.breaker.open_max_s, self.settings.breaker.probe_ttl_s
        until = self.loop.time() + LONGEST_THROTTLE_S + 4.0 * (open_s + ttl_s) + 30.0
        looks = 0
        # Once is not enough: reports that were held up may open a breaker that was closed.
        while looks < 2:
            self._mend_keys()
            shut = await self._shut()
            if self.loop.time() > until:
                self.broken(f"still shut long after all trouble: {', '.join(shut.values())}")
                break
            looks = 0 if shut else looks + 1
            # Some who knock do not wait for the answer: they must not keep the door shut for the others.
            await asyncio.gather(*(self._knock(one, impatient=self.rng.random() < 0.2) for one in shut))
            await asyncio.sleep(1.0 if shut else LATE_S)
        self.note("healed")
        for _ in range(2):
            told = await asyncio.gather(*(self._knock(name) for name in self._doors()))
            for one in told:
                if not isinstance(one.outcome, Completion) or len(one.outcome.attempts) != 1:
                    self.broken(f"{one}: all is well, and it fails: {one.outcome}")

    def _doors(self) -> list[tuple[int, str]]:
        return [(index, name) for index in range(len(self.edges)) for name in self.settings.providers]

    async def _shut(self) -> dict[tuple[int, str], str]:
        shut = {}
        for index, name in self._doors():
            provider = self.edges[index].providers[name]
            status = await provider.status()
            wait_s = provider.vitals("m", self.loop.time()).retry_in_s
            if not status.available or status.breaker != "closed" or wait_s > 0.0:
                shut[index, name] = f"{name} at {self.edges[index].name} is {status}"
        for name, authority in self.center.authorities.items():
            published = authority.published(self.loop.time())
            own = published.models.get("m")
            if published.open or published.throttled_for_s > 0.0 or (own is not None and own.is_shut):
                for index in range(len(self.edges)):
                    shut.setdefault((index, name), f"{name} is shut by its authority")
        return shut

    async def _knock(self, door: tuple[int, str], *, impatient: bool = False) -> Told:
        index, provider = door
        number = next(self._numbers)
        asked = ask(f"request {number}.", model=f"{provider}/m", stream=bool(number % 2))
        whim = Whim(
            at=0.0,
            edge=index,
            request=replace(asked, deadline_s=15.0),
            hangs_up_s=self.rng.uniform(0.0, 0.4) if impatient else None,
        )
        return await self._visit(number, whim)


def _settings(rng: random.Random) -> Settings:
    providers: dict[str, Any] = {}
    for index in range(rng.randint(1, 3)):
        kind = rng.choice(("custom", "anthropic"))
        providers[f"p{index}"] = {
            "kind": kind,
            "base_url": f"http://p{index}.test",
            "api_key": "sk-simulated",
            "models": ("m", "n"),
            **({"fallback_models": ("n",)} if rng.random() < 0.2 else {}),
            **({"max_in_flight": rng.randint(1, 6)} if rng.random() < 0.2 else {}),
        }
    return Settings.model_validate(
        {
            "providers": providers,
            "strategy": rng.choice(("round_robin", "latency")),
            "timeouts": {"connect_s": 1.0, "first_byte_s": 3.0, "between_s": 2.0, "total_s": 20.0},
            "retry": {
                "max_attempts": rng.randint(1, 6),
                "per_provider": rng.randint(1, 3),
                "budget_ratio": rng.choice((0.0, 0.2, 1.0)),
            },
            "breaker": {
                "failures": rng.choice((2, 3, 5, 50)),
                "open_s": rng.choice((2.0, 5.0, 10.0)),
                "open_max_s": 20.0,
                "probe_ttl_s": rng.choice((2.0, 5.0)),
            },
        }
    )
