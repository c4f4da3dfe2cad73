"""What every part of the settings is built on."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

# Inputs stay out of every message, because any of them may be a secret.
STRICT = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
