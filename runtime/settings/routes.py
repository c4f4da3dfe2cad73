"""Routes: names of your own for lists of candidates, and how a request by such a name is carried.

    fast: [lab/llama-3.1-8b, openai/gpt-4o-mini]                 the short form: targets, all else as in general
    fast: {targets: […], timeout_s: 20, hedge: {after_s: 2}}     the long one

What a route does not say is as the general settings have it. A route's settings are those of the name that was asked
for: a route that is another one's target lends its targets, not its settings.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from runtime.balance.plan import StrategyName
from runtime.balance.rules import Rule
from runtime.balance.score import Mode
from runtime.settings.parts import STRICT, Count, Seconds

Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = STRICT


class AttemptSettings(_Part):
    """Limits of each single attempt, in place of the provider's own; all of them end at the request's deadline.

    `first_token_s` is until the first content of a stream (or the head of a whole answer), `between_tokens_s` between
    two pieces. A stream that gives fewer than `min_tokens_per_s` is given up; 0 asks for none.
    """

    connect_s: Seconds | None = None
    first_token_s: Seconds | None = None
    between_tokens_s: Seconds | None = None
    total_s: Seconds | None = None
    min_tokens_per_s: Annotated[float, Field(ge=0)] | None = None


class HedgeSettings(_Part):
    """When a second candidate is asked beside a slow first one, and for which share of the requests at most.

    After `after_s`; without it, after the time in which this share (`quantile`, 0.95 unless told) of the candidate's
    answers came, once enough of them were seen. `max_share: 0` means never.
    """

    after_s: Seconds | None = None
    quantile: Annotated[float, Field(ge=0.5, lt=1)] | None = None
    max_share: Share = 0.05

    @model_validator(mode="after")
    def _one_of(self) -> HedgeSettings:
        if self.after_s is not None and self.quantile is not None:
            raise PydanticCustomError("hedge", "`after_s` and `quantile` say the same in two ways; keep one of them")
        return self


class RuleSettings(_Part):
    """Requests that fit all that is said here go to `targets` first: `provider/model`, a model or a provider.

    `pattern` is a regular expression that is found in what the user said last.
    """

    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    pattern: str | None = None
    min_tokens: Count | None = None
    max_tokens: Count | None = None
    needs_tools: bool = False
    needs_vision: bool = False

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, said: str | None) -> str | None:
        try:
            re.compile(said or "")
        except re.error as error:
            raise PydanticCustomError(
                "pattern", "`pattern` is no regular expression: {why}", {"why": str(error)}
            ) from None
        return said

    def rule(self) -> Rule:
        """The same, ready to match."""
        pattern = None if self.pattern is None else re.compile(self.pattern)
        said = self.model_dump(exclude={"pattern"})
        return Rule(pattern=pattern, **said)


Taste = Literal["ruvector-auto", "ruvector-fast", "ruvector-quality", "ruvector-balanced"]


class LearnedSettings(_Part):
    """How a route of strategy `learned` goes by what was learned.

    `taste` says what quality may cost. Nobody is asked whose expected quality is below `floor`, while that of somebody
    else is not. `explore: false` asks nobody for the sake of learning alone, `explore_cap` nobody who is expected to be
    worse than the best by more (in quality, less what it costs). `holdout` is the share of requests that go by the
    default order, to compare with; `shadow` decides and notes it, and lets the default order hold.
    """

    taste: Taste = "ruvector-auto"
    floor: Share | None = None
    explore: bool = True
    explore_cap: Share | None = None
    holdout: Share = 0.0
    shadow: bool = False


class RouteCacheSettings(_Part):
    """What is remembered of a route's answers, in place of the general `cache`; what is not said is as there."""

    enabled: bool | None = None
    ttl_s: Seconds | None = None
    sampled: bool | None = None
    semantic: bool | None = None


class RouteSettings(_Part):
    """One route.

    `max_attempts` replaces `retry.max_attempts`, `timeout_s` bounds the whole request, also one that asks for longer.
    `content_filter: next` asks the next candidate where one refused for what it filters.
    `continue_streams`: a stream that broke is continued by a candidate that can take up another's words.
    `larger` are asked after the others, and only where the request was too long for one.
    `strategy` orders the targets, instead of the general one; `mode` is what `balanced` weighs, `rules` are for
    the strategy of that name, as is `learned`.
    `sticky`: a conversation stays with one of them unless that has too much to do.
    `residency`: tags that a provider must have, all of them, to be asked. Nor is one asked whose whole answer is
    expected to take longer than `max_latency_s`, or whose quality is below `min_quality` or unknown.
    `cache`: what is remembered of its answers.
    """

    targets: tuple[str, ...] = ()
    max_attempts: Count | None = None
    timeout_s: Seconds | None = None
    attempt: AttemptSettings = AttemptSettings()
    hedge: HedgeSettings | None = None
    content_filter: Literal["fail", "next"] = "fail"
    continue_streams: bool = False
    larger: tuple[str, ...] = ()
    strategy: StrategyName | None = None
    mode: Mode = "balanced"
    sticky: bool = False
    learned: LearnedSettings | None = None
    rules: tuple[RuleSettings, ...] = ()
    residency: tuple[str, ...] = ()
    max_latency_s: Seconds | None = None
    min_quality: Share | None = None
    cache: RouteCacheSettings = RouteCacheSettings()

    @model_validator(mode="before")
    @classmethod
    def _short(cls, said: Any) -> Any:
        """The short form is a list of targets."""
        if isinstance(said, list | tuple):
            return {"targets": said}
        if not isinstance(said, dict | RouteSettings):
            raise PydanticCustomError("route", "should be a list of targets, or a mapping with `targets`")
        return said

    @model_serializer(mode="wrap")
    def _written(self, whole: SerializerFunctionWrapHandler) -> Any:
        """In the short form where that says it all: people wrote it so, and older versions read it."""
        return list(self.targets) if self == RouteSettings(targets=self.targets) else whole(self)
