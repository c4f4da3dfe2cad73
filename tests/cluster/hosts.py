"""Hosts that the tests make themselves, each with a network, processes and a disk of its own, on this one machine.

    bridge `inner`  10.x.1.0/24   Ray's own network: the hosts, Redis and Postgres at .1
    bridge `outer`  10.x.2.0/24   where clients and upstreams are: the tests themselves at .1

A host is a network namespace with a leg in both, a process namespace whose first process starts Ray (again, whenever
it ends), and one folder that each host sees as its own under the same path. So a host can lose its power (every process
dies at once), be cut off (its inner leg goes down, what it has open hears nothing) and come back. Linux, as root.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
GCS_PORT, GATEWAY_PORT, REDIS_PORT, POSTGRES_PORT = 6379, 8000, 6400, 5433
OBJECTS_BYTES = 80_000_000
AWAY_S = 1
"""A host begins Ray anew so long after it has ended, as systemd would."""


class NotAllowed(Exception):
    """This machine does not let us make hosts; the reason is for people."""


@cache
def why_not() -> str:
    """Why there can be no hosts here; empty where there can be."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    for tool in ("ip", "unshare", "nsenter", "mount", "redis-server"):
        if shutil.which(tool) is None:
            return f"there is no {tool} here"
    if postgres_bin() is None:
        return "there is no Postgres here: make test-cluster installs one (Debian, as root)"
    name = f"rgtry{os.getpid()}"
    for make, take_away in ((("netns", "add"), ("netns", "del")), (("link", "add"), ("link", "del"))):
        kind = ("type", "bridge") if make[0] == "link" else ()
        tried = subprocess.run(["ip", *make, name, *kind], capture_output=True, text=True, check=False)
        if tried.returncode:
            return f"ip {' '.join(make)}: {tried.stderr.strip()}"
        subprocess.run(["ip", *take_away, name], check=True)
    return ""


def postgres_bin() -> Path | None:
    found = [Path(one).parent for one in (shutil.which("initdb"),) if one]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((one for one in found if (one / "initdb").exists() and (one / "pg_ctl").exists()), None)


