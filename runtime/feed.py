"""What actors and edges tell each other: one versioned snapshot out, one stream of batched reports in.

    edge ──── EdgeReport (every second, jittered; at once on a change of state; none when idle) ────► manager
    edge ◄─── Snapshot (long poll: returns when there is something newer)  ────────────────────────── manager

Moments cross as seconds remaining. `(incarnation, version)` orders snapshots: an incarnation is a number that
its owner takes from durable storage each time it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from runtime.balance.pace import Timings, batch_of
from runtime.cache.answers import Forget
from runtime.keyring import KeyState
from runtime.metrics.meter import Served
from runtime.outcome import Blame, Completion, Embeddings, Failure, FailureKind
from runtime.reports import ModelUsage
from runtime.request import Json
from runtime.wire import crosses


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class DoorState:
    """A provider or one of its models as its authority sees it. `open` means: nobody calls before `retry_in_s`, then
    only with a probe's permit. `throttled_for_s` is what the provider itself asked us to wait; by `wait_id` the edge
    that was told so knows it again. `ramp_left_s` is for how long it does not get its full share of the traffic yet,
    having just healed."""

    open: bool = False
    retry_in_s: float = 0.0
    throttled_for_s: float = 0.0
    why: str = ""
    ramp_left_s: float = 0.0
    wait_id: int = 0

    @property
    def is_shut(self) -> bool:
        return self.open or self.throttled_for_s > 0.0

    @property
    def wait_s(self) -> float:
        return max(self.retry_in_s, self.throttled_for_s)

    def aged(self, elapsed_s: float) -> DoorState:
        """The same state `elapsed_s` later."""
        return replace(
            self,
            retry_in_s=max(0.0, self.retry_in_s - elapsed_s),
            throttled_for_s=max(0.0, self.throttled_for_s - elapsed_s),
            ramp_left_s=max(0.0, self.ramp_left_s - elapsed_s),
        )

    @property
    def is_news(self) -> bool:
        """True if it says more than that all is well."""
        return self.is_shut or self.ramp_left_s > 0.0


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """All that an authority says of its provider: of the whole (as in `DoorState`), of the models that are shut by
    themselves, and of the keys that are not to be used.

    `spell` rises with every change of any of these doors. Calls carry the newest one that their edge had heard of
    when they began, and a door counts only those that began in its present state.
    """

    provider: str
    spell: int = 0
    open: bool = False
    retry_in_s: float = 0.0
    throttled_for_s: float = 0.0
    why: str = ""
    ramp_left_s: float = 0.0
    models: Mapping[str, DoorState] = field(default_factory=dict)
    keys: tuple[KeyState, ...] = ()
    wait_id: int = 0

    @property
    def whole(self) -> DoorState:
        """The provider's own door."""
        return DoorState(
            open=self.open,
            retry_in_s=self.retry_in_s,
            throttled_for_s=self.throttled_for_s,
            why=self.why,
            ramp_left_s=self.ramp_left_s,
            wait_id=self.wait_id,
        )

    def aged(self, elapsed_s: float) -> Published:
        """The same state `elapsed_s` later."""
        whole = self.whole.aged(elapsed_s)
        keys = (replace(one, retry_in_s=one.retry_in_s - elapsed_s) for one in self.keys)
        return replace(
            self,
            retry_in_s=whole.retry_in_s,
            throttled_for_s=whole.throttled_for_s,
            ramp_left_s=whole.ramp_left_s,
            models={model: aged for model, state in self.models.items() if (aged := state.aged(elapsed_s)).is_news},
            keys=tuple(one for one in keys if one.retry_in_s > 0.0),
        )


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What all edges together saw of one model at one provider, as in `Pace`. None while unmeasured.

    `latency_s` is of whole answers, for people; `heard_ago_s` since any of them last heard from it.
    """

    provider: str
    model: str
    latency_s: float | None = None
    ttft_s: float | None = None
    per_token_s: float | None = None
    usual_load: float = 0.0
    output_tokens: float | None = None
    failed: float = 0.0
    heard_ago_s: float | None = None


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a provider that we run ourselves listens; it may move when its actor restarts.

    `copies` are the base URLs of all its servers, where there may be several; then `base_url` is only what calls are
    addressed to before one of them is chosen.
    """

    provider: str
    base_url: str
    api_key: str = field(repr=False, default="")
    node: str = ""
    copies: tuple[str, ...] = ()


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """What an edge must know of a caller's key to admit it. Keys themselves are never kept, only SHA-256."""

    sha256: str
    name: str
    tenant: str = "default"
    admin: bool = False


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsNews:
    """What edges must know at once of a ledger's accounts: that they have changed, and which keys were revoked.

    `epoch` rises with every new owner of the ledger, `version` with every change under it.
    """

    epoch: int
    version: int
    revoked: tuple[str, ...] = ()

    @property
    def stamp(self) -> tuple[int, int]:
        return (self.epoch, self.version)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The whole published state. `settings` is left out (None) for a reader that has that version already.

    `others_in_flight` are the calls at each provider that everybody but the reader has under way. `watched` are the
    types of events that somebody listens to (`runtime.events`). `forgets` are the last words about what is to be
    forgotten of remembered answers, in the order of their numbers.
    """

    incarnation: int
    version: int
    settings_version: int = 0
    settings: Mapping[str, Json] | None = None
    providers: tuple[Published, ...] = ()
    measured: tuple[Measured, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    keys: tuple[KeyInfo, ...] = ()
    others_in_flight: Mapping[str, int] = field(default_factory=dict)
    accounts: AccountsNews | None = None
    watched: tuple[str, ...] = ()
    forgets: tuple[Forget, ...] = ()

    @property
    def stamp(self) -> tuple[int, int]:
        return (self.incarnation, self.version)


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What one edge saw of one model at one provider since its last report, summed up.

    `spell` is the authority's newest one when these calls began; a door that has changed since ignores them.
    `unreached` of the `bad` ones never reached the provider. `throttled_for_s` shuts the provider,
    `model_throttled_for_s` the model, `keys` are the keys whose state has changed. `pace` is how fast they were; an
    edge that leaves it out tells no more than the sum of its answers' times.
    """

    provider: str
    model: str
    spell: int
    good: int = 0
    bad: int = 0
    silent: int = 0
    answered: int = 0
    latency_sum_s: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nanousd: int = 0
    input_cost_nanousd: int = 0
    output_cost_nanousd: int = 0
    unpriced: int = 0
    estimated: int = 0
    throttled_for_s: float = 0.0
    failures: Mapping[str, int] = field(default_factory=dict)
    unreached: int = 0
    model_throttled_for_s: float = 0.0
    keys: tuple[KeyState, ...] = ()
    wait_id: int = 0
    model_wait_id: int = 0
    cached_input_cost_nanousd: int = 0
    cache_write_cost_nanousd: int = 0
    reasoning_cost_nanousd: int = 0
    per_call_cost_nanousd: int = 0
    pace: Timings | None = None

    @property
    def batch(self) -> Timings:
        """The same for a `Pace`."""
        if self.pace is not None:
            return self.pace
        failed = self.bad + self.failures.get(FailureKind.RATE_LIMITED, 0)
        return Timings(begun=self.answered, ttft_s=self.latency_sum_s, failed=failed)

    def aged(self, elapsed_s: float) -> Observed:
        """The same, told `elapsed_s` later."""
        keys = (replace(one, retry_in_s=one.retry_in_s - elapsed_s) if one.why else one for one in self.keys)
        return replace(
            self,
            throttled_for_s=max(0.0, self.throttled_for_s - elapsed_s),
            model_throttled_for_s=max(0.0, self.model_throttled_for_s - elapsed_s),
            keys=tuple(one for one in keys if not one.why or one.retry_in_s > 0.0),
        )

    @property
    def waits(self) -> Observed | None:
        """Its waits and keys alone, if it has any: told twice, they say no more than once."""
        if not (self.keys or self.throttled_for_s or self.model_throttled_for_s):
            return None
        return Observed(
            provider=self.provider,
            model=self.model,
            spell=self.spell,
            throttled_for_s=self.throttled_for_s,
            model_throttled_for_s=self.model_throttled_for_s,
            keys=self.keys,
            wait_id=self.wait_id,
            model_wait_id=self.model_wait_id,
        )

    def usage(self) -> ModelUsage:
        """The same for the usage book."""
        failed = sum(self.failures.values())
        return ModelUsage(
            requests=self.answered + failed,
            answered=self.answered,
            errors=failed - self.failures.get(FailureKind.CANCELLED, 0),
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached_input_tokens=self.cached_input_tokens,
            cache_write_tokens=self.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens,
            cost_nanousd=self.cost_nanousd,
            input_cost_nanousd=self.input_cost_nanousd,
            output_cost_nanousd=self.output_cost_nanousd,
            cached_input_cost_nanousd=self.cached_input_cost_nanousd,
            cache_write_cost_nanousd=self.cache_write_cost_nanousd,
            reasoning_cost_nanousd=self.reasoning_cost_nanousd,
            per_call_cost_nanousd=self.per_call_cost_nanousd,
            unpriced_requests=self.unpriced,
            estimated_requests=self.estimated,
            latency_sum_s=self.latency_sum_s,
        )


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeReport:
    """One batch. `sequence` rises by one per batch of this edge's life, so that a repeated one counts once.

    `shut` is for how long this edge itself calls a provider no more, or a model ("provider/model"). Once after each
    start of a manager, `incarnation` is that manager's, and `views` are what is published shut as far as this edge
    knows, for authorities that may have started again, too. `through_actors` are its calls that a provider's actor
    carries; that one counts them in its `in_flight`, and says by `relays` that they are others'. `served` are
    requests that have ended.
    """

    edge: str
    sequence: int
    node: str = ""
    pid: int = 0
    observed: tuple[Observed, ...] = ()
    in_flight: Mapping[str, int] = field(default_factory=dict)
    shut: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    incarnation: int = 0
    views: tuple[Published, ...] = ()
    through_actors: Mapping[str, int] = field(default_factory=dict)
    relays: bool = False
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Calls that wait for a place at a provider, in this process's queue."""
    served: tuple[Served, ...] = ()

    def aged(self, elapsed_s: float) -> EdgeReport:
        """The same, told `elapsed_s` later: a wait is over when it would have been."""
        return replace(
            self,
            observed=tuple(one.aged(elapsed_s) for one in self.observed),
            shut={name: wait_s - elapsed_s for name, wait_s in self.shut.items() if wait_s > elapsed_s},
            views=tuple(view.aged(elapsed_s) for view in self.views),
        )


