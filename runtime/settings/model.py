"""The settings: one frozen value, parsed once at the edge.

Every key here is read by something; a key that nobody reads is a promise broken, so it is refused as unknown.
Seconds end in `_s`. Prices are dollars per million tokens, as price lists are written; inside they are integers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, JsonValue, SecretStr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from runtime.balance.plan import StrategyName
from runtime.models import Feature, Parameter
from runtime.settings.hooks import AlertSettings, Hook
from runtime.settings.managed import ManagedSettings
from runtime.settings.parts import STRICT, Count, Seconds
from runtime.settings.prices import PriceList, PriceSettings, Usd
from runtime.settings.problems import BadSettings
from runtime.settings.report import problems_of
from runtime.settings.routes import HedgeSettings, RouteSettings, Share
from runtime.settings.secrets import REVEAL, EnvReference, Secret


class _Part(BaseModel):
    model_config = STRICT


Port = Annotated[int, Field(ge=0, le=65_535)]


class ProviderKind(StrEnum):
    """Who made the upstream: it decides the dialect, the default address and whose price list applies.

    A server that merely speaks OpenAI is `CUSTOM`: it has no price list.
    """

    OPENAI = "openai"
    OPENROUTER = "openrouter"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    COHERE = "cohere"
    OLLAMA = "ollama"
    RUVLLM = "ruvllm"
    LOCAL = "local"
    SCRIPTED = "scripted"
    CUSTOM = "custom"

    @classmethod
    def _missing_(cls, value: object) -> ProviderKind | None:
        """The first system's name for what asks a ruvLLM server."""
        return cls.RUVLLM if value == "ruvector" else None


BASE_URL: dict[ProviderKind, str] = {
    ProviderKind.OPENAI: "https://api.openai.com/v1",
    ProviderKind.OPENROUTER: "https://openrouter.ai/api/v1",
    ProviderKind.ANTHROPIC: "https://api.anthropic.com/v1",
    ProviderKind.GOOGLE: "https://generativelanguage.googleapis.com/v1beta",
    ProviderKind.COHERE: "https://api.cohere.com",
    ProviderKind.OLLAMA: "http://127.0.0.1:11434",
}

VERSIONED: dict[ProviderKind, str] = {ProviderKind.ANTHROPIC: "/v1", ProviderKind.GOOGLE: "/v1beta"}
"""The version at which addresses of these kinds end; it is added to one that names none, as their own SDKs do."""

FOREIGN_END: dict[ProviderKind, re.Pattern[str]] = {
    ProviderKind.GOOGLE: re.compile(r"/openai/?$"),
    ProviderKind.COHERE: re.compile(r"/(compatibility/v1|v1|v2)/?$"),
    ProviderKind.OLLAMA: re.compile(r"/(v1|api)/?$"),
    ProviderKind.RUVLLM: re.compile(r"/(v1|query)/?$"),
}
"""Ends of addresses that are not the kind's own: mostly those of the OpenAI-compatible endpoints beside it."""


MANAGED = (ProviderKind.CUSTOM, ProviderKind.LOCAL, ProviderKind.OLLAMA)
"""Kinds whose servers Raygate can run itself."""

OURSELVES = "raygate"
"""In reports and failures this names Raygate itself, so no provider may be called so."""


class Reach(StrEnum):
    """From where a provider can be called: anywhere, on its own node, or through its actor alone."""

    ANY = "any"
    NODE = "node"
    ACTOR = "actor"


class ModelSettings(_Part):
    """What you know better than the catalogue about one model. `quality` is for `balanced`, in [0, 1]; learning starts
    from it instead of from the published figure.

    `features` replaces the catalogue's list: what it does not name, the model is taken not to have, and a request that
    needs it goes elsewhere or is refused. `unsupported_parameters` replaces the catalogue's: a request that has them
    is sent without, and its answer says so.
    """

    price: PriceSettings | None = None
    context_length: Count | None = None
    max_output_tokens: Count | None = None
    quality: Annotated[float, Field(ge=0, le=1)] | None = None
    features: tuple[Feature, ...] | None = None
    unsupported_parameters: tuple[Parameter, ...] | None = None


