"""Raygate among other gateways, where a folder `shared/bench` lies beside this repository: its harness, its mock, its
load, and one more target that is ours.

The harness is copied to a folder of its own and told of us there; what it needs (wrk, the peers) its own README says.
Run: python -m bench.peers [TARGET …] [--seconds 2 --reps 1 …]     without targets: raygate, ray-serve-limit, direct
     python -m bench.peers --by-turns [TARGET …] [--seconds 3 --reps 5]    side by side (bench/turns.py)
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent / "raygate"
KEY = "rg-" + "b" * 43
USUAL = ("raygate", "ray-serve-limit", "direct")

CONFIG = """\
host: 127.0.0.1
port: @PORT@
local: {enabled: false}
providers:
  a: {kind: custom, base_url: "http://@MOCK_A@/v1", api_key: sk-mock, priority: 10, models: [mock-model],
      price: {input: 0.15, output: 0.6}}
  b: {kind: custom, base_url: "http://@MOCK_B@/v1", api_key: sk-mock, models: [other],
      price: {input: 0.15, output: 0.6}}
routes:
  mock-fo:
    targets: [a/mock-model, b/mock-model]
    attempt: {first_token_s: 1}
"""

TARGET = f"""
TARGETS.append(
    Target(
        "raygate",
        "{sys.executable} -m bench.peers --foreground @RUN@/raygate.yaml @RUN@/state",
        configs=("raygate.yaml",),
        env={{"PYTHONPATH": {str(HERE)!r}}},
        route=Route(headers={{"Authorization": "Bearer {KEY}"}}),
        failover=Route(headers={{"Authorization": "Bearer {KEY}"}}, model="mock-fo"),
        ready_s=120,
        about="Raygate: key, routing, breakers, prices, a journal on disk; HAProxy, 1 replica",
    )
)
"""


def foreground(config: str, folder: str) -> None:
    """Raygate until somebody ends us, with a key that is known."""
    state = Path(folder)
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(mode=0o700)
    (state / "key").write_text(KEY)
    (state / "key").chmod(0o600)
    env = {**os.environ, "RAYGATE_STATE_DIR": folder}  # a program of its own
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        subprocess.run([BIN, "up", "-c", config], env=env, check=True)  # ours
        signal.pause()
    finally:
        subprocess.run([BIN, "down"], env=env, check=False)  # ours


def main() -> int:
    said = sys.argv[1:]
    if said[:1] == ["--foreground"]:
        foreground(*said[1:])
        return 0
    theirs = Path(os.environ.get("RAYGATE_SHARED", HERE.parent / "shared")) / "bench"
    if not (theirs / "run.py").exists():
        print(f"there is no {theirs}; RAYGATE_SHARED names the folder that holds `bench`")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        harness = Path(folder) / "bench"
        shutil.copytree(theirs, harness)
        (harness / "configs" / "raygate.yaml").write_text(CONFIG)
        with (harness / "targets.py").open("a") as targets:
            targets.write(TARGET)
        if "--by-turns" in said:
            rest = [one for one in said if one != "--by-turns"]
            command = [sys.executable, "-m", "bench.turns", str(harness), *rest]
            return subprocess.run(command, check=False, cwd=HERE).returncode
        named = [] if said and not said[0].startswith("-") else USUAL
        return subprocess.run([sys.executable, harness / "run.py", *named, *said], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
