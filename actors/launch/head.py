"""A Ray head of our own on this machine, detached from whoever started it.

It listens on loopback, asks for a token, and carries the environment that Serve and HAProxy need: Ray's workers
inherit it, and Serve reads it nowhere else. Options and figures as seen on Ray 2.60:

    RAY_START_HOOK          binds every port to loopback; no Ray Client server, no dashboard process
    SPT_NOENV               Ray's setproctitle would wipe the mark of `processes` from /proc/PID/environ
    --port=0 and the like   free ports instead of fixed ones, so that several Rays can stand side by side
    temp folder             short, because a unix socket's path has at most 107 bytes
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import psutil

from actors.keys import write_once
from actors.launch import haproxy_shim
from actors.launch.processes import MARK, end, marked
from actors.launch.ray_hook import LOOPBACK

RECORD = "run.json"
FAILED_LOGS = "failed-logs"
TOKEN = "ray_token"  # noqa: S105  # a file's name
START_S = 60.0
OBJECT_STORE_BYTES = 128 * 1024 * 1024
"""Requests and answers are small and travel inline; Ray would take a third of the machine's memory."""


class StartFailed(RuntimeError):
    """Ray did not start. The message says where its output lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A Ray that we started: how to reach it and how to end it. `url` is the gateway's, where there is one."""

    run_id: str
    pid: int
    address: str
    scratch: str
    haproxy: bool
    url: str = ""

    @property
    def alive(self) -> bool:
        """True if the process that we started is still it, not another with its number."""
        try:
            return psutil.Process(self.pid).environ().get(MARK) == self.run_id
        except psutil.Error:
            return False

    @property
    def client_address(self) -> str:
        """For `ray.init`, which replaces 127.0.0.1 by the machine's address; it leaves this spelling alone."""
        return self.address.replace(LOOPBACK, "LOCALHOST")


def running(folder: Path) -> Run | None:
    """The Ray of this state folder, if it is alive and can be joined."""
    run = _recorded(folder)
    return run if run is not None and run.address and run.alive else None


def remains(folder: Path) -> Run | None:
    """A run of this state folder that is not `running`, but of which processes are left: clear them with `stop`."""
    run = _recorded(folder)
    return run if run is not None and running(folder) is None and marked(run.run_id) else None


def _recorded(folder: Path) -> Run | None:
    try:
        said = json.loads((folder / RECORD).read_text())
        # Another version's record must not hide a Ray that runs.
        return Run(**{field.name: said[field.name] for field in fields(Run) if field.name in said})
    except (FileNotFoundError, ValueError, TypeError):
        return None


def record(folder: Path, run: Run) -> None:
    """Remember a run, in one step: a reader sees the old record or the new one."""
    temporary = folder / f"{RECORD}.{os.getpid()}"
    temporary.write_text(json.dumps(asdict(run), indent=2))
    temporary.replace(folder / RECORD)


