"""Who chooses: the strategies as they are shipped, oracles, and what others published.

`oracle` knows the present: every server's line and how long each call in it will still take, its true speed at this
moment, whether it fails, and how long this request's answer will be. It asks where that answer is expected first.
Without the length it is the best that anybody could do who knows all of the servers and nothing of the answer.
`clairvoyant` knows the future besides: the luck that the request will have at each server. Nobody can know that, so it
bounds what could be, and not what could be done.

LiteLLM's and agentgateway's formulas are written from descriptions of their routers, not from their code:
- LiteLLM, lowest latency: per process, the mean of the last ten samples of seconds ÷ completion tokens; unmeasured
  ones first; at random among the lowest. Failures set no sample; more than half of five or more in a minute cool a
  deployment down for five seconds.
- agentgateway: the better of two random ones by health / (1 + latency × (1 + 0.1 × pending)), both EWMAs with α = 0.3,
  latency of successes only. Its eviction of failing endpoints is left out, as our breaker is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from bench.balance.simulate import CANDIDATES, Asking, Edge, Policy, World
from bench.balance.world import MEAN_TOKENS
from runtime.balance.entry import Asked, Entry
from runtime.balance.plan import Routing, StrategyName, plan, usual_lengths
from runtime.balance.turns import Turns


class _Silent:
    def saw(self, edge: Edge, server: int, latency_s: float, tokens: int, *, ok: bool, now: float) -> None:
        """Learns nothing from answers beyond what every edge measures."""


class Oracle(_Silent):
    def __init__(self, *, luck: bool = False, lengths: bool = True) -> None:
        self.name = "clairvoyant" if luck else "oracle" if lengths else "oracle, lengths unknown"
        self._luck = luck
        self._lengths = lengths

    def pick(self, edge: Edge, asking: Asking, world: World) -> int:
        asking = asking if self._lengths else replace(asking, tokens=round(MEAN_TOKENS))

        def ends(server: int) -> float:
            if world.scenario.servers[server].fails(asking.now):
                return math.inf
            return world.lines[server].starts(asking.now) + world.takes_s(server, asking, luck=self._luck)

        return min(asking.left, key=ends)


class Random(_Silent):
    name = "random"

    def pick(self, edge: Edge, asking: Asking, world: World) -> int:
        return world.rng.choice(asking.left)


class LiteLLM:
    name = "litellm"

    def pick(self, edge: Edge, asking: Asking, world: World) -> int:
        cooled = edge.memory.setdefault("cooled", {})
        assert isinstance(cooled, dict)
        usable = [one for one in asking.left if cooled.get(one, 0.0) <= asking.now] or list(asking.left)
        means = {one: _mean(edge.memory.get(one)) for one in usable}
        lowest = min(means.values())
        return world.rng.choice([one for one in usable if means[one] <= lowest])

    def saw(self, edge: Edge, server: int, latency_s: float, tokens: int, *, ok: bool, now: float) -> None:
        if ok:
            samples = edge.memory.setdefault(server, [])
            assert isinstance(samples, list)
            samples.append(latency_s / tokens)
            del samples[:-10]
        minute = (server, int(now // 60))
        good, bad = edge.memory.get(minute, (0, 0))  # type: ignore[misc]
        edge.memory[minute] = good, bad = good + ok, bad + (not ok)
        if good + bad >= 5 and bad > good:
            cooled = edge.memory["cooled"]
            assert isinstance(cooled, dict)
            cooled[server] = now + 5.0


def _mean(samples: object) -> float:
    return sum(samples) / len(samples) if isinstance(samples, list) and samples else 0.0


class AgentGateway:
    name = "agentgateway"

    def pick(self, edge: Edge, asking: Asking, world: World) -> int:
        two = world.rng.sample(asking.left, min(2, len(asking.left)))

        def score(server: int) -> float:
            health, latency = edge.memory.get(server, (1.0, 0.0))  # type: ignore[misc]
            return float(health / (1.0 + latency * (1.0 + 0.1 * edge.in_flight[server])))

        return max(two, key=score)

    def saw(self, edge: Edge, server: int, latency_s: float, tokens: int, *, ok: bool, now: float) -> None:
        health, latency = edge.memory.get(server, (1.0, 0.0))  # type: ignore[misc]
        if ok:
            latency = latency_s if latency == 0.0 else 0.7 * latency + 0.3 * latency_s
        edge.memory[server] = (0.7 * health + 0.3 * ok, latency)


class Ours(_Silent):
    """A strategy as it is shipped. `lengths`: as if somebody knew how long each answer will be, as the oracle does."""

    def __init__(self, strategy: StrategyName, *, lengths: bool = False) -> None:
        self.name = f"{strategy}, lengths known" if lengths else strategy
        self._routing = Routing(strategy=strategy)
        self._lengths = lengths

    def pick(self, edge: Edge, asking: Asking, world: World) -> int:
        entries = [self._entry(edge, server, asking.now) for server in asking.left]
        # All are of one model: it is the model that makes answers long.
        usual = usual_lengths((one.candidate.model, one.output_tokens) for one in entries)
        for one in entries:
            one.output_tokens = usual.get(one.candidate.model)
        # Otherwise the model's usual length counts, which is learned.
        asked = Asked(output_tokens=float(asking.tokens) if self._lengths else None)
        turns = edge.memory.setdefault("turns", Turns())
        assert isinstance(turns, Turns)
        chosen = plan(entries, asked, self._routing, turns=turns, key="model", rng=world.rng)
        return int(chosen.candidates[0].provider.removeprefix("server"))

    def _entry(self, edge: Edge, server: int, now: float) -> Entry:
        own, shared = edge.own[server], edge.shared[server]
        pace = own if shared.at is None else shared
        heard = max((at for at in (own.at, shared.at) if at is not None), default=None)
        # What we saw ourselves since the last report counts at once.
        failed = max(pace.failed, own.failed) if own.at is not None and own.at >= edge.seen_at else pace.failed
        return Entry(
            candidate=CANDIDATES[server],
            in_flight=edge.in_flight[server],
            others_in_flight=edge.others[server],
            ttft_s=pace.ttft_s,
            per_token_s=pace.per_token_s,
            usual_load=pace.usual_load,
            silent_s=now - min(edge.waiting[server].values(), default=now),
            output_tokens=pace.output_tokens,
            failed=failed,
            measured_ago_s=None if heard is None else now - heard,
        )


POLICIES: dict[str, Callable[[], Policy]] = {
    "clairvoyant": lambda: Oracle(luck=True),
    "oracle": Oracle,
    "oracle, lengths unknown": lambda: Oracle(lengths=False),
    "latency": lambda: Ours("latency"),
    "latency, lengths known": lambda: Ours("latency", lengths=True),
    "least_loaded": lambda: Ours("least_loaded"),
    "round_robin": lambda: Ours("round_robin"),
    "random": Random,
    "litellm": LiteLLM,
    "agentgateway": AgentGateway,
}
