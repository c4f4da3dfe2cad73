"""What Raygate needs of a machine: an interpreter, packages that fit together, room."""

from __future__ import annotations

import platform
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from serve.cli.doctor.findings import Finding, Mark

MIB = 2**20
OPEN_FILES = 4_096
"""Two for each request under way, and some hundred of Ray's."""
MEMORY = 1_500 * MIB
"""What a Raygate with its Ray and the embedded model needs (docs/performance.md)."""
SHARED = 256 * MIB
"""Ray keeps objects in shared memory, and falls back to the disk where there is little of it."""
DISK = 1_024 * MIB
LOAD_S = 60.0

LOADED = {
    "hnswlib": "import numpy as n\nfrom runtime.memory.build import hnswlib\n"
    "i = hnswlib().Index('cosine', 8); i.init_index(8); v = n.eye(8, dtype='float32'); i.add_items(v)\n"
    "assert i.knn_query(v[3], 1)[0][0][0] == 3",
    "uvloop": "import uvloop; uvloop.new_event_loop().close()",
    "wordllama": "import wordllama",
}
"""How each compiled part is tried."""
EMBEDDED = "import xllamacpp"


def look(folder: Path) -> Iterator[Finding]:
    """Interpreter, packages and room. `folder` is where the state will lie."""
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {psutil.cpu_count()} cores"
    yield Finding("Python", Mark.GOOD, python)
    yield _packages()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= OPEN_FILES
    yield Finding(
        "open files",
        Mark.GOOD if enough else Mark.NOTE,
        "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,} a process",
        "" if enough else f"many callers at once need more: ulimit -n {OPEN_FILES * 4}",
    )
    yield _room("memory", psutil.virtual_memory().available, MEMORY, "end something else, or set local.enabled: false")
    if Path("/dev/shm").is_dir():  # noqa: S108  # looked at, not written to
        yield _room("shared memory", shutil.disk_usage("/dev/shm").free, SHARED, "in a container: --shm-size=1g")  # noqa: S108
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    yield _room("disk", shutil.disk_usage(existing).free, DISK, f"make room where {folder} lies: the books are there")


def compiled(*, local: bool) -> Iterator[Finding]:
    """Whether what is compiled runs on this CPU. `local`: the embedded model, too."""
    for name, code in {**LOADED, **({"xllamacpp": EMBEDDED} if local else {})}.items():
        yield _loads(name, code)


def _packages() -> Finding:
    try:
        wanted = [Requirement(one) for one in requires("raygate") or ()]
    except PackageNotFoundError:
        return Finding("packages", Mark.WRONG, "Raygate is not installed in this Python", "make install")
    wrong, count = [], 0
    for one in wanted:
        # What an extra brings is looked at where it is used.
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        count += 1
        try:
            there = version(one.name)
        except PackageNotFoundError:
            wrong.append(f"{one.name} is missing")
            continue
        if not one.specifier.contains(there, prereleases=True):
            wrong.append(f"{one.name} is {there}, wanted {one.specifier}")
    if wrong:
        return Finding("packages", Mark.WRONG, "; ".join(wrong), "make install")
    return Finding("packages", Mark.GOOD, f"raygate {version('raygate')}, Ray {version('ray')}; all {count} fit")


def _room(about: str, there: int, wanted: int, do: str) -> Finding:
    enough = there >= wanted
    says = f"{there / MIB:,.0f} MiB free" if enough else f"{there / MIB:,.0f} MiB free, {wanted / MIB:,.0f} are wanted"
    return Finding(about, Mark.GOOD if enough else Mark.NOTE, says, "" if enough else do)


def _loads(name: str, code: str) -> Finding:
    try:
        there = version(name)
    except PackageNotFoundError:
        return Finding(name, Mark.WRONG, "is not installed", "make install")
    try:
        ran = subprocess.run(  # noqa: S603  # our own code, in our own interpreter
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=LOAD_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding(name, Mark.WRONG, f"{there} does not load within {LOAD_S:.0f} s", "make clean install")
    if ran.returncode == 0:
        return Finding(name, Mark.GOOD, f"{there} runs on this CPU")
    if ran.returncode == -signal.SIGILL:
        do = "it was built for another CPU; HNSWLIB_NO_NATIVE=1 make clean install builds it for any"
        return Finding(name, Mark.WRONG, f"{there} uses instructions that this CPU lacks", do)
    last = (ran.stderr.strip().splitlines() or [f"it ended with {ran.returncode}"])[-1]
    return Finding(name, Mark.WRONG, f"{there} does not load: {last}", "make clean install")