class SamplingDefaults(_Part):
    """Used where a request says nothing. Names as in `runtime.request.Sampling`."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Count | None = None
    max_tokens: Count | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    stop: tuple[str, ...] = ()


class ProviderSettings(_Part):
    """One upstream. Several of one kind may stand side by side under different names.

    `models` limits what bare model names may find here; empty means whatever the catalogue knows of this kind.
    `fallback_models` are asked in order, at this provider, when the model asked for fails as another need not; behind
    them `fallbacks`, which are names as in a route: `provider/model`, a provider, a model. Of a `ruvllm` provider they
    are Ollama and the embedded model, unless they are said here; `[]` is nobody.
    `max_cost_usd` bounds the estimate of one request, instead of the general one: a dearer one goes elsewhere, or
    is refused.
    `priority`: among providers that serve the same bare name, higher ones come first. `weight` is its part of the
    traffic where a strategy goes by weights; `tags` are words that a route's `residency` may demand.
    `retry_attempts` and `timeout_s` replace `retry.per_provider` and `timeouts.total_s` for this provider.
    `api_keys` are several keys, instead of one `api_key`: they take turns, and one that is refused or throttled stands
    aside.
    `dialect` of a `custom` provider that does not speak OpenAI's: another one's name, or `module:Class` of yours.
    `script` is what a `scripted` provider plays. `managed`: Raygate runs the server itself, and knows where it listens.
    """

    kind: ProviderKind
    dialect: str = ""
    base_url: str = ""
    api_key: Secret | None = None
    api_keys: tuple[Secret, ...] = ()
    headers: dict[str, Secret] = {}
    models: tuple[str, ...] = ()
    default_model: str = ""
    fallback_models: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] | None = None
    # Never shown: people put tokens here too.
    options: Annotated[dict[str, JsonValue], Field(repr=False)] = {}
    sampling: SamplingDefaults = SamplingDefaults()
    timeout_s: Seconds | None = None
    retry_attempts: Count | None = None
    max_in_flight: Count | None = None
    enabled: bool = True
    priority: int = 0
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    tags: tuple[str, ...] = ()
    reach: Reach = Reach.ANY
    price: PriceSettings | None = None
    max_cost_usd: Usd | None = None
    script: JsonValue = None
    managed: ManagedSettings | None = None

    @model_validator(mode="after")
    def _addressed(self) -> ProviderSettings:
        if self.base_url and not re.match(r"https?://[^/\s]+", self.base_url):
            raise PydanticCustomError("base_url", "`base_url` should begin with http:// or https:// and a host")
        if self.managed is not None:
            if self.kind not in MANAGED:
                raise PydanticCustomError("managed", "only a provider of kind custom, local or ollama can be `managed`")
            if self.base_url or self.secrets:
                raise PydanticCustomError("managed", "is `managed`: its address and its key are not for you to choose")
            if self.kind is ProviderKind.CUSTOM and not self.managed.command:
                raise PydanticCustomError("managed", "`managed` of kind `custom` needs a `command`")
        elif self.kind in (ProviderKind.CUSTOM, ProviderKind.RUVLLM) and not self.base_url:
            raise PydanticCustomError("base_url", "needs a `base_url`: this kind has no address of its own")
        foreign = FOREIGN_END.get(self.kind)
        if foreign and (end := foreign.search(self.base_url)):
            raise PydanticCustomError(
                "base_url",
                "`base_url` of a provider of kind `{kind}` should end before `{end}`, which is added where it belongs "
                "(an OpenAI-compatible endpoint is of kind `custom`)",
                {"kind": self.kind.value, "end": end[0].rstrip("/")},
            )
        if self.api_key is not None and self.api_keys:
            raise PydanticCustomError("api_keys", "has both `api_key` and `api_keys`: put all keys into `api_keys`")
        if self.dialect and self.kind is not ProviderKind.CUSTOM:
            raise PydanticCustomError("dialect", "only a provider of kind `custom` has a `dialect` to choose")
        if self.script is not None and self.kind is not ProviderKind.SCRIPTED:
            raise PydanticCustomError("script", "only a provider of kind `scripted` plays a `script`")
        return self

    @property
    def secrets(self) -> tuple[EnvReference | SecretStr, ...]:
        """Its key or keys, in the order in which they stand."""
        return self.api_keys if self.api_key is None else (self.api_key,)

    @property
    def url(self) -> str:
        """Where calls go: `base_url`, else this kind's own address; empty for what needs none."""
        url = (self.base_url or BASE_URL.get(self.kind, "")).rstrip("/")
        version = VERSIONED.get(self.kind)
        named = version is None or "api_version" in self.options or re.search(r"/v\d\w*$", url)
        return url if named else f"{url}{version}"


