"""Requests that schemathesis makes up from our own description, right and wrong ones: none ends in a 500.

Every second body names a model that answers; with the made-up names alone, nothing would get past "no such model".
"""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from report import KEY, URL, check, named
from schemathesis.generation import GenerationMode

EXAMPLES = 25


def asks(operation: Any, mode: GenerationMode) -> None:
    @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any, real: bool) -> None:
        if real and isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = named("say")
        reply = case.call(base_url=URL, headers={"authorization": f"Bearer {KEY}"}, timeout=60)
        allowed = reply.status_code < 500
        assert allowed, f"{reply.status_code}: {case.body!r}: {reply.text[:300]}"

    ask()


schema = schemathesis.openapi.from_url(f"{URL}/openapi.json")
operations = [one.ok() for one in schema.get_all_operations()]
with check("fuzz", "all operations are described"):
    assert len(operations) >= 24, len(operations)
for operation in operations:
    takes = [*operation.iter_parameters(), *operation.body]
    for mode in GenerationMode if takes else (GenerationMode.POSITIVE,):
        with check("fuzz", f"{operation.label}, {mode.value}"):
            asks(operation, mode)