def run(*words: str, **options: object) -> str:
    """Its output. Raises with what it said where it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise NotAllowed(f"{shlex.join(words)}: {done.stderr.strip()[-2000:]} {done.stdout.strip()[-2000:]}")
    return str(done.stdout)


@dataclass
class Host:
    """One machine. `number` is the last part of its addresses; `env` is what Ray starts with."""

    net: Net
    name: str
    number: int
    ray: Sequence[str]
    env: Mapping[str, str]
    first: subprocess.Popen[bytes] | None = None

    @property
    def inner(self) -> str:
        return self.net.inner(self.number)

    @property
    def outer(self) -> str:
        return self.net.outer(self.number)

    @property
    def url(self) -> str:
        """Its gateway, as clients see it."""
        return f"http://{self.outer}:{GATEWAY_PORT}"

    @property
    def space(self) -> str:
        return f"{self.net.name}-{self.name}"

    @property
    def disk(self) -> Path:
        """What it sees as `net.here`."""
        return self.net.folder / self.name

    @property
    def state(self) -> Path:
        return self.disk / "state"

    def leg(self, side: str) -> str:
        return f"{self.net.name}{side}{self.number}"

    def plug_in(self) -> None:
        self.disk.mkdir(exist_ok=True)
        run("ip", "netns", "add", self.space)
        self._in("ip", "link", "set", "lo", "up")
        for side, address in (("i", self.inner), ("o", self.outer)):
            leg = self.leg(side)
            run("ip", "link", "add", leg, "type", "veth", "peer", "name", f"eth{side}", "netns", self.space)
            run("ip", "link", "set", leg, "master", f"{self.net.name}{side}", "up")
            self._in("ip", "addr", "add", f"{address}/24", "dev", f"eth{side}")
            self._in("ip", "link", "set", f"eth{side}", "up")

    def _in(self, *words: str) -> None:
        run("ip", "netns", "exec", self.space, *words)

    def start(self) -> None:
        """Switch it on: it starts Ray, and again whenever that has ended."""
        start = shlex.join([str(ROOT / ".venv/bin/ray"), "start", *self.ray, "--block"])
        # A folder of ours in the place of /tmp/ray and of the state: each host has its own, under one path.
        script = f"mount --bind {self.disk} {self.net.here}; while :; do {start}; sleep {AWAY_S}; done"
        log = (self.disk / "console.log").open("ab")
        words = ["nsenter", f"--net=/run/netns/{self.space}", "unshare", "--mount", "--pid", "--fork", "--mount-proc"]
        self.first = subprocess.Popen(
            [*words, "--kill-child=KILL", "sh", "-c", script],
            env=dict(self.env),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()

    def has_started(self) -> bool:
        """Whether Ray said so, now or before."""
        console = self.disk / "console.log"
        return console.exists() and "Ray runtime started" in console.read_text(errors="replace")

    def lose_power(self) -> None:
        """Every process of it dies at once, and nothing starts again. Its disk stays."""
        if self.first is not None:
            with suppress(ProcessLookupError):
                os.kill(self.first.pid, signal.SIGKILL)
            self.first.wait()
            self.first = None

    def lose_disk(self) -> None:
        shutil.rmtree(self.disk)
        self.disk.mkdir()

    def cut(self, sides: str = "i") -> None:
        for side in sides:
            run("ip", "link", "set", self.leg(side), "down")

    def heal(self, sides: str = "io") -> None:
        for side in sides:
            run("ip", "link", "set", self.leg(side), "up")

    def tell(self, *words: str, within_s: float = 120.0) -> str:
        """Run a command on it, as whoever is logged in there would. Raises with what it said where it fails."""
        assert self.first is not None
        inside = psutil.Process(self.first.pid).children()[0].pid
        enter = ["nsenter", "--target", str(inside), "--net", "--mount", "--pid"]
        return run(*enter, "env", "-C", str(ROOT), *words, env=dict(self.env), timeout=within_s)

    def processes(self, title: str) -> list[int]:
        """The ids, as this machine numbers them, of its processes whose command line begins so."""
        if self.first is None:
            return []
        found = []
        with suppress(psutil.Error):
            for one in psutil.Process(self.first.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if " ".join(one.cmdline()).startswith(title):
                        found.append(one.pid)
        return found


@dataclass
class Net:
    """Both networks with what is on them. `here` is where each host finds its own disk."""

    name: str
    octet: int
    folder: Path
    hosts: list[Host] = field(default_factory=list)

    @property
    def here(self) -> Path:
        return self.folder / "here"

    def inner(self, number: int) -> str:
        return f"10.{self.octet}.1.{number}"

    def outer(self, number: int) -> str:
        return f"10.{self.octet}.2.{number}"

    @property
    def database(self) -> str:
        return f"postgresql://raygate@{self.inner(1)}:{POSTGRES_PORT}/postgres"

    @property
    def redis(self) -> str:
        return f"{self.inner(1)}:{REDIS_PORT}"

    def add(self, name: str, number: int, ray: Sequence[str], env: Mapping[str, str]) -> Host:
        """A machine that is plugged in, and not switched on yet."""
        host = Host(self, name, number, ray, env)
        self.hosts.append(host)
        host.plug_in()
        return host


@contextmanager
def network(folder: Path) -> Iterator[Net]:
    """Networks with a Redis and a Postgres on them, until the end; then every host is gone, with all its processes."""
    net = Net(f"rg{os.getpid() % 100_000}", 64 + os.getpid() % 64, folder)
    # Sockets' paths may have 107 bytes, so the folder is a short one; Postgres does not run as root.
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    net.here.mkdir()
    try:
        for side, address in (("i", net.inner(1)), ("o", net.outer(1))):
            run("ip", "link", "add", f"{net.name}{side}", "type", "bridge")
            run("ip", "addr", "add", f"{address}/24", "dev", f"{net.name}{side}")
            run("ip", "link", "set", f"{net.name}{side}", "up")
        with _redis(net), _postgres(net):
            try:
                yield net
            finally:
                for host in net.hosts:
                    host.lose_power()
    finally:
        for host in net.hosts:
            subprocess.run(["ip", "netns", "del", host.space], check=False)
            for side in "io":
                subprocess.run(["ip", "link", "del", host.leg(side)], check=False, stderr=subprocess.DEVNULL)
        for side in "io":
            subprocess.run(["ip", "link", "del", f"{net.name}{side}"], check=False)


@contextmanager
def _redis(net: Net) -> Iterator[None]:
    where = ["--bind", net.inner(1), "--port", str(REDIS_PORT), "--protected-mode", "no", "--dir", str(net.folder)]
    server = subprocess.Popen(
        ["redis-server", *where, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        server.terminate()
        server.wait()


@contextmanager
def _postgres(net: Net) -> Iterator[None]:
    bin_, data = postgres_bin(), net.folder / "postgres"
    assert bin_ is not None
    data.mkdir()
    shutil.chown(data, "postgres", "postgres")
    as_ = ("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups")
    run(*as_, f"{bin_}/initdb", "--pgdata", f"{data}/data", *("--username", "raygate"), "--auth", "trust", "--no-sync")
    with (data / "data" / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all 10.{net.octet}.1.0/24 trust\n")
    options = f"-c listen_addresses={net.inner(1)} -c port={POSTGRES_PORT} -c unix_socket_directories={data}"
    control = (*as_, f"{bin_}/pg_ctl", "--pgdata", f"{data}/data", "--silent")
    run(*control, "--log", f"{data}/log", "--options", options, "--wait", "start")
    try:
        yield
    finally:
        run(*control, "--mode", "immediate", "stop")


def until_true(true: object, what: str, *, within_s: float = 60.0, every_s: float = 0.25) -> float:
    """Poll the outer world. Returns how long it took, in seconds."""
    assert callable(true)
    begun = time.monotonic()
    while time.monotonic() - begun < within_s:
        if true():
            return time.monotonic() - begun
        time.sleep(every_s)
    raise AssertionError(f"not within {within_s} s: {what}")
