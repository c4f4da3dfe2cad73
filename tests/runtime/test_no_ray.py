"""`runtime` is plain Python: it works where Ray and Starlette are not installed."""

from __future__ import annotations

import subprocess
import sys

import runtime

SCRIPT = """
import importlib, pkgutil, sys
for banned in ("ray", "starlette", "fastapi", "uvicorn", "actors", "serve"):
    sys.modules[banned] = None
import runtime
names = [found.name for found in pkgutil.walk_packages(runtime.__path__, "runtime.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_every_module_imports_without_ray() -> None:
    root = next(iter(runtime.__path__)).removesuffix("runtime")
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40
