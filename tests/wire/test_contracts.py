"""Every body that we send keeps its provider's contract: by hand, and all that were recorded, encoded again."""

from __future__ import annotations

import orjson
import pytest

from runtime.dialects.base import HttpCall, Target
from runtime.dialects.registry import DIALECTS
from runtime.outcome import Failure, FailureKind
from runtime.request import Request
from tests.wire.abroad import BASES, CHAT_DIALECTS
from tests.wire.contracts import REQUESTS, contract
from tests.wire.everything import EVERYTHING
from tests.wire.proof import kept_contract
from tests.wire.records import CONTRACTS, chats

with_contracts = pytest.mark.skipif(
    not CONTRACTS.is_dir(),
    reason=f"no contracts at {CONTRACTS}: set RAYGATE_SHARED to the folder that holds wire/specs",
)
every_dialect = pytest.mark.parametrize("dialect", [*CHAT_DIALECTS, "ruvllm"])

MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "openai": "gpt-5-mini",
    "openrouter": "anthropic/claude-sonnet-4.5",
    "google": "gemini-2.5-flash",
    "cohere": "command-a-03-2025",
    "ollama": "llama3.2",
    "ruvllm": "",
}

BEYOND: dict[tuple[str, str], str] = {
    ("anthropic", "image by id"): "its Files API is a beta, which the contract leaves out",
    ("anthropic", "file by id"): "its Files API is a beta, which the contract leaves out",
}
"""What the API takes and its contract does not know, with the reason."""


def encoded(dialect: str, request: Request) -> HttpCall | Failure:
    target = Target(
        provider="p",
        base_url=BASES.get(dialect, "http://127.0.0.1:3000"),
        model=MODELS[dialect],
        max_output_tokens=8192,
    )
    return DIALECTS[dialect].encode(request, target)


@with_contracts
@pytest.mark.parametrize("name", EVERYTHING)
@every_dialect
def test_what_we_write_keeps_the_contract(dialect: str, name: str) -> None:
    call = encoded(dialect, EVERYTHING[name])
    if isinstance(call, Failure):
        assert call.kind is FailureKind.UNSUPPORTED, call
        assert call.param
        return
    breaches = contract(dialect)(orjson.loads(call.body))
    assert bool(breaches) is ((dialect, name) in BEYOND), (breaches, call.body)


@with_contracts
@pytest.mark.parametrize("dialect", [*REQUESTS, "cohere"])
def test_what_was_recorded_breaks_no_contract_by_our_doing(dialect: str) -> None:
    """Recorded bodies break some contracts themselves (older or newer than the document): so may ours, no further."""
    kept = kept_contract(dialect, chats())
    assert kept.bodies
    assert not kept.added
    assert kept.ours <= kept.theirs
