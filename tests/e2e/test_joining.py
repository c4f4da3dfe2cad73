"""In a Ray of somebody else: Raygate joins it, and leaves it as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.launch import head
from tests.e2e.conftest import SCRIPTED
from tests.e2e.test_lifecycle import Shell

ACTORS = """
import json, ray
ray.init(address="{address}", log_to_driver=False)
print(json.dumps([one["name"] for one in ray.util.list_named_actors(all_namespaces=True)]))
"""


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[head.Run]:
    """A Ray that no `raygate up` has started."""
    folder = tmp_path / "theirs"
    run = head.start(
        folder,
        os.environ,
        url="",
        haproxy=False,
        max_body_bytes=1_000_000,
        num_cpus=2,
        dashboard=False,
        sleep=time.sleep,
    )
    yield run
    head.stop(folder, run)


def test_up_joins_and_down_leaves_nothing_behind(theirs: head.Run, tmp_path: Path) -> None:
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(head.token_file(tmp_path / "theirs"))}
    shell = Shell(tmp_path / "state", RAYGATE_PORT=str(head.free_port()), **token)
    config = tmp_path / "raygate.yaml"
    config.write_text(
        f"ray: {{address: '{theirs.client_address}'}}\n"
        "cache: {enabled: true, tier: actor}\n"
        f"local: {{enabled: false}}\nproviders:\n  alpha: {SCRIPTED}\n"
    )
    url = shell.json("up", "--config", str(config))["url"]
    said = shell("chat", "hello", "--model", "ruvector-auto", "--url", url)
    assert said.stdout.strip()
    assert {"manager", "ledger", "cache", "provider:alpha"} <= named(theirs, token)

    done = shell("down", "--config", str(config))
    assert "goes on" in done.stdout
    assert {one for one in named(theirs, token) if not one.startswith("SERVE_")} == set()


def named(theirs: head.Run, token: dict[str, str]) -> set[str]:
    """The names of all actors in that Ray."""
    asked = [sys.executable, "-c", ACTORS.format(address=theirs.client_address)]
    said = subprocess.run(asked, env={**os.environ, **token}, capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(said.stdout.splitlines()[-1]))