@dataclass(slots=True)
class _Sum:
    good: int = 0
    bad: int = 0
    silent: int = 0
    answered: int = 0
    latency_sum_s: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nanousd: int = 0
    input_cost_nanousd: int = 0
    output_cost_nanousd: int = 0
    cached_input_cost_nanousd: int = 0
    cache_write_cost_nanousd: int = 0
    reasoning_cost_nanousd: int = 0
    per_call_cost_nanousd: int = 0
    unpriced: int = 0
    estimated: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    unreached: int = 0
    pace: Timings = field(default_factory=Timings)


@dataclass(slots=True)
class _Waits:
    """Moments, for a wait that is told late must not begin anew; of each key the newest state, and when it was."""

    whole: tuple[float, int] = (0.0, 0)
    model: tuple[float, int] = (0.0, 0)
    keys: dict[tuple[str, str], tuple[KeyState, float]] = field(default_factory=dict)

    def note(self, keys: tuple[KeyState, ...], now: float) -> None:
        for one in keys:
            self.keys[(one.key, one.model)] = (one, now)

    def left(self, now: float) -> dict[str, Any]:
        """As `Observed` has them."""
        return {
            "throttled_for_s": max(0.0, self.whole[0] - now),
            "wait_id": self.whole[1],
            "model_throttled_for_s": max(0.0, self.model[0] - now),
            "model_wait_id": self.model[1],
            "keys": tuple(
                replace(one, retry_in_s=max(0.0, one.retry_in_s - now + at)) for one, at in self.keys.values()
            ),
        }


