"""What the actors are called. Every process of every node finds them by these names."""

from __future__ import annotations

NAMESPACE = "raygate"
MANAGER = "manager"
REPLICA = "edge@"
"""How the names of replicas' edges begin."""
LOCAL_MODEL = "local-model"
LEDGER = "ledger"
RUVECTOR = "ruvector"
CACHE = "cache"
JOURNALS = "journal"
"""Where, in the state folder, each process writes its attempts down."""
CONTROL = "control"
"""The concurrency group of feed, reports and health: a thread of its own, so that a flood of calls cannot starve it."""


COPY = "model:"


def copy_actor(provider: str, number: int) -> str:
    """The actor whose child is this copy of a provider's server."""
    return f"{COPY}{provider}:{number}"


def provider_actor(provider: str) -> str:
    return f"provider:{provider}"