class Timeouts(_Part):
    """Seconds, as in `runtime.transport.base.Limits`.

    A stream whose contents lie further apart than the longer of `between_s` and `first_byte_s` has stalled, whatever
    else it sends. One that gives fewer than `min_tokens_per_s` over 10 s is given up; 0 asks for none.
    """

    connect_s: Seconds = 5.0
    first_byte_s: Seconds = 60.0
    between_s: Seconds = 30.0
    total_s: Seconds = 600.0
    min_tokens_per_s: Annotated[float, Field(ge=0)] = 0.0


class RetrySettings(_Part):
    """`max_attempts` counts all providers together; 1 switches failover and retry off.

    `budget_ratio`: retries may be at most this share of the requests, so that an outage is not multiplied.
    """

    max_attempts: Count = 4
    per_provider: Count = 2
    base_s: Seconds = 0.2
    cap_s: Seconds = 5.0
    budget_ratio: Annotated[float, Field(ge=0, le=1)] = 0.2


class BreakerSettings(_Part):
    """`failures` in a row shut a model, or a provider, for `open_s`, and each time that it fails again for twice as
    long, up to `open_max_s`; a probe that never reports is forgotten after `probe_ttl_s`. What has healed gets its full
    share of the traffic back over `ramp_s`.
    """

    failures: Count = 5
    open_s: Seconds = 30.0
    open_max_s: Seconds = 60.0
    probe_ttl_s: Seconds = 30.0
    ramp_s: Annotated[float, Field(ge=0)] = 10.0


class HealthSettings(_Part):
    """How often a provider that nobody calls, or a key that was refused, is tried by a call that costs nothing; 0 for
    never."""

    every_s: Annotated[float, Field(ge=0)] = 30.0


class FeedSettings(_Part):
    """How often edges report what they saw, and how long their poll for news stays open."""

    report_every_s: Seconds = 1.0
    poll_s: Seconds = 10.0


class AdmissionSettings(_Part):
    """How many requests each process (a replica, the manager, a provider's actor) carries at once; how many more may
    wait for a place there, and how long at most. Then a request is refused, with a hint when to come again.

    `max_wait_s` and `max_queued` also hold for the queue of each provider that has a `max_in_flight` of its own.
    """

    max_in_flight: Count = 1_024
    max_queued: Annotated[int, Field(ge=0)] = 512
    max_wait_s: Seconds = 2.0


class CacheSettings(_Part):
    """Remembered answers to equal requests. Off unless asked for: a repeated question may want a new answer.

    Each process remembers up to `max_mb`. A request that names a `temperature` above 0 asks for chance: its answer is
    remembered with `sampled` alone. A route may say otherwise (`routes.NAME.cache`).
    `single_flight`: equal requests at the same time are one call, where answers are remembered or the request asks for
    the most predictable one (`temperature: 0`).
    `semantic`: an answer is also given to other words with the same meaning, as near as `threshold` (a cosine; unless
    said, what was calibrated) and not doubted by the verifier.
    `tier`: what a process does not remember it asks all replicas for, in an `actor` of up to `shared_mb`, or in the
    Redis or Valkey at `url`, which keeps its own bounds. With `edge` each remembers for itself.
    """

    enabled: bool = False
    ttl_s: Seconds = 300.0
    max_mb: Count = 64
    sampled: bool = False
    single_flight: bool = True
    semantic: bool = False
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    tier: Literal["edge", "actor", "redis"] = "edge"
    shared_mb: Count = 256
    url: Secret | None = None

    @model_validator(mode="after")
    def _reachable(self) -> CacheSettings:
        if self.tier == "redis" and self.url is None:
            raise PydanticCustomError("url", "`tier: redis` needs a `url`: redis://host:6379/0 of a Redis or Valkey")
        return self


class LedgerSettings(_Part):
    """Where attempts and accounts are written down, and how safely.

    `url` names a Postgres (postgresql://…), which several nodes need; without, a file in the state folder is used.
    Rows older than `keep_days` go, and the oldest where they need more than `max_mb`; their sums by hour stay.
    While the ledger is away, a request beyond what this process has in hand is refused (`fail_closed`), or let go on
    for up to `open_usd` of each budget (`bounded_open`).
    `synchronous`: `full` survives a loss of power, for an fsync with each batch; `normal` the death of any process.
    `durability`: with `process` each process writes its attempts into a journal of its own, which survives its death;
    with `cluster` the ledger also acknowledges them, before the first byte and before the end of an answer. `on_error`:
    where an attempt cannot be written down so, `refuse` answers 503 and asks nobody, `serve` goes on and counts them.
    """

    url: Secret | None = None
    synchronous: Literal["full", "normal"] = "full"
    keep_days: Count | None = 90
    max_mb: Count | None = None
    owner_lost: Literal["fail_closed", "bounded_open"] = "fail_closed"
    open_usd: Usd = Decimal(0)
    durability: Literal["process", "cluster"] = "process"
    on_error: Literal["refuse", "serve"] = "refuse"


