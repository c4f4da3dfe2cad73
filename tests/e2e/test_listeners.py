"""With `host: 127.0.0.1`, nothing that answers without a key or Ray's token can be reached from elsewhere."""

from __future__ import annotations

import ipaddress
import ssl
from contextlib import suppress

import grpc
import httpx
import pytest

from actors.launch import head
from actors.launch.processes import Listener, listeners
from tests.e2e.conftest import Live, until


@pytest.fixture
def open_sockets(live: Live) -> list[Listener]:
    """Of everything, once the embedded model listens: `up` does not wait for it for ever."""
    until(lambda: _model_port(live) in {one.port for one in _listeners(live)}, "the embedded model listens")
    return _listeners(live)


def _listeners(live: Live) -> list[Listener]:
    return listeners(head.processes_of(live.run()))


def _model_port(live: Live) -> int | None:
    base: str | None = live.overview()["endpoints"].get("local")
    return None if base is None else int(base.split(":")[2].split("/")[0])


def test_the_front_end_and_its_helpers_are_found(live: Live, open_sockets: list[Listener]) -> None:
    """The check below would be worth nothing if it did not see the sockets that must be there."""
    ports = {one.port for one in open_sockets}
    assert int(live.url.rsplit(":", 1)[1]) in ports
    assert _model_port(live) in ports
    assert {"haproxy", "raylet", "gcs_server"} <= {one.process for one in open_sockets}


def test_nothing_answers_strangers_elsewhere(open_sockets: list[Listener]) -> None:
    elsewhere = [one for one in open_sockets if not _is_loopback(one.address)]
    assert not elsewhere


def test_rays_own_ports_ask_for_the_token(open_sockets: list[Listener]) -> None:
    """On loopback too: another user of this machine is a stranger as well."""
    ports = [one.port for one in open_sockets if one.process.startswith("ray::ServeReplica")]
    assert any(_asks_for_a_token(port) for port in ports)
    for one in open_sockets:
        if one.process in ("gcs_server", "raylet") or one.process.startswith("ray::RuntimeEnvAgent"):
            assert not _answers_http(one.port), one


def test_haproxys_statistics_are_closed(open_sockets: list[Listener]) -> None:
    assert not {8404, 9101} & {one.port for one in open_sockets if one.process == "haproxy"}


def test_the_embedded_model_asks_for_its_key(live: Live, open_sockets: list[Listener]) -> None:
    assert open_sockets
    base = live.overview()["endpoints"]["local"]
    with httpx.Client() as stranger:
        reply = stranger.post(f"{base}/chat/completions", json={"messages": [{"role": "user", "content": "x"}]})
        assert reply.status_code == 401
        assert reply.headers.get("access-control-allow-origin", "") == ""
        page = stranger.get(base.removesuffix("/v1") + "/")
        assert page.status_code == 404


def test_replicas_own_ports_ask_for_a_key(live: Live, open_sockets: list[Listener]) -> None:
    """Serve's replicas listen beside HAProxy, on loopback: whoever gets there meets the same door."""
    ports = [one.port for one in open_sockets if one.process.startswith("ray::ServeReplica")]
    answered = 0
    with httpx.Client(timeout=5) as stranger:
        for port in ports:
            with suppress(httpx.HTTPError):
                assert stranger.get(f"http://127.0.0.1:{port}/v1/models").status_code == 401
                answered += 1
    assert answered >= 2


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def _answers_http(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=3).status_code < 400
    except (OSError, httpx.HTTPError, ssl.SSLError):
        return False


def _asks_for_a_token(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
        try:
            call(b"", timeout=5)
        except grpc.RpcError as error:
            return bool(error.code() is grpc.StatusCode.UNAUTHENTICATED)
    return False
