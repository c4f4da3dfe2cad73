"""Ray's HAProxy file, tightened: twice is once, and what is not understood does not start."""

from __future__ import annotations

import pytest

from actors.launch.haproxy_shim import _exposed, anew, behind, of_child, tighten

CONFIG = """global
    log 127.0.0.1:514 local0
    stats socket /tmp/admin.sock mode 666 level admin expose-fd listeners
defaults
    mode http
    option splice-request
    option splice-response
    errorfile 503 /tmp/503.http
frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind 127.0.0.1:8000
    use_backend app if { path_beg / }
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain string "not found"
backend app
    server one 127.0.0.1:30000 check
listen stats
  bind *:8404
  stats enable
"""


def test_twice_is_once() -> None:
    once = tighten(CONFIG)
    assert tighten(once) == once


def test_nothing_but_the_front_end_is_reached_by_others() -> None:
    for stats in ("off", "loopback"):
        assert not _exposed(tighten(CONFIG, stats=stats)), stats
    assert "8404" not in tighten(CONFIG)
    assert "bind 127.0.0.1:8404" in tighten(CONFIG, stats="loopback")
    assert "bind 127.0.0.1:9101" in tighten(CONFIG, stats="loopback")


def test_what_the_operator_made_public_stays_so() -> None:
    public = tighten(CONFIG.replace("127.0.0.1:8000", "*:8000"))
    assert "bind *:8000" in public
    assert not _exposed(public)


@pytest.mark.parametrize(
    "bind", ["10.0.0.5:9000", "127.0.0.1:9000,*:9001", "ipv4@*:9000", "quic4@:9000", "[fd00::1]:9000", "example:9000"]
)
def test_an_address_that_is_not_loopback_is_refused(bind: str) -> None:
    assert _exposed(tighten(f"{CONFIG}frontend more\n    bind {bind}\n")) == [f"bind {bind}"]


@pytest.mark.parametrize("bind", ["*:9000", ":9000", "0.0.0.0:9000", "[::]:9000", ":::9000"])
def test_every_interface_becomes_loopback(bind: str) -> None:
    tightened = tighten(f"{CONFIG}frontend more\n    bind {bind}\n")
    assert "bind 127.0.0.1:9000" in tightened
    assert not _exposed(tightened)


@pytest.mark.parametrize("bind", ["127.0.0.1:9000", "[::1]:9000", "unix@/tmp/x.sock", "/tmp/x.sock"])
def test_loopback_and_sockets_may_be(bind: str) -> None:
    assert not _exposed(f"frontend more\n    bind {bind}\n")


def test_the_admin_socket_is_its_owners() -> None:
    line = next(line for line in tighten(CONFIG).splitlines() if "stats socket" in line)
    assert "mode 600" in line
    assert "666" not in line


def test_a_client_that_goes_is_noticed() -> None:
    assert "splice-request" not in tighten(CONFIG)
    assert "splice-response" in tighten(CONFIG)


def test_its_own_errors_are_envelopes() -> None:
    tightened = tighten(CONFIG, max_body=1_000)
    assert "errorfile" not in tightened
    assert "local0" not in tightened
    assert 'http-error status 503 content-type application/json hdr Retry-After 1 string \'{"error":' in tightened
    assert '"code":"unknown_url"' in tightened
    assert "gt 1000" in tightened
    starting = tighten(CONFIG.replace("    use_backend app if { path_beg / }\n", ""))
    assert "The gateway is starting." in starting


FIRST = ["-db", "-f", "/h/haproxy.cfg", "-dR"]
RELOAD = [*FIRST, "-sf", "41", "40", "-x", "/h/admin.sock"]


def test_the_admin_socket_moves_behind_ours() -> None:
    text, admin = behind(CONFIG, "/h/a42")
    assert admin == "/tmp/admin.sock"
    assert "    stats socket /h/a42 mode 666 level admin expose-fd listeners\n" in text
    assert text.count("stats socket") == 1
    assert behind("global\n", "/h/a42") == ("global\n", "")


def test_haproxy_takes_the_listeners_over_from_the_one_behind_the_other_shim() -> None:
    ours = ["-db", "-f", "/h/haproxy.cfg.42", "-dR"]
    assert of_child(FIRST, "/h/haproxy.cfg.42", "") == ours
    assert of_child(RELOAD, "/h/haproxy.cfg.42", "/h/a41") == [*ours, "-sf", "41", "40", "-x", "/h/a41"]
    assert of_child(RELOAD, "/h/haproxy.cfg.42", "") == [*ours, "-sf", "41", "40"], "it has gone"


def test_started_anew_it_takes_over_from_nobody() -> None:
    assert anew(RELOAD) == FIRST
    assert anew(FIRST) == FIRST


TWO_NODES = """backend http-raygate
    server here 127.0.0.1:30000 check observe layer4
    server there 10.0.0.7:30000 check observe layer4
    server proxy 127.0.0.1:8500 check backup
"""


def test_replicas_of_this_node_come_first_where_that_is_asked_for() -> None:
    assert "weight" not in tighten(TWO_NODES)
    tightened = tighten(TWO_NODES, prefer_local=True)
    assert "server here 127.0.0.1:30000 check observe layer4 weight 16\n" in tightened
    assert "server there 10.0.0.7:30000 check observe layer4 pool-max-conn 0\n" in tightened
    assert "server proxy 127.0.0.1:8500 check backup\n" in tightened
    assert "    use-server here if { srv_conn(http-raygate/here) lt 16 }\n" in tightened


def test_the_least_busy_replica_of_this_node_comes_first() -> None:
    three = TWO_NODES.replace("    server there", "    server near 127.0.0.1:30001 check\n    server there")
    rules = [line.split() for line in tighten(three, prefer_local=True).splitlines() if "use-server" in line]
    assert [rule[1] for rule in rules] == ["here", "near"] * (len(rules) // 2)
    assert [rule[-2] for rule in rules[:6]] == ["1", "1", "2", "2", "3", "3"]
    assert all(rule[4] == f"srv_conn(http-raygate/{rule[1]})" for rule in rules)


def test_a_node_alone_and_one_without_replicas_need_no_such_rules() -> None:
    for gone in ("there", "here"):
        left = "".join(line for line in TWO_NODES.splitlines(keepends=True) if f"server {gone} " not in line)
        assert "use-server" not in tighten(left, prefer_local=True)


CUT_OFF = """defaults
    mode http
    retry-on conn-failure
frontend http_frontend
    bind *:8000
backend http-raygate
    default-server inter 5s check
    server there 10.0.0.7:30000 check observe layer4
"""


def test_a_node_that_is_cut_off_is_noticed_and_its_requests_are_asked_elsewhere() -> None:
    assert "srvtcpka" not in tighten(CUT_OFF)
    tightened = tighten(CUT_OFF, prefer_local=True)
    assert "    srvtcpka-idle 3s\n" in tightened
    assert "    retry-on conn-failure empty-response\n" in tightened
    assert "    server there 10.0.0.7:30000 check observe layer4 pool-max-conn 0\n" in tightened
    assert "    http-request disable-l7-retry if { path_beg /admin }\n" in tightened, "a key is made once"


def test_what_an_operator_said_of_retries_stays() -> None:
    told = CUT_OFF.replace("conn-failure", "none")
    assert "    retry-on none\n" in tighten(told, prefer_local=True)
