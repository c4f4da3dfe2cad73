"""A provider whose server Raygate runs itself: so many copies, each an actor's child, where Ray has room for them."""

from __future__ import annotations

import re
import string
from typing import Annotated

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from runtime.settings.parts import STRICT, Count, Seconds

PLACEHOLDERS = frozenset(("host", "port", "key", "python"))
"""What a command and its environment may say in braces; a brace of another meaning is written twice."""


class ManagedSettings(BaseModel):
    """How a copy of the server is started, how many there are, and when more or fewer.

    `command` and `env` may say {host} and {port} (where to listen), {key} (what callers will show) and {python} (our
    interpreter). Without a command: Ollama's `ollama serve`, or of kind `local` the embedded model. `ready` is the path
    that answers 200 once it serves, `path` what stands between the address and the API. Ray places a copy where
    `num_cpus` and `num_gpus` are free.

    A copy carries `slots` requests at once. More copies are started once more have been wanted for `up_after_s`, and
    some end once fewer have for `down_after_s`. Beyond `queue` that wait for a place in a process, requests go to the
    next candidate.
    """

    model_config = STRICT

    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    ready: Annotated[str, Field(pattern="^(/|$)")] = ""
    path: Annotated[str, Field(pattern="^(/|$)")] | None = None
    min_copies: Count = 1
    max_copies: Count = 1
    num_cpus: Annotated[float, Field(ge=0)] = 1.0
    num_gpus: Annotated[float, Field(ge=0)] = 0.0
    slots: Count = 4
    queue: Annotated[int, Field(ge=0)] = 16
    up_after_s: Seconds = 10.0
    down_after_s: Seconds = 300.0
    start_s: Seconds = 300.0

    @model_validator(mode="after")
    def _sensible(self) -> ManagedSettings:
        if self.min_copies > self.max_copies:
            raise PydanticCustomError("managed", "`min_copies` should not be above `max_copies`")
        for said in (*self.command, *self.env.values()):
            try:
                named = {name for _, name, *_ in string.Formatter().parse(said) if name is not None}
            except ValueError:
                named = {said}
            if unknown := named - PLACEHOLDERS:
                raise PydanticCustomError(
                    "managed",
                    "`{said}` names {unknown}; in braces may stand host, port, key and python",
                    {"said": said, "unknown": ", ".join(sorted(unknown))},
                )
        if self.command and not any(re.search(r"\{port\}", said) for said in (*self.command, *self.env.values())):
            raise PydanticCustomError("managed", "`command` should say {port}: each copy has one of its own")
        return self