def token_file(folder: Path) -> Path:
    """The secret that every client of our Ray must show; made once."""
    path = folder / TOKEN
    write_once(path, secrets.token_hex(32))
    return path


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One start or end at a time under this folder: two starts at once would leave a Ray that nobody knows."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def start(
    folder: Path,
    env: Mapping[str, str],
    *,
    url: str,
    haproxy: bool,
    max_body_bytes: int,
    num_cpus: int | None,
    dashboard: bool,
    sleep: Callable[[float], None],
) -> Run:
    """Start Ray and wait until it can be joined. Raises `StartFailed`, leaving nothing behind."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="rg-", dir="/tmp"))  # 0700, and short
    run_id = secrets.token_hex(8)
    hook = "loopback" if dashboard else "loopback_without_dashboard"
    wanted = {
        # Ray runs its workers at 15, which suits jobs: a gateway would get a thirtieth of what any other program gets.
        "RAY_worker_niceness": "0",
        # Ray keeps the last hundred thousand calls for a dashboard: ten megabytes a minute under load.
        **({} if dashboard else {"RAY_task_events_report_interval_ms": "0"}),
        **env,
        MARK: run_id,
        "SPT_NOENV": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file(folder)),
        "RAY_START_HOOK": f"actors.launch.ray_hook.{hook}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_metrics_collection": "0",
        "RAYGATE_STATE_DIR": str(folder),
        **(_serve_environment(scratch, max_body_bytes) if haproxy else {}),
    }
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *(f"--node-ip-address={LOOPBACK}", "--port=0", "--dashboard-agent-listen-port=0"),
        f"--include-dashboard={str(dashboard).lower()}",
        *("--disable-usage-stats", "--no-monitor", "--include-log-monitor=false"),
        *(f"--temp-dir={scratch / 'ray'}", f"--object-store-memory={OBJECT_STORE_BYTES}"),
        *([] if num_cpus is None else [f"--num-cpus={num_cpus}"]),
    ]
    output = folder / "ray.out"
    with output.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter
            command, env=wanted, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    run = Run(run_id=run_id, pid=process.pid, address="", scratch=str(scratch), haproxy=haproxy, url=url)
    # Recorded at once: a start that is killed must not leave a Ray behind that nobody knows.
    record(folder, run)
    try:
        address = _await_address(process, scratch / "ray" / "ray_current_cluster", output, sleep)
    except BaseException:
        stop(folder, run, grace_s=0.0)
        raise
    process.returncode = 0  # It outlives us on purpose; unwaited for, it would be a warning.
    run = replace(run, address=address)
    record(folder, run)
    _link(folder / "logs", scratch / "ray" / "session_latest" / "logs")
    return run


def _await_address(process: subprocess.Popen[bytes], ready: Path, output: Path, sleep: Callable[[float], None]) -> str:
    """The address that Ray writes once it can be joined. Raises `StartFailed` if it ended, or took too long."""
    for _ in range(int(START_S / 0.05)):
        if process.poll() is not None:
            break
        if ready.exists() and (address := ready.read_text().strip()):
            return address
        sleep(0.05)
    raise StartFailed(f"Ray did not start; its output is in {output}")


def stop(folder: Path, run: Run, *, grace_s: float = 2.0, keep_logs: bool = False) -> int:
    """End everything that this run started; returns how many processes had to be killed.

    `keep_logs` saves Ray's logs in the state folder's `failed-logs`, for whoever wants to know why.
    """
    killed = end(run.run_id, root=run.pid, grace_s=grace_s)
    if keep_logs:
        shutil.rmtree(folder / FAILED_LOGS, ignore_errors=True)
        with suppress(OSError):
            shutil.copytree(folder / "logs", folder / FAILED_LOGS, ignore_dangling_symlinks=True)
    shutil.rmtree(run.scratch, ignore_errors=True)
    (folder / RECORD).unlink(missing_ok=True)
    (folder / "logs").unlink(missing_ok=True)
    return killed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def processes_of(run: Run) -> list[psutil.Process]:
    return marked(run.run_id)


def _serve_environment(scratch: Path, max_body_bytes: int) -> dict[str, str]:
    """Serve behind HAProxy in throughput mode, everything of HAProxy's in a folder that only we can read."""
    folder = scratch / "h"
    folder.mkdir(mode=0o700)
    shim = folder / "shim"
    # The shebang must be this environment's interpreter: HAProxy comes as one of its packages.
    shim.write_text(f"#!{sys.executable} -IS\n{Path(haproxy_shim.__file__).read_text()}")
    shim.chmod(0o700)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # `serve.shortcut`: requests reach our application without what Serve does for each.
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve.shortcut:middlewares",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(shim),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        # A line of HAProxy's for each request, which Ray's manager of it would read and count: a tenth of a request's
        # cost, for metrics that Ray does not collect here.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # A change of replicas starts a new HAProxy; the old one keeps its streams for so long.
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "900",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": "1",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "5",
        # Serve would end a proxy that takes five seconds to start, and with it the whole start: on a busy machine.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "40",
        # Fixed ports would meet those of another Raygate on this machine.
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port()),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(free_port()),
        # Above our own limit by so much that the replica, whose answer is better, speaks first.
        "RAYGATE_HAPROXY_MAX_BODY": str(max_body_bytes * 8),
    }


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)
