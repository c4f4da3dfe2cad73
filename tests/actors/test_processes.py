"""A real tree of processes: found by its mark and ended whole, its orphans too, and nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from actors.launch.processes import MARK, end, listeners, marked

TREE = """
import os, signal, socket, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
door = socket.create_server(("127.0.0.1", 0))
child = "import os, subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
subprocess.run([sys.executable, "-c", child])  # its own child outlives it: an orphan
print("ready", flush=True)
time.sleep(60)
"""


def test_a_tree_is_found_and_ended_with_its_orphans() -> None:
    run_id, other_id = f"test-{os.getpid()}", f"other-{os.getpid()}"
    with (
        _started(TREE, run_id) as root,
        _started("print('ready', flush=True); input()", other_id) as other,
    ):
        assert root.stdout is not None
        assert root.stdout.readline() == b"ready\n"
        found = marked(run_id)
        assert len(found) == 2
        assert [one.pid for one in listeners(found)] == [root.pid]
        assert end(run_id, root=root.pid, grace_s=0.2) == 2
        assert not marked(run_id)
        assert [process.pid for process in marked(other_id)] == [other.pid]
        other.kill()


def test_a_run_that_is_gone_is_no_error() -> None:
    assert end("no such run", root=1, grace_s=0.1) == 0


def _started(code: str, run_id: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, MARK: run_id}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], env=env, stdin=pipe, stdout=pipe, cwd=Path("/"))
