"""Which build of hnswlib: the one that runs on any processor, or the one for those with AVX2, where both are.

A query takes a quarter less with AVX2. But a build for the machine that builds dies on an older one with SIGILL. So
`make` and the image make two, the second in a folder of its own, and here it is seen what this processor can.
"""

from __future__ import annotations

import importlib.util
import sys
from contextlib import suppress
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

FOLDER = "x86-64-v3"
"""In the environment's: the name of what the processor has to be (System V ABI, AMD64 supplement)."""
NEEDS = frozenset(("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"))
"""As Linux names it; `abm` has lzcnt."""


@cache
def hnswlib() -> Any:
    """The module. Raises `ImportError` where there is none."""
    # Two of them in one process would claim the same types.
    if "hnswlib" not in sys.modules and (built := suited(Path(sys.prefix) / FOLDER, _flags())) is not None:
        spec = importlib.util.spec_from_file_location("hnswlib", built)
        if spec is not None and spec.loader is not None:
            # One that cannot be loaded is as if it was not there.
            with suppress(ImportError):
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                sys.modules["hnswlib"] = module
    import hnswlib

    return hnswlib


def suited(folder: Path, flags: frozenset[str]) -> Path | None:
    """The build in this folder, if it is this Python's and a processor with these flags can run it."""
    built = folder / f"hnswlib{EXTENSION_SUFFIXES[0]}"
    return built if flags >= NEEDS and built.is_file() else None


def _flags() -> frozenset[str]:
    """What this processor can; nothing where Linux does not say so."""
    try:
        said = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    line = next((one for one in said.splitlines() if one.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())