class JudgeSettings(_Part):
    """A model that grades a share of the answers which were chosen by what is learned: behind the answer, never before
    it. Its grade counts less than a person's word; what it costs is on the ledger as key `judge`'s, and ends for a day
    at `max_usd_per_day`, of all replicas together. Its price has to be known."""

    model: Annotated[str, Field(pattern=r"^[^/]+/.+")]
    share: Share = 0.05
    max_usd_per_day: Annotated[float, Field(ge=0, le=1e6)] = 1.0


class EmbeddingsSettings(_Part):
    """An embeddings endpoint that makes vectors of prompts: of a provider that is configured, over the network, for
    money (key `embedder` on the ledger). `dimension` is how many numbers its vectors have; `shorten` asks the model for
    that many, where it can give fewer than it would by itself. A decision waits for its vector `timeout_s`, and else
    goes by its route's default order; one that was late or failed is not waited for again until it is well.
    """

    model: Annotated[str, Field(pattern=r"^[^/]+/.+")]
    dimension: Annotated[int, Field(ge=8, le=8_192)]
    shorten: bool = False
    timeout_s: Annotated[float, Field(gt=0, le=10)] = 0.3


class GraphSettings(_Part):
    """The graph in which the nearest of what is remembered is found, where an organisation has more than 2,000 vectors:
    edges of a node, and how many candidates are kept in sight when adding (`ef_construction`) and when asked (`ef`).
    More find the nearest more surely and take longer. A graph that is there keeps the first two until it is rebuilt.
    """

    m: Annotated[int, Field(ge=4, le=96)] = 24
    ef_construction: Annotated[int, Field(ge=16, le=2_000)] = 200
    ef: Annotated[int, Field(ge=10, le=2_000)] = 64


class LearningSettings(_Part):
    """What is learned of models from outcomes, for routes of strategy `learned` and for models named `ruvector-*`.

    Nobody is chosen by it before `warm_up` prompts were seen and `least_feedback` answers were judged.
    `explore_share` is how much quality a request may give up on average, so that something is learned. Each
    organisation's last `keep` requests are kept: as vectors, and with `keep_text` as text, too. A key may give feedback
    `feedback_per_min` times a minute. With `priors` it starts from what was published of models, else from their prices
    alone. With `judge` a model grades some of the answers. `parts` refine what is expected of models, set as by one of
    the first system's presets or, without `preset`, as they were measured; none of them helped on recorded outcomes.
    `embedder` makes vectors of prompts; `auto` is wordllama where it is there, else hashed n-grams. Where `embeddings`
    names an endpoint, that one makes them instead. What one learned says nothing to another: with another one learning
    begins with what can be read anew of texts that were kept (`keep_text`; not by an endpoint), else with nothing, and
    going back finds what was there.
    """

    enabled: bool = True
    warm_up: Annotated[int, Field(ge=8, le=2_000)] = 50
    least_feedback: Count = 20
    explore_share: Annotated[float, Field(ge=0, le=1)] = 0.02
    keep: Annotated[int, Field(ge=1_000)] = 50_000
    keep_text: bool = False
    priors: bool = True
    embedder: Literal["auto", "wordllama", "hashed"] = "auto"
    embeddings: EmbeddingsSettings | None = None
    graph: GraphSettings = GraphSettings()
    feedback_per_min: Count = 120
    judge: JudgeSettings | None = None
    parts: tuple[Literal["memory", "micro", "base", "bank", "calibration"], ...] = ()
    preset: Literal["", "default", "throughput", "quality", "edge", "batch", "ephemeral", "coordinator"] = ""

    @property
    def eyes(self) -> str | EmbeddingsSettings:
        """By what prompts are seen: an embedder of this machine by its name, or an endpoint."""
        return self.embeddings or self.embedder


class MetricsSettings(_Part):
    """Figures for Prometheus, at `/metrics`. They need an admin's key unless they are `public`. `ray`: the manager also
    shows their sums to Ray's own exporter, every five seconds; null: where Ray's dashboard is on.
    """

    enabled: bool = True
    public: bool = False
    ray: bool | None = None


class TracesSettings(_Part):
    """What spans hold, where OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`) ask for traces. `content`:
    also what was asked and answered."""

    content: bool = False


