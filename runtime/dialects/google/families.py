"""How versions of the API and families of models differ, as data.

Sources: Google's published API definitions of v1 and v1beta (the package google-ai-generativelanguage), and its
guides on thinking, thought signatures, function calling, embeddings and OpenAI compatibility.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from runtime.dialects.base import Target
from runtime.request import Effort

UNSIGNED = base64.b64encode(b"skip_thought_signature_validator").decode()
"""What stands for the signature of a call that Gemini itself did not make (its guide on thought signatures)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What a version of the API can say. `fields` and `config` are None where everything is allowed."""

    name: str
    fields: frozenset[str] | None = None
    config: frozenset[str] | None = None

    @property
    def full(self) -> bool:
        """True where there are system instructions, tools, files by address, thoughts and schemas."""
        return self.fields is None


BETA = Version(name="v1beta")

STABLE = Version(
    name="v1",
    fields=frozenset(("contents", "generationConfig", "safetySettings")),
    config=frozenset(
        (
            *("candidateCount", "stopSequences", "maxOutputTokens", "temperature", "topP", "topK", "seed"),
            *("presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs", "enableEnhancedCivicAnswers"),
        )
    ),
)
"""v1 refuses unknown fields, and knows only these; of parts it knows text and inline data."""

Thinking = Literal["none", "budget", "level", "any"]

LEVELS: tuple[Effort, ...] = ("minimal", "low", "medium", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What a family of models takes.

    `thinking` is bounded by a budget of tokens, between `least` and `most`, or set by one of `levels`; "any" takes
    both as given. `stoppable`: thinking can be switched off. `signed_calls`: a call of the current turn without a
    thought signature is refused. `media_results`: results of functions may hold images and files.
    """

    thinking: Thinking = "none"
    least: int = 0
    most: int = 24_576
    stoppable: bool = True
    levels: tuple[Effort, ...] = LEVELS
    signed_calls: bool = False
    media_results: bool = False


PLAIN = Family()
FLASH_2_5 = Family(thinking="budget")
GEMINI_3 = Family(thinking="level", stoppable=False, signed_calls=True, media_results=True)
PRO_3 = Family(
    thinking="level", stoppable=False, levels=("low", "medium", "high"), signed_calls=True, media_results=True
)
ANY = Family(thinking="any", media_results=True)
"""Models that this table does not know, such as tuned ones: what the request says is sent as it stands."""

FAMILIES: tuple[tuple[str, Family], ...] = (
    ("gemini-1", PLAIN),
    ("gemini-2.0", PLAIN),
    ("gemini-2.5-flash-image", PLAIN),
    ("gemini-2.5-flash-preview-tts", PLAIN),
    ("gemini-2.5-pro-preview-tts", PLAIN),
    ("gemini-2.5-flash-lite", Family(thinking="budget", least=512)),
    ("gemini-2.5-pro", Family(thinking="budget", least=128, most=32_768, stoppable=False)),
    ("gemini-2.5", FLASH_2_5),
    ("gemini-pro-latest", PRO_3),
    (
        "gemini-3-pro",
        Family(thinking="level", stoppable=False, levels=("low", "high"), signed_calls=True, media_results=True),
    ),
    ("gemini-3.1-pro", PRO_3),
    ("gemini-embedding", PLAIN),
    # Whatever is newer than this table speaks as the newest that it knows.
    ("gemini-", GEMINI_3),
    ("gemma-", PLAIN),
    ("learnlm-", PLAIN),
)
"""The first whose name begins the model's decides."""

EFFORT_BUDGETS: Mapping[Effort, int] = {
    "minimal": 1_024,
    "low": 1_024,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 32_768,
}
"""An effort in tokens, as Google's own OpenAI endpoint translates it; beyond high, the most that any model takes."""

NO_PURPOSE = ("gemini-embedding-2", "embedding-001")
"""Embedding models that take no task type."""


def version_of(target: Target) -> Version:
    """The version that the address names; the option `api_version` overrules it, for proxies whose path is theirs."""
    said = target.options.get("api_version")
    name = said if isinstance(said, str) else target.base_url.rstrip("/").rpartition("/")[2]
    return STABLE if name == STABLE.name else BETA


@lru_cache(maxsize=1024)
def family_of(model: str) -> Family:
    """What this model takes, by its name with or without `models/`."""
    name = model.removeprefix("models/")
    return next((family for begins, family in FAMILIES if name.startswith(begins)), ANY)
