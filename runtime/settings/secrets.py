"""Secrets in settings: written down literally, or named where they are kept.

    api_key: sk-…                        SecretStr         shown as stars, whole in the stored document
    api_key: os.environ/OPENAI_API_KEY   EnvReference      shown and stored as it stands: a name is no secret

A reference is resolved by each process on its own, at the moment it builds a provider. So the settings that are
stored and sent about hold no key, and a key can be changed by restarting what uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, SecretStr, SerializationInfo
from pydantic_core import PydanticCustomError

from runtime.settings.problems import BadSettings, Problem

REFERENCE = "os.environ/"
"""LiteLLM's spelling, which many configurations already use."""

REVEAL = "reveal secrets"
"""The serialization context under which literal secrets are written out. `to_document` alone uses it."""


@dataclass(frozen=True, slots=True)
class EnvReference:
    """The name of an environment variable that holds the value."""

    name: str

    def __str__(self) -> str:
        return f"{REFERENCE}{self.name}"


def _parse(value: object) -> EnvReference | SecretStr:
    if isinstance(value, EnvReference | SecretStr):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("secret_type", "should be text, or a reference such as os.environ/NAME")
    if not value.startswith(REFERENCE):
        return SecretStr(value)
    name = value.removeprefix(REFERENCE)
    if not name:
        raise PydanticCustomError("secret_name", "names no environment variable after os.environ/")
    return EnvReference(name)


def _write(value: EnvReference | SecretStr, info: SerializationInfo) -> str:
    if isinstance(value, EnvReference):
        return str(value)
    return value.get_secret_value() if info.context == REVEAL else str(value)


Secret = Annotated[EnvReference | SecretStr, PlainValidator(_parse), PlainSerializer(_write, return_type=str)]


def resolve_secret(value: EnvReference | SecretStr | None, env: Mapping[str, str]) -> str | None:
    """The secret itself, in this process. Raises `BadSettings` where a reference leads nowhere."""
    match value:
        case None:
            return None
        case SecretStr():
            return value.get_secret_value()
        case EnvReference(name):
            if not (found := env.get(name)):
                raise BadSettings([Problem("", str(value), f"environment variable {name} is not set in this process")])
            return found
