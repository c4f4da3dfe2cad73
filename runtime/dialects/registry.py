"""Every dialect by name. The laws in `tests/conformance` hold for each row, so a newcomer is checked by itself."""

from __future__ import annotations

from runtime.dialects.base import Dialect
from runtime.dialects.openai import OpenAI
from runtime.dialects.scripted import Scripted

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (OpenAI(), Scripted())}
