"""HAProxy itself under the shim: it comes back when it is killed, and goes when the shim goes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest

from actors.launch import haproxy_shim
from actors.launch.head import free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="HAProxy comes for Linux only")

CONFIG = """global
    stats socket {folder}/admin.sock mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s
frontend http_frontend
    bind 127.0.0.1:{port}
    http-request return status 418
"""


class Shim:
    """A shim and what Ray sees of it."""

    def __init__(self, folder: Path, port: int, *more: str, text: str = CONFIG) -> None:
        self.folder, self.port = folder, port
        config = folder / "haproxy.cfg"
        config.write_text(text.format(folder=folder, port=port))
        command = [sys.executable, "-IS", haproxy_shim.__file__, "-db", "-f", str(config), "-dR", *more]
        # What it writes, Ray keeps in files of its own.
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        _until(self.answers)

    @property
    def haproxy(self) -> psutil.Process:
        return psutil.Process(self.process.pid).children()[0]

    def answers(self) -> bool:
        """What Ray waits for: the admin socket answers with the pid that it spawned."""
        with suppress(OSError), socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self.folder / "admin.sock"))
            admin.sendall(b"show info\n")
            said = b"".join(iter(lambda: admin.recv(4096), b""))
            return b"\nPid: %d\n" % self.process.pid in said
        return False

    def serves(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/", timeout=1):
                return False
        except HTTPError as error:
            return error.code == 418
        except OSError:
            return False


def _until(true: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("not within 10 s")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rg-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def shim(folder: Path) -> Iterator[Shim]:
    shim = Shim(folder, free_port())
    yield shim
    shim.process.kill()
    shim.process.wait()


def test_killed_it_comes_back_and_answers_ray_as_ever(shim: Shim) -> None:
    for _ in range(3):
        old = shim.haproxy
        assert shim.serves()
        old.kill()
        _until(shim.serves)
        _until(shim.answers)
        assert shim.haproxy != old


def test_it_goes_with_the_shim(shim: Shim) -> None:
    haproxy = shim.haproxy
    shim.process.kill()
    shim.process.wait()
    haproxy.wait(timeout=5)
    assert not shim.serves()


def test_a_reload_hands_the_listeners_over_and_the_old_ones_go(shim: Shim) -> None:
    old = shim.haproxy
    again = Shim(shim.folder, shim.port, "-sf", str(shim.process.pid), "-x", str(shim.folder / "admin.sock"))
    try:
        assert shim.process.wait(timeout=5) == 0, "it was told to finish and is not started anew"
        assert not old.is_running()
        assert again.serves()
        again.haproxy.kill()
        _until(again.serves)
    finally:
        again.process.send_signal(signal.SIGTERM)
        again.process.wait(timeout=5)
    assert not again.serves()


def test_a_configuration_that_haproxy_does_not_take_ends_the_shim(folder: Path) -> None:
    (folder / "haproxy.cfg").write_text("global\n    no such word\n")
    command = [sys.executable, "-IS", haproxy_shim.__file__, "-db", "-f", str(folder / "haproxy.cfg"), "-dR"]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, timeout=10, check=False)
    assert done.returncode == 1
    assert b"no such word" in done.stderr or b"unknown keyword" in done.stderr


TWO_NODES = (
    CONFIG.replace("    http-request return status 418\n", "    use_backend two\n")
    + """backend two
    balance leastconn
    option redispatch 1
    retry-on conn-failure
    server here 127.0.0.1:{here} check
    server there 0.0.0.0:{there} check
"""
)
"""To HAProxy 0.0.0.0 is where the client called; to the shim it is no address of this node."""


class Replica(ThreadingHTTPServer):
    """Says its name to each once it may."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, name: str) -> None:
        self.name, self.came, self.may = name, 0, threading.Event()
        super().__init__(("127.0.0.1", 0), Answering)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


class Answering(BaseHTTPRequestHandler):
    server: Replica

    def do_GET(self) -> None:
        self.server.came += 1
        self.server.may.wait(10)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.name.encode())

    def log_message(self, *args: object) -> None:
        pass


def test_requests_stay_on_their_node_while_it_has_room_and_leave_it_when_its_replica_is_gone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYGATE_HAPROXY_PREFER_LOCAL", "1")
    here, there, port = Replica("here"), Replica("there"), free_port()
    text = TWO_NODES.replace("{here}", str(here.server_port)).replace("{there}", str(there.server_port))
    shim = Shim(folder, port, text=text)

    def ask(_: int) -> str:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return str(answer.read().decode())

    try:
        with ThreadPoolExecutor(40) as pool:
            first = [pool.submit(ask, number) for number in range(16)]
            _until(lambda: here.came == 16)
            assert there.came == 0, "also one that has nothing to do is left alone"
            more = [pool.submit(ask, number) for number in range(4)]
            _until(lambda: here.came + there.came == 20)
            assert there.came == 1, "beyond that a replica here counts for sixteen"
            here.may.set()
            there.may.set()
            assert sorted(one.result() for one in (*first, *more)) == ["here"] * 19 + ["there"]
        here.shutdown()
        here.server_close()
        assert [ask(number) for number in range(5)] == ["there"] * 5
    finally:
        shim.process.kill()
        shim.process.wait()
        there.shutdown()
        there.server_close()