class RaySettings(_Part):
    """How to find or start Ray. Without an `address` a local one is started."""

    address: str | None = None
    dashboard: bool = False
    num_cpus: Count | None = None


class AutoscaleSettings(_Part):
    """As many replicas as the requests under way ask for: about `target_ongoing_requests` for each of them.

    More are started once more have been wanted for `up_after_s`, and some end once fewer have for `down_after_s`.
    """

    min_replicas: Count = 1
    max_replicas: Count = 4
    target_ongoing_requests: Annotated[float, Field(gt=0)] = 100.0
    up_after_s: Seconds = 5.0
    down_after_s: Seconds = 300.0

    @model_validator(mode="after")
    def _in_order(self) -> AutoscaleSettings:
        if self.min_replicas > self.max_replicas:
            raise PydanticCustomError("autoscale", "`min_replicas` should not be above `max_replicas`")
        return self


class LocalSettings(_Part):
    """The embedded model. `slots` requests share `context_length` tokens each; `threads` None: one per core."""

    enabled: bool = True
    threads: Count | None = None
    context_length: Annotated[int, Field(ge=256)] = 2_048
    slots: Count = 2


class Settings(_Part):
    """Everything that Raygate is told.

    `max_cost_usd` bounds the estimate of one request, wherever a provider has no bound of its own. A request whose
    price is unknown is not within a bound. Without `hedge`, only routes that ask for it are hedged.
    With `autoscale` the number of gateway processes follows the load, and `replicas` is not looked at.
    `prices` are known better than the price data has them; `price_file` names a file that holds such a list, beside the
    settings file. It is read where the settings are, and its prices travel with them.
    """

    host: str = "127.0.0.1"
    port: Port = 8_000
    replicas: Count = 1
    autoscale: AutoscaleSettings | None = None
    proxy: Literal["haproxy", "python", "auto"] = "auto"
    data_path: Literal["edge", "actor"] = "edge"
    auth: bool = True
    default_model: str = ""
    strategy: StrategyName = "round_robin"
    max_body_bytes: Count = 32 * 1024 * 1024
    max_cost_usd: Usd | None = None
    timeouts: Timeouts = Timeouts()
    retry: RetrySettings = RetrySettings()
    hedge: HedgeSettings | None = None
    breaker: BreakerSettings = BreakerSettings()
    health: HealthSettings = HealthSettings()
    feed: FeedSettings = FeedSettings()
    admission: AdmissionSettings = AdmissionSettings()
    cache: CacheSettings = CacheSettings()
    ledger: LedgerSettings = LedgerSettings()
    learning: LearningSettings = LearningSettings()
    hooks: tuple[Hook, ...] = ()
    alerts: AlertSettings = AlertSettings()
    metrics: MetricsSettings = MetricsSettings()
    traces: TracesSettings = TracesSettings()
    ray: RaySettings = RaySettings()
    local: LocalSettings = LocalSettings()
    providers: dict[str, ProviderSettings] = {}
    routes: dict[str, RouteSettings] = {}
    models: dict[str, ModelSettings] = {}
    prices: PriceList = PriceList()
    price_file: str = ""

    @model_validator(mode="after")
    def _named(self) -> Settings:
        for name in self.providers:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
                raise PydanticCustomError(
                    "name", "provider name `{name}` should be letters, digits, `.`, `_` and `-`", {"name": name}
                )
        if OURSELVES in self.providers:
            raise PydanticCustomError(
                "name", "provider name `{name}` is Raygate's own; choose another", {"name": OURSELVES}
            )
        for name in self.models:
            provider, slash, model = name.partition("/")
            if not (provider and slash and model):
                raise PydanticCustomError("name", "`models` key `{name}` should be provider/model", {"name": name})
        for alias, route in self.routes.items():
            if not route.targets:
                raise PydanticCustomError("route", "route `{alias}` leads nowhere", {"alias": alias})
        return self

    def to_document(self) -> dict[str, Any]:
        """Plain data for the store: what differs from the defaults, literal secrets included.

        Keep it where secrets may be kept. Log `self`, which masks them, never this.
        """
        return self.model_dump(mode="json", exclude_defaults=True, context=REVEAL)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Settings:
        """Read `to_document` back. Keys that a newer version added are ignored, as `runtime.wire` has it.

        Raises `BadSettings`.
        """
        try:
            # extra="ignore" overrides the models' own "forbid" throughout.
            return cls.model_validate(dict(document), extra="ignore")
        except ValidationError as error:
            found = problems_of(error, cls, lambda _: "stored settings")
        raise BadSettings(found)
