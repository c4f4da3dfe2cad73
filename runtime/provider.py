"""The one interface: a provider and the manager over all providers offer the same, in process and as an actor.

`tests/conformance/test_providers.py` holds every implementation to it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

from runtime.catalog import ModelInfo
from runtime.outcome import Embeddings, Failure, Outcome, StreamEvent
from runtime.price import CostEstimate
from runtime.reports import HealthReport, ProviderStatus, UsagePeriod, UsageReport
from runtime.request import EmbedRequest, Request
from runtime.standing import Vitals


class Answers(Protocol):
    """What is needed of a provider to answer a chat. A failed call is a value; nothing here raises for it."""

    async def complete(self, request: Request) -> Outcome: ...

    def stream(self, request: Request) -> AsyncGenerator[StreamEvent]:
        """`StreamStart`, deltas, then one `StreamEnd`; where it fails before any content, `StreamEnd` alone.

        Closing the generator early stops the upstream call.
        """
        ...


class Provider(Answers, Protocol):
    """Something that answers requests."""

    @property
    def name(self) -> str: ...

    async def initialize(self) -> None:
        """Make ready for calls. Idempotent; costs the provider nothing."""
        ...

    async def embed(self, request: EmbedRequest) -> Embeddings | Failure: ...

    async def health_check(self) -> HealthReport:
        """Ask the provider by a call that costs nothing."""
        ...

    async def estimate_cost(self, request: Request) -> CostEstimate | Failure:
        """What the request would cost here; a `cost` of None means that the price is unknown."""
        ...

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """The models that are configured, and those that the provider itself lists."""
        ...

    async def model_info(self, model: str) -> ModelInfo | None: ...

    async def validate_model(self, model: str) -> bool:
        """True if a request for this model would be sent somewhere."""
        ...

    async def status(self) -> ProviderStatus: ...

    async def usage(self, period: UsagePeriod = "day") -> UsageReport: ...

    async def metrics(self) -> Mapping[str, float]: ...

    async def clear_cache(self) -> int:
        """Forget what was remembered of answers that can be asked for again. Returns how many entries."""
        ...

    async def close(self) -> None:
        """End calls under way and give connections back. Idempotent."""
        ...


class Upstream(Provider, Protocol):
    """A provider that a gateway can choose: it also says how it is."""

    def vitals(self, model: str, now: float) -> Vitals: ...
