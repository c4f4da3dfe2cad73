"""Fake upstreams that others wrote, as processes on free loopback ports. `make test-upstreams` installs and asks them.

aimock    npm @copilotkit/aimock     answers by fixtures: aimock.json beside this file
llmock    PyPI llmock                fails on demand, and judges how its client copes
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INSTALLED = HERE.parent.parent / ".upstreams"
AIMOCK = INSTALLED / "node_modules" / ".bin" / "llmock"
LLMOCK = INSTALLED / "venv" / "bin" / "llmock"

ASKED_FOR = os.environ.get("RAYGATE_TEST_UPSTREAMS") == "1"
NOT_ASKED = "asks fake upstreams that others wrote: make test-upstreams installs and starts them"

START_S = 60.0
_ADDRESS = re.compile(r"(?:listening|running) on (http://127\.0\.0\.1:\d+)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not ASKED_FOR:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=NOT_ASKED))


@pytest.fixture(scope="session")
def aimock() -> Generator[str]:
    """Its address."""
    if shutil.which("node") is None:
        pytest.skip("aimock needs Node 20, and there is no node here")
    with _served(AIMOCK, "-p", "0", "-f", str(HERE / "aimock.json"), "--validate-on-load", "--chunk-size", "5") as url:
        yield url


@pytest.fixture(scope="session")
def llmock() -> Generator[str]:
    """Its address."""
    with _served(LLMOCK, "serve", "-p", "0", "--response-style", "varied") as url:
        yield url


@contextmanager
def _served(program: Path, *arguments: str) -> Generator[str]:
    """Run a server until the block ends; it names its own port."""
    if not program.exists():
        pytest.skip(f"{program} is missing: make test-upstreams installs it")
    process = subprocess.Popen(
        [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment()
    )
    assert process.stdout is not None
    # Whoever says nothing for so long is ended, and the reading below with it.
    alarm = threading.Timer(START_S, process.kill)
    alarm.start()
    said: deque[str] = deque(maxlen=50)
    try:
        found = None
        for line in process.stdout:
            said.append(line)
            if found := _ADDRESS.search(line):
                break
        alarm.cancel()
        if found is None:
            raise AssertionError(f"{program.name} did not start: {''.join(said)}")
        reader = threading.Thread(target=said.extend, args=(process.stdout,), daemon=True)
        reader.start()
        yield found.group(1)
    finally:
        alarm.cancel()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _environment() -> dict[str, str]:
    """Nothing of ours but what a program needs to start: no proxy, no keys, no settings of theirs."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
