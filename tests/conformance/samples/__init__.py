"""A sample for each dialect, in a module of its name. A dialect without one fails the laws."""

from __future__ import annotations

from importlib import import_module

from runtime.dialects.registry import DIALECTS
from tests.conformance.sample import Sample

SAMPLES: dict[str, Sample] = {name: import_module(f"{__name__}.{name}").SAMPLE for name in DIALECTS}