_SUMMED = tuple(column.name for column in fields(_Sum))

MOST_SUMS = 500
"""Names come from callers, so they must not fill the memory while nobody takes the report; the rest is `OTHER`."""

OTHER = "other"


class Observations:
    """Sums up outcomes until the next report. Bounded by the number of models, not of requests, and by `MOST_SUMS`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sums: dict[tuple[str, str, int], tuple[_Sum, _Waits]] = {}

    def __bool__(self) -> bool:
        return bool(self._sums)

    def add(
        self,
        provider: str,
        model: str,
        outcome: Completion | Embeddings | Failure,
        *,
        spell: int,
        latency_s: float,
        keys: tuple[KeyState, ...] = (),
        wait_id: int = 0,
        pace: Timings | None = None,
    ) -> None:
        """`keys` are those whose state this call has changed, `wait_id` is of the wait that it was told, if any.

        `pace` is how fast it was, if not simply as fast as its `latency_s` says.
        """
        total, waits = self._sum(provider, model, spell)
        total.pace += pace or batch_of(outcome, latency_s, load=0)
        waits.note(keys, self._clock())
        if isinstance(outcome, Failure):
            blame = outcome.handling.blame
            total.failures[outcome.kind] = total.failures.get(outcome.kind, 0) + 1
            if blame is Blame.GOOD:
                total.good += 1
            elif blame is Blame.BAD:
                total.bad += 1
                total.unreached += outcome.scope == "provider"
            else:
                total.silent += 1
            if blame is Blame.BAD or outcome.kind is FailureKind.RATE_LIMITED:
                wait = (self._clock() + (outcome.retry_after_s or 0.0), wait_id)
                if outcome.scope == "model":
                    waits.model = max(waits.model, wait)
                elif outcome.scope != "key":
                    waits.whole = max(waits.whole, wait)
        else:
            total.good += 1
            total.answered += 1
            total.latency_sum_s += latency_s
        if outcome.usage is None:
            return
        total.input_tokens += outcome.usage.input_tokens
        total.output_tokens += outcome.usage.output_tokens
        total.cached_input_tokens += outcome.usage.cached_input_tokens
        total.cache_write_tokens += outcome.usage.cache_write_tokens
        total.reasoning_tokens += outcome.usage.reasoning_tokens
        total.estimated += outcome.usage.estimated
        if outcome.cost is None:
            total.unpriced += 1
        else:
            total.cost_nanousd += outcome.cost.total_nanousd
            total.input_cost_nanousd += outcome.cost.input_nanousd
            total.output_cost_nanousd += outcome.cost.output_nanousd
            total.cached_input_cost_nanousd += outcome.cost.cached_input_nanousd
            total.cache_write_cost_nanousd += outcome.cost.cache_write_nanousd
            total.reasoning_cost_nanousd += outcome.cost.reasoning_nanousd
            total.per_call_cost_nanousd += outcome.cost.per_call_nanousd

    def began(self, provider: str, model: str, pace: Timings, *, spell: int) -> None:
        """A stream has given its first content; its outcome follows when the call ends."""
        self._sum(provider, model, spell)[0].pace += pace

    def probe_succeeded(self, provider: str, model: str, *, spell: int, keys: tuple[KeyState, ...] = ()) -> None:
        """A probe's first content arrived; its outcome follows when the call ends."""
        total, waits = self._sum(provider, model, spell)
        total.good += 1
        waits.note(keys, self._clock())

    def probe_unused(self, provider: str, model: str, *, spell: int) -> None:
        """A probe was permitted, and nobody was asked after all."""
        self._sum(provider, model, spell)[0].silent += 1

    def _sum(self, provider: str, model: str, spell: int) -> tuple[_Sum, _Waits]:
        key = (provider, model, spell)
        if key not in self._sums and len(self._sums) >= MOST_SUMS:
            key = (provider, OTHER, spell)
        if key not in self._sums:
            self._sums[key] = (_Sum(), _Waits())
        return self._sums[key]

    def take(self) -> tuple[Observed, ...]:
        """All sums so far; starts anew."""
        taken = self.peek()
        self._sums = {}
        return taken

    def peek(self) -> tuple[Observed, ...]:
        """All sums so far; goes on."""
        now = self._clock()
        return tuple(
            Observed(
                provider=provider,
                model=model,
                spell=spell,
                **{name: getattr(total, name) for name in _SUMMED},
                **waits.left(now),
            )
            for (provider, model, spell), (total, waits) in self._sums.items()
        )


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityPolicy:
    """When the cluster-wide breaker opens: at `failure_rate` over `span_s` seconds, once `min_calls` were seen there.

    An edge that was silent for `edge_ttl_s` no longer counts among those that have to agree. A provider that nobody
    called for `health_every_s` is asked by a free call; 0: never.
    """

    open_s: float = 30.0
    probe_ttl_s: float = 30.0
    failure_rate: float = 0.5
    span_s: float = 10.0
    min_calls: int = 10
    edge_ttl_s: float = 30.0
    open_max_s: float = 60.0
    ramp_s: float = 10.0
    health_every_s: float = 30.0


@crosses
@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What the manager brings to a provider's authority: each edge's observations, and what it may have missed.

    An authority that has just (re)started goes on from `last`, the state that it published last, and with spells
    above `spell_floor`; a running one ignores both. `views` are those of edges that came too late for `last`.
    `settings` and `endpoint` are for its free calls; `settings` is left out while they are what they were.
    """

    policy: AuthorityPolicy
    spell_floor: int
    last: Published | None = None
    batches: Mapping[str, tuple[Observed, ...]] = field(default_factory=dict)
    views: tuple[Published, ...] = ()
    settings: Mapping[str, Json] | None = None
    endpoint: Endpoint | None = None
